"""Sensitivity equations with memory: a delay problem together with its derivatives.

With S_j the derivative of the state along the j-th direction, x_i(t) the state at t - lag_i, and
f(u, x_1, ..., p, t) the right-hand side,

    dS_j/dt = f_u S_j + sum over i of f_(x_i) (S_j(t - lag_i) - x_i' dlag_i/dp_j) + f_p dp_j

(C. T. H. Baker, E. I. Parmuzin, J. Comput. Appl. Math. 194 (2006) 166-191; A. Bellen, M. Zennaro,
Numerical Methods for Delay Differential Equations, 2003, chapter 3). That is a delay problem again,
so what solves the one solves the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pysciml.capture.sparsity import pattern
from pysciml.engines.base import (
    AdjointOptions,
    Array,
    Cotangents,
    Pullback,
    RawSolution,
    SolveOptions,
)
from pysciml.errors import UnsupportedError
from pysciml.problems import DDEProblem

if TYPE_CHECKING:
    from pysciml.capture.delays import CapturedDelays

_Solve = Callable[[DDEProblem, "str | None", SolveOptions], RawSolution]


def solve_with_pullback(
    solve: _Solve,
    problem: DDEProblem,
    alg: str | None,
    options: SolveOptions,
    adjoint: AdjointOptions,
) -> tuple[RawSolution, Pullback]:
    """See `Engine.solve_with_pullback`; `solve` is the engine's own.

    Forwards, so the price grows with the number of parameters. The derivative in u0 is at constant
    history. Lags may be parameters, but must not depend on u or t.
    """
    if adjoint.sensealg is not None:
        raise UnsupportedError(
            "a DDEProblem is differentiated by its sensitivity equations, sensealg=None; "
            f"got {adjoint.sensealg!r}"
        )
    n = problem.u0_flat.size
    tangent = tangent_problem(problem)
    rows = tangent.u0.shape[0]
    wide = replace(
        options, abstol=_for_rows(options.abstol, rows), reltol=_for_rows(options.reltol, rows)
    )
    raw = solve(tangent, alg, wide)
    states = raw.u.reshape(-1, rows, n)
    slopes = states[:, 1:]

    def pullback(gradient: Array) -> Cotangents:
        found = np.einsum("tjn,tn->j", slopes, gradient)
        return Cotangents(found[:n], found[n:])

    return replace(raw, u=np.ascontiguousarray(states[:, 0]), interpolate=None), pullback


def tangent_problem(problem: DDEProblem) -> DDEProblem:
    """The problem for the state and its derivatives, u above the S_j: (1 + n + n_p, n).

    The first n directions are those of u0, the others those of the parameters, which are flat.
    """
    delays = problem.delays
    _check(problem, delays)
    n, n_p = problem.u0_flat.size, problem.p_flat.size
    z0 = np.vstack([problem.u0_flat, np.eye(n), np.zeros((n_p, n))])
    store = delays.rhs.compiled
    template = store.get("delay tangent")
    if template is None:
        template = store["delay tangent"] = DDEProblem(
            _right_hand_side(delays),
            z0,
            _history(delays),
            problem.tspan,
            problem.p_flat,
            constant_lags=problem.constant_lags,
            neutral=problem.neutral,
        )
    found: DDEProblem = template.remake(u0=z0, p=problem.p_flat, tspan=problem.tspan)
    return found


def _check(problem: DDEProblem, delays: CapturedDelays) -> None:
    if delays.dependent or problem.dependent_lags:
        raise UnsupportedError(
            "there are derivatives of the solution of a DDEProblem whose lags are numbers or "
            "parameters; here some depend on u or t"
        )
    if delays.is_neutral and _lags_are_parameters(delays):
        raise UnsupportedError(
            "there are no derivatives in the lags of a neutral DDEProblem: f asks h for derivatives"
        )


def _lags_are_parameters(delays: CapturedDelays) -> bool:
    return bool(pattern(delays.times.f, "p").nnz)


def _right_hand_side(delays: CapturedDelays) -> Callable[..., Tensor]:
    n, n_p, k = delays.times.n, delays.rhs.n_p, len(delays.orders)
    by_lag = _lags_are_parameters(delays)

    def f(z: Tensor, h: Any, p: Tensor, t: Tensor) -> Tensor:
        times = _times(delays, p, t)
        past = [
            h(p, times[i], deriv=order) if order else h(p, times[i])
            for i, order in enumerate(delays.orders)
        ]
        states = [z, *past]
        point = torch.cat([*(each[0] for each in states), p])

        def at(x: Tensor) -> Tensor:
            state = x[: (1 + k) * n].reshape(delays.rhs.state_shape)
            return delays.rhs.flat_function(state, x[(1 + k) * n :], t)

        slope, jacobian = _with_jacobian(at, point, n)
        parts = jacobian.split([n] * (1 + k) + [n_p], dim=1)
        moved = sum(each[1:] @ part.T for each, part in zip(states, parts[:-1], strict=True))
        by_p = parts[-1].T
        if by_lag:
            _, shifts = _with_jacobian(lambda p: _times(delays, p, t), p, k)
            for i, part in enumerate(parts[1:-1]):
                by_p = by_p + torch.outer(shifts[i], part @ h(p, times[i], deriv=1)[0])
        direct = torch.cat([torch.zeros(n, n, dtype=z.dtype), by_p])
        return torch.cat([slope.unsqueeze(0), moved + direct])

    return f


def _history(delays: CapturedDelays) -> Callable[..., Tensor]:
    """The state before t0 and its derivatives: those in u0 are zero."""
    n = delays.times.n

    def h(p: Tensor, t: Tensor) -> Tensor:
        nowhere = torch.zeros(delays.times.state_shape, dtype=p.dtype)
        state, by_p = _with_jacobian(lambda p: delays.history.flat_function(nowhere, p, t), p, n)
        return torch.cat([state.unsqueeze(0), torch.zeros(n, n, dtype=p.dtype), by_p.T])

    return h


def _times(delays: CapturedDelays, p: Tensor, t: Tensor) -> Tensor:
    """The times that f asks h for, which do not depend on u."""
    nowhere = torch.zeros(delays.times.state_shape, dtype=p.dtype)
    return delays.times.flat_function(nowhere, p, t)


def _with_jacobian(f: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """f(x), (rows,), and its Jacobian, (rows, len(x)), one product with a unit vector each."""
    y, pullback, *_ = torch.func.vjp(f, x)
    return y, torch.stack([pullback(e)[0] for e in torch.eye(rows, dtype=x.dtype)])


def _for_rows(tolerance: float | Array, rows: int) -> float | Array:
    return tolerance if isinstance(tolerance, float) else np.tile(tolerance, rows)
