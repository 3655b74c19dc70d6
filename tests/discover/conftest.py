"""Trajectories, solved by SciPy, whose equations are to be found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

LORENZ = {"dx/dt": {"x": -10.0, "y": 10.0}}
LORENZ |= {"dy/dt": {"x": 28.0, "x*z": -1.0, "y": -1.0}, "dz/dt": {"x*y": 1.0, "z": -8.0 / 3.0}}


@pytest.fixture(scope="session")
def lorenz():
    """Times and exact states of the attractor, (2001, 3)."""

    def f(t, u):
        x, y, z = u
        return [10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z]

    t = np.linspace(0.0, 10.0, 2001)
    u = solve_ivp(f, (0.0, 10.0), [-8.0, 8.0, 27.0], "DOP853", t, rtol=1e-12, atol=1e-12).y.T
    return t, u


@pytest.fixture(scope="session")
def lorenz_rates():
    return LORENZ
