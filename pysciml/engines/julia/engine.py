"""The engine "julia": OrdinaryDiffEq's solvers on the captured functions, compiled by Julia."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from pysciml import validation as check
from pysciml.engines.base import (
    AdjointOptions,
    Array,
    Availability,
    Batch,
    EnsembleOptions,
    Pullback,
    RawBatch,
    RawSolution,
    SolveOptions,
)
from pysciml.engines.batches import solve_each
from pysciml.engines.julia import adjoint as adjoints
from pysciml.engines.julia import ensemble, environment, session, two_parts
from pysciml.engines.julia.methods import IMPLICIT, known_algorithms
from pysciml.engines.julia.model import JuliaModel
from pysciml.errors import UnsupportedError
from pysciml.problems import DDEProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysciml.problems import ODEProblem, Problem
    from pysciml.train.objective import Objective, Report
    from pysciml.train.optimisers import Stage


_CLASSES = {
    "ODEProblem": ("pysciml.engines.julia.model", "JuliaModel"),
    "BVProblem": ("pysciml.engines.julia.boundary", "BoundaryModel"),
    "TwoPointBVProblem": ("pysciml.engines.julia.boundary", "BoundaryModel"),
    "DAEProblem": ("pysciml.engines.julia.dae", "ImplicitModel"),
    "DDEProblem": ("pysciml.engines.julia.delay", "DelayedModel"),
    "DiscreteProblem": ("pysciml.engines.julia.maps", "MapModel"),
    "SDEProblem": ("pysciml.engines.julia.stochastic", "StochasticModel"),
    "JumpProblem": ("pysciml.engines.julia.jumps", "ReactionModel"),
    "JumpProblem of an ODEProblem": ("pysciml.engines.julia.jump_diffusion", "JumpDiffusionModel"),
    "JumpProblem of an SDEProblem": ("pysciml.engines.julia.jump_diffusion", "JumpDiffusionModel"),
    "SteadyStateProblem": ("pysciml.engines.julia.steady", "SteadyModel"),
}


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
    ensemblealgs: tuple[str, ...] = ("EnsembleThreads", "EnsembleSerial", ensemble.DISTRIBUTED)
    free_threaded = False
    batched = False

    def __init__(self, specialize: str = "shared") -> None:
        if specialize not in ("shared", "full"):
            raise ValueError(f"specialize must be 'shared' or 'full'; got {specialize!r}")
        self.specialize = specialize
        self._models: WeakKeyDictionary[Any, dict[Any, JuliaModel]] = WeakKeyDictionary()

    def availability(self) -> Availability:
        if session.started():
            return Availability(True)
        return environment.availability()

    def algorithms(self, kind: str | None = None) -> tuple[str, ...]:
        """Names of the methods; those of the installed libraries once Julia runs.

        Methods for ODEs are the methods for DDEs, too.
        """
        if kind == "DAEProblem":
            return IMPLICIT
        if kind in ("SDEProblem", "JumpProblem of an SDEProblem"):
            from pysciml.engines.julia.stochastic import schemes

            return tuple(schemes())
        if kind == "JumpProblem":
            from pysciml.engines.julia.jumps import NAMES

            return NAMES
        if kind == "DiscreteProblem":
            from pysciml.engines.julia.maps import NAME

            return (NAME,)
        if session.started():
            return tuple(str(name) for name in session.module().algorithm_names())
        return tuple(sorted(known_algorithms() - {*IMPLICIT}))

    def solve(self, problem: Problem, alg: str | None, options: SolveOptions) -> RawSolution:
        """Solve; see `pysciml.solve`. Ctrl-C raises KeyboardInterrupt and leaves Julia running."""
        if not session.started():  # what is wrong need not wait for that
            _class(problem.kind).check(problem, alg, options)
        model = self._model_for(problem, alg, options)
        return model.solve_by(problem, alg, options, self.specialize == "full")

    def solve_many(
        self,
        problem: ODEProblem,
        alg: str | None,
        options: SolveOptions,
        batch: Batch,
        out: Array,
        stop: NDArray[np.int64],
        how: EnsembleOptions,
    ) -> RawBatch:
        """Solve a batch of an ensemble in Julia's threads or processes; see `ManyEngine`.

        Each trajectory is the one that `solve` gives, to the last bit. Kinds of problems other
        than ODEs, SDEs, maps and those with jumps are solved one by one.
        """
        in_parts = two_parts.kind_of(problem, alg) is not None
        ensemble.check_distributed(how, problem, options, in_parts)
        if problem.kind not in ensemble.KINDS or in_parts:
            return solve_each(self, problem, alg, options, batch, out, stop)
        model, full = self._model_for(problem, alg, options), self.specialize == "full"
        return ensemble.solve_many(model, problem, alg, options, batch, out, stop, how, full)

    def sensealgs(self) -> tuple[str, ...]:
        """SciMLSensitivity's adjoint methods; the first is the default."""
        return adjoints.SENSEALGS

    def solve_with_pullback(
        self,
        problem: ODEProblem | DDEProblem,
        alg: str | None,
        options: SolveOptions,
        adjoint: AdjointOptions,
    ) -> tuple[RawSolution, Pullback]:
        """Solve, and keep what an adjoint method needs. The first call loads SciMLSensitivity."""
        if problem.is_random:
            raise UnsupportedError(
                f'engine="julia" has no gradients of {check.with_article(problem.kind)}: '
                'SciMLSensitivity would differentiate the noise by tracing it; engine="native" has '
                "them, from the derivatives that were captured"
            )
        if isinstance(problem, DDEProblem):
            from pysciml.sensitivity import delays

            return delays.solve_with_pullback(self.solve, problem, alg, options, adjoint)
        two_parts.refuse_gradients(problem, alg)
        solve: Any = adjoints.solve_with_pullback
        if options.events:
            from pysciml.engines.julia import event_adjoint

            solve = event_adjoint.solve_with_pullback
        full = self.specialize == "full"
        return solve(self.model(problem), problem, alg, options, adjoint, full)

    def minimise(
        self, objective: Objective, theta0: Array, stages: Sequence[Stage], report: Report
    ) -> None:
        """Run a whole optimisation in Julia; see `pysciml.train.objective.MinimisingEngine`."""
        from pysciml.engines.julia import training

        training.minimise(self, objective, theta0, stages, report)

    def _model_for(self, problem: Problem, alg: str | None, options: SolveOptions) -> JuliaModel:
        """The problem's functions, in parts where the method takes it so, and with its events."""
        two_parts.check(problem, alg, options)
        model = two_parts.suited(self.model(problem), problem, alg)
        if not options.events:
            return model
        from pysciml.engines.julia.events import watched

        return watched(model, options.events, problem.tspan)

    def model(self, problem: Problem) -> JuliaModel:
        """The problem's functions in Julia, compiled as they are needed."""
        cls = _class(problem.kind)
        kept = self._models.get(problem.model)
        if kept is None:
            kept = self._models[problem.model] = {}
        key = cls.key(problem)
        found = kept.get(key)
        if found is None:
            found = kept[key] = cls.of(problem)
        return found


@cache
def _class(kind: str) -> type[JuliaModel]:
    """What a kind of problem is in Julia, imported when it is first asked for."""
    module, name = _CLASSES[kind]
    found: type[JuliaModel] = getattr(import_module(module), name)
    return found
