"""Rosenbrock methods as data for the one compiled driver.

All in the transformed form that needs no product with the Jacobian (Hairer, Wanner, "Solving ODEs
II", IV.7):

    (M/(gamma*h) - J) U_i = f(t + c_i*h, u + sum_j a_ij U_j) + M sum_j (C_ij/h) U_j + h*d_i*df/dt
    u1 = u + sum_i b_i U_i,   err = sum_i e_i U_i

Rodas5P: G. Steinebach, "Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks
within the Julia Differential Equations package", BIT Numer. Math. 63 (2023) 27,
doi:10.1007/s10543-023-00967-x. Rodas4: Hairer, Wanner, IV.7 (RODAS).
Rosenbrock23: L. F. Shampine, M. W. Reichelt, "The MATLAB ODE suite", SIAM J. Sci. Comput. 18 (1997)
1-22 (ode23s), written here in the transformed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RosenbrockTableau:
    """Coefficients in the transformed form. `a`, `cc`: rows below the diagonal.

    `h`: rows of the dense output, K_l = sum_i h[l][i] U_i, in
    u(theta) = (1-theta)*u0 + theta*(u1 + (1-theta)*(K_1 + theta*(K_2 + theta*K_3 ...))).
    """

    name: str
    order: int
    gamma: float
    a: Sequence[Sequence[float]]
    cc: Sequence[Sequence[float]]
    c: Sequence[float]
    d: Sequence[float]
    b: Sequence[float]
    e: Sequence[float]
    h: Sequence[Sequence[float]]
    ints: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    floats: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    adaptive: bool = True

    def __post_init__(self) -> None:
        ints, floats = _pack(self)
        object.__setattr__(self, "ints", ints)
        object.__setattr__(self, "floats", floats)

    @property
    def stages(self) -> int:
        return len(self.c)

    @property
    def degree(self) -> int:
        """Degree of the interpolating polynomial."""
        return len(self.h) + 1


# Where the packed integers lie.
ROS_STAGES, ROS_DEGREE, ROS_A, ROS_CC, ROS_C, ROS_D, ROS_B, ROS_E, ROS_H, ROS_ORDER = range(10)


def _pack(tableau: RosenbrockTableau) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    s = len(tableau.c)
    a, cc = np.zeros((s, s)), np.zeros((s, s))
    for matrix, rows in ((a, tableau.a), (cc, tableau.cc)):
        for i, row in enumerate(rows):
            matrix[i, : len(row)] = row
    h = np.asarray(tableau.h, dtype=float)
    vectors = [np.asarray(v, dtype=float) for v in (tableau.c, tableau.d, tableau.b, tableau.e)]
    parts = [np.array([tableau.gamma]), a.ravel(), cc.ravel(), *vectors, h.ravel()]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])[:-1]])
    ints = np.array([s, tableau.degree, *offsets[1:], tableau.order], dtype=np.int64)
    return ints, np.concatenate(parts)


_A5P = [
    -7.502846399306121,
    2.561846144803919,
    -11.627539656261098,
    -0.18268767659942256,
    0.030198172008377946,
]

RODAS5P = RosenbrockTableau(
    name="Rodas5P",
    order=5,
    gamma=0.21193756319429014,
    a=[
        [],
        [3.0],
        [2.849394379747939, 0.45842242204463923],
        [-6.954028509809101, 2.489845061869568, -10.358996098473584],
        [2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641],
        _A5P,
        [*_A5P, 1.0],
        [*_A5P, 1.0, 1.0],
    ],
    cc=[
        [],
        [-14.155112264123755],
        [-17.97296035885952, -2.859693295451294],
        [147.12150275711716, -1.41221402718213, 71.68940251302358],
        [165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306],
        [
            24.854864614690072,
            -3.0009227002832186,
            47.4931110020768,
            5.5814197821558125,
            -0.6610691825249471,
        ],
        [
            30.91273214028599,
            -3.1208243349937974,
            77.79954646070892,
            34.28646028294783,
            -19.097331116725623,
            -28.087943162872662,
        ],
        [
            37.80277123390563,
            -3.2571969029072276,
            112.26918849496327,
            66.9347231244047,
            -40.06618937091002,
            -54.66780262877968,
            -9.48861652309627,
        ],
    ],
    c=[
        0.0,
        0.6358126895828704,
        0.4095798393397535,
        0.9769306725060716,
        0.4288403609558664,
        1.0,
        1.0,
        1.0,
    ],
    d=[
        0.21193756319429014,
        -0.42387512638858027,
        -0.3384627126235924,
        1.8046452872882734,
        2.325825639765069,
        0.0,
        0.0,
        0.0,
    ],
    b=[*_A5P, 1.0, 1.0, 1.0],
    e=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    h=[
        [
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ],
        [
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ],
        [
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993625266729,
            -0.15582684282751913,
            4.883087185713722,
        ],
    ],
)

_A4 = [1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895]

RODAS4 = RosenbrockTableau(
    name="Rodas4",
    order=4,
    gamma=0.25,
    a=[
        [],
        [1.544],
        [0.9466785280815826, 0.2557011698983284],
        [3.314825187068521, 2.896124015972201, 0.9986419139977817],
        _A4,
        [*_A4, 1.0],
    ],
    cc=[
        [],
        [-5.6688],
        [-2.430093356833875, -0.2063599157091915],
        [-0.1073529058151375, -9.594562251023355, -20.47028614809616],
        [7.496443313967647, -10.24680431464352, -33.99990352819905, 11.7089089320616],
        [
            8.083246795921522,
            -7.981132988064893,
            -31.52159432874371,
            16.31930543123136,
            -6.058818238834054,
        ],
    ],
    c=[0.0, 0.386, 0.21, 0.63, 1.0, 1.0],
    d=[0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0],
    b=[*_A4, 1.0, 1.0],
    e=[0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    h=[
        [
            10.12623508344586,
            -7.487995877610167,
            -34.80091861555747,
            -7.992771707568823,
            1.025137723295662,
            0.0,
        ],
        [
            -0.6762803392801253,
            6.087714651680015,
            16.43084320892478,
            24.76722511418386,
            -6.594389125716872,
            0.0,
        ],
    ],
)

# ode23s with U_1 = h*d*k_1, U_2 = h*d*(k_2 - k_1), U_3 = h*d*k_3 - e32*U_2 - 2*U_1.
_D23 = 1.0 / (2.0 + math.sqrt(2.0))
_E32 = 6.0 + math.sqrt(2.0)

ROSENBROCK23 = RosenbrockTableau(
    name="Rosenbrock23",
    order=2,
    gamma=_D23,
    a=[[], [0.5 / _D23], [1.0 / _D23, 1.0 / _D23]],
    cc=[[], [-1.0 / _D23], [-2.0 / _D23, -_E32 / _D23]],
    c=[0.0, 0.5, 1.0],
    d=[_D23, 0.0, -_D23],
    b=[1.0 / _D23, 1.0 / _D23, 0.0],
    e=[1.0 / (6.0 * _D23), (_E32 - 2.0) / (6.0 * _D23), 1.0 / (6.0 * _D23)],
    h=[[0.0, -1.0 / (_D23 * (1.0 - 2.0 * _D23)), 0.0]],
)
