"""Where the results of batches gather: states, or only their statistics."""

from __future__ import annotations

import numpy as np

from pysciml.engines.base import INTERRUPTED, Array, Batch, RawBatch, SolveOptions, Stats
from pysciml.engines.batches import added
from pysciml.ensemble.inputs import Starts
from pysciml.ensemble.solution import Found
from pysciml.ensemble.statistics import Quantiles, merged, moments_of, no_moments, quantiles_for

EXAMPLES = 50  # trajectories that are kept for plots when the others are not


class Store:
    """Takes in the results of batches: states or their statistics, and retcodes."""

    def __init__(self, begin: Starts, options: SolveOptions, keep: str, levels: Array) -> None:
        assert options.saveat is not None
        kept = options.save_idxs
        self.width = begin.problem.u0.size if kept is None else len(kept)
        self.times = len(options.saveat)
        self.levels = levels
        shape = (self.times, self.width)
        self._u: Array | None = None
        self._quantiles: Quantiles | None = None
        if keep == "all":
            self._u = np.empty((begin.n, *shape))
            self._examples = self._u[:EXAMPLES]
        else:
            self._quantiles = quantiles_for(begin.n, shape, levels)
            self._examples = np.full((min(EXAMPLES, begin.n), *shape), np.nan)
        self._moments = no_moments(shape)
        self._retcodes = np.full(begin.n, INTERRUPTED, dtype=object)
        self._received = np.zeros(begin.n, dtype=bool)
        self._stats = Stats()
        self._alg = ""

    def room(self, batch: Batch) -> Array:
        """Where the states of a batch are to be written."""
        count = len(batch.u0)
        if self._u is not None:
            return self._u[batch.first : batch.first + count]
        return np.empty((count, self.times, self.width))

    def add(self, batch: Batch, raw: RawBatch) -> None:
        rows = slice(batch.first, batch.first + len(raw.retcodes))
        self._retcodes[rows] = raw.retcodes
        self._received[rows] = True
        self._stats = added(self._stats, raw.stats)
        self._alg = self._alg or raw.alg
        if self._u is not None:
            if not np.shares_memory(raw.u, self._u):
                self._u[rows] = raw.u
            return
        assert self._quantiles is not None
        examples = self._examples[rows]
        examples[:] = raw.u[: len(examples)]
        good = raw.u[raw.retcodes == "Success"]
        self._moments = merged(self._moments, moments_of(good))
        self._quantiles.add(good)

    def found(self) -> Found:
        """What there is now; batches that never came are as they are after Ctrl-C."""
        if self._u is not None:
            self._u[~self._received] = np.nan
            return Found(
                self._u, self._examples, self._retcodes, None, None, True, self._stats, self._alg
            )
        assert self._quantiles is not None
        return Found(
            None,
            self._examples,
            self._retcodes,
            self._moments,
            self._quantiles.finish(self.levels),
            self._quantiles.exact,
            self._stats,
            self._alg,
        )
