"""What is fitted to what: turns a model, data, loss and unknowns into an `Objective`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.capture.functions import capture_map, capture_value_and_grad
from pysciml.engines.base import AdjointOptions, Array
from pysciml.options import solve_options
from pysciml.train.data import Trajectory
from pysciml.train.losses import FunctionLoss, Observed, Penalty
from pysciml.train.objective import Objective, Solve
from pysciml.train.observation import Observation, as_tensor
from pysciml.train.unknowns import Unknowns

if TYPE_CHECKING:
    from torch import Tensor

    from pysciml.problems import ODEProblem


@dataclass(frozen=True)
class Arc:
    """One solve: it starts at `t0`, its states are kept at `times`.

    Of these, the first `used` belong to the trajectory; others serve a strategy.
    """

    t0: float
    times: Array
    used: int


#: (saved states of each arc (m, n), initial state of each arc (n,)) -> scalar
ArcPenalty = Callable[["list[Tensor]", "list[Tensor]"], "Tensor"]


@dataclass(frozen=True)
class Task:
    """A fit in plain terms.

    Attributes
    ----------
    problem : the model, at its first parameters.
    trajectories, t0s : what was observed of each solution, and when that solution starts.
    observation, loss, penalties, unknowns : see their modules.
    options : of each solve, as keyword arguments of `solve`.
    """

    problem: ODEProblem
    trajectories: tuple[Trajectory, ...]
    t0s: tuple[float, ...]
    observation: Observation
    loss: Any
    penalties: tuple[Penalty, ...]
    unknowns: Unknowns
    alg: str | None = None
    adjoint: AdjointOptions = field(default_factory=AdjointOptions)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return self.problem.u0_flat.size

    def objective(self, trajectories: Sequence[Trajectory] | None = None) -> Objective:
        """Single shooting: each trajectory is one solve from its initial state."""
        trajectories = self.trajectories if trajectories is None else trajectories
        arcs = [
            [Arc(t0, each.times, each.times.size)]
            for t0, each in zip(self.t0s, trajectories, strict=True)
        ]
        return self.objective_of(trajectories, arcs, lambda theta, k, i: self.unknowns.u0(theta, k))

    def objective_of(
        self,
        trajectories: Sequence[Trajectory],
        arcs: Sequence[Sequence[Arc]],
        start: Callable[[Tensor, int, int], Tensor],
        extra: int = 0,
        arc_penalty: ArcPenalty | None = None,
    ) -> Objective:
        """An objective whose trajectories are made of arcs.

        `start(theta, k, i)` is the initial state of arc i of trajectory k. `extra` unknowns follow
        the task's own in theta.
        """
        import torch

        flat_arcs = [arc for of_one in arcs for arc in of_one]
        sizes = [arc.times.size * self.n for arc in flat_arcs]
        evaluate = self.data_loss(trajectories)
        size = self.unknowns.size + extra

        def states(theta: Tensor) -> list[Tensor]:
            return [start(theta, k, i) for k, of_one in enumerate(arcs) for i in range(len(of_one))]

        def starts(theta: Tensor) -> Tensor:
            return torch.cat([*states(theta), self.unknowns.p(theta)])

        def loss(saved: Tensor, theta: Tensor) -> Tensor:
            rows = [part.reshape(-1, self.n) for part in saved.split(sizes)]
            value = evaluate(_joined(rows, arcs), theta)
            if arc_penalty is not None:
                value = value + arc_penalty(rows, states(theta))
            return value

        forward, backward = capture_map(starts, size)
        return Objective(
            size=size,
            solves=tuple(self._solve(arc) for arc in flat_arcs),
            starts=forward,
            starts_vjp=backward,
            loss=capture_value_and_grad(loss, sum(sizes), size),
            alg=self.alg,
            adjoint=self.adjoint,
        )

    def data_loss(
        self, trajectories: Sequence[Trajectory]
    ) -> Callable[[Sequence[Tensor], Tensor], Tensor]:
        """(states of each trajectory (len(times), n), theta) -> loss with all its penalties."""
        shape = self.problem.u0.shape
        times = [each.times for each in trajectories]

        def evaluate(states: Sequence[Tensor], theta: Tensor) -> Tensor:
            flat = self.unknowns.p(theta)
            p = self.problem.model.parameters.unflatten(flat)
            shaped = [u.reshape(-1, *shape) for u in states]
            seen = [self.observation(u, p, t) for u, t in zip(shaped, times, strict=True)]
            value = self._fit(seen, trajectories, p, self.unknowns.noise(theta))
            for penalty in self.penalties:
                value = value + as_tensor(penalty(flat, p, shaped, times))
            return value

        return evaluate

    def _fit(
        self, seen: Sequence[Tensor], trajectories: Sequence[Trajectory], p: Any, noise: Tensor
    ) -> Tensor:
        if isinstance(self.loss, FunctionLoss):
            parts = [self._by_function(y, d, p) for y, d in zip(seen, trajectories, strict=True)]
            value = parts[0]
            for part in parts[1:]:
                value = value + part
            return value
        found: Tensor = self.loss(predictions(seen, trajectories), Observed.of(trajectories), noise)
        return found

    def _by_function(self, seen: Tensor, trajectory: Trajectory, p: Any) -> Tensor:
        import torch

        prediction = seen[trajectory.rows]
        data = torch.as_tensor(np.nan_to_num(trajectory.values))
        if not trajectory.seen.all():
            data = torch.where(torch.as_tensor(trajectory.seen), data, prediction)
        shape = (-1, *self.observation.shape)
        arguments = (prediction.reshape(shape), data.reshape(shape), p)
        return as_tensor(self.loss.function(*arguments[: 3 if self.loss.takes_p else 2]))

    def _solve(self, arc: Arc) -> Solve:
        end = float(arc.times[-1])
        problem = self.problem.remake(tspan=(arc.t0, end))
        settings = self.settings(arc.t0, end)
        return Solve(problem, solve_options(problem, arc.times, dense=False, **settings))

    def settings(self, t0: float, end: float) -> dict[str, Any]:
        """`options` of a solve over a part of the time: with the stops inside it."""
        options = dict(self.options)
        stops = options.pop("tstops", None)
        stops = np.ravel(() if stops is None else stops)
        inside = stops[(stops > t0) & (stops < end)]
        return {**options, "tstops": inside} if inside.size else options

    @cached_property
    def observed(self) -> Observed:
        return Observed.of(self.trajectories)


def predictions(seen: Sequence[Tensor], trajectories: Sequence[Trajectory]) -> Tensor:
    """The (M,) predictions of what is there in the data, of (len(times), k) each."""
    import torch

    parts = []
    for y, trajectory in zip(seen, trajectories, strict=True):
        row, component = np.nonzero(trajectory.seen)
        parts.append(y.reshape(-1)[trajectory.rows[row] * y.shape[1] + component])
    return torch.cat(parts)


def _joined(rows: list[Tensor], arcs: Sequence[Sequence[Arc]]) -> list[Tensor]:
    """The states of each trajectory, of those of its arcs."""
    import torch

    left = list(rows)
    return [torch.cat([left.pop(0)[: arc.used] for arc in of_one]) for of_one in arcs]
