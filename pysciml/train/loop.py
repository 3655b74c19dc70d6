"""The optimisation itself: starts, phases and stages, one after another, on any engine."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array, Engine
from pysciml.train.adversarial import AdversarialFunction, Ball
from pysciml.train.objective import FailedTrial, Function, Objective, ObjectiveFunction
from pysciml.train.optimisers import EndStage, Stage
from pysciml.train.renewal import RenewedFunction

if TYPE_CHECKING:
    from pysciml.train.strategies import Phase


@dataclass(frozen=True)
class EarlyStopping:
    """End a stage that no longer gets better.

    What counts is the loss of the validation data, where there are some and in the plain fit; else
    the loss.

    Parameters
    ----------
    patience : int
        Iterations without progress before the stage ends.
    min_delta : float
        Least progress, as a part of the best value so far.
    every : int
        Iterations between two looks at the validation data.
    """

    patience: int = 50
    min_delta: float = 0.0
    every: int = 10

    def __post_init__(self) -> None:
        for name in ("patience", "every"):
            object.__setattr__(self, name, check.as_count(getattr(self, name), name))
        check.as_nonnegative(self.min_delta, "min_delta")


def as_early_stopping(value: Any) -> EarlyStopping | None:
    if value is not None and not isinstance(value, EarlyStopping):
        raise TypeError(
            f"early_stopping must be an EarlyStopping(...) or None; got {check.describe(value)}"
        )
    return value


class Trials:
    """Evaluations that never fail: where there is no solution, there is a slope back to one.

    A failed trial costs more than any that worked, the more the farther it is from the last one
    that did, with a gradient as long as that one's: a line search shortens its step, and Adam
    turns round. The first trial of all has to work.
    """

    def __init__(
        self,
        function: Function,
        memory: tuple[Array, Array, float] | None = None,
    ) -> None:
        self._function = function
        self.memory = memory  # theta and gradient of the last trial that worked; the worst value

    def __call__(self, theta: Array) -> tuple[float, Array]:
        try:
            value, gradient = self._function(theta)
        except FailedTrial:
            if self.memory is None:
                raise
            return self._penalty(theta, *self.memory)
        worst = value if self.memory is None else max(value, self.memory[2])
        self.memory = (theta, gradient, worst)
        return value, gradient

    @staticmethod
    def _penalty(theta: Array, good: Array, slope: Array, worst: float) -> tuple[float, Array]:
        away = theta - good
        distance = float(np.linalg.norm(away)) or 1.0
        steepness = float(np.linalg.norm(slope)) or 1.0
        return worst + 0.5 * steepness * distance, away * (steepness / distance)


@dataclass
class Rows:
    """History as it grows: one entry for each iteration."""

    loss: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    phase: list[int] = field(default_factory=list)
    stage: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)


@dataclass(frozen=True)
class Position:
    """Where a run is. It is replaced as a whole, so whatever interrupts, it is consistent.

    `theta` is where the phase began, `vector` (with the unknowns of the phase; None: not made yet)
    where the stage began, after `began` entries of the history. `best` is the best vector of the
    phase, by `score`. Of the history and of the list `memory["told"]`, the first `rows` and `told`
    entries belong here.
    """

    start: int
    phase: int
    stage: int
    theta: Array
    vector: Array | None = None
    best: Array | None = None
    loss: float = math.inf
    score: float = math.inf
    waited: int = 0
    rows: int = 0
    began: int = 0
    memory: dict[str, Any] = field(default_factory=dict)
    told: int = 0
    trials: tuple[Array, Array, float] | None = None


@dataclass(frozen=True)
class Attempt:
    """What one start led to; no theta where it could not begin."""

    theta: Array | None
    loss: float
    score: float


@dataclass(frozen=True)
class Failure:
    """A phase that could not begin: its first trial, of `objective` at `vector`, failed."""

    phase: str
    objective: Objective | Function
    vector: Array
    trial: FailedTrial


class Run:
    """All iterations of a fit.

    Parameters
    ----------
    engine : where objectives are evaluated, or minimised as a whole.
    phases : the last one is the plain fit.
    starts : theta where each attempt begins.
    early_stopping, validation : see `EarlyStopping`; theta -> loss of the validation data.
    show : called as `show(name of the phase, loss)` after each iteration.
    save : called with the run every `save_every` iterations and after Ctrl-C.
    in_python : run every stage here, also where the engine has loops of its own: only these stages
        can be resumed, and repeat to the last bit.
    adversarial : how far initial states are off in the plain fit, to the worst; only in Python.
    renewed : entries of theta, and what they are in each iteration; only in Python.
    last_counts : whether an attempt leads to its last iteration, and not to its best.

    Attributes
    ----------
    rows, position, attempts : what a checkpoint holds.
    failure : the last phase that could not begin, if one could not.
    interrupted : whether Ctrl-C ended the run.
    """

    def __init__(
        self,
        engine: Engine,
        phases: Sequence[Phase],
        starts: Sequence[Array],
        early_stopping: EarlyStopping | None = None,
        validation: Callable[[Array], float] | None = None,
        show: Callable[[str, float], None] = lambda phase, loss: None,
        save: Callable[[Run], None] | None = None,
        save_every: int = 100,
        in_python: bool = False,
        adversarial: Ball | None = None,
        renewed: tuple[Array, Callable[[int], Array]] | None = None,
        last_counts: bool = False,
    ) -> None:
        self.engine = engine
        self.phases = phases
        self.starts = starts
        self.early_stopping = early_stopping
        self.validation = validation
        self.rows = Rows()
        self.attempts: list[Attempt] = []
        self.position = Position(0, 0, 0, starts[0])
        self.failure: Failure | None = None
        self.interrupted = False
        self._show = show
        self._save = save
        self._save_every = save_every
        self._in_python = in_python
        self._adversarial = adversarial
        self._renewed = renewed
        self._last_counts = last_counts
        self._memory: dict[str, Any] | None = None
        self._trials: Trials | None = None
        self._began = perf_counter()

    def go(self) -> None:
        """Run to the end or until Ctrl-C, from `position` on."""
        spent = self.rows.seconds[-1] if self.rows.seconds else 0.0
        self._began = perf_counter() - spent
        here: Position | None = self.position
        try:
            with np.errstate(all="ignore"):  # a trial may fail
                while here is not None:
                    self.position = here
                    here = self._after(self._phase())
        except KeyboardInterrupt:
            self.interrupted = True
            if self._save is not None:
                self._save(self)

    def best(self) -> Attempt:
        """The attempt with the lowest score; an interrupted one counts, for want of others."""
        done = [each for each in self.attempts if each.theta is not None]
        here = self.position
        if here.best is not None and (not done or here.phase == len(self.phases) - 1):
            done.append(Attempt(here.best[: here.theta.size], here.loss, here.score))
        if not done:
            return Attempt(None if self.failure else here.theta, math.inf, math.inf)
        return min(done, key=lambda each: each.score)

    def message(self) -> str:
        """How it ended."""
        here = self.position
        if not self.interrupted:
            return "finished"
        return f"interrupted in {self.phases[here.phase].name!r}, after {here.rows} iterations"

    def _after(self, worked: bool) -> Position | None:
        """What follows the phase that has just ended."""
        here = self.position
        theta = here.theta if here.best is None else here.best[: here.theta.size]
        after = partial(Position, rows=here.rows, began=here.rows)
        if worked and here.phase + 1 < len(self.phases):
            return after(here.start, here.phase + 1, 0, theta)
        self.attempts.append(Attempt(theta if worked else None, here.loss, here.score))
        if here.start + 1 < len(self.starts):
            return after(here.start + 1, 0, 0, self.starts[here.start + 1])
        return None

    def _phase(self) -> bool:
        """Run the stages of a phase; False if it cannot even begin."""
        here = self.position
        phase = self.phases[here.phase]
        objective, extra = phase.make(here.theta)
        vector = np.concatenate([here.theta, extra]) if here.vector is None else here.vector
        self.position = replace(here, vector=vector)
        try:
            minimise = getattr(self.engine, "minimise", None)
            if minimise is not None and not self._in_python:
                minimise(objective, vector, phase.stages, self._engine_report)
            else:
                function = self._function(objective)
                for index in range(here.stage, len(phase.stages)):
                    self._stage(index, phase.stages[index], function)
        except FailedTrial as failure:
            self.failure = Failure(phase.name, objective, vector, failure)
            return False
        return True

    def _function(self, objective: Objective | Function) -> Function:
        if not isinstance(objective, Objective):
            return objective
        objective_function = ObjectiveFunction(self.engine, objective)
        function: Function = objective_function
        plain = self.position.phase == len(self.phases) - 1
        if plain and self._adversarial:
            function = AdversarialFunction(objective_function, self._adversarial)
        if self._renewed is None:
            return function
        where, draw = self._renewed
        return RenewedFunction(function, where, lambda: draw(self.position.rows))

    def _stage(self, index: int, stage: Stage, function: Function) -> None:
        here = self.position
        if index != here.stage:
            here = replace(
                here,
                stage=index,
                vector=here.best,
                waited=0,
                began=here.rows,
                memory={},
                told=0,
                trials=None,
            )
            self.position = here
        assert here.vector is not None
        self._trials = Trials(function, here.trials)
        self._memory = dict(here.memory) if self._in_python else None
        if self._is_stuck():  # a checkpoint of the iteration that ended the stage
            return
        with contextlib.suppress(EndStage):
            stage.run(self._trials, here.vector, self._report, self._memory)

    def _engine_report(self, stage: int, value: float, theta: Array) -> bool:
        if stage != self.position.stage:
            self.position = replace(self.position, stage=stage, waited=0)
        try:
            self._report(value, np.array(theta))
        except EndStage:
            return True
        return False

    def _report(self, value: float, theta: Array) -> None:
        here = self.position
        seen = self._validate(theta, here)
        self._note(value, seen)
        score = value if seen is None else seen
        margin = 0.0 if self.early_stopping is None else self.early_stopping.min_delta
        better = score < here.score
        enough = (
            score < here.score - margin * abs(here.score) if math.isfinite(here.score) else True
        )
        memory = {} if self._memory is None else dict(self._memory)
        self.position = here = replace(
            here,
            best=theta if better or self._last_counts else here.best,
            loss=value if better or self._last_counts else here.loss,
            score=score if better else here.score,
            waited=0 if better and enough else here.waited + 1,
            rows=len(self.rows),
            memory=memory,
            told=len(memory.get("told", ())),
            trials=None if self._trials is None else self._trials.memory,
        )
        self._show(self.phases[here.phase].name, value)
        if self._save is not None and here.rows % self._save_every == 0:
            self._save(self)
        if self._is_stuck():
            raise EndStage

    def _is_stuck(self) -> bool:
        stopping = self.early_stopping
        return stopping is not None and self.position.waited >= stopping.patience

    def _validate(self, theta: Array, here: Position) -> float | None:
        """Loss of the validation data; NaN between two looks; None when it does not count here."""
        if self.validation is None or here.phase != len(self.phases) - 1:
            return None
        every = 10 if self.early_stopping is None else self.early_stopping.every
        due = here.best is None or here.rows % every == 0
        return self.validation(theta) if due else math.nan

    def _note(self, value: float, seen: float | None) -> None:
        here, rows = self.position, self.rows
        for column in vars(rows).values():
            del column[here.rows :]  # of an iteration that Ctrl-C cut off
        rows.loss.append(value)
        rows.validation.append(math.nan if seen is None else seen)
        rows.start.append(here.start)
        rows.phase.append(here.phase)
        rows.stage.append(here.stage)
        rows.seconds.append(perf_counter() - self._began)
