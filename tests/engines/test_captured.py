"""What is captured of the reference problems, evaluated, against independent NumPy versions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from problems import PROBLEMS

import pysciml as sml

FORMS = [
    (name, form) for name, problem in PROBLEMS.items() for form in ("f", *problem.variants.keys())
]
# A dense Jacobian of the heat equation is 4096 x 4096; jvp is compared instead.
SMALL = [name for name, problem in PROBLEMS.items() if problem.n <= 256]


def points(problem, count=3):
    rng = np.random.default_rng(20240608)
    chosen = problem.reference[:: max(1, len(problem.saveat) // count)][:count]
    noise = 1 + 0.1 * rng.standard_normal(chosen.shape)
    jitter = 0.01 * np.asarray(problem.scale) * rng.standard_normal(chosen.shape)
    return (chosen * noise + jitter).reshape(len(chosen), -1)


def model(problem, form="f"):
    f = problem.f if form == "f" else problem.variants[form]
    return sml.ODEProblem(
        f, problem.u0, problem.tspan, problem.p, mass_matrix=problem.mass_matrix
    ).model


def parameters(problem):
    return np.zeros(0) if problem.p is None else problem.p


def assert_close(got, expected, size=None):
    """To rounding, relative to the largest terms that are summed."""
    size = np.abs(expected).max() if size is None else size
    assert np.all(np.abs(got - expected) <= 1e-12 * (size + np.abs(expected)))


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_f(name, form):
    problem = PROBLEMS[name]
    captured = model(problem, form)
    assert captured.state_shape == problem.u0.shape
    assert captured.n == problem.n
    for y in points(problem):
        got = captured.f(y, parameters(problem), 0.3)
        assert got.shape == (problem.n,)
        assert_close(got, problem.f_scipy(0.3, y))


@pytest.mark.parametrize(("name", "form"), [case for case in FORMS if case[0] in SMALL])
def test_jac(name, form):
    """Against the analytic Jacobian, which a test of its own compares with the complex step."""
    problem = PROBLEMS[name]
    captured = model(problem, form)
    for y in points(problem):
        got = captured.jac(y, parameters(problem), 0.3)
        expected = problem.jac(0.3, y)
        expected = expected.toarray() if sp.issparse(expected) else expected
        assert got.shape == (problem.n, problem.n)
        assert_close(got, expected, np.abs(expected).max(axis=1, keepdims=True))


@pytest.mark.parametrize("name", PROBLEMS)
def test_jvp_and_vjp(name):
    problem = PROBLEMS[name]
    captured = model(problem)
    rng = np.random.default_rng(3)
    y = points(problem)[0]
    v, w = rng.standard_normal((2, problem.n))
    jac = problem.jac(0.3, y)
    p = parameters(problem)
    assert_close(captured.jvp(y, p, 0.3, v), jac @ v, abs(jac) @ abs(v))
    assert_close(captured.vjp(y, p, 0.3, w), jac.T @ w, abs(jac).T @ abs(w))


@pytest.mark.parametrize("name", [name for name, q in PROBLEMS.items() if q.p is not None])
def test_vjp_p(name):
    """Against central differences of the captured f in each parameter."""
    problem = PROBLEMS[name]
    captured = model(problem)
    y = points(problem)[0]
    w = np.random.default_rng(4).standard_normal(problem.n)
    expected = np.empty(problem.p.size)
    for i, value in enumerate(problem.p):
        step = np.zeros(problem.p.size)
        step[i] = 1e-6 * abs(value)
        after, before = (captured.f(y, problem.p + sign * step, 0.3) for sign in (1, -1))
        expected[i] = w @ np.ravel(after - before) / (2 * step[i])
    np.testing.assert_allclose(captured.vjp_p(y, problem.p, 0.3, w), expected, rtol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_tgrad_of_an_autonomous_model_is_zero(name):
    problem = PROBLEMS[name]
    y = points(problem)[0]
    assert not np.any(model(problem).tgrad(y, parameters(problem), 0.3))
