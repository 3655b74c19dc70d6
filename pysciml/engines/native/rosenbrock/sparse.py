"""Patterns, colourings and orderings: what makes a large Jacobian cheap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray
from scipy.sparse.csgraph import reverse_cuthill_mckee

Ints = NDArray[np.int64]

# A band LU costs about 2*n*kl*(kl + ku) operations, at LAPACK's speed; SuperLU works on far fewer
# entries, but with Python between its calls and at a slower rate.
_BAND_ALWAYS = 2e6
_BAND_MOST = 4e8
_SPARSE_DENSITY = 0.25


@dataclass(frozen=True)
class Pattern:
    """A pattern of W, closed under transposition and with a full diagonal, by columns.

    `colors[j]` < `n_colors`: columns of one colour have no row in common. `perm[new] = old`:
    reverse Cuthill-McKee; `kl`, `ku`: bandwidths after it. `packed`: all of it in one array, as
    `rosenbrock` reads it.
    """

    n: int
    indptr: Ints
    indices: Ints
    colors: Ints
    n_colors: int
    perm: Ints
    kl: int
    ku: int
    packed: Ints

    @property
    def nnz(self) -> int:
        return len(self.indices)

    @property
    def kind(self) -> str:
        """The linear algebra that suits it: dense, banded or sparse."""
        if self.nnz > _SPARSE_DENSITY * self.n * self.n:
            return "dense"
        work = 2.0 * self.n * (self.kl + 1) * (self.kl + self.ku + 1)
        return "banded" if work < _BAND_ALWAYS or self._band_pays(work) else "sparse"

    def _band_pays(self, work: float) -> bool:
        return work < _BAND_MOST and self.kl + self.ku < 0.5 * self.n


def pattern_of(sparsity: Any, mass: Any = None) -> Pattern:
    """Analyse the pattern of J, (n, n), together with that of the mass matrix."""
    jacobian = sp.csr_matrix(sparsity).astype(bool)
    n = jacobian.shape[0]
    whole = jacobian + sp.identity(n, dtype=bool, format="csr")
    if mass is not None:
        whole = whole + sp.csr_matrix(mass).astype(bool)
    columns = sp.csc_matrix(whole)
    columns.sort_indices()
    indptr, indices = columns.indptr.astype(np.int64), columns.indices.astype(np.int64)
    by_rows = sp.csr_matrix(whole)
    colors = np.full(n, -1, dtype=np.int64)
    n_colors = int(
        _color(
            n,
            indptr,
            indices,
            by_rows.indptr.astype(np.int64),
            by_rows.indices.astype(np.int64),
            colors,
            np.full(n + 1, -1, dtype=np.int64),
        )
    )
    symmetric = sp.csr_matrix(whole + whole.T)
    perm = np.asarray(reverse_cuthill_mckee(symmetric, symmetric_mode=True), dtype=np.int64)
    inverse = np.empty(n, dtype=np.int64)
    inverse[perm] = np.arange(n)
    offset = inverse[indices] - inverse[np.repeat(np.arange(n), np.diff(indptr))]
    kl, ku = int(max(offset.max(), 0)), int(max(-offset.min(), 0))
    packed = np.concatenate([colors, perm, inverse, indptr, indices])
    return Pattern(n, indptr, indices, colors, n_colors, perm, kl, ku, packed)


@njit(cache=True, nogil=True)
def _color(n, indptr, indices, rowptr, cols, colors, seen):  # type: ignore[no-untyped-def]
    """Greedy distance-2 colouring of the columns; returns the number of colours.

    `seen[c] == j`: colour c is taken by a column that shares a row with column j.
    """
    count = 0
    for j in range(n):
        for k in range(indptr[j], indptr[j + 1]):
            row = indices[k]
            for l in range(rowptr[row], rowptr[row + 1]):
                color = colors[cols[l]]
                if color >= 0:
                    seen[color] = j
        color = 0
        while color < count and seen[color] == j:
            color += 1
        colors[j] = color
        count = max(count, color + 1)
    return count
