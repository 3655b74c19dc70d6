"""The events of a run: their compiled functions, their memory, and what they do to the state.

The integrators look at the conditions (`watch`) and stop at an event; here it happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from pysciml.codegen.numba import NativeFunction, compile_program
from pysciml.engines.base import Array
from pysciml.engines.events import Happening, by_event
from pysciml.engines.native import common as c
from pysciml.engines.native import watch as w
from pysciml.engines.native.common import ENTRY, signature
from pysciml.engines.native.pointers import call_jvp, call_rhs
from pysciml.events import ContinuousEvent, Event, Positive

if TYPE_CHECKING:
    from pysciml.capture import Model
    from pysciml.engines.base import SolveOptions
    from pysciml.engines.native.run import Drive
    from pysciml.problems import ODEProblem

# After an event, a condition that is smaller than this part of its largest value in the last step
# is about zero.
_ABOUT_ZERO = 100.0 * c.EPS


@njit(signature("void", "iFFFxF"), **ENTRY)
def _evaluate(address, out, u, p, t, work):  # type: ignore[no-untyped-def]
    call_rhs(address, out, 0, u, 0, p, t, work)


@njit(signature("void", "iFFFxFF"), **ENTRY)
def _evaluate_with(address, out, u, p, t, v, work):  # type: ignore[no-untyped-def]
    call_jvp(address, out, 0, u, 0, p, t, v, 0, work)


class Function:
    """A compiled Program as a function of flat arrays (u, p, t) or (u, p, t, v)."""

    def __init__(self, compiled: NativeFunction, size: int) -> None:
        self._compiled = compiled
        self._size = size
        self._work = compiled.new_work()

    def __call__(self, u: Array, p: Array, t: float, v: Array | None = None) -> Array:
        out = np.empty(self._size)
        address = self._compiled.address
        if v is None:
            _evaluate(address, out, u, p, t, self._work)
        else:
            _evaluate_with(address, out, u, p, t, v, self._work)
        return out


class Watched:
    """The events of a model: captured and compiled. Threads share it."""

    def __init__(self, model: Model, events: Sequence[Event]) -> None:
        from pysciml.capture.events import CapturedEvents

        self.events = events
        self.captured = CapturedEvents(model, events)
        self.n = model.n
        self.conditions = list(self.captured.conditions)  # places in the list of events
        self._compiled: dict[Any, tuple[NativeFunction, int]] = {}
        for i in self.captured.affects:
            self.affect(i)

    def function(self, model: Model, name: str) -> Function:
        """The Program `name` of one of the captured functions, with a scratch space of its own."""
        key = (model, name)
        if key not in self._compiled:
            program = getattr(model, name)
            self._compiled[key] = compile_program(program), int(np.prod(program.shape))
        return Function(*self._compiled[key])

    def affect(self, i: int) -> Function:
        return self.function(self.captured.affects[i], "f")

    @cached_property
    def values(self) -> NativeFunction:
        return compile_program(self.captured.values)

    @cached_property
    def positive(self) -> Array:
        """Indices of the components that stay positive."""
        found = [event.components(self.n) for event in self.events if isinstance(event, Positive)]
        return np.unique(np.concatenate(found)).astype(float) if found else np.empty(0)

    def memory(self, at: int) -> tuple[Array, dict[int, int]]:
        """The memory that the integrators need, and the integers that tell them what lies where
        when it begins at `at` of their scratch space.
        """
        parts: list[Array] = []
        places: dict[int, int] = {}

        def place(part: Array) -> int:
            start = at + sum(map(len, parts))
            parts.append(part)
            return start

        def scratch(compiled: NativeFunction, address: int, work: int) -> None:
            places[address], places[work] = compiled.address, place(compiled.new_work())

        if self.conditions:
            places[c.I_WATCH] = len(self.conditions)
            places[c.I_WATCH_AT] = place(self._of_conditions().ravel())
            places[c.I_POINTS] = self._points()
            scratch(self.values, c.I_COND, c.I_COND_WORK)
            scratch(self._rates, c.I_RATE, c.I_RATE_WORK)
        places[c.I_POSITIVE], places[c.I_POSITIVE_AT] = self.positive.size, place(self.positive)
        if self.captured.residuals:
            m = places[c.I_NRES] = self.captured.residual.shape[0]
            places[c.I_RES_AT] = place(np.zeros(m + m * self.n + m * m))
            residual, jacobian = self._residuals
            scratch(residual, c.I_RES, c.I_RES_WORK)
            scratch(jacobian, c.I_RES_JAC, c.I_RES_JAC_WORK)
        return np.concatenate(parts), places

    @cached_property
    def _rates(self) -> NativeFunction:
        return compile_program(self.captured.rates)

    @cached_property
    def _residuals(self) -> tuple[NativeFunction, NativeFunction]:
        captured = self.captured
        return compile_program(captured.residual), compile_program(captured.residual_jac)

    def _of_conditions(self) -> Array:
        memory = np.zeros((w.W_COUNT, len(self.conditions)))
        for k, i in enumerate(self.conditions):
            event = self.events[i]
            memory[w.W_DIRECTION, k] = (
                event.direction if isinstance(event, ContinuousEvent) else w.DISCRETE
            )
        return memory

    def _points(self) -> int:
        continuous = [event for event in self.events if isinstance(event, ContinuousEvent)]
        return max((event.interp_points for event in continuous), default=1)


class EventRun:
    """The events of one run: when they are due, and what has happened so far.

    `stops`: the run's tstops with the known times of events; `count`: happenings so far, of which
    `happened` has those since the run was begun or last gone on with from a checkpoint.
    """

    def __init__(self, watched: Watched, options: SolveOptions, tspan: tuple[float, float]) -> None:
        self.watched = watched
        self.happened: list[Happening] = []
        self.count = 0
        self._affects = {i: watched.affect(i) for i in watched.captured.affects}
        self._values: Function | None = None
        if watched.conditions:
            self._values = Function(watched.values, len(watched.conditions))
        times = [event.schedule(*tspan) for event in watched.events]
        given = () if options.tstops is None else options.tstops
        stops = np.unique(np.concatenate([given, *times, [tspan[1]]]))
        self.stops = stops if tspan[1] > tspan[0] else stops[::-1].copy()
        self._due = self._schedule(times)

    def _schedule(self, times: list[Array]) -> dict[int, tuple[list[int], int]]:
        """For the values of I_STOP at which events are due: which, and the next such value."""
        order = self.stops if self.stops[0] < self.stops[-1] else -self.stops
        due: dict[int, list[int]] = {}
        for i, at in enumerate(times):
            places = np.searchsorted(order, at if order is self.stops else -at)
            for stop in (places + 1).tolist():
                due.setdefault(stop, []).append(i)
        following = [*sorted(due), 0]
        return {stop: (due[stop], following[k + 1]) for k, stop in enumerate(sorted(due))}

    def begin(self, it: Any) -> None:
        """Before the first step."""
        it[c.I_EVENT_STOP] = min(self._due, default=0)

    def happen(self, drive: Drive) -> int:
        """Let happen what is due at the time reached: EVENT to go on, TERMINATED or BAD_AFFECT."""
        state, t = drive.state, drive.space.fl.item(c.F_T)
        happening = Happening(t, [])
        u = state.copy()
        for i in self._due_now(drive.space):
            after = self._affects[i](u, drive.p, t) if i in self._affects else u
            happening.fired.append((i, u, after))
            u = after
        self.happened.append(happening)
        self.count += 1
        if not np.isfinite(u).all():
            return c.BAD_AFFECT
        changed = any(i in self._affects for i, _, _ in happening.fired)
        state[:] = u
        self._save(drive, happening, changed)
        if any(getattr(self.watched.events[i], "terminal", False) for i, _, _ in happening.fired):
            return c.TERMINATED
        if self._values:
            self._watch_on(drive, self._values(u, drive.p, t))
        drive.begin_anew(happening.fired[0][1])
        return c.EVENT

    def _due_now(self, space: Any) -> list[int]:
        """The events that happen, in the order given."""
        it = space.it
        due: list[int] = []
        if self.watched.conditions:
            happens = np.flatnonzero(self.memory(space)[w.W_HAPPENS])
            due = [self.watched.conditions[k] for k in happens]
        if 0 < it[c.I_EVENT_STOP] == it[c.I_STOP]:
            scheduled, it[c.I_EVENT_STOP] = self._due[int(it[c.I_STOP])]
            due = sorted([*due, *scheduled])
        return due

    def memory(self, space: Any) -> Array:
        """What the integrator remembers of the conditions, (W_COUNT, conditions)."""
        at, count = int(space.it[c.I_WATCH_AT]), int(space.it[c.I_WATCH])
        block: Array = space.work[at : at + w.W_COUNT * count]
        return block.reshape(w.W_COUNT, count)

    def _watch_on(self, drive: Drive, values: Array) -> None:
        """The signs of the conditions after an event."""
        memory = self.memory(drive.space)
        about_zero = np.maximum(2.0 * np.abs(memory[w.W_VALUE]), _ABOUT_ZERO * memory[w.W_SCALE])
        about_zero[memory[w.W_HAPPENS] == 0.0] = 0.0
        memory[w.W_SIGN] = np.sign(values)
        memory[w.W_FRESH] = np.abs(values) <= about_zero
        memory[w.W_VALUE] = values
        memory[w.W_HAPPENS] = 0.0

    def _save(self, drive: Drive, happening: Happening, changed: bool) -> None:
        """The state after the events belongs to the output."""
        it, out = drive.space.it, drive.out
        state = drive.state if drive.idxs.size == 0 else drive.state[drive.idxs]
        width = drive.width
        if it[c.I_EVERYSTEP]:
            last = int(it[c.I_NOUT]) - 1
            shown = len(self.happened) > 1 and self.happened[-2].row_after == last
            happening.row_before = -1 if shown else last
            if changed:
                if last + 1 == out.t.size:
                    drive.more_rows()
                happening.row_after = last + 1
                out.t[last + 1] = happening.t
                out.u[(last + 1) * width : (last + 2) * width] = state
                it[c.I_NOUT] += 1
        row = int(it[c.I_SAVE]) - 1
        if row >= 0 and drive.saveat[row] == happening.t:
            out.u[row * width : (row + 1) * width] = state

    def just_happened(self, t: float) -> bool:
        """Whether there were events at the time reached."""
        return bool(self.happened) and self.happened[-1].t == t

    def start(self, problem: ODEProblem) -> Array:
        """The state at t0, after what happened there."""
        first = problem.u0_flat
        for happening in self.happened:
            if happening.t == problem.tspan[0]:
                first = happening.fired[-1][2]
        return first

    def found(self) -> tuple[tuple[Array, Array, Array], ...]:
        """By event: the times, the states before and those after."""
        return by_event(self.happened, len(self.watched.events), self.watched.n)
