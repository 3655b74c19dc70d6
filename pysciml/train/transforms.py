"""Maps between bounded quantities and the unbounded unknowns that an optimiser moves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array

if TYPE_CHECKING:
    from torch import Tensor


class Transform(Protocol):
    """A strictly monotone map from the real line onto the values that are allowed."""

    def forward(self, x: Tensor) -> Tensor: ...

    def inverse(self, y: Array) -> Array:
        """The unknowns of these values. Not finite where a value is not allowed."""
        ...


class _Identity:
    def forward(self, x: Tensor) -> Tensor:
        return x

    def inverse(self, y: Array) -> Array:
        return y

    def __repr__(self) -> str:
        return "identity"


class _Positive:
    """y = exp(x): the unknown is the logarithm, so steps are relative."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()

    def inverse(self, y: Array) -> Array:
        return np.log(y)

    def __repr__(self) -> str:
        return "positive"


class _Bounded:
    """y = low + (high - low) / (1 + exp(-x)); with one bound, y = low + exp(x) or high - exp(x)."""

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    def forward(self, x: Tensor) -> Tensor:
        if math.isinf(self.high):
            return self.low + x.exp()
        if math.isinf(self.low):
            return self.high - x.exp()
        return self.low + (self.high - self.low) * x.sigmoid()

    def inverse(self, y: Array) -> Array:
        if math.isinf(self.high):
            return np.log(y - self.low)
        if math.isinf(self.low):
            return np.log(self.high - y)
        return np.log((y - self.low) / (self.high - y))

    def __repr__(self) -> str:
        return f"bounded({self.low:g}, {self.high:g})"


identity: Transform = _Identity()
positive: Transform = _Positive()


def bounded(low: float | None = None, high: float | None = None) -> Transform:
    """Values strictly between `low` and `high`; None is no bound.

    Raises
    ------
    TypeError, ValueError
        A bound is not a number, or `low` is not below `high`.
    """
    bottom = -math.inf if low is None else check.as_real(low, "low", "a number or None")
    top = math.inf if high is None else check.as_real(high, "high", "a number or None")
    if math.isnan(bottom) or math.isnan(top) or bottom >= top:
        raise ValueError(f"low must be below high; got low={low} and high={high}")
    if math.isinf(bottom) and math.isinf(top):
        return identity
    return _Bounded(bottom, top)


def require_transform(value: Any, name: str) -> Transform:
    """Refuse what has not the two methods."""
    if isinstance(value, type) or not (hasattr(value, "forward") and hasattr(value, "inverse")):
        raise TypeError(
            f"{name} must be a transform, such as positive or bounded(low, high); "
            f"got {check.describe(value)}"
        )
    transform: Transform = value
    return transform
