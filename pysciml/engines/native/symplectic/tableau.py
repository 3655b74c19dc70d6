"""Symplectic methods for separable systems, dv/dt = f1(u, p, t), du/dt = f2(v, p, t), as data.

Each is a sequence of kicks, v += b_i h f1(u), and drifts, u += a_i h f2(v). E. Hairer, C. Lubich,
G. Wanner, "Geometric Numerical Integration", 2nd ed., Springer 2006, is quoted as GNI.

SymplecticEuler: GNI I.1.2. VelocityVerlet, VerletLeapfrog: kick, drift, kick, GNI I.1.4. Ruth3:
R. D. Ruth, "A canonical integration technique", IEEE Trans. Nucl. Sci. 30 (1983) 2669-2671.
McAte4: R. I. McLachlan, P. Atela, "The accuracy of symplectic integrators", Nonlinearity 5 (1992)
541-562; for f2 linear in v. CandyRoz4: E. Forest, R. D. Ruth, "Fourth-order symplectic
integration", Physica D 43 (1990) 105-117; J. Candy, W. Rozmus, "A symplectic integration algorithm
for separable Hamiltonian functions", J. Comput. Phys. 92 (1991) 230-256.

The others compose steps of size gamma_i h of the second-order method, gamma being symmetric.
Yoshida6: H. Yoshida, "Construction of higher order symplectic integrators", Phys. Lett. A 150
(1990) 262-268, solution A. KahanLi6, KahanLi8: W. Kahan, R.-C. Li, "Composition constants for
raising the orders of unconventional schemes for ordinary differential equations", Math. Comp. 66
(1997) 1089-1099, s9odr6a and s17odr8a; the digits are those of GNI V.3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Where the packed integers lie. TAB_CLOSED: the last substep is a kick, so that its f1 is the one
# that the next step begins with. The floats are b, a, then the times of the kicks and drifts.
TAB_STAGES, TAB_CLOSED = range(2)


@dataclass(frozen=True)
class SymplecticTableau:
    """Kicks b[i], each followed by the drift a[i].

    `linear`: the order is that of the method only where f2 is linear in v.
    """

    name: str
    order: int
    b: Sequence[float]
    a: Sequence[float]
    linear: bool = False
    ints: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    floats: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    degree = 3  # of the dense output: cubic Hermite
    adaptive = False

    def __post_init__(self) -> None:
        b, a = np.array(self.b, dtype=float), np.array(self.a, dtype=float)
        kicks = np.concatenate([[0.0], np.cumsum(a)[:-1]])  # f1 is taken where u is, f2 where v is
        drifts = np.cumsum(b)
        for times in (kicks, drifts):
            times[np.abs(times - 1.0) < 1e-14] = 1.0  # the end of the step
        ints = np.array([b.size, a[-1] == 0.0], dtype=np.int64)
        object.__setattr__(self, "ints", ints)
        object.__setattr__(self, "floats", np.concatenate([b, a, kicks, drifts]))


def composed(name: str, order: int, half: Sequence[float]) -> SymplecticTableau:
    """Kick-drift-kick steps of the sizes gamma, symmetric: `half` are those before the middle."""
    middle = 1.0 - 2.0 * sum(half)
    gamma = np.array([*half, middle, *reversed(half)])
    b = 0.5 * (np.append(gamma, 0.0) + np.insert(gamma, 0, 0.0))  # kicks that meet are one
    return SymplecticTableau(name, order, b.tolist(), [*gamma.tolist(), 0.0])


SYMPLECTIC_EULER = SymplecticTableau("SymplecticEuler", 1, b=[0.0, 1.0], a=[1.0, 0.0])
VELOCITY_VERLET = composed("VelocityVerlet", 2, [])
VERLET_LEAPFROG = composed("VerletLeapfrog", 2, [])
RUTH3 = SymplecticTableau("Ruth3", 3, b=[7 / 24, 3 / 4, -1 / 24], a=[2 / 3, -2 / 3, 1.0])
MCATE4 = SymplecticTableau(
    "McAte4",
    4,
    b=[0.1344961992774310892, -0.2248198030794208058, 0.7563200005156682911, 0.3340036032863214255],
    a=[0.5153528374311229364, -0.085782019412973646, 0.4415830236164665242, 0.1288461583653841854],
    linear=True,
)
CANDYROZ4 = composed("CandyRoz4", 4, [1.0 / (2.0 - 2.0 ** (1 / 3))])
YOSHIDA6 = composed(
    "Yoshida6",
    6,
    [0.78451361047755726381949763, 0.23557321335935813368479318, -1.17767998417887100694641568],
)
KAHANLI6 = composed(
    "KahanLi6",
    6,
    [
        0.39216144400731413927925056,
        0.33259913678935943859974864,
        -0.70624617255763935980996482,
        0.08221359629355080023149045,
    ],
)
KAHANLI8 = composed(
    "KahanLi8",
    8,
    [
        0.13020248308889008087881763,
        0.56116298177510838456196441,
        -0.38947496264484728640807860,
        0.15884190655515560089621075,
        -0.39590389413323757733623154,
        0.18453964097831570709183254,
        0.25837438768632204729397911,
        0.29501172360931029887096624,
    ],
)
SYMPLECTIC = {
    tableau.name: tableau
    for tableau in (
        SYMPLECTIC_EULER,
        VELOCITY_VERLET,
        VERLET_LEAPFROG,
        RUTH3,
        MCATE4,
        CANDYROZ4,
        YOSHIDA6,
        KAHANLI6,
        KAHANLI8,
    )
}
