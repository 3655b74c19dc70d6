"""The discrete adjoint of the Rosenbrock methods: one compiled loop over logged steps.

A step solves, with W = M/(gamma h) - J(u, p, t) and Y_i = u + sum_j a_ij U_j,

    W U_i = f(Y_i, p, t_i) + M sum_j (c_ij/h) U_j + h d_i f_t(u, p, t),     u1 = u + sum_i b_i U_i

(see `rodas`). From the cotangent l of u1, last stage first, with Ubar_i = b_i l + (the outputs' and
the later stages' parts):

    W^T z_i = Ubar_i,   g_i = (df/du)^T z_i,   pbar += (df/dp)^T z_i     at (Y_i, p, t_i)
    Ubar_j += a_ij g_i + (c_ij/h) M^T z_i     for j < i

W depends on u and p itself, so that, with d denoting the derivative with respect to both,

    (ubar, pbar) += d [sum_i z_i^T J(u, p, t) U_i] + d [(sum_i h d_i z_i)^T f_t(u, p, t)]

and ubar gets l + sum_i g_i besides. (The discrete adjoint of A. Sandu, D. Daescu, G. Carmichael,
"Direct and adjoint sensitivity analysis of chemical kinetic systems with KPP: Part I", Atmos.
Environ. 37 (2003) 5083-5096, in the transformed form and with a mass matrix.) Step sizes are held
fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from pysciml.engines.base import Array
from pysciml.engines.native import pointers
from pysciml.engines.native.common import (
    DONE,
    ENTRY,
    F_H,
    F_T,
    F_TDIR,
    F_TEND,
    FACTOR,
    HELPER,
    I_JVP_VJP,
    I_LINALG,
    I_LOG,
    I_MASS,
    I_N,
    I_NP,
    I_PHASE,
    I_ROW,
    I_SAVE,
    I_STAGE,
    I_TGRAD_VJP,
    LOG_H,
    LOG_TEND,
    LOG_TNEW,
    LOG_U,
    ROW_TMP,
    ROW_U,
    SOLVE,
    add_to,
    clear,
    combine,
    copy_row,
    signature,
)
from pysciml.engines.native.explicit.adjoint import all_zero, products
from pysciml.engines.native.pointers import call_jvp, load, store
from pysciml.engines.native.rosenbrock.loop import (
    DENSE,
    EXTERNAL,
    ROW_K,
    SMALL,
    SOLVED,
    STAGES,
    STEP,
    factor_w,
    jacobian,
    pat_pointers,
    pat_rows,
    solve_w,
)
from pysciml.engines.native.rosenbrock.tableau import (
    ROS_A,
    ROS_B,
    ROS_C,
    ROS_CC,
    ROS_D,
    ROS_DEGREE,
    ROS_H,
    ROS_STAGES,
)

if TYPE_CHECKING:
    from pysciml.engines.native.adjoint import Memory
    from pysciml.engines.native.rosenbrock.implicit import Implicit


# Behind the stages in `buf`: their cotangents (W^T's right-hand sides, then its solutions), the
# rows below, then the products with f's derivatives (n + n_p).
ROW_POST, ROW_TIME, ROW_V, ROW_W, ROWS_MORE = range(5)


@njit(**HELPER)
def _lu_solve_transposed(mat, at, n, pivots, buf, b):  # type: ignore[no-untyped-def]
    """buf[b:] becomes the solution of A^T x = b, from the factors of `rosenbrock.lu_factor`."""
    for i in range(n):
        x = load(buf, b + i) / load(mat, at + i * n + i)
        store(buf, b + i, x)
        for j in range(i + 1, n):
            store(buf, b + j, load(buf, b + j) - load(mat, at + i * n + j) * x)
    for r in range(n):
        i = n - 1 - r
        x = load(buf, b + i)
        for j in range(i):
            store(buf, b + j, load(buf, b + j) - load(mat, at + i * n + j) * x)
    for r in range(n):
        k = n - 1 - r
        pivot = pivots[k]
        if pivot != k:
            x = load(buf, b + k)
            store(buf, b + k, load(buf, b + pivot))
            store(buf, b + pivot, x)


@njit(**HELPER)
def _add_transposed_mass_times(it, buf, mass, pat, scale, x, out):  # type: ignore[no-untyped-def]
    """buf[out:] += scale * M^T buf[x:]."""
    n = it[I_N]
    if it[I_MASS] == 0:
        add_to(buf, out, scale, buf, x, n)
    elif it[I_LINALG] <= DENSE:
        for i in range(n):
            z = scale * load(buf, x + i)
            for j in range(n):
                store(buf, out + j, load(buf, out + j) + load(mass, i * n + j) * z)
    else:
        pointers_, rows = pat_pointers(n), pat_rows(n)
        for j in range(n):
            acc = 0.0
            for k in range(pat[pointers_ + j], pat[pointers_ + j + 1]):
                acc += load(mass, k) * load(buf, x + pat[rows + k])
            store(buf, out + j, load(buf, out + j) + scale * acc)


@njit(**HELPER)
def _outputs(fl, it, tab, coef, buf, bar, kbar, post, tnew, times, ubar):  # type: ignore[no-untyped-def]
    """What the outputs of the step from F_T to `tnew` add to the cotangents."""
    n, stages = it[I_N], tab[ROS_STAGES]
    t = fl[F_T]
    m = it[I_SAVE]
    while m > 0 and (times[m - 1] - t) * fl[F_TDIR] > 0.0:
        m -= 1
        if times[m] == tnew:
            add_to(bar, 0, 1.0, ubar, m * n, n)
            continue
        theta = (times[m] - t) / (tnew - t)
        add_to(buf, post, 1.0 - theta, ubar, m * n, n)
        add_to(bar, 0, theta, ubar, m * n, n)
        for i in range(stages):
            weight = 0.0
            for l in range(tab[ROS_DEGREE] - 2, -1, -1):
                weight = weight * theta + coef[tab[ROS_H] + l * stages + i]
            weight *= theta * (1.0 - theta)
            if weight != 0.0:
                add_to(buf, kbar + i * n, weight, ubar, m * n, n)
    it[I_SAVE] = m


@njit(**HELPER)
def _enter_step(fl, it, tab, coef, buf, bar, kbar, rows, d_t, d_c, times, ubar):  # type: ignore[no-untyped-def]
    """Load step I_ROW - 1 of the log; the cotangents of its stages as far as its end gives them."""
    n, stages = it[I_N], tab[ROS_STAGES]
    row = it[I_ROW] - 1
    at = row * it[I_LOG]
    fl[F_T], fl[F_H], fl[F_TEND] = d_t[row], d_c[at + LOG_H], d_c[at + LOG_TEND]
    for i in range(n):
        store(buf, ROW_U * n + i, load(d_c, at + LOG_U + i))
    for i in range(stages * n):
        store(buf, ROW_K * n + i, load(d_c, at + LOG_U + n + i))
    clear(buf, kbar, stages * n)
    clear(buf, rows + ROW_POST * n, n)
    clear(buf, rows + ROW_TIME * n, n)
    tnew = d_c[at + LOG_TNEW]
    _outputs(fl, it, tab, coef, buf, bar, kbar, rows + ROW_POST * n, tnew, times, ubar)
    for i in range(stages):
        if coef[tab[ROS_B] + i] != 0.0:
            add_to(buf, kbar + i * n, coef[tab[ROS_B] + i], bar, 0, n)
    add_to(bar, 0, 1.0, buf, rows + ROW_POST * n, n)


@njit(**HELPER)
def _add_both(it, bar, buf, g):  # type: ignore[no-untyped-def]
    add_to(bar, 0, 1.0, buf, g, it[I_N] + it[I_NP])


@njit(**HELPER)
def _stage(fl, it, tab, coef, buf, bar, kbar, rows, mass, pat, p, work, work2, i):  # type: ignore[no-untyped-def]
    """Pull z_i back to the earlier stages, the state and the parameters."""
    n, stages = it[I_N], tab[ROS_STAGES]
    t, h = fl[F_T], fl[F_H]
    z, k, g = kbar + i * n, ROW_K * n, rows + ROWS_MORE * n
    a, cc = tab[ROS_A] + i * stages, tab[ROS_CC] + i * stages
    arg = ROW_U * n
    if i > 0:
        arg = ROW_TMP * n
        combine(buf, arg, ROW_U * n, 1.0, coef, a, k, i, n)
    c = coef[tab[ROS_C] + i]
    products(it, buf, g, arg, z, p, fl[F_TEND] if c == 1.0 else t + c * h, work, bar)
    add_to(bar, 0, 1.0, buf, g, n)
    mz = ROW_TMP * n  # the argument is no longer needed
    clear(buf, mz, n)
    if i > 0:
        _add_transposed_mass_times(it, buf, mass, pat, 1.0 / h, z, mz)
    for j in range(i):
        add_to(buf, kbar + j * n, coef[a + j], buf, g, n)
        add_to(buf, kbar + j * n, coef[cc + j], buf, mz, n)
    add_to(buf, rows + ROW_TIME * n, h * coef[tab[ROS_D] + i], buf, z, n)
    if it[I_JVP_VJP] != 0:
        v = rows + ROW_V * n
        copy_row(buf, v, k + i * n, n)
        copy_row(buf, rows + ROW_W * n, z, n)
        call_jvp(it[I_JVP_VJP], buf, g, buf, ROW_U * n, p, t, buf, v, work2)
        _add_both(it, bar, buf, g)


@njit(signature("int64", "FIIFFFFJJFIFFFFFFFFFi"), **ENTRY)
def run(  # type: ignore[no-untyped-def]
    fl, it, tab, coef, buf, bar, mat, pivots, sizes, mass, pat, p, work, workj, work2, workt,
    d_t, d_c, times, ubar, first,
):  # fmt: skip
    """Pull `bar`, the cotangents of the state and the parameters, back from step I_ROW to `first`.

    `sizes`: as in `rosenbrock.run`, but for the transposed systems; `work2`, `workt`: work spaces
    of the second derivatives. The others are those of `rosenbrock.run` and `explicit.adjoint.run`.
    Returns DONE, FACTOR or SOLVE.
    """
    n, stages = it[I_N], tab[ROS_STAGES]
    kbar = (ROW_K + stages) * n
    rows = kbar + stages * n
    external = it[I_LINALG] == EXTERNAL
    while it[I_ROW] > first:
        if it[I_PHASE] == STEP:
            _enter_step(fl, it, tab, coef, buf, bar, kbar, rows, d_t, d_c, times, ubar)
            jacobian(fl, it, buf, mat, pat, p, workj)
            factor_w(it, mat, mass, pat, pivots, sizes, 1.0 / (coef[0] * fl[F_H]))
            it[I_STAGE] = stages - 1
            it[I_PHASE] = STAGES
            if external:
                return FACTOR
        while it[I_STAGE] >= 0:
            z = kbar + it[I_STAGE] * n
            if it[I_PHASE] == STAGES and not all_zero(buf, z, n):
                it[I_PHASE] = SOLVED
                if external:
                    return SOLVE
                if it[I_LINALG] == SMALL:
                    _lu_solve_transposed(mat, n * n, n, pivots, buf, z)
                else:
                    solve_w(it, buf, mat, pat, pivots, sizes, z)
            if it[I_PHASE] == SOLVED:
                _stage(
                    fl, it, tab, coef, buf, bar, kbar, rows, mass, pat, p, work, work2, it[I_STAGE]
                )
            it[I_PHASE] = STAGES
            it[I_STAGE] -= 1
        w = rows + ROW_TIME * n
        if it[I_TGRAD_VJP] != 0 and not all_zero(buf, w, n):
            g = rows + ROWS_MORE * n
            call_jvp(it[I_TGRAD_VJP], buf, g, buf, ROW_U * n, p, fl[F_T], buf, w, workt)
            _add_both(it, bar, buf, g)
        it[I_PHASE] = STEP
        it[I_ROW] -= 1
    return DONE


class RosenbrockBackward:
    """The reverse loop on the implicit side of a work space, with its memory."""

    def __init__(self, memory: Memory, implicit: Implicit) -> None:
        self.memory, self.implicit = memory, implicit
        n, stages = memory.space.n, implicit.tableau.stages
        self.buf = np.zeros((ROW_K + 2 * stages + ROWS_MORE) * n + n + memory.n_p)
        self.sizes = implicit.sizes.copy()
        transposed = self.sizes[pointers.LAPACK_TRANS] == ord("T")
        self.sizes[pointers.LAPACK_TRANS] = ord("N" if transposed else "T")
        self.integers = dict(implicit.integers)
        self.work2 = self._second("jvp_vjp", I_JVP_VJP)
        self.workt = self._second("tgrad_vjp", I_TGRAD_VJP)

    def _second(self, name: str, address: int) -> Array:
        """Compile a second derivative, unless it is known to be zero; returns its work space."""
        compiled = self.memory.space.compiled
        if getattr(compiled.model, name).is_zero:
            self.integers[address] = 0
            return np.zeros(1)
        function: Any = compiled.function(name)
        self.integers[address] = function.address
        work: Array = function.new_work()
        return work

    def run(
        self, p: Array, d_t: Array, d_c: Array, times: Array, ubar: Array, first: int, last: int
    ) -> None:
        """As `ExplicitBackward.run`; SuperLU's part happens here."""
        memory, implicit = self.memory, self.implicit
        tableau, it = implicit.tableau, memory.it
        for place, value in self.integers.items():
            it[place] = value
        it[I_ROW], it[I_PHASE] = last, STEP
        kbar = (ROW_K + tableau.stages) * memory.space.n
        while True:
            code = run(
                memory.fl, it, tableau.ints, tableau.floats, self.buf, memory.bar, implicit.mat,
                implicit.pivots, self.sizes, implicit.mass_values, implicit.pat, p, memory.work,
                implicit.work_j, self.work2, self.workt, d_t, d_c, times, ubar, first,
            )  # fmt: skip
            if code == FACTOR:
                implicit.factor()
            elif code == SOLVE:
                at = kbar + int(it[I_STAGE]) * memory.space.n
                row = self.buf[at : at + memory.space.n]
                row[:] = implicit.lu.solve(row, "T")
            else:
                assert code == DONE
                return

    def finish(self, p: Array) -> None:
        """As `ExplicitBackward.finish`: here nothing waits."""
