"""Gradients through events.

Let c(u, p, t) = 0 be the condition of an event, a(u, p, t) its affect, f- and f+ the slopes before
and after it. A change (du, dp) of the state before it, at a fixed time, and of the parameters moves
the event by dt, and the state after it, at a fixed time, by du+:

    dt  = -(c_u du + c_p dp) / (c_u f- + c_t)
    du+ = a_u (du + f- dt) + a_p dp + a_t dt - f+ dt

This is the saltation matrix (M. A. Aizerman, F. R. Gantmakher, "On the stability of periodic
motions", Quart. J. Mech. Appl. Math. 11 (1958) 163-178) with the parameters. Here is its transpose.
Saved states at the event itself, the last one of a terminal event for instance, move with it: their
change is du + f- dt, or du+ + f+ dt. Known times are fixed, and so are those of discrete events:
dt = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import Array
from pysciml.engines.events import Happening
from pysciml.errors import UnsupportedError
from pysciml.events import ContinuousEvent, Event, ManifoldProjection, Positive

if TYPE_CHECKING:
    from pysciml.capture import Model
    from pysciml.capture.events import CapturedEvents

    Function = Callable[..., Array]


def refuse_corrections(events: Sequence[Event]) -> None:
    """Refuse to differentiate what changes the state at every step."""
    for event in events:
        if isinstance(event, (Positive, ManifoldProjection)):
            raise UnsupportedError(
                f"there are no gradients through {type(event).__name__}: leave it out of the "
                "events of what is differentiated"
            )


class Outputs:
    """The saved states at fixed times, and the states before events, in the order of integration.

    `times`: of all of them; `of_happenings`: the place of the state before each of `happened`.
    """

    def __init__(self, t: Array, happened: list[Happening], tdir: float) -> None:
        self.happened = happened
        if not happened:
            self.times = t.copy()
            return
        moving = [row for each in happened for row in (each.row_before, each.row_after)]
        self._fixed = np.setdiff1d(np.arange(t.size), moving)
        when = np.array([each.t for each in happened])
        # a saved state at the time of events is the one after them
        earlier = np.searchsorted(tdir * when, tdir * t[self._fixed], side="right")
        self._of_fixed = np.arange(self._fixed.size) + earlier
        self._size = self._fixed.size + when.size
        self.of_happenings = np.setdiff1d(np.arange(self._size), self._of_fixed)
        self.times = np.empty(self._size)
        self.times[self._of_fixed], self.times[self.of_happenings] = t[self._fixed], when

    def cotangents(self, ubar: Array) -> Array:
        """Those of the saved states, and zeros for those of the events, (len(times), n)."""
        if not self.happened:
            return ubar
        found = np.zeros((self._size, ubar.shape[1]))
        found[self._of_fixed] = ubar[self._fixed]
        return found


class EventBackward:
    """The transposed derivatives of a model's events.

    `function(model, name)` is the Program `name` of a captured function, as one of flat arrays.
    """

    def __init__(
        self,
        captured: CapturedEvents,
        events: Sequence[Event],
        mass_matrix: Any,
        function: Callable[[Model, str], Function],
    ) -> None:
        self._model = captured.model
        self._n = captured.model.n
        self._captured = captured
        self._events = events
        self._mass = mass_matrix
        self._function = function
        if self._mass is not None and np.linalg.matrix_rank(self._mass) < self._n:
            raise UnsupportedError(
                "gradients through events need a regular mass_matrix: with a singular one the "
                "slopes at an event are not known"
            )
        self._functions: dict[tuple[Model, str], Function] = {}

    def __call__(
        self, happening: Happening, mu: Array, ubar: Array, p: Array
    ) -> tuple[Array, Array]:
        """The cotangents of the state before, at a fixed time, and of the parameters.

        `mu`: that of the state after, at a fixed time; `ubar`: those of the saved states.
        """
        n, t = self._n, happening.t
        by_state = mu.copy()
        if happening.row_after >= 0:
            by_state += ubar[happening.row_after]
        by_p, by_t = np.zeros(p.size), 0.0
        for i, before, _ in reversed(happening.fired):
            if i in self._captured.affects:
                affect = self._captured.affects[i]
                by_t += by_state @ self._of(affect, "tgrad")(before, p, t)
                products = self._of(affect, "vjp_up")(before, p, t, by_state)
                by_state, by_p = products[:n], by_p + products[n:]
        if happening.row_before >= 0:
            by_state = by_state + ubar[happening.row_before]
        moving = [i for i, _, _ in happening.fired if self._is_continuous(i)]
        if not moving:
            return by_state, by_p
        condition = self._captured.conditions[moving[0]]
        first, last = happening.fired[0][1], happening.fired[-1][2]
        f_before, f_after = self._slope(first, p, t), self._slope(last, p, t)
        by_t += by_state @ f_before - mu @ f_after
        gradient = self._of(condition, "vjp_up")(first, p, t, np.ones(1))
        rate = gradient[:n] @ f_before + self._of(condition, "tgrad")(first, p, t)[0]
        with np.errstate(divide="ignore", invalid="ignore"):  # the condition only touches zero
            gradient = gradient * (by_t / rate)
        return by_state - gradient[:n], by_p - gradient[n:]

    def _is_continuous(self, i: int) -> bool:
        return isinstance(self._events[i], ContinuousEvent)

    def _slope(self, u: Array, p: Array, t: float) -> Array:
        f = self._of(self._model, "f")(u, p, t)
        return f if self._mass is None else np.asarray(np.linalg.solve(self._mass, f))

    def _of(self, model: Model, name: str) -> Function:
        key = (model, name)
        if key not in self._functions:
            self._functions[key] = self._function(model, name)
        return self._functions[key]
