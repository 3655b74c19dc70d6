"""Lorenz's attractor up to t=10: chaotic, so a small error grows by orders of magnitude."""

import numpy as np

from .base import Problem


def f(u, p, t):
    x, y, z = u[0], u[1], u[2]
    sigma, rho, beta = p[0], p[1], p[2]
    return (sigma * (y - x), x * (rho - z) - y, x * y - beta * z)


def f_inplace(du, u, p, t):
    x, y, z = u
    du[0] = p[0] * (y - x)
    du[1] = x * (p[1] - z) - y
    du[2] = x * y - p[2] * z


def f_scipy(t, y):
    return np.array(
        [10.0 * (y[1] - y[0]), (28.0 - y[2]) * y[0] - y[1], y[0] * y[1] - (8.0 / 3.0) * y[2]]
    )


def jac(t, y):
    return np.array(
        [[-10.0, 10.0, 0.0], [28.0 - y[2], -1.0, -y[0]], [y[1], y[0], -8.0 / 3.0]], dtype=y.dtype
    )


PROBLEM = Problem(
    name="lorenz",
    f=f,
    f_scipy=f_scipy,
    jac=jac,
    u0=np.array([1.0, 0.0, 0.0]),
    tspan=(0.0, 10.0),
    saveat=np.linspace(0.0, 10.0, 101)[1:],
    p=np.array([10.0, 28.0, 8.0 / 3.0]),
    variants={"inplace": f_inplace},
    source="E. N. Lorenz, J. Atmos. Sci. 20 (1963) 130-141.",
)
