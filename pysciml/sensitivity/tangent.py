"""Sensitivity equations: a problem together with its derivatives along given directions.

With S_j the derivative of the state along the j-th direction (a change of u0, of p, or of both),

    dS_j/dt = J(u, p, t) S_j + df/dp(u, p, t) dp_j

(Hairer, Norsett, Wanner, Solving ODEs I, section I.14). They are captured like any other right-hand
side, so every method of every engine solves them, and they have derivatives of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pysciml.capture.model import pushforward
from pysciml.engines.base import Array
from pysciml.problems import ODEProblem

if TYPE_CHECKING:
    from pysciml.capture import Model


def tangent_problem(problem: ODEProblem, du0: Array, dp: Array) -> ODEProblem:
    """The problem for the state and its derivatives along k constant directions.

    Parameters
    ----------
    du0 : (k, n) array
        The directions in u0, flat: S_j(t0).
    dp : (k, n_p) array
        The directions in the parameters. They become part of the compiled model.

    Returns
    -------
    ODEProblem
        Its state is (1 + k, n): u, then the S_j. Its parameters are the problem's, flat.
    """
    key = ("tangent", dp.shape, dp.tobytes())

    def directions(p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return p, torch.from_numpy(dp)

    return _problem(problem, du0, problem.p_flat, key, directions)


def moving_tangent_problem(problem: ODEProblem, du0: Array, dp: Array) -> ODEProblem:
    """As `tangent_problem` for one direction, (n,) and (n_p,), which may change between solves.

    `dp` follows the problem's own parameters in those of the result, so that other directions cost
    no compilation.
    """
    n_p = dp.size

    def directions(p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return p[:n_p], p[n_p:].reshape(1, n_p)

    both = np.concatenate([problem.p_flat, dp])
    return _problem(problem, du0.reshape(1, -1), both, ("moving tangent",), directions)


def _problem(
    problem: ODEProblem,
    du0: Array,
    p: Array,
    key: tuple[Any, ...],
    directions: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> ODEProblem:
    z0 = np.vstack([problem.u0_flat, du0])
    mass = problem.mass_matrix
    key = (*key, z0.shape, None if mass is None else mass.tobytes())
    store = problem.model.compiled
    template = store.get(key)
    if template is None:
        f = _right_hand_side(problem.model, directions)
        blocks = None if mass is None else np.kron(np.eye(len(z0)), mass)
        template = store[key] = ODEProblem(f, z0, problem.tspan, p, mass_matrix=blocks)
    return template.remake(u0=z0, p=p, tspan=problem.tspan)


def _right_hand_side(
    model: Model, directions: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
) -> Callable[..., torch.Tensor]:
    n = model.n

    def f(z: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        p, dp = directions(p)
        point = torch.cat([z[0], p])

        def at(x: torch.Tensor) -> torch.Tensor:
            return model.flat_function(x[:n].reshape(model.state_shape), x[n:], t)

        moved = [
            pushforward(at, point, torch.cat([s, d]), n) for s, d in zip(z[1:], dp, strict=True)
        ]
        return torch.stack([at(point), *moved])

    return f
