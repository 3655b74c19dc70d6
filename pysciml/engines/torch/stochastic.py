"""torchsde, called the way its own users call it: the honest baseline for SDEs.

The user's own functions run on float64 tensors with torchsde's `sdeint` and a `BrownianInterval`
that has the seed. Reference: Li, Wong, Chen, Duvenaud, "Scalable gradients for stochastic
differential equations" (2020), https://github.com/google-research/torchsde.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import (
    AdjointOptions,
    Array,
    Batch,
    Cotangents,
    Pullback,
    RawBatch,
    RawSolution,
    SolveOptions,
    Stats,
)
from pysciml.engines.lines import Lines
from pysciml.errors import EngineUnavailableError, UnsupportedError
from pysciml.validation import did_you_mean

if TYPE_CHECKING:
    import torch

    from pysciml.problems import SDEProblem

_ITO = ("euler", "milstein", "srk")
_STRATONOVICH = ("midpoint", "heun", "euler_heun", "reversible_heun", "log_ode", "milstein")
NAMES = tuple(dict.fromkeys((*_ITO, *_STRATONOVICH)))
_NOT_GENERAL = ("milstein", "srk")
# SciML's names of the same methods
_ALIASES = {"EM": "euler", "RKMil": "milstein", "EulerHeun": "euler_heun"}
_LEVY_AREA = {"srk": "space-time", "log_ode": "foster"}


def solve(problem: SDEProblem, alg: str | None, options: SolveOptions) -> RawSolution:
    """One path, as a batch of one."""
    import torch

    run = _Run(problem, alg, options)
    with torch.no_grad():
        return run.solution(run.states())


def solve_many(
    problem: SDEProblem, alg: str | None, options: SolveOptions, batch: Batch, out: Array
) -> RawBatch:
    """All trajectories at once, as torchsde's users have it.

    They share a `BrownianInterval`, whose seed is made of the batch's and of its first trajectory:
    the paths are the same only for batches of the same size.
    """
    import torch

    run = _Run(problem, alg, options, batch)
    with torch.no_grad():
        states = run.saved(run.states()).transpose(0, 1)
    u = states.numpy()
    finite = np.logical_and.accumulate(np.isfinite(u).all(axis=2), axis=1)
    out.fill(np.nan)
    kept = slice(None) if options.save_idxs is None else options.save_idxs
    out[:, : u.shape[1]] = np.where(finite[:, :, None], u, np.nan)[:, :, kept]
    retcodes = np.where(finite.all(axis=1), run.retcode, "Unstable").astype(object)
    return RawBatch(out, retcodes, run.method, run.stats)


def solve_with_pullback(
    problem: SDEProblem, alg: str | None, options: SolveOptions, adjoint: AdjointOptions
) -> tuple[RawSolution, Pullback]:
    """One path, and backpropagation through its very steps."""
    import torch

    if adjoint.sensealg not in (None, "backprop") or adjoint.checkpointing:
        raise UnsupportedError('for an SDEProblem engine="torch" has sensealg="backprop" only')
    run = _Run(problem, alg, options)
    with torch.enable_grad():  # a caller may be an autograd.Function
        run.u0.requires_grad_()
        run.p.requires_grad_()
        states = run.states()
        raw = run.solution(states.detach())
        saved = run.saved(states)[: len(raw.t), 0]

    def pullback(states_bar: Array) -> Cotangents:
        u0_bar, p_bar = torch.autograd.grad(
            saved,
            (run.u0, run.p),
            torch.as_tensor(states_bar),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return Cotangents(u0_bar[0].numpy(), p_bar[0].numpy())

    return raw, pullback


class _Run:
    """One call of `sdeint`: what it is given, and what is made of its result."""

    def __init__(
        self,
        problem: SDEProblem,
        alg: str | None,
        options: SolveOptions,
        batch: Batch | None = None,
    ) -> None:
        import torch

        _require_torchsde()
        self.problem, self.options = problem, options
        noise = problem.noise
        if noise == "general" and problem.is_additive:
            noise = "additive"
        self.method = _method(alg, problem.interpretation, noise)
        self.settings = dict(options.algorithm)
        self.adaptive = bool(self.settings.pop("adaptive", False))
        _check_supported(self.method, options, self.adaptive)
        if batch is None:
            first, seed = options.trajectory, options.seed
            u0, p = problem.u0_flat[None], problem.p_flat[None]
        else:
            first, seed, u0, p = batch.first, batch.seed, batch.u0, batch.p
        self.u0, self.p = torch.tensor(np.array(u0)), torch.tensor(np.array(p))
        self.sde = _Sde(problem, self.p, noise)
        self._entropy = (seed or 0) + (first << 64)
        self._choose_times()

    def _choose_times(self) -> None:
        """The times that `sdeint` is asked for, and which of them are the user's."""
        options, dt = self.options, self.options.dt
        assert dt is not None  # `_check_supported`
        t0, t1 = self.problem.tspan
        count = max(1, math.ceil((t1 - t0) / dt - 1e-9))
        ends = np.append(t0 + dt * np.arange(count), t1)
        saved = options.saveat
        if saved is None:
            saved = ends if options.save_everystep else np.array([t0, t1])
        times = np.unique(np.concatenate([[t0], saved, ends if options.dense else []]))
        self.retcode = "Success"
        if count > options.maxiters:
            self.retcode, count = "MaxIters", options.maxiters
            times = times[times <= ends[count]]
        self.times = times
        self._rows = np.flatnonzero(np.isin(times, saved))
        calls = 0 if self.adaptive else count
        self.stats = Stats(nf=self.sde.calls, naccept=calls)

    def states(self) -> torch.Tensor:
        """(times, trajectories, n)."""
        import torch
        from torchsde import BrownianInterval, sdeint

        if len(self.times) == 1:
            return self.u0[None]
        options = self.options
        self.noise = BrownianInterval(
            *self.problem.tspan,
            size=(len(self.u0), math.prod(self.problem.noise_shape)),
            dtype=torch.float64,
            entropy=self._entropy,
            levy_area_approximation=_LEVY_AREA.get(self.method, "none"),
        )
        states: torch.Tensor = sdeint(
            self.sde,
            self.u0,
            torch.as_tensor(self.times),
            bm=self.noise,
            method=self.method,
            dt=options.dt,
            adaptive=self.adaptive,
            rtol=options.reltol,
            atol=options.abstol,
            options=self.settings or None,
        )
        self.stats = Stats(nf=self.sde.calls, naccept=self.stats.naccept)
        return states

    def saved(self, states: torch.Tensor) -> torch.Tensor:
        """The states at the user's times."""
        return states[self._rows]

    def solution(self, states: torch.Tensor) -> RawSolution:
        """Of one trajectory; up to where the state is finite."""
        options, times = self.options, self.times
        whole = states[:, 0].numpy()
        good = int(np.logical_and.accumulate(np.isfinite(whole).all(axis=1)).sum())
        rows = self._rows[self._rows < good]
        t, u = times[rows], whole[rows]
        if options.save_idxs is not None:
            u = np.ascontiguousarray(u[:, options.save_idxs])
        retcode, message = self.retcode, ""
        if retcode == "MaxIters":
            message = f"{options.maxiters} steps were not enough, at t = {times[-1]:.6g}"
        if good < len(times):
            retcode, message = "Unstable", f"the state is not finite at t = {times[good]:.6g}"
        return RawSolution(
            t=t,
            u=u,
            retcode=retcode,
            alg=self.method,
            stats=self.stats,
            interpolate=Lines(times[:good], whole[:good]) if options.dense else None,
            message=message,
            noise=self._wiener(t) if options.save_noise else None,
        )

    def _wiener(self, t: Array) -> Array:
        """The Wiener processes at times."""
        m = math.prod(self.problem.noise_shape)
        t0 = self.problem.tspan[0]
        found = [np.zeros(m) if at == t0 else self.noise(t0, at)[0].numpy() for at in t.tolist()]
        return np.array(found).reshape(-1, *self.problem.noise_shape)


class _Sde:
    """The problem as torchsde's users write it: f(t, y) and g(t, y) on a batch of states."""

    def __init__(self, problem: SDEProblem, p: torch.Tensor, noise: str) -> None:
        import torch

        self.noise_type, self.sde_type = noise, problem.interpretation
        self.calls = 0
        self._p, self._shape = p, problem.u0.shape
        f, g = problem.model.torch_function, problem.noise_model.torch_function
        if len(p) > 1:
            f, g = (torch.func.vmap(each, in_dims=(0, 0, None)) for each in (f, g))
        self._f, self._g = f, g
        columns = () if noise == "diagonal" else (1,) if noise == "scalar" else problem.noise_shape
        self._g_shape = (len(p), problem.u0.size, *columns)

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self._on_batch(self._f, t, y).reshape(y.shape)

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._on_batch(self._g, t, y).reshape(self._g_shape)

    def _on_batch(self, function: Any, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if len(y) == 1:
            found: torch.Tensor = function(y[0].reshape(self._shape), self._p[0], t)
            return found
        return function(y.reshape(-1, *self._shape), self._p, t)  # type: ignore[no-any-return]


def _require_torchsde() -> None:
    from importlib.util import find_spec

    if find_spec("torchsde") is None:
        raise EngineUnavailableError(
            "engine=\"torch\" needs torchsde for SDEs: pip install 'pysciml[sde]'"
        )


def _method(alg: str | None, interpretation: str, noise: str) -> str:
    """torchsde's name; None: its own default for this kind of equation."""
    if alg is None:
        if interpretation == "stratonovich":
            return "midpoint"
        return "euler" if noise == "general" else "srk"
    method = _ALIASES.get(alg, alg)
    if method not in NAMES:
        raise UnsupportedError(
            f'engine="torch" has no SDE method {alg!r}{did_you_mean(alg, (*NAMES, *_ALIASES))}. '
            f"torchsde has {', '.join(NAMES)}"
        )
    fitting = _ITO if interpretation == "ito" else _STRATONOVICH
    if method not in fitting:
        raise UnsupportedError(
            f"{method} is not for interpretation={interpretation!r}; {', '.join(fitting)} are"
        )
    if noise == "general" and method in _NOT_GENERAL:
        raise UnsupportedError(f"{method} is not for noise='general' with a g that depends on u")
    return method


def _check_supported(method: str, options: SolveOptions, adaptive: bool) -> None:
    if options.dt is None:
        raise ValueError(
            f"dt must be given for {method}: torchsde steps by a fixed dt (or, with "
            'alg_options={"adaptive": True}, begins with it); got None'
        )
    for name in ("tstops", "dtmax"):
        if getattr(options, name) is not None:
            raise UnsupportedError(f'engine="torch" has no {name} for SDEs; engine="native" has')
    if options.dtmin > 0.0:
        raise UnsupportedError('engine="torch" has no dtmin for SDEs; engine="native" has')
    if adaptive and (options.saveat is None or options.dense):
        raise UnsupportedError("torchsde does not tell its adaptive steps: give saveat")
    for name in ("abstol", "reltol"):
        if not isinstance(getattr(options, name), float):
            raise UnsupportedError(f'{name} must be one number for SDEs on engine="torch"')
