"""Function expansions that stand where a network stands: a network is one of them.

`Chebyshev`, `Legendre` and `Fourier` are those of `pysciml.nn`; here are radial basis functions,
and least squares, which need no training where the function itself is known.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.nn import Chebyshev, Fourier, Legendre

__all__ = ["RBF", "Chebyshev", "Fourier", "Legendre", "least_squares"]


class RBF(nn.Module):
    """Gaussian radial basis functions: y = W b(x) with b_i(x) = exp(-|x - c_i|^2 / (2 s^2)).

    D. S. Broomhead, D. Lowe, Multivariable functional interpolation and adaptive networks, Complex
    Systems 2 (1988) 321-355. `weight` has the shape (outputs, centres) and starts at zero.

    Parameters
    ----------
    inputs, outputs : lengths of x and y.
    centres : int or (m, inputs) array
        The points c_i; a number is that of points in each dimension, evenly over the box.
    low, high : the box, a number or one for each input. Only for a number of centres.
    width : float, optional
        s. Default, on a grid: the largest distance between neighbours.
    """

    centres: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        centres: Any,
        low: Any = -1.0,
        high: Any = 1.0,
        width: float | None = None,
    ) -> None:
        super().__init__()
        self.inputs = check.as_count(inputs, "inputs")
        self.outputs = check.as_count(outputs, "outputs")
        if np.ndim(centres) == 0:
            count = check.as_count(centres, "centres")
            points, spacing = _grid(count, _bounds(low, high, self.inputs))
            width = spacing if width is None else width
        else:
            points = check.as_state(centres, "centres")
        if points.ndim != 2 or points.shape[1] != self.inputs:
            raise ValueError(
                f"centres must be a number or an (m, {self.inputs}) array; "
                f"got {check.describe(centres)}"
            )
        if width is None:
            raise ValueError("width must be given with centres that are no grid")
        self.width = check.as_positive(width, "width")
        self.register_buffer("centres", torch.tensor(points))
        weight = torch.zeros(self.outputs, len(points), dtype=torch.float64)
        self.weight = nn.Parameter(weight)

    def features(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., centres)."""
        distance = x.unsqueeze(-2) - self.centres
        return torch.exp(-0.5 * (distance**2).sum(-1) / self.width**2)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x) @ self.weight.T

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}: {len(self.centres)} centres, width {self.width:g}"


def _bounds(low: Any, high: Any, inputs: int) -> list[tuple[float, float]]:
    bounds = np.broadcast_arrays(
        check.as_state(low, "low"), check.as_state(high, "high"), np.zeros(inputs)
    )[:2]
    if not (bounds[0] < bounds[1]).all():
        raise ValueError(f"low must be below high in each dimension; got {low} and {high}")
    return list(zip(*(side.tolist() for side in bounds), strict=True))


def _grid(count: int, bounds: list[tuple[float, float]]) -> tuple[np.ndarray, float]:
    """Points of an even grid, (count^d, d), and the largest distance between neighbours."""
    axes = [
        np.linspace(low, high, count) if count > 1 else np.array([0.5 * (low + high)])
        for low, high in bounds
    ]
    spacing = max((high - low) / max(count - 1, 1) for low, high in bounds)
    return np.array(list(itertools.product(*axes))), spacing


def least_squares(expansion: Any, x: Any, y: Any) -> Any:
    """Set the weights of an expansion to those that are closest to values y at points x.

    Parameters
    ----------
    expansion : Chebyshev, Legendre, Fourier, Polynomial or RBF
        Anything with `features(x)` and a `weight` of shape (outputs, functions). It is changed.
    x : (points, inputs) array, or (points,) for one input
    y : (points, outputs) array, or (points,) for one output

    Returns
    -------
    The expansion.
    """
    if not (hasattr(expansion, "features") and hasattr(expansion, "weight")):
        raise TypeError(
            "expansion must have features(x) and a weight, such as Chebyshev(...); "
            f"got {check.describe(expansion)}"
        )
    points, values = check.as_state(x, "x"), check.as_state(y, "y")
    if points.shape[:1] != values.shape[:1] or points.ndim > 2 or values.ndim > 2:
        raise ValueError(
            "x and y must be (points, inputs) and (points, outputs) arrays; "
            f"got {check.describe(points)} and {check.describe(values)}"
        )
    with torch.no_grad():
        features = expansion.features(torch.tensor(points.reshape(len(points), -1)))
        found, *_ = np.linalg.lstsq(features.numpy(), values.reshape(len(values), -1), rcond=None)
        expansion.weight.copy_(torch.tensor(found.T))
    return expansion
