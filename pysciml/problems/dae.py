"""Fully implicit differential-algebraic equations: the problem, checked when it is written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.problems.base import UNSET, Problem, Source
from pysciml.problems.joined import works_in_place

if TYPE_CHECKING:
    from pysciml.capture import Model

Function = Callable[..., Any]


class DAEProblem(Problem):
    """An initial value problem in implicit form, f(du, u, p, t) = 0 with du/dt = du, u(t0) = u0.

    It is to be of index one: the entries of u whose derivative f does not use, the algebraic ones,
    are fixed by f and the others.

    Parameters
    ----------
    f : callable
        `f(du, u, p, t)` returns the residual, in the shape of `u0`; `f(out, du, u, p, t)` writes it
        into `out`.
    du0, u0 : number, list, array or tensor
        The derivative and the state at t0, of one shape. They have to satisfy f;
        `solve(..., initialize="BrownFullBasicInit")` mends du0 and the algebraic entries of u0.
    tspan, p, names
        As for `ODEProblem`.
    differential_vars : (*u0.shape,) booleans, optional
        Which entries of u are differential. Default: those whose derivative f uses.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ("_differential", "du0")

    kind = "DAEProblem"
    is_algebraic = True
    has_derivatives = False
    _source: ResidualSource

    def __init__(
        self,
        f: Function,
        du0: Any,
        u0: Any,
        tspan: Any,
        p: Any = None,
        *,
        differential_vars: Any = None,
        names: Sequence[str] | None = None,
    ) -> None:
        in_place = works_in_place(f, "f", "du", "u", "p", "t")
        self._set(u0, tspan, p, names)
        self.du0 = self._same_shape(du0, "du0")
        self._differential = _as_flags(differential_vars, self.u0.shape)
        self._source = ResidualSource(f, in_place, self.u0, self._p)

    @property
    def start(self) -> Array:
        """(2 n,): du0, then u0. `model` is the residual, of both."""
        return np.concatenate([self.du0.reshape(-1), self.u0_flat])

    @property
    def differential_vars(self) -> NDArray[np.bool_]:
        """(n,): which entries of u are differential."""
        if self._differential is None:
            from pysciml.capture.sparsity import pattern

            used = pattern(self.model.f, "u")[:, list(range(self.u0.size))]
            self._differential = np.diff(used.tocsc().indptr) > 0
        return self._differential

    def remake(
        self, *, u0: Any = UNSET, p: Any = UNSET, tspan: Any = UNSET, du0: Any = UNSET
    ) -> DAEProblem:
        """As for an `ODEProblem`, and with another du0."""
        new = super().remake(u0=u0, p=p, tspan=tspan)
        if du0 is not UNSET:
            new.du0 = self._same_shape(du0, "du0")
        return new

    def _like(self) -> DAEProblem:
        new = super()._like()
        new.du0 = self.du0
        new._differential = self._differential
        return new

    def _extras(self) -> str:
        return f", du0={self.du0.tolist()}" + super()._extras()


class ResidualSource(Source):
    """The residual as a function of one state: du above u."""

    __slots__ = ("in_place",)

    def __init__(self, f: Function, in_place: bool, u0: Array, p: Any) -> None:
        super().__init__(f, u0, p)
        self.in_place = in_place

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.f, self.in_place, self.u0, self.p)

    def capture(self) -> Model:
        from pysciml.capture import capture

        residual = _residual_in_place(self.f) if self.in_place else _residual(self.f)
        both = np.stack([self.u0, self.u0])
        self.model = capture(residual, both, self.p, shape=self.u0.shape)
        return self.model


def _residual(f: Function) -> Function:
    return lambda x, p, t: f(x[0], x[1], p, t)


def _residual_in_place(f: Function) -> Function:
    def residual(out: Any, x: Any, p: Any, t: Any) -> None:
        f(out, x[0], x[1], p, t)

    return residual


def _as_flags(value: Any, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    if value is None:
        return None
    flags = np.asarray(value)
    if flags.dtype != bool or flags.shape != shape:
        raise TypeError(
            f"differential_vars must be True or False for each entry of u0, of shape {shape}; got "
            f"{check.describe(value)}"
        )
    return flags.reshape(-1)
