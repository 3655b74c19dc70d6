"""Maps against plain iteration."""

from __future__ import annotations

import numpy as np
import pytest

import pysciml as sml
from pysciml import DiscreteProblem

NATIVE = {"engine": "native"}


def iterated(f, u, k0, k1):
    states = [u]
    for k in range(k0, k1):
        states.append(f(states[-1], k))
    return np.array(states)


def test_the_logistic_map():
    problem = DiscreteProblem(lambda u, p, k: p * u * (1.0 - u), 0.3, (0, 200), 3.9)
    found = sml.solve(problem, **NATIVE)
    assert found.retcode == "Success" and found.alg == "FunctionMap"
    np.testing.assert_array_equal(found.t, np.arange(201.0))
    np.testing.assert_array_equal(found.u, iterated(lambda u, k: 3.9 * u * (1.0 - u), 0.3, 0, 200))


def test_a_map_of_a_vector_in_place_that_knows_its_time():
    def f(new, u, p, k):
        new[0] = u[1] + p["a"] * k
        new[1] = u[0] + u[1]

    problem = DiscreteProblem(f, [0.0, 1.0], (3, 40), {"a": 2.0})
    found = sml.solve(problem, **NATIVE)
    reference = iterated(
        lambda u, k: np.array([u[1] + 2.0 * k, u[0] + u[1]]), np.array([0.0, 1.0]), 3, 40
    )
    np.testing.assert_array_equal(found.u, reference)


def test_what_is_saved():
    problem = DiscreteProblem(lambda u, p, k: [u[1], u[0] + u[1]], [0.0, 1.0], (0, 10))
    whole = sml.solve(problem, **NATIVE)
    assert whole.u[10, 0] == 55.0
    np.testing.assert_array_equal(whole(4.5), whole.u[4])
    np.testing.assert_array_equal(sml.solve(problem, saveat=5, **NATIVE).u, whole.u[::5])
    last = sml.solve(problem, saveat=[2, 10], save_idxs=[0], **NATIVE)
    np.testing.assert_array_equal(last.u, whole.u[[2, 10], :1])


def test_an_ensemble_of_maps():
    problem = DiscreteProblem(lambda u, p, k: [p[0] * u[0] * (1.0 - u[0])], [0.3], (0, 50), [3.0])
    rates = np.linspace(2.0, 4.0, 40)[:, None]
    found = sml.solve_ensemble(problem, p=rates, saveat=10, progress=False, **NATIVE)
    for i in (0, 17, 39):
        r = rates[i, 0]
        reference = iterated(lambda u, k, r=r: r * u * (1.0 - u), 0.3, 0, 50)
        np.testing.assert_array_equal(found.u[i, :, 0], reference[::10])


def test_a_map_that_leaves_the_numbers_says_where():
    problem = DiscreteProblem(lambda u, p, k: u * u, 10.0, (0, 100))
    with pytest.raises(sml.SolveError) as caught:
        sml.solve(problem, **NATIVE)
    assert str(caught.value) == (
        "FunctionMap on the native engine stopped before t = 100 (Unstable): FunctionMap stopped "
        "at t = 8 of (0, 100), after 8 steps. The next state is not finite: check f and p at the "
        "last state. The 9 saved states are in error.solution; raise_on_failure=False returns "
        "them instead of raising."
    )
    np.testing.assert_array_equal(caught.value.solution.u, iterated(lambda u, k: u * u, 10.0, 0, 8))
