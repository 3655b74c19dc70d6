"""Batches of trajectories on an engine that solves one at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import (
    INTERRUPTED,
    Array,
    Batch,
    Engine,
    RawBatch,
    SolveOptions,
    Stats,
)
from pysciml.problems import Problem


def solve_each(
    engine: Engine,
    problem: Problem,
    alg: str | None,
    options: SolveOptions,
    batch: Batch,
    out: Array,
    stop: NDArray[np.int64],
) -> RawBatch:
    """One solve for each trajectory; see `ManyEngine.solve_many`.

    Ctrl-C sets `stop` and leaves the rest of the batch.
    """
    assert options.saveat is not None
    out.fill(np.nan)
    retcodes = np.full(len(out), INTERRUPTED, dtype=object)
    stats, name = Stats(), alg or ""
    for k in range(len(out)):
        if stop[0]:
            break
        try:
            one = problem.at(batch.u0[k].copy(), batch.p[k].copy())
            raw = engine.solve(one, alg, replace(options, trajectory=batch.first + k))
        except KeyboardInterrupt:
            stop[0] = 1
            break
        out[k, : len(raw.u)] = raw.u
        if raw.retcode != "Success":  # where the solve stopped may have been saved, too
            there = np.isclose(raw.t, options.saveat[: len(raw.t)], rtol=1e-12, atol=0.0)
            out[k, : len(raw.u)][~there] = np.nan
        retcodes[k], name = raw.retcode, raw.alg
        stats = added(stats, raw.stats)
    return RawBatch(out, retcodes, name, stats)


def once(rows: Array) -> Array:
    """The rows; one of them when they are all the same."""
    return rows if rows.strides[0] else rows[:1]


def added(a: Stats, b: Stats) -> Stats:
    """The work of both."""
    return Stats(*(x + y for x, y in zip(a, b, strict=True)))
