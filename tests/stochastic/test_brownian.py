"""The virtual Brownian tree: one path whatever is asked of it, and with the right law."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from pysciml.engines.native.stochastic import brownian
from pysciml.engines.native.stochastic import common as s

END = 2**brownian.DEPTH


@njit
def _increments(it, tree, firsts, lasts, out):
    brownian.plant(it, tree)
    for i in range(firsts.size):
        at = brownian.increment(it, tree, firsts[i], lasts[i])
        for j in range(out.shape[1]):
            out[i, j] = tree[at + j]


class Path:
    """W and H of a path over `root` units of time, asked in any order."""

    def __init__(self, m=1, root=1.0, seed=1, trajectory=0, level=None):
        self.it = np.zeros(s.I_SDE_COUNT, dtype=np.int64)
        self.it[s.I_M], self.it[s.I_SEED], self.it[s.I_TRAJECTORY] = m, seed, trajectory
        if level is not None:
            self.it[s.I_GRID] = END >> level
        self.m, self.root = m, root
        self.tree = brownian.new_tree(self.it, root, brownian.DEPTH)

    def increments(self, firsts, lasts):
        """w and H, (len(firsts), m) each."""
        firsts, lasts = (np.asarray(x, dtype=np.int64) for x in (firsts, lasts))
        out = np.zeros((firsts.size, 2 * self.m))
        _increments(self.it, self.tree, firsts, lasts, out)
        return out[:, : self.m], out[:, self.m :]

    def along(self, ticks):
        return self.increments(ticks[:-1], ticks[1:])


def integral(w, h, length):
    """of W - W(start) over each interval"""
    return length[:, None] * (0.5 * w + h)


def ticks_of(count, seed):
    inner = np.random.default_rng(seed).integers(1, END, count)
    return np.unique(np.concatenate([[0, END], inner]))


@pytest.mark.parametrize("level", [None, 5])
def test_the_path_does_not_depend_on_the_steps(level):
    fine = np.unique(np.concatenate([ticks_of(60, 0), np.arange(33) * (END >> 5)]))
    coarse = fine[::7] if level is None else np.arange(33) * (END >> 5)
    if coarse[-1] != END:
        coarse = np.append(coarse, END)
    w, h = Path(m=3, root=2.0, level=level).along(fine)
    wc, hc = Path(m=3, root=2.0).along(coarse)
    length, lengthc = np.diff(fine) / END * 2.0, np.diff(coarse) / END * 2.0
    path = np.vstack([np.zeros(3), np.cumsum(w, axis=0)])
    at = np.searchsorted(fine, coarse)
    np.testing.assert_allclose(np.diff(path[at], axis=0), wc, atol=1e-14)
    area = np.vstack(
        [np.zeros(3), np.cumsum(integral(w, h, length) + length[:, None] * path[:-1], 0)]
    )
    expected = np.diff(area[at], axis=0) - lengthc[:, None] * path[at[:-1]]
    np.testing.assert_allclose(integral(wc, hc, lengthc), expected, atol=1e-14)


def test_the_order_of_the_questions_does_not_matter():
    ticks = ticks_of(40, 1)
    w, h = Path().along(ticks)
    order = np.random.default_rng(2).permutation(len(ticks) - 1)
    shuffled = Path().increments(ticks[:-1][order], ticks[1:][order])
    np.testing.assert_array_equal(shuffled[0], w[order])
    np.testing.assert_array_equal(shuffled[1], h[order])


def test_increments_have_the_law_of_brownian_motion():
    """Means, variances and correlations of w and H, over steps of the grid and over odd ones."""
    m = 20_000
    ticks = np.array([0, END // 8, END // 4, END // 3, END // 2 + 12345, END])
    w, h = Path(m=m, root=3.0, seed=11).along(ticks)
    length = np.diff(ticks) / END * 3.0
    scaled = np.concatenate([w / np.sqrt(length)[:, None], h / np.sqrt(length / 12.0)[:, None]])
    assert np.abs(scaled.mean(axis=1)).max() < 3.3 / np.sqrt(m)
    covariance = scaled @ scaled.T / m
    assert np.abs(covariance - np.eye(len(scaled))).max() < 4.0 * np.sqrt(2.0 / m)


def test_a_longer_root_is_another_path_and_a_grid_is_not():
    ticks = np.arange(17) * (END >> 4)
    plain, _ = Path().along(ticks)
    grid, _ = Path(level=4).along(ticks)
    np.testing.assert_array_equal(plain, grid)
    longer, _ = Path(root=4.0).along(ticks)
    np.testing.assert_allclose(longer, 2.0 * plain, rtol=1e-14)  # the same numbers, scaled
