"""Statistics that are computed as the batches come, against NumPy's of all states."""

from __future__ import annotations

import numpy as np
import pytest

import pysciml as sml
from pysciml.ensemble import statistics

HOW = {"engine": "native", "saveat": 0.5, "progress": False, "abstol": 1e-8, "reltol": 1e-8}
LEVELS = (0.025, 0.25, 0.5, 0.9)


@pytest.fixture(scope="module")
def both(decay):
    """The same ensemble, kept and not kept, and one that is not kept and approximate."""
    p = np.random.default_rng(3).gamma(2.0, 0.5, size=4000)
    how = {**HOW, "p": p, "quantiles": LEVELS}
    kept = sml.solve_ensemble(decay, **how)
    exact = sml.solve_ensemble(decay, keep="statistics", batch_size=333, **how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "EXACT_BYTES", 1000)
        digested = sml.solve_ensemble(decay, keep="statistics", batch_size=333, **how)
    return kept, exact, digested


def test_moments_are_those_of_the_kept_states(both):
    kept, *others = both
    for each in (kept, *others):
        assert each.count == 4000
        np.testing.assert_allclose(each.mean, kept.u.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(each.var, kept.u.var(axis=0, ddof=1), rtol=1e-11)
        np.testing.assert_allclose(each.std, kept.u.std(axis=0, ddof=1), rtol=1e-11)
        np.testing.assert_array_equal(each.min, kept.u.min(axis=0))
        np.testing.assert_array_equal(each.max, kept.u.max(axis=0))


def test_moments_are_those_of_the_distribution(both):
    """u = exp(-p t) with p of Gamma(2, 1/2) has the mean (1 + t/2)^-2."""
    kept, exact, _ = both
    t = kept.t[:, None]
    error = 5.0 * np.sqrt(exact.var / 4000)
    assert (np.abs(exact.mean - (1.0 + t / 2.0) ** -2) <= error).all()
    assert error[1:].max() < 0.03


def test_quantiles_are_numpys_while_they_fit(both):
    kept, exact, _ = both
    expected = np.quantile(kept.u, LEVELS, axis=0)
    assert kept.exact_quantiles and exact.exact_quantiles
    np.testing.assert_array_equal(kept.quantiles, expected)
    np.testing.assert_array_equal(exact.quantiles, expected)
    np.testing.assert_array_equal(exact.quantile(0.25), expected[1])
    np.testing.assert_array_equal(kept.median, np.median(kept.u, axis=0))
    np.testing.assert_array_equal(kept.quantile(0.33), np.quantile(kept.u, 0.33, axis=0))


def test_digests_are_within_their_rank_error(both):
    kept, _, digested = both
    assert not digested.exact_quantiles
    for level, found in zip(LEVELS, digested.quantiles, strict=True):
        rank = (kept.u[:, 1:] <= found[1:]).mean(axis=0)
        np.testing.assert_allclose(rank, level, atol=1e-3)
    np.testing.assert_array_equal(digested.quantiles[:, 0], 1.0)


def test_the_first_trajectories_are_kept_for_pictures(both):
    kept, exact, _ = both
    assert exact.u is None
    np.testing.assert_array_equal(exact.examples, kept.u[:50])
    with pytest.raises(ValueError, match="u was not kept"):
        exact[0]


def test_failures_are_left_out_of_the_statistics(blow_up):
    p = np.array([0.5, 2.0, 0.25, 1.5])
    for keep in ("all", "statistics"):
        with pytest.warns(RuntimeWarning, match="2 of 4 trajectories did not succeed"):
            ensemble = sml.solve_ensemble(blow_up, p=p, keep=keep, batch_size=1, **HOW)
        assert ensemble.count == 2
        ends = np.array([1.0 / (1.0 - 0.5), 1.0 / (1.0 - 0.25)])
        np.testing.assert_allclose(ensemble.mean[-1, 0], ends.mean(), rtol=1e-6)
        np.testing.assert_allclose(ensemble.var[-1, 0], ends.var(ddof=1), rtol=1e-5)
        np.testing.assert_allclose(ensemble.quantile(0.5)[-1, 0], np.median(ends), rtol=1e-6)


def test_one_trajectory_has_a_mean_and_no_variance(decay):
    for keep in ("all", "statistics"):
        ensemble = sml.solve_ensemble(decay, 1, keep=keep, **HOW)
        np.testing.assert_allclose(ensemble.mean[:, 0], np.exp(-ensemble.t), rtol=1e-6)
        assert np.isnan(ensemble.var).all()


def test_none_succeeds(blow_up):
    for keep in ("all", "statistics"):
        with pytest.warns(RuntimeWarning, match="2 of 2 trajectories"):
            ensemble = sml.solve_ensemble(blow_up, p=[2.0, 3.0], keep=keep, **HOW)
        assert ensemble.count == 0
        assert np.isnan(ensemble.mean).all() and np.isnan(ensemble.quantiles).all()


def test_merging_is_stable_far_from_zero(rng):
    u = 1e9 + rng.normal(size=(999, 4))
    total = statistics.no_moments((4,))
    for part in np.array_split(u, 13):
        total = statistics.merged(total, statistics.moments_of(part))
    np.testing.assert_allclose(total.var, u.var(axis=0, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(total.mean - 1e9, (u - 1e9).mean(axis=0), atol=1e-6)
