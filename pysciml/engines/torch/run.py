"""One solve by torchdiffeq, plain or to be differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import AdjointOptions, Array, Cotangents, RawSolution, SolveOptions, Stats
from pysciml.engines.torch.interpolant import Interpolant
from pysciml.engines.torch.methods import FIXED, SCIPY
from pysciml.engines.torch.right_hand_side import RightHandSide, StepLimit

if TYPE_CHECKING:
    import torch

    from pysciml.engines.torch.ensemble import BatchedProblem
    from pysciml.problems import ODEProblem

_UNIFORM_POINTS = 101  # where a method does not tell its own steps


class Run:
    """One solve: the right-hand side with its counters, and what torchdiffeq is given."""

    def __init__(
        self, problem: ODEProblem | BatchedProblem, method: str, options: SolveOptions
    ) -> None:
        import torch

        self.problem = problem
        self.method = method
        self.options = options
        self.u0 = torch.as_tensor(problem.u0)
        self.p = torch.as_tensor(problem.p_flat)
        self.arguments = {
            "rtol": _tolerance(options.reltol, problem.model.state_shape),
            "atol": _tolerance(options.abstol, problem.model.state_shape),
            "method": method,
            "options": _settings(method, options) or None,
        }

    def use_norm(self, norm: Callable[[Any], Any]) -> None:
        """Measure the error in this norm, unless the user has chosen one."""
        self.arguments["options"] = {"norm": norm, **(self.arguments["options"] or {})}

    def solve(self) -> RawSolution:
        times = self._output_times()
        rhs = RightHandSide(
            self.problem,
            self.p,
            self.method,
            self.options.maxiters,
            keep_states=self.options.saveat is None,
        )
        retcode, message = "Success", ""
        try:
            states = self._odeint(rhs, times)
            rhs.finished = True
        except StepLimit:
            retcode, message = "MaxIters", f"{self.options.maxiters} steps were not enough"
        except AssertionError as error:  # how torchdiffeq reports a step that fails
            retcode, message = _failure(error)
        if retcode != "Success":
            times, states = self._until_failure(rhs, times)
        elif self._saves_steps() and self.method != SCIPY:
            times, states = rhs.steps(times[-1], states[-1])
        if retcode == "Success" and len(states) < len(times):  # how SciPy's failure looks here
            times = times[: len(states)]
            retcode, message = "Failure", "SciPy's solver stopped early"
        if retcode == "Success" and not np.isfinite(states).all():
            retcode, message = "Unstable", "the state is not finite"
        return RawSolution(
            t=times,
            u=states.reshape(len(times), -1),
            retcode=retcode,
            alg=self.method,
            stats=Stats(nf=rhs.nf, naccept=rhs.naccept, nreject=rhs.nreject),
            interpolate=self._interpolant(rhs) if self.options.dense else None,
            message=message and f"{message} {rhs.whereabouts(times)}",
        )

    def at(self, times: Array) -> Array:
        """Flat states at times, strictly monotone and starting at t0, by a solve of its own."""
        states = self._odeint(RightHandSide(self.problem, self.p), times)
        return states.reshape(len(times), -1)

    def _interpolant(self, rhs: RightHandSide) -> Interpolant:
        t1 = self.problem.tspan[1]
        return Interpolant(self, np.array([*rhs.times, t1] if rhs.finished else rhs.times))

    def _odeint(self, rhs: Callable[..., Any], times: Array) -> Array:
        import torch

        with torch.no_grad():
            found: Array = self._tensors(rhs, times).numpy()
        return found

    def _tensors(self, rhs: Callable[..., Any], times: Array) -> torch.Tensor:
        import torch

        t0 = self.problem.tspan[0]
        starts_at_t0 = times[0] == t0
        grid = times if starts_at_t0 else np.concatenate(([t0], times))
        if len(grid) == 1:
            return self.u0[None].clone()
        states = self._call(rhs, torch.as_tensor(grid))
        return states if starts_at_t0 else states[1:]

    def _call(self, rhs: Callable[..., Any], grid: torch.Tensor) -> torch.Tensor:
        from torchdiffeq import odeint

        states: torch.Tensor = odeint(rhs, self.u0, grid, **self.arguments)
        return states

    def _saves_steps(self) -> bool:
        return self.options.saveat is None and self.options.save_everystep

    def _output_times(self) -> Array:
        if self.options.saveat is not None:
            return self.options.saveat
        if self.method == SCIPY and self._saves_steps():
            return np.linspace(*self.problem.tspan, _UNIFORM_POINTS)
        return np.array(self.problem.tspan)

    def _until_failure(self, rhs: RightHandSide, times: Array) -> tuple[Array, Array]:
        """What was computed before a step failed: torchdiffeq itself throws it away."""
        if self.options.saveat is None:
            return rhs.steps()
        t0, t1 = self.problem.tspan
        times = times[(times <= rhs.times[-1]) if t1 > t0 else (times >= rhs.times[-1])]
        if not len(times):
            times = np.array([t0])
        return times, self._odeint(RightHandSide(self.problem, self.p), times)


class DifferentiableRun(Run):
    """A solve whose saved states are still tensors that know where they come from."""

    def __init__(
        self,
        problem: ODEProblem,
        method: str,
        options: SolveOptions,
        sensealg: str,
        adjoint: AdjointOptions,
    ) -> None:
        import torch

        super().__init__(problem, method, options)
        self.u0 = self.u0.clone().requires_grad_()
        self.p = torch.nn.Parameter(self.p.clone())
        self._by_adjoint = sensealg == "odeint_adjoint"
        self._backward = {"adjoint_rtol": adjoint.reltol, "adjoint_atol": adjoint.abstol}
        self._states: torch.Tensor | None = None

    def solve(self) -> RawSolution:
        raw = super().solve()
        if self._states is None or len(self._states) != len(raw.t):  # saved from the callbacks
            self._odeint(RightHandSide(self.problem, self.p), raw.t)
        return raw

    def pullback(self, states_bar: Array) -> Cotangents:
        import torch

        states = self._states
        assert states is not None  # `solve` has run
        u0_bar, p_bar = torch.autograd.grad(
            states,
            (self.u0, self.p),
            torch.as_tensor(states_bar).reshape(states.shape),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return Cotangents(u0_bar.reshape(-1).numpy(), p_bar.numpy())

    def _odeint(self, rhs: Callable[..., Any], times: Array) -> Array:
        import torch

        with torch.enable_grad():
            states = self._tensors(rhs, times)
        self._states = states
        found: Array = states.detach().numpy()
        return found

    def _call(self, rhs: Callable[..., Any], grid: torch.Tensor) -> torch.Tensor:
        if not self._by_adjoint:
            return super()._call(rhs, grid)
        from torchdiffeq import odeint_adjoint

        # its norm of no parameters at all would be NaN
        parameters = (self.p,) if self.p.numel() else ()
        states: torch.Tensor = odeint_adjoint(
            rhs, self.u0, grid, **self.arguments, **self._backward, adjoint_params=parameters
        )
        return states


def _settings(method: str, options: SolveOptions) -> dict[str, Any]:
    """torchdiffeq's `options`."""
    settings = dict(options.algorithm)
    if options.dtmax is not None:
        settings.setdefault("max_step", options.dtmax)
    if options.dt is not None:
        settings.setdefault("step_size" if method in FIXED else "first_step", options.dt)
    return settings


def _tolerance(value: float | Array, shape: tuple[int, ...]) -> Any:
    if isinstance(value, float):
        return value
    import torch

    return torch.as_tensor(value.reshape(shape))


def _failure(error: AssertionError) -> tuple[str, str]:
    message = str(error)
    if "underflow in dt" in message:
        return "DtLessThanMin", "torchdiffeq: underflow in dt"
    if "non-finite" in message:
        return "Unstable", "torchdiffeq: non-finite values in the state"
    if "max_num_steps" in message:
        return "MaxIters", "torchdiffeq: max_num_steps exceeded"
    raise error
