"""Distances from training states against closed forms and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, mahalanobis
from scipy.stats import chi2, gaussian_kde, multivariate_normal

import pysciml as sml
from pysciml.discover import coverage

RANDOM = np.random.default_rng(0)
CLOUD = RANDOM.multivariate_normal([1.0, -2.0], [[1.0, 0.6], [0.6, 2.0]], size=400)
ANGLES = np.linspace(0.0, 2.0 * np.pi, 200, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def test_nearest_is_the_distance_to_the_nearest():
    found = coverage(CLOUD)
    scale = CLOUD.std(axis=0)
    others = cdist(CLOUD / scale, CLOUD / scale)
    np.fill_diagonal(others, np.inf)
    assert found.unit == pytest.approx(np.quantile(others.min(axis=1), 0.95), rel=1e-12)
    points = RANDOM.uniform(-8.0, 8.0, (50, 2))
    expected = cdist(points / scale, CLOUD / scale).min(axis=1) / found.unit
    np.testing.assert_allclose(found(points), expected, rtol=1e-12)
    np.testing.assert_allclose(found(CLOUD), 0.0, atol=1e-12)


def test_mahalanobis_is_scipys():
    found = coverage(CLOUD, "mahalanobis")
    inverse = np.linalg.inv(np.cov(CLOUD.T))
    points = RANDOM.uniform(-8.0, 8.0, (20, 2))
    expected = [mahalanobis(x, CLOUD.mean(axis=0), inverse) / found.unit for x in points]
    np.testing.assert_allclose(found(points), expected, rtol=1e-12)
    assert found.unit == pytest.approx(np.sqrt(chi2.ppf(0.95, 2)), rel=0.05)


def test_density_is_a_kernel_estimate():
    found = coverage(CLOUD, "density")
    kernel = gaussian_kde(CLOUD.T)
    highest = kernel(CLOUD.T).max()
    points = CLOUD.mean(axis=0) + RANDOM.normal(0.0, 3.0, (20, 2))
    expected = np.sqrt(2.0 * np.log(np.maximum(highest / kernel(points.T), 1.0))) / found.unit
    np.testing.assert_allclose(found(points), expected, rtol=1e-9)
    bumps = [multivariate_normal.pdf(CLOUD, x, kernel.covariance) for x in CLOUD]
    left_out = (np.sum(bumps, axis=0) - np.diag(bumps)) / (len(CLOUD) - 1)
    own = np.sqrt(2.0 * np.maximum(np.log(highest / left_out), 0.0))
    assert found.unit == pytest.approx(np.quantile(own, 0.95), rel=1e-9)
    assert (found(CLOUD) <= 1.0).mean() == pytest.approx(0.95, abs=0.03)


def test_what_lies_inside_a_ring():
    """Nearest and density know that nothing was in the middle; the ellipsoid does not."""
    middle = np.zeros(2)
    assert coverage(CIRCLE, "nearest")(middle) > 10.0
    assert coverage(CIRCLE, "density")(middle) > 1.0
    assert coverage(CIRCLE, "mahalanobis")(middle) < 1e-7
    for method in ("nearest", "density", "mahalanobis"):
        assert coverage(CIRCLE, method)([10.0, 0.0]) > 5.0, method


def test_units_do_not_matter():
    points = RANDOM.uniform(-5.0, 5.0, (30, 2))
    units = np.array([1e-3, 50.0])
    for method in ("nearest", "density", "mahalanobis"):
        a, b = coverage(CLOUD, method), coverage(CLOUD * units, method)
        np.testing.assert_allclose(a(points), b(points * units), rtol=1e-8)


@pytest.fixture(scope="module")
def fitted():
    """u' = -k u, learned on the circle of an oscillator."""

    def f(u, p, t):
        return [p["w"] * u[1], -p["w"] * u[0]]

    problem = sml.ODEProblem(f, [1.0, 0.0], (0.0, 3.0), {"w": 0.9}, names=["x", "v"])
    t = np.linspace(0.0, 3.0, 31)
    data = np.stack([np.cos(t), -np.sin(t)], axis=1)
    return sml.fit(
        problem, (t, data), optimisers=sml.train.LBFGS(50), engine="native", progress=False
    )


def test_along_a_solution(fitted):
    """Trained on half of the circle, at steps of 0.1: the other half is far away."""
    found = coverage(fitted)
    assert found.states.shape == (31, 2)
    assert found.names == ("x", "v")
    longer = fitted.problem.remake(tspan=(0.0, 2.0 * np.pi))
    reach = found.along(sml.solve(longer, engine="native", saveat=0.01, abstol=1e-9, reltol=1e-9))
    assert reach.distance.shape == reach.t.shape
    assert reach.leaves == pytest.approx(3.0 + 0.1, abs=0.03)
    assert reach.fraction == pytest.approx((3.0 + 0.2) / (2.0 * np.pi), abs=0.01)
    opposite = np.argmax(reach.distance)
    assert reach.t[opposite] == pytest.approx((3.0 + 2.0 * np.pi) / 2.0, abs=0.2)
    within = found.along(sml.solve(fitted.problem, engine="native", saveat=0.01))
    assert within.leaves is None
    assert within.fraction == 1.0
    plane, over_time, _ = reach.plot().axes
    assert plane.get_xlabel() == "x"
    assert over_time.get_title() == f"{reach.fraction:.0%} of the times are inside"


def test_several_sources(fitted):
    solution = sml.solve(fitted.problem.remake(u0=[2.0, 0.0]), engine="native", saveat=0.1)
    found = coverage([fitted, solution, CLOUD])
    assert found.states.shape == (31 + 31 + 400, 2)
    assert found(solution.u).max() < 1e-12


WRONG_CALLS = [
    (lambda: coverage("circle"), TypeError, "trained must be a FitResult, a Solution"),
    (lambda: coverage(CIRCLE, "knn"), ValueError, "method must be 'nearest', 'mahalanobis' or"),
    (lambda: coverage(CIRCLE, level=1.0), ValueError, "level must be between 0 and 1; got 1.0"),
    (lambda: coverage(CIRCLE[:2]), ValueError, "trained must be more than 2 states of 2 numbers"),
    (lambda: coverage(CIRCLE, names=["x"]), ValueError, "names must be a list of 2 strings"),
    (lambda: coverage(np.ones((9, 2))), ValueError, "trained must be states that differ"),
    (
        lambda: coverage(CIRCLE[:, [0, 0]], "density"),
        ValueError,
        "trained must be states that span the space",
    ),
    (lambda: coverage(CIRCLE)([1.0, 2.0, 3.0]), ValueError, "u must be states of 2 numbers"),
    (
        lambda: coverage(CIRCLE).along(CIRCLE),
        TypeError,
        "solution must be a Solution; got an array",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
