"""Delay differential equations with known solutions, and one solved step by step with SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

import pysciml as sml

Array = np.ndarray


def minus_the_past(u, h, p, t):
    return -p[0] * h(p, t - p[1])


def linear(lag: float = 1.0, t1: float = 5.0) -> sml.DDEProblem:
    """u' = -r u(t - lag) with u = 1 before 0."""
    return sml.DDEProblem(minus_the_past, 1.0, lambda p, t: 1.0, (0.0, t1), [1.0, lag])


def linear_exact(t: Array, rate: float = 1.0, lag: float = 1.0) -> Array:
    """The method of steps by hand: the sum over j of (-rate (t - (j - 1) lag))^j / j!."""
    terms = [
        np.where(t > (j - 1) * lag, (-rate * (t - (j - 1) * lag)) ** j / math.factorial(j), 0.0)
        for j in range(40)
    ]
    return np.sum(terms, axis=0)


def mackey_glass(u, h, p, t):
    """Mackey and Glass, Science 197 (1977): production after a delay, decay at once."""
    past = h(p, t - p["lag"])
    return p["beta"] * past / (1.0 + past ** p["n"]) - p["gamma"] * u


MACKEY_GLASS = {"beta": 0.2, "gamma": 0.1, "n": 10.0, "lag": 17.0}


def mackey_glass_problem(t1: float = 100.0) -> sml.DDEProblem:
    return sml.DDEProblem(mackey_glass, 1.2, 1.2, (0.0, t1), MACKEY_GLASS)


def method_of_steps(f: Callable, history: Callable, lag: float, t1: float, times: Array) -> Array:
    """u' = f(u, u(t - lag)) at `times`, one lag at a time with SciPy's DOP853 at 1e-13."""
    pieces = [history]
    found = np.empty(len(times))
    u = history(0.0)
    for k in range(math.ceil(t1 / lag)):
        past = pieces[-1]
        run = solve_ivp(
            lambda t, u, past=past: f(u, past(t - lag)),
            (k * lag, (k + 1) * lag),
            [u],
            method="DOP853",
            rtol=1e-13,
            atol=1e-13,
            dense_output=True,
        )
        pieces.append(lambda t, sol=run.sol: sol(t)[0])
        inside = (times >= k * lag) & (times <= (k + 1) * lag)
        found[inside] = run.sol(times[inside])[0]
        u = run.y[0, -1]
    return found


def elsgolts(u, h, p, t):
    """u' = u u(log u) / t: the lag t - log u depends on the state (Neves, TOMS 1 (1975) 357)."""
    import torch

    return u * h(p, torch.log(u)) / t


def elsgolts_problem() -> sml.DDEProblem:
    return sml.DDEProblem(elsgolts, 1.0, 1.0, (1.0, 10.0))


def elsgolts_exact(t: Array) -> Array:
    e = math.e
    third = (e / (3.0 - np.log(np.maximum(t, e * e)))) ** e
    return np.where(t < e, t, np.where(t < e * e, np.exp(t / e), third))


def neutral(u, h, p, t):
    """u' = 1 + u'(t - 1) / 2; with u = t before 0 the slope is 2 - 2^-(k+1) from k to k + 1."""
    return 1.0 + 0.5 * h(p, t - 1.0, deriv=1)


def neutral_exact(t: Array) -> Array:
    slopes = 2.0 - 0.5 ** np.arange(1, 21)
    whole = np.floor(t).astype(int)
    before = np.concatenate([[0.0], np.cumsum(slopes)])
    return before[whole] + slopes[whole] * (t - whole)


def _leaps_with_the_state(u, h, p, t):
    import torch

    return -h(p, t - torch.where(u > 0.5, 1.0, 2.0))


def _leaps_with_time(u, h, p, t):
    import torch

    return -h(p, t - torch.where(t < 1.0, 1.0, 2.0))


def _is_rounded_from_time(u, h, p, t):
    import torch

    return -h(p, t - (1.0 + torch.floor(t)))


#: u' = -u(t - lag) with u = 1 + t before 0, and a lag that is 1 until u = 1/2, at t = 1, then 2
LEAPING = (_leaps_with_the_state, _leaps_with_time, _is_rounded_from_time)


def leaping(f: Callable) -> sml.DDEProblem:
    return sml.DDEProblem(f, 1.0, lambda p, t: 1.0 + t, (0.0, 1.9))


def leaping_exact(t: Array) -> Array:
    """1 - t^2/2 as long as u' = -t, then 1/2 - (t - 1)^2/2."""
    return np.where(t < 1.0, 1.0 - t**2 / 2.0, 0.5 - (t - 1.0) ** 2 / 2.0)
