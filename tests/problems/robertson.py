"""Robertson's chemical kinetics up to t = 1e11, as an ODE and as a mass-matrix DAE."""

import dataclasses

import numpy as np

from .base import Problem

K1, K2, K3 = 0.04, 3e7, 1e4


def f(u, p, t):
    a, b, c = u
    k1, k2, k3 = p
    slow, fast, back = k1 * a, k2 * b**2, k3 * b * c
    return [-slow + back, slow - back - fast, fast]


def f_inplace(du, u, p, t):
    du[0] = -p[0] * u[0] + p[2] * u[1] * u[2]
    du[1] = p[0] * u[0] - p[2] * u[1] * u[2] - p[1] * u[1] ** 2
    du[2] = p[1] * u[1] ** 2


def f_dae(u, p, t):
    a, b, c = u
    k1, k2, k3 = p
    return [
        -k1 * a + k3 * b * c,
        k1 * a - k3 * b * c - k2 * b**2,
        a + b + c - 1,
    ]


def f_scipy(t, y):
    r1, r2, r3 = K1 * y[0], K2 * y[1] * y[1], K3 * y[1] * y[2]
    return np.array([r3 - r1, r1 - r3 - r2, r2])


def jac(t, y):
    return np.array(
        [
            [-K1, K3 * y[2], K3 * y[1]],
            [K1, -K3 * y[2] - 2 * K2 * y[1], -K3 * y[1]],
            [0.0, 2 * K2 * y[1], 0.0],
        ]
    )


def f_scipy_dae(t, y):
    return np.concatenate([f_scipy(t, y)[:2], [y.sum() - 1.0]])


def jac_dae(t, y):
    return np.vstack([jac(t, y)[:2], np.ones((1, 3))])


ODE = Problem(
    name="robertson",
    f=f,
    f_scipy=f_scipy,
    jac=jac,
    u0=np.array([1.0, 0.0, 0.0]),
    tspan=(0.0, 1e11),
    saveat=10.0 ** np.linspace(-5, 11, 33),
    p=np.array([K1, K2, K3]),
    stiff=True,
    # The second component is never larger than 4e-5.
    scale=np.array([1.0, 1e-5, 1.0]),
    variants={"inplace": f_inplace},
    published=np.array([0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050]),
    published_rtol=1e-12,
    source="H. H. Robertson (1966); Test Set for IVP Solvers, release 2.4 (Bari, 2008), ROBER.",
)

DAE = dataclasses.replace(
    ODE,
    name="robertson_dae",
    f=f_dae,
    f_scipy=f_scipy_dae,
    jac=jac_dae,
    mass_matrix=np.diag([1.0, 1.0, 0.0]),
    variants={},
    data="robertson",  # the sum of the components is conserved: the same solution
)
