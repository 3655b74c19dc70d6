"""The stages of an optimisation: Adam, L-BFGS and BFGS, as plain data that can run themselves.

A stage that is interrupted can go on where it was, bit for bit. `memory` is a dict that the stage
keeps up to date: Adam's moments; for SciPy's methods, which do not give theirs away, the values
and gradients that they were told, from which they retrace their steps without a solve.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array

#: theta -> (value, gradient); it never fails: see `pysciml.train.loop.Trials`
Evaluate = Callable[[Array], tuple[float, Array]]
#: What a stage goes on from. Its arrays are replaced, never changed, and its lists only grow.
#: "anchor" is where the sample that is next seen was first seen, if not where the stage began.
Memory = dict[str, Any]


Tell = Callable[[float, Array], None]


class EndStage(Exception):
    """Raised by `report` to end the stage that runs."""


class Stage(Protocol):
    iterations: int

    @property
    def resample(self) -> int:
        """How many iterations a random loss keeps a sample for; 0: all."""
        ...

    def run(
        self, evaluate: Evaluate, theta: Array, report: Tell, memory: Memory | None = None
    ) -> None:
        """Iterate from theta, or go on from `memory`; call `report(value, theta)` each time.

        None: nothing need be remembered.
        """
        ...


_SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda x: 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * x)),
    "exponential": lambda x: 0.01**x,
    "linear": lambda x: 1.0 - 0.99 * x,
}


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015).

    Parameters
    ----------
    lr : float
        Step size: about how far each unknown moves in one iteration.
    iterations : int
    schedule : None, "cosine", "exponential", "linear" or function, optional
        Factor on `lr` at each iteration. The named ones fall from 1 to 0.01 over the stage; a
        function is called with the number of the iteration, from 0.
    betas, epsilon :
        Decay of the two moments, and the term that keeps the division finite.
    clip : float, optional
        Longest gradient (Euclidean norm); longer ones are shortened to it.
    """

    lr: float = 0.01
    iterations: int = 300
    schedule: str | Callable[[int], float] | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    clip: float | None = None
    resample: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check.as_positive(self.lr, "lr")
        object.__setattr__(self, "iterations", check.as_count(self.iterations, "iterations"))
        if isinstance(self.schedule, str) and self.schedule not in _SCHEDULES:
            raise ValueError(
                f"schedule must be None, {', '.join(map(repr, _SCHEDULES))} or a function of the "
                f"iteration; got {self.schedule!r}{check.did_you_mean(self.schedule, _SCHEDULES)}"
            )
        if self.clip is not None:
            check.as_positive(self.clip, "clip")

    def rates(self) -> Array:
        """The step size of each iteration."""
        schedule = self.schedule
        if schedule is None:
            return np.full(self.iterations, self.lr)
        if isinstance(schedule, str):
            factor = _SCHEDULES[schedule]
            factors = [factor(k / self.iterations) for k in range(self.iterations)]
        else:
            factors = [float(schedule(k)) for k in range(self.iterations)]
        return self.lr * np.array(factors)

    def run(
        self, evaluate: Evaluate, theta: Array, report: Tell, memory: Memory | None = None
    ) -> None:
        memory = {} if memory is None else memory
        theta = memory.get("theta", theta)
        m, v = memory.get("m", np.zeros(theta.size)), memory.get("v", np.zeros(theta.size))
        beta1, beta2 = self.betas
        rates = self.rates()
        for k in range(int(memory.get("k", 0)), self.iterations):
            value, gradient = evaluate(theta)
            if self.clip is not None:
                gradient = _clipped(gradient, self.clip)
            m = beta1 * m + (1.0 - beta1) * gradient
            v = beta2 * v + (1.0 - beta2) * gradient**2
            unbiased = m / (1.0 - beta1 ** (k + 1))
            scale = np.sqrt(v / (1.0 - beta2 ** (k + 1))) + self.epsilon
            before, theta = theta, theta - rates[k] * unbiased / scale
            memory.update(theta=theta, m=m, v=v, k=k + 1)
            report(value, before)


def _clipped(gradient: Array, longest: float) -> Array:
    length = float(np.linalg.norm(gradient))
    return gradient if length <= longest else gradient * (longest / length)


@dataclass(frozen=True)
class _QuasiNewton:
    """What SciPy's two quasi-Newton methods share."""

    iterations: int = 500
    tolerance: float = 1e-10
    resample: ClassVar[int] = 0
    _method: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "iterations", check.as_count(self.iterations, "iterations"))
        check.as_nonnegative(self.tolerance, "tolerance")

    def _options(self) -> dict[str, Any]:
        return {}

    def run(
        self, evaluate: Evaluate, theta: Array, report: Tell, memory: Memory | None = None
    ) -> None:
        from scipy.optimize import OptimizeResult, minimize
        from threadpoolctl import threadpool_limits

        told: list[tuple[float, Array]] = [] if memory is None else memory.setdefault("told", [])
        known, asked = len(told), 0
        last = math.inf

        def function(x: Array) -> tuple[float, Array]:
            nonlocal asked
            asked += 1
            if asked <= known:
                value, gradient = told[asked - 1]
                return value, gradient.copy()
            value, gradient = evaluate(x.copy())
            if memory is not None:
                told.append((value, gradient.copy()))
            return value, gradient

        def after_iteration(intermediate_result: OptimizeResult) -> None:
            nonlocal last
            value = float(intermediate_result.fun)
            enough = last - value <= self.tolerance * abs(value)
            last = value
            if asked > known:  # else: retraced, and reported when it was new
                report(value, intermediate_result.x.copy())
            if enough:
                raise StopIteration

        options = {"maxiter": self.iterations, "gtol": 0.0, **self._options()}
        # on matrices of this size the threads of BLAS only wait for each other, and their number
        # would be seen in the last digits
        with threadpool_limits(1, "blas"):
            minimize(
                function, theta, (), self._method, True, callback=after_iteration, options=options
            )


@dataclass(frozen=True)
class LBFGS(_QuasiNewton):
    """L-BFGS (Liu and Nocedal, 1989), SciPy's L-BFGS-B without bounds. For many unknowns.

    Parameters
    ----------
    iterations : int
    tolerance : float
        The stage ends when an iteration lowers the value by less than this part of it.
    memory : int
        Number of past steps that the curvature is taken from.
    """

    memory: int = 20
    _method: ClassVar[str] = "L-BFGS-B"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "memory", check.as_count(self.memory, "memory"))

    def _options(self) -> dict[str, Any]:
        return {"maxcor": self.memory, "ftol": 0.0, "maxfun": 10 * self.iterations + 100}


@dataclass(frozen=True)
class BFGS(_QuasiNewton):
    """BFGS (Nocedal and Wright, Numerical Optimization, 2006, chapter 6), SciPy's.

    For up to some thousand unknowns: it keeps a full matrix. Ends as `LBFGS` does.
    """

    _method: ClassVar[str] = "BFGS"


def as_stages(value: Any) -> tuple[Stage, ...]:
    """One stage or a sequence of them."""
    stages = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    for stage in stages:
        if isinstance(stage, type) or not hasattr(stage, "run"):
            hint = f"; pass an instance, {stage.__name__}()" if isinstance(stage, type) else ""
            raise TypeError(
                "optimisers must be stages such as Adam(...), LBFGS(...) or BFGS(...), or a list "
                f"of them; got {check.describe(stage)}{hint}"
            )
    if not stages:
        raise ValueError("optimisers must be at least one stage; got an empty list")
    return stages


def identity(stage: Stage) -> str:
    """The stage with the step sizes that its schedule gives instead of the schedule itself."""
    if isinstance(stage, Adam):
        return repr((replace(stage, schedule=None), stage.rates().tobytes()))
    return repr(stage)
