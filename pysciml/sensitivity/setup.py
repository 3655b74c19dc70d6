"""A checked call of any of the derivatives."""

from __future__ import annotations

from typing import Any

from pysciml import engines
from pysciml import validation as check
from pysciml.engines.base import Engine, RawSolution, SolveOptions
from pysciml.errors import SolveError, UnsupportedError
from pysciml.failure import failure_message
from pysciml.options import solve_options
from pysciml.problems import ODEProblem
from pysciml.solution import Solution
from pysciml.solve import check_problem


class Setup:
    """A checked call: the problem, the engine and the options of the solve."""

    def __init__(
        self,
        problem: ODEProblem,
        alg: str | None,
        engine: str,
        saveat: Any,
        abstol: Any,
        reltol: Any,
        options: dict[str, Any],
    ) -> None:
        check_problem(problem, alg)
        if not problem.has_derivatives:
            kind = check.with_article(problem.kind)
            raise UnsupportedError(f"there are no derivatives of the solution of {kind} yet")
        for name in ("save_idxs", "dense", "raise_on_failure", "save_noise", "initialize"):
            if name in options:
                raise TypeError(f"{name} has no meaning for derivatives of a solution")
        self.problem = problem
        self.alg = alg
        self.options: SolveOptions = solve_options(
            problem, saveat, abstol, reltol, dense=False, **options
        )
        self.engine: Engine = engines.for_problem(engine, problem, self.options.events, alg)

    def require_smooth(self) -> None:
        """For what the sensitivity equations of an ODE are solved."""
        if self.problem.has_memory:
            raise UnsupportedError(
                "of a DDEProblem there is the gradient of a loss only: gradient(...), with "
                'sensealg="auto"'
            )
        if self.problem.is_random:
            raise UnsupportedError(
                f"of {check.with_article(self.problem.kind)} there are first derivatives, and "
                'backwards along a path: gradient(..., sensealg="adjoint")'
            )
        if self.options.events:
            raise UnsupportedError(
                "only first derivatives go through events, and backwards: "
                'gradient(..., sensealg="adjoint")'
            )

    def solution(self, raw: RawSolution) -> Solution:
        return Solution(self.problem, self.engine.name, self.options, raw)

    def require_success(self, raw: RawSolution) -> None:
        if not raw.success:
            solution = self.solution(raw)
            raise SolveError(failure_message(solution), solution)
