"""The self-scaled Broyden stage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from pysciml.train import BFGS, SSBroyden
from pysciml.train.self_scaled import update


def run(stage, evaluate, start):
    """The value and theta of each iteration, and how often it evaluated."""
    told, count = [], 0

    def counted(theta):
        nonlocal count
        count += 1
        return evaluate(theta)

    stage.run(counted, np.asarray(start), lambda value, theta: told.append((value, theta)))
    return told, count


def rosenbrock(theta):
    return optimize.rosen(theta), optimize.rosen_der(theta)


@pytest.mark.parametrize("n", [2, 20])
def test_rosenbrock_has_the_minimum_that_scipy_finds(n):
    start = np.tile([-1.2, 1.0], n // 2)
    told, evaluations = run(SSBroyden(1000), rosenbrock, start)
    peer = optimize.minimize(optimize.rosen, start, jac=optimize.rosen_der, method="BFGS", tol=1e-9)
    np.testing.assert_allclose(told[-1][1], peer.x, atol=1e-7)
    assert (np.diff([value for value, _ in told]) < 0.0).all()
    assert evaluations < 2 * len(told)


def quadratic(n, condition):
    random = np.random.default_rng(0)
    q, _ = np.linalg.qr(random.standard_normal((n, n)))
    a = (q * np.logspace(0.0, -np.log10(condition), n)) @ q.T
    b = random.standard_normal(n)
    return a, b, lambda x: (0.5 * x @ a @ x - b @ x, a @ x - b)


def test_a_quadratic_is_solved():
    a, b, evaluate = quadratic(30, 100.0)
    told, _ = run(SSBroyden(200, tolerance=0.0), evaluate, np.zeros(30))
    np.testing.assert_allclose(told[-1][1], np.linalg.solve(a, b), rtol=1e-6)


def test_where_curvatures_differ_much_it_is_faster_than_bfgs():
    _, _, evaluate = quadratic(100, 1e6)
    lowest = optimize.minimize(evaluate, np.zeros(100), jac=True, method="BFGS", tol=1e-12).fun
    left = {}
    for stage in (SSBroyden(250, tolerance=0.0), BFGS(250, tolerance=0.0)):
        told, _ = run(stage, evaluate, np.zeros(100))
        left[type(stage)] = told[-1][0] - lowest
    assert left[SSBroyden] < 0.01 * left[BFGS]


def test_the_update_keeps_what_makes_it_quasi_newton():
    random = np.random.default_rng(1)
    for _ in range(20):
        root = random.standard_normal((6, 6))
        h, g, length = root @ root.T + 0.1 * np.eye(6), random.standard_normal(6), 0.7
        s = -length * (h @ g)
        y = np.linalg.solve(h, s) * random.uniform(0.3, 3.0, 6)
        if y @ s <= 0.0:  # no step that ends a line search
            continue
        new = update(h, length, g, g + y)
        np.testing.assert_allclose(new @ y, s, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(new, new.T, rtol=1e-7, atol=1e-9)
        assert np.linalg.eigvalsh(new).min() > 0.0


def test_it_is_the_update_of_the_paper():
    """Equation 13 there is that of the Hessian B, of which this is the inverse."""
    random = np.random.default_rng(2)
    root = random.standard_normal((5, 5))
    hessian = root @ root.T + 0.1 * np.eye(5)
    h = np.linalg.inv(hessian)
    g, length = random.standard_normal(5), 0.4
    s = -length * (h @ g)
    y = hessian @ s + 0.3 * random.standard_normal(5)
    b, c = s @ hessian @ s / (y @ s), y @ h @ y / (y @ s)
    a = b * c - 1.0
    lower = min(1.0, c * (1.0 - np.sqrt(a / (1.0 + a))))
    theta = max((lower - 1.0) / a, min(1.0 / lower, (1.0 - b) / b))
    sigma = 1.0 + theta * a
    volume, rho = sigma ** (1.0 / (1.0 - 5.0)), min(1.0, 1.0 / b)
    tau = rho * min(volume, 1.0 / theta) if theta > 0.0 else min(rho * volume, sigma)
    bs = hessian @ s
    v = y / (y @ s) - bs / (s @ bs)
    plain = hessian - np.outer(bs, bs) / (s @ bs) + theta * (s @ bs) * np.outer(v, v)
    expected = tau * plain + np.outer(y, y) / (y @ s)
    np.testing.assert_allclose(np.linalg.inv(update(h, length, g, g + y)), expected, rtol=1e-9)


def test_a_minimum_is_where_it_ends():
    told, _ = run(SSBroyden(100), lambda x: (float(x @ x), 2.0 * x), np.zeros(3))
    assert told == []
    told, _ = run(SSBroyden(100), lambda x: (float(x @ x), 2.0 * x), np.ones(1))
    assert told[-1][0] < 1e-20


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"iterations": 0}, "iterations must be a whole number"),
        ({"resample": -1}, "resample must be a whole number"),
        ({"tolerance": -1.0}, "tolerance must be"),
    ],
)
def test_bad_calls_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        SSBroyden(**arguments)
