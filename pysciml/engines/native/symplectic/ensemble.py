"""Many trajectories by a symplectic method, one after the other in compiled code."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pysciml.engines.base import Array, Batch, RawBatch, SolveOptions
from pysciml.engines.native.batch import (
    LAST,
    N_P,
    NEXT,
    P_STEP,
    SIZE,
    restart,
    settle,
)
from pysciml.engines.native.common import AGAIN, DONE, ENTRY, I_CHUNK, I_N, signature
from pysciml.engines.native.ensemble import CHUNK, ManyDrive
from pysciml.engines.native.methods import Method
from pysciml.engines.native.symplectic import run as symplectic
from pysciml.engines.native.symplectic.run import ROW_LOW, ROWS, SymplecticDrive
from pysciml.problems import ODEProblem


@njit(signature("int64", "iiFIIFFFFFFFFFIFIFFFIIIII"), **ENTRY)
def symplectic_many(  # type: ignore[no-untyped-def]
    f1, f2, fl, it, tab, coef, buf, work1, work2, saveat, tstops, t_out, d_t, d_c, idxs,
    fl_start, it_start, u0s, ps, out, codes, sums, counters, at, stop,
):  # fmt: skip
    """`ensemble.explicit_many` for `symplectic.run`, which asks nothing of Python here."""
    while at[NEXT] < at[LAST]:
        if stop[0] != 0:
            return AGAIN
        k = at[NEXT]
        restart(fl, it, buf, k, fl_start, it_start, u0s, at)
        n = it[I_N]
        buf[ROW_LOW * n : (ROW_LOW + 1) * n] = 0.0
        buf[ROWS * n] = 0.0
        p = ps[k * at[P_STEP] : k * at[P_STEP] + at[N_P]]
        u_out = out[k * at[SIZE] : (k + 1) * at[SIZE]]
        while True:
            code = symplectic.run(
                f1, f2, fl, it, tab, coef, buf, p, work1, work2, saveat, tstops, t_out, u_out, d_t,
                d_c, idxs,
            )  # fmt: skip
            if code != AGAIN or stop[0] != 0:
                break
            it[I_CHUNK] += CHUNK
        settle(it, code, at, out, codes, sums, counters)
    return DONE


class _ManyDrive(SymplecticDrive, ManyDrive):
    __slots__ = ()

    def _run_many(self) -> int:
        space, out, tableau = self.space, self.out, self.method.tableaus[0]
        return int(symplectic_many(
            space.f1, space.f2, space.fl, space.it, tableau.ints, tableau.floats, space.buf,
            space.work1, space.work2, self.saveat, self.tstops, out.t, out.d_t, out.d_c, self.idxs,
            *self._many,
        ))  # fmt: skip


def solve_many(
    problem: ODEProblem,
    method: Method,
    options: SolveOptions,
    batch: Batch,
    out: Array,
    stop: NDArray[np.int64],
) -> RawBatch:
    """See `ManyEngine.solve_many`."""
    space = symplectic.space_of(problem, method, options)
    return _ManyDrive(problem, method, options, space, batch, out, stop).solve_all()
