"""Solving until an event: where a function of t and y changes its sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pysciml.autograd.solving import Call, flatten
from pysciml.engines.base import Array, RawSolution, SolveOptions
from pysciml.errors import UnsupportedError

_EPS = float(np.finfo(float).eps)


def until_event(
    call: Call,
    event_fn: Callable[..., torch.Tensor],
    y0: torch.Tensor,
    t: torch.Tensor,
    times: Array,
) -> tuple[torch.Tensor, Any]:
    """The time of the event, and the states at the start and there.

    The states have gradients as if the time of the event were given, as in torchdiffeq.

    Parameters
    ----------
    event_fn: `event_fn(t, y)`, a tensor; the first of its entries to change sign counts.
    y0: the joined state at t[0].
    t, times: the start and a second time that gives the direction, as tensor and as array.

    Raises
    ------
    SolveError: the solve stopped early without an event.
    """
    if call.method.grid is not None:
        raise UnsupportedError("the engines look for events with an adaptive step only")
    with torch.no_grad():
        found = _locate(call, _Distance(call, event_fn, y0, times[0]), y0, times)
    event_t = torch.tensor(found, dtype=torch.float64).to(t)
    if found == times[0]:
        return event_t, call.layout.split(torch.stack([y0, y0]))
    span = torch.cat([t[:1], event_t.reshape(1)])
    states = call.solve(y0, span, np.array([times[0], found]))
    return event_t, call.layout.split(states)


class _Distance:
    """Positive from the start until the first entry of the event function changes its sign."""

    def __init__(
        self, call: Call, event_fn: Callable[..., torch.Tensor], y0: torch.Tensor, start: float
    ) -> None:
        self._event_fn = event_fn
        self._split = call.layout.split
        self._y0 = y0
        self._signs = torch.sign(self._values(start, flatten((y0,))))

    def __call__(self, time: float, flat: Array) -> float:
        return float((self._values(time, flat) * self._signs).min())

    def _values(self, time: float, flat: Array) -> torch.Tensor:
        y = torch.from_numpy(flat.copy()).to(self._y0).reshape(self._y0.shape)
        t = torch.tensor(time, dtype=torch.float64).to(self._y0)
        return self._event_fn(t, self._split(y))


def _locate(call: Call, distance: _Distance, y0: torch.Tensor, times: Array) -> float:
    """The time of the event.

    It is looked for at the end of each step, as torchdiffeq does, then inside the step by Brent's
    method. At first the span of `times` is integrated, then twice as much each time.
    """
    time, length = times[0].item(), times[1].item() - times[0].item()
    u, p = flatten((y0,)), flatten(call.parameters)
    if distance(time, u) == 0.0:
        return time
    left = call.method.options["maxiters"]
    while True:
        end = time + length
        options = SolveOptions(None, call.atol, call.rtol, **call.method.within(time, end))
        options = replace(options, maxiters=left)
        problem = call.problem.at(u, p, (time, end))
        raw = call.engine.solve(problem, call.method.alg, options)
        for k in range(1, len(raw.t)):
            if distance(raw.t[k], raw.u[k]) <= 0.0:
                return _inside(raw, k, distance)
        left -= raw.stats.naccept + raw.stats.nreject
        if raw.retcode == "Success" and left <= 0:
            raw.retcode = "MaxIters"
        if raw.retcode != "Success":
            raw.message = f"no event before t = {raw.t[-1]:.6g}. {raw.message}"
            raise call.error(problem, options, raw)
        time, u, length = end, raw.u[-1].copy(), 2.0 * length


def _inside(raw: RawSolution, k: int, distance: _Distance) -> float:
    """The time of the event in the step that ends at raw.t[k]."""
    from scipy.optimize import brentq

    interpolate = raw.interpolate
    assert interpolate is not None  # the solve was dense

    def at(time: float) -> float:
        return distance(time, interpolate(np.array([time]))[0])

    start, end = float(raw.t[k - 1]), float(raw.t[k])
    # the interpolant's own ends may differ from the steps' by rounding
    if at(end) >= 0.0:
        return end
    if at(start) <= 0.0:
        return start
    found: float = brentq(at, start, end, xtol=_EPS * max(abs(start), abs(end)), rtol=4.0 * _EPS)
    return found
