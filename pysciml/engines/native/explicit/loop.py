"""The driver of all explicit Runge-Kutta methods: one compiled loop, the method is data.

Error control is SciML's: root mean square of the scaled error, PI controller (Hairer, Wanner,
"Solving ODEs II", IV.2). The stiffness test compares |dt * lambda| with the extent of the stability
region, lambda being estimated from two stages at the same time (L. F. Shampine; Hairer, Wanner,
IV.2, eq. 2.10).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pysciml.engines.native.common import (
    AGAIN,
    BAD_START,
    DONE,
    DTMIN,
    ENTRY,
    EVENT,
    F_DT,
    F_DT_SWITCH,
    F_DTMAX,
    F_DTMIN,
    F_EEST,
    F_EIG,
    F_QMIN,
    F_STIFF_BOUND,
    F_T,
    F_TDIR,
    GROW,
    HELPER,
    I_ADAPTIVE,
    I_ATOL1,
    I_BAD,
    I_CHUNK,
    I_COUNT,
    I_EVENT_STOP,
    I_F,
    I_GUESS,
    I_ITER,
    I_K0,
    I_LOG,
    I_MAXCOUNT,
    I_MAXITERS,
    I_N,
    I_NACC,
    I_NF,
    I_NREJ,
    I_NRES,
    I_POSITIVE,
    I_RTOL1,
    I_STARTED,
    I_STOP,
    I_WATCH,
    MAXITERS,
    ROW_TMP,
    ROW_U,
    ROW_UNEW,
    SWITCH,
    UNSTABLE,
    WATCH,
    ZENO,
    all_finite,
    clip_step,
    combine,
    copy_row,
    end_of_step,
    error_norm,
    first_step,
    grow_by,
    has_events,
    has_room,
    log_step,
    save_start,
    save_step,
    shrink_by,
    signature,
    too_small,
    wants_poly,
)
from pysciml.engines.native.explicit.tableau import (
    TAB_A,
    TAB_B,
    TAB_C,
    TAB_DEGREE,
    TAB_E,
    TAB_EIG_A,
    TAB_EIG_B,
    TAB_FIRST_FROM,
    TAB_FSAL,
    TAB_ORDER,
    TAB_R,
    TAB_STAGES,
    TAB_TOTAL,
)
from pysciml.engines.native.pointers import call_rhs, load
from pysciml.engines.native.watch import (
    CHANGED,
    REFUSED,
    SAME,
    close_polynomial,
    correct_step,
    start_watching,
    watch_step,
)

ROW_GA, ROW_GB = 3, 4  # arguments of the two stages of the stiffness test
ROW_ZERO = 5
ROW_Q = 6  # rows of the step's polynomial; the stages lie behind them


def first_stage(degree: int) -> int:
    """Row of `buf` where the first stage lies; the others follow."""
    return ROW_Q + degree + 1


def rows_needed(degree: int, stages_total: int) -> int:
    """Rows of `buf` for a method."""
    return first_stage(degree) + stages_total


@njit(**HELPER)
def _stages(it, buf, p, work, tab, coef, t, h, tend, first, last):  # type: ignore[no-untyped-def]
    """Stages `first` to `last` - 1 of the step of size h from t; `tend`: see `end_of_step`."""
    n = it[I_N]
    total = tab[TAB_TOTAL]
    k = (ROW_Q + tab[TAB_DEGREE] + 1) * n
    for s in range(first, last):
        if s == tab[TAB_STAGES] - 1 and tab[TAB_FSAL] == 1:
            row = ROW_UNEW
        elif s == tab[TAB_EIG_A]:
            row = ROW_GA
        elif s == tab[TAB_EIG_B]:
            row = ROW_GB
        else:
            row = ROW_TMP
        combine(buf, row * n, ROW_U * n, h, coef, tab[TAB_A] + s * total, k, s, n)
        c = coef[tab[TAB_C] + s]
        call_rhs(it[I_F], buf, k + s * n, buf, row * n, p, tend if c == 1.0 else t + c * h, work)
    it[I_NF] += last - first


@njit(**HELPER)
def _polynomial(it, buf, tab, coef, h):  # type: ignore[no-untyped-def]
    """Rows ROW_Q...: coefficients of theta**j of the interpolant."""
    n = it[I_N]
    degree, total = tab[TAB_DEGREE], tab[TAB_TOTAL]
    q = ROW_Q * n
    k = (ROW_Q + degree + 1) * n
    copy_row(buf, q, ROW_U * n, n)
    for j in range(degree):
        at = tab[TAB_R] + j * total
        combine(buf, q + (j + 1) * n, ROW_ZERO * n, h, coef, at, k, total, n)


@njit(**HELPER)
def _eigenvalue(it, buf, tab, tol):  # type: ignore[no-untyped-def]
    """|k_b - k_a| / |g_b - g_a| of the two stages of the stiffness test, in the error's norm."""
    n = it[I_N]
    k = (ROW_Q + tab[TAB_DEGREE] + 1) * n
    ka, kb = k + tab[TAB_EIG_A] * n, k + tab[TAB_EIG_B] * n
    ga = ROW_GA * n
    gb = (
        ROW_UNEW * n if tab[TAB_EIG_B] == tab[TAB_STAGES] - 1 and tab[TAB_FSAL] == 1 else ROW_GB * n
    )
    a1, r1 = it[I_ATOL1], it[I_RTOL1]
    r_at = n if a1 == 1 else 1
    top, bottom = 0.0, 0.0
    for i in range(n):
        scale = load(tol, a1 * i) + abs(load(buf, ROW_U * n + i)) * load(tol, r_at + r1 * i)
        dk = (load(buf, kb + i) - load(buf, ka + i)) / scale
        dg = (load(buf, gb + i) - load(buf, ga + i)) / scale
        top += dk * dk
        bottom += dg * dg
    return np.sqrt(top / bottom) if bottom > 0.0 else 0.0


@njit(**HELPER)
def _error(it, buf, tab, coef, h, tol):  # type: ignore[no-untyped-def]
    """Scaled norm of the embedded error estimate."""
    n = it[I_N]
    k = (ROW_Q + tab[TAB_DEGREE] + 1) * n
    combine(buf, ROW_TMP * n, ROW_ZERO * n, h, coef, tab[TAB_E], k, tab[TAB_STAGES], n)
    return error_norm(buf, ROW_TMP * n, ROW_U * n, ROW_UNEW * n, n, tol, it[I_ATOL1], it[I_RTOL1])


@njit(**HELPER)
def _first_stage(fl, it, buf, p, work, tab):  # type: ignore[no-untyped-def]
    """f at the present state. False: it is not finite."""
    n = it[I_N]
    k = (ROW_Q + tab[TAB_DEGREE] + 1) * n
    call_rhs(it[I_F], buf, k, buf, ROW_U * n, p, fl[F_T], work)
    it[I_NF] += 1
    it[I_K0] = 1
    return all_finite(buf, k, n)


@njit(**HELPER)
def _start(fl, it, buf, p, work, tab, saveat, t_out, u_out, idxs):  # type: ignore[no-untyped-def]
    """First output and first stage. False: f is not finite at the start."""
    save_start(fl, it, buf, saveat, t_out, u_out, idxs)
    it[I_STARTED] = 1
    return _first_stage(fl, it, buf, p, work, tab)


def integrator(watching: bool) -> Any:
    """Compile `run`, with or without what events and corrections of the state need.

    Without it, which is nearly always, it compiles in half the time.
    """

    @njit(signature("int64", "FIIFFFFFFFFFFFI"), **ENTRY)
    def run(  # type: ignore[no-untyped-def]
        fl, it, tab, coef, buf, p, work, tol, saveat, tstops, t_out, u_out, d_t, d_c, idxs
    ):
        """Integrate until the last of `tstops`, or until something else has to be done first.

        `fl`, `it`: the run's state; `tab`, `coef`: the packed tableau; `tol`: abstol, then reltol;
        `t_out`, `u_out`: every step's output (or saveat's, by row); `d_t`, `d_c`: dense output, or
        the log of the steps.
        Returns one of the codes of `common`; calling again goes on where it stopped.
        """
        n = it[I_N]
        k0 = (ROW_Q + tab[TAB_DEGREE] + 1) * n
        stages, fsal = tab[TAB_STAGES], tab[TAB_FSAL] == 1
        adaptive = it[I_ADAPTIVE]
        tdir = fl[F_TDIR]
        second = np.int64(1)  # a literal would have the helper compiled twice
        if not watching and has_events(it):
            return WATCH
        if it[I_STARTED] == 0:
            if watching and it[I_WATCH] > 0:
                start_watching(it, buf, p, fl[F_T], work)
            if not _start(fl, it, buf, p, work, tab, saveat, t_out, u_out, idxs):
                return BAD_START
        while it[I_STOP] < tstops.size:
            if it[I_ITER] >= it[I_MAXITERS]:
                return MAXITERS
            if it[I_ITER] >= it[I_CHUNK]:
                return AGAIN
            if not has_room(it, t_out, d_t):
                return GROW
            if fl[F_DT] == 0.0:  # at the start, and after an event
                if it[I_K0] == 0 and not _first_stage(fl, it, buf, p, work, tab):
                    return UNSTABLE
                order = tab[TAB_ORDER]
                fl[F_DT] = tdir * first_step(fl, it, buf, p, work, tol, k0, ROW_TMP * n, order)
            t, dt = fl[F_T], fl[F_DT]
            h, on_stop = clip_step(t, dt, tstops[it[I_STOP]], fl[F_DTMAX], adaptive)
            if h == 0.0:  # a stop at the present time
                it[I_STOP] += 1
                if it[I_STOP] == it[I_EVENT_STOP]:
                    return EVENT
                continue
            if adaptive == 1 and not on_stop and too_small(t, h, fl[F_DTMIN]):
                return UNSTABLE if it[I_BAD] == 1 else DTMIN
            tnew = tstops[it[I_STOP]] if on_stop else t + h
            tend = end_of_step(it, tstops.size, h, tnew, on_stop)
            it[I_ITER] += 1

            if it[I_K0] == 0:
                call_rhs(it[I_F], buf, k0, buf, ROW_U * n, p, t, work)
                it[I_NF] += 1
                it[I_K0] = 1
            _stages(it, buf, p, work, tab, coef, t, h, tend, second, stages)
            if not fsal:
                combine(buf, ROW_UNEW * n, ROW_U * n, h, coef, tab[TAB_B], k0, stages, n)

            factor = 1.0  # dt_new / h
            if adaptive == 1:
                eest = _error(it, buf, tab, coef, h, tol)
                fl[F_EEST] = eest
                if not np.isfinite(eest):
                    it[I_BAD] = 1
                    it[I_NREJ] += 1
                    fl[F_DT] = h * fl[F_QMIN]
                    continue
                it[I_BAD] = 0
                if eest > 1.0:
                    it[I_NREJ] += 1
                    fl[F_DT] = h * shrink_by(fl, eest)
                    continue
                factor = grow_by(fl, it, eest)
            elif not all_finite(buf, ROW_UNEW * n, n):
                return UNSTABLE

            if it[I_MAXCOUNT] > 0:
                fl[F_EIG] = _eigenvalue(it, buf, tab, tol)
            verdict = SAME
            if watching and it[I_POSITIVE] + it[I_NRES] > 0:
                verdict = correct_step(it, buf, p, tnew, work, tol)
                if verdict == REFUSED:
                    it[I_NREJ] += 1
                    fl[F_DT] = 0.5 * h
                    continue

            it[I_NACC] += 1
            it[I_GUESS] = 0
            watched = watching and it[I_WATCH] > 0
            inside = watched or wants_poly(fl, it, tnew, saveat)
            extras = tab[TAB_TOTAL] > stages and inside
            if extras:
                _stages(it, buf, p, work, tab, coef, t, h, tend, stages, tab[TAB_TOTAL])
            if inside:
                _polynomial(it, buf, tab, coef, h)
                if watching and verdict == CHANGED:
                    close_polynomial(buf, ROW_Q * n, tab[TAB_DEGREE], n)
            happens, tfull = DONE, tnew
            if watching and watched:
                happens, tnew = watch_step(it, buf, p, work, ROW_Q * n, tab[TAB_DEGREE], t, tnew)
                if happens == ZENO:
                    return ZENO
                on_stop = on_stop and tnew == tfull
            save_step(
                fl, it, buf, ROW_Q * n, tab[TAB_DEGREE], tnew, saveat, t_out, u_out, d_t, d_c, idxs
            )
            if it[I_LOG] > 0:
                log_step(fl, it, buf, k0, tab[TAB_TOTAL], h, tend, tfull, d_t, d_c)

            stiff = False
            if it[I_MAXCOUNT] > 0:
                stiff = fl[F_EIG] * abs(h) > fl[F_STIFF_BOUND]
                it[I_COUNT] = (max(it[I_COUNT], 0) + 1) if stiff else 0

            copy_row(buf, ROW_U * n, ROW_UNEW * n, n)
            known = stages - 1 if fsal else (tab[TAB_FIRST_FROM] if extras else -1)
            if tend != tnew or happens == EVENT or verdict == CHANGED:  # f may jump here
                known = -1
            if known >= 0:
                copy_row(buf, k0, k0 + known * n, n)
            it[I_K0] = 1 if known >= 0 else 0
            fl[F_T] = tnew
            if on_stop:
                it[I_STOP] += 1
                if it[I_STOP] == it[I_EVENT_STOP]:
                    happens = EVENT
            if adaptive == 1:
                new = abs(h) * factor
                if on_stop:  # the step was cut short: the controller had allowed dt
                    new = max(new, abs(dt))
                fl[F_DT] = tdir * min(new, fl[F_DTMAX])
            if happens == EVENT:
                return EVENT
            if stiff and it[I_COUNT] > it[I_MAXCOUNT]:
                fl[F_DT] *= fl[F_DT_SWITCH]
                it[I_COUNT] = 0
                return SWITCH
        return DONE

    return run


run = integrator(watching=False)
