"""`fit`: the parameters of a model, and what is in them, from data."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pysciml import engines
from pysciml import validation as check
from pysciml.engines.base import Array, Engine
from pysciml.errors import SolveError, UnsupportedError
from pysciml.failure import failure_message
from pysciml.problems import ODEProblem
from pysciml.solution import Solution
from pysciml.solve import check_problem, solve
from pysciml.train.adversarial import Ball, as_ball
from pysciml.train.checkpoint import checkpointing
from pysciml.train.covariance import covariance
from pysciml.train.data import as_tables
from pysciml.train.inputs import as_problem, as_setup, make_task, validation_trajectories
from pysciml.train.loop import EarlyStopping, Failure, Run, as_early_stopping
from pysciml.train.objective import FailedTrial, Objective, ObjectiveFunction
from pysciml.train.optimisers import LBFGS, Adam, as_stages, identity
from pysciml.train.own_loss import fit_own_loss, has_own_loss
from pysciml.train.progress import Progress
from pysciml.train.renewal import Renewal
from pysciml.train.result import Curve, FitResult, History, fitted_problems
from pysciml.train.self_scaled import SSBroyden
from pysciml.train.strategies import Phase, as_strategies
from pysciml.train.task import Task
from pysciml.train.unknowns import Unknowns, starts

_SOLVE_OPTIONS = ("dt", "dtmin", "dtmax", "maxiters", "adaptive", "tstops", "alg_options")
_FINE = 200  # times of a fitted curve
_DEFAULT_STAGES = (Adam(0.01, 300), LBFGS(500))
_NOTHING = np.zeros(0)


def fit(
    problem: Any,
    data: Any = None,
    *,
    p: Any = None,
    u0: Any = None,
    fit_u0: bool = False,
    observe: Any = None,
    weights: Any = None,
    loss: Any = None,
    regularise: Any = (),
    fixed: Any = (),
    transforms: Any = None,
    u0_transform: Any = None,
    optimisers: Any = _DEFAULT_STAGES,
    strategy: Any = None,
    early_stopping: EarlyStopping | None = None,
    validation: Any = None,
    multi_start: int = 1,
    spread: float = 1.0,
    seed: int = 0,
    alg: str | None = None,
    engine: str = "auto",
    abstol: Any = 1e-6,
    reltol: Any = 1e-6,
    sensealg: str | None = None,
    adversarial: Ball | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    resume: bool | str | Path = False,
    progress: bool = True,
    **options: Any,
) -> FitResult:
    """Fit the parameters of a model, and of the networks in it, to data.

    Parameters
    ----------
    problem : ODEProblem, DDEProblem, function or nn.Module
        The model, with first values of its parameters. A right-hand side alone is a problem whose
        parameters are `p` and whose solutions start at the first row of the data. A model of
        `pysciml.models` may have a loss and an observation of its own, and other data.
    data : (t, u), DataFrame, Dataset, Solution, or list of these
        Observed trajectories: `t` in any order, `u` of shape (len(t), *shape of an observation),
        NaN where missing. A DataFrame has a column t or time; its other columns are matched by
        name with the problem's, where they can be.
    u0 : "data", array, list of arrays, or function, optional
        Initial state of every trajectory, or one for each; "data": its first row, at its time,
        where entries that are not observed are the problem's; a torch function `u0(p, k)`: the
        state of trajectory k that the parameters give. Default: the problem's, at its t0.
    fit_u0 : bool
        Whether initial states are fitted too, beginning at these.
    observe : list of indices or names, or function, optional
        What of the state the data show: entries, or `observe(u, p, t)` in torch operations.
        Default: all of it.
    weights : number, array or list of arrays, optional
        Factors >= 0 of the terms of the loss, such as 1/sigma^2: one, one for each component, or
        of the data's shape; a list has one entry for each trajectory.
    loss : str, loss or function
        "mse", "gaussian", "lognormal", "poisson"; an object of `pysciml.train` for their options;
        or a torch function of (prediction, data) or (prediction, data, p), called for each
        trajectory and added up. Default: "mse".
    regularise : L1, L2, Physics, function of p, or list of these
        Added to the loss.
    fixed : list of str
        Names of parameters that stay as they are: "k", "k[2]", "net", "net.0.weight".
    transforms : transform, or dict by name, optional
        `positive`, `bounded(low, high)`: the optimiser then moves an unknown without bounds.
        `u0_transform` is that of fitted initial states.
    optimisers : stage or list of stages
        `Adam`, `LBFGS`, `BFGS`, `SSBroyden`, one after another, each from the best of the one
        before.
    strategy : MultipleShooting, Collocation, GrowingHorizon, or list of these, optional
        Warm starts; the plain fit always follows.
    early_stopping : EarlyStopping, optional
    validation : as data, optional
        Trajectories that are not fitted; the result is the best on these.
    multi_start, spread, seed :
        Number of starts; all but the first are moved by normal random numbers of standard
        deviation `spread` (in the transformed unknowns) from a generator with this seed.
    alg, engine, abstol, reltol, **options
        As for `solve`; dt, dtmin, dtmax, maxiters, adaptive, tstops and alg_options are passed on.
    sensealg : str, optional
        How gradients are computed, by a name of the engine's.
    adversarial : Ball, optional
        Minimise the loss of the worst initial states within a `pysciml.train.Ball` around them,
        which are sought anew in each iteration of the plain fit (`steps` gradients each). The loop
        then runs in Python on every engine.
    checkpoint : path, optional
        File that the state of the fit is written to, every `checkpoint_every` iterations and
        after Ctrl-C. The loop then runs in Python on every engine.
    resume : bool or path
        Go on from a checkpoint, bit for bit as if it had never stopped. True: from `checkpoint` if
        there is one.
    progress : bool
        Whether to show a progress bar, and in a notebook the loss curve.

    Returns
    -------
    FitResult

    Raises
    ------
    TypeError, ValueError
        An argument is wrong. Nothing was solved.
    CaptureError
        The model, the loss or the observation function cannot be captured.
    SolveError
        The model cannot be solved at its first parameters. Later failures only cost their trial.

    Notes
    -----
    Ctrl-C returns the best result so far; its `message` says so.
    """
    if has_own_loss(problem):
        return fit_own_loss(**_given(locals()))
    stages = as_stages(optimisers)
    strategies = as_strategies(strategy)
    ball = as_ball(adversarial)
    setup = as_setup(problem, data, u0, observe, loss)
    held_out = None if validation is None else as_setup(problem, validation, u0).data
    tables = as_tables(setup.data)
    problem, u0 = as_problem(setup.problem, p, setup.u0, tables)
    check_problem(problem, alg)
    runner = _engine(engine, problem, sensealg)
    task = make_task(
        problem,
        tables,
        u0=u0,
        fit_u0=fit_u0,
        observe=setup.observe,
        weights=weights,
        loss=setup.loss,
        regularise=regularise,
        fixed=fixed,
        transforms=transforms,
        u0_transform=u0_transform,
        alg=alg,
        sensealg=sensealg,
        abstol=abstol,
        reltol=reltol,
        **_solve_settings(options),
    )
    phases = [phase for each in strategies for phase in each.phases(task, stages)]
    phases.append(Phase("fit", stages, lambda theta: (task.objective(), _NOTHING)))
    if setup.renewal is not None:
        for phase in phases:
            setup.renewal.check_stages(phase.stages)
    begins = starts(task.unknowns, check.as_count(multi_start, "multi_start"), spread, seed)
    total = len(begins) * sum(stage.iterations for phase in phases for stage in phase.stages)
    bar = Progress(total, check.as_flag(progress, "progress"))
    save, load = checkpointing(
        checkpoint,
        resume,
        lambda: _fingerprint(task, phases, begins, runner.name, early_stopping, ball),
    )
    run = Run(
        runner,
        phases,
        begins,
        as_early_stopping(early_stopping),
        _validation(held_out, task, runner),
        bar,
        save,
        check.as_count(checkpoint_every, "checkpoint_every"),
        in_python=bool(problem.events or problem.has_memory)
        or any(each is not None for each in (save, load, ball, setup.renewal))
        or any(isinstance(stage, SSBroyden) for phase in phases for stage in phase.stages),
        adversarial=ball,
        renewed=_renewed(setup.renewal, task.unknowns),
        last_counts=setup.renewal is not None,
    )
    if load is not None:
        load(run)
        bar.skip(run.position.rows)
    run.go()
    best = run.best()
    bar.close(best.loss, not run.interrupted)
    if best.theta is None:
        assert run.failure is not None
        raise _cannot_begin(run.failure, runner)
    return _result(task, runner, run, best.theta, best.loss, seed)


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call of `fit` that are not its defaults."""
    defaults = {name: each.default for name, each in inspect.signature(fit).parameters.items()}
    given = {name: x for name, x in arguments.items() if x is not defaults[name]}
    return {"model": given.pop("problem"), **given.pop("options"), **given}


def _engine(name: str, problem: ODEProblem, sensealg: str | None) -> Engine:
    runner = engines.for_problem(name, problem)
    if not hasattr(runner, "solve_with_pullback"):
        raise UnsupportedError(f'engine="{runner.name}" cannot differentiate a solve')
    if sensealg is not None and sensealg not in runner.sensealgs():
        known = runner.sensealgs()
        raise ValueError(
            f'sensealg must be a name that engine="{runner.name}" has, {", ".join(known)}; '
            f"got {sensealg!r}{check.did_you_mean(str(sensealg), known)}"
        )
    return runner


def _solve_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        if name not in _SOLVE_OPTIONS:
            known = (*_SOLVE_OPTIONS, *inspect.signature(fit).parameters)
            raise TypeError(f"fit() has no option {name!r}{check.did_you_mean(name, known)}")
    return dict(options)


def _renewed(
    renewal: Renewal | None, unknowns: Unknowns
) -> tuple[Array, Callable[[int], Array]] | None:
    """Where in theta, and with what in each iteration."""
    return None if renewal is None else (renewal.positions(unknowns.names), renewal.draw)


def _validation(data: Any, task: Task, runner: Engine) -> Callable[[Array], float] | None:
    """theta -> loss of the validation data, without penalties; infinite where it has none."""
    if data is None:
        return None
    trajectories = validation_trajectories(data, task)
    function = ObjectiveFunction(runner, replace(task, penalties=()).objective(trajectories))

    def value(theta: Array) -> float:
        try:
            return function.value(theta)
        except FailedTrial:
            return np.inf

    return value


def _fingerprint(
    task: Task,
    phases: Sequence[Phase],
    starts: Sequence[Array],
    engine: str,
    early_stopping: EarlyStopping | None,
    ball: Ball | None,
) -> str:
    """Equal for fits that take the same course, in any process."""
    objective = task.objective()
    digest = hashlib.sha256()
    for program in (task.problem.model.f, objective.starts, objective.loss):
        digest.update(program.digest.encode())
    for start in starts:
        digest.update(start.tobytes())
    for phase in phases:
        digest.update(phase.name.encode())
        for stage in phase.stages:
            digest.update(identity(stage).encode())
    digest.update(repr((engine, task.alg, task.adjoint, early_stopping, ball)).encode())
    digest.update(repr(sorted(task.options.items())).encode())
    return digest.hexdigest()[:24]


def _cannot_begin(failure: Failure, runner: Engine) -> Exception:
    """Why not even the first trial of a phase worked."""
    where = f"where the phase {failure.phase!r} begins"
    k = failure.trial.solve
    if k is None:
        return ValueError(f"the fit cannot start: {failure.trial} {where}")
    assert isinstance(failure.objective, Objective)
    solve = failure.objective.solves[k]
    problem = ObjectiveFunction(runner, failure.objective).problem(k, failure.vector)
    raw = runner.solve(problem, failure.objective.alg, solve.options)
    solution = Solution(problem, runner.name, solve.options, raw)
    return SolveError(f"the fit cannot start {where}: {failure_message(solution)}", solution)


def _result(
    task: Task, runner: Engine, run: Run, theta: Array, loss: float, seed: int
) -> FitResult:
    import torch

    at = torch.as_tensor(theta)
    p_flat = task.unknowns.p(at).numpy()
    u0 = np.stack(
        [
            task.unknowns.u0(at, k).numpy().reshape(task.problem.u0.shape)
            for k in range(len(task.trajectories))
        ]
    )
    moved = task.unknowns.size - task.unknowns.noise0.size
    quantities = task.unknowns.quantities(at).numpy()[:moved].tolist()
    curves, fitted, last = _predict(task, runner, p_flat, u0)
    return FitResult(
        p=task.problem.model.parameters.unflatten(p_flat.copy()),
        p_flat=p_flat,
        p_names=task.problem.model.parameters.names,
        u0=u0,
        noise=task.unknowns.noise(at).numpy(),
        loss=loss,
        history=History.of(run),
        message=run.message(),
        data=task.trajectories,
        fitted=fitted,
        curves=curves,
        names=task.observation.names,
        quantities=dict(zip(task.unknowns.names, quantities, strict=False)),
        seed=seed,
        engine=runner.name,
        alg=last.alg,
        versions=last.versions,
        _problems=fitted_problems(task.problem, p_flat, u0, curves),
        _compute_covariance=partial(covariance, task, runner, theta),
    )


def _predict(
    task: Task, runner: Engine, p_flat: Array, u0: Array
) -> tuple[list[Curve], list[Array], Solution]:
    """Observations over time, at each row of the data, and the last solution."""
    import torch

    p = task.problem.model.parameters.unflatten(torch.as_tensor(p_flat))
    curves, fitted = [], []
    for start, t0, each in zip(u0, task.t0s, task.trajectories, strict=True):
        end = float(each.times[-1])
        t = np.union1d(np.linspace(t0, end, _FINE), each.times)
        problem = task.problem.remake(tspan=(t0, end)).at(start.reshape(-1), p_flat)
        solution = solve(
            problem,
            task.alg,
            runner.name,
            t,
            dense=False,
            raise_on_failure=False,
            **task.settings(t0, end),
        )
        seen = task.observation(torch.as_tensor(solution.u), p, solution.t).numpy()
        y = np.full((t.size, seen.shape[1]), np.nan)
        y[: len(seen)] = seen
        curves.append(Curve(t, y))
        fitted.append(y[np.searchsorted(t, each.t)])
    return curves, fitted, solution
