"""Batches of an ensemble in Julia's threads, or in the processes of its Distributed."""

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
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.engines.julia.model import JuliaModel
    from pysciml.problems import Problem

# that threads solve
KINDS = (
    "ODEProblem",
    "SDEProblem",
    "DiscreteProblem",
    "JumpProblem",
    "JumpProblem of an ODEProblem",
    "JumpProblem of an SDEProblem",
)
DISTRIBUTED = "EnsembleDistributed"
_EXTENSION = "PySciMLDistributedExt"


def addprocs(processes: int | list[str]) -> int:
    """See `pysciml.julia.addprocs`."""
    session.extension(_EXTENSION)
    try:
        return int(session.module().addprocs(processes))
    except Exception as error:
        raise session.translated(error) from None


def solve_many(
    model: JuliaModel,
    problem: Problem,
    alg: str | None,
    options: SolveOptions,
    batch: Batch,
    out: Array,
    stop: NDArray[np.int64],
    how: EnsembleOptions,
    full: bool,
) -> RawBatch:
    """See `ManyEngine.solve_many`."""
    threads, distributed = _threads(how), how.ensemblealg == DISTRIBUTED
    if distributed:
        session.extension(_EXTENSION)
        if batch.first == 0 and session.module().processes() == 0:
            raise UnsupportedError(
                f"{DISTRIBUTED} needs processes: start them with pysciml.julia.addprocs(2)"
            )
    plan = model.plan(alg, options)
    u0, p = flat(once(batch.u0)), flat(once(batch.p))
    codes, work = np.empty(len(out), np.int64), np.zeros(6, np.int64)
    t0, t1 = problem.tspan
    failed = session.module().solve_many(
        plan.handle, _seed(problem, options), batch.first, address(u0), len(u0), address(p), len(p),
        p.shape[1], float(t0), float(t1), address(out), address(codes), address(work), len(out),
        address(stop), threads, distributed, full,
    )  # fmt: skip
    if failed:
        session.fail(failed)
    names = retcode_names()
    retcodes = [INTERRUPTED if code < 0 else names[code] for code in codes.tolist()]
    return RawBatch(out, np.array(retcodes, dtype=object), plan.title, Stats(*work.tolist()))


def _seed(problem: Problem, options: SolveOptions) -> int:
    if not problem.is_random:
        return -1
    assert options.seed is not None  # `solve_options` sees to it
    return options.seed


def check_distributed(
    how: EnsembleOptions, problem: Problem, options: SolveOptions, in_parts: bool
) -> None:
    """Refuse what does not travel to other processes; `in_parts`: two of a right-hand side."""
    travels = problem.kind == "ODEProblem" and not options.events and not in_parts
    if how.ensemblealg == DISTRIBUTED and not travels:
        raise UnsupportedError(
            f"{DISTRIBUTED} takes an ODEProblem without events, and methods that take it whole; "
            "executor= spreads any problem over several processes"
        )


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
