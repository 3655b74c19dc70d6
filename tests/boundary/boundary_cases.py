"""Boundary value problems with known solutions."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

import pysciml as sml

Array = np.ndarray


def oscillator(u, p, t):
    return [u[1], -(p[0] ** 2) * u[0]]


def sine(w: float = 1.0) -> sml.TwoPointBVProblem:
    """u'' = -w^2 u with u(0) = 0 and u(pi/2) = 1."""
    ends = (lambda u, p: u[0], lambda u, p: u[0] - 1.0)
    return sml.TwoPointBVProblem(oscillator, ends, [0.5, 0.5], (0.0, math.pi / 2), [w])


def sine_exact(t: Array, w: float = 1.0) -> Array:
    scale = math.sin(w * math.pi / 2)
    return np.stack([np.sin(w * t), w * np.cos(w * t)], axis=-1) / scale


def bratu(u, p, t):
    """u'' + p exp(u) = 0 with u(0) = u(1) = 0."""
    import torch

    return [u[1], -p * torch.exp(u[0])]


def bratu_problem(strength: float = 1.0, height: float = 0.0) -> sml.BVProblem:
    """`height`: of the guess, a parabola, in the middle."""

    def bc(u, p, t):
        return [u(0.0)[0], u(1.0)[0]]

    def guess(p, t):
        return [4.0 * height * t * (1.0 - t), 4.0 * height * (1.0 - 2.0 * t)]

    return sml.BVProblem(bratu, bc, guess, (0.0, 1.0), strength)


def bratu_exact(t: Array, strength: float = 1.0, upper: bool = False) -> Array:
    """-2 log(cosh((t - 1/2) a / 2) / cosh(a / 4)), a = sqrt(2 p) cosh(a / 4): two branches."""

    def equation(a: float) -> float:
        return a - math.sqrt(2.0 * strength) * math.cosh(a / 4.0)

    a = brentq(equation, 4.8, 20.0) if upper else brentq(equation, 0.0, 4.8)
    return -2.0 * np.log(np.cosh((t - 0.5) * a / 2.0) / np.cosh(a / 4.0))


def decay(u, p, t):
    """u0' = u1, u1' = -2 u0 u1, whose solutions are u0 = a tanh(a t + b)."""
    return [u[1], -2.0 * u[0] * u[1]]


def inside_bc(residual, u, p, t):
    """Where a tanh(a t + b) is on two points inside tspan: for a = 1.5 and b = -1."""
    residual[0] = u(0.25)[0] - p[0]
    residual[1] = u(1.5)[0] - p[1]


def inside() -> sml.BVProblem:
    """A nonlinear problem whose conditions are both off the ends."""
    p = inside_exact(np.array([0.25, 1.5]))[:, 0]
    return sml.BVProblem(decay, inside_bc, [0.0, 1.0], (0.0, 2.0), p)


def inside_exact(t: Array) -> Array:
    u = 1.5 * np.tanh(1.5 * t - 1.0)
    return np.stack([u, 2.25 - u**2], axis=-1)


def pendulum(du, u, p, t):
    import torch

    du[0] = u[1]
    du[1] = -p["g"] / p["L"] * torch.sin(u[0])


def pendulum_problem() -> sml.BVProblem:
    """The first example of BoundaryValueDiffEq's documentation."""

    def bc(residual, u, p, t):
        residual[0] = u(math.pi / 4)[0] + math.pi / 2
        residual[1] = u[-1][0] - math.pi / 2

    guess = [math.pi / 2, math.pi / 2]
    return sml.BVProblem(pendulum, bc, guess, (0.0, math.pi / 2), {"g": 9.81, "L": 1.0})
