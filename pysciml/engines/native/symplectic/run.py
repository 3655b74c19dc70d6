"""The driver of all symplectic methods: one compiled loop, the method is data.

Positions, velocities and time are summed with compensation (W. Kahan, "Further remarks on reducing
truncation errors", Comm. ACM 8 (1965) 40): over millions of steps rounding errors would drift, and
hide that the energy does not. Times of `saveat` inside a step are reached by a step of their own
from its beginning, so that what is saved has the order of the method, and the steps that follow do
not depend on it: a changed step size would cost the energy's conservation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from pysciml.engines.base import RawSolution, SolveOptions
from pysciml.engines.native import common as c
from pysciml.engines.native.batch import COMPILING
from pysciml.engines.native.common import (
    AGAIN,
    BAD_START,
    DONE,
    ENTRY,
    F_DT,
    F_DTMAX,
    F_T,
    F_TDIR,
    GROW,
    HELPER,
    I_CHUNK,
    I_DENSE,
    I_ITER,
    I_K0,
    I_MAXITERS,
    I_N,
    I_NACC,
    I_NF,
    I_SAVE,
    I_STARTED,
    I_STOP,
    MAXITERS,
    ROW_U,
    ROW_UNEW,
    UNSTABLE,
    all_finite,
    clip_step,
    copy_row,
    end_of_step,
    has_room,
    save_start,
    save_step,
    signature,
    store_state,
)
from pysciml.engines.native.pointers import call_rhs, load, store
from pysciml.engines.native.run import Drive
from pysciml.engines.native.symplectic.tableau import TAB_CLOSED, TAB_STAGES
from pysciml.engines.partitioned import Halves, halves_of, require_separable
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.codegen.numba import NativeFunction
    from pysciml.engines.native.methods import Method
    from pysciml.problems import ODEProblem

# Rows of `buf` behind the common ones: what the state lacks to the sums' true values, the slopes
# (f1, f2) at both ends of the step, the interpolant. Behind them, what the time lacks.
ROW_LOW, ROW_LOWNEW, ROW_SLOPE, ROW_SLOPENEW, ROW_Q = range(3, 8)
ROWS = ROW_Q + 4


@njit(**HELPER)
def _add(buf, to, low, factor, at, n):  # type: ignore[no-untyped-def]
    """buf[to:] += factor * buf[at:], n numbers; buf[low:] is what it lacks."""
    for i in range(n):
        old = load(buf, to + i)
        change = factor * load(buf, at + i) + load(buf, low + i)
        new = old + change
        store(buf, low + i, change - (new - old))
        store(buf, to + i, new)


@njit(**HELPER)
def _stage_time(part, t, h, tend):  # type: ignore[no-untyped-def]
    return tend if part == 1.0 else t + part * h


@njit(**HELPER)
def _step(it, f1, f2, tab, coef, buf, p, work1, work2, t, h, tend):  # type: ignore[no-untyped-def]
    """The state after a step of size h from t, where f1 is known."""
    n, stages = it[I_N], tab[TAB_STAGES]
    half = n // 2
    new, low, slope = ROW_UNEW * n, ROW_LOWNEW * n, ROW_SLOPENEW * n
    copy_row(buf, new, ROW_U * n, n)
    copy_row(buf, low, ROW_LOW * n, n)
    for s in range(stages):
        kick, drift = coef[s], coef[stages + s]
        if kick != 0.0:
            at = ROW_SLOPE * n
            if s > 0:
                at = slope
                time = _stage_time(coef[2 * stages + s], t, h, tend)
                call_rhs(f1, buf, slope, buf, new, p, time, work1)
                it[I_NF] += 1
            _add(buf, new, low, h * kick, at, half)
        if drift != 0.0:
            time = _stage_time(coef[3 * stages + s], t, h, tend)
            call_rhs(f2, buf, slope + half, buf, new, p, time, work2)
            _add(buf, new + half, low + half, h * drift, slope + half, half)


@njit(**HELPER)
def _polynomial(buf, h, n):  # type: ignore[no-untyped-def]
    """Rows ROW_Q...: coefficients of theta**j of the cubic Hermite interpolant."""
    q = ROW_Q * n
    for i in range(n):
        u = load(buf, ROW_U * n + i)
        jump = load(buf, ROW_UNEW * n + i) - u
        begin, end = h * load(buf, ROW_SLOPE * n + i), h * load(buf, ROW_SLOPENEW * n + i)
        store(buf, q + i, u)
        store(buf, q + n + i, begin)
        store(buf, q + 2 * n + i, 3.0 * jump - 2.0 * begin - end)
        store(buf, q + 3 * n + i, begin + end - 2.0 * jump)


@njit(signature("int64", "iiFIIFFFFFFFFFFFI"), **ENTRY)
def run(  # type: ignore[no-untyped-def]
    f1, f2, fl, it, tab, coef, buf, p, work1, work2, saveat, tstops, t_out, u_out, d_t, d_c, idxs
):
    """Integrate until the last of `tstops`, or until something else has to be done first.

    `f1`, `f2`: addresses of the halves of the right-hand side, with their scratch spaces `work1`
    and `work2`; for the others see `explicit.run`. Returns one of the codes of `common`; calling
    again goes on where it stopped.
    """
    n = it[I_N]
    half = n // 2
    u, new, slope, slope_new = ROW_U * n, ROW_UNEW * n, ROW_SLOPE * n, ROW_SLOPENEW * n
    t_low = ROWS * n
    tdir = fl[F_TDIR]
    fixed = np.int64(0)  # a literal would have the helper compiled once more
    if it[I_STARTED] == 0:
        save_start(fl, it, buf, saveat, t_out, u_out, idxs)
        it[I_STARTED] = 1
        call_rhs(f1, buf, slope, buf, u, p, fl[F_T], work1)
        it[I_NF] += 1
        it[I_K0] = 1
        if not all_finite(buf, slope, half):
            return BAD_START
    while it[I_STOP] < tstops.size:
        if it[I_ITER] >= it[I_MAXITERS]:
            return MAXITERS
        if it[I_ITER] >= it[I_CHUNK]:
            return AGAIN
        if not has_room(it, t_out, d_t):
            return GROW
        t, lack = fl[F_T], buf[t_low]
        h, on_stop = clip_step(t, fl[F_DT], tstops[it[I_STOP]], fl[F_DTMAX], fixed)
        if h == 0.0:  # a stop at the present time
            it[I_STOP] += 1
            continue
        it[I_ITER] += 1
        if on_stop:
            tnew, lack_new = tstops[it[I_STOP]], 0.0
            h -= lack
        else:
            change = h + lack
            tnew = t + change
            lack_new = change - (tnew - t)
        tend = end_of_step(it, tstops.size, h, tnew, on_stop)
        if it[I_K0] == 0:
            call_rhs(f1, buf, slope, buf, u, p, t, work1)
            it[I_NF] += 1

        while it[I_SAVE] < saveat.size and (tnew - saveat[it[I_SAVE]]) * tdir > 0.0:
            time = saveat[it[I_SAVE]]
            _step(it, f1, f2, tab, coef, buf, p, work1, work2, t, time - t - lack, time)
            store_state(buf, new, n, idxs, idxs.size, u_out, it[I_SAVE])
            it[I_SAVE] += 1
        _step(it, f1, f2, tab, coef, buf, p, work1, work2, t, h, tend)
        if not all_finite(buf, new, n):
            return UNSTABLE

        known = tab[TAB_CLOSED]
        if it[I_DENSE] > 0:
            call_rhs(f2, buf, slope + half, buf, u, p, t, work2)
            call_rhs(f2, buf, slope_new + half, buf, new, p, tend, work2)
            if known == 0:
                call_rhs(f1, buf, slope_new, buf, new, p, tend, work1)
                it[I_NF] += 1
                known = 1
            _polynomial(buf, h, n)
        save_step(fl, it, buf, ROW_Q * n, it[I_DENSE], tnew, saveat, t_out, u_out, d_t, d_c, idxs)
        it[I_NACC] += 1
        copy_row(buf, u, new, n)
        copy_row(buf, ROW_LOW * n, ROW_LOWNEW * n, n)
        copy_row(buf, slope, slope_new, half)
        it[I_K0] = known if tend == tnew else 0  # f1 may jump at a stop
        fl[F_T], buf[t_low] = tnew, lack_new
        if on_stop:
            it[I_STOP] += 1
    return DONE


class CompiledHalves:
    """The compiled halves of a model's right-hand side."""

    def __init__(self, halves: Halves) -> None:
        from pysciml.codegen.numba import compile_program

        self.n = halves.n
        self.f1, self.f2 = compile_program(halves.f1), compile_program(halves.f2)


class Space:
    """Arrays of one solve, as `Drive` takes them."""

    watched = None

    def __init__(self, halves: CompiledHalves) -> None:
        self.n = n = halves.n
        self.f1, self.work1 = halves.f1.address, _work(halves.f1)
        self.f2, self.work2 = halves.f2.address, _work(halves.f2)
        self.fl = np.zeros(c.F_INDEX_COUNT)
        self.it_start = np.zeros(c.I_INDEX_COUNT, dtype=np.int64)
        self.it_start[c.I_N] = n
        self.it = self.it_start.copy()
        self.buf = np.zeros(ROWS * n + 1)
        self.tol = np.zeros(2 * n)
        self.stop = np.zeros(1)
        self.p = np.zeros(1)
        self.room = 64


def _work(function: NativeFunction) -> Any:
    return function.new_work() if function.work_size else np.zeros(1)


class SymplecticDrive(Drive):
    """One run of a symplectic method."""

    __slots__ = ()

    def _enter_implicit(self, tableau: Any) -> None:
        """There is no implicit side."""

    def _advance(self) -> int:
        space, out, tableau = self.space, self.out, self.method.tableaus[0]
        return int(run(
            space.f1, space.f2, space.fl, space.it, tableau.ints, tableau.floats, space.buf, self.p,
            space.work1, space.work2, self.saveat, self.tstops, out.t, out.u, out.d_t, out.d_c,
            self.idxs,
        ))  # fmt: skip


def solve(problem: ODEProblem, method: Method, options: SolveOptions) -> RawSolution:
    """Integrate; see `NativeEngine.solve`."""
    return SymplecticDrive(problem, method, options, space_of(problem, method, options)).solve()


def space_of(problem: ODEProblem, method: Method, options: SolveOptions) -> Any:
    """Memory for a run. Refuses what the method is not for."""
    halves = separated(problem, method)
    if options.events:
        raise UnsupportedError(
            f'{method.name} has no events; "Tsit5" and the other Runge-Kutta methods have them'
        )
    return Space(halves)


def separated(problem: ODEProblem, method: Method) -> CompiledHalves:
    """The halves of the right-hand side. Refuses a model that the method is not for."""
    with COMPILING:
        halves = halves_of(problem, method.name)
        require_separable(halves, method.name, method.tableaus[0].linear)  # type: ignore[union-attr]
        kept = problem.model.compiled
        compiled: CompiledHalves | None = kept.get("compiled halves")
        if compiled is None:
            compiled = kept["compiled halves"] = CompiledHalves(halves)
    return compiled
