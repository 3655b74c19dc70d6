"""Boundary value problems: what is captured, and what is refused."""

from __future__ import annotations

import math
import pickle

import boundary_cases as cases
import numpy as np
import pytest

import pysciml as sml


def f(u, p, t):
    return [u[1], -u[0]]


def problem(bc, **options) -> sml.BVProblem:
    return sml.BVProblem(f, bc, [1.0, 2.0], (0.0, 2.0), [3.0, 4.0], **options)


def conditions(u, p, t):
    return [u[0][0] * u(1.5)[1] - p[0], math.sin(u[-1][1]) + u(1.5)[0] - t[1]]


def in_place(residual, u, p, t):
    residual[0], residual[1] = conditions(u, p, t)


def with_numpy(u, p, t):
    return np.array([u[0][0] * u(1.5)[1] - p[0], np.sin(u(t[1])[1]) + u(1.5)[0] - t[1]])


@pytest.mark.parametrize("bc", [conditions, in_place, with_numpy])
def test_conditions(bc):
    found = problem(bc).conditions
    assert found.times == (0.0, 1.5, 2.0)
    x, p = np.array([1.0, 2.0, 3.0, 5.0, 7.0, 11.0]), np.array([3.0, 4.0])
    expected = [1.0 * 5.0 - 3.0, math.sin(11.0) + 3.0 - 2.0]
    assert found.model.f(x, p, 0.0) == pytest.approx(expected)
    jac = [[5, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, math.cos(11.0)]]
    assert found.model.jac(x, p, 0.0) == pytest.approx(np.array(jac))


def test_conditions_at_both_ends():
    ends = (lambda u, p: u[0] - p[0], lambda u, p: [u[0] * u[1]])
    two = sml.TwoPointBVProblem(f, ends, [1.0, 2.0], (0.0, 2.0), [3.0, 4.0])
    found = two.conditions
    assert found.times == (0.0, 2.0)
    x, p = np.array([1.0, 2.0, 5.0, 7.0]), np.array([3.0, 4.0])
    assert found.model.f(x, p, 0.0) == pytest.approx([-2.0, 35.0])
    first, last = found.ends
    assert first.f(x[:2], p, 0.0) == pytest.approx([-2.0])
    assert last.f(x[2:], p, 0.0) == pytest.approx([35.0])


def test_remake_and_pickle():
    original = problem(conditions)
    longer = original.remake(tspan=(0.0, 3.0), p=[1.0, 2.0])
    assert longer.conditions.times == (0.0, 1.5, 3.0)
    assert original.conditions.times == (0.0, 1.5, 2.0)
    assert longer.model is original.model
    guessed = original.remake(u0=lambda p, t: [p[0], t])
    assert guessed.u0 == pytest.approx([3.0, 0.0])
    assert guessed.guessed(np.array([0.0, 2.0])) == pytest.approx(np.array([[3, 0], [3, 2]]))
    assert guessed.remake(p=[5.0, 4.0]).guessed(np.array([1.0])) == pytest.approx(
        np.array([[5, 1]])
    )
    assert guessed.remake(u0=[7.0, 8.0]).guess is None
    copy = pickle.loads(pickle.dumps(original))
    assert copy.conditions.times == original.conditions.times
    assert repr(copy).startswith("BVProblem(f, conditions, u0=[1.0, 2.0]")
    assert repr(cases.sine()).startswith("TwoPointBVProblem(oscillator, (<lambda>, <lambda>)")


@pytest.mark.parametrize(
    ("bc", "message"),
    [
        (lambda u, p, t: [p[0], p[1]], "bc never asks for the solution"),
        (lambda u, p, t: u(2.5), r"bc must ask for times inside tspan \(0.0, 2.0\); got u\(2.5\)"),
        (lambda u, p, t: u[1], r"u\[0\], at t0, u\[-1\], at t1, and u\(t\); got u\[1\]"),
        (lambda u, p, t: u(p[0]), "numbers t; they cannot depend on u or p"),
        (lambda u, p, t: u(0.0)[0], "bc must return 2 residuals.*but returned 1"),
    ],
)
def test_what_cannot_be_captured(bc, message):
    with pytest.raises(sml.CaptureError, match=message):
        _ = problem(bc).conditions


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"bc must be a function bc\(u, p, t\)"):
        problem(lambda u, p: u(0.0))
    with pytest.raises(TypeError, match=r"bc must be two functions \(bca, bcb\)"):
        sml.TwoPointBVProblem(f, conditions, [1.0, 2.0], (0.0, 1.0))
    with pytest.raises(TypeError, match=r"bc\[1\] must be a function bc\(u, p\)"):
        sml.TwoPointBVProblem(f, (lambda u, p: u, lambda u: u), [1.0, 2.0], (0.0, 1.0))
    with pytest.raises(TypeError, match=r"u0 must be a function u0\(p, t\)"):
        sml.BVProblem(f, conditions, lambda t: [1.0, 2.0], (0.0, 2.0))
    bad = sml.BVProblem(
        f, conditions, lambda p, t: [1.0, 2.0][: int(2 - t)], (0.0, 2.0), [3.0, 4.0]
    )
    with pytest.raises(ValueError, match="u0 must be an array of shape"):
        sml.solve(bad, engine="native")


def test_wrong_options():
    for option in ({"tstops": [0.5]}, {"dtmax": 0.1}, {"alg_options": {"gamma": 0.5}}):
        with pytest.raises(sml.UnsupportedError, match=f"{next(iter(option))} has no meaning"):
            sml.solve(cases.sine(), "Collocation", "native", **option)
    with pytest.raises(ValueError, match=r"alg must be .* did you mean 'Shooting'"):
        sml.solve(cases.sine(), "Shoting", "native")
    with pytest.raises(TypeError, match="seed has no meaning for a TwoPointBVProblem"):
        sml.solve(cases.sine(), engine="native", seed=1)
    with pytest.raises(sml.UnsupportedError, match=r"no derivatives.* of a BVProblem"):
        sml.gradient(cases.inside(), lambda u: u.sum())
    with pytest.raises(sml.UnsupportedError, match='engine="torch" has no BVProblem'):
        sml.solve(cases.inside(), engine="torch")
