"""The discrete adjoint of the symplectic methods: their substeps, transposed, in reverse.

A kick's transpose adds h b (df1/du)^T v_bar to u_bar and leaves v_bar alone, a drift's likewise, so
the adjoint of a symplectic method is one, too (J. M. Sanz-Serna, "Symplectic Runge-Kutta schemes
for adjoint equations, automatic differentiation, optimal control, and more", SIAM Rev. 58 (2016)
3-33). Each step's substeps are taken again from its beginning, which was kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pysciml.engines.base import AdjointOptions, Array, Cotangents, RawSolution, SolveOptions
from pysciml.engines.native.batch import COMPILING
from pysciml.engines.native.common import ENTRY, HELPER, add_to, clear, copy_row, signature
from pysciml.engines.native.pointers import call_jvp, call_rhs
from pysciml.engines.native.symplectic.run import Space, separated, solve
from pysciml.engines.native.symplectic.tableau import TAB_STAGES
from pysciml.engines.native.workspace import compiled_of
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.engines.native.methods import Method
    from pysciml.problems import ODEProblem

# Rows of n floats: the gradient at the present step, that on its way through a step, the vector of
# a product; then the states before the substeps, a slope, and (n + n_p,) the product.
BAR, MOVING, W, STATES = range(4)


@njit(**HELPER)
def _take_again(f1, f2, tab, coef, buf, p, work1, work2, t, h, n):  # type: ignore[no-untyped-def]
    """The states before each substep, and the one after the last, from the first of them."""
    stages, half = tab[TAB_STAGES], n // 2
    slope = (STATES + 2 * stages + 1) * n
    for s in range(stages):
        x = (STATES + 2 * s) * n
        copy_row(buf, x + n, x, n)
        if coef[s] != 0.0:
            call_rhs(f1, buf, slope, buf, x, p, t + coef[2 * stages + s] * h, work1)
            add_to(buf, x + n, h * coef[s], buf, slope, half)
        copy_row(buf, x + 2 * n, x + n, n)
        if coef[stages + s] != 0.0:
            call_rhs(f2, buf, slope, buf, x + n, p, t + coef[3 * stages + s] * h, work2)
            add_to(buf, x + 2 * n + half, h * coef[stages + s], buf, slope, half)


@njit(**HELPER)
def _pull_back(vjp, tab, coef, buf, pbar, p, work, t, h, n):  # type: ignore[no-untyped-def]
    """The row MOVING through the substeps, last one first."""
    stages, half = tab[TAB_STAGES], n // 2
    bar, w = MOVING * n, W * n
    out = (STATES + 2 * stages + 2) * n
    for s in range(stages - 1, -1, -1):
        x = (STATES + 2 * s) * n
        drift, kick = h * coef[stages + s], h * coef[s]
        if drift != 0.0:
            clear(buf, w, half)
            copy_row(buf, w + half, bar + half, half)
            time = t + coef[3 * stages + s] * h
            call_jvp(vjp, buf, out, buf, x + n, p, time, buf, w, work)
            add_to(buf, bar, drift, buf, out, half)
            add_to(pbar, 0, drift, buf, out + n, pbar.size)
        if kick != 0.0:
            copy_row(buf, w, bar, half)
            clear(buf, w + half, half)
            time = t + coef[2 * stages + s] * h
            call_jvp(vjp, buf, out, buf, x, p, time, buf, w, work)
            add_to(buf, bar + half, kick, buf, out + half, half)
            add_to(pbar, 0, kick, buf, out + n, pbar.size)


@njit(signature("void", "iiiIFFFFFFFIFIFFi"), **ENTRY)
def run(  # type: ignore[no-untyped-def]
    f1, f2, vjp, tab, coef, buf, pbar, p, work1, work2, work, first, size, saved, states, ubar, n
):
    """From the last segment to the first; see `_Segments`. `states` and `ubar`: by row."""
    times = states.size // (n + 1)
    for k in range(first.size):
        at, h = first[k], size[k]
        copy_row(buf, MOVING * n, BAR * n, n)
        if saved[k] >= 0:
            for i in range(n):
                buf[MOVING * n + i] = ubar[saved[k] * n + i]
        if h != 0.0:
            for i in range(n):
                buf[STATES * n + i] = states[times + at * n + i]
            _take_again(f1, f2, tab, coef, buf, p, work1, work2, states[at], h, n)
            _pull_back(vjp, tab, coef, buf, pbar, p, work, states[at], h, n)
        if saved[k] < 0:
            copy_row(buf, BAR * n, MOVING * n, n)
        else:
            add_to(buf, BAR * n, 1.0, buf, MOVING * n, n)


class _Segments:
    """What a run consists of, backwards: its steps, and steps beside it to what was saved.

    Segment k begins at time number `first[k]` of the run and has `size[k]`; `saved[k]` is the row
    of the output that it leads to, -1 for a step of the run itself. An output at the beginning of
    a step is a segment of no size.
    """

    def __init__(self, steps: Array, outputs: Array) -> None:
        tdir = 1.0 if steps[-1] >= steps[0] else -1.0
        count = steps.size - 1
        owner = np.searchsorted(tdir * steps, tdir * outputs, side="right") - 1
        first = np.concatenate([np.arange(count), owner])
        size = np.concatenate([np.diff(steps), outputs - steps[owner]])
        saved = np.concatenate([np.full(count, -1), np.arange(outputs.size)])
        backwards = np.lexsort((saved, -first))  # at each time the step that begins there is first
        self.first: NDArray[np.int64] = first[backwards].astype(np.int64)
        self.size: Array = size[backwards]
        self.saved: NDArray[np.int64] = saved[backwards].astype(np.int64)


class SymplecticAdjoint:
    """The pullback of one run: (len(t), n) cotangents of the saved states -> `Cotangents`."""

    def __init__(
        self, problem: ODEProblem, method: Method, run: RawSolution, outputs: Array
    ) -> None:
        self._problem, self._method = problem, method
        self._shape = outputs.size, problem.u0.size
        self._segments = _Segments(run.t, outputs)
        self._states = np.concatenate([run.t, run.u.reshape(-1)])

    def __call__(self, ubar: Array) -> Cotangents:
        ubar = np.ascontiguousarray(ubar, dtype=float)
        if ubar.shape != self._shape:
            raise ValueError(
                f"the cotangent must have the shape {self._shape} of the saved states; "
                f"got {ubar.shape}"
            )
        problem, tableau, parts = self._problem, self._method.tableaus[0], self._segments
        space = Space(separated(problem, self._method))
        with COMPILING:
            vjp = compiled_of(problem.model).function("vjp_up")
        n, n_p = space.n, problem.p_flat.size
        buf = np.zeros((STATES + 2 * int(tableau.ints[TAB_STAGES]) + 3) * n + n_p)
        pbar, p = np.zeros(n_p), np.array(problem.p_flat)
        run(
            space.f1, space.f2, vjp.address, tableau.ints, tableau.floats, buf, pbar, p,
            space.work1, space.work2, vjp.new_work(), parts.first, parts.size, parts.saved,
            self._states, ubar.reshape(-1), n,
        )  # fmt: skip
        return Cotangents(u0=buf[:n].copy(), p=pbar)


def solve_with_pullback(
    problem: ODEProblem, method: Method, options: SolveOptions, adjoint: AdjointOptions
) -> tuple[RawSolution, SymplecticAdjoint]:
    """See `NativeEngine.solve_with_pullback`. The states of all steps are kept."""
    if adjoint.checkpointing:
        raise UnsupportedError(
            f"checkpointing=True is not for {method.name}, whose gradient keeps the states of all "
            "steps"
        )
    every = replace(options, saveat=None, save_everystep=True, dense=False)
    run = solve(problem, method, every)
    raw = run if options.saveat is None and options.save_everystep else None
    if raw is None:
        raw = solve(problem, method, replace(options, dense=False))
    return raw, SymplecticAdjoint(problem, method, run, raw.t)
