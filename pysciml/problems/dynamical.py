"""Partitioned and second-order differential equations, as they are in mechanics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.events import Event
from pysciml.problems.joined import JoinedODEProblem, both_in_place, works_in_place
from pysciml.solution import index_names


class DynamicalODEProblem(JoinedODEProblem):
    """An initial value problem of two halves, such as momenta and positions:

        dv/dt = f1(v, u, p, t),  du/dt = f2(v, u, p, t)  with v(t0) = v0, u(t0) = u0.

    Its state, `problem.u0`, is v0 above u0, of shape (2, *u0.shape), as SciML orders them: of a
    solution, `sol.u[:, 0]` is v over time and `sol.u[:, 1]` is u. Any method for an `ODEProblem`
    solves it, and events, losses and `remake` have this state. Symplectic methods take it when it
    is separable, f1 independent of v and f2 of u, with a fixed step `dt`: natively
    "SymplecticEuler", "VelocityVerlet", "VerletLeapfrog", "Ruth3", "McAte4", "CandyRoz4",
    "Yoshida6", "KahanLi6", "KahanLi8", whose gradients are exact, too; on Julia these but "McAte4",
    and "LeapfrogDriftKickDrift", "PseudoVerletLeapfrog", "McAte2", "McAte3", "McAte8", "SofSpa10".
    There they have no gradients, what is saved inside a step is interpolated, and only
    "SymplecticEuler", the Verlet methods and "LeapfrogDriftKickDrift" take functions of t.

    Parameters
    ----------
    f1, f2 : callable
        Both as `f(v, u, p, t)` or both in place as `f(dv, v, u, p, t)` (f2 writes du there).
    v0, u0 : number, list, array or tensor
        State at t0, of one shape.
    tspan, p, events
        As for `ODEProblem`.
    names : list of str, optional
        Names of the entries of v0, then of u0. Default: v[0], ..., u[0], ...

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ()

    def __init__(
        self,
        f1: Callable[..., Any],
        f2: Callable[..., Any],
        v0: Any,
        u0: Any,
        tspan: Any,
        p: Any = None,
        *,
        names: Sequence[str] | None = None,
        events: Sequence[Event] | None = None,
    ) -> None:
        join = _pair_in_place if both_in_place(f1, f2, "v", "u", "p", "t") else _pair
        state = _stacked(v0, u0, "v0")
        names = _names(state, "v") if names is None else names
        self._join(join, (f1, f2), state, tspan, p, names, events)


class SecondOrderODEProblem(DynamicalODEProblem):
    """An initial value problem of second order, u'' = f(u', u, p, t), u'(t0) = du0, u(t0) = u0.

    It is the `DynamicalODEProblem` with v = u': of a solution, `sol.u[:, 0]` is u' over time and
    `sol.u[:, 1]` is u. It is separable where f does not depend on u'. Then Julia's Nystrom methods
    take it, which have half the stages: "DPRKN6", "DPRKN8", "DPRKN12", "ERKN4", "ERKN5", "ERKN7",
    ... with steps of their own choice, "Nystrom4VelocityIndependent", "IRKN3", "IRKN4", ... with
    fixed ones; "FineRKN4", "FineRKN5" and "Nystrom4" also take an f of u'. "VelocityVerlet" on
    Julia is for this problem only.

    Parameters
    ----------
    f : callable
        `f(du, u, p, t)` returns u''; `f(ddu, du, u, p, t)` writes it into `ddu`.
    du0, u0 : number, list, array or tensor
        State at t0, of one shape.
    tspan, p, events
        As for `ODEProblem`.
    names : list of str, optional
        Names of the entries of du0, then of u0. Default: du[0], ..., u[0], ...

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ()

    def __init__(
        self,
        f: Callable[..., Any],
        du0: Any,
        u0: Any,
        tspan: Any,
        p: Any = None,
        *,
        names: Sequence[str] | None = None,
        events: Sequence[Event] | None = None,
    ) -> None:
        in_place = works_in_place(f, "f", "du", "u", "p", "t")
        state = _stacked(du0, u0, "du0")
        names = _names(state, "du") if names is None else names
        join = _second_order_in_place if in_place else _second_order
        self._join(join, (f,), state, tspan, p, names, events)


def _stacked(v0: Any, u0: Any, name: str) -> Array:
    v, u = check.as_state(v0, name), check.as_state(u0)
    if v.shape != u.shape:
        raise ValueError(
            f"{name} must be {check.shape_words(u.shape)}, like u0; got {check.describe(v0)}"
        )
    return np.stack([v, u])


def _names(state: Array, v: str) -> list[str]:
    labels = index_names(state.shape[1:])
    return [v + label[1:] for label in labels] + list(labels)


def _pair(f1: Callable[..., Any], f2: Callable[..., Any]) -> Callable[..., Any]:
    def f(x: Any, p: Any, t: Any) -> Any:
        return [f1(x[0], x[1], p, t), f2(x[0], x[1], p, t)]

    return f


def _pair_in_place(f1: Callable[..., Any], f2: Callable[..., Any]) -> Callable[..., Any]:
    def f(dx: Any, x: Any, p: Any, t: Any) -> None:
        f1(dx[0], x[0], x[1], p, t)
        f2(dx[1], x[0], x[1], p, t)

    return f


def _second_order(acceleration: Callable[..., Any]) -> Callable[..., Any]:
    def f(x: Any, p: Any, t: Any) -> Any:
        return [acceleration(x[0], x[1], p, t), x[0]]

    return f


def _second_order_in_place(acceleration: Callable[..., Any]) -> Callable[..., Any]:
    def f(dx: Any, x: Any, p: Any, t: Any) -> None:
        acceleration(dx[0], x[0], x[1], p, t)
        dx[1] = x[0]

    return f
