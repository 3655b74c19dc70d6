"""Derivatives of the states themselves, forwards, by the sensitivity equations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array, RawSolution
from pysciml.errors import SolveError, UnsupportedError
from pysciml.failure import failure_message
from pysciml.problems import ODEProblem
from pysciml.sensitivity.parameters import chosen_indices
from pysciml.sensitivity.results import Sensitivities
from pysciml.sensitivity.setup import Setup
from pysciml.solution import Solution


def sensitivities(
    problem: ODEProblem,
    alg: str | None = None,
    engine: str = "auto",
    saveat: Any = None,
    abstol: Any = 1e-6,
    reltol: Any = 1e-3,
    *,
    wrt: Sequence[str] | None = None,
    u0: bool = True,
    **options: Any,
) -> Sensitivities:
    """du(t)/dp and du(t)/du0, by solving the sensitivity equations along with the problem.

    Their errors are controlled like those of the states.

    Parameters
    ----------
    problem : ODEProblem
    alg, engine, saveat, abstol, reltol, **options
        As for `solve`; tolerances are numbers.
    wrt : list of str, optional
        Names of the parameters wanted. Default: all.
    u0 : bool
        Whether du(t)/du0 is wanted.

    Returns
    -------
    Sensitivities

    Raises
    ------
    TypeError, ValueError, UnsupportedError, SolveError
        As for `solve`. A singular mass matrix is refused: its algebraic states have no free
        initial value; `gradient(..., sensealg="adjoint")` takes it.
    """
    setup = Setup(problem, alg, engine, saveat, abstol, reltol, options)
    chosen = chosen_indices(problem, wrt)
    with_u0 = check.as_flag(u0, "u0")
    tangent, raw = _solve_tangent(setup, chosen, with_u0)
    shape = problem.u0.shape
    z = raw.u.reshape(len(raw.t), -1, problem.u0.size)
    by_p = np.moveaxis(z[:, 1 : 1 + chosen.size], 1, -1)
    by_u0 = np.moveaxis(z[:, 1 + chosen.size :], 1, -1)
    names = problem.model.parameters.names
    return Sensitivities(
        t=raw.t,
        u=np.ascontiguousarray(z[:, 0]).reshape(-1, *shape),
        p=by_p.reshape(len(raw.t), *shape, chosen.size),
        u0=by_u0.reshape(-1, *shape, *shape) if with_u0 else None,
        names=tuple(names[i] for i in chosen),
        solution=Solution(tangent, setup.engine.name, setup.options, raw),
    )


def _tangent(setup: Setup, chosen: Any, with_u0: bool) -> ODEProblem:
    from pysciml.sensitivity.tangent import tangent_problem  # it needs torch

    setup.require_smooth()
    problem = setup.problem
    mass = problem.mass_matrix
    if mass is not None and np.linalg.matrix_rank(mass) < len(mass):
        raise UnsupportedError(
            "forward sensitivities need a regular mass_matrix: the algebraic states of a singular "
            'one have no free initial value; gradient(..., sensealg="adjoint") takes it'
        )
    n, n_p = problem.u0.size, problem.p_flat.size
    dp = np.eye(n_p)[chosen]
    du0 = np.zeros((chosen.size, n))
    if with_u0:
        dp, du0 = np.vstack([dp, np.zeros((n, n_p))]), np.vstack([du0, np.eye(n)])
    return tangent_problem(problem, du0, dp)


def _solve_tangent(setup: Setup, chosen: Any, with_u0: bool) -> tuple[ODEProblem, RawSolution]:
    tangent = _tangent(setup, chosen, with_u0)
    options = setup.options
    for name in ("abstol", "reltol"):
        if not isinstance(getattr(options, name), float):
            raise ValueError(
                f"{name} must be one number for sensitivities: it holds for them as well"
            )
    raw = setup.engine.solve(tangent, setup.alg, options)
    if not raw.success:
        solution = Solution(tangent, setup.engine.name, options, raw)
        raise SolveError(failure_message(solution), solution)
    return tangent, raw


def forward(
    setup: Setup, wrt: Sequence[str] | None
) -> tuple[RawSolution, Array, Callable[[Array], tuple[Array, Array]]]:
    """A solve whose pullback multiplies with the sensitivities."""
    problem = setup.problem
    chosen = chosen_indices(problem, wrt)
    _, raw = _solve_tangent(setup, chosen, True)
    z = raw.u.reshape(len(raw.t), -1, problem.u0.size)
    k = chosen.size

    def pull(cotangent: Array) -> tuple[Array, Array]:
        along = np.einsum("ti,tji->j", cotangent, z[:, 1:])
        p = np.zeros(problem.p_flat.size)
        p[chosen] = along[:k]
        return along[k:], p

    u = np.ascontiguousarray(z[:, 0])
    plain = RawSolution(raw.t, u, raw.retcode, raw.alg, raw.stats)
    return plain, u, pull
