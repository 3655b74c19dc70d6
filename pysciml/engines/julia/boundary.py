"""Boundary value problems: the methods of BoundaryValueDiffEq.jl."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import Array, SolveOptions
from pysciml.engines.julia import session
from pysciml.engines.julia.methods import check_algorithm, known_algorithms, refused
from pysciml.engines.julia.model import JuliaModel, Plan
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.problems import BVProblem

_EXTENSION = "PySciMLBoundaryExt"
_FAMILY = "BoundaryValueDiffEq"
_DEFAULT = "MIRK4"
_FIRST_INTERVALS = 20  # of the first mesh, when there is no dt
_MOST_INTERVALS = 1_000_000


class BoundaryModel(JuliaModel):
    """The functions of a BVProblem on the Julia side, for its tspan."""

    def __init__(self, problem: BVProblem) -> None:
        self._extension = session.extension(_EXTENSION)
        self._span = problem.tspan
        conditions = problem.conditions
        self._times = np.array(conditions.times)
        self._sizes = np.array([end.n_out for end in conditions.ends or ()], dtype=np.int64)
        self._rhs = JuliaModel(problem.model)
        self._conditions = JuliaModel(conditions.model)
        self._ends = [JuliaModel(end) for end in conditions.ends or ()]
        super().__init__(problem.model, handle=self._rhs.handle)

    @classmethod
    def of(cls, problem: Any) -> BoundaryModel:
        return cls(problem)

    @staticmethod
    def key(problem: Any) -> Any:
        return problem.tspan

    def start(self, problem: Any, plan: Plan) -> Array:
        """The guess on the first mesh."""
        found: Array = problem.guessed(np.linspace(*self._span, plan.points)).reshape(-1)
        return found

    def compile_for(self, kind: str) -> None:
        for model in (self._rhs, self._conditions, *self._ends):
            model.compile("f", "jvp")

    def _new_plan(self, alg: str | None, options: SolveOptions) -> Plan:
        if options.tstops is not None or options.dtmin > 0.0 or options.dtmax is not None:
            raise UnsupportedError("tstops, dtmin and dtmax have no meaning for a BVProblem")
        intervals = _FIRST_INTERVALS
        if options.dt is not None:
            intervals = math.ceil(abs(self._span[1] - self._span[0]) / options.dt)
        if intervals > _MOST_INTERVALS:
            raise ValueError(f"dt must leave at most {_MOST_INTERVALS} steps; got {options.dt}")
        points = 1 + max(intervals, 2)
        self._handle = self._extension.BoundaryModel(
            self._rhs.handle,
            self._conditions.handle,
            self._times,
            [end.handle for end in self._ends],
            self._sizes,
            points,
        )
        plan = super()._new_plan(alg, options)
        plan.points = points
        return plan

    def _check_name(self, alg: str) -> None:
        check_algorithm(alg, lambda: known_algorithms() | known_algorithms(_FAMILY), _FAMILY)

    def _method(self, alg: str | None, options: SolveOptions) -> Any:
        try:
            return self._extension.boundary_algorithm(alg or _DEFAULT, dict(options.algorithm))
        except Exception as error:
            raise refused(error, alg) from None
