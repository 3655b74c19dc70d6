"""Derivatives of solutions: of a loss (`gradient`), of the states themselves (`sensitivities`), and
second ones (`hessian_vector`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import engines
from pysciml import validation as check
from pysciml.engines.base import AdjointOptions, Array, Engine, RawSolution, SolveOptions
from pysciml.engines.native.symplectic_tableau import SYMPLECTIC
from pysciml.errors import SolveError, UnsupportedError
from pysciml.problems import ODEProblem, Problem
from pysciml.solution import Solution
from pysciml.solve import check_problem, failure_message, solve, solve_options
from pysciml.steady import SteadyStateProblem, refuse_times, steady_pullback

if TYPE_CHECKING:
    import torch

# Forward sensitivities solve for n (1 + k) states, an adjoint costs some three solves whatever k.
_FORWARD_UP_TO = 3
_FORWARD = ("forward", "ForwardSensitivity")


@dataclass(frozen=True)
class Gradient:
    """A loss and its derivatives.

    Attributes
    ----------
    value : float
        The loss.
    p : as the problem's parameters, or dict
        dloss/dp, in the structure of `p`; a module's by name; for `wrt=names` a dict by name.
    u0 : (*u0.shape,) array
        dloss/du0.
    t : (len(t),) array or None
        dloss/dt of each saved time, with `times=True`.
    p_flat : (n_p,) array
        dloss/dp, in the order of `problem.model.parameters.names`.
    solution : Solution or SteadyStateSolution
        What was solved.
    sensealg : str
        How the derivatives were computed.
    """

    value: float
    p: Any
    u0: Array
    t: Array | None
    p_flat: Array
    solution: Any
    sensealg: str


@dataclass(frozen=True)
class Sensitivities:
    """Derivatives of the states.

    Attributes
    ----------
    t : (len(t),) array
    u : (len(t), *u0.shape) array
    p : (len(t), *u0.shape, k) array
        du(t)/dp for the k parameters in `names`.
    u0 : (len(t), *u0.shape, *u0.shape) array or None
        du(t)/du0; None when it was not asked for.
    names : tuple of str
        Labels of the last axis of `p`.
    solution : Solution
        Of the sensitivity equations; its states are (1 + k + n, n).
    """

    t: Array
    u: Array
    p: Array
    u0: Array | None
    names: tuple[str, ...]
    solution: Solution


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
        return _steady_gradient(problem, loss, alg, engine, wrt, {**tolerances, **options})
    setup = _Setup(problem, alg, engine, saveat, abstol, reltol, options)
    _check_loss(loss)
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
        raw, u, pull = _forward(setup, wrt)
    else:
        raw, pullback = setup.engine.solve_with_pullback(problem, alg, setup.options, adjoint)
        setup.require_success(raw)
        u = raw.u

        def pull(cotangent: Array) -> tuple[Array, Array]:
            found = pullback(cotangent)
            return found.u0, found.p

    value, by_u, by_p = _loss_gradient(loss, problem, u)
    u0, p = pull(by_u)
    p = p + by_p
    return Gradient(
        value=value,
        p=_in_structure(problem, p) if wrt is None else _by_name(problem, p, wrt),
        u0=u0.reshape(problem.u0.shape),
        t=_time_gradient(problem, raw.t, u, by_u) if times else None,
        p_flat=p,
        solution=setup.solution(raw),
        sensealg=method,
    )


def sensitivities(
    problem: ODEProblem,
    alg: str | None = None,
    engine: str = "auto",
    saveat: Any = None,
    abstol: Any = 1e-6,
    reltol: Any = 1e-3,
    *,
    wrt: Sequence[str] | None = None,
    u0: bool = True,
    **options: Any,
) -> Sensitivities:
    """du(t)/dp and du(t)/du0, by solving the sensitivity equations along with the problem.

    Their errors are controlled like those of the states.

    Parameters
    ----------
    problem : ODEProblem
    alg, engine, saveat, abstol, reltol, **options
        As for `solve`; tolerances are numbers.
    wrt : list of str, optional
        Names of the parameters wanted. Default: all.
    u0 : bool
        Whether du(t)/du0 is wanted.

    Returns
    -------
    Sensitivities

    Raises
    ------
    TypeError, ValueError, UnsupportedError, SolveError
        As for `solve`. A singular mass matrix is refused: its algebraic states have no free
        initial value; `gradient(..., sensealg="adjoint")` takes it.
    """
    setup = _Setup(problem, alg, engine, saveat, abstol, reltol, options)
    chosen = _chosen(problem, wrt)
    with_u0 = check.as_flag(u0, "u0")
    raw = _solve_tangent(setup, chosen, with_u0)
    shape = problem.u0.shape
    z = raw.u.reshape(len(raw.t), -1, problem.u0.size)
    by_p = np.moveaxis(z[:, 1 : 1 + chosen.size], 1, -1)
    by_u0 = np.moveaxis(z[:, 1 + chosen.size :], 1, -1)
    names = problem.model.parameters.names
    return Sensitivities(
        t=raw.t,
        u=np.ascontiguousarray(z[:, 0]).reshape(-1, *shape),
        p=by_p.reshape(len(raw.t), *shape, chosen.size),
        u0=by_u0.reshape(-1, *shape, *shape) if with_u0 else None,
        names=tuple(names[i] for i in chosen),
        solution=Solution(_tangent(setup, chosen, with_u0), setup.engine.name, setup.options, raw),
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
    from pysciml.tangent import moving_tangent_problem

    setup = _Setup(problem, alg, engine, saveat, abstol, reltol, options)
    setup.require_smooth()
    _check_loss(loss)
    if p is None and u0 is None:
        raise ValueError("p or u0 must be given: the vector that the Hessian is multiplied with")
    n, n_p = problem.u0.size, problem.p_flat.size
    dp = np.zeros(n_p) if p is None else problem.remake(p=p).p_flat
    du0 = np.zeros(n) if u0 is None else problem.remake(u0=u0).u0_flat
    tangent = moving_tangent_problem(problem, du0, dp)
    raw, pullback = setup.engine.solve_with_pullback(tangent, alg, setup.options, AdjointOptions())
    setup.require_success(raw)
    value, by_z, by_p = _directional_gradient(loss, problem, raw.u.reshape(len(raw.t), 2, n), dp)
    found = pullback(by_z)
    by_p = found.p[:n_p] + by_p
    return Gradient(
        value=value,
        p=_in_structure(problem, by_p),
        u0=found.u0[:n].reshape(problem.u0.shape),
        t=None,
        p_flat=by_p,
        solution=Solution(tangent, setup.engine.name, setup.options, raw),
        sensealg="forward over adjoint",
    )


class _Setup:
    """A checked call: the problem, the engine and the options of the solve."""

    def __init__(
        self,
        problem: ODEProblem,
        alg: str | None,
        engine: str,
        saveat: Any,
        abstol: Any,
        reltol: Any,
        options: dict[str, Any],
    ) -> None:
        check_problem(problem, alg)
        if not problem.has_derivatives:
            kind = check.with_article(problem.kind)
            raise UnsupportedError(f"there are no derivatives of the solution of {kind} yet")
        for name in ("save_idxs", "dense", "raise_on_failure", "save_noise", "initialize"):
            if name in options:
                raise TypeError(f"{name} has no meaning for derivatives of a solution")
        self.problem = problem
        self.alg = alg
        self.options: SolveOptions = solve_options(
            problem, saveat, abstol, reltol, dense=False, **options
        )
        self.engine: Engine = engines.for_problem(engine, problem, self.options.events, alg)

    def require_smooth(self) -> None:
        """For what the sensitivity equations of an ODE are solved."""
        if self.problem.has_memory:
            raise UnsupportedError(
                "of a DDEProblem there is the gradient of a loss only: gradient(...), with "
                'sensealg="auto"'
            )
        if self.problem.is_random:
            raise UnsupportedError(
                f"of {check.with_article(self.problem.kind)} there are first derivatives, and "
                'backwards along a path: gradient(..., sensealg="adjoint")'
            )
        if self.options.events:
            raise UnsupportedError(
                "only first derivatives go through events, and backwards: "
                'gradient(..., sensealg="adjoint")'
            )

    def solution(self, raw: RawSolution) -> Solution:
        return Solution(self.problem, self.engine.name, self.options, raw)

    def require_success(self, raw: RawSolution) -> None:
        if not raw.success:
            solution = self.solution(raw)
            raise SolveError(failure_message(solution), solution)


# -- steady states ---------------------------------------------------------------------------------
def _steady_gradient(
    problem: SteadyStateProblem,
    loss: Callable[..., Any],
    alg: str | None,
    engine: str,
    wrt: Sequence[str] | None,
    options: dict[str, Any],
) -> Gradient:
    check_problem(problem, alg)
    _check_loss(loss)
    if "raise_on_failure" in options:
        raise TypeError("raise_on_failure has no meaning for derivatives of a solution")
    solution = solve(problem, alg, engine, **options)
    u = solution.u.reshape(1, -1)
    value, by_u, by_p = _loss_gradient(_of_one_state(loss), problem, u)
    p = by_p + steady_pullback(problem, u[0], by_u[0])
    return Gradient(
        value=value,
        p=_in_structure(problem, p) if wrt is None else _by_name(problem, p, wrt),
        u0=np.zeros(problem.u0.shape),  # where the search begins does not move what it finds
        t=None,
        p_flat=p,
        solution=solution,
        sensealg="implicit function theorem",
    )


def _of_one_state(loss: Callable[..., Any]) -> Callable[..., Any]:
    """A loss of a state as one of the saved states, of which there is one."""
    if _takes_p(loss):
        return lambda u, p: loss(u[0], p)
    return lambda u: loss(u[0])


# -- forward ---------------------------------------------------------------------------------------
def _tangent(setup: _Setup, chosen: Any, with_u0: bool) -> ODEProblem:
    from pysciml.tangent import tangent_problem

    setup.require_smooth()
    problem = setup.problem
    mass = problem.mass_matrix
    if mass is not None and np.linalg.matrix_rank(mass) < len(mass):
        raise UnsupportedError(
            "forward sensitivities need a regular mass_matrix: the algebraic states of a singular "
            'one have no free initial value; gradient(..., sensealg="adjoint") takes it'
        )
    n, n_p = problem.u0.size, problem.p_flat.size
    dp = np.eye(n_p)[chosen]
    du0 = np.zeros((chosen.size, n))
    if with_u0:
        dp, du0 = np.vstack([dp, np.zeros((n, n_p))]), np.vstack([du0, np.eye(n)])
    return tangent_problem(problem, du0, dp)


def _solve_tangent(setup: _Setup, chosen: Any, with_u0: bool) -> RawSolution:
    tangent = _tangent(setup, chosen, with_u0)
    options = setup.options
    for name in ("abstol", "reltol"):
        if not isinstance(getattr(options, name), float):
            raise ValueError(
                f"{name} must be one number for sensitivities: it holds for them as well"
            )
    raw = setup.engine.solve(tangent, setup.alg, options)
    if not raw.success:
        solution = Solution(tangent, setup.engine.name, options, raw)
        raise SolveError(failure_message(solution), solution)
    return raw


def _forward(
    setup: _Setup, wrt: Sequence[str] | None
) -> tuple[RawSolution, Array, Callable[[Array], tuple[Array, Array]]]:
    """A solve whose pullback multiplies with the sensitivities."""
    problem = setup.problem
    chosen = _chosen(problem, wrt)
    raw = _solve_tangent(setup, chosen, True)
    z = raw.u.reshape(len(raw.t), -1, problem.u0.size)
    k = chosen.size

    def pull(cotangent: Array) -> tuple[Array, Array]:
        along = np.einsum("ti,tji->j", cotangent, z[:, 1:])
        p = np.zeros(problem.p_flat.size)
        p[chosen] = along[:k]
        return along[k:], p

    u = np.ascontiguousarray(z[:, 0])
    plain = RawSolution(raw.t, u, raw.retcode, raw.alg, raw.stats)
    return plain, u, pull


# -- the loss --------------------------------------------------------------------------------------
def _check_loss(loss: Any) -> None:
    check.require_callable(loss, "loss", "a function loss(u) or loss(u, p)")


def _takes_p(loss: Callable[..., Any]) -> bool:
    if isinstance(loss, FunctionType) and not hasattr(loss, "__wrapped__"):  # a signature is slow
        return loss.__code__.co_argcount - len(loss.__defaults__ or ()) == 2
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have none
        return False
    positional = [q for q in parameters if q.kind in (q.POSITIONAL_ONLY, q.POSITIONAL_OR_KEYWORD)]
    return len([q for q in positional if q.default is q.empty]) == 2


def _evaluator(
    loss: Callable[..., Any], problem: Problem
) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]:
    """The loss on (len(t), *u0.shape) states and flat parameters, its result checked."""
    import torch

    takes_p = _takes_p(loss)

    def evaluate(u: torch.Tensor, p: torch.Tensor | None) -> torch.Tensor:
        value = loss(u, problem.model.parameters.unflatten(p)) if takes_p else loss(u)
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"loss must return a torch tensor with one element; got {check.describe(value)}"
            )
        if value.numel() != 1:
            raise ValueError(f"loss must return one number; got shape {tuple(value.shape)}")
        return value.reshape(()).double()

    return evaluate


def _loss_gradient(
    loss: Callable[..., Any], problem: Problem, u: Array
) -> tuple[float, Array, Array]:
    """The loss, and its gradient in the flat states and in the parameters themselves."""
    import torch

    states = torch.from_numpy(u.reshape(len(u), *problem.u0.shape)).requires_grad_()
    p = torch.tensor(problem.p_flat, requires_grad=True) if _takes_p(loss) else None
    with torch.enable_grad():
        value = _evaluator(loss, problem)(states, p)
        found = _derivatives(value, (states,) if p is None else (states, p))
    by_u, *by_p = (g.numpy() for g in found)
    return (
        value.item(),
        by_u.reshape(len(u), -1),
        by_p[0] if by_p else np.zeros_like(problem.p_flat),
    )


def _directional_gradient(
    loss: Callable[..., Any], problem: ODEProblem, z: Array, dp: Array
) -> tuple[float, Array, Array]:
    """<loss', (s, dp)> for z = (u, s), and its gradient in z and in the parameters."""
    import torch

    pairs = torch.from_numpy(z).requires_grad_()
    p = torch.tensor(problem.p_flat, requires_grad=True)
    direction = torch.from_numpy(dp)
    shape = (len(z), *problem.u0.shape)
    with torch.enable_grad():
        u, s = pairs[:, 0].reshape(shape), pairs[:, 1].reshape(shape)
        value = _evaluator(loss, problem)(u, p)
        by_u, by_p = _derivatives(value, (u, p), create_graph=True)
        along = (by_u * s).sum() + (by_p * direction).sum()
        by_z, by_p = _derivatives(along, (pairs, p))
    return along.item(), by_z.numpy().reshape(len(z), -1), by_p.numpy()


def _derivatives(
    value: torch.Tensor, inputs: tuple[torch.Tensor, ...], create_graph: bool = False
) -> list[torch.Tensor]:
    """Gradients of a scalar; zeros in what it does not depend on."""
    import torch

    if not value.requires_grad:  # a constant
        return [torch.zeros_like(x) for x in inputs]
    found = torch.autograd.grad(value, inputs, allow_unused=True, create_graph=create_graph)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


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


# -- names -----------------------------------------------------------------------------------------
def _sensealg(name: Any, setup: _Setup, wrt: Sequence[str] | None) -> str:
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
    count = setup.problem.u0.size + _chosen(setup.problem, wrt).size
    plain = isinstance(setup.options.abstol, float) and isinstance(setup.options.reltol, float)
    few = count <= _FORWARD_UP_TO and plain and setup.options.saveat is not None
    return "forward" if few else "adjoint"


def _chosen(problem: ODEProblem, wrt: Sequence[str] | None) -> Any:
    """Flat indices of the named parameters."""
    if wrt is None:
        return np.arange(problem.p_flat.size)
    if isinstance(wrt, str):
        raise TypeError(f"wrt must be a list of parameter names; got the string {wrt!r}")
    found = [_flat_indices(problem, name) for name in wrt]
    return np.concatenate([*found, np.zeros(0)]).astype(np.intp)


def _flat_indices(problem: Problem, name: Any) -> Any:
    layout = problem.model.parameters
    for leaf in layout.leaves:
        if leaf.label == name:
            return np.arange(leaf.start, leaf.start + leaf.size)
    if name in layout.names:
        return np.array([layout.names.index(name)])
    known = [*dict.fromkeys([leaf.label for leaf in layout.leaves] + list(layout.names))]
    hint = check.did_you_mean(str(name), known)
    raise ValueError(f"wrt names no parameter {name!r}{hint}; known: {', '.join(known[:12])}")


def _in_structure(problem: Problem, p: Array) -> Any:
    return problem.model.parameters.unflatten(p)


def _by_name(problem: Problem, p: Array, wrt: Sequence[str]) -> dict[str, Any]:
    shapes = {leaf.label: leaf.shape for leaf in problem.model.parameters.leaves}
    return {name: p[_flat_indices(problem, name)].reshape(shapes.get(name, ()))[()] for name in wrt}


def _optional_tolerance(value: Any, name: str) -> float | None:
    return None if value is None else check.as_positive(value, name)
