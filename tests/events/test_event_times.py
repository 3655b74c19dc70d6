"""Where events are found, against closed forms and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from event_cases import (
    BOUNCE,
    TIGHT,
    ball,
    bounce_times,
    falling,
    height,
    oscillating,
    oscillator,
)
from scipy.integrate import solve_ivp

import pysciml as sml

CROSSING = sml.ContinuousEvent(height)
ALGORITHMS = ("Tsit5", "Vern7", "BS3", "Rodas5P", "Rosenbrock23", "AutoTsit5(Rodas5P)")


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_bouncing_ball(engine: str, alg: str) -> None:
    sol = sml.solve(ball(), alg, engine=engine, abstol=1e-9, reltol=1e-9)
    times = bounce_times()
    assert sol.retcode == "Success"
    assert len(times) == 4
    assert sol.events[0].t == pytest.approx(times, abs=1e-9)
    speed = math.sqrt(0.3**2 + 2 * 9.81)
    assert sol.events[0].before[:, 1] == pytest.approx(-speed * 0.8 ** np.arange(4), abs=1e-8)
    assert sol.events[0].after[:, 1] == pytest.approx(speed * 0.8 ** np.arange(1, 5), abs=1e-8)
    assert np.abs(sol.events[0].before[:, 0]).max() < 1e-12
    assert sol.u[:, 0].min() > -1e-12


def test_a_fixed_step_finds_the_same_times(engine: str) -> None:
    sol = sml.solve(ball(), "RK4", engine=engine, dt=0.03)
    assert sol.events[0].t == pytest.approx(bounce_times(), abs=1e-12)


@pytest.mark.parametrize("sign", (1, -1))
@pytest.mark.parametrize(
    ("direction", "times"), [(0, [0.5, 1.5, 2.5]), (-1, [0.5, 2.5]), (1, [1.5])]
)
def test_direction_is_that_of_integration(
    engine: str, sign: int, direction: int, times: list[float]
) -> None:
    event = sml.ContinuousEvent(height, direction=direction)
    sol = sml.solve(oscillator((0.0, sign * 10.0)), "Vern7", engine=engine, events=[event], **TIGHT)
    assert sol.events[0].t == pytest.approx(sign * np.pi * np.array(times), abs=1e-9)


def test_backwards_the_ball_bounces_too(engine: str) -> None:
    upwards = sml.ODEProblem(falling, [1.0, -0.3], (0.0, -2.5), {"g": 9.81, "e": 0.8})
    sol = sml.solve(upwards, "Tsit5", engine=engine, events=[BOUNCE], **TIGHT)
    assert sol.events[0].t == pytest.approx(-bounce_times(), abs=1e-9)


def test_an_event_is_not_at_its_own_start(engine: str) -> None:
    down = sml.ContinuousEvent(lambda u, p, t: u[1])  # -sin t: zero at the start
    sol = sml.solve(oscillator(), "Tsit5", engine=engine, events=[down], **TIGHT)
    assert sol.events[0].t == pytest.approx(np.pi * np.arange(1, 4), abs=1e-9)


def test_what_only_touches_zero_is_no_event(engine: str) -> None:
    square = sml.ContinuousEvent(lambda u, p, t: u[1] ** 2)
    nothing = sml.ContinuousEvent(lambda u, p, t: 0.0 * u[0])
    sol = sml.solve(oscillator(), "Tsit5", engine=engine, events=[square, nothing])
    assert len(sol.events[0].t) == len(sol.events[1].t) == 0


def test_two_crossings_in_one_step(engine: str) -> None:
    clock = sml.ODEProblem(lambda u, p, t: 0.0 * u + 1.0, 0.0, (0.0, 10.0))

    def twice(u, p, t):
        return (u - 4.0) * (u - 4.6)

    few = sml.ContinuousEvent(twice, interp_points=2)
    many = sml.ContinuousEvent(twice, interp_points=40)
    options = {"alg": "Tsit5", "engine": engine, "dt": 10.0}
    plain = sml.solve(clock, **options)
    assert len(plain.t) == 2  # one step
    assert len(sml.solve(clock, events=[few], **options).events[0].t) == 0
    sol = sml.solve(clock, events=[many], **options)
    assert sol.events[0].t == pytest.approx([4.0, 4.6], abs=1e-12)


def test_events_at_one_time_happen_in_the_order_given(engine: str) -> None:
    plus = sml.ContinuousEvent(height, lambda u, p, t: u + torch.tensor([0.0, 1.0]), direction=-1)
    twice = sml.ContinuousEvent(height, lambda u, p, t: 2.0 * u, direction=-1)
    for events, after in (([plus, twice], 0.0), ([twice, plus], -1.0)):
        sol = sml.solve(oscillator((0.0, 2.0)), engine=engine, events=events, **TIGHT)
        assert sol.events[0].t == sol.events[1].t == pytest.approx([np.pi / 2], abs=1e-9)
        assert sol.events[1].before[0] == pytest.approx(sol.events[0].after[0], abs=0)
        assert sol.events[1].after[0, 1] == pytest.approx(after, abs=1e-9)


def test_a_reset_of_the_state_itself(engine: str) -> None:
    """An integrate-and-fire neuron: du/dt = 2 - u, from 1 back to 0."""
    fire = sml.ContinuousEvent(lambda u, p, t: u - 1.0, lambda u, p, t: 0.0 * u)
    neuron = sml.ODEProblem(lambda u, p, t: 2.0 - u, 0.0, (0.0, 5.0), events=[fire])
    sol = sml.solve(neuron, "Tsit5", engine=engine, **TIGHT)
    assert sol.events[0].t == pytest.approx(np.log(2.0) * np.arange(1, 8), abs=1e-9)
    assert sol.u[-1] == pytest.approx(2.0 - 2.0 * np.exp(-(5.0 - 7 * np.log(2.0))), abs=1e-9)


def test_what_only_watches_changes_nothing(engine: str) -> None:
    plain = sml.solve(oscillator(), "Vern7", engine=engine, **TIGHT)
    sol = sml.solve(oscillator(), "Vern7", engine=engine, events=[CROSSING], **TIGHT)
    assert sol.u[-1] == pytest.approx(plain.u[-1], abs=1e-10)
    assert len(np.unique(sol.t)) == len(sol.t)  # no state is there twice


def test_lorenz_against_scipy(engine: str) -> None:
    def lorenz(u, p, t):
        return [10.0 * (u[1] - u[0]), u[0] * (28.0 - u[2]) - u[1], u[0] * u[1] - 8.0 / 3.0 * u[2]]

    def plane(u, p, t):
        return u[2] - 27.0

    def reference(t, y):
        return plane(y, None, t)

    reference.direction = -1
    problem = sml.ODEProblem(lorenz, [1.0, 0.0, 0.0], (0.0, 8.0))
    event = sml.ContinuousEvent(plane, direction=-1)
    sol = sml.solve(problem, "Vern7", engine=engine, events=[event], abstol=1e-12, reltol=1e-12)
    scipy = solve_ivp(
        lambda t, y: lorenz(y, None, t), (0.0, 8.0), [1.0, 0.0, 0.0], "DOP853", rtol=1e-13,
        atol=1e-13, events=[reference],
    )  # fmt: skip
    assert len(scipy.t_events[0]) == 12
    assert sol.events[0].t == pytest.approx(scipy.t_events[0], abs=1e-7)
    assert sol.events[0].before == pytest.approx(scipy.y_events[0], abs=1e-5)


@pytest.mark.parametrize("alg", ("AutoTsit5(Rodas5P)", "Rodas5P"))
def test_a_stiff_relaxation_oscillator_against_scipy(engine: str, alg: str) -> None:
    def van_der_pol(u, p, t):
        return [u[1], 100.0 * (1.0 - u[0] ** 2) * u[1] - u[0]]

    problem = sml.ODEProblem(van_der_pol, [2.0, 0.0], (0.0, 300.0))
    sol = sml.solve(problem, alg, engine=engine, events=[CROSSING], abstol=1e-10, reltol=1e-10)
    scipy = solve_ivp(
        lambda t, y: van_der_pol(y, None, t), (0.0, 300.0), [2.0, 0.0], "Radau", rtol=1e-10,
        atol=1e-12, events=[lambda t, y: y[0]],
    )  # fmt: skip
    assert sol.stats.nw > 0
    assert len(scipy.t_events[0]) == 3
    assert sol.events[0].t == pytest.approx(scipy.t_events[0], rel=1e-8)


def test_an_event_of_a_differential_algebraic_equation(engine: str) -> None:
    """x' = -y, 0 = y - x: x = exp(-t)."""
    problem = sml.ODEProblem(
        lambda u, p, t: [-u[1], u[1] - u[0]], [1.0, 1.0], (0.0, 3.0),
        mass_matrix=[[1.0, 0.0], [0.0, 0.0]],
        events=[sml.ContinuousEvent(lambda u, p, t: u[1] - 0.25, lambda u, p, t: 4.0 * u)],
    )  # fmt: skip
    sol = sml.solve(problem, "Rodas5P", engine=engine, abstol=1e-10, reltol=1e-10)
    assert sol.events[0].t == pytest.approx(np.log(4.0) * np.arange(1, 3), abs=1e-8)
    assert sol.u[-1] == pytest.approx(16.0 * np.exp(-3.0) * np.ones(2), abs=1e-8)


def test_many_components_and_banded_linear_algebra(engine: str) -> None:
    """The heat equation by the method of lines; its first mode decays at a known rate."""
    n = 80
    h = 1.0 / (n + 1)

    def heat(u, p, t):
        padded = torch.nn.functional.pad(u, (1, 1))
        return (padded[2:] - 2.0 * u + padded[:-2]) / h**2

    mode = np.sin(np.pi * h * np.arange(1, n + 1))
    rate = 4.0 / h**2 * np.sin(np.pi * h / 2.0) ** 2
    half = sml.ContinuousEvent(lambda u, p, t: u.sum() - 0.5 * mode.sum(), lambda u, p, t: 2.0 * u)
    problem = sml.ODEProblem(heat, mode, (0.0, 0.16), events=[half])
    sol = sml.solve(problem, "Rodas5P", engine=engine, abstol=1e-10, reltol=1e-10)
    assert sol.events[0].t == pytest.approx(np.log(2.0) / rate * np.arange(1, 3), abs=1e-9)
    assert sol.u[-1] == pytest.approx(4.0 * mode * np.exp(-0.16 * rate), abs=1e-8)


def test_events_without_end_end_the_solve(engine: str) -> None:
    """Zeno: the bounces add up to a finite time."""
    sol = sml.solve(
        ball((0.0, 10.0), e=0.5), "Tsit5", engine=engine, abstol=1e-8, reltol=1e-8,
        raise_on_failure=False,
    )  # fmt: skip
    speed = math.sqrt(0.3**2 + 2 * 9.81)
    end = (0.3 + speed) / 9.81 + 2.0 * speed / 9.81 * 0.5 / (1.0 - 0.5)
    assert sol.retcode == "DtLessThanMin"
    assert "Zeno" in sol.message
    assert sol.t[-1] == pytest.approx(end, abs=1e-6)
    assert sol.stats.naccept < 2000
    assert sol.u[:, 0].min() > -1e-9


def test_chattering_ends_the_solve(engine: str) -> None:
    """Each affect goes back by so little that the time hardly moves."""
    chatter = sml.ContinuousEvent(lambda u, p, t: u - 1.0, lambda u, p, t: u - 1e-12)
    problem = sml.ODEProblem(lambda u, p, t: 1.0 + 0.0 * u, 0.0, (0.0, 5.0), events=[chatter])
    sol = sml.solve(problem, "Tsit5", engine=engine, maxiters=2000, raise_on_failure=False)
    assert sol.retcode == "MaxIters"
    assert sol.t[-1] == pytest.approx(1.0, abs=1e-8)


def test_sleeping_conditions_wake_up(engine: str) -> None:
    """A condition that is NaN, or exactly zero for a while, is no event there."""
    root = sml.ContinuousEvent(lambda u, p, t: torch.sqrt(u[0]) - 0.5)  # NaN for u < 0
    ramp = sml.ContinuousEvent(lambda u, p, t: torch.relu(t - 1.0) - 1.0)
    sol = sml.solve(oscillator(), "Tsit5", engine=engine, events=[root, ramp], **TIGHT)
    angle = np.arccos(0.25)
    expected = [angle, 2 * np.pi - angle, 2 * np.pi + angle]
    assert sol.events[0].t == pytest.approx(expected, abs=1e-9)
    assert sol.events[1].t == pytest.approx([2.0], abs=1e-9)


def test_functions_in_other_styles(engine: str) -> None:
    """NumPy, math, and an affect that writes into its argument."""

    def stopped(u, p, t):
        return u * np.array([1.0, 0.0])

    def turned(u, p, t):
        u[1] = -u[1]
        return u

    events = [
        sml.ContinuousEvent(lambda u, p, t: np.sin(u[0]) - 0.5, stopped),
        sml.ContinuousEvent(lambda u, p, t: math.cos(t), turned),
    ]
    sol = sml.solve(
        sml.ODEProblem(oscillating, [1.0, 0.0], (0.0, 1.8)), engine=engine, events=events, **TIGHT
    )
    first = np.arccos(np.pi / 6)
    assert sol.events[0].t == pytest.approx([first], abs=1e-9)
    assert sol.events[1].t == pytest.approx([np.pi / 2], abs=1e-9)
    x, v = np.pi / 6 * np.cos(np.pi / 2 - first), -np.pi / 6 * np.sin(np.pi / 2 - first)
    assert sol.events[1].before[0] == pytest.approx([x, v], abs=1e-9)
    assert sol.events[1].after[0] == pytest.approx([x, -v], abs=1e-9)
