"""One path of jumps or of a map, or a batch of them: memory, the loop, and the result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import Array, Batch, RawBatch, RawSolution, SolveOptions, Stats
from pysciml.engines.jumps import check_options, kept
from pysciml.engines.lines import Steps
from pysciml.engines.native import common as c
from pysciml.engines.native.batch import (
    AT_COUNT,
    COMPILING,
    COUNTERS,
    LAST,
    N_P,
    P_STEP,
    SIZE,
    U0_STEP,
    WIDTH,
    retcode_of,
    rows_of,
)
from pysciml.engines.native.failure import RETCODES
from pysciml.engines.native.jumps import common as s
from pysciml.engines.native.jumps import loop
from pysciml.engines.native.jumps.methods import DIRECT, LEAPING, epsilon_of, find
from pysciml.engines.native.loop import Loop, first_chunk
from pysciml.engines.native.output import resized
from pysciml.engines.native.workspace import compiled_of, parameters_of
from pysciml.problems import DiscreteProblem, JumpProblem

_FIRST_ROOM = 256  # rows of every step's output, before anything is known


def solve(
    problem: JumpProblem | DiscreteProblem, alg: str | None, options: SolveOptions
) -> RawSolution:
    """Follow the path of `options.seed`, or iterate the map; see `NativeEngine.solve`."""
    return JumpDrive(problem, alg, options).solve()


def solve_many(
    problem: JumpProblem | DiscreteProblem,
    alg: str | None,
    options: SolveOptions,
    batch: Batch,
    out: Array,
    stop: NDArray[np.int64],
) -> RawBatch:
    """Follow the paths of a batch in compiled code, without the GIL; see `ManyEngine.solve_many`.

    Trajectory k of the batch is the one that `solve` gives for the seed (batch.seed, batch.first +
    k), to the last bit, in whatever thread and order. Each call has memory of its own, so calls may
    run side by side.
    """
    with COMPILING:
        drive = JumpDrive(problem, alg, options)
    return drive.many(batch, out, stop)


class _Workspace:
    """Arrays of one run."""

    def __init__(self, problem: JumpProblem | DiscreteProblem, name: str) -> None:
        model = problem.model
        f = compiled_of(model).function("f")
        self.n, self.work = model.n, f.new_work()
        self.fl = np.zeros(s.F_JUMP_COUNT)
        self.it = np.zeros(s.I_JUMP_COUNT, dtype=np.int64)
        self.it[c.I_N], self.it[c.I_F] = model.n, f.address
        self.p = np.zeros(1)
        if isinstance(problem, JumpProblem):
            self.it[s.I_KIND] = s.DIRECT if name == DIRECT else s.LEAP
            self.it[s.I_M] = model.n_out
            self.net, self.orders = problem.stoichiometry.reshape(-1).copy(), orders_of(problem)
        else:
            self.it[s.I_KIND], self.it[s.I_REACTION] = s.MAP, -1
            self.net = self.orders = np.zeros(1)
        self.buf = np.zeros(2 * self.n + 2 * int(self.it[s.I_M]) + 2 * s.BLOCK)


class JumpDrive(Loop):
    """One run, or one for each trajectory of a batch."""

    __slots__ = ("every", "idxs", "name", "options", "p", "problem", "saveat", "t", "u")

    def __init__(
        self, problem: JumpProblem | DiscreteProblem, alg: str | None, options: SolveOptions
    ) -> None:
        self.problem, self.options = problem, options
        self.name = find(problem, alg)
        check_options(problem, self.name, self.name == LEAPING, options)
        space = self.space = _Workspace(problem, self.name)
        fl, it = space.fl, space.it
        fl[c.F_T], fl[s.F_END] = problem.tspan
        fl[s.F_TAU] = options.dt or 0.0
        fl[s.F_EPSILON] = epsilon_of(self.name, options)
        it[c.I_MAXITERS], it[c.I_CHUNK] = options.maxiters, first_chunk(space.n)
        it[s.I_SEED], it[s.I_TRAJECTORY] = options.seed or 0, options.trajectory
        self.p = parameters_of(space, problem.p_flat)
        space.buf[: space.n] = problem.u0_flat
        self._choose_output()

    def _choose_output(self) -> None:
        """What is saved: for dense output every step, whole; else those of saveat, or the ends."""
        options, it = self.options, self.space.it
        self.every = options.dense or (options.saveat is None and options.save_everystep)
        self.idxs = np.zeros(0, dtype=np.int64)
        if options.save_idxs is not None and not options.dense:
            self.idxs = np.array(options.save_idxs, dtype=np.int64)
        it[c.I_NIDX], it[c.I_EVERYSTEP] = self.idxs.size, self.every
        self.saveat = self.t = self.u = np.zeros(0)
        if self.every:
            self._resize(_FIRST_ROOM)
        else:
            wanted = self.problem.tspan if options.saveat is None else options.saveat
            self.saveat = np.array(wanted, dtype=float)
            self.u = np.zeros(self.saveat.size * self._width)

    @property
    def _width(self) -> int:
        return self.idxs.size or self.space.n

    def _resize(self, rows: int) -> None:
        self.t, self.u = resized(self.t, rows), resized(self.u, rows * self._width)

    def _advance(self) -> int:
        space = self.space
        return int(loop.run(
            space.fl, space.it, space.buf, self.p, space.work, space.net, space.orders,
            self.saveat, self.t, self.u, self.idxs,
        ))  # fmt: skip

    def _grow(self) -> bool:
        self._resize(2 * self.t.size)
        return True

    def many(self, batch: Batch, out: Array, stop: NDArray[np.int64]) -> RawBatch:
        """A run for each trajectory of the batch, into its row of `out`."""
        space, it = self.space, self.space.it
        count, width = len(out), self._width
        it[s.I_SEED], it[s.I_TRAJECTORY] = batch.seed or 0, batch.first
        codes, sums = np.full(count, c.AGAIN), np.zeros(len(COUNTERS), dtype=np.int64)
        at = np.zeros(AT_COUNT, dtype=np.int64)
        u0s, at[U0_STEP] = rows_of(batch.u0)
        ps, at[P_STEP] = rows_of(batch.p)
        at[LAST], at[N_P] = count, batch.p.shape[1]
        at[SIZE], at[WIDTH] = self.saveat.size * width, width
        out.fill(np.nan)  # for those that are not begun
        loop.run_many(
            space.fl, it, space.buf, space.work, space.net, space.orders, self.saveat, self.t,
            self.idxs, space.fl.copy(), it.copy(), u0s, ps, out.reshape(-1), codes, sums, COUNTERS,
            at, stop,
        )  # fmt: skip
        retcodes = np.array([retcode_of(code) for code in codes.tolist()], dtype=object)
        u = out.reshape(count, -1, width)
        return RawBatch(u, retcodes, self.name, Stats(*sums.tolist()))

    def result(self, code: int, message: str = "") -> RawSolution:
        options, it = self.options, self.space.it
        rows = int(it[c.I_NOUT] if self.every else it[c.I_SAVE])
        t = (self.t if self.every else self.saveat)[:rows]
        u = self.u.reshape(-1, self._width)[:rows]
        interpolate = Steps(t, u) if options.dense else None
        if options.dense:
            t, u = kept(t, u, options)
        if code != c.DONE and not message:
            message = self._why(code)
        return RawSolution(
            t=t,
            u=np.ascontiguousarray(u),
            retcode=RETCODES[code],
            alg=self.name,
            stats=Stats(nf=int(it[c.I_NF]), naccept=int(it[c.I_NACC])),
            interpolate=interpolate,
            message=message,
        )

    def _why(self, code: int) -> str:
        """Where it stopped, the likely cause, what to try."""
        fl, it = self.space.fl, self.space.it
        start, end = self.problem.tspan
        where = (
            f"{self.name} stopped at t = {fl[c.F_T]:.8g} of ({start:g}, {end:g}), after "
            f"{it[c.I_NACC]} steps. "
        )
        if code == c.MAXITERS:
            return where + f"These are the {it[c.I_MAXITERS]} steps that maxiters allows."
        if isinstance(self.problem, JumpProblem):
            j, a = int(it[s.I_REACTION]), 2 * self.space.n
            return where + (
                f"The propensity of reactions[{j}] ({self.problem.reactions[j]}) is "
                f"{self.space.buf[a + j]:.6g}, and should be a finite number >= 0: check its rate "
                "and p at the last state."
            )
        return where + "The next state is not finite: check f and p at the last state."


def orders_of(problem: JumpProblem) -> Array:
    """How fast propensities change with each species, for tau-leaping: (2, n), flat.

    The highest order of the reactions that it is a reactant of, 0 for none; and how many of it take
    part there. A species that a function reads counts as a reactant of second order at least.
    """
    orders = np.zeros((2, problem.u0.size))
    reads = problem.model.sparsity().toarray()
    for j, reactants in enumerate(problem.reactants):
        total = sum(count for _, count in reactants)
        for species, count in reactants:
            if (total, count) > tuple(orders[:, species]):
                orders[:, species] = total, count
        if callable(problem.reactions[j].rate):
            for species in np.flatnonzero(reads[j]).tolist():
                if orders[0, species] < 2:
                    orders[:, species] = 2, 1
    return orders.reshape(-1)
