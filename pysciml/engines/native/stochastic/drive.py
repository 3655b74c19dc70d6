"""One path, or a batch of them: memory, the loop around the compiled ones, and the result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import Array, Batch, RawBatch, RawSolution, SolveOptions, Stats
from pysciml.engines.lines import Lines
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
from pysciml.engines.native.loop import Loop, first_chunk
from pysciml.engines.native.output import resized
from pysciml.engines.native.stochastic import brownian, loop
from pysciml.engines.native.stochastic import common as s
from pysciml.engines.native.stochastic.methods import Method, find
from pysciml.engines.native.workspace import compiled_of, parameters_of, tolerances_of
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.problems import SDEProblem

_KINDS = {"diagonal": s.DIAGONAL, "scalar": s.SCALAR, "general": s.GENERAL}
_MAX_LEVEL = brownian.DEPTH - 8  # smallest fixed step: root / 2**_MAX_LEVEL
_SNAP = 1e-9  # of a fixed step: a stop so close to the grid is meant to be on it
_FIRST_ROOM = 256  # rows of every step's output, before anything is known


def solve(problem: SDEProblem, alg: str | None, options: SolveOptions) -> RawSolution:
    """Follow the path of `options.seed`; see `NativeEngine.solve`."""
    return StochasticDrive(problem, find(alg, problem, options), options).solve()


def solve_many(
    problem: SDEProblem,
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
        method = find(alg, problem, options)
        drive = StochasticDrive(problem, method, options)
    return drive.many(batch, out, stop)


class Workspace:
    """Arrays of one run."""

    __slots__ = (
        "buf", "chi", "fl", "it", "n", "p", "tol", "tree", "work", "work_d", "work_g",
    )  # fmt: skip

    def __init__(self, problem: SDEProblem, method: Method) -> None:
        scheme = method.scheme
        model, noise = problem.model, problem.noise_model
        self.n = n = model.n
        m = math.prod(problem.noise_shape)
        f, g = compiled_of(model).function("f"), compiled_of(noise).function("f")
        self.work, self.work_g, self.work_d = f.new_work(), g.new_work(), np.zeros(1)
        self.fl = method.control.copy()
        it = self.it = np.zeros(s.I_SDE_COUNT, dtype=np.int64)
        it[c.I_N], it[s.I_M], it[s.I_GSIZE] = n, m, noise.n_out
        it[c.I_F], it[s.I_G] = f.address, g.address
        it[s.I_NOISE] = _KINDS[problem.noise]
        it[s.I_ITO] = int(problem.interpretation == "ito")
        if scheme.is_milstein:
            gdg = compiled_of(noise.along_itself).function("f")
            it[s.I_GDG], self.work_d = gdg.address, gdg.new_work()
        self.buf = np.zeros(scheme.floats_needed(n, noise.n_out))
        self.chi = np.zeros(s.CHI_COUNT * m)
        self.tree = np.zeros(1)
        self.tol = np.zeros(2 * n)
        self.p = np.zeros(1)


class StochasticDrive(Loop):
    """One run along a path, or one for each path of a batch."""

    __slots__ = (
        "every", "idxs", "method", "options", "p", "problem", "q", "saveat", "stops", "t", "ticks",
        "tol", "u", "w",
    )  # fmt: skip

    def __init__(
        self, problem: SDEProblem, method: Method, options: SolveOptions, log: bool = False
    ) -> None:
        self.problem, self.method, self.options = problem, method, options
        space = self.space = Workspace(problem, method)
        fl, it = space.fl, space.it
        t0, t1 = problem.tspan
        fl[c.F_T] = fl[s.F_T0] = t0
        fl[c.F_TDIR] = 1.0
        fl[c.F_DTMAX] = options.dtmax or t1 - t0
        fl[c.F_DTMIN] = options.dtmin
        it[c.I_ADAPTIVE] = int(options.adaptive and method.scheme.adaptive)
        it[c.I_MAXITERS] = options.maxiters
        it[c.I_CHUNK] = first_chunk(space.n)
        self._choose_stream(options.seed, options.trajectory, 1)
        self.tol = tolerances_of(space, options)
        self.p = parameters_of(space, problem.p_flat)
        space.buf[: space.n] = problem.u0_flat
        self._choose_output(log)
        self._lay_out_time()
        self._resize(_FIRST_ROOM if self.every else self.saveat.size)

    def _choose_stream(self, seed: int | None, first: int, count: int) -> None:
        """Whose noise it is: that of trajectories `first` to `first + count - 1` of a seed."""
        it = self.space.it
        if it[s.I_M] > brownian.MAX_COMPONENTS:
            raise UnsupportedError(
                f"the native engine has up to {brownian.MAX_COMPONENTS} Wiener processes; got "
                f"{it[s.I_M]}"
            )
        if first + count > brownian.MAX_TRAJECTORIES:
            raise ValueError(
                f"a seed has {brownian.MAX_TRAJECTORIES} trajectories; got number {first}"
            )
        assert seed is not None  # `solve_options` sees to it
        it[s.I_SEED], it[s.I_TRAJECTORY] = seed, first

    def _lay_out_time(self) -> None:
        """The Brownian tree's root, the ticks of the grid and of the stops."""
        space, dt = self.space, self.options.dt
        t0, t1 = self.problem.tspan
        level = 0
        root = t1 - t0
        if dt is not None:
            level = max(0, math.ceil(math.log2(root / dt * (1.0 - _SNAP))))
            root = dt * 2.0**level
            space.fl[c.F_DT], space.fl[s.F_STEP] = min(dt, space.fl[c.F_DTMAX]), dt
        if level > _MAX_LEVEL:
            raise ValueError(
                f"dt must be at least {2.0**-_MAX_LEVEL:.2g} of tspan's length; got {dt}"
            )
        tick = space.fl[s.F_TICK] = root * 2.0**-brownian.DEPTH
        named = (self.options.saveat, self.options.tstops, self.saveat, [t1])
        self.stops = np.unique(np.concatenate([times for times in named if times is not None]))
        ticks = np.rint((self.stops - t0) / tick)
        if not space.it[c.I_ADAPTIVE]:
            space.it[s.I_GRID] = grid = 2 ** (brownian.DEPTH - level)
            on_grid = np.rint(ticks / grid) * grid
            ticks = np.where(np.abs(ticks - on_grid) <= _SNAP * grid, on_grid, ticks)
            if (ticks == on_grid).all():
                self._plant(root, level)
        self.ticks = np.minimum(ticks, 2.0**brownian.DEPTH).astype(np.int64)
        if space.tree.size == 1:
            self._plant(root, brownian.DEPTH)

    def _plant(self, root: float, level: int) -> None:
        self.space.tree = brownian.new_tree(self.space.it, root, level)

    def _choose_output(self, log: bool) -> None:
        """What is saved: for dense output every step, whole; else those of saveat, or the ends."""
        options, it = self.options, self.space.it
        self.every = options.dense or log or (options.saveat is None and options.save_everystep)
        self.idxs = np.zeros(0, dtype=np.int64)
        if options.save_idxs is not None and not options.dense:
            self.idxs = np.array(options.save_idxs, dtype=np.int64)
        self.saveat = np.zeros(0)
        if not self.every:
            wanted = self.problem.tspan if options.saveat is None else options.saveat
            self.saveat = np.array(wanted, dtype=float)
        it[c.I_NIDX] = self.idxs.size
        it[c.I_EVERYSTEP], it[c.I_LOG] = self.every, log
        it[s.I_SAVE_NOISE] = options.save_noise
        self.t = self.u = self.w = np.zeros(0)
        self.q = np.zeros(0, dtype=np.int64)

    def _resize(self, rows: int) -> None:
        it = self.space.it
        self.u = resized(self.u, rows * (self.idxs.size or self.space.n))
        if self.every:
            self.t = resized(self.t, rows)
        if it[s.I_SAVE_NOISE]:
            self.w = resized(self.w, rows * int(it[s.I_M]))
        if it[c.I_LOG]:
            self.q = np.resize(self.q, rows)

    def _advance(self) -> int:
        space, scheme = self.space, self.method.scheme
        return int(loop.run(
            space.fl, space.it, scheme.ints, scheme.floats, space.buf, self.p, space.work,
            space.work_g, space.work_d, space.tree, space.chi, self.tol, self.saveat, self.stops,
            self.ticks, self.t, self.u, self.w, self.q, self.idxs,
        ))  # fmt: skip

    def _grow(self) -> bool:
        self._resize(2 * self.t.size)
        return True

    def many(self, batch: Batch, out: Array, stop: NDArray[np.int64]) -> RawBatch:
        """A run for each trajectory of the batch, into its row of `out`."""
        from pysciml.engines.native.stochastic.many import run_many

        space, scheme, it = self.space, self.method.scheme, self.space.it
        count, width = len(out), self.idxs.size or space.n
        self._choose_stream(batch.seed, batch.first, count)
        codes, sums = np.full(count, c.AGAIN), np.zeros(len(COUNTERS), dtype=np.int64)
        at = np.zeros(AT_COUNT, dtype=np.int64)
        u0s, at[U0_STEP] = rows_of(batch.u0)
        ps, at[P_STEP] = rows_of(batch.p)
        at[LAST], at[N_P] = count, batch.p.shape[1]
        at[SIZE], at[WIDTH] = self.saveat.size * width, width
        rows = out.reshape(count, -1)
        run_many(
            space.fl, it, scheme.ints, scheme.floats, space.buf, space.work, space.work_g,
            space.work_d, space.tree, space.chi, self.tol, self.saveat, self.stops, self.ticks,
            self.t, self.w, self.q, self.idxs, space.fl.copy(), it.copy(), u0s, ps,
            rows.reshape(-1), codes, sums, COUNTERS, at, stop,
        )  # fmt: skip
        retcodes = np.array([retcode_of(code) for code in codes.tolist()], dtype=object)
        u = out.reshape(count, -1, width)
        return RawBatch(u, retcodes, self.method.scheme.name, Stats(*sums.tolist()))

    def result(self, code: int, message: str = "") -> RawSolution:
        options, it = self.options, self.space.it.tolist()
        rows = it[c.I_NOUT] if self.every else it[c.I_SAVE]
        t = (self.t if self.every else self.saveat)[:rows]
        u = self.u.reshape(-1, self.idxs.size or self.space.n)[:rows]
        w = self.w.reshape(-1, *self.problem.noise_shape)[:rows] if options.save_noise else None
        interpolate = Lines(t, u) if options.dense else None
        kept = slice(None)
        if self.every:
            kept = self.kept(t)
        if options.dense and options.save_idxs is not None:
            u = u[:, options.save_idxs]
        if code != c.DONE and not message:
            message = self._why(code)
        return RawSolution(
            t=t[kept],
            u=np.ascontiguousarray(u[kept]),
            retcode=RETCODES[code],
            alg=self.method.scheme.name,
            stats=Stats(nf=it[c.I_NF], naccept=it[c.I_NACC], nreject=it[c.I_NREJ]),
            interpolate=interpolate,
            message=message,
            noise=None if w is None else w[kept],
        )

    def kept(self, t: Array) -> Any:
        """Which of the steps' ends are the user's."""
        if self.options.saveat is not None:
            return np.isin(t, self.options.saveat)
        return slice(None) if self.options.save_everystep else [0, -1]

    def ends(self, t: Array) -> Array:
        """Times of the last stages of the steps between these; see `common.end_of_step`."""
        end = t[1:]
        before = end - 2.0 * c.EPS * (np.abs(end) + np.diff(t))
        return np.where(np.isin(end, self.stops[:-1]), before, end)

    def _why(self, code: int) -> str:
        """Where it stopped, the likely cause, what to try."""
        fl, it = self.space.fl, self.space.it
        start, end = self.problem.tspan
        where = (
            f"{self.method.scheme.name} stopped at t = {fl[c.F_T]:.8g} of ({start:g}, {end:g}), "
            f"after {it[c.I_NACC]} steps. "
        )
        if code == c.MAXITERS:
            return where + (
                f"It took the {it[c.I_MAXITERS]} attempts that maxiters allows. Try a larger "
                "maxiters, or looser tolerances or a larger dt."
            )
        if code == c.DTMIN:
            return where + (
                "The step that the tolerances ask for is below dtmin or lost in rounding against "
                "t. Look at the last states, or loosen abstol and reltol."
            )
        if code == c.BAD_START:
            return where + (
                "f(u0, p, t0) or g(u0, p, t0) is not finite: check u0, p and where f and g are "
                "defined."
            )
        return where + (
            "The state, f or g became infinite or NaN: the solution blows up, or a step left the "
            "domain of f or g (sqrt of a negative number). Check f, g and p at the last state, or "
            "use a smaller dt."
        )
