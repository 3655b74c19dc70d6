"""Coefficients of an explicit Runge-Kutta method, as plain data for the one compiled driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class ExplicitTableau:
    """A Butcher tableau with an embedded error estimate and a polynomial interpolant.

    `a[i][j]` (j < i), `c[i]`: the s main stages, then the extra stages that only the interpolant
    needs. `b`: weights of the solution, None when the last main stage is f at the new state
    (first same as last). `e`: weights of the error estimate, None for a fixed-step method.
    `r[i][j-1]`: weight of stage i in the coefficient of theta**j of the interpolant,
    u(t + theta*dt) = u + dt * sum_ij r[i][j-1] theta**j k_i; None means cubic Hermite.
    `stiffness_pair`: two stages with the same time whose difference gives an estimate of the
    dominant eigenvalue; `stability_radius`: extent of the stability region on the negative axis.
    """

    name: str
    order: int
    stages: int
    a: Rows
    c: Sequence[float]
    b: Sequence[float] | None = None
    e: Sequence[float] | None = None
    r: Rows | None = None
    stiffness_pair: tuple[int, int] = (-1, -1)
    stability_radius: float = 0.0
    first_stage_from: int = -1  # extra stage that equals f at the new state, -1 when none does
    ints: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    floats: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ints, floats = _pack(self)
        object.__setattr__(self, "ints", ints)
        object.__setattr__(self, "floats", floats)

    @property
    def degree(self) -> int:
        """Degree of the interpolating polynomial."""
        return 3 if self.r is None else len(self.r[0])

    @property
    def stages_total(self) -> int:
        """Main stages and the interpolant's extra ones."""
        return len(self.c)

    @property
    def adaptive(self) -> bool:
        """Whether there is an error estimate."""
        return self.e is not None

    def coefficients(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """a (total, total), b, c (total,) and r (total, degree), as full arrays."""
        total, s = len(self.c), self.stages
        a = np.zeros((total, total))
        for i, row in enumerate(self.a):
            a[i, : len(row)] = row
        b = np.zeros(total)
        b_given = a[s - 1] if self.b is None else np.asarray(self.b, dtype=float)
        b[: len(b_given)] = b_given
        r = hermite_rows(b) if self.r is None else np.asarray(self.r, dtype=float)
        return a, b, np.asarray(self.c, dtype=float), r


# Where the packed integers lie; the compiled driver reads them by these names.
TAB_STAGES, TAB_TOTAL, TAB_FSAL, TAB_DEGREE, TAB_EIG_A, TAB_EIG_B = range(6)
TAB_A, TAB_C, TAB_B, TAB_E, TAB_R, TAB_FIRST_FROM, TAB_ORDER = range(6, 13)


def hermite_rows(b: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Cubic Hermite interpolant of a method whose last stage is f at the new state.

    The rows are the weights of ExplicitTableau.r. `b`: solution weights, the last one 0.
    """
    weights = np.asarray(b, dtype=float)
    rows = np.outer(weights, [0.0, 3.0, -2.0])  # (3 theta^2 - 2 theta^3) (u1 - u0)
    rows[0] += [1.0, -2.0, 1.0]
    rows[-1] += [0.0, -1.0, 1.0]
    return rows


def _pack(tableau: ExplicitTableau) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Flat arrays: one of sizes and offsets, one of coefficients."""
    a, b, c, r = tableau.coefficients()
    total, s, fsal = len(c), tableau.stages, tableau.b is None
    e = np.zeros(total)
    if tableau.e is not None:
        e[: len(tableau.e)] = tableau.e
    parts = [a.ravel(), c, b, e, r.T.ravel()]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])[:-1]])
    ints = np.array(
        [
            s,
            total,
            int(fsal),
            r.shape[1],
            *tableau.stiffness_pair,
            *offsets,
            tableau.first_stage_from,
            tableau.order,
        ],
        dtype=np.int64,
    )
    return ints, np.concatenate(parts)
