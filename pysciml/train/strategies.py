"""Warm starts for hard landscapes: what is minimised before the plain fit, which always follows.

A strategy is one or more phases, each with an objective of its own. What it finds is where the
next phase starts, so strategies can be chained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pysciml import validation as check
from pysciml.capture.functions import capture_map, capture_value_and_grad
from pysciml.engines.base import Array
from pysciml.errors import UnsupportedError
from pysciml.train.data import Trajectory, by_component
from pysciml.train.objective import Function, Objective
from pysciml.train.optimisers import LBFGS, Stage, as_stages
from pysciml.train.task import Arc, Task

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Phase:
    """A part of a fit.

    `make(theta)`, called when the phase begins, gives its objective, or a function that needs none,
    and the first values of the unknowns that the objective has beyond theta.
    """

    name: str
    stages: tuple[Stage, ...]
    make: Callable[[Array], tuple[Objective | Function, Array]]


class Strategy(Protocol):
    def phases(self, task: Task, stages: tuple[Stage, ...]) -> list[Phase]:
        """The phases for a task; `stages` are those of the plain fit."""
        ...


def _refuse_memory(task: Task, name: str) -> None:
    if task.problem.has_memory:
        raise UnsupportedError(
            f"{name} cannot fit a problem with memory, whose state alone does not say what "
            "follows. GrowingHorizon can"
        )


@dataclass(frozen=True)
class MultipleShooting:
    """Solve short segments, each from a start of its own, and ask that they join (Bock, 1983).

    The starts are unknowns too. They begin at the data, or at u0 for what is not observed. Added
    to the loss is continuity * mean(((end of a segment - start of the next) / scale)^2), where the
    scale is the standard deviation of the data.

    Parameters
    ----------
    segments : int
        Per trajectory; each has two observation times at least.
    continuity : float
        Larger joins better and makes the landscape harder. Chain two for both.
    optimisers : stages, optional
        Default: those of the fit.
    """

    segments: int = 5
    continuity: float = 10.0
    optimisers: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", check.as_count(self.segments, "segments"))
        check.as_positive(self.continuity, "continuity")

    def phases(self, task: Task, stages: tuple[Stage, ...]) -> list[Phase]:
        if task.problem.events:
            raise UnsupportedError(
                "MultipleShooting cannot fit a problem with events: each segment would have them "
                "from its own start on. GrowingHorizon can"
            )
        _refuse_memory(task, "MultipleShooting")
        groups = [self._groups(each) for each in task.trajectories]
        return [
            Phase(
                "multiple shooting",
                stages if self.optimisers is None else as_stages(self.optimisers),
                lambda theta: self._make(task, groups),
            )
        ]

    def _groups(self, trajectory: Trajectory) -> list[Any]:
        """Which of the trajectory's times are in each segment."""
        count = trajectory.times.size
        if count < 2 * self.segments:
            raise ValueError(
                f"segments must be at most half the number of observation times, {count}; "
                f"got {self.segments}"
            )
        return np.array_split(np.arange(count), self.segments)

    def _make(self, task: Task, groups: Sequence[Sequence[Any]]) -> tuple[Objective, Array]:
        import torch

        arcs = [
            _segments(t0, each.times, of_one)
            for t0, each, of_one in zip(task.t0s, task.trajectories, groups, strict=True)
        ]
        base = np.concatenate([_node_states(task, k, arcs[k]) for k in range(len(arcs))])
        scale = _state_scale(task)
        size = task.unknowns.size
        firsts = np.cumsum([0, *(len(of_one) - 1 for of_one in arcs)])

        def start(theta: Tensor, k: int, i: int) -> Tensor:
            if i == 0:
                return task.unknowns.u0(theta, k)
            node = int(firsts[k]) + i - 1
            x = theta[size + node * task.n : size + (node + 1) * task.n]
            return torch.as_tensor(base[node]) + torch.as_tensor(scale) * x

        joints = _joints(arcs)

        def mismatch(rows: list[Tensor], starts: list[Tensor]) -> Tensor:
            jumps = [(rows[a][-1] - starts[a + 1]) / torch.as_tensor(scale) for a in joints]
            return self.continuity * (torch.stack(jumps) ** 2).mean()

        objective = task.objective_of(
            task.trajectories, arcs, start, base.size, mismatch if joints else None
        )
        return objective, np.zeros(base.size)


def _segments(t0: float, times: Array, groups: Sequence[Any]) -> list[Arc]:
    """A segment keeps its own times, and the first of the next segment, where they must join."""
    arcs = []
    for i, group in enumerate(groups):
        start = t0 if i == 0 else float(times[group[0]])
        joined = group if i == len(groups) - 1 else np.append(group, group[-1] + 1)
        arcs.append(Arc(start, times[joined], len(group)))
    return arcs


def _joints(arcs: Sequence[Sequence[Arc]]) -> list[int]:
    """Positions, among all arcs, of those that another one follows."""
    found: list[int] = []
    position = 0
    for of_one in arcs:
        found += range(position, position + len(of_one) - 1)
        position += len(of_one)
    return found


def _node_states(task: Task, k: int, arcs: Sequence[Arc]) -> Array:
    """First guess of the states where segments of trajectory k begin, but the first: (nodes, n)."""
    at = np.array([arc.t0 for arc in arcs[1:]])
    states = np.tile(task.unknowns.u0s[k], (at.size, 1))
    trajectory = task.trajectories[k]
    for component, i in enumerate([] if task.observation.indices is None else _indices(task)):
        seen = trajectory.seen[:, component]
        if seen.any():
            order = np.argsort(trajectory.t[seen], kind="stable")
            t, y = trajectory.t[seen][order], trajectory.values[seen, component][order]
            states[:, i] = np.interp(at, t, y)
    return states


def _indices(task: Task) -> list[int]:
    return [int(i) for i in task.observation.indices]


def _state_scale(task: Task) -> Array:
    """A typical size of each state: the spread of its data, else its initial value, else 1."""
    scale = np.abs(task.problem.u0_flat)
    if task.observation.indices is not None:
        scale[task.observation.indices] = by_component(task.trajectories, np.std)
    return np.where(scale > 0.0, scale, 1.0)


@dataclass(frozen=True)
class GrowingHorizon:
    """Fit the beginning of each trajectory first, then more and more of it.

    Parameters
    ----------
    fractions : increasing numbers between 0 and 1
        Parts of each trajectory's time span, one after another; the whole always follows.
    optimisers : stages, optional
        Of each part. Default: those of the fit.
    """

    fractions: Sequence[float] = (0.25, 0.5, 0.75)
    optimisers: Any = None

    def __post_init__(self) -> None:
        given = check.as_observations(self.fractions, "fractions", "numbers between 0 and 1")
        if given.ndim != 1 or not given.size:
            raise ValueError(
                "fractions must be a list of increasing numbers between 0 and 1; "
                f"got {check.describe(self.fractions)}"
            )
        if not (given[0] > 0.0 and given[-1] < 1.0 and (np.diff(given) > 0.0).all()):
            raise ValueError(
                "fractions must be increasing and between 0 and 1, without both; "
                f"got {check.describe(self.fractions)}"
            )

    def phases(self, task: Task, stages: tuple[Stage, ...]) -> list[Phase]:
        own = stages if self.optimisers is None else as_stages(self.optimisers)
        return [
            Phase(f"first {fraction:.0%}", own, _Horizon(task, fraction).make)
            for fraction in self.fractions
        ]


@dataclass(frozen=True)
class _Horizon:
    task: Task
    fraction: float

    def make(self, theta: Array) -> tuple[Objective, Array]:
        cut = [
            self._cut(t0, each)
            for t0, each in zip(self.task.t0s, self.task.trajectories, strict=True)
        ]
        return self.task.objective(cut), np.zeros(0)

    def _cut(self, t0: float, trajectory: Trajectory) -> Trajectory:
        """At least up to the first time after t0 that something is observed at."""
        times = trajectory.t[trajectory.seen.any(axis=1) & (trajectory.t > t0)]
        end = t0 + self.fraction * (trajectory.times[-1] - t0)
        return trajectory.until(max(end, float(times.min())))


@dataclass(frozen=True)
class Collocation:
    """Smooth the data, and fit the right-hand side to the slopes: no solve at all (Varah, 1982).

    Each component of each trajectory becomes a smoothing spline, by generalised cross validation
    (SciPy's `make_smoothing_spline`). What is minimised is the mean square of (f(u, p, t) - du/dt)
    on the splines, each component over the standard deviation of its slope.

    All entries of the state must be observed, at five times at least.

    Parameters
    ----------
    nodes : int
        Times at which slopes are compared, evenly over each trajectory but for a twentieth at
        both ends, where slopes are least certain.
    smoothing : float, optional
        The spline's penalty on curvature (SciPy's `lam`, for times with a mean distance of one).
        Default: by cross validation.
    optimisers : stages, optional
        Default: LBFGS(500); an iteration costs microseconds here.
    """

    nodes: int = 100
    smoothing: float | None = None
    optimisers: Any = field(default_factory=lambda: LBFGS(500))

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", check.as_count(self.nodes, "nodes"))
        if self.smoothing is not None:
            check.as_nonnegative(self.smoothing, "smoothing")

    def phases(self, task: Task, stages: tuple[Stage, ...]) -> list[Phase]:
        _refuse_memory(task, "Collocation")
        indices = task.observation.indices
        if indices is None or np.unique(indices).size != task.n:
            raise ValueError(
                "Collocation needs data of all entries of the state; with observe only some are "
                "seen. Use MultipleShooting or GrowingHorizon"
            )
        curves = [self._smooth(task, each) for each in task.trajectories]
        t, u, slope = (np.concatenate(parts) for parts in zip(*curves, strict=True))
        return [
            Phase(
                "collocation",
                as_stages(self.optimisers),
                lambda theta: (_slope_objective(task, t, u, slope), np.zeros(0)),
            )
        ]

    def _smooth(self, task: Task, trajectory: Trajectory) -> tuple[Array, Array, Array]:
        """Times (m,), states (m, n) and slopes (m, n) on the splines of one trajectory."""
        first, last = trajectory.times[0], trajectory.times[-1]
        margin = (last - first) / 20.0
        t = np.linspace(first + margin, last - margin, self.nodes)
        # SciPy's cross validation looks in a range of `lam` that fits a distance of one
        distance = (last - first) / (trajectory.times.size - 1)
        u, slope = np.empty((2, t.size, task.n))
        for component, i in enumerate(_indices(task)):
            name = task.observation.names[component]
            spline = self._spline(trajectory, component, name, distance)
            u[:, i] = spline(t / distance)
            slope[:, i] = spline.derivative()(t / distance) / distance
        return t, u, slope

    def _spline(self, trajectory: Trajectory, component: int, name: str, distance: float) -> Any:
        """The smooth curve of one component over t / distance."""
        from scipy.interpolate import make_smoothing_spline

        seen = trajectory.seen[:, component]
        t, which = np.unique(trajectory.t[seen], return_inverse=True)
        if t.size < 5:
            raise ValueError(
                f"Collocation needs data at five different times at least; {name} has {t.size}"
            )
        weights = trajectory.weights[seen, component]
        total = np.bincount(which, weights)
        mean = np.bincount(which, weights * trajectory.values[seen, component]) / total
        return make_smoothing_spline(t / distance, mean, w=total, lam=self.smoothing)


def _slope_objective(task: Task, t: Array, u: Array, slope: Array) -> Objective:
    import torch

    model, unknowns = task.problem.model, task.unknowns
    shape = task.problem.u0.shape
    spread = slope.std(axis=0)
    scale = torch.as_tensor(np.where(spread > 0.0, spread, 1.0))
    states, times, wanted = torch.as_tensor(u), torch.as_tensor(t), torch.as_tensor(slope)

    def loss(saved: Tensor, theta: Tensor) -> Tensor:
        p = unknowns.p(theta)
        f = torch.func.vmap(lambda u, t: model.flat_function(u.reshape(shape), p, t))
        return (((f(states, times) - wanted) / scale) ** 2).mean()

    forward, backward = capture_map(unknowns.p, unknowns.size)
    return Objective(
        size=unknowns.size,
        solves=(),
        starts=forward,
        starts_vjp=backward,
        loss=capture_value_and_grad(loss, 0, unknowns.size),
    )


def as_strategies(value: Any) -> tuple[Strategy, ...]:
    """None, one strategy, or a sequence of them."""
    if value is None:
        return ()
    strategies = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    for each in strategies:
        if isinstance(each, type) or not hasattr(each, "phases"):
            raise TypeError(
                "strategy must be MultipleShooting(...), Collocation(...), GrowingHorizon(...), "
                f"or a list of these; got {check.describe(each)}"
            )
    return strategies
