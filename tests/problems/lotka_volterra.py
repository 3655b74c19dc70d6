"""Predator and prey: smooth, periodic, not stiff."""

import numpy as np

from .base import Problem


def f(u, p, t):
    x, y = u
    a, b, c, d = p
    return [a * x - b * x * y, -c * y + d * x * y]


def f_inplace(du, u, p, t):
    du[0] = p[0] * u[0] - p[1] * u[0] * u[1]
    du[1] = -p[2] * u[1] + p[3] * u[0] * u[1]


def f_numpy(u, p, t):
    growth = np.array([p[0], -p[2]])
    contact = np.array([-p[1], p[3]])
    return growth * u + contact * np.prod(u)


def f_scipy(t, y):
    return np.array([1.5 * y[0] - y[0] * y[1], y[0] * y[1] - 3.0 * y[1]])


def jac(t, y):
    return np.array([[1.5 - y[1], -y[0]], [y[1], y[0] - 3.0]])


PROBLEM = Problem(
    name="lotka_volterra",
    f=f,
    f_scipy=f_scipy,
    jac=jac,
    u0=np.array([1.0, 1.0]),
    tspan=(0.0, 10.0),
    saveat=np.linspace(0.0, 10.0, 101)[1:],
    p=np.array([1.5, 1.0, 3.0, 1.0]),
    variants={"inplace": f_inplace, "numpy": f_numpy},
    source="A. J. Lotka (1925), V. Volterra (1926); the parameters of SciML's introduction.",
)
