"""What the compiled integrators share: the layout of their state and their inner loops.

Every vector of length n is a row of one flat buffer `buf`; a row is named by the offset of its
first element. The scalar state of a run lives in two arrays (floats `fl`, integers `it`), so that a
run can stop after a number of steps, return to Python (Ctrl-C, more room for results, a change of
method) and go on as if nothing had happened. Integers are int64, times and states float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pysciml.engines.native.pointers import call_rhs, load, store

# Floats of a run.
(
    F_T,  # time reached
    F_DT,  # size of the next step, signed; 0: choose it
    F_DTMIN,
    F_DTMAX,  # both > 0
    F_SAFETY,
    F_QMIN,  # bounds of dt_new/dt
    F_QMAX,
    F_BETA1,  # gains of the PI controller
    F_BETA2,
    F_STEADY_LO,  # deadband: dt/dt_new in between keeps dt
    F_STEADY_HI,
    F_ERROLD,  # error of the last accepted step
    F_EEST,  # error of the last attempt, in units of the tolerance
    F_STIFF_BOUND,  # |dt * eigenvalue| above (explicit) or below (implicit) which steps are counted
    F_DT_SWITCH,  # factor of dt when the method is changed
    F_EIG,  # estimate of the dominant eigenvalue
    F_TDIR,  # +1 or -1
    F_H,  # implicit methods: the step in progress
    F_TNEW,
    F_TEND,  # see `end_of_step`
    F_INDEX_COUNT,
) = range(21)

# Integers of a run.
(
    I_N,  # length of the state
    I_F,  # addresses of the model's functions
    I_JAC,
    I_TGRAD,
    I_JVP,
    I_STARTED,  # first step size and first output are done
    I_K0,  # the first stage of the next step is known
    I_ITER,  # attempted steps
    I_MAXITERS,
    I_CHUNK,  # return to Python when I_ITER reaches this
    I_NF,
    I_NJ,
    I_NW,
    I_NSOLVE,
    I_NACC,
    I_NREJ,
    I_ADAPTIVE,
    I_EVERYSTEP,  # save every accepted step
    I_DENSE,  # keep every step's polynomial, of this degree (0: no)
    I_SAVE,  # next index into saveat
    I_STOP,  # next index into tstops
    I_NOUT,  # rows saved
    I_NDENSE,  # polynomials, or steps of the log, kept
    I_ATOL1,  # 1 when abstol is an array, 0 when it is one number
    I_RTOL1,
    I_NIDX,  # number of components saved; 0: all
    I_COUNT,  # consecutive stiff (> 0) or non-stiff (< 0) steps
    I_MAXCOUNT,  # how many of them ask for a change of method; 0: never
    I_BAD,  # the last attempt was not finite
    I_PHASE,  # implicit methods: where to go on
    I_STAGE,
    I_ON_STOP,  # the step in progress ends on a stop
    I_LINALG,  # kind of linear algebra, one of those in `rosenbrock`
    I_JFRESH,  # the Jacobian belongs to the present state
    I_KL,  # lower and upper bandwidth
    I_KU,
    I_NCOLORS,
    I_TRF,  # addresses of LAPACK's factorisation and solution
    I_TRS,
    I_MASS,  # 0: the identity
    I_SINGULAR,  # W could not be factored
    I_LOG,  # keep every step's stages, in rows of this many floats (0: no)
    I_NP,  # adjoint: number of parameters
    I_VJP,  # addresses of the products with f's derivatives
    I_JVP_VJP,
    I_TGRAD_VJP,
    I_ROW,  # step of the log in progress
    I_GUESS,  # the size of the next step is a guess, no controller has looked at it
    I_EVENT_STOP,  # an event is due when I_STOP gets to this; 0: never
    I_WATCH,  # number of conditions that are watched; see `watch` for what lies where
    I_WATCH_AT,  # where their memory begins in `work`
    I_POINTS,  # points of a step that they are looked at
    I_COND,  # address of the conditions, and where their scratch space begins in `work`
    I_COND_WORK,
    I_RATE,  # the same of their time derivatives
    I_RATE_WORK,
    I_POSITIVE,  # number of components that stay positive, and where their indices are in `work`
    I_POSITIVE_AT,
    I_NRES,  # number of residuals that each step is projected to zeros of
    I_RES,  # address and scratch space of the residuals and of their Jacobian, and memory
    I_RES_WORK,
    I_RES_JAC,
    I_RES_JAC_WORK,
    I_RES_AT,
    I_INDEX_COUNT,
) = range(65)

# What a run returns.
DONE, AGAIN, GROW, MAXITERS, DTMIN, UNSTABLE, SWITCH, FACTOR, SOLVE, BAD_START = range(10)
# ZENO: events follow each other within rounding errors of the time. WATCH: the loop was compiled
# without events. The last two come from Python.
EVENT, ZENO, WATCH, TERMINATED, BAD_AFFECT = range(10, 15)

# First rows of `buf`, common to all integrators: the state, the new state, one scratch row.
ROW_U, ROW_UNEW, ROW_TMP = 0, 1, 2

# A step's row in the log of a run: its size, the time of its last stages, the time it leads to
# (an event may lie before), the state, the stages.
LOG_H, LOG_TEND, LOG_TNEW, LOG_U = range(4)

EPS = 2.220446049250313e-16
# Fused multiply-add. Vectorised sums ("reassoc") would cost more than they bring in short loops.
FLAGS = {"contract"}

# Nothing here allocates: without reference counts the loops are faster and compile sooner.
# The entry points are kept on disk; the helpers become part of them.
ENTRY: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "fastmath": FLAGS,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
    "_nrt": False,
}
HELPER: dict[str, Any] = {
    "nogil": True,
    "fastmath": FLAGS,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
    "_nrt": False,
    "no_cpython_wrapper": True,
}

# For what is called in each step: each array that is handed over costs seven arguments.
INLINED = {**HELPER, "forceinline": True}


def signature(returns: str, *arguments: str) -> str:
    """Numba's spelling of an entry point's type, given so that a cached one is loaded at once.

    F, I, J: arrays of float64, int64, int32; x, i: numbers.
    """
    names = {
        "F": "float64[::1]",
        "I": "int64[::1]",
        "J": "int32[::1]",
        "x": "float64",
        "i": "int64",
    }
    listed = ", ".join(names[letter] for letter in "".join(arguments))
    return f"{returns}({listed})"


@njit(**HELPER)
def combine(buf, out, base, scale, coef, coef_at, first, m, n):  # type: ignore[no-untyped-def]
    """buf[out:] = buf[base:] + scale * sum_j coef[coef_at + j] * buf[first + j*n:], j < m."""
    if n < 16:
        # Four terms at a time: the ends of loops over them one by one would be mispredicted.
        for i in range(0, n, 2):  # two components at once fill a register
            pair = 1 if i + 1 < n else 0
            acc0, acc1 = 0.0, 0.0
            for j in range(0, m, 4):
                j1, j2, j3 = min(j + 1, m - 1), min(j + 2, m - 1), min(j + 3, m - 1)
                c0 = load(coef, coef_at + j)
                c1 = load(coef, coef_at + j1) * (1.0 if j + 1 < m else 0.0)
                c2 = load(coef, coef_at + j2) * (1.0 if j + 2 < m else 0.0)
                c3 = load(coef, coef_at + j3) * (1.0 if j + 3 < m else 0.0)
                at = first + i
                r0, r1, r2, r3 = at + j * n, at + j1 * n, at + j2 * n, at + j3 * n
                low0 = c0 * load(buf, r0) + c1 * load(buf, r1)
                high0 = c2 * load(buf, r2) + c3 * load(buf, r3)
                low1 = c0 * load(buf, r0 + pair) + c1 * load(buf, r1 + pair)
                high1 = c2 * load(buf, r2 + pair) + c3 * load(buf, r3 + pair)
                acc0 += low0 + high0
                acc1 += low1 + high1
            store(buf, out + i + pair, load(buf, base + i + pair) + scale * acc1)
            store(buf, out + i, load(buf, base + i) + scale * acc0)
        return
    # Long rows: pass over four of them at a time.
    for i in range(n):
        store(buf, out + i, load(buf, base + i))
    for j in range(0, m, 4):
        a0 = scale * load(coef, coef_at + j)
        a1 = scale * load(coef, coef_at + j + 1) if j + 1 < m else 0.0
        a2 = scale * load(coef, coef_at + j + 2) if j + 2 < m else 0.0
        a3 = scale * load(coef, coef_at + j + 3) if j + 3 < m else 0.0
        r0 = first + j * n
        r1 = first + min(j + 1, m - 1) * n
        r2 = first + min(j + 2, m - 1) * n
        r3 = first + min(j + 3, m - 1) * n
        for i in range(n):
            low = a0 * load(buf, r0 + i) + a1 * load(buf, r1 + i)
            high = a2 * load(buf, r2 + i) + a3 * load(buf, r3 + i)
            store(buf, out + i, load(buf, out + i) + (low + high))


@njit(**HELPER)
def error_norm(buf, err, u0, u1, n, tol, a1, r1):  # type: ignore[no-untyped-def]
    """Root mean square of err/(abstol + max(|u0|, |u1|)*reltol), as SciML measures it.

    `tol` holds abstol, then reltol; `a1`, `r1`: 1 for one tolerance per component, else 0.
    """
    r_at = n if a1 == 1 else 1
    acc = 0.0
    for i in range(n):
        size = max(abs(load(buf, u0 + i)), abs(load(buf, u1 + i)))
        x = load(buf, err + i) / (load(tol, a1 * i) + size * load(tol, r_at + r1 * i))
        acc += x * x
    return np.sqrt(acc / n)


@njit(**HELPER)
def grow_by(fl, it, eest):  # type: ignore[no-untyped-def]
    """Next step size over that of an accepted step with error `eest`: SciML's PI controller."""
    # by logarithms, as powers take twice as long
    q = np.exp(fl[F_BETA1] * np.log(eest) - fl[F_BETA2] * np.log(fl[F_ERROLD])) / fl[F_SAFETY]
    # A first step size is a guess: let it grow fast once.
    qmax = max(fl[F_QMAX], 1e4) if it[I_GUESS] == 1 else fl[F_QMAX]
    q = min(max(q, 1.0 / qmax), 1.0 / fl[F_QMIN])
    if fl[F_STEADY_LO] <= q <= fl[F_STEADY_HI]:
        q = 1.0
    fl[F_ERROLD] = max(eest, 1e-4)
    return 1.0 / q


@njit(**HELPER)
def shrink_by(fl, eest):  # type: ignore[no-untyped-def]
    """Next step size over that of a rejected step with error `eest`."""
    return 1.0 / min(1.0 / fl[F_QMIN], eest ** fl[F_BETA1] / fl[F_SAFETY])


@njit(**HELPER)
def has_events(it):  # type: ignore[no-untyped-def]
    """Whether there are conditions to watch, times of events, or corrections of the state."""
    return it[I_WATCH] + it[I_EVENT_STOP] + it[I_POSITIVE] + it[I_NRES] > 0


@njit(**HELPER)
def all_finite(buf, at, n):  # type: ignore[no-untyped-def]
    """Whether n numbers from buf[at] on are all finite."""
    worst = 0.0
    for i in range(n):
        worst += 0.0 * load(buf, at + i)  # NaN for an infinity, too
    return worst == 0.0


@njit(**HELPER)
def copy_row(buf, to, at, n):  # type: ignore[no-untyped-def]
    """buf[to:] = buf[at:], n numbers."""
    for i in range(n):
        store(buf, to + i, load(buf, at + i))


@njit(**HELPER)
def clear(buf, at, n):  # type: ignore[no-untyped-def]
    """buf[at:] = 0, n numbers."""
    for i in range(n):
        store(buf, at + i, 0.0)


@njit(**HELPER)
def add_to(out, to, factor, buf, at, n):  # type: ignore[no-untyped-def]
    """out[to:] += factor * buf[at:], n numbers."""
    for i in range(n):
        store(out, to + i, load(out, to + i) + factor * load(buf, at + i))


@njit(**HELPER)
def first_step(fl, it, buf, p, work, tol, f0, scratch, order):  # type: ignore[no-untyped-def]
    """Size (> 0) of the first step: Hairer, Nørsett, Wanner, "Solving ODEs I", II.4.

    `f0`: row with f(u0, t0). `scratch`: two free rows. Costs one call of f.
    """
    n = it[I_N]
    a1, r1 = it[I_ATOL1], it[I_RTOL1]
    tdir = fl[F_TDIR]
    d0 = error_norm(buf, ROW_U * n, ROW_U * n, ROW_U * n, n, tol, a1, r1)
    d1 = error_norm(buf, f0, ROW_U * n, ROW_U * n, n, tol, a1, r1)
    h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    h0 = min(h0, fl[F_DTMAX])
    for i in range(n):
        store(buf, scratch + i, load(buf, i) + tdir * h0 * load(buf, f0 + i))
    call_rhs(it[I_F], buf, scratch + n, buf, scratch, p, fl[F_T] + tdir * h0, work)
    it[I_NF] += 1
    for i in range(n):
        store(buf, scratch + i, load(buf, scratch + n + i) - load(buf, f0 + i))
    d2 = error_norm(buf, scratch, ROW_U * n, ROW_U * n, n, tol, a1, r1) / h0
    steepest = max(d1, d2)
    if not np.isfinite(steepest):
        return min(h0, 1e-6)
    h1 = max(1e-6, h0 * 1e-3) if steepest <= 1e-15 else (0.01 / steepest) ** (1.0 / (order + 1))
    return min(100.0 * h0, h1, fl[F_DTMAX])


@njit(**HELPER)
def store_state(buf, at, n, idxs, nidx, u_out, row):  # type: ignore[no-untyped-def]
    """Copy the state at buf[at:], or the components `idxs` of it, to row `row` of `u_out`."""
    if nidx == 0:
        for i in range(n):
            store(u_out, row * n + i, load(buf, at + i))
    else:
        for i in range(nidx):
            u_out[row * nidx + i] = buf[at + idxs[i]]


@njit(**HELPER)
def store_poly(buf, q, degree, theta, n, idxs, nidx, u_out, row):  # type: ignore[no-untyped-def]
    """Save sum_j theta**j buf[q + j*n:], j <= degree."""
    width = n if nidx == 0 else nidx
    for i in range(width):
        col = i if nidx == 0 else idxs[i]
        acc = load(buf, q + degree * n + col)
        for j in range(1, degree + 1):
            acc = acc * theta + load(buf, q + (degree - j) * n + col)
        store(u_out, row * width + i, acc)


@njit(**HELPER)
def save_step(  # type: ignore[no-untyped-def]
    fl, it, buf, q, degree, tnew, saveat, t_out, u_out, d_t, d_c, idxs
):
    """Output of the accepted step from F_T to `tnew`.

    `q`: rows of the step's polynomial in theta (only set when `wants_poly` said so). The new state
    is in ROW_UNEW.
    """
    n, nidx, tdir = it[I_N], it[I_NIDX], fl[F_TDIR]
    t = fl[F_T]
    k = it[I_SAVE]
    while k < saveat.size and (tnew - saveat[k]) * tdir >= 0.0:
        if saveat[k] == tnew:
            store_state(buf, ROW_UNEW * n, n, idxs, nidx, u_out, k)
        else:
            theta = (saveat[k] - t) / (tnew - t)
            store_poly(buf, q, degree, theta, n, idxs, nidx, u_out, k)
        k += 1
    it[I_SAVE] = k
    if it[I_DENSE] > 0:
        row = it[I_NDENSE]
        width = it[I_DENSE] + 1
        d_t[row] = t
        at = row * width * n
        for i in range((degree + 1) * n):
            store(d_c, at + i, load(buf, q + i))
        for i in range((degree + 1) * n, width * n):
            store(d_c, at + i, 0.0)
        it[I_NDENSE] = row + 1
    if it[I_EVERYSTEP] == 1:
        row = it[I_NOUT]
        t_out[row] = tnew
        store_state(buf, ROW_UNEW * n, n, idxs, nidx, u_out, row)
        it[I_NOUT] = row + 1


@njit(**HELPER)
def log_step(fl, it, buf, k, stages, h, tend, tnew, d_t, d_c):  # type: ignore[no-untyped-def]
    """Keep what the adjoint of the step of size h from F_T to `tnew` takes.

    To be called while ROW_U still holds the state at F_T. `k`: the first of the stages' rows.
    """
    n, row = it[I_N], it[I_NDENSE]
    at = row * it[I_LOG]
    d_t[row] = fl[F_T]
    d_c[at + LOG_H] = h
    d_c[at + LOG_TEND] = tend
    d_c[at + LOG_TNEW] = tnew
    for i in range(n):
        store(d_c, at + LOG_U + i, load(buf, ROW_U * n + i))
    for i in range(stages * n):
        store(d_c, at + LOG_U + n + i, load(buf, k + i))
    it[I_NDENSE] = row + 1


@njit(**HELPER)
def save_start(fl, it, buf, saveat, t_out, u_out, idxs):  # type: ignore[no-untyped-def]
    """Output at the initial time."""
    n, nidx = it[I_N], it[I_NIDX]
    while it[I_SAVE] < saveat.size and saveat[it[I_SAVE]] == fl[F_T]:
        store_state(buf, ROW_U * n, n, idxs, nidx, u_out, it[I_SAVE])
        it[I_SAVE] += 1
    if it[I_EVERYSTEP] == 1:
        t_out[0] = fl[F_T]
        # I_NOUT is 0 here; a literal would have the helper compiled once more
        store_state(buf, ROW_U * n, n, idxs, nidx, u_out, it[I_NOUT])
        it[I_NOUT] = 1


@njit(**HELPER)
def wants_poly(fl, it, tnew, saveat):  # type: ignore[no-untyped-def]
    """Whether the output of the step to `tnew` needs its polynomial."""
    if it[I_DENSE] > 0:
        return True
    k = it[I_SAVE]
    return k < saveat.size and (tnew - saveat[k]) * fl[F_TDIR] > 0.0


@njit(**HELPER)
def has_room(it, t_out, d_t):  # type: ignore[no-untyped-def]
    """Whether one more step's output fits."""
    if it[I_EVERYSTEP] == 1 and it[I_NOUT] >= t_out.size:
        return False
    return not ((it[I_DENSE] > 0 or it[I_LOG] > 0) and it[I_NDENSE] >= d_t.size - 1)


@njit(**HELPER)
def clip_step(t, dt, stop, dtmax, adaptive):  # type: ignore[no-untyped-def]
    """The step to take, and whether it ends on the stop.

    A step that would end just short of the stop is stretched onto it, so that no tiny step is left.
    """
    rest = stop - t
    stretch = 1.01 if adaptive == 1 else 1.0 + 1e-6
    if abs(rest) <= stretch * abs(dt) and (abs(rest) <= abs(dt) or abs(rest) <= dtmax * 1.000001):
        return rest, True
    return dt, False


@njit(**HELPER)
def end_of_step(it, stops, h, tnew, on_stop):  # type: ignore[no-untyped-def]
    """Time of the stages at the end of a step: just before a stop inside the interval.

    There f may jump; the step that ends there must not see what comes after.
    """
    if on_stop and it[I_STOP] < stops - 1:
        return tnew - np.copysign(2.0 * EPS * (abs(tnew) + abs(h)), h)
    return tnew


@njit(**HELPER)
def too_small(t, h, dtmin):  # type: ignore[no-untyped-def]
    """Whether |h| is below the user's limit or is lost against t."""
    return abs(h) < max(dtmin, 4.0 * EPS * abs(t), 1e-300)


@njit(signature("void", "FFFiixF"), **ENTRY)
def eval_dense(ts, d_t, d_c, degree, n, tdir, out):  # type: ignore[no-untyped-def]
    """out[k*n:] = state at ts[k], from the polynomials of the steps that begin at d_t[:-1].

    `d_t` has one entry more than there are steps: the end of the last one.
    """
    steps = d_t.size - 1
    width = (degree + 1) * n
    for k in range(ts.size):
        x = ts[k]
        lo, hi = 0, steps
        while hi - lo > 1:
            mid = (lo + hi) // 2
            if (x - d_t[mid]) * tdir >= 0.0:
                lo = mid
            else:
                hi = mid
        theta = (x - d_t[lo]) / (d_t[lo + 1] - d_t[lo])
        at = lo * width
        for i in range(n):
            acc = load(d_c, at + degree * n + i)
            for j in range(1, degree + 1):
                acc = acc * theta + load(d_c, at + (degree - j) * n + i)
            store(out, k * n + i, acc)
