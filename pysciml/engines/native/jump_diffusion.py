"""Jumps in the solution of an ODE: one solve from each of them to the next.

The rates are integrated beside the state. A jump happens where the integral since the last one
reaches an exponential random number (the time change of a Poisson process), which is an event of
the solve; which jump it is, the rates there decide.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pysciml.engines.base import Array, RawSolution, SolveOptions, Stats
from pysciml.engines.batches import added
from pysciml.engines.jumps import check_noise, kept
from pysciml.events import ContinuousEvent
from pysciml.problems import ODEProblem

if TYPE_CHECKING:
    from pysciml.capture import Model
    from pysciml.engines.native.engine import NativeEngine
    from pysciml.problems import JumpDiffusionProblem


def solve(
    engine: NativeEngine, problem: JumpDiffusionProblem, alg: str | None, options: SolveOptions
) -> RawSolution:
    """Follow the path of the seed and the trajectory; see `NativeEngine.solve`."""
    check_noise(problem, options)
    path = _Path(problem, options)
    while not path.is_over:
        path.follow(engine, alg)
    return path.result()


class _Path:
    """A path as far as it was followed: the solutions between its jumps, and the jumps."""

    def __init__(self, problem: JumpDiffusionProblem, options: SolveOptions) -> None:
        self._problem, self._options = problem, options
        self._jumps = problem.captured_jumps
        if "hazard" not in self._jumps.compiled:
            self._jumps.compiled["hazard"] = _with_hazard(problem.model, self._jumps.rates)
        self._equation: ODEProblem = self._jumps.compiled["hazard"]
        self._n = problem.u0_flat.size
        self._t, self._u = problem.tspan[0], problem.u0_flat
        assert options.seed is not None  # `solve_options` sees to it
        self._rng = np.random.default_rng([options.seed, options.trajectory])
        self._solutions: list[RawSolution] = []
        self._happened: list[tuple[int, float, Array, Array]] = []
        self._stats = Stats()
        self._failure: tuple[str, str] | None = None
        self.is_over = False

    def follow(self, engine: NativeEngine, alg: str | None) -> None:
        """To the next jump, and over it; or to the end."""
        u0 = np.append(self._u, 0.0)
        p = np.append(self._problem.p_flat, self._rng.exponential())
        span = (self._t, self._problem.tspan[1])
        raw = engine.solve(self._equation.at(u0, p, span), alg, self._asked())
        self._solutions.append(raw)
        self._stats = added(self._stats, raw.stats)
        self.is_over = raw.retcode != "Terminated"
        if not self.is_over:
            self._jump(float(raw.t[-1]), raw.u[-1, : self._n])
        elif not raw.success:
            self._failure = raw.retcode, self._why(raw)

    def _jump(self, t: float, u: Array) -> None:
        p = self._problem.p_flat
        passed = np.cumsum(self._jumps.rates.f(u, p, t))
        j = int(np.searchsorted(passed, self._rng.random() * passed[-1], side="right"))
        marks = [self._draw(mark) for mark in self._jumps.marks[j]]
        after = np.array(self._jumps.affects[j].f(u, np.append(p, marks), t)).reshape(-1)
        self._happened.append((j, t, u, after))
        self._t, self._u = t, after
        if not np.isfinite(after).all():
            self.is_over = True
            self._failure = (
                "Unstable",
                (
                    f"the affect of jumps[{j}] ({self._problem.jumps[j]}) gave a state that is not "
                    f"finite at t = {t:.8g}"
                ),
            )

    def _draw(self, mark: str) -> float:
        return self._rng.standard_normal() if mark == "normal" else self._rng.random()

    def _asked(self) -> SolveOptions:
        """Of the solve to the next jump: every step, with what is between them."""
        given = self._options
        taken = self._stats.naccept + self._stats.nreject
        stops = given.tstops
        return replace(
            given,
            saveat=None,
            save_everystep=True,
            dense=True,
            save_idxs=None,
            abstol=_for_hazard(given.abstol),
            reltol=_for_hazard(given.reltol),
            tstops=None if stops is None else stops[stops > self._t],
            maxiters=max(given.maxiters - taken, 1),
            events=self._equation.events,
        )

    def _why(self, raw: RawSolution) -> str:
        rates = self._jumps.rates.f(raw.u[-1, : self._n], self._problem.p_flat, raw.t[-1])
        bad = np.flatnonzero(~((rates >= 0.0) & (rates < np.inf)))
        if not bad.size:
            return f"{raw.message.rstrip('.')}; or a rate of a jump became negative"
        return (
            f"the rate of jumps[{bad[0]}] ({self._problem.jumps[bad[0]]}) is {rates[bad[0]]:.6g}, "
            f"and should be a finite number >= 0: check it and p at the last state, at "
            f"t = {raw.t[-1]:.8g}"
        )

    def result(self) -> RawSolution:
        # the last state of a solution is the one before the jump
        parts = [(raw.t[:-1], raw.u[:-1]) for raw in self._solutions[:-1]]
        parts.append((self._solutions[-1].t, self._solutions[-1].u))
        t, u = (np.concatenate(column) for column in zip(*parts, strict=True))
        u = u[:, : self._n]
        options = self._options
        interpolate = self._between if options.dense else None
        if options.saveat is not None:
            t = options.saveat[options.saveat <= t[-1]]
            u = self._between(t)
        t, u = kept(t, u, replace(options, saveat=None))
        retcode, message = self._failure or ("Success", "")
        return RawSolution(
            t=t,
            u=np.ascontiguousarray(u),
            retcode=retcode,
            alg=self._solutions[-1].alg,
            stats=self._stats,
            interpolate=interpolate,
            message=message,
            events=self._events(),
        )

    def _between(self, times: Array) -> Array:
        starts = np.array([raw.t[0] for raw in self._solutions])
        which = np.searchsorted(starts, times, side="right") - 1
        states = np.empty((times.size, self._n))
        for i in np.unique(which):
            found: Any = self._solutions[i].interpolate
            states[which == i] = found(times[which == i])[:, : self._n]
        return states

    def _events(self) -> tuple[tuple[Array, Array, Array], ...]:
        """Of each jump its times, and the states before and after."""
        return tuple(self._of_jump(j) for j in range(len(self._jumps.affects)))

    def _of_jump(self, j: int) -> tuple[Array, Array, Array]:
        own = [entry for entry in self._happened if entry[0] == j]
        before, after = (np.array([entry[i] for entry in own]) for i in (2, 3))
        times = np.array([entry[1] for entry in own], dtype=np.float64)
        return times, before.reshape(-1, self._n), after.reshape(-1, self._n)


def _with_hazard(model: Model, rates: Model) -> ODEProblem:
    """The equation with the integral of all rates beside the state, and its threshold beside p."""
    n, n_p = model.n, model.n_p

    def f(u: Any, p: Any, t: Any) -> Any:
        state, parameters = u[:n].reshape(model.state_shape), p[:n_p]
        each = rates.flat_function(state, parameters, t)
        hazard = torch.where(each >= 0.0, each, torch.nan).sum()
        slope = model.flat_function(state, parameters, t)
        return torch.cat([slope, hazard.reshape(1)])

    happens = ContinuousEvent(lambda u, p, t: u[-1] - p[-1], direction=1, terminal=True)
    return ODEProblem(f, np.zeros(n + 1), (0.0, 1.0), np.zeros(n_p + 1), events=[happens])


def _for_hazard(tolerance: float | Array) -> float | Array:
    if isinstance(tolerance, float):
        return tolerance
    return np.append(tolerance, tolerance.min())
