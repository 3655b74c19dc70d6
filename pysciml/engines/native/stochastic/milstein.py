"""Milstein's method, of strong order 1, with the exact derivative of g.

    u + h f(u) + g(u) dW + 1/2 (g' g)(u) (dW^2 - h)

for an Itô equation, dW^2 alone for a Stratonovich one, where g_i is driven by one Wiener process
(diagonal noise, g_i depending on u_i alone) or all of g by the same (scalar noise). G. N. Milstein,
"Approximate integration of stochastic differential equations", Theory Probab. Appl. 19 (1975)
557-562; P. E. Kloeden, E. Platen, "Numerical solution of stochastic differential equations", 10.3.
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
    I_GDG,
    I_GDG_VJP,
    I_ITO,
    I_M,
    ROW_OWN,
    add_outer,
    add_product,
    pull_back,
)

ROW_F, ROW_G, ROW_GDG = ROW_OWN, ROW_OWN + 1, ROW_OWN + 2


def floats_needed(n: int) -> int:
    """Floats of `buf`."""
    return (ROW_GDG + 1) * n


def adjoint_floats(n: int, n_p: int) -> int:
    """Floats of `buf` behind those, for `pull_back_milstein`."""
    return 5 * n + n_p


@njit(**INLINED)
def squares(it, tree, dw, chi, h):  # type: ignore[no-untyped-def]
    """chi = (dW^2 - h)/2, or dW^2/2 in the sense of Stratonovich."""
    shift = h if it[I_ITO] == 1 else 0.0
    for j in range(it[I_M]):
        w = load(tree, dw + j)
        store(chi, j, 0.5 * (w * w - shift))


@njit(**INLINED)
def milstein_step(it, buf, p, work, work_g, work_d, tree, chi, dw, t, h):  # type: ignore[no-untyped-def]
    """The state after a step of size h from t."""
    n = it[I_N]
    f, g, gdg, new = ROW_F * n, ROW_G * n, ROW_GDG * n, ROW_UNEW * n
    call_rhs(it[I_F], buf, f, buf, ROW_U * n, p, t, work)
    call_rhs(it[I_G], buf, g, buf, ROW_U * n, p, t, work_g)
    call_rhs(it[I_GDG], buf, gdg, buf, ROW_U * n, p, t, work_d)
    it[I_NF] += 1
    squares(it, tree, dw, chi, h)
    for i in range(n):
        store(buf, new + i, load(buf, ROW_U * n + i) + h * load(buf, f + i))
    add_product(it, buf, new, 1.0, g, tree, dw)
    add_product(it, buf, new, 1.0, gdg, chi, 0)


@njit(**INLINED)
def pull_back_milstein(  # type: ignore[no-untyped-def]
    it, buf, own, bar, p, vjp, vjp_g, vjp_d, tree, chi, dw, t, h
):
    """Pull `bar`, the cotangents of the new state and of p, back to the start of the step.

    The state there is in ROW_U; `own`: where the adjoint's part of `buf` begins.
    """
    n, u = it[I_N], ROW_U * it[I_N]
    new, to_f, to_g, to_d, out = own, own + n, own + 2 * n, own + 3 * n, own + 4 * n
    squares(it, tree, dw, chi, h)
    clear(buf, own, 4 * n)
    add_to(buf, new, 1.0, bar, 0, n)
    add_to(buf, to_f, h, buf, new, n)
    add_outer(it, buf, to_g, 1.0, new, tree, dw)
    add_outer(it, buf, to_d, 1.0, new, chi, 0)
    pull_back(it, it[I_VJP], buf, out, u, to_f, p, t, vjp, bar)
    pull_back(it, it[I_G_VJP], buf, out, u, to_g, p, t, vjp_g, bar)
    pull_back(it, it[I_GDG_VJP], buf, out, u, to_d, p, t, vjp_d, bar)
