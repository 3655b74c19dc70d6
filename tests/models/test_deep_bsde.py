"""Parabolic equations in many dimensions, at one point."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml import nn
from pysciml.models import DeepBSDE
from pysciml.train import LBFGS, Adam


def train(model, iterations=250, lr=0.01, **options):
    return model.fitted(
        sml.fit(model, optimisers=Adam(lr, iterations, "cosine"), progress=False, **options)
    )


def nothing(x, u, z, t):
    return 0.0 * u


def test_allen_cahn_in_a_hundred_dimensions():
    """u(0, 0) = 0.0528 at T = 0.3 (Han, Jentzen, E, 2018); the fit begins a quarter below."""
    model = DeepBSDE(
        lambda x, u, z, t: u - u**3,
        lambda x: 1.0 / (2.0 + 0.4 * (x**2).sum(-1)),
        np.zeros(100),
        (0.0, 0.3),
        sigma=math.sqrt(2.0),
        steps=10,
    )
    assert model.u0 == pytest.approx(0.0394, rel=0.01)
    assert train(model).u0 == pytest.approx(0.0528, rel=0.015)


def test_a_term_in_the_gradient():
    """E, Han, Jentzen, Commun. Math. Stat. 5 (2017), section 4.5: u = sigmoid(t + mean of x)."""
    d, end = 10, 0.5
    model = DeepBSDE(
        lambda x, u, z, t: (u - (2.0 + d) / (2.0 * d)) * z.sum(-1),
        lambda x: torch.sigmoid(end + x.mean(-1)),
        np.zeros(d),
        (0.0, end),
        sigma=float(d),
    )
    assert model.u0 > 0.56
    found = train(model)
    assert found.u0 == pytest.approx(0.5, abs=0.01)
    paths = found.simulate(200)
    exact = 1.0 / (1.0 + np.exp(-(paths.t[:, None] + paths.x.mean(-1))))
    assert np.abs(paths.u - exact).mean() < 0.05
    # sigma^T grad u is u (1 - u) in each component
    np.testing.assert_allclose(paths.z[0].mean(0), 0.25, atol=0.05)


def test_discounted_geometric_brownian_motion_to_rounding():
    """f = -r u, g = a . x: z is linear in x, so that the network has an exact answer but for its
    dependence on the time, which one step does not have."""
    model = DeepBSDE(
        lambda x, u, z, t: -0.1 * u,
        lambda x: x @ torch.tensor([1.0, 2.0], dtype=torch.float64),
        [3.0, 1.0],
        (0.0, 0.5),
        mu=lambda x, t: 0.2 * x,
        sigma=lambda x, t: 0.3 * x,
        network=nn.mlp([3, 2]),
        steps=1,
    )
    found = model.fitted(sml.fit(model, optimisers=LBFGS(200), progress=False))
    # u1 = u0 (1 + r dt) + z . dW must be a . x1 = a . x0 (1 + mu dt) + 0.3 (a x0) . dW
    assert found.u0 == pytest.approx(5.0 * (1.0 + 0.2 * 0.5) / (1.0 + 0.1 * 0.5), rel=1e-6)
    np.testing.assert_allclose(found.simulate(2).z[0], [[0.9, 0.6]] * 2, rtol=1e-5)


@pytest.mark.parametrize(
    "sigma",
    [
        [0.3, 0.7],
        [[0.3, 0.0], [0.0, 0.7]],
        lambda x, t: torch.tensor([0.3, 0.7], dtype=torch.float64).expand(len(x), 2),
        lambda x, t: torch.diag(torch.tensor([0.3, 0.7], dtype=torch.float64)).expand(len(x), 2, 2),
    ],
    ids=["vector", "matrix", "function", "function of matrices"],
)
def test_the_forms_of_sigma_are_one_equation(sigma):
    model = DeepBSDE(nothing, lambda x: x.sum(-1), [1.0, 2.0], (0.0, 1.0), sigma=sigma)
    paths = model.simulate(4000, seed=1)
    np.testing.assert_allclose(paths.x[-1].std(0), [0.3, 0.7], rtol=0.04)
    same = DeepBSDE(nothing, lambda x: x.sum(-1), [1.0, 2.0], (0.0, 1.0), sigma=[0.3, 0.7])
    np.testing.assert_allclose(paths.x, same.simulate(4000, seed=1).x, rtol=1e-13)


def test_noise_of_another_dimension_than_the_state():
    model = DeepBSDE(
        nothing, lambda x: x[:, 0], [0.0, 0.0], (0.0, 1.0), sigma=[[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]
    )
    paths = model.simulate(3000)
    assert paths.z.shape == (20, 3000, 3)
    np.testing.assert_allclose(np.cov(paths.x[-1].T), [[3.0, 1.0], [1.0, 1.0]], atol=0.25)


def test_the_first_guess_is_the_users():
    model = DeepBSDE(nothing, lambda x: x.sum(-1), [1.0], (0.0, 1.0), u0=-7.5)
    assert model.u0 == pytest.approx(-7.5, rel=1e-14)


def make(**changes):
    given = {"f": nothing, "g": lambda x: x.sum(-1), "x0": [0.0, 1.0], "tspan": (0.0, 1.0)}
    return DeepBSDE(**{**given, **changes})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"f": 3.0}, "f must be a torch function"),
        ({"x0": [[0.0]]}, "x0 must be a vector, a point"),
        ({"tspan": (1.0, 0.0)}, "with t0 < T"),
        ({"sigma": [1.0, 1.0, 1.0]}, r"sigma must be a number, an array of shape \(2,\), \(2, k\)"),
        ({"mu": [[1.0, 1.0]]}, r"mu must be a number, an array of shape \(2,\) or a function"),
        ({"g": lambda x: x}, r"g must return one number for each path"),
        ({"g": lambda x: 0.0 * x.sum(-1)}, "must be finite and differ between paths"),
        ({"f": lambda x, u, z, t: z}, "f must return one number for each path"),
        ({"network": nn.mlp([3, 4])}, r"network must take \(..., 3\) numbers to \(..., 2\)"),
        ({"steps": 0}, "steps must be a whole number"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_bad_calls_name_the_argument(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(**changes)


def test_there_are_no_data():
    with pytest.raises(ValueError, match="data must not be given to a DeepBSDE"):
        sml.fit(make(), [1.0, 2.0], progress=False)
