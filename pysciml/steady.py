"""Steady states: where a right-hand side is zero, and how they move with the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import engines
from pysciml import validation as check
from pysciml.engines.base import SUCCESSFUL, Array, SolveOptions, Stats
from pysciml.engines.batches import added
from pysciml.errors import SolveError, UnsupportedError
from pysciml.problems import ODEProblem, Problem, Source, check_function

if TYPE_CHECKING:
    from pysciml.capture import Model
    from pysciml.engines.native.events import Function

_FOREVER = (0.0, math.inf)
_ROOTFIND = "SSRootfind"
_DYNAMIC = "DynamicSS"
_LATEST = 1e100  # where an integration ends that has found no steady state
_SINGULAR = 1e13  # condition number of a Jacobian from which its inverse says nothing
_MAXITERS = 100_000


class SteadyStateProblem(Problem):
    """A steady state of du/dt = f(u, p, t): a u with f(u, p) = 0.

    `solve(prob, alg)` finds one and returns a `SteadyStateSolution`; `gradient(prob, loss)`
    differentiates a loss of it by the implicit function theorem. `alg` is

    - "DynamicSS", or with a method of the native engine's, "DynamicSS(Rodas5P)": follows the flow
      from u0 until |f| <= abstol + reltol |u| (Euclidean norms), so it finds a stable state;
    - "SSRootfind": SciPy's hybrid Powell method with the captured Jacobian, from u0; quick and to
      rounding errors, but the state it finds need not be stable, nor the one near u0;
    - None: the first, then the second from where that ends, unless the Jacobian is singular there,
      as it is where something is conserved.

    Parameters
    ----------
    f : callable or torch.nn.Module
        As for `ODEProblem`. It must not depend on t.
    u0 : number, list, array or tensor
        Where the search begins.
    p : None, number, vector, or dict, namedtuple or list of numbers and arrays
        Parameters, handed to `f` in the same structure. A copy is kept.
    names : list of str, optional
        Names of the entries of u0, in row-major order.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ()

    kind = "SteadyStateProblem"

    def __init__(
        self, f: Callable[..., Any], u0: Any, p: Any = None, *, names: Sequence[str] | None = None
    ) -> None:
        check_function(f)
        self._set(u0, _FOREVER, p, names)
        self._source = Source(f, self.u0, self._p)

    @staticmethod
    def _checked_tspan(tspan: Any) -> tuple[float, float]:
        if tspan is not _FOREVER:
            raise TypeError("a SteadyStateProblem has no tspan: there is no time in it")
        return _FOREVER


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
        from pysciml.engines.native.run import compiled_of

        return Function(compiled_of(self.problem.model).function(name), size)

    def f(self, u: Array) -> Array:
        return self._f(u, self.problem.p_flat, 0.0)

    def jacobian(self, u: Array) -> Array:
        """(n, n), df_i/du_j."""
        jac = self._compiled("jac", self.n * self.n)
        return jac(u, self.problem.p_flat, 0.0).reshape(self.n, self.n)

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
    engines.check_name(engine)
    if engine not in ("auto", "native"):
        raise UnsupportedError(f'engine="{engine}" has no SteadyStateProblem; engine="native" has')
    abstol, reltol = check.as_positive(abstol, "abstol"), check.as_positive(reltol, "reltol")
    most = _MAXITERS if maxiters is None else check.as_count(maxiters, "maxiters")
    must_succeed = check.as_flag(raise_on_failure, "raise_on_failure")
    inner = _inner_method(alg)
    system = _System(problem)
    if inner is None:
        found = _rootfind(system, problem.u0_flat, abstol, reltol, most)
    else:
        found = _follow(system, inner, abstol, reltol, most)
        if alg is None and found.success and not _is_singular(system.jacobian(found.u.reshape(-1))):
            found = _polished(system, found, abstol, reltol, most)
    if must_succeed and not found.success:
        hint = f' No flow ends in an unstable one; "{_ROOTFIND}" may find it.' if inner else ""
        raise SolveError(f"{found.alg} found no steady state: {found.message}{hint}", found)
    return found


def steady_pullback(problem: SteadyStateProblem, u: Array, by_u: Array) -> Array:
    """dL/dp of a function L of the steady state u, from dL/du, both flat.

    By the implicit function theorem, f(u(p), p) = 0 gives J du/dp = -df/dp.
    """
    system = _System(problem)
    jacobian = system.jacobian(u)
    if _is_singular(jacobian):
        raise ValueError(
            "the Jacobian is singular at the steady state, so p alone does not fix it: where "
            "something is conserved, put that in f in the place of one of its entries"
        )
    return -system.pull_p(u, np.linalg.solve(jacobian.T, by_u))


def _inner_method(alg: str | None) -> str | None:
    """The method that follows the flow; None for root-finding."""
    if alg is None:
        return "Rodas5P"
    name = alg.replace("()", "").replace(" ", "")
    if name == _ROOTFIND:
        return None
    if name == _DYNAMIC:
        return "Rodas5P"
    if name.startswith(f"{_DYNAMIC}(") and name.endswith(")"):
        return name[len(_DYNAMIC) + 1 : -1]
    known = (_ROOTFIND, _DYNAMIC, f"{_DYNAMIC}(Rodas5P)")
    raise ValueError(
        f'alg must be "{_ROOTFIND}", "{_DYNAMIC}" or "{_DYNAMIC}(method)" for a '
        f"SteadyStateProblem; got {alg!r}{check.did_you_mean(name, known)}"
    )


def _follow(
    system: _System, method: str, abstol: float, reltol: float, maxiters: int
) -> SteadyStateSolution:
    """Integrate until the steady state."""
    problem = system.problem
    flow = _flow(problem.model).at(problem.u0_flat, np.append(problem.p_flat, [abstol, reltol]))
    options = SolveOptions(
        abstol=abstol,
        reltol=reltol,
        maxiters=maxiters,
        save_everystep=False,
        dense=False,
        events=flow.events,
    )
    raw = engines.get("native").solve(flow, method, options)
    u, retcode, message = raw.u[-1], raw.retcode, raw.message
    if retcode == "Terminated":
        retcode = "Success"
    elif retcode == "Success":
        retcode, message = "Failure", f"the flow has found none by t = {_LATEST:g}"
    shape = problem.u0.shape
    return SteadyStateSolution(
        u.reshape(shape),
        system.f(u).reshape(shape),
        retcode,
        f"{_DYNAMIC}({raw.alg})",
        raw.stats,
        problem,
        message,
    )


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


def _rootfind(
    system: _System, start: Array, abstol: float, reltol: float, maxiters: int
) -> SteadyStateSolution:
    """SciPy's MINPACK. The root is as exact as f is; the tolerances judge the residual."""
    from scipy.optimize import root

    found = root(
        system.f,
        start,
        jac=system.jacobian,
        method="hybr",
        options={"xtol": 1e-13, "maxfev": maxiters},
    )
    u = np.asarray(found.x, dtype=float)
    resid = system.f(u)
    small = np.linalg.norm(resid) <= abstol + reltol * np.linalg.norm(u)
    # 4 and 5: no more progress, as happens at a root, within rounding errors
    success = bool(small and (found.success or found.status in (4, 5)))
    shape = system.problem.u0.shape
    return SteadyStateSolution(
        u.reshape(shape),
        resid.reshape(shape),
        "Success" if success else "ConvergenceFailure",
        _ROOTFIND,
        Stats(nf=int(found.nfev), njacs=int(found.njev)),
        system.problem,
        "" if success else " ".join(str(found.message).split()),
    )


def _polished(
    system: _System, found: SteadyStateSolution, abstol: float, reltol: float, maxiters: int
) -> SteadyStateSolution:
    """The root next to where the flow has ended; that state itself when there is none."""
    near = found.u.reshape(-1)
    root = _rootfind(system, near, abstol, reltol, maxiters)
    if not root.success or np.linalg.norm(root.resid) > np.linalg.norm(found.resid):
        return found
    return replace(root, alg=f"{found.alg}, {root.alg}", stats=added(found.stats, root.stats))


def _is_autonomous(model: Model) -> bool:
    found: bool | None = model.compiled.get("autonomous")
    if found is None:
        from pysciml.capture.sparsity import pattern

        found = model.compiled["autonomous"] = pattern(model.f, "t").nnz == 0
    return found


def _is_singular(jacobian: Array) -> bool:
    return not np.linalg.cond(jacobian, 1) < _SINGULAR
