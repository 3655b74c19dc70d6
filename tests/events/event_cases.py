"""Problems with events whose solutions are known."""

from __future__ import annotations

import numpy as np
import torch

import pysciml as sml

TIGHT = {"abstol": 1e-11, "reltol": 1e-11}
BALL = {"g": 9.81, "e": 0.8}


def falling(u, p, t):
    return [u[1], -p["g"]]


def height(u, p, t):
    return u[0]


def bounced(u, p, t):
    return [u[0], -p["e"] * u[1]]


BOUNCE = sml.ContinuousEvent(height, bounced, direction=-1)


def ball(tspan=(0.0, 2.5), u0=(1.0, 0.3), **p) -> sml.ODEProblem:
    return _BALL.remake(u0=u0, tspan=tspan, p={**BALL, **p})


_BALL = sml.ODEProblem(falling, [1.0, 0.3], (0.0, 2.5), BALL, events=[BOUNCE])


def ball_state(x, v, g, e, end):
    """The state at time `end`, in torch, and the times of the bounces before."""
    t, bounces = torch.zeros((), dtype=torch.float64), []
    while True:
        flight = (v + torch.sqrt(v * v + 2 * g * x)) / g
        if t + flight > end:
            rest = end - t
            return torch.stack([x + v * rest - 0.5 * g * rest**2, v - g * rest]), bounces
        t = t + flight
        bounces.append(t.item())
        x, v = torch.zeros_like(x), -e * (v - g * flight)


def bounce_times(end=2.5, x=1.0, v=0.3, g=9.81, e=0.8) -> np.ndarray:
    x, v, g, e = (torch.tensor(value, dtype=torch.float64) for value in (x, v, g, e))
    return np.array(ball_state(x, v, g, e, end)[1])


def oscillating(u, p, t):
    return [u[1], -u[0]]


def oscillator(tspan=(0.0, 10.0), u0=(1.0, 0.0)) -> sml.ODEProblem:
    """u = (cos t, -sin t)."""
    return _OSCILLATOR.remake(u0=u0, tspan=tspan)


_OSCILLATOR = sml.ODEProblem(oscillating, [1.0, 0.0], (0.0, 10.0))


def decaying(u, p, t):
    return -p["k"] * u


def decay(tspan, u0=0.0, events=None) -> sml.ODEProblem:
    return sml.ODEProblem(decaying, u0, tspan, {"k": 0.7, "dose": 2.0}, events=events)


def dosed(u, p, t):
    return u + p["dose"]


def after_doses(t, doses, u0=0.0, k=0.7, dose=2.0):
    """The amount left of the doses, at times t, those at t included."""
    t = np.asarray(t)[..., None]
    left = dose * np.exp(-k * (t - np.asarray(doses))) * (t >= np.asarray(doses))
    return u0 * np.exp(-k * t[..., 0]) + left.sum(-1)
