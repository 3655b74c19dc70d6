"""Batches of an ensemble in Julia's threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import (
    INTERRUPTED,
    Array,
    Batch,
    EnsembleOptions,
    RawBatch,
    SolveOptions,
    Stats,
)
from pysciml.engines.batches import once
from pysciml.engines.julia import session
from pysciml.engines.julia.model import address, flat, retcode_names

if TYPE_CHECKING:
    from pysciml.engines.julia.model import JuliaModel
    from pysciml.problems import ODEProblem


def solve_many(
    model: JuliaModel,
    problem: ODEProblem,
    alg: str | None,
    options: SolveOptions,
    batch: Batch,
    out: Array,
    stop: NDArray[np.int64],
    how: EnsembleOptions,
    full: bool,
) -> RawBatch:
    """See `ManyEngine.solve_many`."""
    threads = _threads(how)
    plan = model.plan(alg, options)
    u0, p = flat(once(batch.u0)), flat(once(batch.p))
    codes, work = np.empty(len(out), np.int64), np.zeros(6, np.int64)
    t0, t1 = problem.tspan
    failed = session.module().solve_many(
        plan.handle, address(u0), len(u0), address(p), len(p), p.shape[1], float(t0), float(t1),
        address(out), address(codes), address(work), len(out), address(stop), threads, full,
    )  # fmt: skip
    if failed:
        session.fail(failed)
    names = retcode_names()
    retcodes = [INTERRUPTED if code < 0 else names[code] for code in codes.tolist()]
    return RawBatch(out, np.array(retcodes, dtype=object), plan.title, Stats(*work.tolist()))


def _threads(how: EnsembleOptions) -> int:
    """In how many of Julia's threads; 0 for all."""
    if how.threads is None:
        return 0
    there = int(session.main().Base.Threads.nthreads())
    if how.threads > there:
        raise ValueError(
            f"threads must be at most {there}, with which Julia was started "
            f"(PYTHON_JULIACALL_THREADS says with how many); got {how.threads}"
        )
    return how.threads
