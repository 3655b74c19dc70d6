"""What the compiled SDE integrators share: the layout of their state, and the product G x.

The state of a run lies in the arrays of `pysciml.engines.native.common`; these are the entries that
only SDEs have. Rows of `buf` are vectors of length n; a value of g takes I_GSIZE floats.
"""

from __future__ import annotations

from numba import njit

from pysciml.engines.native.common import (
    F_INDEX_COUNT,
    I_INDEX_COUNT,
    I_N,
    I_NP,
    INLINED,
    add_to,
)
from pysciml.engines.native.pointers import call_jvp, load, store

(
    F_T0,
    F_TICK,  # see `brownian`
    F_STEP,  # the fixed step
    F_SDE_COUNT,
) = range(F_INDEX_COUNT, F_INDEX_COUNT + 4)

(
    I_G,  # addresses of the noise function and of its derivative along itself
    I_GDG,
    I_G_VJP,  # adjoint: of the products with their derivatives
    I_GDG_VJP,
    I_M,  # number of Wiener processes
    I_GSIZE,  # floats of a value of g
    I_NOISE,  # how g enters: one of those below
    I_ITO,
    I_SAVE_NOISE,
    I_POSITION,  # tick that the run has reached
    I_GRID,  # ticks of the fixed step; 0: the step is chosen
    I_SEED,
    I_TRAJECTORY,
    I_DEEP,  # level down to which the Brownian tree is there, and a tick of that node
    I_TICK,
    I_BLOCK,  # number of the block that is there; -1: none
    I_BLOCK_POWER,  # a block has 2**I_BLOCK_POWER steps of the grid
    I_BLOCK_AT,
    I_SUM,
    I_SCRATCH,
    I_SDE_COUNT,
) = range(I_INDEX_COUNT, I_INDEX_COUNT + 21)

DIAGONAL, SCALAR, GENERAL = range(3)

# The first numbers of a method's integers. The floats are the method's own.
TAB_KIND, TAB_STAGES, TAB_OWN = range(3)
EULER, MILSTEIN, SRI = range(3)

# Rows of `buf` behind those common to all integrators: the error of a step, and from where on a
# method has its own.
ROW_ERR, ROW_OWN = 3, 4

# Parts of `chi`, of m numbers each: functions of the increments that g is multiplied with, and the
# Wiener processes themselves.
CHI_COUNT, CHI_W = 6, 5


@njit(**INLINED)
def add_product(it, buf, out, factor, g, x, at):  # type: ignore[no-untyped-def]
    """buf[out:] += factor * G x, with G at buf[g:] and the m numbers x at x[at:]."""
    n, m = it[I_N], it[I_M]
    if it[I_NOISE] == DIAGONAL:
        for i in range(n):
            product = load(buf, g + i) * load(x, at + i)
            store(buf, out + i, load(buf, out + i) + factor * product)
    elif it[I_NOISE] == SCALAR:
        scaled = factor * load(x, at)
        for i in range(n):
            store(buf, out + i, load(buf, out + i) + scaled * load(buf, g + i))
    else:
        for i in range(n):
            acc = 0.0
            for j in range(m):
                acc += load(buf, g + i * m + j) * load(x, at + j)
            store(buf, out + i, load(buf, out + i) + factor * acc)


@njit(**INLINED)
def add_outer(it, buf, out, factor, w, x, at):  # type: ignore[no-untyped-def]
    """buf[out:] += factor times the gradient in G of w . (G x), the transpose of `add_product`."""
    n, m = it[I_N], it[I_M]
    if it[I_NOISE] == DIAGONAL:
        for i in range(n):
            product = load(buf, w + i) * load(x, at + i)
            store(buf, out + i, load(buf, out + i) + factor * product)
    elif it[I_NOISE] == SCALAR:
        add_to(buf, out, factor * load(x, at), buf, w, n)
    else:
        for i in range(n):
            add_to(buf, out + i * m, factor * load(buf, w + i), x, at, m)


@njit(**INLINED)
def pull_back(it, address, buf, out, arg, w, p, t, work, bar):  # type: ignore[no-untyped-def]
    """Add (d/du)^T w and (d/dp)^T w of a function at buf[arg:] to bar, w at buf[w:].

    buf[out:] is left with them.
    """
    call_jvp(address, buf, out, buf, arg, p, t, buf, w, work)
    add_to(bar, 0, 1.0, buf, out, it[I_N] + it[I_NP])
