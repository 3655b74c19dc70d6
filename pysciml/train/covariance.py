"""How well the data determine what was fitted: the inverse of the Fisher information.

For predictions y(theta) of independent observations, each with the information w about its
prediction, the information about theta is sum over observations of w (dy/dtheta)^T (dy/dtheta).
Its inverse bounds, and for many data is, the covariance (Cramer-Rao; Lehmann and Casella, Theory
of Point Estimation, 1998, chapter 2). Regularisers do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pysciml.capture.interpret import prepare
from pysciml.engines.base import Array, Engine
from pysciml.train.losses import FunctionLoss
from pysciml.train.task import Task, predictions

if TYPE_CHECKING:
    from torch import Tensor

_SINGULAR = 1e-13  # smallest eigenvalue, for a unit diagonal, that is not rounding


def covariance(task: Task, engine: Engine, theta: Array) -> Array:
    """Covariance of the fitted parameters and initial states, in their own units.

    Raises
    ------
    ValueError
        The loss is no likelihood, the observations are too few, or they leave a combination of
        the unknowns undetermined.
    """
    import torch

    if isinstance(task.loss, FunctionLoss):
        raise ValueError("a covariance needs MSE or a likelihood; the loss is a function")
    count = task.unknowns.size - task.unknowns.noise0.size
    if task.observed.values.size <= count:
        raise ValueError(
            "a covariance needs more observations than fitted quantities; there are "
            f"{task.observed.values.size} observations and {count} quantities"
        )
    inverse = _inverse(fisher_information(task, engine, theta), task.unknowns.names)
    units = torch.func.jacrev(task.unknowns.quantities)(torch.as_tensor(theta)).numpy()
    scale = units[:count, :count]
    found: Array = scale @ inverse @ scale.T
    return found


def fisher_information(task: Task, engine: Engine, theta: Array) -> Array:
    """The information about theta, but for the noise, (k, k), from what the data are predicted."""
    import torch

    count = task.unknowns.size - task.unknowns.noise0.size
    prediction, jacobian = _prediction_and_jacobian(task, engine, theta)
    noise = task.unknowns.noise(torch.as_tensor(theta)).numpy()
    weights = task.loss.information(prediction, task.observed, noise, count)
    information: Array = (jacobian.T * weights) @ jacobian
    return information[:count, :count]


def _inverse(information: Array, names: list[str]) -> Array:
    size = np.sqrt(np.diag(information))
    if not (np.isfinite(information).all() and (size > 0.0).all()):
        bad = [names[i] for i in np.flatnonzero(~(np.isfinite(size) & (size > 0.0)))]
        raise ValueError(f"the data say nothing about {', '.join(bad) or 'the unknowns'}")
    eigenvalues, vectors = np.linalg.eigh(information / np.outer(size, size))
    if eigenvalues[0] < _SINGULAR:
        most = np.argsort(-np.abs(vectors[:, 0]))[:3]
        mixed = [names[i] for i in most if abs(vectors[i, 0]) > 0.1]
        raise ValueError(
            f"the data leave a combination of {', '.join(mixed)} undetermined: fix one of them"
        )
    whitened = vectors / size[:, None]
    inverse: Array = (whitened / eigenvalues) @ whitened.T
    return inverse


def _prediction_and_jacobian(task: Task, engine: Engine, theta: Array) -> tuple[Array, Array]:
    """(M,) predictions and (M, size) derivatives, by one pullback for each observation."""
    import torch

    objective = task.objective()
    starts = prepare(objective.starts)(theta, np.zeros(0), 0.0)
    pull_starts = prepare(objective.starts_vjp)
    n, k = task.n, len(objective.solves)
    states, pullbacks = [], []
    for i, solve in enumerate(objective.solves):
        problem = solve.problem.at(starts[i * n : (i + 1) * n], starts[k * n :])
        raw, pullback = engine.solve_with_pullback(
            problem, objective.alg, solve.options, objective.adjoint
        )
        states.append(torch.tensor(raw.u, requires_grad=True))
        pullbacks.append(pullback)
    unknowns = torch.tensor(theta, requires_grad=True)
    prediction = _predict(task, states, unknowns)
    jacobian = np.empty((prediction.numel(), theta.size))
    for row, one in enumerate(prediction):
        *by_states, by_theta = torch.autograd.grad(
            one, [*states, unknowns], retain_graph=True, materialize_grads=True
        )
        w = np.zeros(starts.size)
        for i, (pullback, gradient) in enumerate(zip(pullbacks, by_states, strict=True)):
            if gradient.any():
                cotangents = pullback(gradient.numpy())
                w[i * n : (i + 1) * n] = cotangents.u0
                w[k * n :] += cotangents.p
        jacobian[row] = by_theta.numpy() + pull_starts(theta, w, 0.0)
    return prediction.detach().numpy(), jacobian


def _predict(task: Task, states: list[Tensor], theta: Tensor) -> Tensor:
    p = task.problem.model.parameters.unflatten(task.unknowns.p(theta))
    shape = task.problem.u0.shape
    seen = [
        task.observation(u.reshape(-1, *shape), p, each.times)
        for u, each in zip(states, task.trajectories, strict=True)
    ]
    return predictions(seen, task.trajectories)
