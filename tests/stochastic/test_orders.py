"""Strong orders: errors against the closed form on the same path, with the step halved."""

from __future__ import annotations

import numpy as np
import pytest
from equations import geometric, geometric_exact

import pysciml as sml

PATHS = 600
LEVELS = np.arange(5, 11)


def strong_errors(problem, alg, levels):
    """Root mean square over paths of the error at the end, for each step 2**-level."""
    errors = []
    for level in levels:
        found = []
        for k in range(PATHS):
            sol = sml.solve(
                problem, alg, "native", [1.0], dt=2.0**-level, adaptive=False, seed=(7, k),
                save_noise=True,
            )  # fmt: skip
            found.append(sol.u - geometric_exact(problem, sol.t, sol.W))
        errors.append(np.sqrt(np.mean(np.square(found))))
    return np.array(errors)


@pytest.mark.parametrize(
    ("alg", "interpretation", "noise", "order"),
    [
        ("EM", "ito", "diagonal", 0.5),
        ("LambaEM", "ito", "scalar", 0.5),
        ("RKMil", "ito", "diagonal", 1.0),
        ("RKMil", "stratonovich", "scalar", 1.0),
        ("EulerHeun", "stratonovich", "diagonal", 1.0),
        ("SRIW1", "ito", "diagonal", 1.5),
        ("SRIW1", "ito", "scalar", 1.5),
        ("SOSRI", "ito", "diagonal", 1.5),
    ],
)
def test_strong_order(alg, interpretation, noise, order):
    errors = strong_errors(geometric(noise, interpretation), alg, LEVELS)
    slope = -np.polyfit(LEVELS, np.log2(errors), 1)[0]
    assert abs(slope - order) < 0.1
