"""Gradients through events: an adjoint method between them, the saltation matrix across each.

SciMLSensitivity knows no events here. After the run with them, the way back goes from the last one
to the first: the stretch behind it is solved again, from the state that it left, as a problem
without events, and pulled back by the adjoint method; the transposed saltation matrix (see
`pysciml.engines.event_adjoint`) turns that into the cotangent of the state before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.capture.interpret import prepare
from pysciml.engines.base import (
    AdjointOptions,
    Array,
    Cotangents,
    Pullback,
    RawSolution,
    SolveOptions,
)
from pysciml.engines.event_adjoint import EventBackward, Outputs, refuse_corrections
from pysciml.engines.julia import session
from pysciml.engines.julia.adjoint import Recipe, checked, pulled, recipe
from pysciml.engines.julia.events import watched

if TYPE_CHECKING:
    from pysciml.engines.julia.model import JuliaModel
    from pysciml.problems import ODEProblem


def solve_with_pullback(
    model: JuliaModel,
    problem: ODEProblem,
    alg: str | None,
    options: SolveOptions,
    adjoint: AdjointOptions,
    full: bool,
) -> tuple[RawSolution, Pullback]:
    """As `adjoint.solve_with_pullback`, for a problem or a solve with events."""
    refuse_corrections(options.events)
    how = recipe(model, alg, replace(options, events=(), saveat=None), adjoint)
    watching = watched(model, options.events, problem.tspan)
    raw, happened = watching.solve_watched(problem, watching.plan(alg, options), full)
    events = EventBackward(watching.events, options.events, problem.mass_matrix, _interpreted)
    forward = problem.tspan[1] > problem.tspan[0]
    outputs = Outputs(raw.t, happened, 1.0 if forward else -1.0)
    shape = (len(raw.t), model.n)
    stretches = _Stretches(model, problem, how, full)

    def pullback(gradient: Array) -> Cotangents:
        w = checked(gradient, shape)
        cotangents = outputs.cotangents(w).copy()
        by_p = np.zeros(problem.p_flat.size)
        end = len(outputs.times)
        for number in range(len(happened) - 1, -1, -1):
            happening, place = happened[number], outputs.of_happenings[number]
            behind = slice(place + 1, end)
            after = happening.fired[-1][2]
            found = stretches.pull(happening.t, after, outputs.times[behind], cotangents[behind])
            cotangents[place], of_event = events(happening, found.u0, w, problem.p_flat)
            by_p += found.p + of_event
            end = place + 1
        t0, u0 = problem.tspan[0], problem.u0_flat
        found = stretches.pull(t0, u0, outputs.times[:end], cotangents[:end])
        return Cotangents(found.u0, by_p + found.p)

    return raw, pullback


class _Stretches:
    """The solves between the events."""

    def __init__(self, model: JuliaModel, problem: ODEProblem, how: Recipe, full: bool) -> None:
        self._model, self._problem, self._how, self._full = model, problem, how, full

    def pull(self, t: float, u: Array, times: Array, w: Array) -> Cotangents:
        """The cotangents of the state u at time t, from those of the states at later times."""
        later = times != t
        at_once = w[~later].sum(0)
        p = self._problem.p_flat
        if not w[later].any():
            return Cotangents(at_once, np.zeros(p.size))
        times = times[later]
        handle = session.module().saving_at(self._how.handle, times)
        stretch = self._problem.at(u, p, (t, float(times[-1])))
        plan = replace(self._how.plan, room=len(times))
        raw, tape = self._model.run(handle, stretch, plan, self._full)
        if not raw.success:
            raise session.JuliaError(
                f"the solve from the event at t = {t:.6g} could not be done again: {raw.message}"
            )
        found = pulled(tape, w[later], p.size)
        return Cotangents(found.u0 + at_once, found.p)


def _interpreted(model: Any, name: str) -> Any:
    """A Program as NumPy runs it: it is called a few times for each event."""
    return prepare(getattr(model, name))
