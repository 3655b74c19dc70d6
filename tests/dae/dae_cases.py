"""Differential-algebraic equations: as residuals, and with mass matrices."""

from __future__ import annotations

import numpy as np

import pysciml as sml

Array = np.ndarray
GRAVITY = 9.81


def robertson(out, du, u, p, t):
    """Robertson's kinetics, its third equation the conservation of mass."""
    out[0] = -p[0] * u[0] + p[2] * u[1] * u[2] - du[0]
    out[1] = p[0] * u[0] - p[2] * u[1] * u[2] - p[1] * u[1] ** 2 - du[1]
    out[2] = u[0] + u[1] + u[2] - 1.0


def robertson_problem(t1: float) -> sml.DAEProblem:
    rates = [0.04, 3e7, 1e4]
    return sml.DAEProblem(robertson, [-0.04, 0.04, 0.0], [1.0, 0.0, 0.0], (0.0, t1), rates)


def pendulum_rates(u, p, t):
    """A pendulum of length 1 in the plane, of index 1: the force along the rod is algebraic.

    The last equation is the second derivative of x^2 + y^2 = 1.
    """
    x, y, vx, vy, force = u
    return [
        vx,
        vy,
        force * x,
        force * y - p,
        vx**2 + vy**2 + force * (x**2 + y**2) - p * y,
    ]


def pendulum(du, u, p, t):
    rates = pendulum_rates(u, p, t)
    return [du[0] - rates[0], du[1] - rates[1], du[2] - rates[2], du[3] - rates[3], rates[4]]


LEVEL = [1.0, 0.0, 0.0, 0.0, 0.0]  # at rest on the level of the hinge
SPAN = (0.0, 3.0)


def pendulum_problem() -> sml.DAEProblem:
    return sml.DAEProblem(pendulum, [0.0, 0.0, 0.0, -GRAVITY, 0.0], LEVEL, SPAN, GRAVITY)


def pendulum_with_mass_matrix(u0=LEVEL) -> sml.ODEProblem:
    mass = np.diag([1.0, 1.0, 1.0, 1.0, 0.0])
    return sml.ODEProblem(pendulum_rates, u0, SPAN, GRAVITY, mass_matrix=mass)


def invariants(u: Array) -> tuple[Array, Array]:
    """The square of the length, which is 1, and the energy, which is that of the start."""
    x, y, vx, vy, _ = u.T
    return x**2 + y**2, 0.5 * (vx**2 + vy**2) + GRAVITY * y
