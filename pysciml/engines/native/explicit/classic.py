"""Explicit Runge-Kutta methods of low order.

DP5: J. R. Dormand, P. J. Prince, "A family of embedded Runge-Kutta formulae", J. Comput. Appl.
Math. 6 (1980) 19-26; interpolant of L. F. Shampine as in E. Hairer, S. P. Nørsett, G. Wanner,
"Solving Ordinary Differential Equations I", 2nd ed., II.6 (dopri5's dense output).
BS3: P. Bogacki, L. F. Shampine, "A 3(2) pair of Runge-Kutta formulas", Appl. Math. Lett. 2 (1989)
321-325. Midpoint, Heun, Heun3 (Heun's third-order method), RK4, Kutta38 (Kutta's 3/8 rule), Euler:
Hairer, Nørsett, Wanner, II.1. These have the cubic Hermite interpolant, so their last stage is f at
the new state (the next step's first).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.native.explicit.tableau import ExplicitTableau, hermite_rows

_DP5_B = [35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0]
_DP5_D = [
    -12715105075 / 11282082432,
    0.0,
    87487479700 / 32700410799,
    -10690763975 / 1880347072,
    701980252875 / 199316789632,
    -1453857185 / 822651844,
    69997945 / 29380423,
]


def _dp5_rows() -> NDArray[np.float64]:
    """Hermite plus theta^2 (1 - theta)^2 sum d_i k_i."""
    rows = np.zeros((7, 4))
    rows[:, :3] = hermite_rows(_DP5_B)
    return rows + np.outer(_DP5_D, [0.0, 1.0, -2.0, 1.0])


DP5 = ExplicitTableau(
    name="DP5",
    order=5,
    stages=7,
    a=[
        [],
        [1 / 5],
        [3 / 40, 9 / 40],
        [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
        _DP5_B[:6],
    ],
    c=[0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0],
    e=[-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40],
    r=_dp5_rows().tolist(),
    stiffness_pair=(5, 6),
    stability_radius=3.3066,
)

BS3 = ExplicitTableau(
    name="BS3",
    order=3,
    stages=4,
    a=[[], [1 / 2], [0.0, 3 / 4], [2 / 9, 1 / 3, 4 / 9]],
    c=[0.0, 1 / 2, 3 / 4, 1.0],
    e=[2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8],
)

RK4 = ExplicitTableau(
    name="RK4",
    order=4,
    stages=5,
    a=[[], [1 / 2], [0.0, 1 / 2], [0.0, 0.0, 1.0], [1 / 6, 1 / 3, 1 / 3, 1 / 6]],
    c=[0.0, 1 / 2, 1 / 2, 1.0, 1.0],
)

KUTTA38 = ExplicitTableau(
    name="Kutta38",
    order=4,
    stages=5,
    a=[[], [1 / 3], [-1 / 3, 1.0], [1.0, -1.0, 1.0], [1 / 8, 3 / 8, 3 / 8, 1 / 8]],
    c=[0.0, 1 / 3, 2 / 3, 1.0, 1.0],
)

HEUN3 = ExplicitTableau(
    name="Heun3",
    order=3,
    stages=4,
    a=[[], [1 / 3], [0.0, 2 / 3], [1 / 4, 0.0, 3 / 4]],
    c=[0.0, 1 / 3, 2 / 3, 1.0],
)

MIDPOINT = ExplicitTableau(
    name="Midpoint",
    order=2,
    stages=3,
    a=[[], [1 / 2], [0.0, 1.0]],
    c=[0.0, 1 / 2, 1.0],
    e=[-1.0, 1.0, 0.0],  # against the explicit Euler step
)

HEUN = ExplicitTableau(
    name="Heun",
    order=2,
    stages=3,
    a=[[], [1.0], [1 / 2, 1 / 2]],
    c=[0.0, 1.0, 1.0],
    e=[-1 / 2, 1 / 2, 0.0],  # against the explicit Euler step
)

EULER = ExplicitTableau(name="Euler", order=1, stages=2, a=[[], [1.0]], c=[0.0, 1.0])
