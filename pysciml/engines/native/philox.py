"""Random numbers as a function of a seed and a place: no state, the same in any order and thread.

The generator is Philox 4x32-10 (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC11, 2011).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pysciml.engines.native.common import INLINED

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_ROUNDS = 10
_DROPPED = np.uint64(12)  # bits of a word that a float has no room for, and one
_UNIT = 2.0**-52


@njit(**INLINED)
def philox(first, second, key):  # type: ignore[no-untyped-def]
    """Philox 4x32-10: two random words of two words that count and a key (all uint64)."""
    c0, c1 = first & _LOW, first >> _HALF
    c2, c3 = second & _LOW, second >> _HALF
    k0, k1 = key & _LOW, key >> _HALF
    for _ in range(_ROUNDS):
        a, b = _M0 * c0, _M1 * c2
        c0, c1 = (b >> _HALF) ^ c1 ^ k0, b & _LOW
        c2, c3 = (a >> _HALF) ^ c3 ^ k1, a & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0 | (c1 << _HALF), c2 | (c3 << _HALF)


@njit(**INLINED)
def unit(word):  # type: ignore[no-untyped-def]
    """A number above 0 and below 1, from a random word."""
    return (float(word >> _DROPPED) + 0.5) * _UNIT
