"""Wrong calls, each with its whole message."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from event_cases import BOUNCE, ball, bounced, dosed, height, oscillator

import pysciml as sml

NAN = float("nan")
LIST = "a list of events (ContinuousEvent, DiscreteEvent, PresetTimes, ...)"


def solve(*events, **options):
    return sml.solve(oscillator(), "Tsit5", "native", events=list(events), **options)


WRONG_CALLS = [
    (
        lambda: sml.ContinuousEvent("u[0]"),
        TypeError,
        "condition must be a function condition(u, p, t); got the string 'u[0]'",
    ),
    (
        lambda: sml.ContinuousEvent(lambda t, u: u[0]),
        TypeError,
        "condition must be a function condition(u, p, t); got <lambda>(t, u)",
    ),
    (
        lambda: sml.ContinuousEvent(height, 0.0),
        TypeError,
        "affect must be a function affect(u, p, t); got 0.0",
    ),
    (
        lambda: sml.ContinuousEvent(height, direction=2),
        ValueError,
        "direction must be 0 (every change of sign), 1 (to positive) or -1 (to negative); got 2",
    ),
    (
        lambda: sml.ContinuousEvent(height, direction="up"),
        ValueError,
        "direction must be 0 (every change of sign), 1 (to positive) or -1 (to negative); got the "
        "string 'up'",
    ),
    (
        lambda: sml.ContinuousEvent(height, terminal="yes"),
        TypeError,
        "terminal must be True or False; got the string 'yes'",
    ),
    (
        lambda: sml.ContinuousEvent(height, interp_points=0),
        ValueError,
        "interp_points must be a whole number >= 1; got 0",
    ),
    (
        lambda: sml.DiscreteEvent(height),
        TypeError,
        "affect must be given, unless the event is terminal; got None",
    ),
    (
        lambda: sml.PresetTimes("noon", dosed),
        TypeError,
        "times must be a time, or a vector of times; got the string 'noon'",
    ),
    (
        lambda: sml.PresetTimes([1.0, NAN], dosed),
        ValueError,
        "times must be finite; got nan",
    ),
    (
        lambda: sml.PresetTimes([[1.0], [2.0]], dosed),
        ValueError,
        "times must be a time, or a vector of times; got the list [[1.0], [2.0]]",
    ),
    (
        lambda: sml.PresetTimes([1.0], None),
        TypeError,
        "affect must be a function affect(u, p, t); got None",
    ),
    (
        lambda: sml.PeriodicEvent(0.0, dosed),
        ValueError,
        "period must be a finite number > 0; got 0.0",
    ),
    (
        lambda: sml.PeriodicEvent(1.0, dosed, phase=-1.0),
        ValueError,
        "phase must be a finite number >= 0; got -1.0",
    ),
    (
        lambda: solve(sml.PeriodicEvent(1e-9, lambda u, p, t: u)),
        ValueError,
        "period must fit at most 10000000 times into tspan; got 1e-09",
    ),
    (
        lambda: sml.ManifoldProjection(1.0),
        TypeError,
        "residual must be a function residual(u, p, t); got 1.0",
    ),
    (
        lambda: solve(sml.Positive([0, 2])),
        ValueError,
        "indices must lie between 0 and 1, the entries of u0; got 2",
    ),
    (
        lambda: solve(sml.Positive(), adaptive=False, dt=0.1),
        ValueError,
        "Positive needs an adaptive step, to try again with a smaller one; Tsit5 runs with a "
        "fixed one",
    ),
    (
        lambda: sml.solve(oscillator(), events=BOUNCE),
        TypeError,
        f"events must be {LIST}; got one ContinuousEvent: put it in a list",
    ),
    (
        lambda: solve(height),
        TypeError,
        f"events must be {LIST}; got a function in events[0]",
    ),
    (
        lambda: sml.ODEProblem(bounced, [1.0, 0.0], (0, 1), events="bounce"),
        TypeError,
        f"events must be {LIST}; got the string 'bounce'",
    ),
    (
        lambda: sml.solve(oscillator(), callback=[BOUNCE]),
        TypeError,
        "there is no option 'callback'; here it is called 'events'",
    ),
    (
        lambda: sml.solve(ball(), engine="torch"),
        sml.UnsupportedError,
        'engine="torch" has no events; engine="julia" and engine="native" have',
    ),
    (
        lambda: sml.solve(
            sml.SDEProblem(lambda u, p, t: u, lambda u, p, t: u, 1.0, (0, 1)),
            events=[sml.PresetTimes([0.5], lambda u, p, t: u)],
        ),
        sml.UnsupportedError,
        "there are no events for an SDEProblem, only for ODEProblem",
    ),
    (
        lambda: solve(sml.ContinuousEvent(lambda u, p, t: u)),
        sml.CaptureError,
        "condition of events[0] must return one number, but returned shape (2,)",
    ),
    (
        lambda: solve(BOUNCE_RECORDED, sml.ContinuousEvent(height, lambda u, p, t: u[0])),
        sml.CaptureError,
        "affect of events[1] must return the new state, of u's shape (2,), but returned shape ()",
    ),
    (
        lambda: solve(sml.ContinuousEvent(lambda u, p, t: u[0] > 1.0)),
        sml.CaptureError,
        "condition of events[0] must return a number whose sign changes, such as u[0] - 1, but "
        "returned true or false. A DiscreteEvent takes that",
    ),
    (
        lambda: solve(sml.DiscreteEvent(height, lambda u, p, t: u)),
        sml.CaptureError,
        "condition of events[0] must return true or false, such as u[0] > 1, but returned a "
        "number. A ContinuousEvent takes that, and finds where it is zero",
    ),
    (
        lambda: solve(sml.ContinuousEvent(height, lambda u, p, t: None)),
        sml.CaptureError,
        "affect of events[0] must return its result as a tensor, array, list or tuple, but "
        "returned nothing. A right-hand side that writes in place takes (du, u, p, t).",
    ),
]  # fmt: skip

BOUNCE_RECORDED = sml.ContinuousEvent(height)


@pytest.mark.parametrize(("call", "kind", "message"), WRONG_CALLS)
def test_the_whole_message(call, kind, message: str) -> None:
    with pytest.raises(kind) as raised:
        call()
    assert str(raised.value) == message


def test_a_condition_that_branches_shows_its_line() -> None:
    def branching(u, p, t):
        return 1.0 if u[0] > 0.5 else -1.0

    with pytest.raises(sml.CaptureError) as raised:
        solve(sml.ContinuousEvent(branching))
    message = str(raised.value)
    assert message.startswith("condition of events[0] cannot be captured")
    assert "return 1.0 if u[0] > 0.5 else -1.0" in message
    assert "torch.where" in message


def test_an_affect_that_is_not_finite_says_when() -> None:
    event = sml.PresetTimes([1.0], lambda u, p, t: torch.log(u - 10.0))
    with pytest.raises(sml.SolveError, match="affect of an event gave a state that is not finite"):
        solve(event)
    sol = solve(event, raise_on_failure=False)
    assert sol.retcode == "Unstable"
    assert sol.t[-1] == pytest.approx(1.0)
    assert np.isfinite(sol.u).all()
