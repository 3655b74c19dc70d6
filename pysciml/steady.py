"""Steady states: where a right-hand side is zero, and how they move with the parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import engines
from pysciml import validation as check
from pysciml.engines.base import SUCCESSFUL, Array, RawSolution, SolveOptions, Stats
from pysciml.engines.batches import added
from pysciml.errors import SolveError, UnsupportedError
from pysciml.problems import ODEProblem, SteadyStateProblem

if TYPE_CHECKING:
    from pysciml.capture import Model
    from pysciml.engines.native.events import Function

_ROOTFIND = "SSRootfind"
_DYNAMIC = "DynamicSS"
_FOLLOWED_BY = "Rodas5P"
_LATEST = 1e100  # where an integration ends that has found no steady state
_SINGULAR = 1e13  # condition number of a Jacobian from which its inverse says nothing
_MAXITERS = 100_000


@dataclass(frozen=True, repr=False)
class SteadyStateSolution:
    """What was found.

    Attributes
    ----------
    u : (*u0.shape,) array
        The steady state.
    resid : (*u0.shape,) array
        f(u, p), zero but for errors.
    retcode : str
        "Success", or SciML's name of what went wrong.
    alg : str
        How it was found.
    stats : Stats
        Work counters of the integration, and f's evaluations of both.
    problem : SteadyStateProblem
    message : str
        What went wrong; empty after success.
    """

    u: Array
    resid: Array
    retcode: str
    alg: str
    stats: Stats
    problem: SteadyStateProblem
    message: str = ""

    @property
    def success(self) -> bool:
        return self.retcode in SUCCESSFUL

    def __repr__(self) -> str:
        size = np.linalg.norm(self.resid)
        return (
            f"SteadyStateSolution({self.retcode}: u {self.u.shape}, |f| = {size:.3g}, {self.alg})"
        )


class _System:
    """The compiled f and Jacobian at the problem's parameters, as functions of the flat state."""

    def __init__(self, problem: SteadyStateProblem) -> None:
        self.problem = problem
        self.n = problem.u0.size
        if not _is_autonomous(problem.model):
            raise ValueError(
                "f of a SteadyStateProblem must not depend on t: there would be no steady state"
            )
        self._f = self._compiled("f", self.n)

    def _compiled(self, name: str, size: int) -> Function:
        from pysciml.engines.native.events import Function
        from pysciml.engines.native.workspace import compiled_of

        return Function(compiled_of(self.problem.model).function(name), size)

    def f(self, u: Array) -> Array:
        return self._f(u, self.problem.p_flat, 0.0)

    def jacobian(self, u: Array) -> Array:
        """(n, n), df_i/du_j."""
        jac = self._compiled("jac", self.n * self.n)
        return jac(u, self.problem.p_flat, 0.0).reshape(self.n, self.n)

    def is_singular(self, u: Array) -> bool:
        """Whether the Jacobian is, to rounding."""
        return not np.linalg.cond(self.jacobian(u.reshape(-1)), 1) < _SINGULAR

    def pull_p(self, u: Array, w: Array) -> Array:
        """(n_p,), the transpose of df/dp times w."""
        n_p = self.problem.p_flat.size
        if n_p == 0:
            return np.zeros(0)
        return self._compiled("vjp_p", n_p)(u, self.problem.p_flat, 0.0, w)


def refuse_times(**given: Any) -> None:
    """Refuse options of a solve over time; None stands for one that was not given."""
    for name, value in given.items():
        if value is not None:
            raise TypeError(
                f"{name} has no meaning for a SteadyStateProblem: there is no time in it"
            )


def solve_steady(
    problem: SteadyStateProblem,
    alg: str | None,
    engine: str,
    abstol: Any,
    reltol: Any,
    maxiters: Any,
    raise_on_failure: Any,
) -> SteadyStateSolution:
    """`solve` of a SteadyStateProblem."""
    search = _SEARCHES[engines.for_problem(engine, problem, ()).name]
    options = SolveOptions(
        abstol=check.as_positive(abstol, "abstol"),
        reltol=check.as_positive(reltol, "reltol"),
        maxiters=_MAXITERS if maxiters is None else check.as_count(maxiters, "maxiters"),
        save_everystep=False,
        dense=False,
    )
    must_succeed = check.as_flag(raise_on_failure, "raise_on_failure")
    name, method = _parsed(alg)
    by = search(_System(problem), options)
    if name == _ROOTFIND:
        found = by.rootfind(method, problem.u0_flat)
    else:
        found = by.follow(method or _FOLLOWED_BY)
        if alg is None and found.success and not by.system.is_singular(found.u):
            found = _polished(by, found)
    if must_succeed and not found.success:
        hint = f' No flow ends in an unstable one; "{_ROOTFIND}" may find it.'
        hint *= name == _DYNAMIC
        raise SolveError(f"{found.alg} found no steady state: {found.message}{hint}", found)
    return found


def steady_pullback(problem: SteadyStateProblem, u: Array, by_u: Array) -> Array:
    """dL/dp of a function L of the steady state u, from dL/du, both flat.

    By the implicit function theorem, f(u(p), p) = 0 gives J du/dp = -df/dp.
    """
    system = _System(problem)
    if system.is_singular(u):
        raise ValueError(
            "the Jacobian is singular at the steady state, so p alone does not fix it: where "
            "something is conserved, put that in f in the place of one of its entries"
        )
    return -system.pull_p(u, np.linalg.solve(system.jacobian(u).T, by_u))


def _parsed(alg: str | None) -> tuple[str, str | None]:
    """The kind of search, and the method for it if one is named."""
    name = (alg or _DYNAMIC).replace("()", "").replace(" ", "")
    for kind in (_ROOTFIND, _DYNAMIC):
        if name == kind:
            return kind, None
        if name.startswith(f"{kind}(") and name.endswith(")"):
            return kind, name[len(kind) + 1 : -1]
    known = (_ROOTFIND, _DYNAMIC, f"{_DYNAMIC}(Rodas5P)")
    raise ValueError(
        f'alg must be "{_ROOTFIND}", "{_DYNAMIC}" or "{_DYNAMIC}(method)" for a '
        f"SteadyStateProblem; got {alg!r}{check.did_you_mean(name, known)}"
    )


class _Search:
    """How an engine looks for a steady state."""

    def __init__(self, system: _System, options: SolveOptions) -> None:
        self.system = system
        self.options = options

    def follow(self, method: str) -> SteadyStateSolution:
        """Integrate until the steady state."""
        raise NotImplementedError

    def rootfind(self, method: str | None, start: Array) -> SteadyStateSolution:
        """Find a root. It is as exact as f is; the tolerances judge the residual."""
        raise NotImplementedError

    def _is_small(self, resid: Array, u: Array) -> bool:
        most = self.options.abstol + self.options.reltol * np.linalg.norm(u)
        return bool(np.linalg.norm(resid) <= most)

    def _found(
        self, u: Array, retcode: str, alg: str, stats: Stats, message: str
    ) -> SteadyStateSolution:
        problem, shape = self.system.problem, self.system.problem.u0.shape
        resid = self.system.f(u).reshape(shape)
        return SteadyStateSolution(u.reshape(shape), resid, retcode, alg, stats, problem, message)


class _NativeSearch(_Search):
    """By a compiled test after each step of the flow; by SciPy's MINPACK."""

    def follow(self, method: str) -> SteadyStateSolution:
        problem, options = self.system.problem, self.options
        p = np.append(problem.p_flat, [options.abstol, options.reltol])
        flow = _flow(problem.model).at(problem.u0_flat, p)
        raw = engines.get("native").solve(flow, method, replace(options, events=flow.events))
        retcode, message = raw.retcode, raw.message
        if retcode == "Terminated":
            retcode = "Success"
        elif retcode == "Success":
            retcode, message = "Failure", f"the flow has found none by t = {_LATEST:g}"
        return self._found(raw.u[-1], retcode, f"{_DYNAMIC}({raw.alg})", raw.stats, message)

    def rootfind(self, method: str | None, start: Array) -> SteadyStateSolution:
        from scipy.optimize import root

        if method is not None:
            raise UnsupportedError(
                f'"{_ROOTFIND}({method})" is not in the native engine, whose "{_ROOTFIND}" is '
                'SciPy\'s hybrid Powell method; the methods of NonlinearSolve need engine="julia"'
            )
        system = self.system
        options = {"xtol": 1e-13, "maxfev": self.options.maxiters}
        found = root(system.f, start, jac=system.jacobian, method="hybr", options=options)
        u = np.asarray(found.x, dtype=float)
        # 4 and 5: no more progress, as happens at a root, within rounding errors
        ended = found.success or found.status in (4, 5)
        success = ended and self._is_small(system.f(u), u)
        retcode = "Success" if success else "ConvergenceFailure"
        message = "" if success else " ".join(str(found.message).split())
        stats = Stats(nf=int(found.nfev), njacs=int(found.njev))
        return self._found(u, retcode, _ROOTFIND, stats, message)


class _JuliaSearch(_Search):
    """By SteadyStateDiffEq and NonlinearSolve."""

    def follow(self, method: str) -> SteadyStateSolution:
        raw = self._solve(self.system.problem, f"{_DYNAMIC}({method})")
        return self._found(raw.u[-1], raw.retcode, raw.alg, raw.stats, raw.message)

    def rootfind(self, method: str | None, start: Array) -> SteadyStateSolution:
        from pysciml.engines.julia.steady import ROOT_FINDERS

        problem = self.system.problem.at(start, self.system.problem.p_flat)
        raw = self._solve(problem, f"{_ROOTFIND}({method or ROOT_FINDERS[0]})")
        u, retcode, message = raw.u[-1], raw.retcode, raw.message
        resid = self.system.f(u)
        if self._is_small(resid, u):  # it may have stalled, as happens at a root
            retcode, message = "Success", ""
        elif retcode == "Success":
            size = np.linalg.norm(resid)
            retcode, message = "ConvergenceFailure", f"it ended where |f| is {size:.3g}"
        return self._found(u, retcode, raw.alg, raw.stats, message)

    def _solve(self, problem: SteadyStateProblem, alg: str) -> RawSolution:
        return engines.get("julia").solve(problem, alg, self.options)


_SEARCHES: dict[str, type[_Search]] = {"native": _NativeSearch, "julia": _JuliaSearch}


def _flow(model: Model) -> ODEProblem:
    """The ODE that ends in the steady state; its parameters end with abstol and reltol."""
    from pysciml.events import DiscreteEvent

    flow: ODEProblem | None = model.compiled.get("flow")
    if flow is None:
        import torch

        def f(u: Any, p: Any, t: Any) -> Any:
            return model.flat_function(u.reshape(model.state_shape), p[:-2], t)

        def is_steady(u: Any, p: Any, t: Any) -> Any:
            rate = torch.linalg.vector_norm(f(u, p, t))
            return rate <= p[-2] + p[-1] * torch.linalg.vector_norm(u)

        end = DiscreteEvent(is_steady, terminal=True)
        p = np.append(model.p_flat, [1.0, 1.0])
        flow = ODEProblem(f, np.zeros(model.n), (0.0, _LATEST), p, events=[end])
        model.compiled["flow"] = flow
    return flow


def _polished(by: _Search, found: SteadyStateSolution) -> SteadyStateSolution:
    """The root next to where the flow has ended; that state itself when there is none."""
    root = by.rootfind(None, found.u.reshape(-1))
    if not root.success or np.linalg.norm(root.resid) > np.linalg.norm(found.resid):
        return found
    return replace(root, alg=f"{found.alg}, {root.alg}", stats=added(found.stats, root.stats))


def _is_autonomous(model: Model) -> bool:
    found: bool | None = model.compiled.get("autonomous")
    if found is None:
        from pysciml.capture.sparsity import dependence

        found = model.compiled["autonomous"] = dependence(model.f, "t").nnz == 0
    return found
