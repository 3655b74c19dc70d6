"""Events on the Julia side, and what happened, back from there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.capture.events import CapturedEvents
from pysciml.engines.base import Array, RawSolution, SolveOptions
from pysciml.engines.events import Happening, by_event, check_events
from pysciml.engines.julia import session
from pysciml.engines.julia.model import JuliaModel, Plan
from pysciml.events import ContinuousEvent, Event, Positive

if TYPE_CHECKING:
    from collections.abc import Sequence

_DISCRETE = 2.0  # the direction of a condition that is true or false

_WHY = {
    "Zeno": (
        "events follow each other ever faster (Zeno's paradox: end them with a terminal event, or "
        "let the affect come to rest), until rounding errors are all that is between them,"
    ),
    "affect": "the affect of an event gave a state that is not finite",
    "projection": "the state cannot be moved to where the residuals are zero",
}


class EventFunctions:
    """The compiled functions of some events, beside a model."""

    def __init__(self, model: JuliaModel, events: Sequence[Event]) -> None:
        self.captured = captured = CapturedEvents(model.captured, events)
        self.functions = JuliaModel(model.captured)
        if captured.conditions:
            self.functions.compile_program("values", captured.values)
            self.functions.compile_program("rates", captured.rates)
        for i, affect in captured.affects.items():
            self.functions.compile_program(f"affect_{i}", affect.f)
        self.residuals = 0
        if captured.residuals:
            self.residuals = captured.residual.shape[0]
            self.functions.compile_program("residual", captured.residual)
            self.functions.compile_program("residual_jac", captured.residual_jac)


class WatchedModel(JuliaModel):
    """A model with events, which happen from t0 to t1."""

    def __init__(
        self, model: JuliaModel, events: tuple[Event, ...], tspan: tuple[float, float]
    ) -> None:
        self._plain = model
        self._events = events
        compiled: EventFunctions = model.kept(
            ("events", events), lambda: EventFunctions(model, events)
        )
        self.events = compiled.captured
        self._times, which = _schedule(events, tspan)
        conditions = list(compiled.captured.conditions)
        handle = session.module().WatchedModel(
            model.handle,
            compiled.functions.handle,
            np.array(conditions, dtype=np.int64),
            np.array([getattr(events[i], "direction", _DISCRETE) for i in conditions], dtype=float),
            max((e.interp_points for e in events if isinstance(e, ContinuousEvent)), default=1),
            np.array(list(compiled.captured.affects), dtype=np.int64),
            np.array([i for i, e in enumerate(events) if getattr(e, "terminal", False)], np.int64),
            _positive(events, model.n),
            compiled.residuals,
            self._times,
            which,
        )
        super().__init__(model.captured, handle=handle)
        self._has_mass = model._has_mass

    def compile_for(self, kind: str) -> None:
        self._plain.compile_for(kind)

    def solve(self, problem: Any, plan: Plan, full: bool) -> RawSolution:
        return self.solve_watched(problem, plan, full)[0]

    def solve_watched(
        self, problem: Any, plan: Plan, full: bool
    ) -> tuple[RawSolution, list[Happening]]:
        """Solve; also returns what happened."""
        raw, outcome = self.run(plan.handle, problem, plan, full)
        if plan.dense:
            raw.interpolate = self._interpolant(outcome, plan.width)
        happened = _happened(self._julia.happened(outcome))
        if raw.retcode == "Terminated" and -1 == happened[-1].row_before == happened[-1].row_after:
            happened[-1].row_after = len(raw.t) - 1
        raw.events = by_event(happened, len(self._events), self.n)
        return raw, happened

    def _why(self, retcode: str, plan: Plan, outcome: Any) -> str:
        ended_by = str(self._julia.ended_by(outcome))
        return _WHY.get(ended_by) or super()._why(retcode, plan, outcome)

    def _new_plan(self, alg: str | None, options: SolveOptions) -> Plan:
        check_events(self._events, options.adaptive, alg or "the default method")
        given = np.empty(0) if options.tstops is None else options.tstops
        stops = np.unique(np.concatenate([given, self._times]))
        return super()._new_plan(alg, replace(options, tstops=stops))


def watched(
    model: JuliaModel, events: tuple[Event, ...], tspan: tuple[float, float]
) -> WatchedModel:
    """The model with events, kept with it."""
    known = any(event.schedule(*tspan).size for event in events)
    key = ("watched", events, tspan if known else None)
    return model.kept(key, lambda: WatchedModel(model, events, tspan))


def _schedule(
    events: Sequence[Event], tspan: tuple[float, float]
) -> tuple[Array, np.ndarray[Any, np.dtype[np.int64]]]:
    """All known times, in order, and which event each of them is of."""
    times = [event.schedule(*tspan) for event in events]
    which = np.repeat(np.arange(len(events)), [each.size for each in times])
    joined = np.concatenate(times)
    order = np.argsort(joined if tspan[1] > tspan[0] else -joined, kind="stable")
    return joined[order], which[order]


def _positive(events: Sequence[Event], n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    found = [event.components(n) for event in events if isinstance(event, Positive)]
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *found])).astype(np.int64)


def _happened(columns: Any) -> list[Happening]:
    """From Julia's columns, one for each event; those of one number are one happening."""
    numbers, events, times, before, after, rows = (np.array(column) for column in columns)
    found: list[Happening] = []
    for k, number in enumerate(numbers.tolist()):
        if number > len(found):
            found.append(Happening(float(times[k]), [], *rows[:, k].tolist()))
        found[-1].fired.append((int(events[k]), before[:, k].copy(), after[:, k].copy()))
    return found
