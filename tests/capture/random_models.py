"""Random right-hand sides for the property tests: recipes that hypothesis can shrink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

Tensor = torch.Tensor
Operation = Callable[[Tensor, Tensor], Tensor]

SHAPES = [(), (1,), (3,), (2, 3), (5,), (4, 4)]
N_P = 4


def _mix(x: Tensor) -> Tensor:
    """A dense linear map with fixed weights, of whatever size."""
    n = x.numel()
    weights = torch.sin(torch.arange(n * n, dtype=torch.float64)).reshape(n, n) / n
    return (weights @ x.reshape(-1)).reshape(x.shape)


def _and_one(y: torch.Tensor) -> torch.Tensor:
    """A vector that is never zero, where a norm has no derivative."""
    return torch.nn.functional.pad(y.reshape(-1), (0, 1), value=1.0)


def _roll(x: Tensor) -> Tensor:
    return torch.roll(x, 1) if x.dim() < 2 else torch.roll(x, (1, -1), (0, 1))


def _interior(x: Tensor) -> Tensor:
    """A stencil with fixed ends, as in the method of lines."""
    flat = x.reshape(-1)
    if flat.numel() < 3:
        return x
    middle = flat[2:] - 2 * flat[1:-1] + flat[:-2]
    return torch.cat([flat[:1], middle, flat[-1:]]).reshape(x.shape)


def _in_place(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y.reshape(-1)[: (x.numel() + 1) // 2] = x.reshape(-1)[: (x.numel() + 1) // 2]
    y += 0.5 * x
    return y


def _columns(x: Tensor) -> Tensor:
    return x.T.contiguous().T * 2 if x.dim() == 2 else torch.flip(x, (0,)) if x.dim() else x


def _softmax(x: Tensor) -> Tensor:
    return torch.softmax(x.reshape(-1), 0).reshape(x.shape)


OPERATIONS: dict[str, Operation] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: 1.5 - x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / (2.0 + torch.cos(y)),
    "pow": lambda x, y: torch.abs(x + 0.1) ** 1.5 + y**3,
    "sin": lambda x, y: torch.sin(x),
    "exp": lambda x, y: torch.exp(-(x * x)),
    "tanh": lambda x, y: torch.tanh(x - y),
    "sqrt": lambda x, y: torch.sqrt(1 + x * x),
    "log": lambda x, y: torch.log1p(y * y),
    "atan2": lambda x, y: torch.atan2(x, 2 + y * y),
    "sigmoid": lambda x, y: torch.sigmoid(x) * torch.nn.functional.softplus(y),
    "where": lambda x, y: torch.where(x > y, x * y, y - x),
    "maximum": lambda x, y: torch.maximum(x, y) + torch.clamp(x, -0.3, 0.4),
    "sum": lambda x, y: x - y.sum(),
    "mean": lambda x, y: x * y.mean(),
    "mean_rows": lambda x, y: x - y.mean(-1, keepdim=True) if y.dim() else x,
    "norm": lambda x, y: x / torch.linalg.norm(_and_one(y)),
    "softmax": lambda x, y: _softmax(x),
    "roll": lambda x, y: _roll(x),
    "interior": lambda x, y: _interior(x),
    "in_place": lambda x, y: _in_place(x),
    "columns": lambda x, y: _columns(x),
    "mix": lambda x, y: _mix(x),
    "product": lambda x, y: x @ y.T @ y if x.dim() == 2 else x,
    "cumsum": lambda x, y: x.cumsum(0) if x.dim() else x,
}


class RandomModel:
    """``f(u, p, t)`` from a list of (operation, first operand, second operand)."""

    def __init__(self, shape: tuple[int, ...], recipe: list[tuple[str, int, int]]) -> None:
        self.shape = shape
        self.recipe = recipe

    def __call__(self, u: Tensor, p: Tensor, t: Tensor) -> Tensor:
        values = [u, p[0] * u, torch.ones_like(u) * torch.sin(t), u * 0 + p[1]]
        for name, i, j in self.recipe:
            x, y = values[i % len(values)], values[j % len(values)]
            values.append(torch.tanh(OPERATIONS[name](x, y) / 3) * 3)  # keeps numbers moderate
        return values[-1] + p[2] * values[-2] + t * p[3]

    def __repr__(self) -> str:
        return f"RandomModel({self.shape}, {self.recipe})"


@st.composite
def random_models(draw: Any, longest: int = 8) -> RandomModel:
    shape = draw(st.sampled_from(SHAPES))
    steps = st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 11), st.integers(0, 11))
    return RandomModel(shape, draw(st.lists(steps, min_size=1, max_size=longest)))


def sample_point(shape: tuple[int, ...], seed: int = 0) -> tuple[Any, Any, float, Any]:
    """(u, p, t, v): u of `shape`, v a direction in the flat state space."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape, dtype=int))
    return rng.normal(size=shape), rng.normal(size=N_P), 0.7, rng.normal(size=size)
