"""Whole optimisations inside Julia, by Optimization.jl; Python is told of each iteration."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import Array
from pysciml.engines.julia import adjoint, session
from pysciml.errors import UnsupportedError
from pysciml.train.objective import FailedTrial, Objective, Report
from pysciml.train.optimisers import BFGS, LBFGS, Adam, Stage

if TYPE_CHECKING:
    from pysciml.engines.julia.engine import JuliaEngine

EXTENSION = "PySciMLTrainingExt"

_FAILED_TRIAL = -3  # minus the number of the solve that failed, from 1; 0 for none
_TELL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_double)


def minimise(
    engine: JuliaEngine,
    objective: Objective,
    theta0: Array,
    stages: Sequence[Stage],
    report: Report,
) -> None:
    """See `pysciml.train.objective.MinimisingEngine`."""
    session.extension(EXTENSION)
    handle = _objective(engine, objective)
    best = _Best(theta0)
    for number, stage in enumerate(stages):
        listener = _Listener(number, best, report)
        code = _run(stage, handle, best.theta, listener)
        listener.raise_what_report_raised()
        if code < 0:
            _fail(code)


class _Best:
    """The best theta so far: where the next stage starts."""

    def __init__(self, theta: Array) -> None:
        self.theta = np.array(theta, dtype=np.float64)
        self.value = np.inf

    def see(self, value: float, theta: Array) -> None:
        if value < self.value:
            self.value, self.theta = value, theta


class _Listener:
    """A C function for Julia to call after each iteration, with theta in `buffer`."""

    def __init__(self, stage: int, best: _Best, report: Report) -> None:
        self._stage = stage
        self._best = best
        self._report = report
        self._raised: BaseException | None = None
        self.buffer = np.empty_like(best.theta)
        self._function = _TELL(self._tell)  # kept alive as long as Julia may call it

    @property
    def address(self) -> int:
        return ctypes.cast(self._function, ctypes.c_void_p).value or 0

    def raise_what_report_raised(self) -> None:
        if self._raised is not None:
            raise self._raised

    def _tell(self, value: float) -> int:
        try:  # all of it: Ctrl-C may come at any line
            theta = self.buffer.copy()
            self._best.see(value, theta)
            return int(self._report(self._stage, value, theta))
        except BaseException as error:  # it cannot pass through Julia; raised on the other side
            self._raised = error
            return 1


def _run(stage: Stage, handle: Any, theta: Array, listener: _Listener) -> int:
    julia = session.module()
    where = (listener.address, listener.buffer.ctypes.data)
    if isinstance(stage, Adam):
        rates, (beta1, beta2) = stage.rates(), stage.betas
        code = julia.adam_b(handle, theta, rates, beta1, beta2, stage.epsilon, stage.clip, *where)
    elif isinstance(stage, (LBFGS, BFGS)):
        memory = stage.memory if isinstance(stage, LBFGS) else None
        code = julia.quasi_newton_b(
            handle, theta, memory, stage.iterations, stage.tolerance, *where
        )
    else:
        raise UnsupportedError(f"engine='julia' cannot run a stage of {type(stage).__name__}")
    return int(code)


def _objective(engine: JuliaEngine, objective: Objective) -> Any:
    """Julia's Objective: recipes of the solves, and the compiled programs around them."""
    julia = session.module()
    recipes = [
        adjoint.recipe(engine.model(solve.problem), objective.alg, solve.options, objective.adjoint)
        for solve in objective.solves
    ]
    sources = [_source(objective, name) for name in ("starts", "starts_vjp", "loss")]
    handle = julia.objective(
        objective.size,
        objective.solves[0].problem.u0_flat.size if objective.solves else 0,
        objective.starts.shape[0],
        objective.n_saved,
        engine.specialize == "full",
        *itertools.chain.from_iterable(sources),
    )
    for solve, recipe in zip(objective.solves, recipes, strict=True):
        t0, t1 = solve.problem.tspan
        assert solve.options.saveat is not None
        julia.add_solve_b(handle, recipe.handle, float(t0), float(t1), len(solve.options.saveat))
    return handle


def _source(objective: Objective, name: str) -> tuple[str, str, Array]:
    from pysciml.codegen.julia import generate

    source = generate(getattr(objective, name), name)
    return source.text, source.name, source.new_work()


def _fail(code: int) -> None:
    if code > _FAILED_TRIAL:
        session.fail(code)
    _kind, reason = (str(part) for part in session.module().last_error())
    failed = _FAILED_TRIAL - code
    raise FailedTrial(reason, failed - 1 if failed else None)
