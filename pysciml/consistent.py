"""Consistent initial values: that a solve starts where its algebraic equations hold.

"CheckInit" refuses what is not consistent. "BrownFullBasicInit" keeps the differential entries of
u0 and solves for the algebraic ones and, of an implicit problem, for the derivatives (Brown,
Hindmarsh, Petzold, SIAM J. Sci. Comput. 19 (1998) 1495-1512). Both names are SciML's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.problems import DAEProblem, ODEProblem, Problem

CHECK, MEND = NAMES = ("CheckInit", "BrownFullBasicInit")
_ROUNDING = 1e-12  # relative to the entries of the state


def consistent(problem: Problem, initialize: Any, abstol: float | Array) -> Problem:
    """The problem with consistent initial values; itself where they are that.

    `initialize`: one of NAMES; None for the first. `abstol`: how far the entries that the equations
    fix may be from where they would hold.

    Raises
    ------
    TypeError, ValueError
        There are no algebraic equations to check; they do not hold; they cannot be solved.
    """
    how = CHECK if initialize is None else check.as_choice(initialize, "initialize", NAMES)
    if isinstance(problem, DAEProblem):
        start = _of_residual(problem)
    elif isinstance(problem, ODEProblem) and problem.is_algebraic:
        start = _of_mass_matrix(problem)
    else:
        raise TypeError(
            "initialize is for algebraic equations: of a DAEProblem, and of an ODEProblem whose "
            f"mass_matrix has a row of zeros; got {initialize!r} for this {problem.kind}"
        )
    if start.holds(start.values, float(np.min(abstol))):
        return problem
    if how == CHECK:
        raise ValueError(
            f"{start.name} must be consistent with the algebraic equations, but f is off by "
            f"{np.abs(start.equations(start.values)).max():.3g} at t0; give consistent values, or "
            f'solve(..., initialize="{MEND}"), which changes {start.changes}'
        )
    return start.mended()


@dataclass
class _Start:
    """Values, of which some are unknown, and equations for them."""

    problem: Any
    values: Array  # flat: the state, or the derivative and then the state
    unknown: NDArray[np.intp]
    rows: NDArray[np.intp]  # the equations, of those of f
    name: str
    changes: str

    def equations(self, values: Array) -> Array:
        p, t0 = self.problem.p_flat, self.problem.tspan[0]
        found: Array = self.problem.model.f(values, p, t0).reshape(-1)[self.rows]
        return found

    def jacobian(self, values: Array) -> Array:
        p, t0 = self.problem.p_flat, self.problem.tspan[0]
        jac = self.problem.model.jac(values, p, t0).reshape(-1, values.size)
        found: Array = jac[np.ix_(self.rows, self.unknown)]
        return found

    def holds(self, values: Array, tolerance: float) -> bool:
        """Whether Newton's method would move the unknown values by no more than a tolerance."""
        off = self.equations(values)
        if not off.any():
            return True
        jacobian = self.jacobian(values)
        if jacobian.shape[0] != jacobian.shape[1] or np.linalg.matrix_rank(jacobian) < off.size:
            return bool(np.abs(off).max() <= tolerance)
        move = np.linalg.solve(jacobian, off)
        return bool((np.abs(move) <= tolerance + _ROUNDING * np.abs(values[self.unknown])).all())

    def mended(self) -> Any:
        from scipy.optimize import root

        values = self.values.copy()

        def at(unknown: Array) -> Array:
            values[self.unknown] = unknown
            return values

        if self.unknown.size != self.rows.size:
            raise ValueError(
                f"{self.unknown.size} algebraic states cannot be found from {self.rows.size} "
                "algebraic equations; give consistent initial values"
            )
        found = root(
            lambda unknown: self.equations(at(unknown)),
            values[self.unknown],
            jac=lambda unknown: self.jacobian(at(unknown)),
            options={"xtol": 1e-13},
        )
        if not self.holds(at(found.x), 1e-8 * (1.0 + np.abs(found.x).max())):
            raise ValueError(
                f"no consistent {self.name} was found near the one given: "
                f"{' '.join(found.message.split())} f is off by {np.abs(found.fun).max():.3g}"
            )
        if isinstance(self.problem, DAEProblem):
            du0, u0 = values.reshape(2, *self.problem.u0.shape)
            return self.problem.remake(du0=du0, u0=u0)
        return self.problem.remake(u0=values.reshape(self.problem.u0.shape))


def _of_mass_matrix(problem: ODEProblem) -> _Start:
    mass = np.asarray(problem.mass_matrix)
    rows = np.flatnonzero(~mass.any(axis=1))
    unknown = np.flatnonzero(~mass.any(axis=0))
    return _Start(
        problem, problem.u0_flat, unknown, rows, "u0", "the entries of u0 that have no derivative"
    )


def _of_residual(problem: DAEProblem) -> _Start:
    n = problem.u0.size
    entries = np.arange(n)
    unknown = np.where(problem.differential_vars, entries, n + entries)
    changes = "du0 and the algebraic entries of u0"
    return _Start(problem, problem.start, unknown, entries, "du0 and u0", changes)
