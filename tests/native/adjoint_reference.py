"""The methods' steps written out in PyTorch, with the step sizes given: autograd differentiates
them without any of the engine's formulas.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pysciml.engines.native.explicit.tableau import ExplicitTableau, hermite_rows
from pysciml.engines.native.rosenbrock.tableau import RosenbrockTableau

Tensor = torch.Tensor
RightHandSide = Callable[[Tensor, Tensor, Any], Tensor]


def gradient(
    f: RightHandSide,
    tableau: ExplicitTableau | RosenbrockTableau,
    steps: np.ndarray,
    times: np.ndarray,
    u0: Any,
    p: Any,
    weights: np.ndarray,
    mass: Any = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States at `times`, and the gradient of sum(weights * states) in u0 and in p.

    `steps`: the times between which the steps were taken. `weights`: (len(times), n).
    """
    u = torch.tensor(np.asarray(u0, dtype=float).ravel(), requires_grad=True)
    p = torch.tensor(np.asarray(p, dtype=float), requires_grad=True)
    shape = np.shape(u0)

    def flat(u: Tensor, p: Tensor, t: Any) -> Tensor:
        return _as_tensor(f(u.reshape(shape), p, torch.as_tensor(t))).reshape(-1)

    saved = _saved(flat, tableau, steps, times, u, p, mass)
    loss = (saved * torch.tensor(weights)).sum()
    by_u, by_p = torch.autograd.grad(loss, (u, p), materialize_grads=True)
    return saved.detach().numpy(), by_u.numpy(), by_p.numpy()


def _as_tensor(x: Any) -> Tensor:
    return torch.stack([torch.as_tensor(y) for y in x]) if isinstance(x, (list, tuple)) else x


def _saved(f: Any, tableau: Any, steps: Any, times: Any, u: Any, p: Any, mass: Any) -> Tensor:
    step = _explicit_step if isinstance(tableau, ExplicitTableau) else _rosenbrock_step
    saved = [u for time in times if time == steps[0]]
    for t, end in itertools.pairwise(steps):
        inside, u = step(f, tableau, t, end - t, u, p, mass)
        for time in times[(times > min(t, end)) & (times < max(t, end))][:: 1 if end > t else -1]:
            saved.append(inside((time - t) / (end - t)))
        saved += [u for time in times if time == end]
    return torch.stack(saved)


def _explicit_step(
    f: Any, tableau: ExplicitTableau, t: float, h: float, u: Tensor, p: Tensor, mass: Any
) -> tuple[Callable[[float], Tensor], Tensor]:
    stages: list[Tensor] = []
    for row, c in zip(tableau.a, tableau.c, strict=True):
        argument = u + h * sum(a * k for a, k in zip(row, stages, strict=False) if a != 0.0)
        stages.append(f(argument, p, t + c * h))
    b = tableau.a[tableau.stages - 1] if tableau.b is None else tableau.b
    end = u + h * sum(weight * k for weight, k in zip(b, stages, strict=False))
    rows = np.asarray(tableau.r if tableau.r is not None else hermite_rows([*b, 0.0]))

    def inside(theta: float) -> Tensor:
        powers = theta ** np.arange(1, rows.shape[1] + 1)
        return u + h * sum(float(row @ powers) * k for row, k in zip(rows, stages, strict=False))

    return inside, end


def _rosenbrock_step(
    f: Any, tableau: RosenbrockTableau, t: float, h: float, u: Tensor, p: Tensor, mass: Any
) -> tuple[Callable[[float], Tensor], Tensor]:
    n = u.numel()
    m = torch.eye(n, dtype=torch.float64) if mass is None else torch.as_tensor(mass)
    now = torch.tensor(t, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda u: f(u, p, now))(u)
    by_time = torch.func.jacrev(lambda t: f(u, p, t))(now)
    w = m / (tableau.gamma * h) - jacobian
    stages: list[Tensor] = []
    for a, cc, c, d in zip(tableau.a, tableau.cc, tableau.c, tableau.d, strict=True):
        argument = u + sum(x * k for x, k in zip(a, stages, strict=True))
        right = f(argument, p, t + c * h) + h * d * by_time
        if stages:
            right = right + m @ sum(x / h * k for x, k in zip(cc, stages, strict=True))
        stages.append(torch.linalg.solve(w, right))
    end = u + sum(b * k for b, k in zip(tableau.b, stages, strict=True))
    nested = [sum(x * k for x, k in zip(row, stages, strict=True)) for row in tableau.h]

    def inside(theta: float) -> Tensor:
        value = torch.zeros_like(u)
        for k in reversed(nested):
            value = k + theta * value
        return (1 - theta) * u + theta * (end + (1 - theta) * value)

    return inside, end
