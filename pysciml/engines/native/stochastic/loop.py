"""The loop of all SDE methods along one path.

Time is counted in ticks of the Brownian tree. A fixed step is a power of two of them, so that each
of its increments is one node of the tree; a chosen step ends on a tick with few one bits, so that
its increment is the sum of few. Output times and stops end a step: between its ends a path is not
known.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pysciml.engines.native.common import (
    AGAIN,
    BAD_START,
    DONE,
    DTMIN,
    ENTRY,
    EPS,
    F_BETA1,
    F_BETA2,
    F_DT,
    F_DTMAX,
    F_DTMIN,
    F_EEST,
    F_ERROLD,
    F_QMAX,
    F_QMIN,
    F_SAFETY,
    F_T,
    GROW,
    HELPER,
    I_ADAPTIVE,
    I_ATOL1,
    I_BAD,
    I_CHUNK,
    I_EVERYSTEP,
    I_F,
    I_ITER,
    I_LOG,
    I_MAXITERS,
    I_N,
    I_NACC,
    I_NF,
    I_NIDX,
    I_NOUT,
    I_NREJ,
    I_RTOL1,
    I_SAVE,
    I_STARTED,
    I_STOP,
    INLINED,
    MAXITERS,
    ROW_TMP,
    ROW_U,
    ROW_UNEW,
    UNSTABLE,
    all_finite,
    copy_row,
    end_of_step,
    error_norm,
    shrink_by,
    signature,
    store_state,
)
from pysciml.engines.native.pointers import call_rhs, load, store
from pysciml.engines.native.stochastic.brownian import DEPTH, floor_log2, increment, plant
from pysciml.engines.native.stochastic.common import (
    CHI_W,
    EULER,
    F_STEP,
    F_T0,
    F_TICK,
    I_G,
    I_GRID,
    I_GSIZE,
    I_M,
    I_POSITION,
    I_SAVE_NOISE,
    MILSTEIN,
    ROW_ERR,
    ROW_OWN,
    TAB_KIND,
)
from pysciml.engines.native.stochastic.euler import euler_step
from pysciml.engines.native.stochastic.milstein import milstein_step
from pysciml.engines.native.stochastic.sri import sri_step

# A chosen step keeps so many bits of its size, so it is shortened by less than 2**-_BITS of it.
_BITS = 4
_LEAST_FIRST = 1e-4  # of the longest step


@njit(**INLINED)
def _save_row(it, buf, chi, u_out, w_out, idxs, row):  # type: ignore[no-untyped-def]
    store_state(buf, ROW_U * it[I_N], it[I_N], idxs, it[I_NIDX], u_out, row)
    if it[I_SAVE_NOISE] == 1:
        m = it[I_M]
        for j in range(m):
            store(w_out, row * m + j, load(chi, CHI_W * m + j))


@njit(**INLINED)
def _save_step(fl, it, buf, chi, t_out, u_out, w_out, q_out, idxs):  # type: ignore[no-untyped-def]
    """Output of every step, at its end."""
    row = it[I_NOUT]
    t_out[row] = fl[F_T]
    _save_row(it, buf, chi, u_out, w_out, idxs, row)
    if it[I_LOG] == 1:
        q_out[row] = it[I_POSITION]
    it[I_NOUT] = row + 1


@njit(**INLINED)
def _pass_stops(fl, it, buf, chi, saveat, stops, ticks, u_out, w_out, idxs):  # type: ignore[no-untyped-def]
    """Leave behind the stops that are reached, and save those that are output times."""
    while it[I_STOP] < stops.size and ticks[it[I_STOP]] <= it[I_POSITION]:
        row = it[I_SAVE]
        if row < saveat.size and saveat[row] == stops[it[I_STOP]]:
            _save_row(it, buf, chi, u_out, w_out, idxs, row)
            it[I_SAVE] = row + 1
        it[I_STOP] += 1


@njit(**HELPER)
def _first_step(fl, it, buf, p, work, work_g, tol):  # type: ignore[no-untyped-def]
    """Size of the first step: drift and noise each move the state by about 1 % of its size.

    It is a guess: the controller may change it fast, and it is not made smaller than _LEAST_FIRST
    allows. Returns 0 when f or g is not finite.
    """
    n, gsize = it[I_N], it[I_GSIZE]
    f, g = ROW_OWN * n, (ROW_OWN + 1) * n
    call_rhs(it[I_F], buf, f, buf, ROW_U * n, p, fl[F_T], work)
    call_rhs(it[I_G], buf, g, buf, ROW_U * n, p, fl[F_T], work_g)
    it[I_NF] += 1
    if not (all_finite(buf, f, n) and all_finite(buf, g, gsize)):
        return 0.0
    columns = gsize // n
    for i in range(n):
        acc = 0.0
        for j in range(columns):
            acc += load(buf, g + i * columns + j) ** 2
        store(buf, ROW_TMP * n + i, math.sqrt(acc))
    u = ROW_U * n
    size = error_norm(buf, u, u, u, n, tol, it[I_ATOL1], it[I_RTOL1])
    drift = error_norm(buf, f, u, u, n, tol, it[I_ATOL1], it[I_RTOL1])
    noise = error_norm(buf, ROW_TMP * n, u, u, n, tol, it[I_ATOL1], it[I_RTOL1])
    size = 0.01 * max(size, 1.0)
    h = fl[F_DTMAX]
    if drift > 0.0:
        h = min(h, size / drift)
    if noise > 0.0:
        h = min(h, (size / noise) ** 2)
    return max(h, _LEAST_FIRST * fl[F_DTMAX])


@njit(**HELPER)
def _start(fl, it, buf, p, work, work_g, tree, chi, tol, t_out, u_out, w_out, q_out, idxs):  # type: ignore[no-untyped-def]
    """The path's root, the first output, the first step size. False: f or g is not finite."""
    plant(it, tree)
    for j in range(it[I_M]):
        store(chi, CHI_W * it[I_M] + j, 0.0)
    if it[I_EVERYSTEP] == 1:
        _save_step(fl, it, buf, chi, t_out, u_out, w_out, q_out, idxs)
    if it[I_ADAPTIVE] == 1 and fl[F_DT] == 0.0:
        fl[F_DT] = _first_step(fl, it, buf, p, work, work_g, tol)
        if fl[F_DT] == 0.0:
            return False
    it[I_STARTED] = 1
    return True


@njit(**INLINED)
def _target(fl, it, stop):  # type: ignore[no-untyped-def]
    """The tick where the next step ends: on the grid, or where F_DT gets to, but not beyond `stop`.

    A chosen step that would end just short of the stop is stretched onto it.
    """
    position, grid = it[I_POSITION], it[I_GRID]
    if grid > 0:
        return min(stop, (position & ~(grid - 1)) + grid)
    ticks = np.int64(max(1.0, min(fl[F_DT] / fl[F_TICK], 2.0**DEPTH)))
    if stop - position <= ticks + ticks // 128:
        return stop
    low = max(0, floor_log2(ticks) - _BITS)
    return ((position + ticks) >> low) << low


@njit(**INLINED)
def _control(fl, it, eest, h):  # type: ignore[no-untyped-def]
    """Choose the next step size by the error of one of size h. False: it is not accepted."""
    fl[F_EEST] = eest
    it[I_BAD] = 0 if np.isfinite(eest) else 1
    if it[I_BAD] == 1:
        it[I_NREJ] += 1
        fl[F_DT] = h * fl[F_QMIN]
        return False
    if eest > 1.0:
        it[I_NREJ] += 1
        fl[F_DT] = h * shrink_by(fl, eest)
        return False
    q = np.exp(fl[F_BETA1] * np.log(eest) - fl[F_BETA2] * np.log(fl[F_ERROLD])) / fl[F_SAFETY]
    # The first step size is a guess: let it grow fast until it was too large once.
    qmax = fl[F_QMAX] if it[I_NREJ] > 0 else max(fl[F_QMAX], 10.0)
    fl[F_DT] = min(h / min(max(q, 1.0 / qmax), 1.0 / fl[F_QMIN]), fl[F_DTMAX])
    fl[F_ERROLD] = max(eest, 1e-4)
    return True


@njit(signature("int64", "FIIFFFFFFFFFFFIFFFII"), **ENTRY)
def run(  # type: ignore[no-untyped-def]
    fl, it, tab, coef, buf, p, work, work_g, work_d, tree, chi, tol, saveat,
    stops, ticks, t_out, u_out, w_out, q_out, idxs,
):  # fmt: skip
    """Follow a path until the last of `stops`, or until something else has to be done first.

    `fl`, `it`: the run's state; `tab`, `coef`: the method; `tree`: the Brownian tree; `chi`: see
    `common`; `ticks`: where the stops are; `t_out`, `u_out`, `w_out`, `q_out`: times, states,
    Wiener processes and ticks of every step (or states and processes of saveat, by row).
    Returns one of the codes of `native.common`; calling again goes on where it stopped.
    """
    n, m, kind = it[I_N], it[I_M], tab[TAB_KIND]
    adaptive = it[I_ADAPTIVE] == 1
    if it[I_STARTED] == 0 and not _start(
        fl, it, buf, p, work, work_g, tree, chi, tol, t_out, u_out, w_out, q_out, idxs
    ):
        return BAD_START
    _pass_stops(fl, it, buf, chi, saveat, stops, ticks, u_out, w_out, idxs)
    while it[I_STOP] < stops.size:
        if it[I_ITER] >= it[I_MAXITERS]:
            return MAXITERS
        if it[I_ITER] >= it[I_CHUNK]:
            return AGAIN
        if it[I_EVERYSTEP] == 1 and it[I_NOUT] >= t_out.size:
            return GROW
        t, stop = fl[F_T], ticks[it[I_STOP]]
        target = _target(fl, it, stop)
        on_stop = target == stop
        if on_stop:
            tnew = stops[it[I_STOP]]
        elif adaptive:
            tnew = fl[F_T0] + float(target) * fl[F_TICK]
        else:
            tnew = fl[F_T0] + float(target // it[I_GRID]) * fl[F_STEP]
        h = tnew - t
        if (
            adaptive
            and not on_stop
            and (h < max(fl[F_DTMIN], 4.0 * EPS * abs(t)) or fl[F_DT] < fl[F_TICK])
        ):
            return UNSTABLE if it[I_BAD] == 1 else DTMIN
        tend = end_of_step(it, stops.size, h, tnew, on_stop)
        it[I_ITER] += 1

        dw = increment(it, tree, it[I_POSITION], target)
        if kind == EULER:
            euler_step(it, tab, buf, p, work, work_g, tree, dw, t, h, tend, adaptive)
        elif kind == MILSTEIN:
            milstein_step(it, buf, p, work, work_g, work_d, tree, chi, dw, t, h)
        else:
            sri_step(it, tab, coef, buf, p, work, work_g, tree, chi, dw, t, h, tend)

        if adaptive:
            allowed = fl[F_DT]
            eest = error_norm(
                buf, ROW_ERR * n, ROW_U * n, ROW_UNEW * n, n, tol, it[I_ATOL1], it[I_RTOL1]
            )
            if not _control(fl, it, eest, h):
                continue
            if on_stop:  # the step was cut short
                fl[F_DT] = max(fl[F_DT], allowed)
        elif not all_finite(buf, ROW_UNEW * n, n):
            return UNSTABLE

        it[I_NACC] += 1
        copy_row(buf, ROW_U * n, ROW_UNEW * n, n)
        fl[F_T] = tnew
        it[I_POSITION] = target
        if it[I_SAVE_NOISE] == 1:
            for j in range(m):
                store(chi, CHI_W * m + j, load(chi, CHI_W * m + j) + load(tree, dw + j))
        if it[I_EVERYSTEP] == 1:
            _save_step(fl, it, buf, chi, t_out, u_out, w_out, q_out, idxs)
        if on_stop:
            _pass_stops(fl, it, buf, chi, saveat, stops, ticks, u_out, w_out, idxs)
    return DONE
