"""Implicit differential-algebraic equations: OrdinaryDiffEq's BDF methods for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import Array, SolveOptions
from pysciml.engines.julia import session
from pysciml.engines.julia.methods import IMPLICIT, refused
from pysciml.engines.julia.model import JuliaModel, Plan

if TYPE_CHECKING:
    from pysciml.problems import DAEProblem


class ImplicitModel(JuliaModel):
    """The residual of a DAEProblem on the Julia side."""

    def __init__(self, problem: DAEProblem) -> None:
        self._residual = JuliaModel(problem.model)
        differential = problem.differential_vars.astype(np.int64)
        handle = session.module().ImplicitModel(self._residual.handle, differential)
        super().__init__(problem.model, handle=handle)
        self.n = problem.u0.size

    @classmethod
    def of(cls, problem: Any) -> ImplicitModel:
        return cls(problem)

    @staticmethod
    def key(problem: Any) -> Any:
        return problem.differential_vars.tobytes()

    def start(self, problem: Any, plan: Plan) -> Array:
        found: Array = problem.start
        return found

    def compile_for(self, kind: str) -> None:
        self._residual.compile("f", "jac")

    def _method(self, alg: str | None, options: SolveOptions) -> Any:
        try:
            return self._julia.implicit_algorithm(alg or IMPLICIT[0], dict(options.algorithm))
        except Exception as error:
            raise refused(error, alg) from None
