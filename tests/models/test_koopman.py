"""Koopman autoencoders and dynamic mode decomposition, against eigenvalues that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import pysciml as sml
from pysciml import nn
from pysciml.models import KoopmanAutoencoder, dmd, edmd
from pysciml.train import LBFGS, Adam

FAST = {"engine": "native", "progress": False}
MU, LAM = -0.05, -1.0


def slow_manifold(u, p, t):
    """u1' = mu u1, u2' = lam (u2 - u1^2): mu, lam, 2 mu, ... are the eigenvalues of Koopman's
    operator (Brunton, Brunton, Proctor and Kutz, PLoS ONE 11 (2016) e0150171)."""
    return torch.stack([MU * u[..., 0], LAM * (u[..., 1] - u[..., 0] ** 2)], -1)


@pytest.fixture(scope="module")
def data():
    start = np.random.default_rng(0).uniform(-0.5, 0.5, (30, 2))
    problem = sml.ODEProblem(slow_manifold, start, (0.0, 5.0))
    sol = sml.solve(problem, "Vern7", "native", saveat=0.25, abstol=1e-11, reltol=1e-11)
    return sol.t, sol.u


def test_dmd_of_what_is_linear():
    a = np.array([[-0.1, 2.0], [-2.0, -0.1]])
    t = np.linspace(0.0, 2.0, 11)
    u = np.stack([expm(a * s) @ [1.0, 0.3] for s in t])
    np.testing.assert_allclose(dmd(t, u), [-0.1 - 2.0j, -0.1 + 2.0j], atol=1e-12)


def test_extended_dmd_has_the_square_that_dmd_lacks(data):
    """Quadratics span an invariant subspace for mu, lam and 2 mu."""
    assert np.abs(dmd(*data) - LAM).min() > 0.1
    found = edmd(*data, nn.Polynomial(2, 1, 2))
    for value in (0.0, MU, LAM, 2.0 * MU):
        assert np.abs(found - value).min() < 1e-8
    by_function = edmd(*data, lambda u: np.concatenate([u, u[..., :1] ** 2], -1))
    np.testing.assert_allclose(by_function, [MU, 2.0 * MU, LAM], atol=1e-8)


def test_an_autoencoder_finds_the_eigenvalues(data):
    model = KoopmanAutoencoder(nn.mlp([2, 12, 2], seed=1), nn.mlp([2, 12, 2], seed=2), 2)
    result = sml.fit(model, data, optimisers=[Adam(0.01, 200), LBFGS(400)], **FAST)
    found = model.fitted(result)
    np.testing.assert_allclose(found.eigenvalues(), [MU, LAM], rtol=0.05)
    start = np.array([[0.3, -0.2], [-0.4, 0.1]])
    t = np.array([0.0, 1.0, 4.0])
    first = start[:, 0] * np.exp(MU * t)[:, None]
    second = [
        (start[:, 1] - b * start[:, 0] ** 2) * np.exp(LAM * s)
        + b * start[:, 0] ** 2 * np.exp(2.0 * MU * s)
        for s in t
        for b in [LAM / (LAM - 2.0 * MU)]
    ]
    predicted = found.predict(start, t, "native")
    np.testing.assert_allclose(predicted, np.stack([first, second], -1), atol=0.01)


def test_trajectories_of_times_of_their_own(data):
    """The loss is that of the batch when the list holds the same trajectories."""
    t, u = data
    model = KoopmanAutoencoder(nn.mlp([2, 3, 2], seed=1), nn.mlp([2, 3, 2], seed=2), 2)
    together = sml.fit(model, (t, u[:, :2]), optimisers=Adam(0.01, 3), **FAST)
    order = np.random.default_rng(0).permutation(len(t))
    each = [(t + 3.0, u[:, 0]), (t[order], u[order, 1])]
    apart = sml.fit(model, each, optimisers=Adam(0.01, 3), **FAST)
    np.testing.assert_allclose(apart.history.loss, together.history.loss, rtol=1e-4)
    assert apart.problem.u0.shape == (2,)


def test_a_spectrum_turns_and_grows_as_it_says():
    """With encoder and decoder the identity: radius and angle at constant rates."""
    spectrum = nn.Polynomial(1, 2, 1)
    with torch.no_grad():
        spectrum.weight.copy_(torch.tensor([[-0.1, 0.0], [2.0, 0.0]]))
    model = KoopmanAutoencoder(torch.nn.Identity(), torch.nn.Identity(), 2, spectrum)
    t = np.array([0.0, 0.5, 1.5])
    found = model.predict([0.6, 0.8], t, "native", abstol=1e-10, reltol=1e-10)
    expected = (0.6 + 0.8j) * np.exp((-0.1 + 2.0j) * t)
    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], expected, rtol=1e-8)
    np.testing.assert_allclose(model.eigenvalues([0.6, 0.8]), [-0.1 + 2.0j, -0.1 - 2.0j])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: KoopmanAutoencoder(3, nn.mlp([1, 1]), 1), TypeError, "encoder must be an nn.M"),
        (
            lambda: KoopmanAutoencoder(nn.mlp([2, 3]), nn.mlp([3, 2]), 3, nn.mlp([1, 2])),
            ValueError,
            "latent must be even with a spectrum; got 3",
        ),
        (
            lambda: sml.fit(
                KoopmanAutoencoder(nn.mlp([2, 2]), nn.mlp([2, 2]), 2),
                ([0.0, 1.0], [[1.0, 2.0], [float("nan"), 1.0]]),
                **FAST,
            ),
            ValueError,
            "without NaN",
        ),
        (
            lambda: sml.fit(
                KoopmanAutoencoder(nn.mlp([2, 2]), nn.mlp([2, 2]), 2),
                ([0.0, 1.0], [[1.0, 2.0], [2.0, 1.0]]),
                u0=[1.0, 2.0],
                **FAST,
            ),
            ValueError,
            "u0 must not be given",
        ),
        (lambda: dmd([0.0, 1.0, 3.0], np.ones((3, 2))), ValueError, "evenly spaced times"),
        (lambda: dmd([0.0, 1.0], np.ones((3, 2))), ValueError, "a row for each time"),
        (lambda: edmd([0.0, 1.0], np.ones((2, 2)), 3), TypeError, "dictionary must be"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
