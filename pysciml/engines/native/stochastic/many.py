"""Many paths, one after the other in compiled code."""

from __future__ import annotations

from numba import njit

from pysciml.engines.native.batch import LAST, N_P, NEXT, P_STEP, SIZE, restart, settle
from pysciml.engines.native.common import AGAIN, DONE, ENTRY, I_CHUNK, signature
from pysciml.engines.native.stochastic.common import I_TRAJECTORY
from pysciml.engines.native.stochastic.loop import run

_CHUNK = 10_000  # steps between two looks at the stop signal


@njit(signature("int64", "FIIFFFFFFFFFFIFFIIFIFFFIIIII"), **ENTRY)
def run_many(  # type: ignore[no-untyped-def]
    fl, it, tab, coef, buf, work, work_g, work_d, tree, chi, tol, saveat, stops, ticks, t_out,
    w_out, q_out, idxs, fl_start, it_start, u0s, ps, out, codes, sums, counters, at, stop,
):  # fmt: skip
    """Follow the paths of trajectories from at[NEXT] on, one after the other; see `run`.

    Trajectory k of the batch begins at its row of `u0s` with its row of `ps`, draws its noise as
    number it_start[I_TRAJECTORY] + k, and saves into its row of `out`. Returns DONE after the last
    one, AGAIN when `stop` said so.
    """
    while at[NEXT] < at[LAST]:
        if stop[0] != 0:
            return AGAIN
        k = at[NEXT]
        restart(fl, it, buf, k, fl_start, it_start, u0s, at)
        it[I_TRAJECTORY] += k
        p = ps[k * at[P_STEP] : k * at[P_STEP] + at[N_P]]
        u_out = out[k * at[SIZE] : (k + 1) * at[SIZE]]
        while True:
            code = run(
                fl, it, tab, coef, buf, p, work, work_g, work_d, tree, chi, tol, saveat, stops,
                ticks, t_out, u_out, w_out, q_out, idxs,
            )  # fmt: skip
            if code != AGAIN or stop[0] != 0:
                break
            it[I_CHUNK] += _CHUNK
        settle(it, code, at, out, codes, sums, counters)
    return DONE
