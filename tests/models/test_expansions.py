"""Function expansions: their functions, how fast they converge, and in the place of a network."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre
from scipy.interpolate import RBFInterpolator

import pysciml as sml
from pysciml.models import RBF, UDE, Chebyshev, Fourier, Legendre, least_squares
from pysciml.train import LBFGS

X = np.cos(np.pi * (np.arange(400) + 0.5) / 400)  # Chebyshev's points: no end is neglected


def error(expansion, function):
    """Largest error of the least-squares approximation on [-1, 1]."""
    least_squares(expansion, X, function(X))
    x = np.linspace(-1.0, 1.0, 1001)
    with torch.no_grad():
        return np.abs(expansion(torch.tensor(x[:, None])).numpy()[:, 0] - function(x)).max()


def test_legendres_polynomials():
    """Against NumPy's, in two dimensions and on a box."""
    expansion = Legendre(2, 1, 3, low=[0.0, -1.0], high=[2.0, 3.0])
    x = np.random.default_rng(0).uniform([0.0, -1.0], [2.0, 3.0], (5, 2))
    scaled = x - [1.0, 1.0]
    scaled[:, 1] /= 2.0
    found = expansion.features(torch.tensor(x)).numpy()
    for column, (i, j) in zip(found.T, expansion.terms, strict=True):
        expected = legendre.legval(scaled[:, 0], np.eye(4)[i]) * legendre.legval(
            scaled[:, 1], np.eye(4)[j]
        )
        np.testing.assert_allclose(column, expected, rtol=1e-13, atol=1e-14)


def test_radial_functions_interpolate_as_scipys():
    centres = np.random.default_rng(1).uniform(-1.0, 1.0, (12, 2))
    values = np.sin(centres[:, :1] + 2.0 * centres[:, 1:])
    expansion = least_squares(RBF(2, 1, centres, width=0.4), centres, values)
    reference = RBFInterpolator(
        centres, values, kernel="gaussian", epsilon=1.0 / (np.sqrt(2.0) * 0.4), degree=-1
    )
    x = np.random.default_rng(2).uniform(-1.0, 1.0, (20, 2))
    with torch.no_grad():
        np.testing.assert_allclose(expansion(torch.tensor(x)), reference(x), rtol=1e-7, atol=1e-9)


def test_a_grid_of_centres():
    expansion = RBF(2, 3, 5, low=[0.0, -1.0], high=[1.0, 3.0])
    assert expansion.centres.shape == (25, 2)
    assert expansion.width == 1.0
    np.testing.assert_array_equal(expansion.centres[[0, -1]], [[0.0, -1.0], [1.0, 3.0]])
    assert not expansion(torch.rand(4, 2).double()).any()


@pytest.mark.parametrize("kind", [Chebyshev, Legendre])
def test_polynomials_converge_geometrically_on_what_is_analytic(kind):
    """1/(1 + 25 x^2) has its poles at +-i/5: error ~ rho^-n with rho = (1 + sqrt 26)/5 (Trefethen,
    Approximation Theory and Approximation Practice, theorem 8.2)."""
    errors = [error(kind(1, 1, n), lambda x: 1.0 / (1.0 + 25.0 * x**2)) for n in (20, 60, 100)]
    rho = (1.0 + np.sqrt(26.0)) / 5.0
    for a, b in itertools.pairwise(errors):
        assert (a / b) ** (1.0 / 40.0) == pytest.approx(rho, rel=0.01)


@pytest.mark.parametrize("kind", [Chebyshev, Legendre])
def test_polynomials_converge_as_1_over_n_at_a_kink(kind):
    """|x|, by any polynomials (Bernstein, 1914): halved error for twice the degree."""
    errors = [error(kind(1, 1, n), np.abs) for n in (16, 32, 64)]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1.0, atol=0.15)


def test_fourier_wants_periodic_targets():
    smooth = [error(Fourier(1, 1, n), lambda x: np.exp(np.sin(np.pi * x))) for n in (4, 8)]
    jump = [error(Fourier(1, 1, n), lambda x: x) for n in (4, 8)]
    assert smooth[1] < 1e-3 * smooth[0]
    assert jump[1] > 0.5 * jump[0]


@pytest.mark.parametrize(
    "expansion",
    [
        Chebyshev(1, 1, 8, 0.0, 2.0),
        Legendre(1, 1, 8, 0.0, 2.0),
        Fourier(1, 1, 5, -0.5, 2.5),
        RBF(1, 1, 7, 0.0, 2.0),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_expansion_stands_where_a_network_stands(expansion):
    """The unknown term of du/dt = 1 - g(u), g = u^2/(1 + u^2), from one exact curve."""

    def known(u, p, t, nn):
        return 1.5 - nn(u)

    def g(u):
        return u**2 / (1.0 + u**2) * 2.0

    exact = sml.ODEProblem(lambda u, p, t: 1.5 - g(u), [0.0], (0.0, 4.0))
    data = sml.solve(exact, "Vern7", "native", saveat=0.1, abstol=1e-11, reltol=1e-11)
    model = UDE(known, expansion)
    result = sml.fit(
        model, (data.t, data.u), optimisers=LBFGS(300), engine="native", progress=False
    )
    u = np.linspace(0.05, data.u.max(), 50)[:, None]
    with torch.no_grad():
        learned = model.fitted(result).networks(torch.tensor(u)).numpy()
    np.testing.assert_allclose(learned, g(u), atol=0.02)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RBF(1, 1, [[0.0], [1.0]]), ValueError, "width must be given"),
        (lambda: RBF(2, 1, [[0.0], [1.0]], width=1.0), ValueError, "an \\(m, 2\\) array"),
        (lambda: RBF(1, 1, 5, 1.0, 0.0), ValueError, "low must be below high"),
        (lambda: RBF(1, 1, 5, width=0.0), ValueError, "width must be a finite number > 0"),
        (lambda: least_squares(sml.nn.mlp([1, 1]), X, X), TypeError, "must have features"),
        (lambda: least_squares(Chebyshev(1, 1, 3), X, X[:3]), ValueError, "x and y must be"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
