"""Delay differential equations: DelayDiffEq.jl's method of steps with any method for ODEs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import RawSolution, SolveOptions
from pysciml.engines.julia import session
from pysciml.engines.julia.methods import refused
from pysciml.engines.julia.model import JuliaModel, Plan
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.problems import DDEProblem

_EXTENSION = "PySciMLDelayExt"
_METHOD_OF_STEPS = re.compile(r"\s*MethodOfSteps\s*\((.*)\)\s*")


class DelayedModel(JuliaModel):
    """The functions of a DDEProblem on the Julia side."""

    def __init__(self, problem: DDEProblem) -> None:
        self._extension = session.extension(_EXTENSION)
        delays = self._delays = problem.delays
        self._rhs, self._times, self._history, *self._lags = parts = [
            JuliaModel(model)
            for model in (delays.rhs, delays.times, delays.history, *problem.lag_models)
        ]
        rhs, times, history, *lags = (part.handle for part in parts)
        handle = self._extension.DelayedModel(
            rhs,
            times,
            history,
            lags,
            np.array(delays.orders, dtype=np.int64),
            np.array(delays.constant, dtype=np.int64),
            np.array(delays.dependent, dtype=np.int64),
            np.array(problem.constant_lags),
            problem.neutral or delays.is_neutral,
        )
        super().__init__(delays.times, handle=handle)

    @classmethod
    def of(cls, problem: Any) -> DelayedModel:
        return cls(problem)

    @staticmethod
    def key(problem: Any) -> Any:
        return problem.constant_lags, problem.neutral

    def compile_for(self, kind: str) -> None:
        self._rhs.compile("f")
        self._history.compile("f", "tgrad")
        for model in (self._times, *self._lags):
            model.compile("f")
        if kind != "explicit" and "jac" not in self._has:
            self._rhs.compile_program("jac", self._delays.jac)
            self._has.add("jac")

    def plan(self, alg: str | None, options: SolveOptions) -> Plan:
        """`alg` may be named as in DelayDiffEq: "MethodOfSteps(Tsit5())" is "Tsit5"."""
        inner = None if alg is None else _METHOD_OF_STEPS.fullmatch(alg)
        return super().plan(inner[1] if inner else alg, options)

    def solve(self, problem: Any, plan: Plan, full: bool) -> RawSolution:
        problem.check_lags()
        return super().solve(problem, plan, full)

    def _method(self, alg: str | None, options: SolveOptions) -> Any:
        try:
            method = self._extension.method_of_steps(
                alg or "", dict(options.algorithm), options.reltol
            )
        except Exception as error:
            raise refused(error, alg) from None
        if (self._delays.dependent or self._lags) and self._extension.is_constrained(method):
            raise UnsupportedError(
                f"{alg or 'the default method'} cannot take these lags: its steps are no longer "
                "than the shortest lag, which has to be constant for that; try Rodas5P, QNDF or "
                "alg=None"
            )
        return method
