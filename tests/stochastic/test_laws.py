"""Means, variances and covariances of many paths against the exact laws, with fixed seeds."""

from __future__ import annotations

import numpy as np
from equations import (
    MIXING,
    MU,
    SIGMA,
    correlated,
    geometric,
    ornstein_uhlenbeck,
)

import pysciml as sml

N = 20_000
SURE = 3.3  # standard errors


def final_states(problem, alg, n=N, **options):
    many = sml.solve_ensemble(
        problem, n, alg, "native", [problem.tspan[1]], seed=17, progress=False, **options
    )
    assert many.success
    return many.u[:, -1]


def standard_error(x):
    return x.std(axis=0, ddof=1) / np.sqrt(len(x))


def test_the_mean_of_geometric_brownian_motion():
    """Euler-Maruyama's own mean is (1 + mu dt)^steps, without any error."""
    u = final_states(geometric(), "EM", dt=1 / 32)[:, 0]
    assert abs(u.mean() - (1 + MU / 32) ** 32) < SURE * standard_error(u)
    log = np.log(final_states(geometric(), "SOSRI", reltol=1e-3, abstol=1e-3)[:, 0])
    assert abs(log.mean() - (MU - SIGMA**2 / 2)) < SURE * standard_error(log)
    assert abs(log.var() - SIGMA**2) < SURE * SIGMA**2 * np.sqrt(2 / N)


def test_the_interpretations_differ_by_the_noise_induced_drift():
    ito = final_states(geometric(), "RKMil", dt=1 / 64)[:, 0]
    stratonovich = final_states(geometric("diagonal", "stratonovich"), "RKMil", dt=1 / 64)[:, 0]
    assert abs(ito.mean() - np.exp(MU)) < SURE * standard_error(ito) + 1e-3
    exact = np.exp(MU + SIGMA**2 / 2)
    assert abs(stratonovich.mean() - exact) < SURE * standard_error(stratonovich) + 1e-3
    ratio = stratonovich / ito  # the noise is the same
    np.testing.assert_allclose(ratio.mean(), np.exp(SIGMA**2 / 2), rtol=2e-3)


def test_the_stationary_variance_of_the_ornstein_uhlenbeck_process():
    problem = ornstein_uhlenbeck()
    theta, s = problem.p["theta"], problem.p["s"]
    exact = s**2 / (2 * theta) * (1 - np.exp(-8 * theta))
    for alg, options in (("SOSRA", {"abstol": 1e-2}), ("SRA1", {"dt": 1 / 16, "adaptive": False})):
        u = final_states(problem, alg, **options)[:, 0]
        assert abs(u.mean() - np.exp(-4 * theta)) < SURE * np.sqrt(exact / N)
        assert abs(u.var() - exact) < SURE * exact * np.sqrt(2 / N)


def test_the_covariance_of_general_noise():
    u = final_states(correlated(), "EM", dt=1 / 4)
    exact = MIXING @ MIXING.T
    spread = np.sqrt(np.outer(np.diag(exact), np.diag(exact)) + exact**2)
    assert (np.abs(np.cov(u.T) - exact) < SURE * spread / np.sqrt(N)).all()


def test_trajectories_are_independent():
    """Neighbours, distant ones, and the entries of one, by their driving noise."""
    u = np.log(final_states(geometric(n=4), "EM", dt=1 / 64))
    u = (u - u.mean(axis=0)) / u.std(axis=0)
    entries = np.corrcoef(u.T)[np.triu_indices(4, 1)]
    assert np.abs(entries).max() < SURE / np.sqrt(N)
    for lag in (1, 2, 3, 64, 1024):
        correlations = (u[lag:] * u[:-lag]).mean(axis=0)
        assert np.abs(correlations).max() < 4.0 / np.sqrt(N - lag)
