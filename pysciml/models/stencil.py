"""Convolutions as stencils: derivatives on a grid, learned or known.

Z. Long, Y. Lu, X. Ma, B. Dong, PDE-Net: learning PDEs from data, ICML 2018: a filter whose moments
below some order vanish is a difference of that order. C. Rackauckas et al., Universal differential
equations for scientific machine learning, arXiv:2001.04385 (2020): one of three taps beside a
network, for the Fisher-KPP equation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.nn import mlp

_BOUNDARIES = ("periodic", "neumann", "dirichlet")


class Stencil(nn.Module):
    """A weighted sum of the neighbours of each point: fields (*grid) to fields (*grid).

    The weights are fitted; those that it applies, `taps`, are the nearest to them whose moments
    below `order` vanish, so that it is a difference of that order for every weight. A learned
    diffusion term needs that where a network of u stands beside it, as both can have a part
    proportional to u.

    Parameters
    ----------
    width : int
        Taps in each dimension, an odd number.
    dims : int
        Dimensions of the grid.
    order : int
        0: any weights. 1: constants give 0. 2: and so do linear functions; then three taps are
        D [1, -2, 1], with one free number.
    boundary : str
        What is beyond the grid. "periodic"; "neumann": the mirror image, with the wall half a step
        beyond the last point, through which nothing flows; "dirichlet": zero.
    weights : array (width, ...), optional
        First weights. Default: zero.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    def __init__(
        self,
        width: int = 3,
        dims: int = 1,
        order: int = 1,
        boundary: str = "periodic",
        weights: Any = None,
    ) -> None:
        super().__init__()
        self.width = _odd(width)
        self.dims = check.as_count(dims, "dims")
        self.boundary = check.as_choice(boundary, "boundary", _BOUNDARIES)
        shape = (self.width,) * self.dims
        first = np.zeros(shape) if weights is None else check.as_state(weights, "weights")
        if first.shape != shape:
            raise ValueError(f"weights must be of shape {shape}; got {check.describe(weights)}")
        self.register_buffer("projector", torch.as_tensor(_projector(shape, order)))
        self.weights = nn.Parameter(torch.as_tensor(first))

    projector: Tensor

    @property
    def taps(self) -> Tensor:
        """The weights that are applied, (width, ...)."""
        return (self.projector @ self.weights.reshape(-1)).reshape(self.weights.shape)

    def forward(self, u: Tensor) -> Tensor:
        grid = u.shape
        if len(grid) != self.dims:
            raise ValueError(f"u must have {self.dims} dimensions; got the shape {tuple(grid)}")
        wide = pad(u, self.width // 2, self.boundary)
        taps = self.taps.reshape(-1).unbind()
        offsets = itertools.product(range(self.width), repeat=self.dims)
        terms = [
            tap * wide[tuple(slice(k, k + n) for k, n in zip(offset, grid, strict=True))]
            for tap, offset in zip(taps, offsets, strict=True)
        ]
        return torch.stack(terms).sum(0)

    def extra_repr(self) -> str:
        return f"width={self.width}, dims={self.dims}, boundary={self.boundary!r}"


class ConvolutionNetwork(nn.Module):
    """Convolutions with an activation after each but the last: fields (channels, *grid) of one or
    two dimensions to such fields, or (*grid) to (*grid) where there is one channel on both sides.

    Parameters
    ----------
    channels : numbers of fields in, of each hidden layer, and out.
    width : int
        Taps in each dimension, an odd number.
    dims : int
        1 or 2.
    boundary : str
        As that of `Stencil`.
    activation : name
        As in `pysciml.nn.mlp`.
    seed : of the first weights, uniform in +-1/sqrt(taps x fields in).
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int = 3,
        dims: int = 2,
        boundary: str = "periodic",
        activation: Any = "tanh",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.width, self.dims = _odd(width), check.as_count(dims, "dims")
        if self.dims > 2:
            raise ValueError(f"dims must be 1 or 2; got {dims}")
        self.boundary = check.as_choice(boundary, "boundary", _BOUNDARIES)
        if not isinstance(channels, (list, tuple)) or len(channels) < 2:
            raise ValueError(
                "channels must be at least two numbers, fields in and out; "
                f"got {check.describe(channels)}"
            )
        self.activations = nn.ModuleList(list(mlp(channels, activation))[1::2])
        kind = nn.Conv1d if self.dims == 1 else nn.Conv2d
        random = torch.Generator().manual_seed(check.as_seed(seed, "seed"))
        self.convolutions = nn.ModuleList(
            _first_weights(kind(i, o, self.width, dtype=torch.float64), random)
            for i, o in itertools.pairwise(channels)
        )

    def forward(self, u: Tensor) -> Tensor:
        is_bare = u.ndim == self.dims
        x = u.unsqueeze(0) if is_bare else u
        for k, convolution in enumerate(self.convolutions):
            x = x if k == 0 else self.activations[k - 1](x)
            x = convolution(pad(x, self.width // 2, self.boundary, self.dims))
        return x.squeeze(0) if is_bare else x


def _first_weights(layer: nn.Conv1d | nn.Conv2d, random: torch.Generator) -> nn.Conv1d | nn.Conv2d:
    bound = 1.0 / math.sqrt(layer.weight[0].numel())
    with torch.no_grad():
        for x in layer.parameters():
            x.uniform_(-bound, bound, generator=random)
    return layer


def pad(u: Tensor, reach: int, boundary: str, dims: int | None = None) -> Tensor:
    """A field with `reach` more points at each end of its last `dims` axes (default: all), as the
    boundary has them."""
    for axis in range(0 if dims is None else u.ndim - dims, u.ndim):
        n = u.shape[axis]
        first, last = u.narrow(axis, 0, reach), u.narrow(axis, n - reach, reach)
        if boundary == "periodic":
            ends = last, first
        elif boundary == "neumann":
            ends = first.flip(axis), last.flip(axis)
        else:
            ends = torch.zeros_like(first), torch.zeros_like(last)
        u = torch.cat([ends[0], u, ends[1]], dim=axis)
    return u


def _odd(width: int) -> int:
    count = check.as_count(width, "width")
    if count % 2 == 0:
        raise ValueError(f"width must be odd, so that there is a middle; got {width}")
    return count


def _projector(shape: tuple[int, ...], order: int) -> Array:
    """To weights whose moments of total degree below `order` vanish."""
    width, dims = shape[0], len(shape)
    if not isinstance(order, (int, np.integer)) or not 0 <= order < width:
        raise ValueError(f"order must be a whole number from 0 to {width - 1}; got {order!r}")
    at = np.array(list(itertools.product(np.arange(width) - width // 2, repeat=dims)))
    degrees = [k for k in itertools.product(range(order), repeat=dims) if sum(k) < order]
    moments = np.array([np.prod(at ** np.array(k), axis=1) for k in degrees], dtype=float)
    identity = np.eye(math.prod(shape))
    if not degrees:
        return identity
    projector: Array = identity - np.linalg.pinv(moments) @ moments
    return projector
