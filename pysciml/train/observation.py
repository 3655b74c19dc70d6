"""From states to what is observed of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array

if TYPE_CHECKING:
    from torch import Tensor

    from pysciml.problems import ODEProblem

_OBSERVE = "a list of indices or names of entries of u0, or a torch function observe(u, p, t)"


def as_tensor(x: Any) -> Tensor:
    """What a user's function returned: a tensor, a number, or a list of these."""
    import torch

    if isinstance(x, (list, tuple)):
        return torch.stack(list(torch.broadcast_tensors(*map(as_tensor, x))))
    return torch.as_tensor(x, dtype=torch.float64)


def along(function: Callable[..., Any], u: Tensor, p: Any, t: Array) -> Tensor:
    """function(u, p, t) at each of m states, (m, *shape), and m times."""
    import torch

    at = torch.func.vmap(lambda u, t: as_tensor(function(u, p, t)))
    return at(u, torch.as_tensor(t))


class Observation:
    """What is seen of a state: all of it, some entries, or a function of it.

    Attributes
    ----------
    shape : shape of one observation.
    names : a label for each of its numbers, in row-major order.
    indices : the flat entries of the state that are seen, or None for a function.
    """

    def __init__(self, observe: Any, problem: ODEProblem) -> None:
        self.function: Callable[..., Any] | None = None
        self.indices: Any = None
        labels = _labels(problem)
        if observe is None:
            self.shape = problem.u0.shape
            self.indices = np.arange(problem.u0.size)
        elif callable(observe) and not isinstance(observe, type):
            self.function = observe
            self.shape = _shape_of(observe, problem)
        else:
            self.indices = _indices(observe, labels)
            self.shape = (self.indices.size,)
        self.names = tuple(
            [f"y[{i}]" for i in range(int(np.prod(self.shape, dtype=np.int64)))]
            if self.indices is None
            else [labels[i] for i in self.indices]
        )

    def __call__(self, u: Tensor, p: Any, t: Array) -> Tensor:
        """(m, k) observations of m states, (m, *u0.shape)."""
        if self.function is not None:
            return along(self.function, u, p, t).reshape(len(t), -1)
        return u.reshape(len(t), -1)[:, self.indices]


def _labels(problem: ODEProblem) -> tuple[str, ...]:
    from pysciml.solution import index_names

    return problem.names or index_names(problem.u0.shape)


def _shape_of(observe: Callable[..., Any], problem: ODEProblem) -> tuple[int, ...]:
    import torch

    model = problem.model
    p = model.parameters.unflatten(torch.as_tensor(problem.p_flat))
    t = torch.tensor(problem.tspan[0], dtype=torch.float64)
    return tuple(as_tensor(observe(torch.as_tensor(problem.u0), p, t)).shape)


def _indices(observe: Any, labels: tuple[str, ...]) -> Any:
    """Flat indices of entries that are given by number or by name."""
    if isinstance(observe, (str, bytes, type, dict)) or not isinstance(
        observe, (list, tuple, np.ndarray)
    ):
        raise TypeError(f"observe must be {_OBSERVE}; got {check.describe(observe)}")
    found = []
    for entry in observe:
        if not isinstance(entry, str):
            found.append(entry)
        elif entry in labels:
            found.append(labels.index(entry))
        else:
            raise ValueError(
                f"observe must name entries of u0; got {entry!r}{check.did_you_mean(entry, labels)}"
            )
    return check.as_indices(found, len(labels), "observe")
