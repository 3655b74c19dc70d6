"""Statistics of states that come block by block and are not kept.

Count, mean, variance, smallest and largest value are exact to rounding. Quantiles are exact as long
as the states fit into `EXACT_BYTES`; beyond that, each number of the state at each time has a
t-digest of its own, whose quantiles are approximate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pysciml.engines.base import Array

EXACT_BYTES = 2**28
_CENTROIDS = 500  # of a digest: a rank is then off by less than 1e-3 in 1e6 numbers

_NO_DIGESTS = (
    "quantiles of {count:.3g} numbers that are not kept need the package fastdigest: pip install "
    "'pysciml[ensemble]'; or leave them out: quantiles=()"
)


@dataclass(frozen=True)
class Moments:
    """Of `count` trajectories, each an array of the same shape; `m2`: sum of squared deviations.

    Blocks are merged by T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", COMPSTAT 1982, 30-41.
    """

    count: int
    mean: Array
    m2: Array
    smallest: Array
    largest: Array

    @property
    def var(self) -> Array:
        """Unbiased (divided by count - 1); NaN for one trajectory."""
        return self.m2 / (self.count - 1) if self.count > 1 else np.full_like(self.m2, np.nan)


def no_moments(shape: tuple[int, ...]) -> Moments:
    """Moments of no trajectory."""
    nan = np.full(shape, np.nan)
    return Moments(0, nan, nan, nan, nan)


def moments_of(u: Array) -> Moments:
    """Of the trajectories u[0], u[1], ..."""
    if len(u) == 0:
        return no_moments(u.shape[1:])
    mean = u.mean(axis=0)
    return Moments(len(u), mean, np.square(u - mean).sum(axis=0), u.min(axis=0), u.max(axis=0))


def merged(a: Moments, b: Moments) -> Moments:
    """Of both sets of trajectories."""
    if a.count == 0 or b.count == 0:
        return a if b.count == 0 else b
    count = a.count + b.count
    step = b.mean - a.mean
    return Moments(
        count,
        a.mean + step * (b.count / count),
        a.m2 + b.m2 + np.square(step) * (a.count * b.count / count),
        np.minimum(a.smallest, b.smallest),
        np.maximum(a.largest, b.largest),
    )


class Quantiles(Protocol):
    """What takes blocks of trajectories and gives quantiles at the end."""

    exact: bool

    def add(self, u: Array) -> None: ...

    def finish(self, levels: Array) -> Array:
        """(len(levels), len(t), width)."""
        ...


def quantiles_for(n: int, shape: tuple[int, ...], levels: Array) -> Quantiles:
    """The keeper for n trajectories of a shape. ImportError: a package is missing."""
    numbers = n * int(np.prod(shape, dtype=np.int64))
    if len(levels) == 0 or numbers * 8 <= EXACT_BYTES:
        return _Kept(shape, bool(len(levels)))
    return _Digests(numbers, shape)


class _Kept:
    """All numbers are kept until the end."""

    def __init__(self, shape: tuple[int, ...], keep: bool) -> None:
        self.exact = True
        self._blocks: list[Array] = [np.empty((0, *shape))]
        self._keep = keep

    def add(self, u: Array) -> None:
        if self._keep:
            self._blocks.append(u.copy())

    def finish(self, levels: Array) -> Array:
        return quantiles_of(np.concatenate(self._blocks), levels)


class _Digests:
    """One t-digest for each number of a trajectory.

    T. Dunning, O. Ertl, "Computing extremely accurate quantiles using t-digests",
    arXiv:1902.04023 (2019); the package fastdigest.
    """

    def __init__(self, numbers: int, shape: tuple[int, ...]) -> None:
        try:
            from fastdigest import TDigest
        except ImportError:
            raise ImportError(_NO_DIGESTS.format(count=numbers)) from None
        self.exact = False
        self._shape = shape
        size = int(np.prod(shape, dtype=np.int64))
        self._digests: list[Any] = [TDigest(max_centroids=_CENTROIDS) for _ in range(size)]

    def add(self, u: Array) -> None:
        if len(u):
            columns = np.ascontiguousarray(u.reshape(len(u), -1).T)
            for digest, column in zip(self._digests, columns, strict=True):
                digest.batch_update(column)

    def finish(self, levels: Array) -> Array:
        if not self._digests or self._digests[0].is_empty():
            return np.full((len(levels), *self._shape), np.nan)
        found = [[digest.quantile(level) for digest in self._digests] for level in levels.tolist()]
        return np.array(found).reshape(len(levels), *self._shape)


def quantiles_of(u: Array, levels: Array) -> Array:
    """NumPy's quantiles over the trajectories u[0], u[1], ..., one time after the other."""
    if len(u) == 0:
        return np.full((len(levels), *u.shape[1:]), np.nan)
    found = np.empty((len(levels), *u.shape[1:]))
    for k in range(u.shape[1]):
        found[:, k] = np.quantile(u[:, k], levels, axis=0)
    return found
