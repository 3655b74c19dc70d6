"""Derivatives of a loss of the solution: its gradient, and Hessians times vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import AdjointOptions, Array
from pysciml.engines.native.symplectic.tableau import SYMPLECTIC
from pysciml.errors import UnsupportedError
from pysciml.problems import ODEProblem, SteadyStateProblem
from pysciml.sensitivity.loss import check_loss, directional_gradient, loss_gradient
from pysciml.sensitivity.of_states import forward
from pysciml.sensitivity.of_steady import steady_gradient
from pysciml.sensitivity.parameters import by_name, chosen_indices, in_structure
from pysciml.sensitivity.results import Gradient
from pysciml.sensitivity.setup import Setup
from pysciml.solution import Solution
from pysciml.steady import refuse_times

# Forward sensitivities solve for n (1 + k) states, an adjoint costs some three solves whatever k.
_FORWARD_UP_TO = 3
_FORWARD = ("forward", "ForwardSensitivity")


def gradient(
    problem: ODEProblem | SteadyStateProblem,
    loss: Callable[..., Any],
    alg: str | None = None,
    engine: str = "auto",
    saveat: Any = None,
    sensealg: str = "auto",
    abstol: Any = 1e-6,
    reltol: Any = 1e-3,
    *,
    wrt: Sequence[str] | None = None,
    times: bool = False,
    checkpointing: bool | None = None,
    adjoint_abstol: float | None = None,
    adjoint_reltol: float | None = None,
    **options: Any,
) -> Gradient:
    """Value and gradient of a loss of the solution.

    Parameters
    ----------
    problem : ODEProblem, SDEProblem (along the path of `seed`), SteadyStateProblem, or DDEProblem
        whose lags depend on neither u nor t, differentiated forwards, in u0 at constant history
    loss : callable
        `loss(u)` or `loss(u, p)`, a scalar in torch operations: `u` is a float64 tensor of shape
        (len(t), *u0.shape), the saved states, or the steady state, of u0's shape; `p` has the
        structure of the problem's parameters.
    alg, engine, saveat, abstol, reltol, **options
        As for `solve`.
    sensealg : str
        "adjoint": backwards, at a price that does not depend on the number of parameters;
        "forward": by the sensitivity equations; or a method of the engine's by name (on Julia
        SciMLSensitivity's: "GaussAdjoint", "InterpolatingAdjoint", ...). "auto" is forward for up
        to three quantities (u0 and parameters together), else adjoint.
    wrt : list of str, optional
        Names of the parameters wanted: `p` of the result is then a dict. Default: all.
    times : bool
        Also with respect to the saved times.
    checkpointing : bool, optional
        Recompute steps instead of keeping them all, where the method allows that: memory then
        grows with the square root of the number of steps. Default: when they need much memory.
    adjoint_abstol, adjoint_reltol : float, optional
        Tolerances of a backward solve, where there is one. Default: abstol and reltol.

    Returns
    -------
    Gradient

    Raises
    ------
    TypeError, ValueError, UnsupportedError
        As for `solve`, and for a loss that is not a scalar in torch operations.
    SolveError
        The solve stopped early; there is no gradient.
    """
    if isinstance(problem, SteadyStateProblem):
        refuse_times(
            saveat=saveat,
            sensealg=None if sensealg == "auto" else sensealg,
            times=times or None,
            checkpointing=checkpointing,
            adjoint_abstol=adjoint_abstol,
            adjoint_reltol=adjoint_reltol,
        )
        tolerances = {"abstol": abstol, "reltol": reltol}
        return steady_gradient(problem, loss, alg, engine, wrt, {**tolerances, **options})
    setup = Setup(problem, alg, engine, saveat, abstol, reltol, options)
    check_loss(loss)
    if times and problem.is_random:
        raise UnsupportedError("times=True is not there for noise: a path has no slope")
    if times and problem.has_memory:
        raise UnsupportedError("times=True is not there for a DDEProblem")
    method = _sensealg(sensealg, setup, wrt)
    adjoint = AdjointOptions(
        None if method == "adjoint" else method,
        None if checkpointing is None else check.as_flag(checkpointing, "checkpointing"),
        _optional_tolerance(adjoint_abstol, "adjoint_abstol"),
        _optional_tolerance(adjoint_reltol, "adjoint_reltol"),
    )
    if method in _FORWARD:
        raw, u, pull = forward(setup, wrt)
    else:
        raw, pullback = setup.engine.solve_with_pullback(problem, alg, setup.options, adjoint)
        setup.require_success(raw)
        u = raw.u

        def pull(cotangent: Array) -> tuple[Array, Array]:
            found = pullback(cotangent)
            return found.u0, found.p

    value, by_u, by_p = loss_gradient(loss, problem, u)
    u0, p = pull(by_u)
    p = p + by_p
    return Gradient(
        value=value,
        p=in_structure(problem, p) if wrt is None else by_name(problem, p, wrt),
        u0=u0.reshape(problem.u0.shape),
        t=_time_gradient(problem, raw.t, u, by_u) if times else None,
        p_flat=p,
        solution=setup.solution(raw),
        sensealg=method,
    )


def hessian_vector(
    problem: ODEProblem,
    loss: Callable[..., Any],
    p: Any = None,
    u0: Any = None,
    alg: str | None = None,
    engine: str = "auto",
    saveat: Any = None,
    abstol: Any = 1e-6,
    reltol: Any = 1e-3,
    **options: Any,
) -> Gradient:
    """The product of the loss's Hessian, in (p, u0), with a vector: forward over adjoint.

    The directional derivative of the loss is a loss of the sensitivity equations; its gradient is
    taken backwards.

    Parameters
    ----------
    problem, loss, alg, engine, saveat, abstol, reltol, **options
        As for `gradient`.
    p, u0 : optional
        The vector: its part for the parameters (in their structure, or flat) and for the initial
        state (in its shape). Default: zeros; one of them must be given.

    Returns
    -------
    Gradient
        `value` is the directional derivative of the loss; `p` and `u0` hold the product.

    Raises
    ------
    As `gradient`.
    """
    from pysciml.sensitivity.tangent import moving_tangent_problem  # it needs torch

    setup = Setup(problem, alg, engine, saveat, abstol, reltol, options)
    setup.require_smooth()
    check_loss(loss)
    if p is None and u0 is None:
        raise ValueError("p or u0 must be given: the vector that the Hessian is multiplied with")
    n, n_p = problem.u0.size, problem.p_flat.size
    dp = np.zeros(n_p) if p is None else problem.remake(p=p).p_flat
    du0 = np.zeros(n) if u0 is None else problem.remake(u0=u0).u0_flat
    tangent = moving_tangent_problem(problem, du0, dp)
    raw, pullback = setup.engine.solve_with_pullback(tangent, alg, setup.options, AdjointOptions())
    setup.require_success(raw)
    value, by_z, by_p = directional_gradient(loss, problem, raw.u.reshape(len(raw.t), 2, n), dp)
    found = pullback(by_z)
    by_p = found.p[:n_p] + by_p
    return Gradient(
        value=value,
        p=in_structure(problem, by_p),
        u0=found.u0[:n].reshape(problem.u0.shape),
        t=None,
        p_flat=by_p,
        solution=Solution(tangent, setup.engine.name, setup.options, raw),
        sensealg="forward over adjoint",
    )


def _time_gradient(problem: ODEProblem, t: Array, u: Array, by_u: Array) -> Array:
    """dloss/dt_i = <dloss/du_i, du/dt(t_i)>."""
    slope = _slopes(problem)
    return np.array([by_u[i] @ slope(u[i], t[i]) for i in range(len(t))])


def _slopes(problem: ODEProblem) -> Callable[[Array, float], Array]:
    f, p, mass = problem.model.f, problem.p_flat, problem.mass_matrix
    if mass is None:
        return lambda u, t: f(u, p, t)
    if np.linalg.matrix_rank(mass) < len(mass):
        raise UnsupportedError("times=True needs a regular mass_matrix")
    inverse = np.linalg.inv(mass)
    return lambda u, t: np.asarray(inverse @ f(u, p, t))


def _sensealg(name: Any, setup: Setup, wrt: Sequence[str] | None) -> str:
    known = ("auto", "adjoint", *_FORWARD, *setup.engine.sensealgs())
    if not isinstance(name, str) or name not in known:
        hint = check.did_you_mean(name, known) if isinstance(name, str) else ""
        raise (ValueError if isinstance(name, str) else TypeError)(
            f"sensealg must be one of {', '.join(map(repr, known))} on the {setup.engine.name} "
            f"engine; got {check.describe(name)}{hint}"
        )
    if name != "auto":
        return name
    if setup.options.events or setup.problem.is_random or setup.engine.name == "torch":
        return "adjoint"
    if setup.problem.has_memory:
        return "adjoint"  # the engine's own way, which is forwards
    if setup.problem.mass_matrix is not None:
        return "adjoint"
    if setup.alg is not None and setup.alg.removesuffix("()") in SYMPLECTIC:
        return "adjoint"  # the sensitivity equations are not separable
    count = setup.problem.u0.size + chosen_indices(setup.problem, wrt).size
    plain = isinstance(setup.options.abstol, float) and isinstance(setup.options.reltol, float)
    few = count <= _FORWARD_UP_TO and plain and setup.options.saveat is not None
    return "forward" if few else "adjoint"


def _optional_tolerance(value: Any, name: str) -> float | None:
    return None if value is None else check.as_positive(value, name)
