"""The discrete adjoint of the explicit Runge-Kutta methods: one compiled loop over logged steps.

For a step with stages k_i = f(Y_i, p, t_i), Y_i = u + h sum_j a_ij k_j, whose end has the cotangent
l, and in which outputs with cotangents c_m lie at theta_m, last stage first:

    kbar_i = h b_i l + sum_m h r_i(theta_m) c_m + h sum_j>i a_ji g_j
    g_i = (df/du)^T kbar_i,   pbar += (df/dp)^T kbar_i       at (Y_i, p, t_i)

and the start gets l + sum_m c_m + sum_i g_i (W. W. Hager, "Runge-Kutta methods in optimal control
and the transformed adjoint system", Numer. Math. 87 (2000) 247-282). Step sizes are held fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from pysciml.engines.base import Array
from pysciml.engines.native.common import (
    ENTRY,
    F_T,
    F_TDIR,
    HELPER,
    I_K0,
    I_LOG,
    I_N,
    I_NP,
    I_SAVE,
    I_VJP,
    LOG_H,
    LOG_TEND,
    LOG_TNEW,
    LOG_U,
    add_to,
    clear,
    combine,
    copy_row,
    signature,
)
from pysciml.engines.native.explicit.tableau import (
    TAB_A,
    TAB_B,
    TAB_C,
    TAB_DEGREE,
    TAB_FSAL,
    TAB_R,
    TAB_STAGES,
    TAB_TOTAL,
    ExplicitTableau,
)
from pysciml.engines.native.pointers import call_jvp, load, store

if TYPE_CHECKING:
    from pysciml.engines.native.adjoint import Memory


@njit(**HELPER)
def all_zero(buf, at, n):  # type: ignore[no-untyped-def]
    """Whether n numbers from buf[at] on are all zero."""
    for i in range(n):  # noqa: SIM110  (no generators in compiled code)
        if load(buf, at + i) != 0.0:
            return False
    return True


@njit(**HELPER)
def products(it, buf, g, arg, w, p, t, work, bar):  # type: ignore[no-untyped-def]
    """buf[g:] = (df/du)^T w and (df/dp)^T w at buf[arg:]; the latter is added to bar's."""
    n = it[I_N]
    call_jvp(it[I_VJP], buf, g, buf, arg, p, t, buf, w, work)
    add_to(bar, n, 1.0, buf, g + n, it[I_NP])


@njit(**HELPER)
def _outputs(fl, it, tab, coef, buf, bar, kbar, post, t, tnew, h, times, ubar):  # type: ignore[no-untyped-def]
    """What the outputs of the step from t to `tnew` add to the cotangents."""
    n, total = it[I_N], tab[TAB_TOTAL]
    m = it[I_SAVE]
    while m > 0 and (times[m - 1] - t) * fl[F_TDIR] > 0.0:
        m -= 1
        if times[m] == tnew:
            add_to(bar, 0, 1.0, ubar, m * n, n)
            continue
        theta = (times[m] - t) / (tnew - t)
        add_to(buf, post, 1.0, ubar, m * n, n)
        for i in range(total):
            weight = 0.0
            for j in range(tab[TAB_DEGREE] - 1, -1, -1):
                weight = (weight + coef[tab[TAB_R] + j * total + i]) * theta
            if weight != 0.0:
                add_to(buf, kbar + i * n, h * weight, ubar, m * n, n)
    it[I_SAVE] = m


@njit(**HELPER)
def _stage(it, tab, coef, buf, bar, kbar, g, arg, t, h, tend, p, work, i):  # type: ignore[no-untyped-def]
    """Pull back through stage i: its g is left in buf, the earlier stages get their part of it."""
    n, total = it[I_N], tab[TAB_TOTAL]
    a = tab[TAB_A] + i * total
    combine(buf, arg, 0, h, coef, a, n, i, n)
    c = coef[tab[TAB_C] + i]
    products(it, buf, g, arg, kbar + i * n, p, tend if c == 1.0 else t + c * h, work, bar)
    for j in range(i):
        if coef[a + j] != 0.0:
            add_to(buf, kbar + j * n, h * coef[a + j], buf, g, n)


@njit(**HELPER)
def _first_stage(fl, it, tab, buf, bar, p, work):  # type: ignore[no-untyped-def]
    """Pull back through the first stage of the step from F_T, whose state buf still holds."""
    n, total = it[I_N], tab[TAB_TOTAL]
    kbar, g = (1 + total) * n, (3 + 2 * total) * n
    if it[I_K0] == 1 and not all_zero(buf, kbar, n):
        products(it, buf, g, 0, kbar, p, fl[F_T], work, bar)
        add_to(bar, 0, 1.0, buf, g, n)
    it[I_K0] = 0


@njit(signature("void", "FIIFFFFFFFFFii"), **ENTRY)
def run(  # type: ignore[no-untyped-def]
    fl, it, tab, coef, buf, bar, p, work, d_t, d_c, times, ubar, first, last
):
    """Pull `bar`, the cotangents of the state and the parameters, back from step `last` to `first`.

    `d_t`, `d_c`: the log of the run; `times`, `ubar`: the outputs' times and cotangents, of which
    those from I_SAVE on are done. The first stage of a step is the last one of the step before
    where the method says so: then its product waits (I_K0) for that step, or for `finish`.
    """
    n = it[I_N]
    stages, total, fsal = tab[TAB_STAGES], tab[TAB_TOTAL], tab[TAB_FSAL] == 1
    main = stages - 1 if fsal else stages
    kbar = (1 + total) * n  # in buf: the state, the stages, the stages' cotangents, then three rows
    last_k = kbar + (stages - 1) * n
    arg = kbar + total * n
    post, g = arg + n, arg + 2 * n
    for row in range(last - 1, first - 1, -1):
        t = d_t[row]
        at = row * it[I_LOG]
        h, tend, tnew = d_c[at + LOG_H], d_c[at + LOG_TEND], d_c[at + LOG_TNEW]
        if tend != tnew:  # f may jump at tnew: the two stages differ
            _first_stage(fl, it, tab, buf, bar, p, work)
        for i in range((1 + total) * n):
            store(buf, i, load(d_c, at + LOG_U + i))
        if it[I_K0] == 1:
            copy_row(buf, last_k, kbar, n)
        else:
            clear(buf, last_k, n)
        clear(buf, kbar, (stages - 1) * n)
        clear(buf, kbar + stages * n, (total - stages) * n)
        clear(buf, post, n)
        _outputs(fl, it, tab, coef, buf, bar, kbar, post, t, tnew, h, times, ubar)

        for i in range(total - 1, stages - 1, -1):  # the interpolant's own
            if not all_zero(buf, kbar + i * n, n):
                _stage(it, tab, coef, buf, bar, kbar, g, arg, t, h, tend, p, work, i)
                add_to(buf, post, 1.0, buf, g, n)
        if fsal and not all_zero(buf, last_k, n):  # its argument is the new state
            combine(buf, arg, 0, h, coef, tab[TAB_B], n, stages, n)
            products(it, buf, g, arg, last_k, p, tend, work, bar)
            add_to(bar, 0, 1.0, buf, g, n)
        for i in range(main):
            b = coef[tab[TAB_B] + i]
            if b != 0.0:
                add_to(buf, kbar + i * n, h * b, bar, 0, n)
        add_to(bar, 0, 1.0, buf, post, n)
        for i in range(main - 1, 0, -1):
            if not all_zero(buf, kbar + i * n, n):
                _stage(it, tab, coef, buf, bar, kbar, g, arg, t, h, tend, p, work, i)
                add_to(bar, 0, 1.0, buf, g, n)
        fl[F_T] = t
        it[I_K0] = 1
        if not fsal:
            _first_stage(fl, it, tab, buf, bar, p, work)


@njit(signature("void", "FIIFFFF"), **ENTRY)
def finish(fl, it, tab, buf, bar, p, work):  # type: ignore[no-untyped-def]
    """Do what still waits: the steps before were not taken with this tableau, or there are none."""
    _first_stage(fl, it, tab, buf, bar, p, work)


class ExplicitBackward:
    """The reverse loop for one tableau, with its memory."""

    def __init__(self, memory: Memory, tableau: ExplicitTableau) -> None:
        self.memory, self.tableau = memory, tableau
        n, total = memory.space.n, tableau.stages_total
        self.buf = np.zeros((3 + 2 * total) * n + n + memory.n_p)

    def run(
        self, p: Array, d_t: Array, d_c: Array, times: Array, ubar: Array, first: int, last: int
    ) -> None:
        """Pull `memory.bar` back from step `last` of a log to step `first`."""
        memory, tableau = self.memory, self.tableau
        run(
            memory.fl, memory.it, tableau.ints, tableau.floats, self.buf, memory.bar, p,
            memory.work, d_t, d_c, times, ubar, first, last,
        )  # fmt: skip

    def finish(self, p: Array) -> None:
        """The steps before the last `run` were taken in another way, or there are none."""
        memory = self.memory
        finish(memory.fl, memory.it, self.tableau.ints, self.buf, memory.bar, p, memory.work)
