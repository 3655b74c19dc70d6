"""Euler-Maruyama and Euler-Heun, with fixed steps or with Lamba's choice of them.

    Euler-Maruyama   v = u + h f(u) + g(u) dW                                     strong order 1/2
    Euler-Heun       u + h/2 (f(u) + f(v)) + 1/2 (g(u) + g(v)) dW                 (Stratonovich)

(P. E. Kloeden, E. Platen, "Numerical solution of stochastic differential equations", 10.2 and
15.5). The error of both is estimated by their difference, which has the drift's and the noise's
part of H. Lamba, "An adaptive timestepping algorithm for stochastic differential equations",
J. Comput. Appl. Math. 161 (2003) 417-430.
"""

from __future__ import annotations

from numba import njit

from pysciml.engines.native.common import (
    I_F,
    I_N,
    I_NF,
    I_VJP,
    INLINED,
    ROW_U,
    ROW_UNEW,
    add_to,
    clear,
)
from pysciml.engines.native.pointers import call_rhs, load, store
from pysciml.engines.native.stochastic.common import (
    I_G,
    I_G_VJP,
    I_GSIZE,
    ROW_ERR,
    ROW_OWN,
    TAB_OWN,
    add_outer,
    add_product,
    pull_back,
)

TAB_HEUN = TAB_OWN  # 1: Euler-Heun
ROW_F, ROW_F2, ROW_G = ROW_OWN, ROW_OWN + 1, ROW_OWN + 2


def floats_needed(n: int, gsize: int) -> int:
    """Floats of `buf`."""
    return ROW_G * n + 2 * gsize


def adjoint_floats(n: int, gsize: int, n_p: int) -> int:
    """Floats of `buf` behind those, for `pull_back_euler`."""
    return 4 * n + gsize + n_p


@njit(**INLINED)
def _euler_maruyama(it, buf, p, work, work_g, tree, dw, t, h):  # type: ignore[no-untyped-def]
    """The new state by Euler-Maruyama, f and g of the old one."""
    n = it[I_N]
    f, g, new = ROW_F * n, ROW_G * n, ROW_UNEW * n
    call_rhs(it[I_F], buf, f, buf, ROW_U * n, p, t, work)
    call_rhs(it[I_G], buf, g, buf, ROW_U * n, p, t, work_g)
    it[I_NF] += 1
    for i in range(n):
        store(buf, new + i, load(buf, ROW_U * n + i) + h * load(buf, f + i))
    add_product(it, buf, new, 1.0, g, tree, dw)


@njit(**INLINED)
def euler_step(it, tab, buf, p, work, work_g, tree, dw, t, h, tend, estimate):  # type: ignore[no-untyped-def]
    """The state after a step of size h from t, and with `estimate` or Euler-Heun its error."""
    n = it[I_N]
    f, g, new, err = ROW_F * n, ROW_G * n, ROW_UNEW * n, ROW_ERR * n
    _euler_maruyama(it, buf, p, work, work_g, tree, dw, t, h)
    if not estimate and tab[TAB_HEUN] == 0:
        return
    f2, g2 = ROW_F2 * n, g + it[I_GSIZE]
    call_rhs(it[I_F], buf, f2, buf, new, p, tend, work)
    call_rhs(it[I_G], buf, g2, buf, new, p, tend, work_g)
    it[I_NF] += 1
    for i in range(n):
        store(buf, err + i, 0.5 * h * (load(buf, f2 + i) - load(buf, f + i)))
    add_product(it, buf, err, 0.5, g2, tree, dw)
    add_product(it, buf, err, -0.5, g, tree, dw)
    if tab[TAB_HEUN] == 1:
        add_to(buf, new, 1.0, buf, err, n)


@njit(**INLINED)
def pull_back_euler(  # type: ignore[no-untyped-def]
    it, tab, buf, own, bar, p, work, work_g, vjp, vjp_g, tree, dw, t, h, tend
):
    """Pull `bar`, the cotangents of the new state and of p, back to the start of the step.

    The state there is in ROW_U; `own`: where the adjoint's part of `buf` begins.
    """
    n, u, v = it[I_N], ROW_U * it[I_N], ROW_UNEW * it[I_N]
    new, weight, to_f, to_g = own, own + n, own + 2 * n, own + 3 * n
    out = to_g + it[I_GSIZE]
    clear(buf, own, 3 * n + it[I_GSIZE])
    add_to(buf, new, 1.0, bar, 0, n)
    if tab[TAB_HEUN] == 1:  # first through f(v) and g(v)
        _euler_maruyama(it, buf, p, work, work_g, tree, dw, t, h)
        add_to(buf, to_f, 0.5 * h, buf, new, n)
        add_outer(it, buf, to_g, 0.5, new, tree, dw)
        pull_back(it, it[I_VJP], buf, out, v, to_f, p, tend, vjp, bar)
        add_to(buf, weight, 1.0, buf, out, n)
        pull_back(it, it[I_G_VJP], buf, out, v, to_g, p, tend, vjp_g, bar)
        add_to(buf, weight, 1.0, buf, out, n)
        add_to(buf, weight, 0.5, buf, new, n)
        clear(buf, to_f, n + it[I_GSIZE])
    else:
        add_to(buf, weight, 1.0, buf, new, n)
    add_to(buf, to_f, h, buf, weight, n)
    add_outer(it, buf, to_g, 1.0, weight, tree, dw)
    pull_back(it, it[I_VJP], buf, out, u, to_f, p, t, vjp, bar)
    pull_back(it, it[I_G_VJP], buf, out, u, to_g, p, t, vjp_g, bar)
