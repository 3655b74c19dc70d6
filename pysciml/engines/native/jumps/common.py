"""What the compiled loops of jumps and maps share: the layout of their state, and propensities.

The state of a run lies in the arrays of `pysciml.engines.native.common`; these are the entries that
only jumps and maps have. `buf` holds the state, the state that a step leads to, and the m
propensities, one behind the other. `places` and `changes` are the rows of the stoichiometry without
their zeros: row j has its columns at places[places[j]:places[j + 1]], and its entries at the same
places of `changes`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

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

F_END, F_JUMP_COUNT = range(F_INDEX_COUNT, F_INDEX_COUNT + 2)

(
    I_KIND,  # how the state moves: one of those below
    I_M,  # number of reactions
    I_SEED,
    I_TRAJECTORY,
    I_DRAWN,  # pairs of random numbers that were drawn
    I_REACTION,  # the one that happens next, or whose propensity is no rate
    I_JUMP_COUNT,
) = range(I_INDEX_COUNT, I_INDEX_COUNT + 7)

MAP, DIRECT = range(2)


@njit(**HELPER)
def propensities(fl, it, buf, p, work):  # type: ignore[no-untyped-def]
    """The propensities at the present state, behind it in `buf`. False: one is no rate."""
    a = 2 * it[I_N]
    call_rhs(it[I_F], buf, a, buf, 0, p, fl[F_T], work)
    it[I_NF] += 1
    for j in range(it[I_M]):
        rate = load(buf, a + j)
        if not 0.0 <= rate < math.inf:
            it[I_REACTION] = j
            return False
    return True


@njit(**HELPER)
def draw(it):  # type: ignore[no-untyped-def]
    """The next two numbers above 0 and below 1 of the run's stream."""
    place, stream, key = np.uint64(it[I_DRAWN]), np.uint64(it[I_TRAJECTORY]), np.uint64(it[I_SEED])
    one, two = philox(place, stream, key)
    it[I_DRAWN] += 1
    return unit(one), unit(two)


@njit(**HELPER)
def happen(buf, at, times, j, places, changes):  # type: ignore[no-untyped-def]
    """Reaction j happens so many times: the state at buf[at:] changes."""
    for k in range(places[j], places[j + 1]):
        i = at + places[k]
        store(buf, i, load(buf, i) + times * load(changes, k))
