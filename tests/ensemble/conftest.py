"""Models of the ensemble tests, and pictures that are drawn without a screen."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

import pysciml as sml

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def decay():
    """u' = -p u, whose solution is u0 exp(-p t)."""
    return sml.ODEProblem(lambda u, p, t: [-p[0] * u[0]], [1.0], (0.0, 2.0), [1.0])


@pytest.fixture(scope="session")
def blow_up():
    """u' = p u^2 from 1, whose solution 1/(1 - p t) ends at t = 1/p."""
    return sml.ODEProblem(lambda u, p, t: [p[0] * u[0] ** 2], [1.0], (0.0, 1.0), [0.5])


@pytest.fixture(scope="session")
def oscillator():
    """u' = v, v' = -k u, in a dict of parameters; u = a cos(w t) + b/w sin(w t), w^2 = k."""

    def f(u, p, t):
        return [u[1], -p["k"] * u[0] * p["scale"][0] * p["scale"][1]]

    return sml.ODEProblem(
        f, [1.0, 0.0], (0.0, 3.0), {"k": 1.0, "scale": [1.0, 1.0]}, names=["position", "velocity"]
    )


@pytest.fixture(scope="session")
def van_der_pol():
    """Stiff where p is large."""

    def f(u, p, t):
        return [u[1], p[0] * ((1.0 - u[0] ** 2) * u[1] - u[0])]

    return sml.ODEProblem(f, [2.0, 0.0], (0.0, 1.0), [1.0])


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)
