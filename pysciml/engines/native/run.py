"""One solve: its options as numbers for the compiled loops, and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import Array, RawSolution, SolveOptions, Stats
from pysciml.engines.native import common as c
from pysciml.engines.native.explicit import loop as explicit
from pysciml.engines.native.explicit.tableau import ExplicitTableau
from pysciml.engines.native.failure import RETCODES, why
from pysciml.engines.native.loop import Loop, first_chunk
from pysciml.engines.native.output import Dense, Output
from pysciml.engines.native.workspace import compiled_of, parameters_of, tolerances_of
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.engines.native.events import EventRun
    from pysciml.engines.native.methods import Method
    from pysciml.engines.native.rosenbrock.tableau import RosenbrockTableau
    from pysciml.engines.native.workspace import Workspace
    from pysciml.problems import ODEProblem

_EMPTY = np.empty(0)
_NO_IDXS = np.empty(0, dtype=np.int64)
_FIRST_ERROR = 1e-4  # what the step controller takes for the error before a first step


def solve(problem: ODEProblem, method: Method, options: SolveOptions) -> RawSolution:
    """Integrate; see `NativeEngine.solve`."""
    model = problem.model
    try:
        compiled = model.compiled["native"]
    except (AttributeError, KeyError):
        compiled = compiled_of(model)
    space = compiled.take(method, options.events)
    try:
        return Drive(problem, method, options, space).solve()
    finally:
        compiled.give(space)


def _check(problem: ODEProblem, method: Method, options: SolveOptions) -> None:
    """What the method needs is there."""
    first = method.tableaus[0]
    if options.events:
        from pysciml.engines.events import check_events

        check_events(options.events, options.adaptive and first.adaptive, method.name)
    if problem.mass_matrix is not None and isinstance(first, ExplicitTableau):
        raise UnsupportedError(
            f'{method.name} is explicit and takes no mass_matrix; use "Rodas5P" or another '
            "Rosenbrock method of the native engine"
        )
    if (not first.adaptive or not options.adaptive) and options.dt is None:
        raise ValueError(
            f"{method.name} with a fixed step needs dt"
            + ("" if first.adaptive else f" ({method.name} has no error estimate)")
        )


class Drive(Loop):
    """One run, with changes of the method and events."""

    __slots__ = (
        "events", "idxs", "implicit", "method", "options", "out", "p", "poly", "problem", "saveat",
        "side", "tol", "tstops", "width",
    )  # fmt: skip

    def __init__(
        self, problem: ODEProblem, method: Method, options: SolveOptions, space: Workspace
    ) -> None:
        self.problem, self.method, self.options, self.space = problem, method, options, space
        _check(problem, method, options)
        fl, it, n = space.fl, space.it, space.n
        t0, t1 = problem.tspan
        fl[:] = method.control[0]
        it[:] = space.it_start
        fl[c.F_T] = t0
        tdir = fl[c.F_TDIR] = 1.0 if t1 > t0 else -1.0
        dtmax = options.dtmax
        fl[c.F_DTMAX] = abs(t1 - t0) if dtmax is None else dtmax
        if options.dt is not None:
            fl[c.F_DT] = tdir * abs(options.dt)
        if options.dtmin:
            fl[c.F_DTMIN] = options.dtmin
        if options.adaptive and method.tableaus[0].adaptive:
            it[c.I_ADAPTIVE] = 1
        it[c.I_MAXITERS] = options.maxiters
        it[c.I_CHUNK] = first_chunk(n)
        self.tol = tolerances_of(space, options)
        self.p = parameters_of(space, problem.p_flat)
        self.tstops = space.stop
        self.events: EventRun | None = None
        if space.watched is not None:
            from pysciml.engines.native.events import EventRun

            self.events = EventRun(space.watched, options, problem.tspan)
            self.events.begin(it)
            self.tstops = self.events.stops
        elif options.tstops is None:
            self.tstops[0] = t1
        else:
            self.tstops = np.append(options.tstops, t1)
        space.buf[:n] = problem.u0_flat
        self._make_room()
        self.side = 0  # which of the method's tableaus runs
        self.implicit: Any = None
        if not isinstance(method.tableaus[0], ExplicitTableau):
            self._enter_implicit(method.tableaus[0])

    def _make_room(self) -> None:
        """Arrays for what is saved."""
        options, space = self.options, self.space
        it, n = space.it, space.n
        self.idxs = _NO_IDXS
        self.width = n
        if options.save_idxs is not None:
            self.idxs = np.array(options.save_idxs, dtype=np.int64)
            self.width = it[c.I_NIDX] = self.idxs.size
        width, rows = self.width, space.room + 1
        self.saveat = _EMPTY
        if options.saveat is not None:
            self.saveat = np.array(options.saveat, dtype=float)
            out = Output(_EMPTY, np.empty(self.saveat.size * width), _EMPTY, _EMPTY)
        elif options.save_everystep:
            it[c.I_EVERYSTEP] = 1
            out = Output(np.empty(rows), np.empty(rows * width), _EMPTY, _EMPTY)
        else:
            out = Output(_EMPTY, _EMPTY, _EMPTY, _EMPTY)
        self.poly = 0
        if options.dense:
            it[c.I_DENSE] = self.method.degree
            self.poly = (self.method.degree + 1) * n
            out.d_t, out.d_c = np.empty(rows), np.empty(space.room * self.poly)
        self.out = out

    def _advance(self) -> int:
        space, out = self.space, self.out
        if self.implicit is not None:
            code: int = self.implicit.run(
                self.p, self.tol, self.saveat, self.tstops, out, self.idxs
            )
            return code
        tableau = self.method.tableaus[self.side]
        integrate = explicit.run if self.events is None else self._watched_run()
        return integrate(
            space.fl, space.it, tableau.ints, tableau.floats, space.buf, self.p, space.work,
            self.tol, self.saveat, self.tstops, out.t, out.u, out.d_t, out.d_c, self.idxs,
        )  # fmt: skip

    @staticmethod
    def _watched_run() -> Any:
        from pysciml.engines.native.explicit import watched as explicit_watched

        return explicit_watched.run

    def _grow(self) -> bool:
        self.more_rows()
        return True

    def more_rows(self) -> None:
        """Twice the room for the output."""
        self.out.grow(self.space.it, self.width, self.poly)

    def _serve(self, code: int) -> int:
        if code == c.SWITCH:
            self._switch()
            return c.AGAIN
        if code == c.EVENT:
            code = self._event()
            return c.AGAIN if code == c.EVENT else code
        return code

    def _event(self) -> int:
        assert self.events is not None
        return self.events.happen(self)

    @property
    def state(self) -> Array:
        """The state reached; writing to it changes it."""
        buf: Array = self.space.buf if self.implicit is None else self.implicit.buf
        return buf[: self.space.n]

    def begin_anew(self, before: Array) -> None:
        """Go on from a state that is not the end of a step, which was at `before`."""
        fl, it, options = self.space.fl, self.space.it, self.options
        it[c.I_K0] = it[c.I_JFRESH] = 0
        jump = np.abs(self.state - before)
        far = (jump > options.abstol + options.reltol * np.abs(before)).any()
        if far and it[c.I_ADAPTIVE]:  # the step size is that of another place
            fl[c.F_DT], fl[c.F_ERROLD], it[c.I_GUESS] = 0.0, _FIRST_ERROR, 1

    def _switch(self) -> None:
        """Hand the state to the method's other tableau."""
        space = self.space
        n, fl, it = space.n, space.fl, space.it
        self.side = 1 - self.side
        control = self.method.control[self.side]
        for k in (c.F_BETA1, c.F_BETA2, c.F_STEADY_LO, c.F_STEADY_HI, c.F_STIFF_BOUND):
            fl[k] = control[k]
        fl[c.F_DT_SWITCH], fl[c.F_ERROLD] = control[c.F_DT_SWITCH], control[c.F_ERROLD]
        it[c.I_MAXCOUNT] = self.method.maxcount[self.side]
        it[c.I_K0] = it[c.I_COUNT] = 0
        tableau = self.method.tableaus[self.side]
        if isinstance(tableau, ExplicitTableau):
            space.buf[:n] = self.implicit.buf[:n]
            self.implicit = None
        else:
            self._enter_implicit(tableau)

    def _enter_implicit(self, tableau: RosenbrockTableau) -> None:
        self.implicit = self.space.implicit(tableau, self.problem.mass_matrix)
        self.implicit.enter()

    def result(self, code: int, message: str = "") -> RawSolution:
        space, out, options = self.space, self.out, self.options
        fl, n, width = space.fl, space.n, self.width
        it = space.it.tolist()
        reached = fl.item(c.F_T)
        if options.saveat is not None:
            t, u = self.saveat, out.u.reshape(-1, width)
            if it[c.I_SAVE] < t.size:
                t, u = t[: it[c.I_SAVE]], u[: it[c.I_SAVE]]
        elif options.save_everystep:
            rows = it[c.I_NOUT]
            t, u = out.t[:rows], out.u[: rows * width].reshape(rows, width)
        else:
            t, u = self._ends(reached)
        interpolate = None
        if self.poly:
            now = self.state.copy()
            interpolate = Dense(self.method.degree, n, out, it[c.I_NDENSE], reached, now)
        if self.poly or options.saveat is None:
            steps = max(it[c.I_NACC], 64)
            space.room = steps if steps < 100_000 else 100_000
        stats = Stats(
            it[c.I_NF], it[c.I_NJ], it[c.I_NW], it[c.I_NSOLVE], it[c.I_NACC], it[c.I_NREJ]
        )
        if code not in (c.DONE, c.TERMINATED) and not message:
            message = why(self, code, reached)
        raw = RawSolution(t, u, RETCODES[code], self.method.name, stats, interpolate, message)
        if self.events is not None:
            raw.events = self.events.found()
            if code == c.TERMINATED:
                self._add_end(raw, reached)
        return raw

    def _ends(self, reached: float) -> tuple[Array, Array]:
        """Start and end only."""
        t0 = self.problem.tspan[0]
        t = np.array([t0, reached] if reached != t0 else [t0])
        start = self.problem.u0_flat if self.events is None else self.events.start(self.problem)
        u = np.array([start, self.state][: t.size])
        return t, u if self.options.save_idxs is None else u[:, self.idxs].copy()

    def _add_end(self, raw: RawSolution, reached: float) -> None:
        """The state at a terminal event is the last one of the output."""
        assert self.events is not None
        if self.options.saveat is not None and not (raw.t.size and raw.t[-1] == reached):
            end = self.state if self.options.save_idxs is None else self.state[self.idxs]
            raw.t, raw.u = np.append(raw.t, reached), np.vstack([raw.u, end])
        last = self.events.happened[-1]
        if -1 == last.row_before == last.row_after:
            last.row_after = raw.t.size - 1
