"""Orders of convergence, measured against a closed form with a fixed step."""

from __future__ import annotations

import numpy as np
import pytest
from native_models import closed_form, exact, oscillator, oscillator_exact

from pysciml.engines.base import SolveOptions
from pysciml.engines.native.engine import NativeEngine
from pysciml.engines.native.explicit.classic import (
    BS3,
    DP5,
    EULER,
    HEUN,
    HEUN3,
    KUTTA38,
    MIDPOINT,
    RK4,
)
from pysciml.engines.native.explicit.tableau import hermite_rows
from pysciml.engines.native.explicit.tsit5 import TSIT5
from pysciml.engines.native.explicit.verner import VERN6, VERN7

ENGINE = NativeEngine()

# name, order, step counts far from rounding
METHODS = [
    ("Euler", 1, (400, 800, 1600)),
    ("Midpoint", 2, (100, 200, 400)),
    ("Heun", 2, (100, 200, 400)),
    ("BS3", 3, (64, 128, 256)),
    ("Heun3", 3, (64, 128, 256)),
    ("Kutta38", 4, (32, 64, 128)),
    ("RK4", 4, (32, 64, 128)),
    ("Tsit5", 5, (32, 64, 128)),
    ("DP5", 5, (32, 64, 128)),
    ("Rosenbrock23", 2, (128, 256, 512)),
    ("Rodas4", 4, (32, 64, 128)),
    ("Rodas5P", 5, (32, 64, 128)),
]
# Verner's pairs have tiny leading error terms: on nonlinear problems the next terms rule until
# rounding does. Vern6 even gains an order on linear ones.
EFFICIENT = [("Vern6", 6, 7), ("Vern7", 7, 7)]


def slope(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize(("name", "order", "counts"), METHODS)
def test_order_at_the_steps_and_between_them(name, order, counts):
    at_steps, between = [], []
    fine = np.linspace(0.0, 2.0, 1001)
    for count in counts:
        options = SolveOptions(dt=2.0 / count, adaptive=False)
        solution = ENGINE.solve(closed_form(), name, options)
        assert solution.retcode == "Success"
        assert len(solution.t) == count + 1
        at_steps.append(np.abs(solution.u - exact(solution.t)).max())
        between.append(np.abs(solution.interpolate(fine) - exact(fine)).max())
    assert abs(slope(counts, at_steps) - order) < 0.2
    assert abs(slope(counts, between) - order) < 0.2


@pytest.mark.parametrize(("name", "order", "observed"), EFFICIENT)
def test_order_of_the_efficient_pairs(name, order, observed):
    counts = (12, 16, 20, 24)
    at_steps, between = [], []
    fine = np.linspace(0.0, 5.0, 1001)
    for count in counts:
        solution = ENGINE.solve(oscillator(), name, SolveOptions(dt=5.0 / count, adaptive=False))
        at_steps.append(np.abs(solution.u - oscillator_exact(solution.t)).max())
        between.append(np.abs(solution.interpolate(fine) - oscillator_exact(fine)).max())
    assert abs(slope(counts, at_steps) - observed) < 0.2
    assert order - 0.2 < slope(counts, between) < order + 1.2
    assert between[-1] < 5.0 * at_steps[-1]


@pytest.mark.parametrize(
    "tableau",
    [TSIT5, DP5, BS3, RK4, KUTTA38, HEUN3, MIDPOINT, HEUN, EULER, VERN6, VERN7],
    ids=lambda tableau: tableau.name,
)
def test_tableau_is_consistent(tableau):
    """Row sums, the quadrature conditions and the interpolant's end points."""
    total = tableau.stages_total
    a = np.zeros((total, total))
    for i, row in enumerate(tableau.a):
        a[i, : len(row)] = row
    c = np.asarray(tableau.c)
    assert np.allclose(a.sum(axis=1), c, atol=1e-13)
    b = np.zeros(total)
    given = a[tableau.stages - 1] if tableau.b is None else tableau.b
    b[: len(given)] = given
    for k in range(tableau.order):
        assert abs(b @ c**k - 1.0 / (k + 1)) < 1e-12
    if tableau.e is not None:
        assert abs(np.sum(tableau.e)) < 1e-13
    r = hermite_rows(b) if tableau.r is None else np.asarray(tableau.r)
    assert np.allclose(r.sum(axis=1), b, atol=1e-10)
    assert np.allclose(r.sum(axis=0), np.eye(r.shape[1])[0], atol=1e-10)
