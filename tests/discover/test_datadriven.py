"""DataDrivenSparse on Julia: the equations that made the data, and the minima it looks for."""

from __future__ import annotations

import numpy as np
import pytest

from pysciml.discover import DataDrivenSparse, polynomial, slopes, sparse_regression, sr3, stlsq
from pysciml.engines.julia import environment
from pysciml.errors import PyscimlError

NAMES = ["x", "y", "z"]


def needs_the_package(test):
    packages = environment.manifest(environment.locate().project) or {}
    skip = pytest.mark.skipif(
        "DataDrivenSparse" not in packages, reason="no DataDrivenSparse in Julia"
    )
    return pytest.mark.julia(skip(test))


@pytest.fixture(scope="module")
def source(lorenz):
    t, u = lorenz
    return slopes((t, u), smoothing=0.0, names=NAMES)


def coefficients(source, *arguments, **options):
    found = sparse_regression(source, optimiser=DataDrivenSparse(*arguments, **options))
    assert found.method == "DataDrivenSparse"
    return found.equation.coefficients


@needs_the_package
def test_stlsq_finds_lorenz_as_ours_does(source, lorenz_rates):
    optimiser = DataDrivenSparse("STLSQ", [0.1, 0.5])
    found = sparse_regression(source, optimiser=optimiser).equation
    assert {k: set(v) for k, v in found.p.items()} == {k: set(v) for k, v in lorenz_rates.items()}
    for output, terms in lorenz_rates.items():
        assert found.p[output] == pytest.approx(terms, rel=1e-4)
    ours = stlsq(source, threshold=0.5, normalise=False).equation
    np.testing.assert_allclose(found.coefficients, ours.coefficients, rtol=1e-9)
    assert set(optimiser.thresholds_) <= {0.1, 0.5}


@needs_the_package
def test_ridge_is_that_of_the_normal_equations(source):
    _, matrix, target = source.system(polynomial(2))
    found = coefficients(source, "STLSQ", 1e-12, weight=3.0)
    ridge = np.linalg.solve(matrix.T @ matrix + 3.0 * np.eye(matrix.shape[1]), matrix.T @ target)
    np.testing.assert_allclose(found, ridge, rtol=1e-6, atol=1e-8)


@needs_the_package
def test_sr3_finds_the_terms_that_ours_finds(source):
    ours = sr3(source, threshold=0.5, normalise=False).equation
    theirs = coefficients(source, "SR3", 0.5)
    np.testing.assert_array_equal(theirs != 0.0, ours.support)
    np.testing.assert_allclose(theirs, ours.coefficients, rtol=1e-3)


@pytest.fixture(scope="module")
def noisy_sum():
    """Three of six columns, with noise."""
    random = np.random.default_rng(3)
    matrix = random.standard_normal((60, 6))
    target = matrix @ np.array([[2.0, 0.0, -1.0, 0.0, 0.5, 0.0]]).T
    return matrix, target + 0.1 * random.standard_normal(target.shape)


def soft_minimum(quadratic, linear, cut):
    """Where x' quadratic x / 2 - linear' x + cut |x| is smallest, by iterated soft thresholding."""
    step, x = 1.0 / np.linalg.eigvalsh(quadratic).max(), np.zeros(len(linear))
    for _ in range(5000):
        x = x - step * (quadratic @ x - linear)
        x = np.sign(x) * np.maximum(np.abs(x) - step * cut, 0.0)
    return x


@needs_the_package
def test_admm_is_the_lasso(noisy_sum):
    matrix, target = noisy_sum
    expected = soft_minimum(matrix.T @ matrix, matrix.T @ target[:, 0], 3.0)
    assert np.count_nonzero(expected) == 3
    optimiser = DataDrivenSparse("ADMM", 3.0, weight=40.0, iterations=2000, tolerance=1e-13)
    found = optimiser.fit(matrix, target).coef_
    assert found.shape == (1, 6)
    np.testing.assert_allclose(found[0], expected, rtol=1e-8, atol=1e-12)


@needs_the_package
def test_soft_sr3_minimises_the_relaxed_sum(noisy_sum):
    """|target - matrix c|^2 / 2 + nu |c - w|^2 / 2 + cut |w|, of which c is eliminated."""
    matrix, target = noisy_sum
    nu, cut = 2.0, 0.2
    relaxed = np.linalg.inv(matrix.T @ matrix + nu * np.eye(6))
    quadratic, linear = nu * (np.eye(6) - nu * relaxed), nu * relaxed @ matrix.T @ target[:, 0]
    expected = soft_minimum(quadratic, linear, nu * cut)
    assert np.count_nonzero(expected) == 3
    settings = {"weight": nu, "proximal": "SoftThreshold", "iterations": 5000, "tolerance": 1e-13}
    found = DataDrivenSparse("SR3", cut, **settings).fit(matrix, target).coef_
    np.testing.assert_allclose(found[0], expected, rtol=1e-8, atol=1e-12)


@needs_the_package
def test_what_julia_refuses_is_an_error_of_ours(noisy_sum):
    matrix, target = noisy_sum
    with pytest.raises(PyscimlError, match="DimensionMismatch"):
        DataDrivenSparse().fit(matrix, target[:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "LASSO"}, "method must be 'STLSQ', 'ADMM' or 'SR3'"),
        ({"threshold": 0.0}, "threshold must be numbers > 0"),
        ({"threshold": []}, "threshold must be numbers > 0"),
        ({"method": "ADMM", "weight": 0.0}, "weight must be a finite number > 0"),
        ({"weight": -1.0}, "weight must be a finite number >= 0"),
        ({"proximal": "soft"}, "proximal must be 'HardThreshold'"),
        ({"iterations": 0}, "iterations must be a whole number >= 1"),
        ({"tolerance": 0.0}, "tolerance must be a finite number > 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        DataDrivenSparse(**options)
