"""Maps against plain iteration, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

import pysciml as sml
from pysciml import DiscreteProblem, UnsupportedError

ENGINES = pytest.mark.parametrize(
    "engine", ["native", pytest.param("julia", marks=pytest.mark.julia)]
)


def iterated(f, u, k0, k1):
    states = [u]
    for k in range(k0, k1):
        states.append(f(states[-1], k))
    return np.array(states)


@ENGINES
def test_the_logistic_map(engine):
    problem = DiscreteProblem(lambda u, p, k: p * u * (1.0 - u), 0.3, (0, 200), 3.9)
    found = sml.solve(problem, engine=engine)
    assert found.retcode == "Success" and found.alg == "FunctionMap"
    assert found.stats.nf == 200
    np.testing.assert_array_equal(found.t, np.arange(201.0))
    np.testing.assert_array_equal(found.u, iterated(lambda u, k: 3.9 * u * (1.0 - u), 0.3, 0, 200))


@ENGINES
def test_the_henon_map(engine):
    problem = DiscreteProblem(
        lambda u, p, k: [1.0 - p["a"] * u[0] * u[0] + u[1], p["b"] * u[0]],
        [0.1, 0.2], (0, 500), {"a": 1.4, "b": 0.3},
    )  # fmt: skip
    found = sml.solve(problem, engine=engine)
    reference = iterated(
        lambda u, k: np.array([1.0 - 1.4 * u[0] * u[0] + u[1], 0.3 * u[0]]),
        np.array([0.1, 0.2]), 0, 500,
    )  # fmt: skip
    np.testing.assert_array_equal(found.u, reference)


@ENGINES
@pytest.mark.parametrize("start", [3, -5])
def test_a_map_of_a_vector_in_place_that_knows_its_number(engine, start):
    def f(new, u, p, k):
        new[0] = u[1] + p["a"] * k
        new[1] = u[0] + u[1]

    problem = DiscreteProblem(f, [0.0, 1.0], (start, 40), {"a": 2.0})
    found = sml.solve(problem, engine=engine)
    reference = iterated(
        lambda u, k: np.array([u[1] + 2.0 * k, u[0] + u[1]]), np.array([0.0, 1.0]), start, 40
    )
    np.testing.assert_array_equal(found.t, np.arange(start, 41.0))
    np.testing.assert_array_equal(found.u, reference)


@ENGINES
def test_what_is_saved(engine):
    problem = DiscreteProblem(lambda u, p, k: [u[1], u[0] + u[1]], [0.0, 1.0], (0, 10))
    whole = sml.solve(problem, engine=engine)
    assert whole.u[10, 0] == 55.0
    np.testing.assert_array_equal(whole(4.5), whole.u[4])
    np.testing.assert_array_equal(whole([0.0, 3.0, 10.0]), whole.u[[0, 3, 10]])
    np.testing.assert_array_equal(sml.solve(problem, saveat=5, engine=engine).u, whole.u[::5])
    last = sml.solve(problem, saveat=[2, 10], save_idxs=[0], engine=engine)
    np.testing.assert_array_equal(last.u, whole.u[[2, 10], :1])
    ends = sml.solve(problem, save_everystep=False, engine=engine)
    np.testing.assert_array_equal(ends.t, [0.0, 10.0])
    np.testing.assert_array_equal(ends.u, whole.u[[0, 10]])


@ENGINES
def test_an_ensemble_of_maps(engine):
    problem = DiscreteProblem(lambda u, p, k: [p[0] * u[0] * (1.0 - u[0])], [0.3], (0, 50), [3.0])
    rates = np.linspace(2.0, 4.0, 40)[:, None]
    found = sml.solve_ensemble(problem, p=rates, saveat=10, progress=False, engine=engine)
    assert found.stats.nf == 40 * 50
    for i in (0, 17, 39):
        r = rates[i, 0]
        reference = iterated(lambda u, k, r=r: r * u * (1.0 - u), 0.3, 0, 50)
        np.testing.assert_array_equal(found.u[i, :, 0], reference[::10])


@ENGINES
def test_a_trajectory_that_leaves_the_numbers_is_counted(engine):
    problem = DiscreteProblem(lambda u, p, k: u * u, 1.0, (0, 20))
    starts = np.array([0.5, 10.0])
    with pytest.warns(RuntimeWarning, match="1 of 2 trajectories did not succeed"):
        found = sml.solve_ensemble(problem, u0=starts, saveat=5, progress=False, engine=engine)
    assert list(found.retcodes) == ["Success", "Unstable"]
    np.testing.assert_array_equal(found.u[0], iterated(lambda u, k: u * u, 0.5, 0, 20)[::5])
    np.testing.assert_array_equal(found.u[1], [10.0, 1e32, np.nan, np.nan, np.nan])


_STOPPED = {
    "native": (
        "FunctionMap stopped at t = 8 of (0, 100), after 8 steps. The next state is not finite: "
        "check f and p at the last state"
    ),
    "julia": "the next state is not finite: check f and p at the last state, at t = 8 of 100",
}


@ENGINES
def test_a_map_that_leaves_the_numbers_says_where(engine):
    problem = DiscreteProblem(lambda u, p, k: u * u, 10.0, (0, 100))
    with pytest.raises(sml.SolveError) as caught:
        sml.solve(problem, engine=engine)
    assert str(caught.value) == (
        f"FunctionMap on the {engine} engine stopped before t = 100 (Unstable): {_STOPPED[engine]}."
        " The 9 saved states are in error.solution; raise_on_failure=False returns "
        "them instead of raising."
    )
    np.testing.assert_array_equal(caught.value.solution.t, np.arange(9.0))
    np.testing.assert_array_equal(caught.value.solution.u, iterated(lambda u, k: u * u, 10.0, 0, 8))


@ENGINES
def test_the_last_state_may_be_the_one_that_is_not_finite(engine):
    problem = DiscreteProblem(lambda u, p, k: u * u, 10.0, (0, 9))
    found = sml.solve(problem, engine=engine, raise_on_failure=False)
    assert found.retcode == "Unstable" and found.t[-1] == 8.0


@ENGINES
def test_maxiters_is_the_number_of_states(engine):
    problem = DiscreteProblem(lambda u, p, k: u + k, 0.0, (0, 30))
    assert sml.solve(problem, maxiters=30, engine=engine).u[-1] == 435.0
    found = sml.solve(problem, maxiters=12, engine=engine, raise_on_failure=False)
    assert found.retcode == "MaxIters"
    np.testing.assert_array_equal(found.u, iterated(lambda u, k: u + k, 0.0, 0, 12))


@ENGINES
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"alg": "Tsit5"}, ValueError, r"alg='Tsit5' is no method for a DiscreteProblem of the"),
        ({"dt": 0.5}, ValueError, "dt has no meaning for FunctionMap, which makes no time steps"),
        ({"saveat": [0.5]}, ValueError, "saveat must be whole numbers for a DiscreteProblem"),
    ],
)
def test_wrong_calls(engine, call, error, message):
    problem = DiscreteProblem(lambda u, p, k: u + 1.0, 0.0, (0, 10))
    with pytest.raises(error, match=message):
        sml.solve(problem, engine=engine, **call)


@pytest.mark.julia
def test_options_of_a_method_that_has_none():
    problem = DiscreteProblem(lambda u, p, k: u + 1.0, 0.0, (0, 10))
    with pytest.raises(UnsupportedError, match=r"FunctionMap has no options; got \['scale'\]"):
        sml.solve(problem, engine="julia", alg_options={"scale": 1})
