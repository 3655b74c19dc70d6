"""Boundary value problems: checked when they are written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.problems.base import UNSET, Problem, Source, check_function, check_takes, name_of
from pysciml.problems.joined import works_in_place
from pysciml.problems.ode import ODEProblem

if TYPE_CHECKING:
    from pysciml.capture.boundary import CapturedConditions

Function = Callable[..., Any]


class BVProblem(Problem):
    """A boundary value problem, du/dt = f(u, p, t) with bc(u, p, t) = 0.

    In bc, `u` is the solution: `u(t)` is its state at a time, `u[0]` and `u[-1]` those at t0 and
    t1. The times are numbers; any number of them may lie inside tspan.

    Parameters
    ----------
    f : callable or torch.nn.Module
        As for `ODEProblem`.
    bc : callable
        `bc(u, p, t)` returns as many residuals as u0 has entries; `bc(residual, u, p, t)` writes
        them into an array like u0. `t` is (t0, t1).
    u0 : number, list, array, tensor or callable
        A guess of the solution: a state for all times, or `u0(p, t)`, which computes one with
        NumPy. Its quality decides whether a solution is found, and which one of several.
    tspan : (t0, t1)
        Two different times.
    p : None, number, vector, or dict, namedtuple or list of numbers and arrays
        Parameters, handed to `f` and `bc` in the same structure. A copy is kept.
    names : list of str, optional
        Names of the entries of u0, in row-major order, for plots and tables.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ("guess",)

    kind = "BVProblem"
    is_initial_value = False
    has_derivatives = False
    _source: BoundarySource

    def __init__(
        self,
        f: Function,
        bc: Any,
        u0: Any,
        tspan: Any,
        p: Any = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        check_function(f)
        source = self._checked_source(bc)
        span, values = check.as_tspan(tspan), check.as_parameters(p)
        self._set(_state_of(u0, values, span[0]), span, values, names)
        self.guess: Function | None = u0 if callable(u0) else None
        self._source = source(f, self.u0, self._p)

    @property
    def bc(self) -> Any:
        """The user's own boundary conditions."""
        return self._source.bc

    @property
    def conditions(self) -> CapturedConditions:
        """The captured boundary conditions, for this tspan."""
        return self._source.conditions(self.tspan)

    def guessed(self, times: Array) -> Array:
        """The guess at m times, (m, n)."""
        if self.guess is None:
            return np.tile(self.u0_flat, (len(times), 1))
        rows = [self._same_shape(self.guess(self.p, t)).reshape(-1) for t in times.tolist()]
        return np.array(rows)

    def initial_value_problem(self, u0_flat: Array) -> ODEProblem:
        """The ODEProblem of the same captured f that starts from a state, (n,)."""
        problem = object.__new__(ODEProblem)
        problem._source, problem.names, problem.events = self._source, self.names, ()
        problem.mass_matrix, problem.is_algebraic = None, False
        problem.tspan, problem._p, problem._p_flat = self.tspan, self._p, self.p_flat
        problem._set_u0(u0_flat.reshape(self.u0.shape))
        return problem

    def remake(self, *, u0: Any = UNSET, p: Any = UNSET, tspan: Any = UNSET) -> BVProblem:
        """As for an `ODEProblem`; `u0` may be a function here, too."""
        if not callable(u0):
            new = super().remake(u0=u0, p=p, tspan=tspan)
            new.guess = self.guess if u0 is UNSET else None
            return new
        new = super().remake(p=p, tspan=tspan)
        new._set_u0(self._same_shape(_state_of(u0, new.p, new.tspan[0])))
        new.guess = u0
        return new

    def _like(self) -> BVProblem:
        new = super()._like()
        new.guess = self.guess
        return new

    @staticmethod
    def _checked_source(bc: Any) -> Callable[..., BoundarySource]:
        return partial(BoundarySource, bc, works_in_place(bc, "bc", "u", "p", "t"))

    def _functions(self) -> str:
        return f"{name_of(self.f)}, {name_of(self.bc)}"


class TwoPointBVProblem(BVProblem):
    """A boundary value problem with conditions at either end only.

    du/dt = f(u, p, t) with bca(u(t0), p) = 0 and bcb(u(t1), p) = 0.

    Parameters
    ----------
    f, u0, tspan, p, names
        As for `BVProblem`.
    bc : (bca, bcb)
        `bca(u, p)` and `bcb(u, p)` return residuals, together as many as u0 has entries.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ()

    kind = "TwoPointBVProblem"

    @staticmethod
    def _checked_source(bc: Any) -> Callable[..., BoundarySource]:
        if not isinstance(bc, (list, tuple)) or len(bc) != 2:
            raise TypeError(
                f"bc must be two functions (bca, bcb) of (u, p); got {check.describe(bc)}"
            )
        for i, end in enumerate(bc):
            check_takes(end, f"bc[{i}]", "u", "p")
        return partial(TwoPointSource, tuple(bc), False)

    def _functions(self) -> str:
        first, last = self.bc
        return f"{name_of(self.f)}, ({name_of(first)}, {name_of(last)})"


class BoundarySource(Source):
    """The functions with the values they are captured at."""

    __slots__ = ("_conditions", "bc", "in_place")

    def __init__(self, bc: Any, in_place: bool, f: Function, u0: Array, p: Any) -> None:
        super().__init__(f, u0, p)
        self.bc = bc
        self.in_place = in_place
        self._conditions: dict[tuple[float, float], CapturedConditions] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.bc, self.in_place, self.f, self.u0, self.p)

    def conditions(self, span: tuple[float, float]) -> CapturedConditions:
        """Where t0 and t1 are is part of them."""
        found = self._conditions.get(span)
        if found is None:
            found = self._conditions[span] = self._captured(span)
        return found

    def _captured(self, span: tuple[float, float]) -> CapturedConditions:
        from pysciml.capture.boundary import CapturedConditions

        return CapturedConditions(self.bc, self.in_place, self.model or self.capture(), span)


class TwoPointSource(BoundarySource):
    """The same for conditions (bca, bcb)."""

    __slots__ = ()

    def _captured(self, span: tuple[float, float]) -> CapturedConditions:
        from pysciml.capture.boundary import CapturedConditions

        bca, bcb = self.bc
        return CapturedConditions.at_ends(bca, bcb, self.model or self.capture(), span)


def _state_of(u0: Any, p: Any, t0: float) -> Any:
    """u0, or what a guess gives at t0."""
    if not callable(u0):
        return u0
    check_takes(u0, "u0", "p", "t")
    return u0(p, t0)
