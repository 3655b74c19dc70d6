"""Events: what happens to a state at certain times, or when it gets somewhere.

They are given to a problem, `ODEProblem(..., events=[...])`, or to one solve,
`solve(prob, events=[...])`, as a list. Conditions, affects and residuals are functions of (u, p, t)
in plain Python, captured and compiled like a right-hand side. Of several events at one time, those
that come first in the list happen first, each with the state that the one before has left.

A solution is continuous from the right: at the time of an event, `saveat` and `sol(t)` give the
state after it. A solve that saves every step has both, with the time repeated, and `sol.events` has
them in any case.

`gradient` and `fit` go through all events that happen at some times, by the adjoint; so not through
`Positive` and `ManifoldProjection`, which correct every step. The times of continuous events move
with the parameters, and states that are saved at them (by a terminal event, or a solve that saves
every step) move along; all other saved times are fixed, discrete events included.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array

Function = Callable[[Any, Any, Any], Any]

_MOST_TIMES = 10_000_000  # a shorter period than this allows is a slip


class Event:
    """Base of all events."""

    def schedule(self, t0: float, t1: float) -> Array:
        """Known times between t0 and t1, in that order, at which the event happens."""
        return np.empty(0)


@dataclass(frozen=True, eq=False)
class ContinuousEvent(Event):
    """An event where a function of the state goes through zero.

    Parameters
    ----------
    condition : callable
        `condition(u, p, t)`, a scalar. The event is at the last time before it changes its sign,
        found to rounding errors on the method's own interpolant. Where it only touches zero
        nothing happens, nor where it is zero to begin with.
    affect : callable, optional
        `affect(u, p, t)` returns the state after the event. Default: the state stays. Events that
        follow each other ever faster end the solve with the retcode "DtLessThanMin". A state that
        is left at rest where the condition is zero, as by a ball that does not bounce at all, is
        held there by the model or not at all: let the event be terminal, or f know of it.
    direction : 0, 1 or -1
        Which changes count: all, those from negative to positive, or those from positive to
        negative; in the direction of integration.
    terminal : bool
        Whether the solve ends here, with the retcode "Terminated". The last saved state is then
        the one at the event.
    interp_points : int
        At how many points of each step the condition is looked at (SciML's name). Two changes of
        sign between two of them are not seen.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    condition: Function
    affect: Function | None = None
    direction: int = 0
    terminal: bool = False
    interp_points: int = 10

    def __post_init__(self) -> None:
        _check_function(self.condition, "condition")
        _check_affect(self.affect)
        if self.direction not in (-1, 0, 1) or isinstance(self.direction, bool):
            raise ValueError(
                "direction must be 0 (every change of sign), 1 (to positive) or -1 (to negative); "
                f"got {check.describe(self.direction)}"
            )
        check.as_flag(self.terminal, "terminal")
        _set(self, "interp_points", check.as_count(self.interp_points, "interp_points"))


@dataclass(frozen=True, eq=False)
class DiscreteEvent(Event):
    """An event after each step whose end fulfils a condition.

    Parameters
    ----------
    condition : callable
        `condition(u, p, t)`, true or false. It is looked at after each step of the method, not in
        between; `tstops` and `dtmax` make sure of steps.
    affect : callable
        `affect(u, p, t)` returns the state after the event. It may be None for a terminal event.
    terminal : bool
        Whether the solve ends here, with the retcode "Terminated".

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    condition: Function
    affect: Function | None = None
    terminal: bool = False

    def __post_init__(self) -> None:
        _check_function(self.condition, "condition")
        _check_affect(self.affect)
        if not check.as_flag(self.terminal, "terminal") and self.affect is None:
            raise TypeError("affect must be given, unless the event is terminal; got None")


@dataclass(frozen=True, eq=False, init=False)
class PresetTimes(Event):
    """An event at given times, which the method steps to exactly.

    Parameters
    ----------
    times : number or array
        When. Times outside of tspan are left out; t0 and t1 are inside.
    affect : callable
        `affect(u, p, t)` returns the state after the event.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    times: Array
    affect: Function

    def __init__(self, times: Any, affect: Function) -> None:
        expected = "a time, or a vector of times"
        given = check.as_observations(times, "times", expected)
        if given.size == 0 or given.ndim > 1:
            raise ValueError(f"times must be {expected}; got {check.describe(times)}")
        at = np.unique(given)
        if np.isnan(at).any():
            raise ValueError("times must be finite; got nan")
        _check_function(affect, "affect")
        _set(self, "times", at)
        _set(self, "affect", affect)

    def schedule(self, t0: float, t1: float) -> Array:
        inside = self.times[(self.times >= min(t0, t1)) & (self.times <= max(t0, t1))]
        return inside if t1 > t0 else inside[::-1]


@dataclass(frozen=True, eq=False)
class PeriodicEvent(Event):
    """An event at t0 + phase + period, t0 + phase + 2 period, ..., as far as t1.

    Parameters
    ----------
    period : float
        Time between two events, > 0. Backwards in time they lie before t0.
    affect : callable
        `affect(u, p, t)` returns the state after the event.
    phase : float
        Shift of all the times, >= 0.
    initial_affect : bool
        Whether the event happens at t0 + phase, too.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    period: float
    affect: Function
    phase: float = 0.0
    initial_affect: bool = False

    def __post_init__(self) -> None:
        check.as_positive(self.period, "period")
        _check_function(self.affect, "affect")
        check.as_nonnegative(self.phase, "phase")
        check.as_flag(self.initial_affect, "initial_affect")

    def schedule(self, t0: float, t1: float) -> Array:
        length = abs(t1 - t0) - self.phase
        count = np.floor(length / self.period * (1.0 + 1e-15))
        if count > _MOST_TIMES:
            raise ValueError(
                f"period must fit at most {_MOST_TIMES} times into tspan; got {self.period}"
            )
        first = 0 if self.initial_affect else 1
        after = self.phase + self.period * np.arange(first, count + 1)
        return np.clip(t0 + np.copysign(after, t1 - t0), min(t0, t1), max(t0, t1))


@dataclass(frozen=True, eq=False)
class Positive(Event):
    """Components that are never negative.

    After each step, an entry below -abstol has the step refused and tried again with half the
    size; one between -abstol and 0 is set to 0 (L. F. Shampine, S. Thompson, J. A. Kierzenka,
    G. D. Byrne, "Non-negative solutions of ODEs", Appl. Math. Comput. 170 (2005) 556-569). Between
    the steps nothing is changed. It is for errors that make a positive solution negative; one that
    does become negative is not followed: the solve creeps along zero until `maxiters`. Needs an
    adaptive step.

    Parameters
    ----------
    indices : list of int, optional
        Flat indices of entries of u0. Default: all.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    indices: Any = None

    def components(self, n: int) -> np.ndarray[Any, np.dtype[np.intp]]:
        """The flat indices, in a state of n entries."""
        if self.indices is None:
            return np.arange(n)
        return check.as_indices(self.indices, n, "indices")


@dataclass(frozen=True, eq=False)
class ManifoldProjection(Event):
    """Known invariants: after each step, the state is moved to the nearest one that has them.

    The standard projection of E. Hairer, C. Lubich, G. Wanner, "Geometric numerical integration",
    section IV.4, with the captured Jacobian; a step whose end cannot be projected is refused.
    Between the steps, and so at an event within one, the invariants are kept as well as the
    tolerances ask. The state at t0 should have them.

    Parameters
    ----------
    residual : callable
        `residual(u, p, t)`, a scalar or a vector, zero on the manifold; its entries have
        gradients that are independent of each other.

    Raises
    ------
    TypeError
        The message names the argument, what came and what was expected.
    """

    residual: Function

    def __post_init__(self) -> None:
        _check_function(self.residual, "residual")


class Happened(NamedTuple):
    """The times at which one event happened, and the states there.

    Attributes
    ----------
    t : (k,) array
    before, after : (k, *u0.shape) arrays
        The states that it found and that it left.
    """

    t: Array
    before: Array
    after: Array


def as_events(value: Any, n: int) -> tuple[Event, ...]:
    """A list of events of a problem with n components, checked."""
    if value is None:
        return ()
    expected = "a list of events (ContinuousEvent, DiscreteEvent, PresetTimes, ...)"
    if isinstance(value, Event):
        raise TypeError(
            f"events must be {expected}; got one {type(value).__name__}: put it in a list"
        )
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"events must be {expected}; got {check.describe(value)}")
    for i, event in enumerate(value):
        if not isinstance(event, Event):
            raise TypeError(
                f"events must be {expected}; got {check.describe(event)} in events[{i}]"
            )
        if isinstance(event, Positive):
            event.components(n)
    return tuple(value)


def _set(event: Event, name: str, value: Any) -> None:
    """Set a field of a frozen event while it is made."""
    object.__setattr__(event, name, value)


def _check_affect(affect: Any) -> None:
    if affect is not None:
        _check_function(affect, "affect")


def _check_function(function: Any, name: str) -> None:
    """A function that can be called with u, p and t."""
    expected = f"a function {name}(u, p, t)"
    check.require_callable(function, name, expected)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have none
        return
    try:
        signature.bind(None, None, None)
    except TypeError:
        called = getattr(function, "__name__", type(function).__name__)
        raise TypeError(f"{name} must be {expected}; got {called}{signature}") from None
