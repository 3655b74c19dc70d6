"""Jump processes against their exact laws. Seeds are fixed, so nothing here is left to chance.

Means lie within four standard errors, p-values of goodness-of-fit tests above 1 %.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import pysciml as sml
from pysciml import JumpProblem, Reaction

N = 20_000
ENSEMBLE = {"engine": "native", "progress": False}


def assert_moments(sample, mean, variance):
    """The exact mean and variance, each within four standard errors of the sample's."""
    n = len(sample)
    assert abs(sample.mean() - mean) < 4.0 * sample.std() / math.sqrt(n)
    centred = (sample - sample.mean()) ** 2
    assert abs(centred.mean() - variance) < 4.0 * centred.std() / math.sqrt(n)


def assert_law(sample, probabilities):
    """Counts 0, 1, ... of a sample against their probabilities: a chi-squared test."""
    expected = np.append(probabilities, max(0.0, 1.0 - probabilities.sum())) * len(sample)
    observed = np.bincount(sample.astype(int), minlength=expected.size)
    assert observed.size == expected.size
    common = expected >= 5.0
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(expected[common], expected[~common].sum())
    if expected[-1] < 5.0:
        observed = np.append(observed[:-2], observed[-2:].sum())
        expected = np.append(expected[:-2], expected[-2:].sum())
    assert stats.chisquare(observed, expected, sum_check=False).pvalue > 0.01


def test_mean_and_variance_of_a_birth_death_process():
    birth, death, n0, t = 0.6, 0.4, 20, np.array([1.0, 4.0])
    problem = JumpProblem(
        [Reaction("birth", {"A": 1}, {"A": 2}), Reaction("death", {"A": 1})],
        [n0], (0.0, 4.0), {"birth": birth, "death": death}, names=["A"],
    )  # fmt: skip
    found = sml.solve_ensemble(problem, N, saveat=t, seed=1, **ENSEMBLE)
    growth = np.exp((birth - death) * t)
    variance = n0 * (birth + death) / (birth - death) * growth * (growth - 1.0)
    for i in range(2):
        assert_moments(found.u[:, i, 0], n0 * growth[i], variance[i])


def test_immigration_and_death_are_poisson_at_all_times():
    problem = JumpProblem([Reaction(10.0, None, {0: 1}), Reaction(0.5, {0: 1})], [0], (0.0, 40.0))
    found = sml.solve_ensemble(problem, N, saveat=[0.7, 40.0], seed=2, **ENSEMBLE)
    for i, time in enumerate((0.7, 40.0)):
        mean = 10.0 / 0.5 * (1.0 - math.exp(-0.5 * time))
        assert_moments(found.u[:, i, 0], mean, mean)
        assert_law(found.u[:, i, 0], stats.poisson.pmf(np.arange(80), mean))


def test_stationary_law_along_one_path():
    problem = JumpProblem([Reaction(3.0, None, {0: 1}), Reaction(1.0, {0: 1})], [3], (0.0, 20_000))
    found = sml.solve(problem, engine="native", saveat=10.0, seed=3)
    assert_law(found.u[1:, 0], stats.poisson.pmf(np.arange(25), 3.0))


def test_pure_death_is_binomial():
    problem = JumpProblem([Reaction(0.3, {0: 1})], 30, (0.0, 2.0))
    found = sml.solve_ensemble(problem, N, saveat=[2.0], seed=4, **ENSEMBLE)
    alive = math.exp(-0.6)
    assert found.u.shape == (N, 1)
    assert_moments(found.u[:, 0], 30 * alive, 30 * alive * (1.0 - alive))
    assert_law(found.u[:, 0], stats.binom.pmf(np.arange(31), 30, alive))


def test_waiting_times_are_exponential_and_choices_independent_of_them():
    rates = (0.5, 1.5, 4.0)
    problem = JumpProblem(
        [Reaction(rate, None, {j: 1}) for j, rate in enumerate(rates)], [0, 0, 0], (0.0, 4000.0)
    )
    path = sml.solve(problem, engine="native", seed=5)
    waited = np.diff(path.t)[:-1]  # the last row is the end of tspan
    which = np.diff(path.u, axis=0)[:-1].argmax(axis=1)
    assert stats.kstest(waited, "expon", args=(0.0, 1.0 / 6.0)).pvalue > 0.01
    expected = np.array(rates) / 6.0 * which.size
    assert stats.chisquare(np.bincount(which), expected).pvalue > 0.01
    for j in range(3):
        assert stats.kstest(waited[which == j], "expon", args=(0.0, 1.0 / 6.0)).pvalue > 0.01


def generator(states, jumps):
    """Of the master equation dP/dt = Q P; `jumps`: pairs of a propensity and a change."""
    where = {state: i for i, state in enumerate(states)}
    q = np.zeros((len(states), len(states)))
    for state, i in where.items():
        for propensity, change in jumps:
            after = tuple(np.add(state, change))
            if propensity(*state) > 0.0 and after in where:
                q[where[after], i] += propensity(*state)
                q[i, i] -= propensity(*state)
    return q


def test_orders_of_mass_action_against_the_master_equation():
    """2 A -> B, B -> 2 A, A + B -> C, 3 A -> C, from 9 A: the law of A at t = 1."""
    reactions = [
        Reaction(0.08, {"A": 2}, {"B": 1}),
        Reaction(0.5, {"B": 1}, {"A": 2}),
        Reaction("bind", {"A": 1, "B": 1}, {"C": 1}),
        Reaction(0.02, {"A": 3}, {"C": 1}),
    ]
    problem = JumpProblem(reactions, [9, 0, 0], (0.0, 1.0), {"bind": 0.1}, names=["A", "B", "C"])
    found = sml.solve_ensemble(problem, N, saveat=[1.0], seed=6, **ENSEMBLE)
    states = list(itertools.product(range(10), range(5), range(6)))
    q = generator(
        states,
        [
            (lambda a, b, c: 0.08 * a * (a - 1) / 2, (-2, 1, 0)),
            (lambda a, b, c: 0.5 * b, (2, -1, 0)),
            (lambda a, b, c: 0.1 * a * b, (-1, -1, 1)),
            (lambda a, b, c: 0.02 * a * (a - 1) * (a - 2) / 6, (-3, 0, 1)),
        ],
    )
    law = expm(q)[:, states.index((9, 0, 0))].reshape(10, 5, 6)
    assert law.sum() == pytest.approx(1.0, abs=1e-12)
    assert_law(found.u[:, 0, 0], law.sum(axis=(1, 2)))
    assert_law(found.u[:, 0, 1], law.sum(axis=(0, 2)))
    assert_law(found.u[:, 0, 2], law.sum(axis=(0, 1)))


def test_rates_that_are_functions_against_the_master_equation():
    """A gene that represses itself, in NumPy; and decay of a saturated enzyme, in plain Python."""

    def made(u, p, t):
        return p["k"] * np.exp(-u[0] / p["scale"])

    def decayed(u, p, t):
        return p["v"] * u[0] / (2.0 + u[0])

    problem = JumpProblem(
        [Reaction(made, None, {0: 1}), Reaction(decayed, {0: 1})],
        [5], (0.0, 3.0), {"k": 4.0, "scale": 6.0, "v": 2.0},
    )  # fmt: skip
    found = sml.solve_ensemble(problem, N, saveat=[3.0], seed=7, **ENSEMBLE)
    states = [(a,) for a in range(40)]
    q = generator(
        states,
        [
            (lambda a: 4.0 * math.exp(-a / 6.0), (1,)),
            (lambda a: 2.0 * a / (2.0 + a), (-1,)),
        ],
    )
    assert_law(found.u[:, 0, 0], expm(3.0 * q)[:, 5])


def test_an_epidemic_among_many_follows_its_ordinary_differential_equation():
    n, beta, gamma = 1_000_000, 0.5, 0.2
    problem = JumpProblem(
        [Reaction(beta / n, {"S": 1, "I": 1}, {"I": 2}), Reaction(gamma, {"I": 1}, {"R": 1})],
        [0.99 * n, 0.01 * n, 0], (0.0, 60.0), names=["S", "I", "R"],
    )  # fmt: skip
    found = sml.solve(problem, engine="native", saveat=5.0, seed=8)
    limit = solve_ivp(
        lambda t, x: [-beta * x[0] * x[1], beta * x[0] * x[1] - gamma * x[1], gamma * x[1]],
        (0.0, 60.0), [0.99, 0.01, 0.0], rtol=1e-10, atol=1e-12, t_eval=found.t,
    )  # fmt: skip
    distance = np.abs(found.u / n - limit.y.T).max()
    assert 1e-5 < distance < 5.0 / math.sqrt(n)
    assert found.stats.naccept > n
