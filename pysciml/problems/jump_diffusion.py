"""Jumps in the solution of an ODE or SDE: a problem, checked when it is written down."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.errors import UnsupportedError
from pysciml.problems.base import Problem, binds, name_of
from pysciml.problems.jumps import (
    JumpProblem,
    Propensities,
    Reaction,
    change_of,
    check_parameter,
    checked_rate,
    resolved,
)

if TYPE_CHECKING:
    from pysciml.capture import Model
    from pysciml.capture.jumps import CapturedJumps

MARKS = ("normal", "uniform")


@dataclass(frozen=True, eq=False)
class Jump:
    """A jump in the solution of an ODE or SDE: how often it happens and what it does.

    Parameters
    ----------
    rate : number, str, or function rate(u, p, t)
        How often it happens per unit of time, of the present state: a number, the name of a
        parameter (`p` is a dict or namedtuple then), or a function, which is captured like a
        right-hand side. It may depend on t.
    affect : function affect(u, p, t), or affect(u, p, t, z) with `marks`
        The state after the jump, of u's shape. It may write into its u and return that.
    marks : "normal" or "uniform", or list of those, optional
        Random numbers that the affect takes, drawn anew for each jump: standard normal ones, and
        uniform ones between 0 and 1. `z` is one number, or a vector for a list.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    rate: float | str | Callable[..., Any]
    affect: Callable[..., Any]
    marks: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate))
        if self.marks is not None and not isinstance(self.marks, str):
            object.__setattr__(self, "marks", _checked_marks(self.marks))
        for mark in self.listed_marks:
            check.as_choice(mark, "marks", MARKS)
        taken = "u, p, t" if self.marks is None else "u, p, t, z"
        expected = f"a function affect({taken})"
        check.require_callable(self.affect, "affect", expected)
        if not binds(inspect.signature(self.affect), 3 + (self.marks is not None)):
            raise TypeError(f"affect must be {expected}; got {check.describe(self.affect)}")

    @property
    def listed_marks(self) -> tuple[str, ...]:
        """The law of each random number."""
        if self.marks is None:
            return ()
        return (self.marks,) if isinstance(self.marks, str) else tuple(self.marks)

    def __str__(self) -> str:
        return name_of(self.affect)


class JumpDiffusionProblem(JumpProblem):
    """Jumps in the solution of an ODE or SDE: what `JumpProblem(problem, jumps)` makes.

    Between two jumps the state follows the equation. Jump j happens with the rate of jumps[j] per
    unit of time, and puts the state where its affect says. The times of the jumps, and the states
    before and after, are in `sol.events[j]`.

    Parameters
    ----------
    problem : ODEProblem or SDEProblem
        Without events and without a mass matrix; of the times t0 < t1. u0, p, tspan and names are
        its own, and so is the noise: it is the same with jumps and without.
    jumps : list of Jump and Reaction
        A Reaction adds its stoichiometry, whatever the numbers are; its rate constants are those of
        mass action, too.

    Attributes
    ----------
    problem : ODEProblem or SDEProblem
    jumps : tuple of Jump and Reaction

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    UnsupportedError
        There are no jumps in the solution of this kind of problem.
    """

    __slots__ = ("_equation", "_jumps")

    is_piecewise_constant = False
    default_maxiters = Problem.default_maxiters

    def __init__(self, problem: Problem, jumps: Sequence[Jump | Reaction]) -> None:
        _check_equation(problem)
        listed = _checked_jumps(jumps)
        self._equation = problem
        self._source, self.names, self.events = problem._source, problem.names, ()  # type: ignore[assignment]
        self.tspan = self._checked_tspan(problem.tspan)
        self.u0, self.u0_flat = problem.u0, problem.u0_flat
        self._p, self._p_flat = problem._p, problem._p_flat
        for i, jump in enumerate(listed):
            check_parameter(jump.rate, self.p, f"jumps[{i}]")
        self._jumps = JumpSet(listed, self.names, self.u0.shape)

    @property
    def kind(self) -> str:  # type: ignore[override]
        return f"JumpProblem of {check.with_article(self._equation.kind)}"

    @property
    def problem(self) -> Problem:
        """The equation, with the present values."""
        new = self._equation._like()
        new.tspan, new.u0, new.u0_flat = self.tspan, self.u0, self.u0_flat
        new._p, new._p_flat = self._p, self._p_flat
        return new

    @property
    def jumps(self) -> tuple[Jump | Reaction, ...]:
        return self._jumps.jumps

    @property
    def captured_jumps(self) -> CapturedJumps:
        """Their rates and affects. The first access captures them."""
        return self._jumps.captured(self.model)

    def _like(self) -> JumpDiffusionProblem:
        new = super()._like()
        new._equation, new._jumps = self._equation, self._jumps
        return new

    def _set_u0(self, u0: Array) -> None:
        Problem._set_u0(self, u0)

    def __repr__(self) -> str:
        count = len(self.jumps)
        return f"JumpProblem({self.problem!r}, {count} jump{'s' * (count > 1)})"


class JumpSet:
    """Jumps with what was captured of them; shared by all that `remake` makes."""

    __slots__ = ("_captured", "jumps", "names", "reactants", "shape")

    def __init__(
        self,
        jumps: tuple[Jump | Reaction, ...],
        names: tuple[str, ...] | None,
        shape: tuple[int, ...],
    ) -> None:
        self.jumps, self.names, self.shape = jumps, names, shape
        n = math.prod(shape)
        self.reactants = tuple(
            resolved(jump, "reactants", names, n) if isinstance(jump, Reaction) else ()
            for jump in jumps
        )
        for jump in jumps:
            if isinstance(jump, Reaction):
                change_of(jump, names, n)
        self._captured: CapturedJumps | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without what was captured."""
        return type(self), (self.jumps, self.names, self.shape)

    def captured(self, model: Model) -> CapturedJumps:
        if self._captured is None:
            from pysciml.capture.jumps import CapturedJumps

            self._captured = CapturedJumps(model, self)
        return self._captured

    def propensities(self) -> Propensities:
        rates = tuple(jump.rate for jump in self.jumps)
        return Propensities(rates, self.reactants, "jumps")

    def affect(self, j: int) -> Callable[..., Any]:
        """affect(u, p, t) of a jump, or affect(u, p, t, z) with a vector of marks."""
        jump = self.jumps[j]
        if isinstance(jump, Reaction):
            change = change_of(jump, self.names, math.prod(self.shape)).reshape(self.shape)
            return lambda u, p, t: u + change
        if isinstance(jump.marks, str):
            return lambda u, p, t, z: jump.affect(u, p, t, z[0])
        return jump.affect


def _check_equation(problem: Any) -> None:
    """Refuse a problem in whose solution there are no jumps."""
    if problem.kind not in ("ODEProblem", "SDEProblem"):
        raise UnsupportedError(
            f"there are no jumps in the solution of {check.with_article(problem.kind)}; there are "
            "in that of an ODEProblem and of an SDEProblem"
        )
    if problem.events:
        raise UnsupportedError("problem must have no events beside its jumps")
    if getattr(problem, "mass_matrix", None) is not None:
        raise UnsupportedError("problem must have no mass_matrix: a jump leaves the constraints")


def _checked_jumps(jumps: Any) -> tuple[Jump | Reaction, ...]:
    expected = "a list of Jump(rate, affect) and Reaction(rate, reactants, products)"
    if not isinstance(jumps, (list, tuple)):
        raise TypeError(f"jumps must be {expected}; got {check.describe(jumps)}")
    if not jumps:
        raise ValueError(f"jumps must be {expected}, with at least one; got an empty list")
    for i, entry in enumerate(jumps):
        if not isinstance(entry, (Jump, Reaction)):
            raise TypeError(f"jumps[{i}] must be a Jump or a Reaction; got {check.describe(entry)}")
    return tuple(jumps)


def _checked_marks(marks: Any) -> tuple[Any, ...]:
    expected = "'normal' or 'uniform', or a list of those"
    if not isinstance(marks, (list, tuple)) or not marks:
        raise TypeError(f"marks must be {expected}; got {check.describe(marks)}")
    return tuple(marks)
