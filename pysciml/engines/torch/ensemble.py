"""A batch of an ensemble as one solve of torchdiffeq, on the states of all its trajectories.

That is how torchdiffeq's users solve many at once. The step is common to the batch and follows its
worst trajectory, so that each is as exact as its tolerances ask: the norm of the error is the
largest one of a trajectory, where torchdiffeq's own would average over the batch.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from pysciml.engines.base import Array, Batch

if TYPE_CHECKING:
    import torch

    from pysciml.problems import Problem

_log = logging.getLogger("pysciml")


class _BatchedModel:
    """The model's function on all rows of states and parameters at once."""

    def __init__(self, problem: Problem) -> None:
        import torch

        self.state_shape = problem.u0.shape
        self.torch_function = torch.func.vmap(problem.model.torch_function, in_dims=(0, 0, None))


class BatchedProblem:
    """What `_Run` reads of a problem, for a batch: one more axis in front."""

    def __init__(self, problem: Problem, batch: Batch) -> None:
        count = len(batch.u0)
        self.tspan = problem.tspan
        self.u0: Array = np.array(batch.u0).reshape(count, *problem.u0.shape)
        self.p_flat: Array = np.array(batch.p)
        self.model = _BatchedModel(problem)


def can_be_batched(problem: Problem, batch: Batch) -> bool:
    """Whether torch can vectorise the user's function; if not, one line says why."""
    import torch

    batched = BatchedProblem(problem, batch)
    t0 = torch.tensor(problem.tspan[0], dtype=torch.float64)
    try:
        with torch.no_grad():
            batched.model.torch_function(
                torch.as_tensor(batched.u0), torch.as_tensor(batched.p_flat), t0
            )
    except (RuntimeError, ValueError, TypeError) as error:  # what torch.func raises
        reason = str(error).splitlines()[0]
        _log.warning(
            "pysciml: the torch engine solves the trajectories one after the other, because "
            "torch.func.vmap cannot vectorise the function (%s)",
            reason,
        )
        return False
    return True


def largest_norm(error: torch.Tensor) -> torch.Tensor:
    """Root mean square of each trajectory's part, the largest of them."""
    return error.reshape(len(error), -1).square().mean(dim=1).sqrt().max()
