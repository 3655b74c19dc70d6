"""What the compiled loops over many trajectories share."""

from __future__ import annotations

from threading import Lock

import numpy as np
from numba import njit

from pysciml.engines.base import INTERRUPTED, Array
from pysciml.engines.native.common import (
    AGAIN,
    DONE,
    ENTRY,
    HELPER,
    I_N,
    I_NACC,
    I_NF,
    I_NJ,
    I_NREJ,
    I_NSOLVE,
    I_NW,
    I_SAVE,
    signature,
)
from pysciml.engines.native.failure import RETCODES

# Places in `at`: the next trajectory, the end of the batch, distances in floats between the
# trajectories' initial states and parameters (0: shared), number of parameters, floats saved for a
# trajectory, floats of a saved row.
NEXT, LAST, U0_STEP, P_STEP, N_P, SIZE, WIDTH, AT_COUNT = range(8)

# Places of the work counters in `it`, in the order of `Stats`.
COUNTERS = np.array([I_NF, I_NJ, I_NW, I_NSOLVE, I_NACC, I_NREJ])

# Compiling a model is for one thread: tracing it changes torch's defaults for a while.
COMPILING = Lock()


@njit(**HELPER)
def restart(fl, it, buf, k, fl_start, it_start, u0s, at):  # type: ignore[no-untyped-def]
    """The state of a fresh run of trajectory k."""
    for i in range(fl.size):
        fl[i] = fl_start[i]
    for i in range(it.size):
        it[i] = it_start[i]
    start = k * at[U0_STEP]
    for i in range(it[I_N]):
        buf[i] = u0s[start + i]


@njit(signature("void", "IiIFIII"), **ENTRY)
def settle(it, code, at, out, codes, sums, counters):  # type: ignore[no-untyped-def]
    """Trajectory at[NEXT] has ended: its code, NaN where it did not get to, its work counted."""
    k = at[NEXT]
    codes[k] = code
    for i in range(k * at[SIZE] + it[I_SAVE] * at[WIDTH], (k + 1) * at[SIZE]):
        out[i] = np.nan
    for i in range(counters.size):
        sums[i] += it[counters[i]]
    at[NEXT] += 1


def rows_of(array: Array) -> tuple[Array, int]:
    """The rows one behind the other, and the distance between them: 0 when all are one row."""
    count, length = array.shape
    if length == 0:  # compiled code wants an address
        return np.zeros(1), 0
    if count == 1 or array.strides[0] == 0:
        return np.array(array[0]), 0
    return np.require(array, np.float64, ["C", "W"]).reshape(-1), length


def retcode_of(code: int) -> str:
    if code == DONE:
        return "Success"
    return INTERRUPTED if code == AGAIN else RETCODES[code]
