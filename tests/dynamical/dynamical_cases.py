"""Mechanical systems with solutions or invariants that are known."""

from __future__ import annotations

import numpy as np
import torch

import pysciml as sml

ECCENTRICITY = 0.3
PERIOD = 2.0 * np.pi
SYMPLECTIC = {  # their orders
    "SymplecticEuler": 1,
    "VelocityVerlet": 2,
    "VerletLeapfrog": 2,
    "Ruth3": 3,
    "McAte4": 4,
    "CandyRoz4": 4,
    "Yoshida6": 6,
    "KahanLi6": 6,
    "KahanLi8": 8,
}


def attraction(du, u, p, t):
    x, y = u
    cubed = (x * x + y * y) ** 1.5
    return [-x / cubed, -y / cubed]


def kepler(periods: float = 1.0) -> sml.SecondOrderODEProblem:
    """Kepler's orbit about a mass of one at the origin, of semi-major axis one, from perihelion."""
    e = ECCENTRICITY
    du0, u0 = [0.0, np.sqrt((1.0 + e) / (1.0 - e))], [1.0 - e, 0.0]
    return sml.SecondOrderODEProblem(attraction, du0, u0, (0.0, periods * PERIOD))


def energy(state: np.ndarray) -> np.ndarray:
    """Of Kepler's problem: -1/2."""
    velocity, position = state[..., 0, :], state[..., 1, :]
    return 0.5 * (velocity**2).sum(-1) - 1.0 / np.sqrt((position**2).sum(-1))


def kepler_exact(t: np.ndarray) -> np.ndarray:
    """Velocity and position at times, by Kepler's equation E - e sin E = t, to rounding."""
    e, t = ECCENTRICITY, np.asarray(t, dtype=float)
    anomaly = t.copy()
    for _ in range(50):
        anomaly -= (anomaly - e * np.sin(anomaly) - t) / (1.0 - e * np.cos(anomaly))
    axis, rate = np.sqrt(1.0 - e * e), 1.0 / (1.0 - e * np.cos(anomaly))
    velocity = [-np.sin(anomaly) * rate, axis * np.cos(anomaly) * rate]
    position = [np.cos(anomaly) - e, axis * np.sin(anomaly)]
    return np.stack([np.stack(velocity, -1), np.stack(position, -1)], -2)


def oscillator(tspan=(0.0, 3.0)) -> sml.DynamicalODEProblem:
    """Mass 2, stiffness k: u = cos(w t), v = -2 w sin(w t), w^2 = k/2."""
    return sml.DynamicalODEProblem(
        lambda v, u, p, t: -p["k"] * u,
        lambda v, u, p, t: v / 2.0,
        [0.0],
        [1.0],
        tspan,
        {"k": 3.0},
    )


def oscillator_exact(t: np.ndarray, k: float = 3.0) -> np.ndarray:
    w = np.sqrt(k / 2.0)
    t = np.asarray(t)
    return np.stack([-2.0 * w * np.sin(w * t), np.cos(w * t)], -1)[..., None]


def relativistic() -> sml.DynamicalODEProblem:
    """H = sqrt(1 + v^2) + u^4/4: not quadratic in v."""
    return sml.DynamicalODEProblem(
        lambda v, u, p, t: -(u**3),
        lambda v, u, p, t: v / torch.sqrt(1.0 + v * v),
        [0.5],
        [1.0],
        (0.0, 2.0),
    )


def forced() -> sml.SecondOrderODEProblem:
    """u'' = -u + cos(2 t) from rest: u = (cos t - cos 2t)/3."""

    def f(ddu, du, u, p, t):
        ddu[0] = -u[0] + np.cos(2.0 * t)

    return sml.SecondOrderODEProblem(f, [0.0], [0.0], (0.0, 2.0))


def slope(problem, alg: str, exact: np.ndarray, steps: tuple[int, int]) -> float:
    """Order of the error at t1, from two step sizes."""
    t0, t1 = problem.tspan
    errors = [
        np.abs(sml.solve(problem, alg, "native", dt=(t1 - t0) / n).u[-1] - exact).max()
        for n in steps
    ]
    return np.log(errors[0] / errors[1]) / np.log(steps[1] / steps[0])
