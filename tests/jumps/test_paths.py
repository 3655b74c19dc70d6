"""What a path of a jump process is: where it is kept, how it is read, whose stream it follows."""

from __future__ import annotations

import pickle

import matplotlib
import numpy as np
import pytest

import pysciml as sml
from pysciml import JumpProblem, Reaction

matplotlib.use("Agg")
NATIVE = {"engine": "native"}
REACTIONS = [Reaction("beta", {"S": 1, "I": 1}, {"I": 2}), Reaction("gamma", {"I": 1}, {"R": 1})]
SIR = JumpProblem(
    REACTIONS, [990, 10, 0], (0.0, 250.0), {"beta": 1e-4, "gamma": 0.01}, names=["S", "I", "R"]
)


@pytest.fixture(scope="module")
def path():
    return sml.solve(SIR, seed=1, **NATIVE)


def test_every_jump_is_one_reaction(path):
    np.testing.assert_array_equal(SIR.stoichiometry, [[-1, 1, 0], [0, -1, 1]])
    assert path.retcode == "Success" and path.alg == "Direct" and path.engine == "native"
    jumps = np.diff(path.u, axis=0)[:-1]
    assert len(jumps) == path.stats.naccept > 1000
    infected = (jumps == SIR.stoichiometry[0]).all(axis=1)
    healed = (jumps == SIR.stoichiometry[1]).all(axis=1)
    assert (infected | healed).all() and infected.any() and healed.any()
    assert (np.diff(path.t) > 0.0).all() and path.t[0] == 0.0 and path.t[-1] == 250.0
    np.testing.assert_array_equal(path.u[-1], path.u[-2])


def test_nobody_is_lost(path):
    np.testing.assert_array_equal(path.u.sum(axis=1), 1000.0)
    assert (path.u >= 0.0).all()


def test_a_path_rests_between_jumps_and_is_right_continuous(path):
    inner = slice(3, 50)
    np.testing.assert_array_equal(path(path.t[inner]), path.u[inner])
    just_before = np.nextafter(path.t[inner], 0.0)
    np.testing.assert_array_equal(path(just_before), path.u[2:49])
    at_jumps = sml.solve(SIR, seed=1, saveat=path.t[inner], **NATIVE)
    np.testing.assert_array_equal(at_jumps.u, path.u[inner])
    before_jumps = sml.solve(SIR, seed=1, saveat=just_before, **NATIVE)
    np.testing.assert_array_equal(before_jumps.u, path.u[2:49])


def test_what_is_saved_does_not_change_the_path(path):
    times = np.linspace(0.0, 250.0, 101)
    saved = sml.solve(SIR, seed=1, saveat=times, **NATIVE)
    np.testing.assert_array_equal(saved.u, path(times))
    np.testing.assert_array_equal(saved.t, times)
    both = sml.solve(SIR, seed=1, saveat=times, dense=True, save_idxs=[2, 0], **NATIVE)
    np.testing.assert_array_equal(both.u, saved.u[:, [2, 0]])
    np.testing.assert_array_equal(both(path.t), path.u[:, [2, 0]])
    few = sml.solve(SIR, seed=1, saveat=times, save_idxs=[1], **NATIVE)
    np.testing.assert_array_equal(few.u[:, 0], saved.u[:, 1])
    ends = sml.solve(SIR, seed=1, save_everystep=False, **NATIVE)
    np.testing.assert_array_equal(ends.u, path.u[[0, -1]])


def test_the_seed_is_the_path():
    again, other = (sml.solve(SIR, seed=seed, saveat=10.0, **NATIVE) for seed in (1, 2))
    first = sml.solve(SIR, seed=1, saveat=10.0, **NATIVE)
    np.testing.assert_array_equal(first.u, again.u)
    assert (first.u != other.u).any()
    drawn = sml.solve(SIR, saveat=10.0, **NATIVE)
    same = sml.solve(SIR, saveat=10.0, seed=drawn.seed, **NATIVE)
    np.testing.assert_array_equal(drawn.u, same.u)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_ensemble_is_its_single_solves_in_any_number_of_threads(threads):
    found = sml.solve_ensemble(
        SIR, 100, saveat=50.0, seed=9, threads=threads, batch_size=7, progress=False, **NATIVE
    )
    assert found.success and found.u.shape == (100, 6, 3)
    for i in (0, 6, 7, 99):
        alone = sml.solve(SIR, seed=(9, i), saveat=50.0, **NATIVE)
        np.testing.assert_array_equal(found.u[i], alone.u)
    assert len(np.unique(found.u[:, -1, 2])) > 20


def test_an_ensemble_over_parameters_and_initial_states():
    gamma = np.array([0.01, 0.02, 1.0])
    u0 = np.array([[990, 10, 0], [500, 500, 0], [0, 10, 990]])
    found = sml.solve_ensemble(
        SIR, p={"gamma": gamma}, u0=u0, saveat=250.0, seed=3, progress=False, **NATIVE
    )
    for i in range(3):
        problem = SIR.remake(u0=u0[i], p={"beta": 1e-4, "gamma": gamma[i]})
        alone = sml.solve(problem, seed=(3, i), saveat=250.0, **NATIVE)
        np.testing.assert_array_equal(found.u[i], alone.u)
    np.testing.assert_array_equal(found.u[2, -1], [0, 0, 1000])


def test_statistics_of_an_ensemble_need_no_paths():
    found = sml.solve_ensemble(
        SIR, 500, saveat=50.0, seed=3, keep="statistics", progress=False, **NATIVE
    )
    np.testing.assert_allclose(found.mean.sum(axis=1), 1000.0, rtol=1e-12)


def test_where_nothing_can_happen_any_more_the_path_ends_well():
    problem = JumpProblem([Reaction(5.0, {0: 1})], [3], (0.0, 100.0))
    path = sml.solve(problem, seed=1, **NATIVE)
    assert path.retcode == "Success"
    np.testing.assert_array_equal(path.u[:, 0], [3, 2, 1, 0, 0])
    assert path.t[-1] == 100.0 and path.t[3] < 100.0
    still = sml.solve(problem.remake(u0=[0]), seed=1, saveat=25.0, **NATIVE)
    np.testing.assert_array_equal(still.u, np.zeros((5, 1)))


def test_a_reaction_waits_for_its_reactants_whatever_its_rate_says():
    """A rate that is constant would take 2 A at a time out of nothing."""
    problem = JumpProblem([Reaction(lambda u, p, t: 10.0, {0: 2}, {1: 1})], [7, 0], (0.0, 50.0))
    path = sml.solve(problem, seed=1, **NATIVE)
    np.testing.assert_array_equal(path.u[-1], [1, 3])


def test_states_of_any_shape():
    moves = [Reaction(1.0, {0: 1}, {3: 1}), Reaction(lambda u, p, t: u[1, 1], {3: 1}, {2: 1})]
    path = sml.solve(JumpProblem(moves, [[4, 0], [0, 0]], (0.0, 100.0)), seed=1, **NATIVE)
    assert path.u.shape == (len(path.t), 2, 2)
    np.testing.assert_array_equal(path.u[-1], [[0, 0], [4, 0]])
    alone = sml.solve(JumpProblem([Reaction(1.0, {0: 1})], 4, (0.0, 100.0)), seed=1, **NATIVE)
    np.testing.assert_array_equal(alone.u, [4, 3, 2, 1, 0, 0])


def test_a_pickled_problem_has_the_same_path(path):
    copy = pickle.loads(pickle.dumps(SIR))
    np.testing.assert_array_equal(sml.solve(copy, seed=1, **NATIVE).u, path.u)


def test_a_run_that_is_cut_short_keeps_what_it_has(path):
    cut = sml.solve(SIR, seed=1, maxiters=20, raise_on_failure=False, **NATIVE)
    assert cut.retcode == "MaxIters"
    np.testing.assert_array_equal(cut.u, path.u[:21])
    early = sml.solve(SIR, seed=1, maxiters=20, saveat=0.5, raise_on_failure=False, **NATIVE)
    np.testing.assert_array_equal(early.u, path(early.t))
    assert path.t[20] - 0.5 <= early.t[-1] < path.t[20]


def test_a_plot_has_steps(path):
    axes = path.plot("R")
    times, drawn = axes.lines[0].get_data()
    rises = np.flatnonzero(np.diff(drawn))
    assert rises.size == np.count_nonzero(np.diff(path.u[:, 2]))
    np.testing.assert_array_equal(times[rises], times[rises + 1])
