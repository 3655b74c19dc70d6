"""Many trajectories of one model, one after the other in compiled code.

The loops below start `explicit.run` or `rosenbrock.run` anew for each trajectory, with its own
initial state and parameters, and let it save straight into the ensemble's array. What only Python
can do for a trajectory (events, changing to the stiff method, factoring a sparse matrix) makes them
return; it is then finished as a single solve would finish it, and the loop goes on with the next.
So each trajectory is, to the last bit, the one that a solve of its own gives, in any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pysciml.engines.base import Array, Batch, RawBatch, SolveOptions, Stats
from pysciml.engines.native.batch import (
    AT_COUNT,
    COMPILING,
    COUNTERS,
    LAST,
    N_P,
    NEXT,
    P_STEP,
    SIZE,
    U0_STEP,
    WIDTH,
    restart,
    retcode_of,
    rows_of,
    settle,
)
from pysciml.engines.native.common import (
    AGAIN,
    DONE,
    ENTRY,
    FACTOR,
    HELPER,
    I_CHUNK,
    SOLVE,
    SWITCH,
    WATCH,
    signature,
)
from pysciml.engines.native.explicit import loop as explicit
from pysciml.engines.native.rosenbrock import loop as rosenbrock
from pysciml.engines.native.run import Drive
from pysciml.engines.native.workspace import compiled_of

if TYPE_CHECKING:
    from pysciml.engines.native.methods import Method
    from pysciml.engines.native.rosenbrock.tableau import RosenbrockTableau
    from pysciml.engines.native.workspace import Workspace
    from pysciml.problems import ODEProblem

CHUNK = 10_000  # steps between two looks at the stop signal


@njit(**HELPER)
def _needs_python(code):  # type: ignore[no-untyped-def]
    return code in (SWITCH, FACTOR, SOLVE, WATCH)


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
        restart(fl, it, buf, k, fl_start, it_start, u0s, at)
        p = ps[k * at[P_STEP] : k * at[P_STEP] + at[N_P]]
        u_out = out[k * at[SIZE] : (k + 1) * at[SIZE]]
        while True:
            code = explicit.run(
                fl, it, tab, coef, buf, p, work, tol, saveat, tstops, t_out, u_out, d_t, d_c, idxs
            )
            if code != AGAIN or stop[0] != 0:
                break
            it[I_CHUNK] += CHUNK
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
        restart(fl, it, buf, k, fl_start, it_start, u0s, at)
        p = ps[k * at[P_STEP] : k * at[P_STEP] + at[N_P]]
        u_out = out[k * at[SIZE] : (k + 1) * at[SIZE]]
        while True:
            code = rosenbrock.run(
                fl, it, tab, coef, buf, mat, pivots, sizes, mass, pat, p, work, workj, workt, tol,
                saveat, tstops, t_out, u_out, d_t, d_c, idxs,
            )  # fmt: skip
            if code != AGAIN or stop[0] != 0:
                break
            it[I_CHUNK] += CHUNK
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
    with COMPILING:
        compiled = compiled_of(problem.model)
        space = compiled.take(method, options.events)
    try:
        return ManyDrive(problem, method, options, space, batch, out, stop).solve_all()
    finally:
        compiled.give(space)


class _Stopped(Exception):
    """The stop signal was given while Python finished a trajectory."""


class ManyDrive(Drive):
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
        self.sums = np.zeros(len(COUNTERS), dtype=np.int64)
        at = self.at = np.zeros(AT_COUNT, dtype=np.int64)
        self.u0s, at[U0_STEP] = rows_of(batch.u0)
        self.ps, at[P_STEP] = rows_of(batch.p)
        at[LAST], at[N_P] = count, batch.p.shape[1]
        at[SIZE], at[WIDTH] = times * self.width, self.width

    def solve_all(self) -> RawBatch:
        while True:
            code = self._run_many()
            if code in (DONE, AGAIN):
                break
            if code == SWITCH:
                self._switch()
            elif code != WATCH:
                self.implicit.factor()
            self._finish()
        self.rows[self.at[NEXT] :] = np.nan  # not begun
        retcodes = np.array([retcode_of(code) for code in self.codes.tolist()], dtype=object)
        u = self.rows.reshape(len(self.rows), -1, self.width)
        return RawBatch(u, retcodes, self.method.name, Stats(*self.sums.tolist()))

    def _run_many(self) -> int:
        space, out, tableau = self.space, self.out, self.method.tableaus[0]
        if self.implicit is None:
            return int(explicit_many(
                space.fl, space.it, tableau.ints, tableau.floats, space.buf, space.work, self.tol,
                self.saveat, self.tstops, out.t, out.d_t, out.d_c, self.idxs, *self._many,
            ))  # fmt: skip
        side = self.implicit
        return int(rosenbrock_many(
            space.fl, space.it, tableau.ints, tableau.floats, side.buf, side.mat, side.pivots,
            side.sizes, side.mass_values, side.pat, space.work, side.work_j, side.work_t, self.tol,
            self.saveat, self.tstops, out.t, out.d_t, out.d_c, self.idxs, *self._many,
        ))  # fmt: skip

    @property
    def _many(self) -> tuple[Any, ...]:
        """The last arguments of the compiled loops: where trajectories start, and go."""
        return (
            self.fl_start, self.it_start, self.u0s, self.ps, self.rows.reshape(-1), self.codes,
            self.sums, COUNTERS, self.at, self.stop,
        )  # fmt: skip

    def _finish(self) -> None:
        """Integrate trajectory at[NEXT] to its end, the way of a single solve."""
        k = int(self.at[NEXT])
        self.out.u = self.rows[k]
        start = k * int(self.at[P_STEP])
        self.p = self.ps[start : start + max(int(self.at[N_P]), 1)]
        if self.events is not None:
            self.events.happened.clear()
        try:
            end = self.run()
        except _Stopped:
            end = AGAIN
        settle(
            self.space.it, end, self.at, self.rows.reshape(-1), self.codes, self.sums,
            COUNTERS,
        )  # fmt: skip
        if len(self.method.tableaus) > 1:  # the next one begins with the explicit method again
            self.side, self.implicit = 0, None

    def _next_chunk(self, seconds: float) -> None:
        if self.stop[0]:
            raise _Stopped
        super()._next_chunk(seconds)

    def _enter_implicit(self, tableau: RosenbrockTableau) -> None:
        with COMPILING:
            super()._enter_implicit(tableau)
