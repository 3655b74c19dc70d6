"""OREGO: the Oregonator, a stiff limit cycle whose first component spans five decades."""

import numpy as np

from .base import Problem


def f(u, p, t):
    s, q, w = p
    x, y, z = u
    return [
        s * (y + x * (1 - q * x - y)),
        (z - (1 + x) * y) / s,
        w * (x - z),
    ]


def f_inplace(du, u, p, t):
    du[0] = p[0] * (u[1] + u[0] * (1.0 - p[1] * u[0] - u[1]))
    du[1] = (u[2] - (1.0 + u[0]) * u[1]) / p[0]
    du[2] = p[2] * (u[0] - u[2])


def f_scipy(t, y):
    return np.array(
        [
            77.27 * (y[1] + y[0] * (1.0 - 8.375e-6 * y[0] - y[1])),
            (y[2] - (1.0 + y[0]) * y[1]) / 77.27,
            0.161 * (y[0] - y[2]),
        ]
    )


def jac(t, y):
    return np.array(
        [
            [77.27 * (1.0 - 2 * 8.375e-6 * y[0] - y[1]), 77.27 * (1.0 - y[0]), 0.0],
            [-y[1] / 77.27, -(1.0 + y[0]) / 77.27, 1.0 / 77.27],
            [0.161, 0.0, -0.161],
        ]
    )


PROBLEM = Problem(
    name="orego",
    f=f,
    f_scipy=f_scipy,
    jac=jac,
    u0=np.array([1.0, 2.0, 3.0]),
    tspan=(0.0, 360.0),
    saveat=np.linspace(0.0, 360.0, 37)[1:],
    p=np.array([77.27, 8.375e-6, 0.161]),
    stiff=True,
    variants={"inplace": f_inplace},
    published=np.array([0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3]),
    published_rtol=1e-12,
    source="R. J. Field, R. M. Noyes (1974); Test Set for IVP Solvers, release 2.4 (Bari, 2008), "
    "OREGO: RADAU, uround 1.01e-19, rtol = 1.1e-18, atol = 1.1e-40.",
)
