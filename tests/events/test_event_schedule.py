"""Events at known times, and at the ends of steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from event_cases import TIGHT, after_doses, decay, dosed, height, oscillator

import pysciml as sml


def test_doses_at_given_times(engine: str) -> None:
    doses = [0.0, 1.0, 2.5, 4.0]
    problem = decay((0.0, 4.0), events=[sml.PresetTimes([2.5, 0.0, 1.0, 4.0, 7.0, -1.0], dosed)])
    sol = sml.solve(problem, engine=engine, **TIGHT)
    assert sol.events[0].t == pytest.approx(doses, abs=0)
    assert sol.events[0].after - sol.events[0].before == pytest.approx(2.0)
    times = np.linspace(0.0, 4.0, 81)
    assert sol(times) == pytest.approx(after_doses(times, doses), abs=1e-9)
    assert sol.u[-1] == pytest.approx(after_doses(4.0, doses), abs=1e-9)
    twice = sol.t[:-1] == sol.t[1:]
    assert sol.t[:-1][twice] == pytest.approx(doses, abs=0)
    assert (sol.u[1:] - sol.u[:-1])[twice] == pytest.approx(2.0)


@pytest.mark.parametrize("alg", ("Rodas5P", "Vern7"))
def test_saved_states_are_those_after_the_doses(engine: str, alg: str) -> None:
    doses = [0.0, 1.0, 3.0]
    problem = decay((0.0, 3.0), events=[sml.PresetTimes(doses, dosed)])
    sol = sml.solve(problem, alg, engine, 0.5, **TIGHT)
    assert sol.t == pytest.approx(np.linspace(0.0, 3.0, 7), abs=0)
    assert sol.u == pytest.approx(after_doses(sol.t, doses), abs=1e-9)
    ends = sml.solve(problem, alg, engine, save_everystep=False, **TIGHT)
    assert ends.u == pytest.approx(after_doses(ends.t, doses), abs=1e-9)


def test_backwards(engine: str) -> None:
    problem = decay((3.0, 0.0), u0=1.0, events=[sml.PresetTimes([1.0, 2.0], dosed)])
    sol = sml.solve(problem, engine=engine, **TIGHT)
    at_2 = np.exp(0.7) + 2.0
    at_1 = at_2 * np.exp(0.7) + 2.0
    assert sol.events[0].t == pytest.approx([2.0, 1.0], abs=0)
    assert sol.u[-1] == pytest.approx(at_1 * np.exp(0.7), rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "times"),
    [
        ({}, [0.4, 0.7, 1.0]),
        ({"initial_affect": True}, [0.1, 0.4, 0.7, 1.0]),
        ({"phase": 0.05}, [0.45, 0.75]),
    ],
)
def test_periodic_doses(engine: str, arguments: dict[str, float], times: list[float]) -> None:
    event = sml.PeriodicEvent(0.3, dosed, **arguments)
    sol = sml.solve(decay((0.1, 1.0)), engine=engine, events=[event], **TIGHT)
    assert sol.events[0].t == pytest.approx(times, abs=1e-15)
    assert sol.u[-1] == pytest.approx(after_doses(1.0, sol.events[0].t), rel=1e-9)


def test_many_periods_do_not_drift(engine: str) -> None:
    event = sml.PeriodicEvent(0.1, dosed)
    sol = sml.solve(decay((0.0, 100.0)), "Tsit5", engine, [100.0], events=[event])
    assert len(sol.events[0].t) == 1000
    assert sol.events[0].t == pytest.approx(0.1 * np.arange(1, 1001), rel=1e-15)


def test_times_and_crossings_together_in_order(engine: str) -> None:
    """A dose at the very time of the crossing: first the dose, then the factor."""
    dose = sml.PresetTimes([1.0], lambda u, p, t: u + 1.0)
    factor = sml.ContinuousEvent(lambda u, p, t: t - 1.0, lambda u, p, t: 3.0 * u)
    clock = sml.ODEProblem(lambda u, p, t: 0.0 * u, 1.0, (0.0, 2.0))
    for events, end in (([dose, factor], 6.0), ([factor, dose], 4.0)):
        sol = sml.solve(clock, "Tsit5", engine, events=events)
        assert sol.events[0].t == pytest.approx([1.0], abs=1e-15)
        assert sol.events[1].t == pytest.approx([1.0], abs=1e-15)
        assert sol.u[-1] == pytest.approx(end, abs=1e-12)


def test_events_stay_out_of_the_way_of_tstops(engine: str) -> None:
    def forced(u, p, t):
        return torch.where(t < 1.5, 0.0, 1.0) + 0.0 * u

    problem = sml.ODEProblem(forced, 0.0, (0.0, 3.0), events=[sml.PresetTimes([1.0], height_2)])
    sol = sml.solve(problem, "Tsit5", engine, tstops=[1.5], **TIGHT)
    # OrdinaryDiffEq's step up to the jump has looked at the other side of it, within its tolerance
    assert sol.u[-1] == pytest.approx(2.0 + 1.5, abs=1e-12 if engine == "native" else 1e-9)


def height_2(u, p, t):
    return u + 2.0


def test_a_discrete_event_is_at_the_end_of_a_step(engine: str) -> None:
    late = sml.DiscreteEvent(lambda u, p, t: (t >= 1.0) & (u[0] > 0.0), lambda u, p, t: -u)
    sol = sml.solve(oscillator((0.0, 2.0)), "Tsit5", engine, events=[late], adaptive=False, dt=0.25)
    first = sol.events[0]
    assert first.t[0] == pytest.approx(1.0, abs=1e-12)
    assert first.after == pytest.approx(-first.before)
    # -cos(t) from there on is positive only behind pi/2
    assert first.t[1:] == pytest.approx([1.75], abs=1e-12)


def test_a_terminal_discrete_event(engine: str) -> None:
    stop = sml.DiscreteEvent(lambda u, p, t: t > 1.0, terminal=True)
    sol = sml.solve(oscillator(), "Tsit5", engine, events=[stop], dt=0.25, adaptive=False)
    assert (sol.retcode, sol.success) == ("Terminated", True)
    assert sol.t[-1] == pytest.approx(1.25, abs=1e-12)
    assert sol.u[-1, 0] == pytest.approx(np.cos(1.25), abs=1e-3)


def test_an_affect_at_every_step_does_not_shorten_the_steps(engine: str) -> None:
    """Renormalisation moves the state by less than the tolerance."""
    unit = sml.DiscreteEvent(lambda u, p, t: True, lambda u, p, t: u / torch.sqrt((u * u).sum()))
    plain = sml.solve(oscillator(), "Tsit5", engine, abstol=1e-7, reltol=1e-7)
    sol = sml.solve(oscillator(), "Tsit5", engine, abstol=1e-7, reltol=1e-7, events=[unit])
    assert np.abs((sol.u**2).sum(1)[2::2] - 1.0).max() < 1e-15 * 10
    assert sol.stats.naccept < 1.2 * plain.stats.naccept


def test_events_of_the_problem_come_before_those_of_the_solve(engine: str) -> None:
    problem = decay((0.0, 2.0), events=[sml.PresetTimes([1.0], dosed)])
    sol = sml.solve(
        problem, "Tsit5", engine, events=[sml.PresetTimes([1.0], lambda u, p, t: 0.0 * u)]
    )
    assert [len(each.t) for each in sol.events] == [1, 1]
    assert sol.events[0].after == pytest.approx(2.0)
    assert sol.u[-1] == pytest.approx(0.0, abs=0)
    moved = sml.solve(problem.remake(tspan=(0.0, 0.5)), "Tsit5", engine)
    assert len(moved.events[0].t) == 0


def test_a_crossing_after_a_dose(engine: str) -> None:
    """The level falls to 1 again after each dose."""
    level = sml.ContinuousEvent(lambda u, p, t: u - 1.0, direction=-1)
    doses = [0.0, 2.0, 4.0]
    problem = decay((0.0, 6.0), events=[sml.PresetTimes(doses, dosed), level])
    sol = sml.solve(problem, engine=engine, **TIGHT)
    at, u, expected = 0.0, 0.0, []
    for dose, end in zip(doses, [2.0, 4.0, 6.0], strict=True):
        u = u * np.exp(-0.7 * (dose - at)) + 2.0
        at = dose
        crossing = dose + np.log(u) / 0.7
        expected += [crossing] if crossing < end else []
    assert len(expected) == 3
    assert sol.events[1].t == pytest.approx(expected, abs=1e-9)


def test_a_height_is_no_condition_of_a_time(engine: str) -> None:
    ended = sml.ContinuousEvent(height, terminal=True)
    sol = sml.solve(oscillator(), "Tsit5", engine, 0.5, events=[ended], **TIGHT)
    assert sol.retcode == "Terminated"
    assert sol.t == pytest.approx([0.0, 0.5, 1.0, 1.5, np.pi / 2], abs=1e-9)
    assert sol.u[:, 0] == pytest.approx(np.cos(sol.t), abs=1e-9)
