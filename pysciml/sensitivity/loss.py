"""A user's loss: its value and its derivatives in the saved states and the parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.problems import ODEProblem, Problem

if TYPE_CHECKING:
    import torch


def check_loss(loss: Any) -> None:
    check.require_callable(loss, "loss", "a function loss(u) or loss(u, p)")


def takes_p(loss: Callable[..., Any]) -> bool:
    if isinstance(loss, FunctionType) and not hasattr(loss, "__wrapped__"):  # a signature is slow
        return loss.__code__.co_argcount - len(loss.__defaults__ or ()) == 2
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have none
        return False
    positional = [q for q in parameters if q.kind in (q.POSITIONAL_ONLY, q.POSITIONAL_OR_KEYWORD)]
    return len([q for q in positional if q.default is q.empty]) == 2


def _evaluator(
    loss: Callable[..., Any], problem: Problem
) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]:
    """The loss on (len(t), *u0.shape) states and flat parameters, its result checked."""
    import torch

    with_p = takes_p(loss)

    def evaluate(u: torch.Tensor, p: torch.Tensor | None) -> torch.Tensor:
        value = loss(u, problem.model.parameters.unflatten(p)) if with_p else loss(u)
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"loss must return a torch tensor with one element; got {check.describe(value)}"
            )
        if value.numel() != 1:
            raise ValueError(f"loss must return one number; got shape {tuple(value.shape)}")
        return value.reshape(()).double()

    return evaluate


def loss_gradient(
    loss: Callable[..., Any], problem: Problem, u: Array
) -> tuple[float, Array, Array]:
    """The loss, and its gradient in the flat states and in the parameters themselves."""
    import torch

    states = torch.from_numpy(u.reshape(len(u), *problem.u0.shape)).requires_grad_()
    p = torch.tensor(problem.p_flat, requires_grad=True) if takes_p(loss) else None
    with torch.enable_grad():
        value = _evaluator(loss, problem)(states, p)
        found = _derivatives(value, (states,) if p is None else (states, p))
    by_u, *by_p = (g.numpy() for g in found)
    return (
        value.item(),
        by_u.reshape(len(u), -1),
        by_p[0] if by_p else np.zeros_like(problem.p_flat),
    )


def directional_gradient(
    loss: Callable[..., Any], problem: ODEProblem, z: Array, dp: Array
) -> tuple[float, Array, Array]:
    """<loss', (s, dp)> for z = (u, s), and its gradient in z and in the parameters."""
    import torch

    pairs = torch.from_numpy(z).requires_grad_()
    p = torch.tensor(problem.p_flat, requires_grad=True)
    direction = torch.from_numpy(dp)
    shape = (len(z), *problem.u0.shape)
    with torch.enable_grad():
        u, s = pairs[:, 0].reshape(shape), pairs[:, 1].reshape(shape)
        value = _evaluator(loss, problem)(u, p)
        by_u, by_p = _derivatives(value, (u, p), create_graph=True)
        along = (by_u * s).sum() + (by_p * direction).sum()
        by_z, by_p = _derivatives(along, (pairs, p))
    return along.item(), by_z.numpy().reshape(len(z), -1), by_p.numpy()


def _derivatives(
    value: torch.Tensor, inputs: tuple[torch.Tensor, ...], create_graph: bool = False
) -> list[torch.Tensor]:
    """Gradients of a scalar; zeros in what it does not depend on."""
    import torch

    if not value.requires_grad:  # a constant
        return [torch.zeros_like(x) for x in inputs]
    found = torch.autograd.grad(value, inputs, allow_unused=True, create_graph=create_graph)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]
