"""Seeds: trajectory i is the one that a solve with the seed (seed, i) gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pysciml as sml
from pysciml import engines
from pysciml.engines.base import RawSolution, Stats


class Noise:
    """An engine whose state is drawn from the stream of the seed and the trajectory."""

    name = "native"

    def solve(self, problem, alg, options):
        stream = np.random.default_rng((options.seed, options.trajectory))
        u = problem.u0_flat + stream.normal(size=(len(options.saveat), problem.u0.size))
        return RawSolution(options.saveat, u, "Success", "EM", Stats(naccept=1))


@pytest.fixture
def walk(monkeypatch):
    monkeypatch.setitem(engines._loaded, "native", Noise())
    return sml.SDEProblem(lambda u, p, t: -u, lambda u, p, t: 1.0 + 0.0 * u, [5.0], (0.0, 1.0))


def test_a_seed_and_a_number_make_a_trajectory(walk):
    how = {"engine": "native", "saveat": 0.5, "progress": False}
    ensemble = sml.solve_ensemble(walk, 7, seed=11, batch_size=3, **how)
    assert ensemble.seed == 11
    for i in range(7):
        expected = 5.0 + np.random.default_rng((11, i)).normal(size=(3, 1))
        np.testing.assert_array_equal(ensemble.u[i], expected)
        alone = sml.solve(ensemble.problem_at(i), engine="native", saveat=0.5, seed=(11, i))
        np.testing.assert_array_equal(alone.u, expected)
    again = sml.solve_ensemble(walk, 7, seed=11, batch_size=1, **how)
    np.testing.assert_array_equal(again.u, ensemble.u)


def test_without_a_seed_there_is_a_new_one_that_gives_the_same_again(walk):
    how = {"engine": "native", "saveat": 0.5, "progress": False}
    one, two = (sml.solve_ensemble(walk, 3, **how) for _ in range(2))
    assert one.seed != two.seed
    assert not np.array_equal(one.u, two.u)
    np.testing.assert_array_equal(sml.solve_ensemble(walk, 3, seed=one.seed, **how).u, one.u)


def test_a_seed_for_what_is_not_random_is_kept_and_changes_nothing(decay):
    how = {"engine": "native", "saveat": 0.5, "progress": False}
    ensemble = sml.solve_ensemble(decay, 2, seed=4, **how)
    assert ensemble.seed == 4
    np.testing.assert_array_equal(ensemble.u, sml.solve_ensemble(decay, 2, **how).u)


def test_noise_is_kept_by_single_solves_only(walk):
    with pytest.raises(TypeError) as raised:
        sml.solve_ensemble(walk, 2, engine="native", saveat=0.5, save_noise=True)
    assert str(raised.value) == (
        "solve_ensemble has no option 'save_noise': solve(result.problem_at(i), "
        "seed=(result.seed, i), save_noise=True) has it"
    )


def test_paths_of_the_native_engine_whatever_the_threads_and_the_executor():
    problem = sml.SDEProblem(
        lambda u, p, t: [p[0] * u[0]], lambda u, p, t: [p[1] * u[0]], [1.0], (0.0, 1.0), [0.5, 0.2]
    )
    how = {"engine": "native", "saveat": 0.25, "seed": 5, "progress": False}
    one = sml.solve_ensemble(problem, 300, threads=1, **how)
    two = sml.solve_ensemble(problem, 300, threads=2, batch_size=7, **how)
    with ThreadPoolExecutor(2) as pool:
        there = sml.solve_ensemble(problem, 300, executor=pool, batch_size=11, **how)
    np.testing.assert_array_equal(two.u, one.u)
    np.testing.assert_array_equal(there.u, one.u)
    for i in (0, 17, 299):
        alone = sml.solve(problem, engine="native", saveat=0.25, seed=(5, i))
        np.testing.assert_array_equal(one.u[i], alone.u)
    assert abs(one.mean[-1, 0] - np.exp(0.5)) < 5.0 * one.std[-1, 0] / np.sqrt(300)
    assert len(np.unique(one.u[:, -1, 0])) == 300
