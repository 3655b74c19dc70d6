"""Self-scaled Broyden: a quasi-Newton method for ill-conditioned losses, such as residuals of PDEs.

J. F. Urbán, P. Stefanou, J. A. Pons, Unveiling the optimization process of physics informed neural
networks, J. Comput. Phys. 523 (2025) 113656, equations 13-23; M. Al-Baali, Numerical experience
with a class of self-scaling quasi-Newton algorithms, J. Optim. Theory Appl. 96 (1998) 533-553.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.train.optimisers import Evaluate, Memory, Tell

_PARALLEL = 1e-12  # excess of b c over 1 below which step and change of slope count as parallel
_RESTARTS = (1.0, 1e-3, 1e-6)  # lengths of steps along the slope, where the matrix leads nowhere


@dataclass(frozen=True)
class SSBroyden:
    """Self-scaled Broyden (Urbán, Stefanou and Pons, 2025), with SciPy's Wolfe line search.

    Where a loss is small and its curvatures are of many orders of magnitude, as those of
    physics-informed networks are, it goes on where `LBFGS` and `BFGS` have come to a halt. For up
    to some thousand unknowns: it keeps a full matrix.

    Parameters
    ----------
    iterations : int
    resample : int
        A loss that is a mean over random points gets new ones every so many iterations; the matrix
        is kept. 0: never.
    tolerance : float
        The stage ends when an iteration lowers the value by less than this part of it.
    """

    iterations: int = 500
    resample: int = 0
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        object.__setattr__(self, "iterations", check.as_count(self.iterations, "iterations"))
        if self.resample != 0:
            object.__setattr__(self, "resample", check.as_count(self.resample, "resample"))
        check.as_nonnegative(self.tolerance, "tolerance")

    def run(
        self, evaluate: Evaluate, theta: Array, report: Tell, memory: Memory | None = None
    ) -> None:
        from threadpoolctl import threadpool_limits

        memory = {} if memory is None else memory
        with threadpool_limits(1, "blas"):  # as for SciPy's methods: see there
            self._iterate(evaluate, theta, report, memory)

    def _iterate(self, evaluate: Evaluate, theta: Array, report: Tell, memory: Memory) -> None:
        every = self.resample or self.iterations
        done = int(memory.get("k", 0))
        here = _recalled(memory) if done else _Iterate(theta, *evaluate(theta))
        h = memory["h"] if done else here.scaled_identity(1.0)
        for k in range(done, self.iterations):
            if here.gained() <= self.tolerance * abs(here.value):
                return
            if k and k % every == 0:
                here = _Iterate(here.theta, *evaluate(here.theta))
            guesses = iter(_RESTARTS)
            while (found := _search(evaluate, here, h)) is None:
                step = next(guesses, None)
                if step is None:
                    return
                h = here.scaled_identity(step)
            length, there = found
            h = update(h, length, here.gradient, there.gradient)
            here = there
            memory.update(vars(here), k=k + 1, h=h)
            if (k + 1) % every == 0:
                memory["anchor"] = here.theta
            report(here.value, here.theta)


@dataclass(frozen=True)
class _Iterate:
    theta: Array
    value: float
    gradient: Array
    before: float | None = None  # the value one iteration ago, of the same loss

    def gained(self) -> float:
        return math.inf if self.before is None else self.before - self.value

    def scaled_identity(self, step: float) -> Array:
        """An inverse Hessian whose step is of that length."""
        steepness = float(np.linalg.norm(self.gradient)) or 1.0
        guess: Array = np.eye(self.theta.size) * (step / steepness)
        return guess


def _recalled(memory: Memory) -> _Iterate:
    value, before = float(memory["value"]), float(memory["before"])
    return _Iterate(memory["theta"], value, memory["gradient"], before)


def update(h: Array, length: float, gradient: Array, after: Array) -> Array:
    """The next inverse Hessian, when a step of -length h gradient has changed the gradient."""
    s, y = -length * (h @ gradient), after - gradient
    w = h @ y
    ys, yw = float(y @ s), float(y @ w)
    if not min(ys, yw) > np.finfo(float).tiny:  # a minimum, to the last digit
        return h
    b, c = -length * float(s @ gradient) / ys, yw / ys
    a = b * c - 1.0  # not negative, by Cauchy and Schwarz
    theta = 0.0  # of BFGS; SR1 and DFP are elsewhere on this line
    if a > _PARALLEL:
        least = min(1.0, c * (1.0 - math.sqrt(a / (1.0 + a))))
        theta = max((least - 1.0) / a, min(1.0 / least, (1.0 - b) / b))
    sigma, rho = 1.0 + theta * max(a, 0.0), min(1.0, 1.0 / b)
    volume = sigma ** (-1.0 / max(s.size - 1, 1))
    tau = rho * min(volume, 1.0 / theta) if theta > 0.0 else min(rho * volume, sigma)
    phi = (1.0 - theta) / sigma
    columns = np.stack([w, s / ys - w / yw, s], axis=1)
    new: Array = columns @ (
        np.array([[-1.0 / (yw * tau)], [phi * yw / tau], [1.0 / ys]]) * columns.T
    )
    new += h / tau
    return new


def _search(evaluate: Evaluate, here: _Iterate, h: Array) -> tuple[float, _Iterate] | None:
    """Length of the step along -h gradient, and where it leads; None: nowhere lower."""
    from scipy.optimize import line_search

    tried: list[tuple[Array, tuple[float, Array]]] = []

    def at(x: Array) -> tuple[float, Array]:
        if not tried or not np.array_equal(tried[-1][0], x):
            tried.append((x.copy(), evaluate(x.copy())))
        return tried[-1][1]

    direction = -(h @ here.gradient)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where it returns None
        length, _, _, value, _, gradient = line_search(
            lambda x: at(x)[0],
            lambda x: at(x)[1],
            here.theta,
            direction,
            here.gradient,
            here.value,
            here.before,
        )
    if length is None or gradient is None or not value < here.value:
        return None
    there = here.theta + length * direction
    return float(length), _Iterate(there, float(value), gradient, here.value)
