"""The loop of all methods for jumps and maps: a state that changes at certain times only.

What is saved is right-continuous: at the time of a jump it is the state after it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pysciml.engines.native.batch import LAST, N_P, NEXT, P_STEP, SIZE, restart, settle
from pysciml.engines.native.common import (
    AGAIN,
    DONE,
    ENTRY,
    F_T,
    GROW,
    HELPER,
    I_CHUNK,
    I_EVERYSTEP,
    I_F,
    I_ITER,
    I_MAXITERS,
    I_N,
    I_NACC,
    I_NF,
    I_NIDX,
    I_NOUT,
    I_SAVE,
    I_STARTED,
    MAXITERS,
    UNSTABLE,
    all_finite,
    copy_row,
    signature,
    store_state,
)
from pysciml.engines.native.jumps.common import (
    BLOCK,
    DIRECT,
    F_END,
    I_DRAWN,
    I_KIND,
    I_M,
    I_REACTION,
    I_TRAJECTORY,
    MAP,
    fill_block,
    happen,
    pick,
    propensities,
)
from pysciml.engines.native.jumps.leap import next_leap
from pysciml.engines.native.pointers import call_rhs, load

_CHUNK = 10_000  # steps between two looks at the stop signal


@njit(**HELPER)
def _save(it, buf, u_out, idxs, row):  # type: ignore[no-untyped-def]
    store_state(buf, 0, it[I_N], idxs, it[I_NIDX], u_out, row)


@njit(**HELPER)
def _save_step(fl, it, buf, t_out, u_out, idxs):  # type: ignore[no-untyped-def]
    """Output of every step."""
    row = it[I_NOUT]
    t_out[row] = fl[F_T]
    _save(it, buf, u_out, idxs, row)
    it[I_NOUT] = row + 1


@njit(**HELPER)
def _save_before(it, buf, time, saveat, u_out, idxs):  # type: ignore[no-untyped-def]
    """The present state at the output times before `time`."""
    while it[I_SAVE] < saveat.size and saveat[it[I_SAVE]] < time:
        _save(it, buf, u_out, idxs, it[I_SAVE])
        it[I_SAVE] += 1


@njit(**HELPER)
def _next_of_map(fl, it, buf, p, work):  # type: ignore[no-untyped-def]
    n = it[I_N]
    call_rhs(it[I_F], buf, n, buf, 0, p, fl[F_T], work)
    it[I_NF] += 1
    return fl[F_T] + 1.0 if all_finite(buf, n, n) else math.nan


@njit(**HELPER)
def _next_jump(fl, it, buf, p, work):  # type: ignore[no-untyped-def]
    """When the next reaction happens, and which: D. T. Gillespie's direct method (J. Phys. Chem. 81
    (1977) 2340-2361).
    """
    whole = propensities(fl, it, buf, p, work)
    if whole > 0.0:
        return pick(fl, it, buf, whole)
    return math.inf if whole == 0.0 else whole


@njit(**HELPER)
def _limit(fl, it, saveat):  # type: ignore[no-untyped-def]
    """The next output time after the present one, or the end."""
    row = it[I_SAVE]
    while row < saveat.size and saveat[row] <= fl[F_T]:
        row += 1
    return saveat[row] if row < saveat.size else fl[F_END]


@njit(**HELPER)
def _jumps_before(fl, it, buf, p, work, net, time, steps):  # type: ignore[no-untyped-def]
    """At most so many jumps of the direct method, all before a time.

    It does nothing that `_next_jump` and `happen` do not; it is a loop of its own because compilers
    keep all of it in registers. Where there is anything else to do, it leaves off.
    """
    n, m = it[I_N], it[I_M]
    f, a, block = it[I_F], 2 * n, 2 * n + m
    t, number, done = fl[F_T], it[I_DRAWN], 0
    while done < steps:
        call_rhs(f, buf, a, buf, 0, p, t, work)
        whole, valid = 0.0, True
        for j in range(m):
            whole += load(buf, a + j)
            valid &= load(buf, a + j) >= 0.0
        if not (valid and 0.0 < whole < math.inf):
            break
        at = block + (number & (BLOCK - 1))
        if at == block:
            fill_block(it, buf, number)
        tnew = t + load(buf, at) / whole
        if tnew >= time:
            break
        chosen, part, j = load(buf, at + BLOCK) * whole, load(buf, a), 0
        while part <= chosen:
            j += 1
            part += load(buf, a + j)
        happen(n, buf, 0, 1.0, j, net)
        t = tnew
        number += 1
        done += 1
    fl[F_T], it[I_DRAWN] = t, number
    it[I_ITER] += done
    it[I_NACC] += done
    it[I_NF] += done


@njit(signature("int64", "FIFFFFFFFFI"), **ENTRY)
def run(fl, it, buf, p, work, net, orders, saveat, t_out, u_out, idxs):  # type: ignore[no-untyped-def]
    """Follow a path to F_END, or until something else has to be done first.

    `net`: see `common`; `orders`: see `drive.orders_of`; `t_out`, `u_out`: times and states of
    every step (or states of saveat, by row). Returns one of the codes of `native.common`; calling
    again goes on where it stopped.
    """
    n, every = it[I_N], it[I_EVERYSTEP] == 1
    if it[I_STARTED] == 0:
        it[I_STARTED] = 1
        if every:
            _save_step(fl, it, buf, t_out, u_out, idxs)
    while fl[F_T] < fl[F_END]:
        if it[I_ITER] >= it[I_MAXITERS]:
            return MAXITERS
        if it[I_ITER] >= it[I_CHUNK]:
            return AGAIN
        if every and it[I_NOUT] >= t_out.size:
            return GROW
        if it[I_KIND] == DIRECT and not every:
            last = min(it[I_MAXITERS], it[I_CHUNK])
            until = saveat[it[I_SAVE]] if it[I_SAVE] < saveat.size else fl[F_END]
            _jumps_before(fl, it, buf, p, work, net, until, last - it[I_ITER])
            if it[I_ITER] == last:
                continue
        if it[I_KIND] == MAP:
            tnew = _next_of_map(fl, it, buf, p, work)
        elif it[I_KIND] == DIRECT:
            tnew = _next_jump(fl, it, buf, p, work)
        else:
            tnew = next_leap(fl, it, buf, p, work, net, orders, _limit(fl, it, saveat))
        if np.isnan(tnew):
            return UNSTABLE
        _save_before(it, buf, tnew, saveat, u_out, idxs)
        fl[F_T] = min(tnew, fl[F_END])
        if tnew <= fl[F_END]:
            it[I_ITER] += 1
            it[I_NACC] += 1
            if it[I_REACTION] < 0:
                copy_row(buf, 0, n, n)
            else:
                happen(n, buf, 0, 1.0, it[I_REACTION], net)
        if every:
            _save_step(fl, it, buf, t_out, u_out, idxs)
    _save_before(it, buf, math.inf, saveat, u_out, idxs)
    return DONE


@njit(signature("int64", "FIFFFFFFIFIFFFIIIII"), **ENTRY)
def run_many(  # type: ignore[no-untyped-def]
    fl, it, buf, work, net, orders, saveat, t_out, idxs,
    fl_start, it_start, u0s, ps, out, codes, sums, counters, at, stop,
):  # fmt: skip
    """Follow the paths of trajectories from at[NEXT] on, one after the other; see `run`.

    Trajectory k of the batch begins at its row of `u0s` with its row of `ps`, draws from the stream
    it_start[I_TRAJECTORY] + k, and saves into its row of `out`. Returns DONE after the last one,
    AGAIN when `stop` said so.
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
            code = run(fl, it, buf, p, work, net, orders, saveat, t_out, u_out, idxs)
            if code != AGAIN or stop[0] != 0:
                break
            it[I_CHUNK] += _CHUNK
        settle(it, code, at, out, codes, sums, counters)
    return DONE
