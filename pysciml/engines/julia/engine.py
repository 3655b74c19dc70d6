"""The engine "julia": OrdinaryDiffEq's solvers on the captured functions, compiled by Julia."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from pysciml.engines.base import (
    AdjointOptions,
    Array,
    Availability,
    Pullback,
    RawSolution,
    SolveOptions,
)
from pysciml.engines.julia import adjoint as adjoints
from pysciml.engines.julia import environment, session
from pysciml.engines.julia.methods import known_algorithms
from pysciml.engines.julia.model import JuliaModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysciml.problems import ODEProblem
    from pysciml.train.objective import Objective, Report
    from pysciml.train.optimisers import Stage


class JuliaEngine:
    """OrdinaryDiffEq.jl through juliacall.

    Parameters
    ----------
    specialize : "shared" or "full"
        "shared" runs the solver code that is precompiled for all models: a new model costs the
        compilation of its own functions only. "full" compiles each solver for each model, which
        takes some seconds per pair and saves the price of an indirect call per right-hand side.
    """

    name = "julia"

    def __init__(self, specialize: str = "shared") -> None:
        if specialize not in ("shared", "full"):
            raise ValueError(f"specialize must be 'shared' or 'full'; got {specialize!r}")
        self.specialize = specialize
        self._models: WeakKeyDictionary[Any, dict[bytes | None, JuliaModel]] = WeakKeyDictionary()

    def availability(self) -> Availability:
        if session.started():
            return Availability(True)
        return environment.availability()

    def algorithms(self, kind: str | None = None) -> tuple[str, ...]:
        """Names of the methods, all for ODEs; those of the installed libraries once Julia runs."""
        if session.started():
            return tuple(str(name) for name in session.module().algorithm_names())
        return tuple(sorted(known_algorithms()))

    def solve(self, problem: ODEProblem, alg: str | None, options: SolveOptions) -> RawSolution:
        """Solve; see `pysciml.solve`. Ctrl-C raises KeyboardInterrupt and leaves Julia running."""
        model = self.model(problem)
        return model.solve(problem, model.plan(alg, options), self.specialize == "full")

    def sensealgs(self) -> tuple[str, ...]:
        """SciMLSensitivity's adjoint methods; the first is the default."""
        return adjoints.SENSEALGS

    def solve_with_pullback(
        self, problem: ODEProblem, alg: str | None, options: SolveOptions, adjoint: AdjointOptions
    ) -> tuple[RawSolution, Pullback]:
        """Solve, and keep what an adjoint method needs. The first call loads SciMLSensitivity."""
        full = self.specialize == "full"
        return adjoints.solve_with_pullback(
            self.model(problem), problem, alg, options, adjoint, full
        )

    def minimise(
        self, objective: Objective, theta0: Array, stages: Sequence[Stage], report: Report
    ) -> None:
        """Run a whole optimisation in Julia; see `pysciml.train.objective.MinimisingEngine`."""
        from pysciml.engines.julia import training

        training.minimise(self, objective, theta0, stages, report)

    def model(self, problem: ODEProblem) -> JuliaModel:
        """The problem's functions in Julia, compiled as they are needed."""
        by_mass = self._models.get(problem.model)
        if by_mass is None:
            by_mass = self._models[problem.model] = {}
        mass = problem.mass_matrix
        key = None if mass is None else np.asarray(mass).tobytes()
        found = by_mass.get(key)
        if found is None:
            found = by_mass[key] = JuliaModel(problem.model, mass)
        return found
