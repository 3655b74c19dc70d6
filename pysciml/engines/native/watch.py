"""What the compiled integrators do about events, after a step and before its output.

A state that has to stay positive or on a manifold is corrected, or the step is refused. Then the
conditions of the events are looked at, at points of the step's polynomial. Where one of them
changes its sign, the step ends: at the last time before the change, found by the ITP method
(I. F. D. Oliveira, R. H. C. Takahashi, "An enhancement of the bisection method average performance
preserving minmax optimality", ACM Trans. Math. Softw. 47 (2021) 5), which needs no more evaluations
than bisection, and most often very few.

An event must not happen again where it has just happened. A condition that is about zero after an
event is `fresh`: its sign is that of its derivative in time, so that it has to come back first.

All memory is a part of `work`, the scratch space of the model's functions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pysciml.engines.native.common import (
    DONE,
    EPS,
    EVENT,
    HELPER,
    I_ATOL1,
    I_COND,
    I_COND_WORK,
    I_N,
    I_NRES,
    I_POINTS,
    I_POSITIVE,
    I_POSITIVE_AT,
    I_RATE,
    I_RATE_WORK,
    I_RES,
    I_RES_AT,
    I_RES_JAC,
    I_RES_JAC_WORK,
    I_RES_WORK,
    I_WATCH,
    I_WATCH_AT,
    ROW_TMP,
    ROW_U,
    ROW_UNEW,
    ZENO,
    copy_row,
    too_small,
)
from pysciml.engines.native.pointers import call_jvp_at, call_rhs_at, load, store

# The memory of the conditions, from work[I_WATCH_AT:] on, one number for each of them: the sign
# that it has at the start of a step; whether that is to be taken from its derivative; whether its
# event happens; which changes of sign count, DISCRETE for a condition that is true or false; its
# value, the largest one in the step, one that is tried, the place of its event in the step.
W_SIGN, W_FRESH, W_HAPPENS, W_DIRECTION, W_VALUE, W_SCALE, W_TRIAL, W_ROOT, W_COUNT = range(9)

DISCRETE = 2.0
NOWHERE = 2.0  # where in [0, 1] an event is that does not happen
AT_ONCE = -1.0  # where one is that happens before the time can have changed

SAME, CHANGED, REFUSED = range(3)  # what became of a new state
_PROJECTIONS = 10  # most Newton steps


@njit(**HELPER)
def _sign(x):  # type: ignore[no-untyped-def]
    return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)


@njit(**HELPER)
def _crossed(sign, value):  # type: ignore[no-untyped-def]
    """Whether a value that had this sign has become zero or changed it; a NaN has not."""
    return sign != 0.0 and sign * value <= 0.0


# -- corrections -----------------------------------------------------------------------------------
@njit(**HELPER)
def _make_positive(it, buf, work, tol):  # type: ignore[no-untyped-def]
    """Zero where the new state is negative by no more than abstol."""
    verdict = SAME
    for j in range(it[I_POSITIVE]):
        i = int(work[it[I_POSITIVE_AT] + j])
        x = buf[ROW_UNEW * it[I_N] + i]
        if x < -tol[it[I_ATOL1] * i]:
            return REFUSED
        if x < 0.0:
            buf[ROW_UNEW * it[I_N] + i] = 0.0
            verdict = CHANGED
    return verdict


@njit(**HELPER)
def _solve_normal(work, g, jac, a, m, n):  # type: ignore[no-untyped-def]
    """work[g:] becomes the solution of J J^T x = work[g:], by Cholesky. False: J has no full rank.

    `jac`: J, (m, n); `a`: room for the factor.
    """
    for r in range(m):
        for s in range(r + 1):
            acc = 0.0
            for i in range(n):
                acc += load(work, jac + r * n + i) * load(work, jac + s * n + i)
            for k in range(s):
                acc -= work[a + r * m + k] * work[a + s * m + k]
            if s < r:
                work[a + r * m + s] = acc / work[a + s * m + s]
            elif acc > 0.0:
                work[a + r * m + r] = np.sqrt(acc)
            else:
                return False
    for r in range(m):
        for k in range(r):
            work[g + r] -= work[a + r * m + k] * work[g + k]
        work[g + r] /= work[a + r * m + r]
    for back in range(m):
        r = m - 1 - back
        for k in range(r + 1, m):
            work[g + r] -= work[a + k * m + r] * work[g + k]
        work[g + r] /= work[a + r * m + r]
    return True


@njit(**HELPER)
def _project(it, buf, p, t, work):  # type: ignore[no-untyped-def]
    """The new state becomes the nearest zero of the residuals (Hairer, Lubich, Wanner, "Geometric
    numerical integration", IV.4), by Newton's method.
    """
    n, m = it[I_N], it[I_NRES]
    u = ROW_UNEW * n
    g = it[I_RES_AT]
    jac, a = g + m, g + m + m * n
    for _ in range(_PROJECTIONS):
        call_rhs_at(it[I_RES], work, g, buf, u, p, t, work, it[I_RES_WORK])
        call_rhs_at(it[I_RES_JAC], work, jac, buf, u, p, t, work, it[I_RES_JAC_WORK])
        if not _solve_normal(work, g, jac, a, m, n):
            return REFUSED
        moved, size = 0.0, 0.0
        for i in range(n):
            delta = 0.0
            for r in range(m):
                delta += load(work, jac + r * n + i) * load(work, g + r)
            x = load(buf, u + i) - delta
            store(buf, u + i, x)
            moved += delta * delta
            size += x * x
        if moved <= 1e-16 * size:  # the error is now the square of what was moved
            return CHANGED
    return REFUSED


@njit(**HELPER)
def correct_step(it, buf, p, t, work, tol):  # type: ignore[no-untyped-def]
    """Correct the new state, at time t: SAME, CHANGED, or REFUSED for a smaller step."""
    verdict = _make_positive(it, buf, work, tol)
    if verdict != REFUSED and it[I_NRES] > 0:
        verdict = _project(it, buf, p, t, work)
    return verdict


@njit(**HELPER)
def close_polynomial(buf, q, degree, n):  # type: ignore[no-untyped-def]
    """Let the step's polynomial end at the new state, which was corrected."""
    for i in range(n):
        end = 0.0
        for j in range(degree + 1):
            end += load(buf, q + j * n + i)
        at = q + n + i
        store(buf, at, load(buf, at) + load(buf, ROW_UNEW * n + i) - end)


# -- conditions ------------------------------------------------------------------------------------
@njit(**HELPER)
def _conditions(it, buf, u, p, t, work, which):  # type: ignore[no-untyped-def]
    """The conditions at (buf[u:], p, t) become the part `which` of their memory."""
    out = it[I_WATCH_AT] + which * it[I_WATCH]
    call_rhs_at(it[I_COND], work, out, buf, u, p, t, work, it[I_COND_WORK])


@njit(**HELPER)
def start_watching(it, buf, p, t, work):  # type: ignore[no-untyped-def]
    """The signs at the start of a run."""
    count = it[I_WATCH]
    at = it[I_WATCH_AT]
    _conditions(it, buf, ROW_U * it[I_N], p, t, work, W_VALUE)
    for k in range(at, at + count):
        work[k + W_SIGN * count] = _sign(work[k + W_VALUE * count])
        work[k + W_FRESH * count] = 1.0 if work[k + W_VALUE * count] == 0.0 else 0.0
        work[k + W_HAPPENS * count] = 0.0


@njit(**HELPER)
def _signs_of_rates(it, buf, p, work, q, t, h):  # type: ignore[no-untyped-def]
    """The signs of fresh conditions just after the start of the step."""
    n, count, at = it[I_N], it[I_WATCH], it[I_WATCH_AT]
    fresh = False
    for k in range(at, at + count):
        fresh = fresh or work[k + W_FRESH * count] == 1.0
    if not fresh:
        return
    slope = ROW_TMP * n
    for i in range(n):
        store(buf, slope + i, load(buf, q + n + i) / h)
    out = at + W_TRIAL * count
    u = ROW_U * n
    call_jvp_at(it[I_RATE], work, out, buf, u, p, t, buf, slope, work, it[I_RATE_WORK])
    for k in range(at, at + count):
        if work[k + W_FRESH * count] == 1.0:
            work[k + W_SIGN * count] = _sign(work[k + W_TRIAL * count] * h)


@njit(**HELPER)
def _state_in_step(it, buf, q, degree, theta, out):  # type: ignore[no-untyped-def]
    """buf[out:] = sum_j theta**j buf[q + j*n:]."""
    n = it[I_N]
    for i in range(n):
        acc = load(buf, q + degree * n + i)
        for j in range(1, degree + 1):
            acc = acc * theta + load(buf, q + (degree - j) * n + i)
        store(buf, out + i, acc)


@njit(**HELPER)
def _look(it, buf, p, work, q, degree, t, tnew, theta, which):  # type: ignore[no-untyped-def]
    """The conditions at a place of the step."""
    u, time = ROW_UNEW * it[I_N], tnew
    if theta < 1.0:
        u, time = ROW_TMP * it[I_N], t + theta * (tnew - t)
        _state_in_step(it, buf, q, degree, theta, u)
    _conditions(it, buf, u, p, time, work, which)


@njit(**HELPER)
def _try(it, buf, p, work, q, degree, t, tnew, theta, k):  # type: ignore[no-untyped-def]
    """Condition k at a place of the step."""
    _look(it, buf, p, work, q, degree, t, tnew, theta, W_TRIAL)
    return work[it[I_WATCH_AT] + W_TRIAL * it[I_WATCH] + k]


@njit(**HELPER)
def _resolution(t, tnew):  # type: ignore[no-untyped-def]
    """Places in the step nearer to each other than this are the same time."""
    return 0.5 * EPS * max(abs(t), abs(tnew), abs(tnew - t)) / abs(tnew - t)


@njit(**HELPER)
def _locate(it, buf, p, work, q, degree, t, tnew, k, a, b, fb):  # type: ignore[no-untyped-def]
    """The last place in [a, b) where condition k has its old sign; at b it has the value fb."""
    sign = work[it[I_WATCH_AT] + W_SIGN * it[I_WATCH] + k]
    fa = _try(it, buf, p, work, q, degree, t, tnew, a, k)
    left, halves = a, 0
    while _crossed(sign, fa):  # fresh, and about zero at the start: look closer to it
        if a != left:
            b, fb = a, fa
        a = left + 0.5 * (b - left)
        fa = _try(it, buf, p, work, q, degree, t, tnew, a, k)
        halves += 1
        if halves > 60:
            return AT_ONCE
    eps = _resolution(t, tnew)
    steps = max(np.ceil(np.log2((b - a) / (2.0 * eps))), 0.0) + 1.0
    bend = 0.2 / (b - a)
    while b - a > 2.0 * eps and fb != 0.0:
        middle = 0.5 * (a + b)
        secant = (fb * a - fa * b) / (fb - fa)
        side = 1.0 if middle >= secant else -1.0
        delta = bend * (b - a) ** 2
        x = secant + side * delta if delta <= abs(middle - secant) else middle
        reach = eps * 2.0**steps - 0.5 * (b - a)
        if abs(x - middle) > reach:
            x = middle - side * reach
        fx = _try(it, buf, p, work, q, degree, t, tnew, x, k)
        if _crossed(sign, fx):
            b, fb = x, fx
        else:
            a, fa = x, fx
        steps -= 1.0
    return b if fb == 0.0 else a


@njit(**HELPER)
def _first_event(it, buf, p, work, q, degree, t, tnew):  # type: ignore[no-untyped-def]
    """The place of the step's first change of sign: NOWHERE, in [0, 1], or AT_ONCE.

    What happens there, or within rounding errors of it, is noted.
    """
    count = it[I_WATCH]
    at = it[I_WATCH_AT]
    _signs_of_rates(it, buf, p, work, q, t, tnew - t)
    for k in range(at, at + count):
        work[k + W_SCALE * count] = 0.0
        work[k + W_ROOT * count] = NOWHERE
    first, left = NOWHERE, 0.0
    for j in range(1, it[I_POINTS] + 1):
        right = j / it[I_POINTS]
        _look(it, buf, p, work, q, degree, t, tnew, right, W_VALUE)
        for k in range(at, at + count):
            value = work[k + W_VALUE * count]
            work[k + W_SCALE * count] = max(work[k + W_SCALE * count], abs(value))
            direction, sign = work[k + W_DIRECTION * count], work[k + W_SIGN * count]
            if direction in (0.0, -sign) and _crossed(sign, value):
                root = _locate(it, buf, p, work, q, degree, t, tnew, k - at, left, right, value)
                work[k + W_ROOT * count] = root
                first = min(first, root)
        if first != NOWHERE:
            break
        for k in range(at, at + count):
            work[k + W_SIGN * count] = _sign(work[k + W_VALUE * count])
        left = right
    together = first + 4.0 * _resolution(t, tnew)
    for k in range(at, at + count):
        if first <= 1.0 and work[k + W_ROOT * count] <= together:
            work[k + W_HAPPENS * count] = 1.0
            if work[k + W_FRESH * count] == 1.0 and too_small(t, first * (tnew - t), 0.0):
                first = AT_ONCE
    return first


@njit(**HELPER)
def _cut(it, buf, q, degree, theta):  # type: ignore[no-untyped-def]
    """Let the step end at the place theta."""
    n = it[I_N]
    _state_in_step(it, buf, q, degree, theta, ROW_TMP * n)
    copy_row(buf, ROW_UNEW * n, ROW_TMP * n, n)
    factor = 1.0
    for j in range(1, degree + 1):
        factor *= theta
        for i in range(n):
            store(buf, q + j * n + i, factor * load(buf, q + j * n + i))


@njit(**HELPER)
def watch_step(it, buf, p, work, q, degree, t, tnew):  # type: ignore[no-untyped-def]
    """Look for events in the step from t to `tnew`: EVENT, ZENO or DONE, and the time it ends at.

    `q`: rows of the step's polynomial in theta, which is cut with the step.
    """
    count = it[I_WATCH]
    at = it[I_WATCH_AT]
    theta = _first_event(it, buf, p, work, q, degree, t, tnew)
    if theta == AT_ONCE:
        return ZENO, tnew
    happens = theta <= 1.0
    if theta < 1.0:
        _cut(it, buf, q, degree, theta)
        tnew = t + theta * (tnew - t)
    if happens:  # else they are known there
        _conditions(it, buf, ROW_UNEW * it[I_N], p, tnew, work, W_VALUE)
    for k in range(at, at + count):
        work[k + W_FRESH * count] = 0.0
        if work[k + W_DIRECTION * count] == DISCRETE and work[k + W_VALUE * count] != 0.0:
            work[k + W_HAPPENS * count] = 1.0
            happens = True
    return EVENT if happens else DONE, tnew
