"""Tau-leaping against exact laws. Seeds are fixed; p-values above 1 %, means within four errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import pysciml as sml
from pysciml import JumpProblem, Reaction

N = 20_000
ENSEMBLE = {"engine": "native", "progress": False}
PEOPLE = 100_000
SIR = JumpProblem(
    [Reaction(0.1 / PEOPLE, {"S": 1, "I": 1}, {"I": 2}), Reaction(0.02, {"I": 1}, {"R": 1})],
    [0.99 * PEOPLE, 0.01 * PEOPLE, 0], (0.0, 100.0), names=["S", "I", "R"],
)  # fmt: skip


@pytest.mark.parametrize("mean", [0.3, 9.0, 11.0, 60.0, 5000.0])
def test_one_leap_where_nothing_changes_is_a_poisson_number(mean):
    problem = JumpProblem([Reaction(mean, None, {0: 1})], 0, (0.0, 1.0))
    found = sml.solve_ensemble(problem, N, "TauLeaping", saveat=[1.0], seed=1, **ENSEMBLE)
    assert found.stats.naccept == N
    sample = found.u[:, 0]
    edges = np.unique(stats.poisson.ppf(np.linspace(0.0, 1.0, 42)[1:-1], mean))
    observed = np.bincount(np.searchsorted(edges, sample), minlength=edges.size + 1)
    below = np.append(stats.poisson.cdf(edges, mean), 1.0)
    assert stats.chisquare(observed, N * np.diff(below, prepend=0.0)).pvalue > 0.01


@pytest.mark.parametrize("dt", [0.5, 0.25])
def test_the_mean_of_fixed_leaps_is_eulers(dt):
    """Each leap leaves (1 - dt) of them on average."""
    start = 1_000_000
    problem = JumpProblem([Reaction(1.0, {0: 1})], start, (0.0, 2.0))
    found = sml.solve_ensemble(problem, 400, "TauLeaping", dt=dt, saveat=[2.0], seed=2, **ENSEMBLE)
    assert found.stats.naccept == 400 * 2.0 / dt
    alive = found.u[:, 0]
    euler = start * (1.0 - dt) ** (2.0 / dt)
    assert abs(alive.mean() - euler) < 4.0 * alive.std() / math.sqrt(400)
    assert abs(euler - start * math.exp(-2.0)) > 100.0 * alive.std() / math.sqrt(400)


def test_few_are_followed_exactly():
    problem = JumpProblem([Reaction(0.3, {0: 1})], 30, (0.0, 2.0))
    found = sml.solve_ensemble(problem, N, "TauLeaping", saveat=[2.0], seed=3, **ENSEMBLE)
    expected = N * stats.binom.pmf(np.arange(31), 30, math.exp(-0.6))
    observed = np.bincount(found.u[:, 0].astype(int), minlength=31)
    common = expected > 5.0
    assert stats.chisquare(observed[common], expected[common], sum_check=False).pvalue > 0.01


def test_leaps_of_an_epidemic_are_near_the_exact_paths():
    how = {"saveat": [50.0, 100.0], "seed": 4, **ENSEMBLE}
    exact = sml.solve_ensemble(SIR, 100, **how)
    apart = {}
    for epsilon in (0.03, 0.003):
        leaping = sml.solve_ensemble(
            SIR, 100, "TauLeaping", alg_options={"epsilon": epsilon}, **how
        )
        assert leaping.stats.naccept < 0.2 * exact.stats.naccept
        np.testing.assert_array_equal(leaping.u.sum(axis=2), PEOPLE)
        apart[epsilon] = np.abs(leaping.mean - exact.mean).max() / PEOPLE
        np.testing.assert_allclose(leaping.std, exact.std, rtol=0.4)
    assert apart[0.003] < 0.3 * apart[0.03] < 0.3 * 0.02


def test_no_number_becomes_negative_however_long_the_leaps():
    """Two reactions compete for the last A; a leap of 1.0 would take all of them 3 times."""
    problem = JumpProblem(
        [Reaction(1.0, {"A": 2}, {"B": 1}), Reaction(3.0, {"A": 1}, {"C": 1})],
        [5000, 0, 0], (0.0, 20.0), names=["A", "B", "C"],
    )  # fmt: skip
    found = sml.solve_ensemble(problem, 200, "TauLeaping", dt=1.0, saveat=1.0, seed=5, **ENSEMBLE)
    assert (found.u >= 0.0).all() and (found.u == np.floor(found.u)).all()
    np.testing.assert_array_equal(found.u @ [1, 2, 1], 5000)
    np.testing.assert_array_equal(found.u[:, -1, 0], 0)


def test_a_rate_that_is_a_function_limits_the_leap():
    """Its decay would be missed by a leap to the end; from 1000 on the way is 1000/(1 + t)."""
    problem = JumpProblem([Reaction(lambda u, p, t: u * u / 1e6, {0: 1})], 1_000_000, (0.0, 3.0))
    found = sml.solve(problem, "TauLeaping", engine="native", saveat=1.0, seed=6)
    np.testing.assert_allclose(found.u, 1e6 / (1.0 + found.t), rtol=0.03)
    assert 20 < found.stats.naccept < 2000


@pytest.mark.parametrize("threads", [1, 3])
def test_an_ensemble_is_its_single_solves_in_any_number_of_threads(threads):
    found = sml.solve_ensemble(
        SIR, 20, "TauLeaping", saveat=20.0, seed=7, threads=threads, batch_size=3, **ENSEMBLE
    )
    for i in (0, 5, 19):
        alone = sml.solve(SIR, "TauLeaping", engine="native", seed=(7, i), saveat=20.0)
        np.testing.assert_array_equal(found.u[i], alone.u)
