"""DDEProblem: what is read off f, what is refused, and what an engine without it says."""

from __future__ import annotations

import math
import pickle

import delay_cases as cases
import numpy as np
import pytest

import pysciml as sml
from pysciml.engines import availability


def problem(f, h=1.0, u0=(1.0, 2.0), p=(0.3, 2.0), **options) -> sml.DDEProblem:
    h = [h, h] if isinstance(h, float) else h
    return sml.DDEProblem(f, u0, h, (0.0, 5.0), p, **options)


def many_lags(u, h, p, t):
    first = h(p, t - 1.0)
    return [
        first[0] * h(p, t - 1)[1] - math.exp(-t),  # the same time again is the same delayed state
        h(p, t - 1.0, idxs=0) + h(p, t - p[0], deriv=1)[0] + h(p, t - abs(u[0]))[1],
    ]


def in_place(du, u, h, p, t):
    du[0], du[1] = many_lags(u, h, p, t)


def with_numpy(u, h, p, t):
    return np.array(
        [
            np.prod(h(p, t - 1.0)) - np.exp(-t),
            h(p, t - 1.0)[0] + h(p, t - p[0], deriv=1)[0] + h(p, t - np.abs(u[0]))[1],
        ]
    )


@pytest.mark.parametrize("f", [many_lags, in_place, with_numpy])
def test_lags_are_read_off_the_function(f):
    delays = problem(f).delays
    assert delays.orders == (0, 1, 0)
    assert delays.constant == (0, 1)
    assert delays.dependent == (2,)
    assert delays.is_neutral
    p = np.array([0.3, 2.0])
    assert delays.constant_lags(p) == pytest.approx([1.0, 0.3])
    u, t = np.array([0.7, 0.2]), 4.0
    assert delays.times.f(u, p, t) == pytest.approx([3.0, 3.7, 3.3])
    x = np.array([*u, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0])  # the state, then the three delayed ones
    expected = [3.0 * 5.0 - math.exp(-4.0), 3.0 + 7.0 + 17.0]
    assert delays.rhs.f(x, p, t) == pytest.approx(expected)
    assert not delays.jac(x, p, t).any()


@pytest.mark.parametrize("f", cases.LEAPING)
def test_a_lag_that_leaps_is_not_constant(f):
    """Its derivatives are those of a constant one."""
    delays = cases.leaping(f).delays
    assert delays.constant == ()
    assert delays.dependent == (0,)


def test_jacobian_is_of_the_present_state():
    delays = problem(lambda u, h, p, t: [u[0] * u[1] * h(p, t - 1)[0], p[0] * u[0] ** 2]).delays
    found = delays.jac(np.array([2.0, 3.0, 5.0, 7.0]), np.array([0.3, 2.0]), 0.0)
    assert found == pytest.approx(np.array([[15.0, 10.0], [1.2, 0.0]]))


def test_a_lag_is_constant_only_if_time_runs_at_its_pace():
    delays = problem(lambda u, h, p, t: h(p, 0.5 * t) + h(p, t - p[1] ** 2) + h(p, -1.0)).delays
    assert (delays.constant, delays.dependent) == ((1,), (0, 2))
    assert delays.constant_lags(np.array([0.3, 1.5])) == pytest.approx([2.25])


def test_history():
    delays = problem(many_lags, lambda p, t: [math.cos(t), p[0] * t]).delays
    p = np.array([0.3, 2.0])
    assert delays.history.f(np.zeros(2), p, -1.0) == pytest.approx([math.cos(1.0), -0.3])
    assert delays.history.tgrad(np.zeros(2), p, -1.0) == pytest.approx([math.sin(1.0), 0.3])
    constant = problem(many_lags, [4.0, 5.0]).delays
    assert constant.history.f(np.zeros(2), p, -1.0) == pytest.approx([4.0, 5.0])


def test_remake_and_pickle():
    original = problem(many_lags, constant_lags=[1.0, 0.3], neutral=True)
    other = original.remake(p=[0.5, 1.0], u0=[3.0, 4.0])
    assert other.delays is original.delays
    assert (other.constant_lags, other.neutral) == ((0.3, 1.0), True)
    copy = pickle.loads(pickle.dumps(problem(many_lags)))
    assert copy.delays.constant == (0, 1)
    assert repr(copy).startswith("DDEProblem(many_lags, h=[1.0, 1.0], u0=[1.0, 2.0]")


@pytest.mark.parametrize(
    ("f", "h", "message"),
    [
        (lambda u, h, p, t: -u, 1.0, "never calls h"),
        (lambda u, h, p, t: h(p, t - h(p, t - 1)[0]), 1.0, "depends on a delayed state"),
        (lambda u, h, p, t: h(p, t - u), 1.0, "one time.*shape"),
        (lambda u, h, p, t: h(p, t - 1, deriv=2), 1.0, "deriv=0 or deriv=1"),
        (lambda u, h, p, t: h(t - 1), 1.0, "missing 1 required positional argument"),
        (lambda u, h, p, t: h(p, t - 1)[0], 1.0, "must return an array of u's shape"),
        (many_lags, lambda p, t: 1.0, r"h must return a state, of u0's shape \(2,\)"),
    ],
)
def test_what_cannot_be_captured(f, h, message):
    with pytest.raises(sml.CaptureError, match=message):
        _ = problem(f, h).delays


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"f": lambda u, p, t: u}, TypeError, r"f must be a function f\(u, h, p, t\)"),
        ({"h": [1.0, 2.0, 3.0]}, ValueError, r"h must be a function h\(p, t\), or an array"),
        ({"h": lambda t: [1.0, 1.0]}, TypeError, r"h must be a function h\(p, t\)"),
        ({"tspan": (1.0, 0.0)}, ValueError, "tspan must be two times t0 < t1"),
        ({"constant_lags": 1.0}, TypeError, "constant_lags must be a list"),
        ({"constant_lags": [1.0, -1.0]}, ValueError, r"constant_lags\[1\] must be a finite"),
        ({"dependent_lags": [1.0]}, TypeError, r"dependent_lags\[0\] must be a function"),
        (
            {"dependent_lags": [lambda u: 1.0]},
            TypeError,
            r"dependent_lags\(u, p, t\); got",
        ),
        ({"neutral": 1}, TypeError, "neutral must be True or False"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    given = {"f": many_lags, "u0": [1.0, 2.0], "h": [1.0, 1.0], "tspan": (0.0, 1.0), **arguments}
    with pytest.raises(error, match=message):
        sml.DDEProblem(**given)


def test_lags_are_checked_at_the_parameters():
    with pytest.raises(ValueError, match=r"lag > 0; got the lag -0.5"):
        problem(lambda u, h, p, t: h(p, t - p[0]), p=[-0.5]).check_lags()
    given = problem(lambda u, h, p, t: h(p, t - p[0]), p=[0.5], constant_lags=[0.5, 2.0])
    given.check_lags()
    with pytest.raises(ValueError, match=r"constant_lags must contain.*t - 0.7"):
        given.remake(p=[0.7]).check_lags()
    lagged = problem(many_lags, dependent_lags=[lambda u, p, t: u])
    with pytest.raises(sml.CaptureError, match=r"dependent_lags\[0\] must return one number"):
        _ = lagged.lag_models


def test_engines_without_delays_say_so():
    with pytest.raises(sml.UnsupportedError, match='"torch" has no DDEProblem; engine="julia" and'):
        sml.solve(cases.linear(), engine="torch")


def test_auto_takes_what_there_is():
    expected = "julia" if availability("julia").ready else "native"
    assert sml.solve(cases.linear()).engine == expected
