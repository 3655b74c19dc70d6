"""What a solve works in: a model's compiled functions, and arrays that are kept for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import Array, SolveOptions
from pysciml.engines.native import common as c
from pysciml.engines.native.explicit import loop as explicit
from pysciml.engines.native.explicit.tableau import ExplicitTableau

if TYPE_CHECKING:
    from pysciml.engines.native.events import Watched
    from pysciml.engines.native.methods import Method
    from pysciml.engines.native.rosenbrock.implicit import Implicit
    from pysciml.engines.native.rosenbrock.tableau import RosenbrockTableau
    from pysciml.events import Event

_MOST_KEPT = 16  # lists of work spaces, and of compiled events, that a model keeps


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
        from pysciml.engines.native.rosenbrock.implicit import Implicit

        if self._implicit is None or self._implicit.mass is not mass:
            self._implicit = Implicit(self, tableau, self.method.linsolve, mass)
        return self._implicit


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
