"""What `fit` minimises, as plain data, and its value and gradient on any engine.

An `Objective` is everything that an optimisation loop needs and nothing that is Python's own, so
an engine can run the whole loop itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pysciml.capture.interpret import prepare
from pysciml.capture.program import Program
from pysciml.engines.base import AdjointOptions, Array, Engine, RawSolution, SolveOptions

if TYPE_CHECKING:
    from pysciml.problems import ODEProblem
    from pysciml.train.optimisers import Stage

_NOTHING = np.zeros(0)


@dataclass(frozen=True)
class Solve:
    """One initial value problem of an objective.

    `problem` gives the model, tspan and mass matrix; its u0 and p are replaced at each evaluation.
    `options.saveat` is set, and `options.dense` is False.
    """

    problem: ODEProblem
    options: SolveOptions


@dataclass(frozen=True)
class Objective:
    """A scalar function of `theta`, a vector of `size` unknowns without bounds.

    With n and n_p the numbers of states and parameters of the model that all `solves` share, and
    K = len(solves), its value at theta is computed as follows.

    1. ``starts(theta)`` gives one vector of K*n + n_p numbers: u0 of solves[0], ..., u0 of
       solves[K-1], and then the flat parameters p, the same for all solves.
    2. Each solve, with its u0 and p, by the method `alg` (None: the engine's default), gives its
       saved states, (len(saveat), n). `U` is all of them in the order of `solves`, each row-major,
       laid end to end: `n_saved` numbers.
    3. ``loss(U, theta)`` gives [L, dL/dU, dL/dtheta], 1 + n_saved + size numbers, where dL/dtheta
       is at constant U. L is the value.

    For the gradient, dL/dU goes through the pullback of each solve. The cotangents
    w = [of each u0, ..., of p summed over the solves], in the layout of `starts`, go through
    ``starts_vjp(theta, w)``, which gives the `size` numbers w^T d starts/d theta. The gradient is
    dL/dtheta + starts_vjp(theta, w).

    All three are `Program`s with the inputs (u, p, t) of a right-hand side, so that they compile
    with ``compile_program`` to ``f(out, u, p, t, work)`` and with Julia's generator to the same:

    | program | u | p | t | output |
    |---|---|---|---|---|
    | `starts` | theta (size) | empty | any | (K*n + n_p,) |
    | `starts_vjp` | theta (size) | w (K*n + n_p) | any | (size,) |
    | `loss` | U (n_saved) | theta (size) | any | (1 + n_saved + size,) |

    There may be no solves (K = 0, collocation): then U is empty, and so is the part of u0 in
    `starts`. A solve whose retcode is not "Success", or a value or gradient that is not finite, is
    a failed trial: it must not end an optimisation, but cost it the trial.
    """

    size: int
    solves: tuple[Solve, ...]
    starts: Program
    starts_vjp: Program
    loss: Program
    alg: str | None = None
    adjoint: AdjointOptions = field(default_factory=AdjointOptions)

    @property
    def n_saved(self) -> int:
        """Length of U."""
        return int(self.loss.input_shape("u")[0])


#: theta -> (value, gradient); may raise `FailedTrial`
Function = Callable[[Array], tuple[float, Array]]

#: What a loop tells after each iteration: (number of the stage, value, theta at that value).
#: True asks it to stop. It may raise KeyboardInterrupt.
Report = Callable[[int, float, Array], bool]


class MinimisingEngine(Protocol):
    """An engine that runs whole optimisations itself. `fit` uses this where an engine has it."""

    def minimise(
        self, objective: Objective, theta0: Array, stages: Sequence[Stage], report: Report
    ) -> None:
        """Run the stages one after another, the first from theta0, each later one from the best
        theta so far.

        `report` is called once for each iteration of a stage, with the value and the theta that it
        belongs to; what is best is the caller's to remember. A stage is one of the dataclasses of
        `pysciml.train.optimisers`: `Adam` (use its `rates()`, `betas`, `epsilon` and `clip`),
        `LBFGS` or `BFGS`, with `iterations` and its other fields. True from `report` ends the
        stage that runs.
        """
        ...


class FailedTrial(Exception):
    """The objective has no value here. `solve` is the number of the solve that failed, if any."""

    def __init__(self, reason: str, solve: int | None = None) -> None:
        super().__init__(reason)
        self.solve = solve


class ObjectiveFunction:
    """theta -> (value, gradient) on one engine.

    Raises `FailedTrial` where a solve fails or a number is not finite.
    """

    def __init__(self, engine: Engine, objective: Objective) -> None:
        self._engine = engine
        self._objective = objective
        self._starts = prepare(objective.starts)
        self._starts_vjp = prepare(objective.starts_vjp)
        self._loss = prepare(objective.loss)
        self._n = objective.solves[0].problem.u0_flat.size if objective.solves else 0
        self._parts = _parts(objective)

    def __call__(self, theta: Array, shift: Array | None = None) -> tuple[float, Array]:
        """Value and gradient. `shift`, (solves, n), is added to the initial states."""
        value, by_theta, w = self._differentiated(theta, shift)
        gradient = by_theta + self._starts_vjp(theta, w, 0.0)
        if not np.isfinite(gradient).all():
            raise FailedTrial("the gradient of the loss is not finite")
        return value, gradient

    def value(self, theta: Array, shift: Array | None = None) -> float:
        """The value alone."""
        saved = np.empty(self._objective.n_saved)
        for k, (solve, problem, part) in enumerate(self._at(theta, shift)):
            raw = self._engine.solve(problem, self._objective.alg, solve.options)
            _keep(raw, k, saved, part)
        return _finite(self._loss(saved, theta, 0.0)[0])

    def by_starts(self, theta: Array, shift: Array) -> tuple[float, Array]:
        """Value, and its gradient with respect to the initial states, (solves, n)."""
        value, _, w = self._differentiated(theta, shift)
        return value, w[: shift.size].reshape(shift.shape)

    def starts(self, theta: Array) -> Array:
        """The initial states, (solves, n)."""
        count = len(self._parts)
        found: Array = self._starts(theta, _NOTHING, 0.0)[: count * self._n]
        return found.reshape(count, self._n)

    def problem(self, k: int, theta: Array) -> ODEProblem:
        """What solve k solves at theta."""
        found: ODEProblem = self._at(theta)[k][1]
        return found

    def _differentiated(self, theta: Array, shift: Array | None) -> tuple[float, Array, Array]:
        """Value, dL/dtheta at constant U, and the cotangents of what `starts` gives."""
        n, count = self._n, len(self._parts)
        alg, adjoint = self._objective.alg, self._objective.adjoint
        saved = np.empty(self._objective.n_saved)
        pullbacks = []
        for k, (solve, problem, part) in enumerate(self._at(theta, shift)):
            raw, pullback = self._engine.solve_with_pullback(problem, alg, solve.options, adjoint)
            _keep(raw, k, saved, part)
            pullbacks.append(pullback)
        found = self._loss(saved, theta, 0.0)
        by_saved, by_theta = found[1 : 1 + saved.size], found[1 + saved.size :]
        w = np.zeros(self._objective.starts.shape[0])
        for k, (pullback, part) in enumerate(zip(pullbacks, self._parts, strict=True)):
            cotangents = pullback(by_saved[part].reshape(-1, n))
            w[k * n : (k + 1) * n] = cotangents.u0
            w[count * n :] += cotangents.p
        return _finite(found[0]), by_theta, w

    def _at(
        self, theta: Array, shift: Array | None = None
    ) -> list[tuple[Solve, ODEProblem, slice]]:
        """Each solve, its problem at theta, and where in U its states belong."""
        starts, n = self._starts(theta, _NOTHING, 0.0), self._n
        solves = self._objective.solves
        p = starts[len(solves) * n :]
        states = starts[: len(solves) * n].reshape(len(solves), n)
        if shift is not None:
            states = states + shift
        return [
            (solve, solve.problem.at(states[k], p), part)
            for k, (solve, part) in enumerate(zip(solves, self._parts, strict=True))
        ]


def _keep(raw: RawSolution, k: int, saved: Array, part: slice) -> None:
    if raw.retcode != "Success":
        raise FailedTrial(f"{raw.retcode}: {raw.message}", k)
    saved[part] = raw.u.reshape(-1)


def _finite(value: float) -> float:
    if not np.isfinite(value):
        raise FailedTrial("the loss is not finite")
    return float(value)


def _parts(objective: Objective) -> list[slice]:
    """Where the saved states of each solve lie in U."""
    parts, start = [], 0
    for solve in objective.solves:
        assert solve.options.saveat is not None
        end = start + solve.options.saveat.size * solve.problem.u0_flat.size
        parts.append(slice(start, end))
        start = end
    return parts
