"""Events: against closed forms, finite differences and torchdiffeq."""

from __future__ import annotations

import math

import pytest
import torch
import torchdiffeq
from autograd_cases import DOUBLE, tensor

import pysciml as sml

SOLVERS = (sml.odeint, sml.odeint_adjoint)
TIGHT = {"rtol": 1e-10, "atol": 1e-12}
GRAVITY, HEIGHT, RADIUS, KEPT = 9.8, 10.0, 0.2, 0.8


@pytest.fixture(autouse=True)
def nothing_falls_back(recwarn):
    yield
    assert not [w for w in recwarn if "torchdiffeq" in str(w.message)]


class BouncingBall(torch.nn.Module):
    """torchdiffeq's example: (position, velocity, log of the radius)."""

    def __init__(self):
        super().__init__()
        self.gravity = torch.nn.Parameter(tensor(GRAVITY))
        self.log_radius = torch.nn.Parameter(torch.log(tensor(RADIUS)))
        self.t0 = torch.nn.Parameter(tensor(0.0))
        self.init_pos = torch.nn.Parameter(tensor(HEIGHT))
        self.init_vel = torch.nn.Parameter(tensor(0.0))
        self.kept = torch.nn.Parameter(tensor(KEPT))

    def forward(self, t, state):
        _, velocity, log_radius = state
        return velocity, -self.gravity, torch.zeros_like(log_radius)

    def event_fn(self, t, state):
        return state[0] - torch.exp(state[2])

    def bounces(self, count, event=sml.odeint_event, **options):
        """Times of the bounces."""
        times, t0 = [], self.t0
        state = (self.init_pos, self.init_vel, self.log_radius)
        for _ in range(count):
            t0, states = event(self, state, t0, event_fn=self.event_fn, **options)
            times.append(t0)
            position, velocity, log_radius = (part[-1] for part in states)
            state = (position + 1e-7, -self.kept * velocity, log_radius)
        return torch.stack(times)


def exact_bounces(count):
    """Free fall, then parabolas whose duration shrinks by a constant factor (but for the 1e-7)."""
    first = math.sqrt(2 * (HEIGHT - RADIUS) / GRAVITY)
    gaps = [2 * first * KEPT**k for k in range(1, count)]
    return first + torch.cumsum(tensor(0.0, *gaps), 0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_bouncing_ball_against_the_closed_form(solver):
    found = BouncingBall().bounces(4, odeint_interface=solver, **TIGHT)
    torch.testing.assert_close(found.detach(), exact_bounces(4), rtol=1e-7, atol=0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_gradients_of_the_fourth_bounce(solver):
    """Against torchdiffeq, and of the first one against the closed form."""

    def gradients(event, count, **options):
        ball = BouncingBall()
        ball.bounces(count, event, **options)[-1].backward()
        return torch.stack([p.grad.reshape(()) for p in ball.parameters() if p.grad is not None])

    mine = gradients(sml.odeint_event, 4, odeint_interface=solver, **TIGHT)
    theirs = gradients(torchdiffeq.odeint_event, 4, odeint_interface=torchdiffeq.odeint, **TIGHT)
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)

    # t = t0 + (v + sqrt(v^2 + 2 g (h - r))) / g at v = 0
    first = gradients(sml.odeint_event, 1, odeint_interface=solver, **TIGHT)
    fall = math.sqrt(2 * (HEIGHT - RADIUS) / GRAVITY)
    slope = 1 / (GRAVITY * fall)
    exact = tensor(-fall / (2 * GRAVITY), -RADIUS * slope, 1.0, slope, 1 / GRAVITY)
    torch.testing.assert_close(first[:5], exact, rtol=1e-8, atol=0)


def oscillator(t, y):
    return torch.stack([y[1], -4 * y[0]])


def test_the_first_of_several_entries_counts_in_both_directions():
    """cos 2t from 0: it reaches 0.5 at pi/6 and 0 at pi/4."""

    def event_fn(t, y):
        return torch.stack([y[0], 0.5 - y[0], t - 9.0])

    for reverse in (False, True):
        at, states = sml.odeint_event(
            oscillator,
            tensor(1.0, 0.0),
            tensor(0.0),
            event_fn=event_fn,
            reverse_time=reverse,
            **TIGHT,
        )
        assert at.item() == pytest.approx((-1 if reverse else 1) * math.pi / 6, rel=1e-10)
        assert states.shape == (2, 2)
        assert states[-1, 0].item() == pytest.approx(0.5, rel=1e-9)


def test_odeint_with_an_event():
    """Without odeint_event, the states have gradients as if the time were given."""
    y0 = tensor(1.0, 0.0, grad=True)
    t = tensor(0.0, 100.0)
    at, states = sml.odeint(oscillator, y0, t, event_fn=lambda t, y: y[0], **TIGHT)
    assert at.item() == pytest.approx(math.pi / 4, rel=1e-10)
    assert not at.requires_grad
    states[-1].sum().backward()
    # d(y, y')/dy0 at 2t = pi/2
    torch.testing.assert_close(y0.grad, tensor(-2.0, 0.5), rtol=1e-8, atol=1e-9)


def test_an_event_in_time_itself_far_away():
    at, states = sml.odeint_event(
        oscillator, tensor(1.0, 0.0), tensor(0.0), event_fn=lambda t, y: t - 300.0, **TIGHT
    )
    assert at.item() == pytest.approx(300.0, abs=1e-10)
    assert states[-1, 0].item() == pytest.approx(math.cos(600.0), abs=1e-6)


def test_an_event_at_the_start():
    y0 = tensor(0.0, 1.0, grad=True)
    at, states = sml.odeint(oscillator, y0, tensor(2.0, 3.0), event_fn=lambda t, y: y[0])
    assert at.item() == 2.0
    assert torch.equal(states, torch.stack([y0, y0]))


def test_gradcheck_of_the_time_and_the_state():
    def solve(y0, t0, k):
        func = lambda t, y: torch.stack([y[1], -k[0] * y[0]])  # noqa: E731
        at, states = sml.odeint_event(func, y0, t0, event_fn=lambda t, y: y[0] - 0.1 * t, **TIGHT)
        return at, states[-1]

    inputs = (tensor(1.0, 0.2, grad=True), tensor(0.3, grad=True), tensor(4.0, grad=True))
    assert torch.autograd.gradcheck(solve, inputs, eps=1e-5, atol=1e-6, rtol=1e-5)


def test_float32():
    y0, t0 = torch.tensor([1.0, 0.0]), torch.tensor(0.0)
    at, states = sml.odeint_event(oscillator, y0, t0, event_fn=lambda t, y: y[0])
    assert at.dtype == states.dtype == torch.float32
    assert at.item() == pytest.approx(math.pi / 4, rel=1e-6)


def test_no_event_within_the_steps_allowed():
    with pytest.raises(sml.SolveError, match="no event before t = "):
        sml.odeint_event(
            oscillator,
            tensor(1.0, 0.0),
            tensor(0.0),
            event_fn=lambda t, y: y[0] - 2.0,
            method="dopri5",
            options={"max_num_steps": 200},
        )


def test_a_solve_that_fails_before_the_event():
    with pytest.raises(sml.SolveError, match="no event before t = 1"):
        sml.odeint_event(
            lambda t, y: y * y, tensor(1.0), tensor(0.0), event_fn=lambda t, y: t - 2.0
        )


def test_a_fixed_step_goes_to_torchdiffeq(recwarn):
    options = {"method": "rk4", "options": {"step_size": 0.01, "interp": "linear"}}
    arguments = (oscillator, tensor(1.0, 0.0), tensor(0.0, 1.0))
    at, states = sml.odeint(*arguments, event_fn=lambda t, y: y[0], **options)
    expected = torchdiffeq.odeint(*arguments, event_fn=lambda t, y: y[0], **options)
    assert len(recwarn) == 1
    assert "events with an adaptive step only" in str(recwarn.pop(UserWarning).message)
    assert at == expected[0]
    assert torch.equal(states, expected[1])


def test_times_of_a_decreasing_direction():
    t = torch.tensor([0.0, -1.0], **DOUBLE)
    at, _ = sml.odeint(oscillator, tensor(1.0, 0.0), t, event_fn=lambda t, y: y[0], **TIGHT)
    assert at.item() == pytest.approx(-math.pi / 4, rel=1e-10)
