"""torchdiffeq, called the way its own users call it: the honest baseline.

The user's own Python function runs on float64 tensors with torchdiffeq's `odeint`, under
`torch.no_grad` unless the solve is to be differentiated. No speed trick goes in, and none is kept
out. Reference: Chen, torchdiffeq (2018), https://github.com/rtqichen/torchdiffeq.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import (
    AdjointOptions,
    Array,
    Availability,
    Batch,
    Cotangents,
    EnsembleOptions,
    Pullback,
    RawBatch,
    RawSolution,
    SolveOptions,
    Stats,
)
from pysciml.engines.batches import added, solve_each
from pysciml.engines.torch import stochastic
from pysciml.errors import UnsupportedError
from pysciml.problems import SDEProblem
from pysciml.validation import did_you_mean

if TYPE_CHECKING:
    import torch

    from pysciml.engines.torch.ensemble import BatchedProblem
    from pysciml.problems import ODEProblem

_ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
_FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams")
_SCIPY = "scipy_solver"
_METHODS = (*_ADAPTIVE, *_FIXED, _SCIPY)

# SciML's names of the same methods
_ALIASES = {
    "DP5": "dopri5",
    "DP8": "dopri8",
    "BS3": "bosh3",
    "Euler": "euler",
    "Midpoint": "midpoint",
    "RK4": "rk4",
}

_SENSEALGS = ("backprop", "odeint_adjoint")

_UNIFORM_POINTS = 101  # where a method does not tell its own steps


class TorchEngine:
    """torchdiffeq behind the engine protocol.

    Without `saveat` an adaptive method returns its own steps. `sol(t)` is torchdiffeq's own
    interpolant; it is made by a second solve on the first call. `maxiters` counts all steps of a
    solve, where torchdiffeq's own limit starts anew at each output time. `alg_options` are
    torchdiffeq's `options`.

    An SDE goes to torchsde with its fixed step `dt`, by its default method when `alg` is None (srk,
    euler for general noise, midpoint in the sense of Stratonovich). `alg_options` are torchsde's
    `options`, and {"adaptive": True} is its adaptive stepping.
    """

    name = "torch"
    ensemblealgs: tuple[str, ...] = ("EnsembleSerial",)
    free_threaded = False
    batched = True

    def availability(self) -> Availability:
        from importlib.util import find_spec

        for package in ("torch", "torchdiffeq"):
            if find_spec(package) is None:
                return Availability(False, f"{package} is not installed", f"pip install {package}")
        return Availability(True)

    def algorithms(self, kind: str | None = None) -> tuple[str, ...]:
        of_odes = (*_METHODS, *_ALIASES)
        if kind is None:
            return (*of_odes, *stochastic.NAMES)
        return stochastic.NAMES if kind == "SDEProblem" else of_odes

    def solve(
        self, problem: ODEProblem | SDEProblem, alg: str | None, options: SolveOptions
    ) -> RawSolution:
        if isinstance(problem, SDEProblem):
            return stochastic.solve(problem, alg, options)
        method = _method(alg)
        _check_supported(problem, method, options)
        run = _Run(problem, method, options)
        raw = run.solve()
        if options.save_idxs is not None:
            raw.u = np.ascontiguousarray(raw.u[:, options.save_idxs])
        return raw

    def solve_many(
        self,
        problem: ODEProblem | SDEProblem,
        alg: str | None,
        options: SolveOptions,
        batch: Batch,
        out: Array,
        stop: NDArray[np.int64],
        how: EnsembleOptions,
    ) -> RawBatch:
        """One solve for a whole batch; see `ensemble` beside this file, and `ManyEngine`.

        A batch that fails is solved in halves, down to the trajectories that make it fail.
        """
        from pysciml.engines.torch import ensemble

        if isinstance(problem, SDEProblem):
            if not ensemble.can_be_batched(problem, batch):
                return solve_each(self, problem, alg, options, batch, out, stop)
            return stochastic.solve_many(problem, alg, options, batch, out)
        method = _method(alg)
        _check_supported(problem, method, options)
        if method == _SCIPY or not ensemble.can_be_batched(problem, batch):
            return solve_each(self, problem, alg, options, batch, out, stop)
        return self._solve_batched(problem, method, options, batch, out)

    def _solve_batched(
        self, problem: ODEProblem, method: str, options: SolveOptions, batch: Batch, out: Array
    ) -> RawBatch:
        from pysciml.engines.torch import ensemble

        run = _Run(ensemble.BatchedProblem(problem, batch), method, options)
        if method in _ADAPTIVE:
            run.use_norm(ensemble.largest_norm)
        raw = run.solve()
        count = len(out)
        if raw.retcode != "Success" and count > 1:
            half = count // 2
            parts = [
                self._solve_batched(problem, method, options, batch.part(rows), out[rows])
                for rows in (slice(0, half), slice(half, count))
            ]
            retcodes = np.concatenate([part.retcodes for part in parts])
            return RawBatch(out, retcodes, method, added(parts[0].stats, parts[1].stats))
        u = raw.u.reshape(len(raw.t), count, -1).transpose(1, 0, 2)
        out.fill(np.nan)
        out[:, : len(raw.t)] = u if options.save_idxs is None else u[:, :, options.save_idxs]
        return RawBatch(out, np.full(count, raw.retcode, dtype=object), method, raw.stats)

    def sensealgs(self) -> tuple[str, ...]:
        return _SENSEALGS

    def solve_with_pullback(
        self,
        problem: ODEProblem | SDEProblem,
        alg: str | None,
        options: SolveOptions,
        adjoint: AdjointOptions,
    ) -> tuple[RawSolution, Pullback]:
        """Solve with `odeint` and backpropagate through it, or with `odeint_adjoint`.

        "backprop", the default, differentiates the very steps taken and keeps all of them in
        memory; "odeint_adjoint" solves the adjoint equation backwards, with `adjoint`'s tolerances.
        """
        if isinstance(problem, SDEProblem):
            return stochastic.solve_with_pullback(problem, alg, options, adjoint)
        sensealg = adjoint.sensealg or "backprop"
        method = _method(alg)
        _check_supported(problem, method, options)
        _check_sensealg(sensealg, method, adjoint)
        run = _DifferentiableRun(problem, method, options, sensealg, adjoint)
        return run.solve(), run.pullback


class _Stop(Exception):
    """The step limit is reached."""


class _Run:
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
        rhs = _RightHandSide(
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
        except _Stop:
            retcode, message = "MaxIters", f"{self.options.maxiters} steps were not enough"
        except AssertionError as error:  # how torchdiffeq reports a step that fails
            retcode, message = _failure(error)
        if retcode != "Success":
            times, states = self._until_failure(rhs, times)
        elif self._saves_steps() and self.method != _SCIPY:
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
        states = self._odeint(_RightHandSide(self.problem, self.p), times)
        return states.reshape(len(times), -1)

    def _interpolant(self, rhs: _RightHandSide) -> _Interpolant:
        t1 = self.problem.tspan[1]
        return _Interpolant(self, np.array([*rhs.times, t1] if rhs.finished else rhs.times))

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
        if self.method == _SCIPY and self._saves_steps():
            return np.linspace(*self.problem.tspan, _UNIFORM_POINTS)
        return np.array(self.problem.tspan)

    def _until_failure(self, rhs: _RightHandSide, times: Array) -> tuple[Array, Array]:
        """What was computed before a step failed: torchdiffeq itself throws it away."""
        if self.options.saveat is None:
            return rhs.steps()
        t0, t1 = self.problem.tspan
        times = times[(times <= rhs.times[-1]) if t1 > t0 else (times >= rhs.times[-1])]
        if not len(times):
            times = np.array([t0])
        return times, self._odeint(_RightHandSide(self.problem, self.p), times)


class _DifferentiableRun(_Run):
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
            self._odeint(_RightHandSide(self.problem, self.p), raw.t)
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


class _RightHandSide:
    """f(t, u) as torchdiffeq calls it. Counts calls, and notes the steps through its callbacks."""

    def __init__(
        self,
        problem: ODEProblem | BatchedProblem,
        p: torch.Tensor,
        method: str = "",
        maxiters: int = 0,
        keep_states: bool = False,
    ) -> None:
        self._f = problem.model.torch_function
        self._p = p
        self._left = maxiters
        self._keep_states = keep_states
        self.finished = False
        self.nf = self.naccept = self.nreject = 0
        self.times: list[float] = []
        self._states: list[Any] = []
        self._dt = float("nan")
        # torchdiffeq warns about a callback that its method does not call
        if method in _ADAPTIVE:
            self.callback_step = self._on_try
            self.callback_accept_step = self._on_accept
            self.callback_reject_step = self._on_reject
        elif method in _FIXED:
            self.callback_step = self._on_fixed_step

    def __call__(self, t: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        self.nf += 1
        return self._f(u, self._p, t)

    def _on_try(self, t: torch.Tensor, u: torch.Tensor, dt: torch.Tensor) -> None:
        time = float(t.detach())
        if not self.times or time != self.times[-1]:  # else: another try of the same step
            self.times.append(time)
            if self._keep_states:
                self._states.append(u.detach().clone())
        self._dt = float(dt.detach())
        if self._left == 0:
            raise _Stop
        self._left -= 1

    def _on_fixed_step(self, t: torch.Tensor, u: torch.Tensor, dt: torch.Tensor) -> None:
        self._on_try(t, u, dt)
        self.naccept += 1

    def _on_accept(self, *_: Any) -> None:
        self.naccept += 1

    def _on_reject(self, *_: Any) -> None:
        self.nreject += 1

    def whereabouts(self, times: Array) -> str:
        """Where the solve is, for messages."""
        if not self.times:
            return f"at t = {times[-1]:.6g}"
        return f"at t = {self.times[-1]:.6g} with the step size {self._dt:.3g}"

    def steps(self, t_end: float | None = None, u_end: Array | None = None) -> tuple[Array, Array]:
        """The starts of all steps, and the end of the solve if it was reached."""
        import torch

        states = torch.stack(self._states).numpy()
        times = np.array(self.times)
        if t_end is None or u_end is None:
            return times, states
        return np.append(times, t_end), np.concatenate((states, u_end[None]))


class _Interpolant:
    """torchdiffeq's own interpolant over the whole span.

    On each step it is a polynomial of degree four at most, so its values at five points of the
    step are all of it. One solve that asks for these points, made on the first call, gives them:
    output times do not change torchdiffeq's steps.
    """

    _NODES = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 5))  # Chebyshev points of a step, 0 to 1

    def __init__(self, run: _Run, knots: Array) -> None:
        self._run = run
        self._knots = knots
        self._values: Array | None = None  # (steps, 5, n)

    def __call__(self, times: Array) -> Array:
        if len(self._knots) < 2:
            return self._by_solving(times)
        if self._values is None:
            self._values = self._sample()
        sign = np.sign(self._knots[-1] - self._knots[0])
        last = len(self._knots) - 2
        step = np.searchsorted(sign * self._knots, sign * times, side="right") - 1
        step = np.clip(step, 0, last)
        start = self._knots[step]
        theta = (times - start) / (self._knots[step + 1] - start)
        weights = _lagrange(self._NODES, theta)
        found: Array = np.einsum("mk,mkn->mn", weights, self._values[step])
        return found

    def _sample(self) -> Array:
        start, end = self._knots[:-1, None], self._knots[1:, None]
        inner = start + (end - start) * self._NODES[:-1]
        flat = self._run.at(np.append(inner.ravel(), self._knots[-1]))
        begun = flat[:-1].reshape(*inner.shape, -1)
        return np.concatenate((begun, flat[4::4, None]), axis=1)

    def _by_solving(self, times: Array) -> Array:
        """For a method that does not tell its steps: a solve that asks for these times."""
        t0, t1 = self._run.problem.tspan
        wanted = np.unique(np.append(times, t0))
        if t1 < t0:
            wanted = wanted[::-1].copy()
        flat = self._run.at(wanted)
        sign = np.sign(t1 - t0)
        found: Array = flat[np.searchsorted(sign * wanted, sign * times)]
        return found


def _lagrange(nodes: Array, theta: Array) -> Array:
    """Values of the Lagrange polynomials of `nodes` at `theta`: (len(theta), len(nodes))."""
    difference = theta[:, None] - nodes
    weights = np.empty_like(difference)
    for k, node in enumerate(nodes):
        others = np.delete(nodes, k)
        weights[:, k] = np.delete(difference, k, axis=1).prod(axis=1) / (node - others).prod()
    return weights


def _method(alg: str | None) -> str:
    if alg is None:
        return "dopri5"
    method = _ALIASES.get(alg, alg)
    if method not in _METHODS:
        hint = did_you_mean(alg, (*_METHODS, *_ALIASES))
        raise UnsupportedError(
            f'engine="torch" has no algorithm {alg!r}{hint}. torchdiffeq has '
            f'{", ".join(_METHODS)}. SciML\'s methods need engine="julia"; '
            'Tsit5, Vern7 and Rodas5P are also in engine="native"'
        )
    return method


def _check_supported(problem: ODEProblem, method: str, options: SolveOptions) -> None:
    if problem.mass_matrix is not None:
        raise UnsupportedError(
            'engine="torch" cannot use a mass_matrix; engine="native" (Rodas5P) and '
            'engine="julia" can'
        )
    if options.events:
        raise UnsupportedError('engine="torch" has no events; engine="native" has')
    if options.tstops is not None:
        raise UnsupportedError(
            'engine="torch" has no tstops; engine="native" and engine="julia" have. '
            'torchdiffeq\'s own alg_options={"step_t": tensor} is passed on'
        )
    if options.dtmin > 0.0:
        raise UnsupportedError(
            'engine="torch" has no dtmin: torchdiffeq\'s min_step accepts a step of that size '
            'whatever its error. engine="native" and engine="julia" have it'
        )
    if method in _FIXED and options.dt is None and options.saveat is None:
        raise UnsupportedError(
            f'"{method}" has a fixed step in engine="torch": give dt, or saveat to step from one '
            "of its times to the next"
        )
    if method in _FIXED and options.dtmax is not None:
        raise UnsupportedError(f'"{method}" has a fixed step in engine="torch": it has no dtmax')
    if method not in _FIXED and not options.adaptive:
        raise UnsupportedError(
            f'"{method}" has no fixed step in engine="torch"; {", ".join(_FIXED)} have'
        )
    if method == _SCIPY and options.dt is not None:
        raise UnsupportedError('"scipy_solver" has no dt in engine="torch"')


def _check_sensealg(sensealg: str, method: str, adjoint: AdjointOptions) -> None:
    if sensealg not in _SENSEALGS:
        raise UnsupportedError(
            f'engine="torch" has no sensealg {sensealg!r}, only {" and ".join(_SENSEALGS)}'
            f"{did_you_mean(sensealg, _SENSEALGS)}"
        )
    if sensealg == "backprop" and method == _SCIPY:
        raise UnsupportedError(
            'sensealg="backprop" cannot go through "scipy_solver" in engine="torch"; '
            '"odeint_adjoint" can'
        )
    if adjoint.checkpointing:
        raise UnsupportedError(
            'engine="torch" has no checkpointing; its sensealg="odeint_adjoint" keeps no steps at '
            'all, and engine="native" and engine="julia" have it'
        )


def _settings(method: str, options: SolveOptions) -> dict[str, Any]:
    """torchdiffeq's `options`."""
    settings = dict(options.algorithm)
    if options.dtmax is not None:
        settings.setdefault("max_step", options.dtmax)
    if options.dt is not None:
        settings.setdefault("step_size" if method in _FIXED else "first_step", options.dt)
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
