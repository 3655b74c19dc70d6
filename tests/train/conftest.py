"""Small models that several files fit."""

from __future__ import annotations

import numpy as np
import pytest

import pysciml as sml
from pysciml import engines

RATES = {"a": 1.3, "b": 0.9, "c": 0.8, "d": 1.8}


def predator_prey(u, p, t):
    x, y = u
    return [p["a"] * x - p["b"] * x * y, p["c"] * x * y - p["d"] * y]


def ramp(u, p, t):
    """u = u0 + p[0] t + p[1] t^2 / 2: linear in everything that can be fitted."""
    return p[0] + p[1] * t + 0.0 * u


def decay(u, p, t):
    return -p["k"] * u


@pytest.fixture(scope="session")
def lotka_volterra():
    """The rates of Rackauckas et al. (2020), and 31 exact states on [0, 3]."""
    problem = sml.ODEProblem(
        predator_prey, [0.44249296, 4.6280594], (0.0, 3.0), RATES, names=["prey", "predator"]
    )
    exact = sml.solve(problem, "Vern7", "native", saveat=0.1, abstol=1e-12, reltol=1e-12)
    return problem, exact.t, exact.u


@pytest.fixture(scope="session")
def ramps():
    return sml.ODEProblem(ramp, [1.0], (0.0, 2.0), [0.5, -0.3])


@pytest.fixture(scope="session")
def decays():
    """Two components of one rate: u = u0 exp(-k t)."""
    return sml.ODEProblem(decay, [2.0, 1.0], (0.0, 1.0), {"k": 1.5}, names=["first", "second"])


@pytest.fixture(scope="session")
def decay_data():
    """Times, and what the decays at k = 1.5 show there with a little noise."""
    random = np.random.default_rng(1)
    t = np.array([0.1, 0.25, 0.4, 0.7, 1.0])
    u = np.exp(-1.5 * t)[:, None] * [2.0, 1.0]
    return t, u * (1.0 + 0.05 * random.standard_normal(u.shape))


class Interrupting:
    """An engine with Ctrl-C at one of its solves, counted from 0."""

    name = "native"

    def __init__(self, engine, at):
        self._engine = engine
        self.left = at
        self.solves = 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def solve_with_pullback(self, *arguments):
        self.solves += 1
        if self.left == 0:
            self.left = -1
            raise KeyboardInterrupt
        self.left -= 1
        return self._engine.solve_with_pullback(*arguments)


@pytest.fixture
def interrupt(monkeypatch):
    """interrupt(n): Ctrl-C comes at solve n, counted from 0."""

    def at(count):
        engine = Interrupting(engines.get("native"), count)
        monkeypatch.setitem(engines._loaded, "native", engine)
        return engine

    yield at
    monkeypatch.undo()
