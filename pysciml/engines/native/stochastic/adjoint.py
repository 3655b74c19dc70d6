"""Solve with a pullback: the discrete adjoint of the very steps along the path.

The noise is a function of the seed, so a step backwards draws the same increments again; of each
step its time, its tick and its state are kept. Step sizes are held fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from pysciml.engines.base import AdjointOptions, Array, Cotangents, RawSolution, SolveOptions
from pysciml.engines.native import common as c
from pysciml.engines.native.common import ENTRY, add_to, signature
from pysciml.engines.native.loop import first_chunk
from pysciml.engines.native.pointers import load, store
from pysciml.engines.native.stochastic import common as s
from pysciml.engines.native.stochastic.brownian import increment
from pysciml.engines.native.stochastic.common import EULER, MILSTEIN, TAB_KIND
from pysciml.engines.native.stochastic.drive import StochasticDrive
from pysciml.engines.native.stochastic.euler import pull_back_euler
from pysciml.engines.native.stochastic.methods import find
from pysciml.engines.native.stochastic.milstein import pull_back_milstein
from pysciml.engines.native.stochastic.sri import pull_back_sri
from pysciml.engines.native.workspace import compiled_of
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.problems import SDEProblem


@njit(signature("void", "IIFFFFFFFFFFFFFFIIFiii"), **ENTRY)
def run_back(  # type: ignore[no-untyped-def]
    it, tab, coef, buf, bar, p, work, work_g, vjp, vjp_g, vjp_d, tree, chi, t, tend, u, q, saved,
    ubar, own, first, last,
):  # fmt: skip
    """Pull `bar`, the cotangents of the state and of p, back from step `last` to step `first`.

    Row k of `t`, `u`, `q` is the start of step k, `tend` the time of its last stages. `saved`: for
    each row its place among the user's states, whose cotangents are `ubar`, or -1.
    """
    n = it[c.I_N]
    for k in range(last - 1, first - 1, -1):
        if saved[k + 1] >= 0:
            add_to(bar, 0, 1.0, ubar, saved[k + 1] * n, n)
        for i in range(n):
            store(buf, i, load(u, k * n + i))
        h = t[k + 1] - t[k]
        dw = increment(it, tree, q[k], q[k + 1])
        if tab[TAB_KIND] == EULER:
            pull_back_euler(
                it, tab, buf, own, bar, p, work, work_g, vjp, vjp_g, tree, dw, t[k], h, tend[k]
            )
        elif tab[TAB_KIND] == MILSTEIN:
            pull_back_milstein(it, buf, own, bar, p, vjp, vjp_g, vjp_d, tree, chi, dw, t[k], h)
        else:
            pull_back_sri(
                it, tab, coef, buf, own, bar, p, work, work_g, vjp, vjp_g, tree, chi, dw, t[k], h,
                tend[k],
            )  # fmt: skip


def solve_with_pullback(
    problem: SDEProblem, alg: str | None, options: SolveOptions, adjoint: AdjointOptions
) -> tuple[RawSolution, DiscreteAdjoint]:
    """See `NativeEngine.solve_with_pullback`."""
    if adjoint.checkpointing:
        raise UnsupportedError(
            "checkpointing=True is not there for SDEs: the state of every step is kept"
        )
    drive = StochasticDrive(problem, find(alg, problem, options), options, log=True)
    raw = drive.solve()
    return raw, DiscreteAdjoint(drive)


class DiscreteAdjoint:
    """The pullback of one run: (len(t), n) cotangents of the saved states -> `Cotangents`."""

    def __init__(self, drive: StochasticDrive) -> None:
        self._drive = drive
        rows = int(drive.space.it[c.I_NOUT])
        self._t, self._tend = drive.t[:rows], drive.ends(drive.t[:rows])
        self._saved = np.full(rows, -1, dtype=np.int64)
        kept = np.arange(rows)[drive.kept(self._t)]
        self._saved[kept] = np.arange(kept.size)
        self._count = kept.size
        self._make_memory()

    def _make_memory(self) -> None:
        drive = self._drive
        problem, scheme = drive.problem, drive.method.scheme
        n, n_p, gsize = drive.space.n, problem.model.n_p, problem.noise_model.n_out
        vjp = compiled_of(problem.model).function("vjp_up")
        vjp_g = compiled_of(problem.noise_model).function("vjp_up")
        self._vjp, self._vjp_g, self._vjp_d = vjp.new_work(), vjp_g.new_work(), np.zeros(1)
        it = self._it = drive.space.it.copy()
        it[c.I_NP], it[c.I_VJP], it[s.I_G_VJP] = n_p, vjp.address, vjp_g.address
        if scheme.is_milstein:
            vjp_d = compiled_of(problem.noise_model.along_itself).function("vjp_up")
            it[s.I_GDG_VJP], self._vjp_d = vjp_d.address, vjp_d.new_work()
        self._own = scheme.floats_needed(n, gsize)
        self._buf = np.zeros(self._own + scheme.adjoint_floats(n, gsize, n_p))

    def __call__(self, ubar: Array) -> Cotangents:
        drive, n = self._drive, self._drive.space.n
        ubar = np.ascontiguousarray(ubar, dtype=float)
        if ubar.shape != (self._count, n):
            raise ValueError(
                "the cotangent must have the shape of the saved states, "
                f"{(self._count, n)}; got {ubar.shape}"
            )
        bar = np.zeros(n + int(self._it[c.I_NP]))
        space, scheme = drive.space, drive.method.scheme
        for first, last in self._chunks(n):
            run_back(
                self._it, scheme.ints, scheme.floats, self._buf, bar, drive.p, space.work,
                space.work_g, self._vjp, self._vjp_g, self._vjp_d, space.tree, space.chi, self._t,
                self._tend, drive.u, drive.q, self._saved, ubar.ravel(), self._own, first, last,
            )  # fmt: skip
        if self._saved[0] >= 0:
            bar[:n] += ubar[self._saved[0]]
        return Cotangents(bar[:n].copy(), bar[n:].copy())

    def _chunks(self, n: int) -> Iterator[tuple[int, int]]:
        """Ranges of steps, last first, that are short enough not to look for Ctrl-C in between."""
        size = first_chunk(n)
        for last in range(self._t.size - 1, 0, -size):
            yield max(last - size, 0), last
