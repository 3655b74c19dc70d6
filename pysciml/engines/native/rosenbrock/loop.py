"""The driver of all Rosenbrock methods: one compiled loop, the method is data (see `rodas`).

W = M/(gamma*h) - J is factored once per attempted step, the Jacobian is evaluated once per accepted
one. The linear algebra is, by I_LINALG: an LU written out (small n), LAPACK's dense or band LU, or
the caller's: then the loop returns FACTOR or SOLVE and goes on when it is called again.

A sparse problem has a pattern, packed into one integer array `pat`, and a colouring of the columns
(A. R. Curtis, M. J. D. Powell, J. K. Reid, "On the estimation of sparse Jacobian matrices", IMA J.
Appl. Math. 13 (1974) 117-119): one product J*v gives all columns of one colour.
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
    F_H,
    F_QMIN,
    F_STIFF_BOUND,
    F_T,
    F_TDIR,
    F_TEND,
    F_TNEW,
    FACTOR,
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
    I_JAC,
    I_JFRESH,
    I_JVP,
    I_KL,
    I_KU,
    I_LINALG,
    I_LOG,
    I_MASS,
    I_MAXCOUNT,
    I_MAXITERS,
    I_N,
    I_NACC,
    I_NCOLORS,
    I_NF,
    I_NJ,
    I_NREJ,
    I_NRES,
    I_NSOLVE,
    I_NW,
    I_ON_STOP,
    I_PHASE,
    I_POSITIVE,
    I_RTOL1,
    I_SINGULAR,
    I_STAGE,
    I_STARTED,
    I_STOP,
    I_TGRAD,
    I_TRF,
    I_TRS,
    I_WATCH,
    MAXITERS,
    ROW_TMP,
    ROW_U,
    ROW_UNEW,
    SOLVE,
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
from pysciml.engines.native.pointers import (
    LAPACK_INFO,
    call_gbtrf,
    call_gbtrs,
    call_getrf,
    call_getrs,
    call_jvp,
    call_rhs,
    load,
    store,
)
from pysciml.engines.native.rosenbrock.tableau import (
    ROS_A,
    ROS_B,
    ROS_C,
    ROS_CC,
    ROS_D,
    ROS_DEGREE,
    ROS_E,
    ROS_H,
    ROS_ORDER,
    ROS_STAGES,
)
from pysciml.engines.native.watch import REFUSED, correct_step, start_watching, watch_step

SMALL, DENSE, BAND, EXTERNAL = range(4)  # kinds of linear algebra

ROW_F0, ROW_TGRAD, ROW_RHS, ROW_ZERO = 3, 4, 5, 6
ROW_K = 7  # the stages, then the rows of the step's polynomial

STEP, STAGES, SOLVED = range(3)  # phases of a step in progress


def rows_needed(degree: int, stages: int) -> int:
    """Rows of `buf` for a method."""
    return ROW_K + stages + degree + 1


# `pat`: colour, new-to-old permutation and its inverse (n each), then the pattern by columns:
# pointers (n + 1) and row indices.
@njit(**HELPER)
def pat_pointers(n):  # type: ignore[no-untyped-def]
    return 3 * n


@njit(**HELPER)
def pat_rows(n):  # type: ignore[no-untyped-def]
    return 4 * n + 1


@njit(**HELPER)
def lu_factor(mat, at, n, pivots):  # type: ignore[no-untyped-def]
    """LU with partial pivoting of the row-major matrix at mat[at:], in place. False: singular."""
    for k in range(n):
        best, size = k, abs(load(mat, at + k * n + k))
        for i in range(k + 1, n):
            x = abs(load(mat, at + i * n + k))
            if x > size:
                best, size = i, x
        pivots[k] = best
        if not (size > 0.0 and size < np.inf):
            return False
        if best != k:
            for j in range(n):
                x = load(mat, at + k * n + j)
                store(mat, at + k * n + j, load(mat, at + best * n + j))
                store(mat, at + best * n + j, x)
        inverse = 1.0 / load(mat, at + k * n + k)
        for i in range(k + 1, n):
            factor = load(mat, at + i * n + k) * inverse
            store(mat, at + i * n + k, factor)
            if factor != 0.0:
                for j in range(k + 1, n):
                    x = load(mat, at + i * n + j) - factor * load(mat, at + k * n + j)
                    store(mat, at + i * n + j, x)
    return True


@njit(**HELPER)
def _lu_solve(mat, at, n, pivots, buf, b):  # type: ignore[no-untyped-def]
    """buf[b:] becomes the solution."""
    for k in range(n):
        pivot = pivots[k]
        if pivot != k:
            x = load(buf, b + k)
            store(buf, b + k, load(buf, b + pivot))
            store(buf, b + pivot, x)
    for i in range(1, n):
        acc = load(buf, b + i)
        for j in range(i):
            acc -= load(mat, at + i * n + j) * load(buf, b + j)
        store(buf, b + i, acc)
    for r in range(n):
        i = n - 1 - r
        acc = load(buf, b + i)
        for j in range(i + 1, n):
            acc -= load(mat, at + i * n + j) * load(buf, b + j)
        store(buf, b + i, acc / load(mat, at + i * n + i))


@njit(**HELPER)
def jacobian(fl, it, buf, mat, pat, p, workj):  # type: ignore[no-untyped-def]
    """J at the present state: all of it, or the entries of the pattern."""
    n = it[I_N]
    it[I_NJ] += 1
    if it[I_LINALG] <= DENSE:
        call_rhs(it[I_JAC], mat, 0, buf, ROW_U * n, p, fl[F_T], workj)
        return
    pointers, rows = pat_pointers(n), pat_rows(n)
    v, out = ROW_TMP * n, ROW_RHS * n
    for color in range(it[I_NCOLORS]):
        for j in range(n):
            store(buf, v + j, 1.0 if pat[j] == color else 0.0)
        call_jvp(it[I_JVP], buf, out, buf, ROW_U * n, p, fl[F_T], buf, v, workj)
        for j in range(n):
            if pat[j] == color:
                for k in range(pat[pointers + j], pat[pointers + j + 1]):
                    store(mat, k, load(buf, out + pat[rows + k]))


@njit(**HELPER)
def _norm_of_jacobian(it, buf, mat, pat):  # type: ignore[no-untyped-def]
    """Largest sum of absolute values of a row: a bound of the spectral radius."""
    n = it[I_N]
    sums = ROW_TMP * n
    for i in range(n):
        store(buf, sums + i, 0.0)
    if it[I_LINALG] <= DENSE:
        for i in range(n):
            acc = 0.0
            for j in range(n):
                acc += abs(load(mat, i * n + j))
            store(buf, sums + i, acc)
    else:
        rows = pat_rows(n)
        for k in range(pat[pat_pointers(n) + n]):
            i = pat[rows + k]
            store(buf, sums + i, load(buf, sums + i) + abs(load(mat, k)))
    worst = 0.0
    for i in range(n):
        worst = max(worst, load(buf, sums + i))
    return worst


@njit(**HELPER)
def factor_w(it, mat, mass, pat, pivots, sizes, scale):  # type: ignore[no-untyped-def]
    """W = scale*M - J and its factors. Returns False when it is singular."""
    n = it[I_N]
    kind = it[I_LINALG]
    it[I_NW] += 1
    if kind <= DENSE:
        w = n * n
        for i in range(n * n):
            store(mat, w + i, -load(mat, i))
        if it[I_MASS] == 0:
            for i in range(n):
                store(mat, w + i * n + i, load(mat, w + i * n + i) + scale)
        else:
            for i in range(n * n):
                store(mat, w + i, load(mat, w + i) + scale * load(mass, i))
        if kind == SMALL:
            return lu_factor(mat, w, n, pivots)
        call_getrf(it[I_TRF], sizes, mat, w, pivots)
        return sizes[LAPACK_INFO] == 0
    pointers, rows = pat_pointers(n), pat_rows(n)
    nnz = pat[pointers + n]
    w = nnz
    if kind == EXTERNAL:
        for k in range(nnz):
            store(mat, w + k, scale * load(mass, k) - load(mat, k))
        return True
    kl, ku = it[I_KL], it[I_KU]
    ld = 2 * kl + ku + 1
    for k in range(ld * n):
        store(mat, w + k, 0.0)
    for j in range(n):
        column = pat[2 * n + j]
        for k in range(pat[pointers + j], pat[pointers + j + 1]):
            row = pat[2 * n + pat[rows + k]]
            store(
                mat,
                w + column * ld + kl + ku + row - column,
                scale * load(mass, k) - load(mat, k),
            )
    call_gbtrf(it[I_TRF], sizes, mat, w, pivots)
    return sizes[LAPACK_INFO] == 0


@njit(**HELPER)
def solve_w(it, buf, mat, pat, pivots, sizes, b):  # type: ignore[no-untyped-def]
    """buf[b:] becomes the solution of W x = b. Not for EXTERNAL."""
    n = it[I_N]
    kind = it[I_LINALG]
    if kind == SMALL:
        _lu_solve(mat, n * n, n, pivots, buf, b)
    elif kind == DENSE:
        call_getrs(it[I_TRS], sizes, mat, n * n, pivots, buf, b)
    else:
        w = pat[pat_pointers(n) + n]
        x = ROW_TMP * n
        for i in range(n):
            store(buf, x + i, load(buf, b + pat[n + i]))
        call_gbtrs(it[I_TRS], sizes, mat, w, pivots, buf, x)
        for i in range(n):
            store(buf, b + pat[n + i], load(buf, x + i))


@njit(**HELPER)
def _add_mass_times(it, buf, mass, pat, x, out):  # type: ignore[no-untyped-def]
    """buf[out:] += M buf[x:]."""
    n = it[I_N]
    if it[I_MASS] == 0:
        for i in range(n):
            store(buf, out + i, load(buf, out + i) + load(buf, x + i))
    elif it[I_LINALG] <= DENSE:
        for i in range(n):
            acc = load(buf, out + i)
            for j in range(n):
                acc += load(mass, i * n + j) * load(buf, x + j)
            store(buf, out + i, acc)
    else:
        pointers, rows = pat_pointers(n), pat_rows(n)
        for j in range(n):
            factor = load(buf, x + j)
            for k in range(pat[pointers + j], pat[pointers + j + 1]):
                at = out + pat[rows + k]
                store(buf, at, load(buf, at) + load(mass, k) * factor)


@njit(**HELPER)
def _right_hand_side(fl, it, tab, coef, buf, mass, pat, p, work, s):  # type: ignore[no-untyped-def]
    """Row of stage s becomes the right-hand side of its linear system."""
    n = it[I_N]
    stages = tab[ROS_STAGES]
    t, h, tend = fl[F_T], fl[F_H], fl[F_TEND]
    k = ROW_K * n
    out = k + s * n
    if s == 0:
        copy_row(buf, out, ROW_F0 * n, n)
    else:
        combine(buf, ROW_TMP * n, ROW_U * n, 1.0, coef, tab[ROS_A] + s * stages, k, s, n)
        c = coef[tab[ROS_C] + s]
        call_rhs(it[I_F], buf, out, buf, ROW_TMP * n, p, tend if c == 1.0 else t + c * h, work)
        it[I_NF] += 1
        at = tab[ROS_CC] + s * stages
        combine(buf, ROW_TMP * n, ROW_ZERO * n, 1.0 / h, coef, at, k, s, n)
        _add_mass_times(it, buf, mass, pat, ROW_TMP * n, out)
    d = h * coef[tab[ROS_D] + s]
    if d != 0.0:
        for i in range(n):
            store(buf, out + i, load(buf, out + i) + d * load(buf, ROW_TGRAD * n + i))


@njit(**HELPER)
def _polynomial(it, tab, coef, buf):  # type: ignore[no-untyped-def]
    """Coefficients of theta**j of the dense output, from its nested form."""
    n = it[I_N]
    stages, degree = tab[ROS_STAGES], tab[ROS_DEGREE]
    k = ROW_K * n
    q = (ROW_K + stages) * n
    copy_row(buf, q, ROW_U * n, n)
    for i in range(n):
        x = load(buf, ROW_UNEW * n + i) - load(buf, ROW_U * n + i)
        store(buf, q + n + i, x)
    for j in range(2, degree + 1):
        for i in range(n):
            store(buf, q + j * n + i, 0.0)
    for l in range(degree - 1):
        at = ROW_TMP * n
        combine(buf, at, ROW_ZERO * n, 1.0, coef, tab[ROS_H] + l * stages, k, stages, n)
        lower, upper = q + (l + 1) * n, q + (l + 2) * n
        for i in range(n):
            x = load(buf, at + i)
            store(buf, lower + i, load(buf, lower + i) + x)
            store(buf, upper + i, load(buf, upper + i) - x)


@njit(**HELPER)
def _evaluate(fl, it, buf, mat, pat, p, work, workj, workt):  # type: ignore[no-untyped-def]
    """f, its time derivative and J at the present state. False: not finite."""
    n = it[I_N]
    call_rhs(it[I_F], buf, ROW_F0 * n, buf, ROW_U * n, p, fl[F_T], work)
    call_rhs(it[I_TGRAD], buf, ROW_TGRAD * n, buf, ROW_U * n, p, fl[F_T], workt)
    it[I_NF] += 1
    jacobian(fl, it, buf, mat, pat, p, workj)
    it[I_JFRESH] = 1
    if it[I_MAXCOUNT] > 0:
        fl[F_EIG] = _norm_of_jacobian(it, buf, mat, pat)
    return all_finite(buf, ROW_F0 * n, n) and all_finite(buf, ROW_TGRAD * n, n)


@njit(**HELPER)
def _start(fl, it, buf, saveat, t_out, u_out, idxs):  # type: ignore[no-untyped-def]
    """First output."""
    save_start(fl, it, buf, saveat, t_out, u_out, idxs)
    it[I_STARTED] = 1


@njit(**HELPER)
def _guess_step(fl, it, tab, buf, p, work, tol):  # type: ignore[no-untyped-def]
    """Size of a first step. Row ROW_F0 holds f."""
    n = it[I_N]
    if it[I_MASS] == 0:
        h = first_step(fl, it, buf, p, work, tol, ROW_F0 * n, ROW_K * n, tab[ROS_ORDER])
    else:  # f is not the derivative; the first accepted step may grow the next one fast
        h = min(1e-6, 1e-6 * fl[F_DTMAX])
    fl[F_DT] = fl[F_TDIR] * h


@njit(**HELPER)
def _reject(fl, it, factor):  # type: ignore[no-untyped-def]
    it[I_NREJ] += 1
    it[I_PHASE] = STEP
    fl[F_DT] = fl[F_H] * factor


def integrator(watching: bool) -> Any:
    """Compile `run`, with or without what events and corrections of the state need.

    Without it, which is nearly always, it compiles in half the time.
    """

    @njit(signature("int64", "FIIFFFJJFIFFFFFFFFFFFI"), **ENTRY)
    def run(  # type: ignore[no-untyped-def]
        fl, it, tab, coef, buf, mat, pivots, sizes, mass, pat, p, work, workj, workt, tol, saveat,
        tstops, t_out, u_out, d_t, d_c, idxs,
    ):  # fmt: skip
        """Integrate until the last of `tstops`, or until something else has to be done first.

        `mat`: J, then W and its factors; `mass`: M row-major, or its values on the pattern; `pat`:
        the pattern. The other arguments are those of `explicit.run`. Returns one of the codes of
        `common`.
        """
        n = it[I_N]
        stages = tab[ROS_STAGES]
        k = ROW_K * n
        q = (ROW_K + stages) * n
        adaptive = it[I_ADAPTIVE]
        tdir = fl[F_TDIR]
        external = it[I_LINALG] == EXTERNAL
        if not watching and has_events(it):
            return WATCH
        while it[I_STOP] < tstops.size:
            if it[I_PHASE] == STEP:
                if it[I_ITER] >= it[I_MAXITERS]:
                    return MAXITERS
                if it[I_ITER] >= it[I_CHUNK]:
                    return AGAIN
                if not has_room(it, t_out, d_t):
                    return GROW
                if it[I_JFRESH] == 0 and not _evaluate(
                    fl, it, buf, mat, pat, p, work, workj, workt
                ):
                    return BAD_START if it[I_STARTED] == 0 else UNSTABLE
                if it[I_STARTED] == 0:
                    if watching and it[I_WATCH] > 0:
                        start_watching(it, buf, p, fl[F_T], work)
                    _start(fl, it, buf, saveat, t_out, u_out, idxs)
                if fl[F_DT] == 0.0:  # at the start, and after an event
                    _guess_step(fl, it, tab, buf, p, work, tol)
                stop = tstops[it[I_STOP]]
                h, on_stop = clip_step(fl[F_T], fl[F_DT], stop, fl[F_DTMAX], adaptive)
                if h == 0.0:  # a stop at the present time
                    it[I_STOP] += 1
                    if it[I_STOP] == it[I_EVENT_STOP]:
                        return EVENT
                    continue
                if adaptive == 1 and not on_stop and too_small(fl[F_T], h, fl[F_DTMIN]):
                    return UNSTABLE if it[I_BAD] == 1 else DTMIN
                fl[F_H] = h
                fl[F_TNEW] = stop if on_stop else fl[F_T] + h
                fl[F_TEND] = end_of_step(it, tstops.size, h, fl[F_TNEW], on_stop)
                it[I_ON_STOP] = 1 if on_stop else 0
                it[I_ITER] += 1
                regular = factor_w(it, mat, mass, pat, pivots, sizes, 1.0 / (coef[0] * h))
                it[I_SINGULAR] = 0 if regular else 1
                it[I_STAGE] = 0
                it[I_PHASE] = STAGES
                if external:
                    return FACTOR

            h = fl[F_H]
            if it[I_SINGULAR] == 1:
                if adaptive == 0:
                    return UNSTABLE
                it[I_BAD] = 1
                _reject(fl, it, fl[F_QMIN])
                continue
            waiting = False
            while it[I_STAGE] < stages:
                if it[I_PHASE] == STAGES:
                    _right_hand_side(fl, it, tab, coef, buf, mass, pat, p, work, it[I_STAGE])
                    it[I_NSOLVE] += 1
                    it[I_PHASE] = SOLVED
                    if external:
                        waiting = True
                        break
                    solve_w(it, buf, mat, pat, pivots, sizes, k + it[I_STAGE] * n)
                it[I_STAGE] += 1
                it[I_PHASE] = STAGES
            if waiting:
                return SOLVE

            combine(buf, ROW_UNEW * n, ROW_U * n, 1.0, coef, tab[ROS_B], k, stages, n)
            factor = 1.0  # dt_new / h
            if adaptive == 1:
                combine(buf, ROW_TMP * n, ROW_ZERO * n, 1.0, coef, tab[ROS_E], k, stages, n)
                eest = error_norm(
                    buf, ROW_TMP * n, ROW_U * n, ROW_UNEW * n, n, tol, it[I_ATOL1], it[I_RTOL1]
                )
                fl[F_EEST] = eest
                if not np.isfinite(eest):
                    it[I_BAD] = 1
                    _reject(fl, it, fl[F_QMIN])
                    continue
                it[I_BAD] = 0
                if eest > 1.0:
                    _reject(fl, it, shrink_by(fl, eest))
                    continue
                factor = grow_by(fl, it, eest)
            elif not all_finite(buf, ROW_UNEW * n, n):
                return UNSTABLE

            tnew = fl[F_TNEW]
            if (
                watching
                and it[I_POSITIVE] + it[I_NRES] > 0
                and (correct_step(it, buf, p, tnew, work, tol) == REFUSED)
            ):
                _reject(fl, it, 0.5)
                continue

            it[I_NACC] += 1
            it[I_GUESS] = 0
            it[I_PHASE] = STEP
            it[I_JFRESH] = 0
            watched = watching and it[I_WATCH] > 0
            if watched or wants_poly(fl, it, tnew, saveat):
                _polynomial(it, tab, coef, buf)
            happens = DONE
            if watching and watched:
                happens, tnew = watch_step(it, buf, p, work, q, tab[ROS_DEGREE], fl[F_T], tnew)
                if happens == ZENO:
                    return ZENO
                if tnew != fl[F_TNEW]:
                    it[I_ON_STOP] = 0
            save_step(fl, it, buf, q, tab[ROS_DEGREE], tnew, saveat, t_out, u_out, d_t, d_c, idxs)
            if it[I_LOG] > 0:
                log_step(fl, it, buf, k, stages, h, fl[F_TEND], fl[F_TNEW], d_t, d_c)
            copy_row(buf, ROW_U * n, ROW_UNEW * n, n)
            fl[F_T] = tnew
            if it[I_ON_STOP] == 1:
                it[I_STOP] += 1
                if it[I_STOP] == it[I_EVENT_STOP]:
                    happens = EVENT
            if adaptive == 1:
                new = abs(h) * factor
                if it[I_ON_STOP] == 1:  # the step was cut short: the controller had allowed dt
                    new = max(new, abs(fl[F_DT]))
                fl[F_DT] = tdir * min(new, fl[F_DTMAX])
            if happens == EVENT:
                return EVENT
            if it[I_MAXCOUNT] > 0:
                # Would the explicit method be stable with this step?
                calm = fl[F_EIG] * abs(h) <= fl[F_STIFF_BOUND]
                it[I_COUNT] = min(it[I_COUNT], 0) - 1 if calm else 0
                if it[I_COUNT] < -it[I_MAXCOUNT]:
                    fl[F_DT] *= fl[F_DT_SWITCH]
                    it[I_COUNT] = 0
                    return SWITCH
        return DONE

    return run


run = integrator(watching=False)
