"""The posterior of a model's unknowns: its density, and what samples of it predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import engines
from pysciml import validation as check
from pysciml.engines.base import Array, Engine
from pysciml.ensemble import solve_ensemble
from pysciml.problems import ODEProblem
from pysciml.train.data import as_tables
from pysciml.train.inputs import as_problem, make_task
from pysciml.train.loop import Trials
from pysciml.train.losses import Gaussian, LogNormal, Poisson
from pysciml.train.objective import FailedTrial, Objective, ObjectiveFunction
from pysciml.train.optimisers import LBFGS, Adam, as_stages
from pysciml.train.task import Arc, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAP = (Adam(0.02, 300), LBFGS(500))
_FINE = 200
_LIKELIHOODS = (Gaussian, LogNormal, Poisson)


@dataclass(frozen=True)
class Normal:
    """A normal prior of unknowns, as the optimiser sees them: of positive ones, the logarithm.

    Parameters
    ----------
    mean : number, array or None
        None: the value that the problem has.
    sd : number > 0
    """

    mean: Any = None
    sd: float = 1.0

    def __post_init__(self) -> None:
        check.as_positive(self.sd, "sd")


class Density:
    """Minus the logarithm of prior times likelihood, up to a constant, and its gradient.

    Attributes
    ----------
    task, engine : the fit that it is the posterior of.
    mean, sd : (size,) of the prior.
    """

    def __init__(self, task: Task, engine: Engine, prior: Any) -> None:
        self.task = task
        self.engine = engine
        self.mean, self.sd = _prior_of(prior, task)
        self._whole = ObjectiveFunction(engine, task.objective())

    @property
    def size(self) -> int:
        return self.task.unknowns.size

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient. Raises FailedTrial where a solve fails."""
        value, gradient = self._whole(theta)
        return self._with_prior(theta, value, gradient)

    def parts(self) -> list[ObjectiveFunction]:
        """The likelihoods of single trajectories, which add up to the whole one."""
        return [
            ObjectiveFunction(self.engine, _objective_of(self.task, k))
            for k in range(len(self.task.trajectories))
        ]

    def _with_prior(self, theta: Array, value: float, gradient: Array) -> tuple[float, Array]:
        z = (theta - self.mean) / self.sd
        return value + 0.5 * float(z @ z), gradient + z / self.sd

    def mode(self, optimisers: Any) -> Array:
        """Where the density is highest, as far as the optimisers find it."""
        best: list[Any] = [np.inf, self.task.unknowns.first]

        def note(value: float, theta: Array) -> None:
            if value < best[0]:
                best[:] = [value, theta]

        trials = Trials(self)
        try:
            with np.errstate(all="ignore"):
                for stage in as_stages(optimisers):
                    stage.run(trials, best[1], note)
        except FailedTrial as failure:
            raise ValueError(f"the model cannot be solved where it begins: {failure}") from failure
        mode: Array = best[1]
        return mode


def _objective_of(task: Task, k: int) -> Objective:
    trajectory = task.trajectories[k]
    arc = Arc(task.t0s[k], trajectory.times, trajectory.times.size)
    return task.objective_of([trajectory], [[arc]], lambda theta, _, i: task.unknowns.u0(theta, k))


def _prior_of(prior: Any, task: Task) -> tuple[Array, Array]:
    """Mean and standard deviation of each unknown."""
    mean, sd = task.unknowns.first.copy(), np.ones(task.unknowns.size)
    given = prior if isinstance(prior, Mapping) else {"": prior}
    for name, normal in given.items():
        label = f"prior[{name!r}]" if name else "prior"
        if not isinstance(normal, Normal):
            raise TypeError(f"{label} must be a Normal(...); got {check.describe(normal)}")
        chosen = [
            i
            for i, own in enumerate(task.unknowns.names)
            if not name or own == name or own.startswith((f"{name}.", f"{name}["))
        ]
        if not chosen:
            hint = check.did_you_mean(name, task.unknowns.names)
            raise ValueError(f"prior must name unknowns; got {name!r}{hint}")
        sd[chosen] = normal.sd
        if normal.mean is not None:
            mean[chosen] = check.as_observations(normal.mean, f"mean of {label}", "a number")
    return mean, sd


def make_density(
    problem: Any, data: Any, likelihood: Any, prior: Any, engine: str, settings: dict[str, Any]
) -> Density:
    """The posterior of a model, every argument checked."""
    tables = as_tables(data)
    settings = {"abstol": 1e-6, "reltol": 1e-6, **settings}
    problem, u0 = as_problem(problem, settings.pop("p", None), settings.pop("u0", None), tables)
    task = make_task(problem, tables, u0=u0, loss=likelihood, **settings)
    if not isinstance(task.loss, _LIKELIHOODS):
        raise ValueError(
            'likelihood must be "gaussian", "lognormal", "poisson" or one of their objects: the '
            f"posterior needs a probability; got {check.describe(likelihood)}"
        )
    return Density(task, engines.for_problem(engine, problem), prior)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Observed quantities over time, one for each sample.

    Attributes
    ----------
    t : (m,) array
    values : (samples, m, k) array; NaN where a sample could not be solved.
    names : of the k quantities.
    """

    t: Array
    values: Array
    names: tuple[str, ...]

    @property
    def mean(self) -> Array:
        """(m, k)"""
        found: Array = np.nanmean(self.values, axis=0)
        return found

    @property
    def std(self) -> Array:
        """(m, k)"""
        found: Array = np.nanstd(self.values, axis=0)
        return found

    def quantile(self, q: Any) -> Array:
        """(m, k), or for a vector of q (len(q), m, k)."""
        found: Array = np.nanquantile(self.values, q, axis=0)
        return found


@dataclass(frozen=True, eq=False)
class Posterior:
    """Samples of a model's unknowns, and what they predict.

    Attributes
    ----------
    method : "laplace", "sgld", "nuts" or "deep ensemble".
    p : (chains, draws, n_p) array, flat parameters.
    u0 : (chains, draws, trajectories, n) array, initial states.
    noise : (chains, draws, k) array, standard deviations that were fitted; or (chains, draws, 0).
    quantities : by name, (chains, draws) arrays of what was fitted, in its own units.
    mode : by name, the most probable values; empty for an ensemble.
    diagnostics : what the method tells of itself.
    """

    method: str
    p: Array
    u0: Array
    noise: Array
    quantities: dict[str, Array]
    mode: dict[str, float]
    diagnostics: dict[str, Any]
    _task: Task = field(repr=False)
    _engine: str = field(repr=False)

    def __len__(self) -> int:
        return self.p.shape[0] * self.p.shape[1]

    @property
    def rhat(self) -> dict[str, float]:
        """Split R-hat of each quantity (Gelman et al., Bayesian Data Analysis, 3rd ed., 11.4): the
        chains agree where it is near 1. Weights of networks need not agree: look at predictions."""
        return {name: split_rhat(draws) for name, draws in self.quantities.items()}

    def problem(self, i: int, trajectory: int = 0) -> ODEProblem:
        """The model at sample i, the draws of all chains counted through."""
        p, u0 = self._flat(self.p), self._flat(self.u0)
        return self._task.problem.at(u0[i, trajectory].copy(), p[i].copy())

    def predict(
        self, t: Any = None, *, trajectory: int = 0, noise: bool = False, seed: int = 0
    ) -> Prediction:
        """What is observed at times t, by every sample.

        Parameters
        ----------
        t : times, from the trajectory's start on. Default: 200 over its data.
        trajectory : whose initial state.
        noise : also draw the noise of observations, from a generator with this seed.
        """
        import torch

        task = self._task
        start, last = task.t0s[trajectory], task.trajectories[trajectory].times[-1]
        given = np.linspace(start, last, _FINE) if t is None else t
        times = check.as_observations(given, "t", "a vector of times")
        if times.ndim != 1 or not times.size or times[0] < start or (np.diff(times) <= 0.0).any():
            raise ValueError(f"t must be increasing times from {start:g} on; got {given}")
        p, u0 = self._flat(self.p), self._flat(self.u0)[:, trajectory]
        span = (start, float(times[-1]))
        solved = solve_ensemble(
            task.problem.remake(tspan=span),
            alg=task.alg,
            engine=self._engine,
            saveat=times,
            p=p,
            u0=u0.reshape(-1, *task.problem.u0.shape),
            progress=False,
            **task.options,
        )
        assert solved.u is not None
        parameters = task.problem.model.parameters
        seen = np.stack(
            [
                task.observation(
                    torch.as_tensor(u), parameters.unflatten(torch.as_tensor(each)), times
                ).numpy()
                for u, each in zip(solved.u, p, strict=True)
            ]
        )
        if check.as_flag(noise, "noise"):
            if not hasattr(task.loss, "draw"):
                raise ValueError("noise=True needs a likelihood; this was fitted by another loss")
            random = np.random.default_rng(check.as_seed(seed, "seed"))
            seen = task.loss.draw(seen, self._flat(self.noise)[:, None, :], random)
        return Prediction(times, seen, task.observation.names)

    def prediction_rhat(self, t: Any = None, trajectory: int = 0) -> Array:
        """Split R-hat of what is predicted at times t, (m, k): do the chains say the same?"""
        values = self.predict(t, trajectory=trajectory).values
        chains = values.reshape(*self.p.shape[:2], -1)
        found: Array = np.apply_along_axis(
            lambda draws: split_rhat(draws.reshape(chains.shape[:2])),
            0,
            chains.reshape(-1, chains.shape[2]),
        )
        return found.reshape(values.shape[1:])

    def calibration(self, level: float = 0.9, data: Any = None, seed: int = 0) -> float:
        """The part of the observations inside the central interval of that probability.

        `data`, of the first trajectory, may hold what was not fitted; default: what was.
        """
        tables = None if data is None else as_tables(data)[0]
        fitted = self._task.trajectories[0]
        t, y = (fitted.t, fitted.values) if tables is None else (tables.t, tables.u)
        tail = (1.0 - check.as_positive(level, "level")) / 2.0
        times, rows = np.unique(t, return_inverse=True)
        predicted = self.predict(times, noise=True, seed=seed)
        low, high = (bound[rows] for bound in predicted.quantile([tail, 1.0 - tail]))
        y = y.reshape(len(t), -1)
        seen = ~np.isnan(y)
        return float(((y >= low) & (y <= high))[seen].mean())

    def plot(self, until: float | None = None, level: float = 0.9, seed: int = 0) -> Figure:
        """Data, the median, and the band of predictions with and without noise."""
        import matplotlib.pyplot as plt

        figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
        data, start = self._task.trajectories[0], self._task.t0s[0]
        last = float(data.times[-1])
        t = np.linspace(start, last if until is None else until, _FINE)
        tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
        states = self.predict(t)
        observed = (
            self.predict(t, noise=True, seed=seed) if hasattr(self._task.loss, "draw") else None
        )
        for i, name in enumerate(states.names):
            ax.plot(data.t, data.values[:, i], "o", color=f"C{i}", markersize=5)
            ax.plot(t, states.quantile(0.5)[:, i], color=f"C{i}", label=f"{name}, median")
            for prediction, alpha in ((states, 0.35), (observed, 0.12)):
                if prediction is not None:
                    low, high = prediction.quantile(tails)[..., i]
                    ax.fill_between(t, low, high, color=f"C{i}", alpha=alpha, linewidth=0)
        if until is not None:
            ax.axvline(last, color="0.6", linestyle=":", linewidth=1)
        ax.set(xlabel="t", ylabel="data (points), predictions")
        ax.set_title(f"{self.method}, {len(self)} samples, bands of {level:.0%}")
        ax.legend()
        return figure

    def __repr__(self) -> str:
        chains, draws = self.p.shape[:2]
        return f"Posterior by {self.method}: {chains} chains of {draws}, {self.diagnostics}"

    @staticmethod
    def _flat(x: Array) -> Array:
        """Draws of all chains one after another."""
        return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def posterior_of(
    density: Density, method: str, draws: Array, mode: Array, diagnostics: dict[str, Any]
) -> Posterior:
    """The posterior of (chains, draws, size) samples of theta."""
    import torch

    task = density.task
    unknowns, count = task.unknowns, len(task.trajectories)

    def everything(theta: Any) -> tuple[Any, ...]:
        states = torch.stack([unknowns.u0(theta, k) for k in range(count)])
        return unknowns.p(theta), states, unknowns.noise(theta), unknowns.quantities(theta)

    flat = torch.as_tensor(draws.reshape(-1, draws.shape[-1]))
    columns = [torch.stack(column).numpy() for column in zip(*map(everything, flat), strict=True)]
    p, u0, noise, quantities = (x.reshape(*draws.shape[:2], *x.shape[1:]) for x in columns)
    at_mode = unknowns.quantities(torch.as_tensor(mode)).numpy()
    return Posterior(
        method=method,
        p=p,
        u0=u0,
        noise=noise,
        quantities=dict(zip(unknowns.names, np.moveaxis(quantities, -1, 0), strict=True)),
        mode=dict(zip(unknowns.names, at_mode.tolist(), strict=True)),
        diagnostics=diagnostics,
        _task=task,
        _engine=density.engine.name,
    )


def split_rhat(draws: Array) -> float:
    """Of (chains, draws): the square root of all variance over that within half chains."""
    half = draws.shape[1] // 2
    if half < 2:
        return np.nan
    parts = np.concatenate([draws[:, :half], draws[:, -half:]])
    within = parts.var(axis=1, ddof=1).mean()
    between = half * parts.mean(axis=1).var(ddof=1)
    if within == 0.0:
        return 1.0 if between == 0.0 else np.inf
    return float(np.sqrt(((half - 1) / half * within + between / half) / within))


def stacked(results: Sequence[Any], task: Task, engine: str) -> Posterior:
    """Fits of the same data as equally probable samples."""
    names = list(results[0].quantities)
    return Posterior(
        method="deep ensemble",
        p=np.stack([each.p_flat for each in results])[None],
        u0=np.stack([each.u0.reshape(len(each.u0), -1) for each in results])[None],
        noise=np.stack([each.noise for each in results])[None],
        quantities={n: np.array([[each.quantities[n] for each in results]]) for n in names},
        mode={},
        diagnostics={"losses": [each.loss for each in results]},
        _task=replace(task, problem=results[0].problem),
        _engine=engine,
    )
