"""What the compiled loops of jumps and maps share: the layout of their state, and propensities.

The state of a run lies in the arrays of `pysciml.engines.native.common`; these are the entries that
only jumps and maps have. `buf` holds the state, the state that a step leads to, the m propensities,
a block of random numbers, and m marks of reactions, one behind the other. `net` holds the rows of
the stoichiometry.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pysciml.codegen.elementary import log
from pysciml.engines.native.common import (
    F_INDEX_COUNT,
    F_T,
    HELPER,
    I_F,
    I_INDEX_COUNT,
    I_N,
    I_NF,
)
from pysciml.engines.native.philox import philox, unit
from pysciml.engines.native.pointers import call_rhs, load, store

(
    F_END,  # of tspan
    F_TAU,  # length of a leap; 0: choose it
    F_EPSILON,  # part of itself that a propensity may change by in a leap
    F_JUMP_COUNT,
) = range(F_INDEX_COUNT, F_INDEX_COUNT + 4)

(
    I_KIND,  # how the state moves: one of those below
    I_M,  # number of reactions
    I_SEED,
    I_TRAJECTORY,
    I_DRAWN,  # pairs of random numbers that were drawn
    I_REACTION,  # the one that happens next (-1: the new state is there), or is out of order
    I_EXACT,  # steps that tau-leaping is still to follow exactly
    I_JUMP_COUNT,
) = range(I_INDEX_COUNT, I_INDEX_COUNT + 8)

MAP, DIRECT, LEAP = range(3)

BLOCK = 32  # so many pairs of random numbers are made at once, a power of two


@njit(**HELPER)
def propensities(fl, it, buf, p, work):  # type: ignore[no-untyped-def]
    """The propensities at the present state, in their place in `buf`.

    Returns their sum; NaN when one of them, I_REACTION, is no rate.
    """
    a, total = 2 * it[I_N], 0.0
    call_rhs(it[I_F], buf, a, buf, 0, p, fl[F_T], work)
    it[I_NF] += 1
    for j in range(it[I_M]):
        rate = load(buf, a + j)
        if not 0.0 <= rate < math.inf:
            it[I_REACTION] = j
            return math.nan
        total += rate
    return total


@njit(**HELPER)
def drawn(it, buf):  # type: ignore[no-untyped-def]
    """Where the run's next exponential number lies in `buf`; BLOCK behind it a uniform one."""
    number = it[I_DRAWN]
    it[I_DRAWN] = number + 1
    if number & (BLOCK - 1) == 0:
        fill_block(it, buf, number)
    return 2 * it[I_N] + it[I_M] + (number & (BLOCK - 1))


@njit(**HELPER)
def fill_block(it, buf, number):  # type: ignore[no-untyped-def]
    """Make the pairs of random numbers from `number` on, a multiple of BLOCK.

    They belong to the seed, the trajectory and their number alone. They are made by the block, so
    that the compiler makes vectors of the loops.
    """
    at = 2 * it[I_N] + it[I_M]
    stream, key = np.uint64(it[I_TRAJECTORY]), np.uint64(it[I_SEED])
    for i in range(BLOCK):
        one, two = philox(np.uint64(number + i), stream, key)
        store(buf, at + i, unit(one))
        store(buf, at + BLOCK + i, unit(two))
    for i in range(BLOCK):
        store(buf, at + i, -log(load(buf, at + i)))


@njit(**HELPER)
def pick(fl, it, buf, whole):  # type: ignore[no-untyped-def]
    """Which reaction happens next, by the propensities, whose sum is `whole` > 0; returns when."""
    at, a = drawn(it, buf), 2 * it[I_N]
    # A uniform number is so far below 1 that its product with the sum is below it when rounded: a
    # reaction is found, and one that can happen.
    chosen, part, j = load(buf, at + BLOCK) * whole, load(buf, a), 0
    while part <= chosen:
        j += 1
        part += load(buf, a + j)
    it[I_REACTION] = j
    return fl[F_T] + load(buf, at) / whole


@njit(**HELPER)
def happen(n, buf, at, times, j, net):  # type: ignore[no-untyped-def]
    """Reaction j happens so many times: the state at buf[at:] changes.

    Zeros are added as well: not to look for the others is faster, and the propensities are a loop
    over everything anyway.
    """
    for i in range(n):
        store(buf, at + i, load(buf, at + i) + times * load(net, j * n + i))
