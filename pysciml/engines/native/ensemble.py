"""Many trajectories of one model, one after the other in compiled code.

The loops below start `explicit.run` or `rosenbrock.run` anew for each trajectory, with its own
initial state and parameters, and let it save straight into the ensemble's array. What only Python
can do for a trajectory (change to the stiff method, factor a sparse matrix) makes them return; the
trajectory is then finished as a single solve would finish it, and the loop goes on with the next.
So each trajectory is, to the last bit, the one that a solve of its own gives, in any thread.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pysciml.engines.base import INTERRUPTED, Array, Batch, RawBatch, SolveOptions, Stats
from pysciml.engines.native import explicit, rosenbrock
from pysciml.engines.native.common import (
    AGAIN,
    DONE,
    ENTRY,
    FACTOR,
    HELPER,
    I_CHUNK,
    I_N,
    I_NACC,
    I_NF,
    I_NJ,
    I_NREJ,
    I_NSOLVE,
    I_NW,
    I_SAVE,
    SOLVE,
    SWITCH,
    signature,
)
from pysciml.engines.native.run import RETCODES, Drive, compiled_of

if TYPE_CHECKING:
    from pysciml.engines.native.methods import Method
    from pysciml.engines.native.rodas import RosenbrockTableau
    from pysciml.engines.native.run import Workspace
    from pysciml.problems import ODEProblem

# Places in `at`: the next trajectory, the end of the batch, distances in floats between the
# trajectories' initial states and parameters (0: shared), number of parameters, floats saved for a
# trajectory, floats of a saved row.
NEXT, LAST, U0_STEP, P_STEP, N_P, SIZE, WIDTH, AT_COUNT = range(8)

# Places of the work counters in `it`, in the order of `Stats`.
_COUNTERS = np.array([I_NF, I_NJ, I_NW, I_NSOLVE, I_NACC, I_NREJ])
_CHUNK = 10_000  # steps between two looks at the stop signal

# Compiling a model is for one thread: tracing it changes torch's defaults for a while.
_compiling = Lock()


@njit(**HELPER)
def _restart(fl, it, buf, k, fl_start, it_start, u0s, at):  # type: ignore[no-untyped-def]
    """The state of a fresh run of trajectory k."""
    for i in range(fl.size):
        fl[i] = fl_start[i]
    for i in range(it.size):
        it[i] = it_start[i]
    start = k * at[U0_STEP]
    for i in range(it[I_N]):
        buf[i] = u0s[start + i]


@njit(**HELPER)
def _needs_python(code):  # type: ignore[no-untyped-def]
    return code in (SWITCH, FACTOR, SOLVE)


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


@njit(signature("int64", "FIIFFFFFFFFFIFIFFFIIIII"), **ENTRY)
def explicit_many(  # type: ignore[no-untyped-def]
    fl, it, tab, coef, buf, work, tol, saveat, tstops, t_out, d_t, d_c, idxs,
    fl_start, it_start, u0s, ps, out, codes, sums, counters, at, stop,
):  # fmt: skip
    """Integrate trajectories from at[NEXT] on; see `explicit.run` for the first arguments.

    Returns DONE after the last one, AGAIN when `stop` said so, SWITCH when trajectory at[NEXT]
    has to go on with the stiff method.
    """
    while at[NEXT] < at[LAST]:
        if stop[0] != 0:
            return AGAIN
        k = at[NEXT]
        _restart(fl, it, buf, k, fl_start, it_start, u0s, at)
        p = ps[k * at[P_STEP] : k * at[P_STEP] + at[N_P]]
        u_out = out[k * at[SIZE] : (k + 1) * at[SIZE]]
        while True:
            code = explicit.run(
                fl, it, tab, coef, buf, p, work, tol, saveat, tstops, t_out, u_out, d_t, d_c, idxs
            )
            if code != AGAIN or stop[0] != 0:
                break
            it[I_CHUNK] += _CHUNK
        if _needs_python(code):
            return code
        settle(it, code, at, out, codes, sums, counters)
    return DONE


@njit(signature("int64", "FIIFFFJJFIFFFFFFFFFIFIFFFIIIII"), **ENTRY)
def rosenbrock_many(  # type: ignore[no-untyped-def]
    fl, it, tab, coef, buf, mat, pivots, sizes, mass, pat, work, workj, workt, tol, saveat,
    tstops, t_out, d_t, d_c, idxs,
    fl_start, it_start, u0s, ps, out, codes, sums, counters, at, stop,
):  # fmt: skip
    """`explicit_many` for `rosenbrock.run`. FACTOR: the linear algebra is not compiled."""
    while at[NEXT] < at[LAST]:
        if stop[0] != 0:
            return AGAIN
        k = at[NEXT]
        _restart(fl, it, buf, k, fl_start, it_start, u0s, at)
        p = ps[k * at[P_STEP] : k * at[P_STEP] + at[N_P]]
        u_out = out[k * at[SIZE] : (k + 1) * at[SIZE]]
        while True:
            code = rosenbrock.run(
                fl, it, tab, coef, buf, mat, pivots, sizes, mass, pat, p, work, workj, workt, tol,
                saveat, tstops, t_out, u_out, d_t, d_c, idxs,
            )  # fmt: skip
            if code != AGAIN or stop[0] != 0:
                break
            it[I_CHUNK] += _CHUNK
        if _needs_python(code):
            return code
        settle(it, code, at, out, codes, sums, counters)
    return DONE


def solve_many(
    problem: ODEProblem,
    method: Method,
    options: SolveOptions,
    batch: Batch,
    out: Array,
    stop: NDArray[np.int64],
) -> RawBatch:
    """See `ManyEngine.solve_many`."""
    with _compiling:
        compiled = compiled_of(problem.model)
        space = compiled.take(method)
    try:
        return _ManyDrive(problem, method, options, space, batch, out, stop).solve_all()
    finally:
        compiled.give(space)


class _Stopped(Exception):
    """The stop signal was given while Python finished a trajectory."""


class _ManyDrive(Drive):
    """A run that begins anew for each trajectory of a batch."""

    __slots__ = ("at", "codes", "fl_start", "it_start", "ps", "rows", "stop", "sums", "u0s")

    def __init__(
        self,
        problem: ODEProblem,
        method: Method,
        options: SolveOptions,
        space: Workspace,
        batch: Batch,
        out: Array,
        stop: NDArray[np.int64],
    ) -> None:
        super().__init__(problem, method, options, space)
        count, times = out.shape[:2]
        self.rows, self.stop = out.reshape(count, times * self.width), stop
        self.fl_start, self.it_start = space.fl.copy(), space.it.copy()
        self.codes = np.full(count, AGAIN)
        self.sums = np.zeros(len(_COUNTERS), dtype=np.int64)
        at = self.at = np.zeros(AT_COUNT, dtype=np.int64)
        self.u0s, at[U0_STEP] = _rows(batch.u0)
        self.ps, at[P_STEP] = _rows(batch.p)
        at[LAST], at[N_P] = count, batch.p.shape[1]
        at[SIZE], at[WIDTH] = times * self.width, self.width

    def solve_all(self) -> RawBatch:
        while True:
            code = self._run_many()
            if code in (DONE, AGAIN):
                break
            if code == SWITCH:
                self._switch()
            else:
                self.implicit.factor()
            self._finish()
        self.rows[self.at[NEXT] :] = np.nan  # not begun
        retcodes = np.array([_retcode(code) for code in self.codes.tolist()], dtype=object)
        u = self.rows.reshape(len(self.rows), -1, self.width)
        return RawBatch(u, retcodes, self.method.name, Stats(*self.sums.tolist()))

    def _run_many(self) -> int:
        space, out, tableau = self.space, self.out, self.method.tableaus[0]
        where = (
            self.fl_start, self.it_start, self.u0s, self.ps, self.rows.reshape(-1), self.codes,
            self.sums, _COUNTERS, self.at, self.stop,
        )  # fmt: skip
        if self.implicit is None:
            return int(explicit_many(
                space.fl, space.it, tableau.ints, tableau.floats, space.buf, space.work, self.tol,
                self.saveat, self.tstops, out.t, out.d_t, out.d_c, self.idxs, *where,
            ))  # fmt: skip
        side = self.implicit
        return int(rosenbrock_many(
            space.fl, space.it, tableau.ints, tableau.floats, side.buf, side.mat, side.pivots,
            side.sizes, side.mass_values, side.pat, space.work, side.work_j, side.work_t, self.tol,
            self.saveat, self.tstops, out.t, out.d_t, out.d_c, self.idxs, *where,
        ))  # fmt: skip

    def _finish(self) -> None:
        """Integrate trajectory at[NEXT] to its end, the way of a single solve."""
        k = int(self.at[NEXT])
        self.out.u = self.rows[k]
        start = k * int(self.at[P_STEP])
        self.p = self.ps[start : start + max(int(self.at[N_P]), 1)]
        try:
            code = self.run()
        except _Stopped:
            code = AGAIN
        settle(
            self.space.it, code, self.at, self.rows.reshape(-1), self.codes, self.sums,
            _COUNTERS,
        )  # fmt: skip
        if len(self.method.tableaus) > 1:  # the next one begins with the explicit method again
            self.side, self.implicit = 0, None

    def _next_chunk(self, seconds: float) -> None:
        if self.stop[0]:
            raise _Stopped
        super()._next_chunk(seconds)

    def _enter_implicit(self, tableau: RosenbrockTableau) -> None:
        with _compiling:
            super()._enter_implicit(tableau)


def _rows(array: Array) -> tuple[Array, int]:
    """The rows one behind the other, and the distance between them: 0 when all are one row."""
    count, length = array.shape
    if length == 0:  # compiled code wants an address
        return np.zeros(1), 0
    if count == 1 or array.strides[0] == 0:
        return np.array(array[0]), 0
    return np.require(array, np.float64, ["C", "W"]).reshape(-1), length


def _retcode(code: int) -> str:
    if code == DONE:
        return "Success"
    return INTERRUPTED if code == AGAIN else RETCODES[code]
