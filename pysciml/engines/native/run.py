"""One solve: memory, the loop around the compiled integrators, and the result."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import Array, RawSolution, SolveOptions, Stats
from pysciml.engines.native import common as c
from pysciml.engines.native import explicit
from pysciml.engines.native.tableau import ExplicitTableau
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.engines.native.events import EventRun, Watched
    from pysciml.engines.native.implicit import Implicit
    from pysciml.engines.native.methods import Method
    from pysciml.engines.native.rodas import RosenbrockTableau
    from pysciml.events import Event
    from pysciml.problems import ODEProblem

_EMPTY = np.empty(0)
_NO_IDXS = np.empty(0, dtype=np.int64)
_MOST_KEPT = 16  # lists of work spaces, and of compiled events, that a model keeps
_FIRST_ERROR = 1e-4  # what the step controller takes for the error before a first step
_CHUNK_SECONDS = 0.1  # compiled code runs about this long before Ctrl-C is looked at


class Compiled:
    """What this engine keeps with a model: compiled functions and free work spaces.

    Compiled code runs without the GIL, so each solve in progress owns its `Workspace`.
    """

    __slots__ = ("_functions", "_watched", "free", "model", "pattern")

    def __init__(self, model: Any) -> None:
        self.model = model
        self.free: dict[Any, list[Workspace]] = {}  # by method, or by method and events
        self._watched: dict[tuple[Event, ...], Watched] = {}
        self.pattern: Any = None  # made by the implicit methods
        self._functions: dict[str, Any] = {}

    def function(self, name: str) -> Any:
        """The compiled Program `name`; it is compiled on the first call."""
        function = self._functions.get(name)
        if function is None:
            function = getattr(self.model, name)
            if not hasattr(function, "address"):  # else: compiled already
                from pysciml.codegen.numba import compile_program

                function = compile_program(function)
            self._functions[name] = function
        return function

    def watched(self, events: tuple[Event, ...]) -> Watched:
        """The events with this model, captured and compiled on the first call."""
        watched = self._watched.get(events)
        if watched is None:
            from pysciml.engines.native.events import Watched

            if len(self._watched) >= _MOST_KEPT:  # events may be made anew for each solve
                self._watched.clear()
            watched = self._watched[events] = Watched(self.model, events)
        return watched

    def take(self, method: Method, events: tuple[Event, ...] = ()) -> Workspace:
        """A work space for one solve; give it back with `give`."""
        key = (method, events) if events else method
        free = self.free.get(key)
        if free is None:
            if len(self.free) >= _MOST_KEPT:  # methods with options are made anew each time
                self.free.clear()
            free = self.free[key] = []
        try:
            return free.pop()
        except IndexError:
            return Workspace(self, method, self.watched(events) if events else None)

    def give(self, workspace: Workspace) -> None:
        free = self.free.get(workspace.key)
        if free is not None and len(free) < 8:
            free.append(workspace)


def compiled_of(model: Any) -> Compiled:
    """The `Compiled` of a model, made on first use and kept on it."""
    store = getattr(model, "compiled", None)
    if store is None:
        store = model.compiled = {}
    compiled = store.get("native")
    if compiled is None:
        compiled = store["native"] = Compiled(model)
    return compiled


class Workspace:
    """Arrays of one solve, kept for the next one. Lengths depend on the model and the method."""

    __slots__ = (
        "_implicit", "adjoint", "buf", "compiled", "fl", "it", "it_start", "key", "method", "n",
        "p", "room", "stop", "tol", "watched", "work",
    )  # fmt: skip

    def __init__(self, compiled: Compiled, method: Method, watched: Watched | None) -> None:
        self.compiled = compiled
        self.method = method
        self.n = n = compiled.model.n
        f = compiled.function("f")
        self.work = f.new_work()
        if self.work.size == 0:
            self.work = np.zeros(1)
        self.fl = np.zeros(c.F_INDEX_COUNT)
        self.it_start = np.zeros(c.I_INDEX_COUNT, dtype=np.int64)
        self.it_start[c.I_N] = n
        self.it_start[c.I_F] = f.address
        self.it_start[c.I_MAXCOUNT] = method.maxcount[0]
        self.it_start[c.I_GUESS] = 1
        self.watched = watched
        self.key: Any = method
        if watched is not None:
            self.key = (method, watched.events)
            memory, integers = watched.memory(self.work.size)
            self.work = np.concatenate([self.work, memory])
            for place, value in integers.items():
                self.it_start[place] = value
        self.it = self.it_start.copy()
        first = method.tableaus[0]
        rows = 3
        if isinstance(first, ExplicitTableau):
            rows = explicit.rows_needed(first.degree, first.stages_total)
        self.buf = np.zeros(rows * n)
        self.tol = np.zeros(2 * n if n > 0 else 2)
        self.stop = np.zeros(1)
        self.p = np.zeros(1)
        self.room = 64  # steps that the output arrays are made for at first
        self.adjoint: Any = None  # memory of the pullbacks, made by the first
        self._implicit: Any = None

    def implicit(self, tableau: RosenbrockTableau, mass: Any) -> Implicit:
        """The implicit side of this work space, for a mass matrix."""
        from pysciml.engines.native.implicit import Implicit

        if self._implicit is None or self._implicit.mass is not mass:
            self._implicit = Implicit(self, tableau, self.method.linsolve, mass)
        return self._implicit


def first_chunk(n: int) -> int:
    """How many steps of a problem of this size are surely short enough not to look for Ctrl-C."""
    return 1000 if n <= 64 else max(1, 64_000 // n)


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


class _Output:
    """Arrays that the integrators write results to."""

    __slots__ = ("d_c", "d_t", "t", "u")

    def __init__(self, t: Array, u: Array, d_t: Array, d_c: Array) -> None:
        self.t, self.u, self.d_t, self.d_c = t, u, d_t, d_c

    def grow(self, it: NDArray[np.int64], width: int, poly: int) -> None:
        """Twice the room for steps. `width`, `poly`: floats of a saved row, of a polynomial."""
        if it[c.I_EVERYSTEP]:
            rows = 2 * self.t.size
            self.t = resized(self.t, rows)
            self.u = resized(self.u, rows * width)
        if it[c.I_DENSE]:
            rows = 2 * (self.d_t.size - 1)
            self.d_t = resized(self.d_t, rows + 1)
            self.d_c = resized(self.d_c, rows * poly)


def resized(array: Array, size: int) -> Array:
    new = np.empty(size)
    new[: array.size] = array
    return new


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


def tolerances_of(space: Any, options: SolveOptions) -> Array:
    """abstol, then reltol, each one number or one per component."""
    tol, it, n = space.tol, space.it, space.n
    abstol, reltol = options.abstol, options.reltol
    at = 1
    if type(abstol) is float:
        tol[0] = abstol
    else:
        values = np.asarray(abstol, dtype=float).ravel()
        at = values.size
        it[c.I_ATOL1] = int(at == n and n > 1)
        tol[:at] = values
    if type(reltol) is float:
        tol[at] = reltol
    else:
        values = np.asarray(reltol, dtype=float).ravel()
        it[c.I_RTOL1] = int(values.size == n and n > 1)
        tol[at : at + values.size] = values
    return tol


def parameters_of(space: Any, p: Array) -> Array:
    """A plain, writable copy of the parameters; long ones are not copied when they are plain."""
    size = p.size
    if size > 1000 and p.flags.writeable and p.flags.c_contiguous and p.dtype == np.float64:
        return p
    if space.p.size != size:
        if size == 0:  # compiled code wants an address
            return space.p
        space.p = np.zeros(size)
    space.p[:] = p
    return space.p


class Loop:
    """The loop around compiled code: more room, Ctrl-C, and what else is asked for in between."""

    __slots__ = ("space",)

    space: Any

    def solve(self) -> RawSolution:
        """Run to the end. A KeyboardInterrupt carries what there is as `partial`."""
        try:
            code = self.run()
        except KeyboardInterrupt as stop:
            said = f"interrupted at t = {self.space.fl.item(c.F_T):.8g}"
            stop.partial = self.result(c.UNSTABLE, said)  # type: ignore[attr-defined]
            stop.partial.retcode = "Failure"  # type: ignore[attr-defined]
            raise
        return self.result(code)

    def run(self) -> int:
        """Integrate to the end; returns the code of `common` that says how it ended."""
        began = perf_counter()
        while True:
            code = self._advance()
            if code == c.DONE:
                return code
            if code == c.GROW:
                if not self._grow():
                    return code
            elif code == c.AGAIN:
                now = perf_counter()
                self._next_chunk(now - began)
                began = now
            else:
                code = self._serve(code)
                if code != c.AGAIN:
                    return code

    def _advance(self) -> int:
        """Integrate until something is to be done here; returns a code of `common`."""
        raise NotImplementedError

    def _grow(self) -> bool:
        """Make room: an array of the output is full. False: go no further."""
        raise NotImplementedError

    def _serve(self, code: int) -> int:
        """Do what another code asks for. Returns AGAIN to go on, or the code to end with."""
        return code

    def result(self, code: int, message: str = "") -> RawSolution:
        """What was computed, wrapped. Ends the use of the output arrays."""
        raise NotImplementedError

    def _next_chunk(self, seconds: float) -> None:
        """Choose how many steps to take before Python looks for Ctrl-C again."""
        it = self.space.it
        done = max(int(it[c.I_ITER]), 1)
        chunk = int(done * min(_CHUNK_SECONDS / max(seconds, 1e-6), 4.0))
        it[c.I_CHUNK] = it[c.I_ITER] + max(1, min(chunk, 1_000_000))


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
            out = _Output(_EMPTY, np.empty(self.saveat.size * width), _EMPTY, _EMPTY)
        elif options.save_everystep:
            it[c.I_EVERYSTEP] = 1
            out = _Output(np.empty(rows), np.empty(rows * width), _EMPTY, _EMPTY)
        else:
            out = _Output(_EMPTY, _EMPTY, _EMPTY, _EMPTY)
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
        from pysciml.engines.native import explicit_watched

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
            interpolate = _Dense(self.method.degree, n, out, it[c.I_NDENSE], reached, now)
        if self.poly or options.saveat is None:
            steps = max(it[c.I_NACC], 64)
            space.room = steps if steps < 100_000 else 100_000
        stats = Stats(
            it[c.I_NF], it[c.I_NJ], it[c.I_NW], it[c.I_NSOLVE], it[c.I_NACC], it[c.I_NREJ]
        )
        if code not in (c.DONE, c.TERMINATED) and not message:
            message = self._why(code, reached)
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

    def _why(self, code: int, reached: float) -> str:
        """Where it stopped, the likely cause, what to try."""
        fl, it = self.space.fl, self.space.it
        side = self.method.tableaus[self.side]
        stiff = isinstance(side, ExplicitTableau)
        start, end = self.problem.tspan
        where = (
            f"{self.method.name} stopped at t = {reached:.8g} of ({start:g}, {end:g}), after "
            f"{int(it[c.I_NACC])} steps, with step size {abs(fl.item(c.F_DT)):.3g}. "
        )
        if code == c.MAXITERS:
            advice = (
                f"It took the {int(it[c.I_MAXITERS])} attempts that maxiters allows. Try looser "
                "tolerances or a larger maxiters"
            )
            return where + advice + (', or a stiff method such as "Rodas5P".' if stiff else ".")
        if code == c.DTMIN:
            return where + (
                "The step that the tolerances ask for is below dtmin or lost in rounding against "
                "t: a singularity of the solution, a jump in f (name its time in tstops), or "
                "tolerances beyond what f is exact to. Look at the last states, or loosen abstol "
                "and reltol."
            )
        if code == c.ZENO or (
            code == c.DTMIN and self.events is not None and self.events.just_happened(reached)
        ):
            return where + (
                "Events follow each other ever faster, until rounding errors of the time are all "
                "that is between them (Zeno's paradox): end them with a terminal event, or let the "
                "affect come to rest."
            )
        if code == c.BAD_AFFECT:
            return where + "The affect of an event gave a state that is not finite: check it there."
        if code == c.BAD_START:
            return where + (
                "f(u0, p, t0) or its derivative is not finite: check u0, p and the domain of f."
            )
        return where + (
            "The state or f became infinite or NaN even with a tiny step: the solution blows up, "
            "or f left its domain (log or sqrt of a negative number). Check f and p at the last "
            "state, or use a smaller dt when the step is fixed."
        )


RETCODES = {
    c.DONE: "Success",
    c.TERMINATED: "Terminated",
    c.ZENO: "DtLessThanMin",
    c.BAD_AFFECT: "Unstable",
    c.MAXITERS: "MaxIters",
    c.DTMIN: "DtLessThanMin",
    c.UNSTABLE: "Unstable",
    c.BAD_START: "Unstable",
}


class _Dense:
    """Dense output: times (m,) inside the integrated interval -> states (m, n)."""

    __slots__ = ("coefficients", "degree", "last", "n", "steps", "t")

    def __init__(
        self, degree: int, n: int, out: _Output, steps: int, reached: float, last: Array
    ) -> None:
        self.degree, self.n, self.steps, self.last = degree, n, steps, last
        self.t = out.d_t[: steps + 1]
        self.t[steps] = reached
        self.coefficients = out.d_c

    def __call__(self, ts: Array) -> Array:
        ts = np.array(ts, dtype=float, ndmin=1).reshape(-1)
        start, end = self.t[0], self.t[-1]
        low, high = min(start, end), max(start, end)
        outside = ~((ts >= low) & (ts <= high))
        if outside.any():
            raise ValueError(
                f"t = {ts[outside][0]:.17g} is outside the integrated interval "
                f"[{low:.17g}, {high:.17g}]"
            )
        u = np.empty(ts.size * self.n)
        if self.steps:
            tdir = 1.0 if end > start else -1.0
            c.eval_dense(ts, self.t, self.coefficients, self.degree, self.n, tdir, u)
        states = u.reshape(ts.size, self.n)
        states[ts == end] = self.last
        return states
