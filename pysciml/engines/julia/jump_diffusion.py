"""Jumps in the solution of an ODE or SDE on the Julia engine, by JumpProcesses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import Array, RawSolution, SolveOptions
from pysciml.engines.julia import session
from pysciml.engines.julia.jumps import EXTENSION
from pysciml.engines.julia.model import JuliaModel, Plan, key
from pysciml.engines.julia.stochastic import StochasticModel, kept
from pysciml.engines.jumps import check_noise

if TYPE_CHECKING:
    from pysciml.problems import JumpDiffusionProblem


class JumpDiffusionModel(JuliaModel):
    """An equation with its jumps on the Julia side."""

    def __init__(self, problem: JumpDiffusionProblem) -> None:
        self._problem = problem
        equation: Any = problem.problem
        self._is_sde = equation.is_random
        self._equation = (StochasticModel if self._is_sde else JuliaModel).of(equation)
        super().__init__(problem.model, handle=self._equation.handle)
        self._extension = session.extension(EXTENSION)
        jumps = problem.captured_jumps
        self._affects = [JuliaModel(model) for model in jumps.affects]
        self._rates = [JuliaModel(group.rates) for group in jumps.groups]
        for part in (*self._affects, *self._rates):
            part.compile("f")

    @classmethod
    def of(cls, problem: Any) -> JumpDiffusionModel:
        return cls(problem)

    @staticmethod
    def key(problem: Any) -> Any:
        return problem.kind, problem.captured_jumps

    @staticmethod
    def check(problem: Any, alg: str | None, options: SolveOptions) -> None:
        check_noise(problem, options)
        if problem.problem.is_random:
            StochasticModel.check(problem.problem, alg, options)

    def compile_for(self, kind: str) -> None:
        self._equation.compile_for(kind)

    def plan(self, alg: str | None, options: SolveOptions) -> Plan:
        return self.kept(
            (key(alg, options), options.save_noise), lambda: self._jump_plan(alg, options)
        )

    def solve_by(
        self, problem: Any, alg: str | None, options: SolveOptions, full: bool
    ) -> RawSolution:
        """Follow the path of the seed and the trajectory."""
        assert options.seed is not None  # `solve_options` sees to it
        self.check(problem, alg, options)
        plan = self.plan(alg, options)
        stream = options.seed, options.trajectory
        raw, outcome = self.run(plan.handle, problem, plan, full, stream)
        raw.events = self._happened(outcome)
        if options.save_noise:
            assert isinstance(self._equation, StochasticModel)
            raw.noise = self._equation.noise_of(outcome, len(raw.t))
        if self._is_sde and options.dense:
            return _after(kept(raw, options))
        if plan.dense:
            raw.interpolate = self._interpolant(outcome, self.n)
        return _after(raw)

    def _jump_plan(self, alg: str | None, options: SolveOptions) -> Plan:
        return self._new_plan(*self._equation.prepared(alg, options))

    def _happened(self, outcome: Any) -> tuple[tuple[Array, Array, Array], ...]:
        """Of each jump its times, and the states before and after."""
        numbers, times, before, after = map(np.array, self._extension.jumps_of(outcome))
        which = [numbers == j for j in range(len(self._affects))]
        return tuple((times[at], before.T[at], after.T[at]) for at in which)

    def _check_name(self, alg: str) -> None:
        self._equation._check_name(alg)

    def _planned(self, alg: str | None, options: SolveOptions) -> Any:
        jumps = self._problem.captured_jumps
        every = options.saveat is None and options.save_everystep
        return self._extension.JumpDiffusion(
            self._equation._planned(alg, options),
            [rates.handle for rates in self._rates],
            [np.array(group.numbers, dtype=np.int64) for group in jumps.groups],
            np.array([group.varying for group in jumps.groups]),
            [affect.handle for affect in self._affects],
            [list(marks) for marks in jumps.marks],
            every,
        )

    def _method(self, alg: str | None, options: SolveOptions) -> Any:
        return self._equation._method(alg, options)

    def _why(self, retcode: str, plan: Plan, outcome: Any) -> str:
        number, value = self._extension.bad_rate(outcome)
        if number < 0:
            return super()._why(retcode, plan, outcome)
        return (
            f"the rate of jumps[{number}] ({self._problem.jumps[number]}) is {value:.6g}, and "
            "should be a finite number >= 0: check it and p at the last state,"
        )


def _after(raw: RawSolution) -> RawSolution:
    """Of two states at one time, that before a jump and that after, the second."""
    last = np.append(np.diff(raw.t) > 0.0, True) if len(raw.t) else np.zeros(0, dtype=bool)
    if last.all():
        return raw
    noise = None if raw.noise is None else raw.noise[last]
    return replace(raw, t=raw.t[last], u=np.ascontiguousarray(raw.u[last]), noise=noise)
