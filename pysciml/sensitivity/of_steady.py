"""How a loss of a steady state moves with the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pysciml.problems import SteadyStateProblem
from pysciml.sensitivity.loss import check_loss, loss_gradient, takes_p
from pysciml.sensitivity.parameters import by_name, in_structure
from pysciml.sensitivity.results import Gradient
from pysciml.solve import check_problem, solve
from pysciml.steady import steady_pullback


def steady_gradient(
    problem: SteadyStateProblem,
    loss: Callable[..., Any],
    alg: str | None,
    engine: str,
    wrt: Sequence[str] | None,
    options: dict[str, Any],
) -> Gradient:
    check_problem(problem, alg)
    check_loss(loss)
    if "raise_on_failure" in options:
        raise TypeError("raise_on_failure has no meaning for derivatives of a solution")
    solution = solve(problem, alg, engine, **options)
    u = solution.u.reshape(1, -1)
    value, by_u, by_p = loss_gradient(_of_one_state(loss), problem, u)
    p = by_p + steady_pullback(problem, u[0], by_u[0])
    return Gradient(
        value=value,
        p=in_structure(problem, p) if wrt is None else by_name(problem, p, wrt),
        u0=np.zeros(problem.u0.shape),  # where the search begins does not move what it finds
        t=None,
        p_flat=p,
        solution=solution,
        sensealg="implicit function theorem",
    )


def _of_one_state(loss: Callable[..., Any]) -> Callable[..., Any]:
    """A loss of a state as one of the saved states, of which there is one."""
    if takes_p(loss):
        return lambda u, p: loss(u[0], p)
    return lambda u: loss(u[0])
