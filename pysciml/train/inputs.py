"""What a user gives to `fit`, checked and turned into a `Task`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import AdjointOptions, Array
from pysciml.options import solve_options
from pysciml.problems import DDEProblem, ODEProblem
from pysciml.train.data import Table, Trajectory, as_tables, as_trajectories
from pysciml.train.losses import as_loss, as_penalty
from pysciml.train.observation import Observation, as_tensor
from pysciml.train.renewal import Renewal
from pysciml.train.task import Task
from pysciml.train.unknowns import Unknowns

_NOTHING = np.zeros(0)


@dataclass(frozen=True)
class Setup:
    """What a model makes of its data: a problem, and the loss that goes with it.

    The fields are arguments of `fit`, but for `renewal`. `observe` and `loss` give way to the
    user's own.
    """

    problem: Any
    data: Any
    u0: Any = None
    observe: Any = None
    loss: Any = None
    renewal: Renewal | None = None


@runtime_checkable
class SetsUp(Protocol):
    """A model that is more than a right-hand side: its data are not the states of its problem."""

    def fit_setup(self, data: Any, u0: Any) -> Setup:
        """The fit of this model to `data`, from `u0`, both as the user gave them."""
        ...


def as_setup(problem: Any, data: Any, u0: Any, observe: Any = None, loss: Any = None) -> Setup:
    """The arguments of a fit, with what the model decides where the user left it open."""
    if isinstance(problem, type) or not isinstance(problem, SetsUp):
        return Setup(problem, data, u0, observe, "mse" if loss is None else loss)
    own = problem.fit_setup(data, u0)
    chosen = own.loss if loss is None else loss
    return replace(
        own,
        observe=own.observe if observe is None else observe,
        loss="mse" if chosen is None else chosen,
    )


def as_problem(problem: Any, p: Any, u0: Any, tables: Sequence[Table]) -> tuple[Any, Any]:
    """The problem, and where its solutions start; made of a right-hand side where that came."""
    if isinstance(problem, (ODEProblem, DDEProblem)):
        if p is not None:
            kind = check.with_article(problem.kind)
            raise ValueError(f"p must not be given with {kind}: it has its own; use remake")
        return problem, u0
    if isinstance(problem, type) or not callable(problem):
        raise TypeError(
            "problem must be an ODEProblem, a DDEProblem, a right-hand side f(u, p, t) or an "
            "nn.Module; "
            f"got {check.describe(problem)}"
        )
    if callable(u0):
        raise TypeError("u0 as a function must be given with an ODEProblem, which has its shape")
    first = tables[0]
    start = first.u[np.argmin(first.t)] if u0 is None or isinstance(u0, str) else u0
    start = start[0] if isinstance(start, list) and len(tables) > 1 else start
    span = (float(first.t.min()), float(first.t.max()))
    return ODEProblem(problem, start, span, p), "data" if u0 is None else u0


def make_task(
    problem: ODEProblem,
    tables: Sequence[Table],
    *,
    u0: Any = None,
    fit_u0: bool = False,
    observe: Any = None,
    weights: Any = None,
    loss: Any = "mse",
    regularise: Any = (),
    fixed: Any = (),
    transforms: Any = None,
    u0_transform: Any = None,
    alg: str | None = None,
    sensealg: str | None = None,
    **settings: Any,
) -> Task:
    """The task, every argument checked."""
    solve_options(problem, dense=False, **settings)
    fit_u0 = check.as_flag(fit_u0, "fit_u0")
    chosen_loss = as_loss(loss)
    observation, tables = _matched(observe, problem, tables)
    trajectories = as_trajectories(tables, observation.shape, weights)
    u0s, t0s = _initial_states(u0, problem, trajectories, observation)
    _require_times(trajectories, t0s)
    if hasattr(chosen_loss, "prepare"):
        chosen_loss = chosen_loss.prepare(trajectories)
        noise0 = chosen_loss.noise0(trajectories)
    else:
        noise0 = _NOTHING
    parameters = problem.model.parameters
    if callable(u0) and fit_u0:
        raise ValueError("fit_u0 must be False where u0 is a function of the parameters")
    unknowns = Unknowns(
        parameters,
        problem.p_flat,
        fixed,
        transforms,
        u0s,
        fit_u0,
        u0_transform,
        noise0,
        u0 if callable(u0) else None,
    )
    if not unknowns.size:
        raise ValueError("there is nothing to fit: the model has no free parameters")
    extras = regularise if isinstance(regularise, (list, tuple)) else (regularise,)
    return Task(
        problem=problem,
        trajectories=tuple(trajectories),
        t0s=tuple(t0s),
        observation=observation,
        loss=chosen_loss,
        penalties=tuple(as_penalty(each, parameters) for each in extras),
        unknowns=unknowns,
        alg=alg,
        adjoint=AdjointOptions(sensealg),
        options=settings,
    )


def _matched(
    observe: Any, problem: ODEProblem, tables: Sequence[Table]
) -> tuple[Observation, list[Table]]:
    """The observation, and tables whose columns are in its order where both have names."""
    columns = tables[0].columns
    if columns and observe is None and problem.names and set(columns) <= set(problem.names):
        observe = list(columns)
    observation = Observation(observe, problem)
    return observation, [_in_order(table, observation) for table in tables]


def _in_order(table: Table, observation: Observation) -> Table:
    if table.u.ndim != 2 or not set(observation.names) <= set(table.columns or ()):
        return table
    columns = table.columns or ()
    order = [columns.index(name) for name in observation.names]
    return Table(table.t, table.u[:, order], observation.names)


def _initial_states(
    u0: Any, problem: ODEProblem, trajectories: Sequence[Trajectory], observation: Observation
) -> tuple[list[Array], list[float]]:
    """Flat initial state and time of each trajectory."""
    count, t0 = len(trajectories), problem.tspan[0]
    if callable(u0):
        return [_computed(u0, problem, k) for k in range(count)], [t0] * count
    if isinstance(u0, str):
        if u0 != "data":
            raise ValueError(f'u0 must be "data", an array or a list of arrays; got {u0!r}')
        return _first_rows(trajectories, observation, problem.u0_flat)
    if u0 is not None and np.ndim(u0) == problem.u0.ndim + 1:
        if len(u0) != count:
            raise ValueError(
                f"u0 must be one state, or one for each of the {count} trajectories; got {len(u0)}"
            )
        return [problem.remake(u0=each).u0_flat for each in u0], [t0] * count
    start = problem.u0_flat if u0 is None else problem.remake(u0=u0).u0_flat
    return [start] * count, [t0] * count


def _computed(start: Callable[..., Any], problem: ODEProblem, k: int) -> Array:
    """Flat initial state of trajectory k at the problem's parameters."""
    import torch

    p = problem.model.parameters.unflatten(torch.as_tensor(problem.p_flat))
    state = as_tensor(start(p, k)).detach().numpy()
    if state.shape != problem.u0.shape:
        raise ValueError(
            f"u0(p, k) must return {check.shape_words(problem.u0.shape)}, as in the problem; got "
            f"the shape {state.shape}"
        )
    return state.reshape(-1)


def _first_rows(
    trajectories: Sequence[Trajectory], observation: Observation, hidden: Array
) -> tuple[list[Array], list[float]]:
    """`hidden`: a flat state with what the entries that are not observed start from."""
    if observation.indices is None:
        raise ValueError('u0="data" needs data of entries of the state; here observe is a function')
    states, times = [], []
    for each in trajectories:
        row = int(np.argmin(each.t))
        if np.isnan(each.values[row]).any():
            raise ValueError(
                f'u0="data" needs a first row without NaN; got {each.values[row].tolist()} '
                f"at t = {each.t[row]:g}"
            )
        state = hidden.copy()
        state[observation.indices] = each.values[row]
        states.append(state)
        times.append(float(each.t[row]))
    return states, times


def _require_times(trajectories: Sequence[Trajectory], t0s: Sequence[float]) -> None:
    for each, t0 in zip(trajectories, t0s, strict=True):
        if each.times[0] < t0:
            raise ValueError(
                f"data must not lie before the problem's t0 = {t0:g}; got t = {each.times[0]:g}"
            )
        if not (each.seen.any(axis=1) & (each.t > t0)).any():
            raise ValueError(f"data must hold an observation after t0 = {t0:g}; there is none")


def validation_trajectories(data: Any, task: Task) -> list[Trajectory]:
    """Other observations of the same trajectories."""
    tables = as_tables(data, "validation")
    if len(tables) != len(task.trajectories):
        raise ValueError(
            "validation must hold other observations of the same trajectories, one entry for each "
            f"of the {len(task.trajectories)}; got {len(tables)}"
        )
    observed = [_in_order(table, task.observation) for table in tables]
    trajectories = as_trajectories(observed, task.observation.shape, None, "validation")
    _require_times(trajectories, task.t0s)
    return trajectories
