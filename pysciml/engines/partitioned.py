"""What the engines share about the halves of a partitioned system, dv/dt = f1, du/dt = f2."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pysciml.capture.sparsity import dependence
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.capture import Model
    from pysciml.problems import ODEProblem


class Halves:
    """The halves of a model's right-hand side as Programs, and what is known of them."""

    def __init__(self, model: Model) -> None:
        self.n = model.n
        self._half = half = model.n // 2
        self._model = model
        self.f1, self.f2 = model.part("f1", slice(half)), model.part("f2", slice(half, model.n))

    @cached_property
    def f1_takes_v(self) -> bool:
        return bool(dependence(self.f1, "u")[:, : self._half].nnz)

    @cached_property
    def f2_takes_u(self) -> bool:
        return bool(dependence(self.f2, "u")[:, self._half :].nnz)

    @cached_property
    def take_t(self) -> bool:
        """Whether one of them depends on t."""
        return any(dependence(half, "t").nnz for half in (self.f1, self.f2))

    @cached_property
    def is_linear(self) -> bool:
        """Whether f2 is known to be linear in v: its derivative does not depend on v."""
        half = self._half
        return bool(dependence(self._model.jvp, "u")[half:, :half].nnz == 0)


def halves_of(problem: ODEProblem, method: str) -> Halves:
    """The halves, kept with the captured model. Refuses a problem that has none."""
    from pysciml.problems import DynamicalODEProblem

    if not isinstance(problem, DynamicalODEProblem):
        raise UnsupportedError(
            f"{method} takes a DynamicalODEProblem or a SecondOrderODEProblem, but no sensitivity "
            f"equations of one; got an {type(problem).__name__}"
        )
    kept = problem.model.compiled
    halves: Halves | None = kept.get("halves")
    if halves is None:
        halves = kept["halves"] = Halves(problem.model)
    return halves


def require_separable(halves: Halves, method: str, quadratic: bool) -> None:
    """Refuse a system that a symplectic method is not for.

    `quadratic`: whether the method also needs an f2 that is linear in v.
    """
    for found, what in (
        (halves.f1_takes_v, "f1 (dv/dt) depends on v"),
        (halves.f2_takes_u, "f2 (du/dt) depends on u"),
    ):
        if found:
            raise UnsupportedError(
                f"{method} needs a separable system, dv/dt = f1(u, p, t) and "
                f'du/dt = f2(v, p, t); here {what}. "Tsit5" or "Vern7" solves it'
            )
    if quadratic and not halves.is_linear:
        raise UnsupportedError(
            f"{method} needs a quadratic kinetic energy, a du/dt that is linear in v; here it is "
            'not. "CandyRoz4" has the same order without that'
        )
