"""Stochastic equations with known solutions or known laws, each captured once."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import pysciml as sml

MU, SIGMA = 0.3, 0.6
ENGINES = ("native", pytest.param("julia", marks=pytest.mark.julia))


def growth(u, p, t):
    return p[0] * u


def volatility(u, p, t):
    return p[1] * u


@cache
def geometric(noise="diagonal", interpretation="ito", n=1):
    """Geometric Brownian motion."""
    return sml.SDEProblem(
        growth,
        volatility,
        np.ones(n),
        (0.0, 1.0),
        [MU, SIGMA],
        noise=noise,
        interpretation=interpretation,
    )


def geometric_exact(problem, t, w):
    """Its solution along the path w, (len(t), *noise_shape): (len(t), n)."""
    mu, sigma = problem.p
    drift = mu - (sigma**2 / 2 if problem.interpretation == "ito" else 0.0)
    return problem.u0 * np.exp(drift * t[:, None] + sigma * w.reshape(len(t), -1))


@cache
def ornstein_uhlenbeck():
    """du = -theta u dt + s dW: additive noise."""
    return sml.SDEProblem(
        lambda u, p, t: -p["theta"] * u,
        lambda u, p, t: [p["s"]],
        [1.0],
        (0.0, 4.0),
        {"theta": 1.5, "s": 0.8},
    )


MIXING = np.array([[0.5, 0.3, 0.0], [-0.2, 0.4, 0.1]])


@cache
def correlated():
    """du = A dW with three Wiener processes for two entries."""
    return sml.SDEProblem(
        lambda u, p, t: torch.zeros(2),
        lambda u, p, t: torch.from_numpy(MIXING) + 0.0 * t,
        [0.0, 0.0],
        (0.0, 1.0),
        noise="general",
    )


# A predator, its prey, and every kind of noise, for gradients.
PARAMETERS = {"a": 0.4, "s": 0.3}


def drift(u, p, t):
    return torch.stack([p["a"] * u[0] - 0.3 * u[0] * u[1], -u[1] + 0.5 * torch.sin(t) * u[0]])


def own_noise(u, p, t):
    return torch.stack([p["s"] * u[0] * (1 + 0.2 * t), p["s"] * torch.sin(u[1]) + 0.1])


def shared_noise(u, p, t):
    return torch.stack([p["s"] * u[0] + 0.1 * u[1], p["s"] * torch.sin(u[1]) * u[0]])


def full_noise(u, p, t):
    first = torch.stack([p["s"] * u[0], 0.3 * u[1], 0.0 * u[0] + 0.1])
    second = torch.stack([0.2 * u[0], p["s"] * u[1], 0.1 * u[0] * u[1]])
    return torch.stack([first, second])


def additive_noise(u, p, t):
    return torch.stack([p["s"] * (1 + t), p["s"] * p["a"] * torch.cos(t)])


_NOISE = {
    "own": (own_noise, "diagonal"),
    "shared": (shared_noise, "scalar"),
    "full": (full_noise, "general"),
    "additive": (additive_noise, "diagonal"),
}


@cache
def predator_prey(kind, interpretation="ito"):
    g, noise = _NOISE[kind]
    return sml.SDEProblem(
        drift, g, [1.0, 0.5], (0.0, 1.0), PARAMETERS, noise=noise, interpretation=interpretation
    )
