"""Perturbations within a ball, the worst of them, and training against those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.train.objective import ObjectiveFunction


@dataclass(frozen=True)
class Ball:
    """Perturbations up to a size, and how the worst of them is sought.

    Projected gradient ascent (Madry et al., Towards deep learning models resistant to adversarial
    attacks, ICLR 2018): steps uphill, each followed by the nearest point of the ball.

    Parameters
    ----------
    radius : number > 0
    steps : of the ascent.
    norm : "l2" (Euclidean) or "linf" (the largest entry)
    scale : number, array, or "relative"
        What 1 means for each entry: its own unit, or, "relative", its absolute value. Default: 1.
    step : length of a step. Default: half the radius; the worst point on the way counts.
    """

    radius: float
    steps: int = 20
    norm: str = "l2"
    scale: Any = 1.0
    step: float | None = None

    def __post_init__(self) -> None:
        check.as_positive(self.radius, "radius")
        object.__setattr__(self, "steps", check.as_count(self.steps, "steps"))
        check.as_choice(self.norm, "norm", ("l2", "linf"))
        if self.step is not None:
            check.as_positive(self.step, "step")
        if isinstance(self.scale, str) and self.scale != "relative":
            raise ValueError(f'scale must be numbers > 0 or "relative"; got {self.scale!r}')

    def scales(self, x: Array) -> Array:
        """What 1 means for each entry of x, in x's shape."""
        if isinstance(self.scale, str):
            return np.abs(x)
        given = check.as_observations(self.scale, "scale", 'numbers > 0 or "relative"')
        if not (given > 0.0).all():
            raise ValueError(f'scale must be numbers > 0 or "relative"; got {given.min()}')
        try:
            return np.broadcast_to(given, x.shape).copy()
        except ValueError:
            raise ValueError(
                f"scale must be one number, or one for each of {x.shape}; "
                f"got {check.describe(self.scale)}"
            ) from None

    def uphill(self, z: Array, gradient: Array) -> Array:
        """One step from z, and back into the ball. z and gradient are in units of the scale;
        their last axis is one perturbation."""
        length = 0.5 * self.radius if self.step is None else self.step
        if self.norm == "linf":
            return np.clip(z + length * np.sign(gradient), -self.radius, self.radius)
        direction = gradient / np.maximum(_norm(gradient), np.finfo(float).tiny)
        moved = z + length * direction
        return moved * np.minimum(1.0, self.radius / np.maximum(_norm(moved), 1e-300))

    def random(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        """Perturbations on the ball's surface."""
        z = generator.standard_normal(shape)
        if self.norm == "linf":
            return self.radius * np.sign(z)
        return self.radius * z / _norm(z)


def _norm(z: Array) -> Array:
    norm: Array = np.linalg.norm(z, axis=-1, keepdims=True)
    return norm


class AdversarialFunction:
    """theta -> (value, gradient) of an objective whose solves start where that is worst.

    The gradient is that at the worst starts (Danskin's theorem). Each solve has a ball of its own.
    """

    def __init__(self, function: ObjectiveFunction, ball: Ball) -> None:
        self._function = function
        self._ball = ball

    def __call__(self, theta: Array) -> tuple[float, Array]:
        return self._function(theta, self.worst(theta))

    def worst(self, theta: Array) -> Array:
        """What is added to the initial states, (solves, n)."""
        starts = self._function.starts(theta)
        scale = self._ball.scales(starts)
        z = np.zeros_like(starts)
        best, highest = z, -np.inf
        for _ in range(self._ball.steps):
            value, uphill = self._function.by_starts(theta, scale * z)
            if value > highest:
                best, highest = z, value
            z = self._ball.uphill(z, scale * uphill)
        return scale * (z if self._function.value(theta, scale * z) > highest else best)


def as_ball(value: Any) -> Ball | None:
    """A Ball or None."""
    if value is not None and not isinstance(value, Ball):
        raise TypeError(f"adversarial must be a Ball(...) or None; got {check.describe(value)}")
    return value
