"""Boundary value problems: shooting with the sensitivity equations, collocation by SciPy.

Collocation is SciPy's `solve_bvp`, of order 4, after Kierzenka and Shampine (ACM TOMS 27 (2001)
299-316), with the captured Jacobians. It knows conditions at two ends only: where others look
inside, the solution is cut at these times and its pieces are laid side by side over [0, 1].
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import Array, RawSolution, SolveOptions, Stats
from pysciml.errors import UnsupportedError
from pysciml.sensitivity.tangent import tangent_problem
from pysciml.validation import did_you_mean

if TYPE_CHECKING:
    from pysciml.engines.native.engine import NativeEngine
    from pysciml.problems import BVProblem

NAMES = ("Collocation", "Shooting")
_FIRST_INTERVALS = 20  # of the first mesh, between two conditions, when there is no dt
_XTOL = 1e-10  # of the state at t0 that shooting finds
_RETCODES = {0: "Success", 1: "MaxIters", 2: "ConvergenceFailure", 3: "ConvergenceFailure"}


def solve(
    engine: NativeEngine, problem: BVProblem, alg: str | None, options: SolveOptions
) -> RawSolution:
    """`alg`: "Collocation", the default, "Shooting", or "Shooting(method)" with one for ODEs."""
    name, inner = _split(alg)
    functions = _Functions(problem)
    if name == "Shooting":
        return _shoot(engine, problem, functions, inner, options)
    _refuse_steps(options)
    return _collocate(problem, functions, options)


def _split(alg: str | None) -> tuple[str, str | None]:
    """The method and, of shooting, the one for the initial value problems."""
    plain = "Collocation" if alg is None else alg.replace("()", "").replace(" ", "")
    name, bracket, inner = plain.partition("(")
    if name not in NAMES or (bracket and (name != "Shooting" or not inner.endswith(")"))):
        raise ValueError(
            f'alg must be "Collocation", "Shooting" or "Shooting(method)" for a BVProblem on '
            f'engine="native"; got {alg!r}{did_you_mean(name, NAMES)}. Others are on engine="julia"'
        )
    return name, inner[:-1] or None


class _Functions:
    """The compiled right-hand side and conditions with their Jacobians, at the parameters."""

    def __init__(self, problem: BVProblem) -> None:
        self.p = problem.p_flat
        self.n = n = problem.u0.size
        conditions = problem.conditions
        self.times = np.array(conditions.times)
        m = self.times.size
        self.f = _function(problem.model, "f", n)
        self.jac = _function(problem.model, "jac", n * n)
        self.bc = _function(conditions.model, "f", n)
        self.bc_jac = _function(conditions.model, "jac", n * m * n)

    def residual(self, x: Array) -> Array:
        """(n,), the conditions for the states at `times`, (m, n)."""
        return self.bc(x.reshape(-1), self.p, 0.0)

    def residual_jac(self, x: Array) -> Array:
        """(n, m, n), their derivatives."""
        flat = self.bc_jac(x.reshape(-1), self.p, 0.0)
        return flat.reshape(self.n, self.times.size, self.n)


def _function(model: Any, name: str, size: int) -> Any:
    from pysciml.engines.native.events import Function
    from pysciml.engines.native.workspace import compiled_of

    return Function(compiled_of(model).function(name), size)


# -- shooting --------------------------------------------------------------------------------------
class _Lost(Exception):
    """An initial value problem stopped before the last condition."""

    def __init__(self, raw: RawSolution) -> None:
        super().__init__()
        self.raw = raw


def _shoot(
    engine: NativeEngine,
    problem: BVProblem,
    functions: _Functions,
    method: str | None,
    options: SolveOptions,
) -> RawSolution:
    """MINPACK's hybrid Powell method for the state at t0; each solve brings the Jacobian along."""
    from scipy.optimize import root

    n = functions.n
    start = problem.guessed(np.array(problem.tspan[:1]))[0]
    initial = problem.initial_value_problem(start)
    at_conditions = replace(
        options,
        saveat=functions.times,
        save_idxs=None,
        dense=False,
        abstol=float(np.min(options.abstol)),
        reltol=float(np.min(options.reltol)),
    )

    def residual(start: Array) -> tuple[Array, Array]:
        tangent = tangent_problem(initial.at(start, functions.p), np.eye(n), no_directions)
        raw = engine.solve(tangent, method, at_conditions)
        z = raw.u.reshape(-1, 1 + n, n)  # at each time the state, and how it moves with the start
        x = np.ascontiguousarray(z[:, 0])
        if not raw.success:
            raise _Lost(replace(raw, u=x))
        slope = np.einsum("imj,mkj->ik", functions.residual_jac(x), z[:, 1:])
        return functions.residual(x), slope

    no_directions = np.zeros((n, functions.p.size))
    try:
        found = root(residual, start, jac=True, method="hybr", options={"xtol": _XTOL})
    except _Lost as lost:
        why = f"the initial value problem that a shot solves stopped: {lost.raw.message}"
        return replace(lost.raw, alg=f"Shooting({lost.raw.alg})", message=why)
    raw = engine.solve(initial.at(found.x, functions.p), method, options)
    raw.alg = f"Shooting({raw.alg})"
    size = np.linalg.norm(found.fun)
    if raw.success and not size <= at_conditions.abstol + at_conditions.reltol * np.sqrt(n):
        raw.retcode = "ConvergenceFailure"
        raw.message = f"the conditions are missed by {size:.3g}: " + " ".join(found.message.split())
    return raw


# -- collocation -----------------------------------------------------------------------------------
def _refuse_steps(options: SolveOptions) -> None:
    """Collocation has no steps of which these could be the options."""
    given = {
        "tstops": options.tstops is not None,
        "dtmin": options.dtmin > 0.0,
        "dtmax": options.dtmax is not None,
        "adaptive": not options.adaptive,
        "save_everystep": not options.save_everystep,
        "alg_options": bool(options.algorithm),
    }
    for name in (name for name, is_given in given.items() if is_given):
        raise UnsupportedError(f"{name} has no meaning for Collocation")


class _Pieces:
    """The solution, cut at the times that conditions look at, as one of n k states over [0, 1]."""

    def __init__(self, problem: BVProblem, functions: _Functions) -> None:
        self.functions = functions
        times = {*problem.tspan, *functions.times.tolist()}
        self.edges = np.array(sorted(times, reverse=problem.tspan[1] < problem.tspan[0]))
        self.lengths = np.diff(self.edges)
        self.k = self.lengths.size
        self.at = [int(np.flatnonzero(self.edges == t)[0]) for t in functions.times]
        self.evaluations = [0, 0]  # of f, and of its Jacobian

    def times(self, s: Array) -> Array:
        """(k, m), where the points s lie in each piece."""
        found: Array = self.edges[:-1, None] + self.lengths[:, None] * s
        return found

    def rhs(self, s: Array, y: Array) -> Array:
        """(n k, m)"""
        self.evaluations[0] += s.size * self.k
        f, p = self.functions.f, self.functions.p
        out = np.empty((self.k, s.size, self.functions.n))
        for j, (times, length, states) in enumerate(self._points(s, y)):
            for i, t in enumerate(times):
                out[j, i] = length * f(states[i], p, t)
        return out.transpose(0, 2, 1).reshape(-1, s.size)

    def rhs_jac(self, s: Array, y: Array) -> Array:
        """(n k, n k, m), a block for each piece."""
        self.evaluations[1] += s.size * self.k
        jac, p, n = self.functions.jac, self.functions.p, self.functions.n
        out = np.zeros((self.k, n, self.k, n, s.size))
        for j, (times, length, states) in enumerate(self._points(s, y)):
            for i, t in enumerate(times):
                out[j, :, j, :, i] = length * jac(states[i], p, t).reshape(n, n)
        return out.reshape(self.k * n, self.k * n, s.size)

    def _points(self, s: Array, y: Array) -> Any:
        states = np.ascontiguousarray(y.reshape(self.k, -1, s.size).transpose(0, 2, 1))
        return zip(self.times(s).tolist(), self.lengths.tolist(), states, strict=True)

    def conditions(self, left: Array, right: Array) -> Array:
        """(n k,): the user's, and that the pieces meet."""
        left, right = left.reshape(self.k, -1), right.reshape(self.k, -1)
        x = np.vstack([left[:1], right])[self.at]
        return np.concatenate([self.functions.residual(x), (right[:-1] - left[1:]).reshape(-1)])

    def conditions_jac(self, left: Array, right: Array) -> tuple[Array, Array]:
        """(n k, n k), twice: by the states at the left ends and by those at the right ones."""
        n, k = self.functions.n, self.k
        x = np.vstack([left.reshape(k, -1)[:1], right.reshape(k, -1)])[self.at]
        by_edge = np.zeros((n, k + 1, n))
        by_edge[:, self.at] = self.functions.residual_jac(x)
        by_left, by_right = np.zeros((k, n, k, n)), np.zeros((k, n, k, n))
        by_left[0, :, 0], by_right[0] = by_edge[:, 0], by_edge[:, 1:]
        for j in range(1, k):
            by_left[j, :, j], by_right[j, :, j - 1] = -np.eye(n), np.eye(n)
        return by_left.reshape(n * k, -1), by_right.reshape(n * k, -1)

    def states(self, curve: Any, times: Array) -> Array:
        """(m, n), of SciPy's interpolant over [0, 1] at m times."""
        forwards = self.edges if self.lengths[0] > 0 else -self.edges
        at = times if self.lengths[0] > 0 else -times
        piece = np.clip(np.searchsorted(forwards, at, side="right") - 1, 0, self.k - 1)
        s = (times - self.edges[piece]) / self.lengths[piece]
        y = curve(s).reshape(self.k, self.functions.n, -1)
        found: Array = y[piece, :, np.arange(times.size)]
        return found


def _collocate(problem: BVProblem, functions: _Functions, options: SolveOptions) -> RawSolution:
    from scipy.integrate import solve_bvp

    pieces = _Pieces(problem, functions)
    count = _FIRST_INTERVALS
    if options.dt is not None:
        count = int(np.ceil(np.abs(pieces.lengths).max() / options.dt))
    s = np.linspace(0.0, 1.0, 1 + max(count, 2))
    guess = [problem.guessed(times).T for times in pieces.times(s)]
    with np.errstate(all="ignore"):  # a poor guess goes far before it is given up
        found = solve_bvp(
            pieces.rhs,
            pieces.conditions,
            s,
            np.concatenate(guess),
            fun_jac=pieces.rhs_jac,
            bc_jac=pieces.conditions_jac,
            tol=float(np.min(options.reltol)),
            bc_tol=float(np.min(options.abstol)),
            max_nodes=options.maxiters,
        )
    times = options.saveat
    if times is None:
        times = np.append(pieces.times(found.x[:-1]), problem.tspan[1])
    u = pieces.states(found.sol, times)
    return RawSolution(
        t=times,
        u=np.ascontiguousarray(u if options.save_idxs is None else u[:, options.save_idxs]),
        retcode=_RETCODES[found.status],
        alg="Collocation",
        stats=Stats(nf=pieces.evaluations[0], njacs=pieces.evaluations[1]),
        interpolate=(lambda t: pieces.states(found.sol, t)) if options.dense else None,
        message="" if found.success else found.message,
    )
