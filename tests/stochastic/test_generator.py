"""The random numbers: published vectors, SciPy's quantiles, and tests of independence."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import stats
from scipy.special import ndtri

from pysciml.engines.native.stochastic import brownian
from pysciml.engines.native.stochastic import common as s

ONES = 0xFFFFFFFFFFFFFFFF


@njit
def philox(first, second, key):
    return brownian.philox(first, second, key)


@njit
def quantiles(z, count):
    brownian.normal_quantiles(z, 0, count)


@njit
def draws(it, z, number, count):
    brownian.draw(it, z, 0, number, count)


def normals(seed, trajectory, m, count, first=0):
    """z1 and z2 of `count` nodes: (2, count, m)."""
    it = np.zeros(s.I_SDE_COUNT, dtype=np.int64)
    it[s.I_SEED], it[s.I_TRAJECTORY], it[s.I_M] = seed, trajectory, m
    z = np.zeros(8 * count * m)
    draws(it, z, first, count)
    return z[: 2 * count * m].reshape(2, count, m)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # kat_vectors of Random123 1.14, philox4x32 10
        ((0, 0), 0, ("6627e8d5 e169c58d", "bc57ac4c 9b00dbd8")),
        ((ONES, ONES), ONES, ("408f276d 41c83b0e", "a20bc7c6 6d5451fd")),
        (
            (0x85A308D3243F6A88, 0x0370734413198A2E),
            0x299F31D0A4093822,
            ("d16cfe09 94fdcceb", "5001e420 24126ea1"),
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, expected):
    found = philox(*(np.uint64(word) for word in (*counter, key)))
    words = [f"{int(x) & 0xFFFFFFFF:08x} {int(x) >> 32:08x}" for x in found]
    assert tuple(words) == expected


def test_the_normal_quantile_is_scipys():
    lower = np.concatenate([np.linspace(-0.4999, 0.0, 20_001), 10.0 ** -np.arange(1.0, 16.0) - 0.5])
    q = np.concatenate([lower, -lower])
    z = np.concatenate([q, np.zeros(3 * q.size)])
    quantiles(z, q.size)
    below, above = z[: q.size].reshape(2, -1)
    np.testing.assert_allclose(below, ndtri(lower + 0.5), rtol=1e-14, atol=1e-16)
    np.testing.assert_array_equal(above, -below)


def test_the_numbers_are_standard_normal():
    z = normals(seed=1, trajectory=0, m=1, count=100_000).ravel()
    assert stats.kstest(z, "norm").pvalue > 0.01
    edges = stats.norm.ppf(np.linspace(0.0, 1.0, 101))
    assert stats.chisquare(np.histogram(z, edges)[0]).pvalue > 0.01
    n = z.size  # moments, in units of their standard errors
    for power, exact, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - exact) < 3.3 * np.sqrt(variance / n)
    assert abs(np.abs(z).max() - np.sqrt(2 * np.log(n))) < 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": 1}, {"seed": 2}),
        ({"trajectory": 0}, {"trajectory": 1}),
        ({"trajectory": 7}, {"trajectory": 2**38}),
        ({"first": 0}, {"first": 50_000}),
    ],
    ids=["seed", "trajectory", "far trajectory", "node"],
)
def test_streams_are_independent(one, other):
    given = {"seed": 1, "trajectory": 0, "m": 1, "count": 50_000, "first": 0}
    a, b = normals(**given | one), normals(**given | other)
    assert not np.isin(a, b).any()
    for x, y in ((a[0], b[0]), (a[1], b[1]), (a[0], b[1]), (a[0] ** 2 - 1, b[0] ** 2 - 1)):
        correlation = (x * y).mean() / np.sqrt((x**2).mean() * (y**2).mean())
        assert abs(correlation) < 3.3 / np.sqrt(x.size)


def test_the_numbers_of_a_node_and_its_components_are_independent():
    z = normals(seed=3, trajectory=5, m=8, count=20_000)
    columns = np.concatenate([z[0], z[1]], axis=1)
    correlations = np.corrcoef(columns.T)[np.triu_indices(16, 1)]
    assert np.abs(correlations).max() < 4.2 / np.sqrt(len(columns))  # of 120
    lagged = (columns[1:] * columns[:-1]).mean(axis=0)
    assert np.abs(lagged).max() < 3.6 / np.sqrt(len(columns))  # of 16


def test_a_number_depends_on_its_place_alone():
    whole = normals(seed=9, trajectory=4, m=3, count=64)
    for first, count in ((0, 1), (5, 7), (40, 24)):
        np.testing.assert_array_equal(
            normals(seed=9, trajectory=4, m=3, count=count, first=first),
            whole[:, first : first + count],
        )
