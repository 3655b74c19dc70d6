"""Maps on the Julia engine, by FunctionMap."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import RawSolution, SolveOptions
from pysciml.engines.julia import session
from pysciml.engines.julia.jumps import asked, rested
from pysciml.engines.julia.model import JuliaModel, Plan, key
from pysciml.engines.jumps import check_options
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.problems import DiscreteProblem

EXTENSION = "PySciMLMapsExt"
NAME = "FunctionMap"


class MapModel(JuliaModel):
    """The function of a DiscreteProblem on the Julia side."""

    def __init__(self, problem: DiscreteProblem) -> None:
        super().__init__(problem.model)
        self._extension = session.extension(EXTENSION)
        self._problem = problem
        self._map = self._extension.MapModel(self._handle)

    @classmethod
    def of(cls, problem: Any) -> MapModel:
        return cls(problem)

    @staticmethod
    def key(problem: Any) -> Any:
        return None

    @staticmethod
    def check(problem: Any, alg: str | None, options: SolveOptions) -> None:
        if alg is not None and alg.replace("()", "").strip() != NAME:
            raise ValueError(
                f"alg={alg!r} is no method for a DiscreteProblem of the Julia engine; there is "
                f"{NAME!r}"
            )
        if options.algorithm:
            raise UnsupportedError(f"{NAME} has no options; got {sorted(options.algorithm)}")
        check_options(problem, NAME, False, options)

    def prepared(self, alg: str | None, options: SolveOptions) -> tuple[str, SolveOptions]:
        self.check(self._problem, alg, options)
        return NAME, replace(asked(options), dt=1.0)

    def plan(self, alg: str | None, options: SolveOptions) -> Plan:
        return self.kept(key(alg, options), lambda: self._new_plan(*self.prepared(alg, options)))

    def solve_by(
        self, problem: Any, alg: str | None, options: SolveOptions, full: bool
    ) -> RawSolution:
        """Iterate the map."""
        return rested(super().solve_by(problem, alg, options, full), options)

    def compile_for(self, kind: str) -> None:
        self.compile("f")

    def _check_name(self, alg: str) -> None:
        """`check` has."""

    def _planned(self, alg: str | None, options: SolveOptions) -> Any:
        return self._map

    def _method(self, alg: str | None, options: SolveOptions) -> Any:
        return self._extension.FunctionMap()

    def _message(
        self, retcode: str, plan: Plan, outcome: Any, facts: NDArray[np.int64], t1: float
    ) -> str:
        message = super()._message(retcode, plan, outcome, facts, t1)
        return message.partition(", with a last step")[0]

    def _why(self, retcode: str, plan: Plan, outcome: Any) -> str:
        if retcode == "Unstable":
            return "the next state is not finite: check f and p at the last state,"
        return super()._why(retcode, plan, outcome)
