"""Shared by the benchmarks of learning systems: how training is timed, and PyTorch's own loops.

Seconds are the processor's, of all threads, so that what else runs in these minutes is not in
them. Everything that compiles has compiled before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

Loss = Callable[[], torch.Tensor]


def timed(train: Callable[[int], Any], iterations: int) -> tuple[Any, float]:
    """What `train(iterations)` returns, and its seconds; a short training goes before."""
    train(2)
    start = time.process_time()
    found = train(iterations)
    return found, time.process_time() - start


def adam(parameters: Iterable[torch.nn.Parameter], loss: Loss, iterations: int, lr: float) -> None:
    optimiser = torch.optim.Adam(list(parameters), lr)
    for _ in range(iterations):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()


def lbfgs(
    parameters: Iterable[torch.nn.Parameter], loss: Loss, iterations: int, memory: int = 100
) -> None:
    optimiser = torch.optim.LBFGS(
        list(parameters),
        max_iter=iterations,
        history_size=memory,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)
