"""Continuous normalising flows: change of variables, likelihood and samples, against densities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

import pysciml as sml
from pysciml import nn
from pysciml.models import ContinuousNormalizingFlow
from pysciml.train import L2, LBFGS, Adam

FAST = {"engine": "native", "progress": False}
LOOSE = {**FAST, "abstol": 1e-4, "reltol": 1e-4}
A = np.array([[-0.3, 0.8], [-0.5, 0.2]])


class Linear(torch.nn.Module):
    """A x + (1, t), whose flow is known."""

    def forward(self, x):
        return x[..., :2] @ torch.tensor(A.T) + torch.stack(
            [torch.ones_like(x[..., 2]), x[..., 2]], -1
        )


def test_the_density_of_a_linear_flow():
    """x(1) = M x(0) + b: the density at t = 0 is normal, and its log-determinant tr A."""
    from scipy.integrate import solve_ivp
    from scipy.linalg import expm
    from scipy.stats import multivariate_normal

    flow = ContinuousNormalizingFlow(Linear(), 2)
    x = np.random.default_rng(0).standard_normal((5, 2))
    b = solve_ivp(lambda t, y: A @ y + [1.0, t], (0.0, 1.0), [0.0, 0.0], rtol=1e-12, atol=1e-12)
    inverse = np.linalg.inv(expm(A))
    mean, covariance = -inverse @ b.y[:, -1], inverse @ inverse.T
    expected = multivariate_normal(mean, covariance).logpdf(x)
    found = flow.log_prob(x, abstol=1e-11, reltol=1e-11)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_density_is_one_in_all_and_samples_come_from_it():
    flow = ContinuousNormalizingFlow(nn.mlp([2, 8, 1], seed=3), 1)
    with torch.no_grad():
        for weights in flow.parameters():
            weights.mul_(3.0)
    grid = np.linspace(-12.0, 12.0, 2001)
    density = np.exp(flow.log_prob(grid))
    assert density.sum() * (grid[1] - grid[0]) == pytest.approx(1.0, abs=1e-6)
    samples = np.sort(flow.sample(4000, seed=1)[:, 0])
    cdf = np.interp(samples, grid, np.cumsum(density) * (grid[1] - grid[0]))
    ranks = (np.arange(4000) + 0.5) / 4000
    assert np.abs(cdf - ranks).max() < 1.63 / np.sqrt(4000)  # Kolmogorov-Smirnov, 1 %


def test_a_mixture_in_one_dimension():
    """The learned density is within 0.02 nats of the true one, of which it saw 600 samples."""
    random = np.random.default_rng(0)
    left = random.random(600) < 0.4
    x = np.where(left, random.normal(-1.5, 0.4, 600), random.normal(1.0, 0.7, 600))
    flow = ContinuousNormalizingFlow(nn.mlp([2, 12, 1]), 1)
    result = sml.fit(flow, x, optimisers=[Adam(0.05, 100), LBFGS(60)], regularise=L2(1e-4), **LOOSE)
    grid = np.linspace(-5.0, 5.0, 501)
    true = np.log(0.4 * norm.pdf(grid, -1.5, 0.4) + 0.6 * norm.pdf(grid, 1.0, 0.7))
    learned = flow.fitted(result).log_prob(grid)
    divergence = (np.exp(true) * (true - learned)).sum() * (grid[1] - grid[0])
    assert 0.0 < divergence < 0.02
    assert flow.fitted(result).log_prob(x).mean() == pytest.approx(-result.loss, abs=0.01)


def test_random_signs_have_the_exact_trace_on_average():
    flow = ContinuousNormalizingFlow(nn.mlp([4, 6, 3], seed=1), 3)
    u = torch.rand(2, 4, dtype=torch.float64)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (4000, 2, 3))
    with torch.no_grad():
        exact = flow(u, None, 0.3)
        each = np.stack([flow(u, {"signs": torch.tensor(s[None])}, 0.3)[:, 3] for s in signs[:500]])
        together = flow(u, {"signs": torch.tensor(signs)}, 0.3)
    torch.testing.assert_close(together[:, :3], exact[:, :3])
    error = np.abs((together - exact)[:, 3].numpy())
    spread = each.std(axis=0) / np.sqrt(len(signs))
    assert (error < 4.0 * spread).all()


@pytest.mark.parametrize(
    "options", [{"trace": "hutchinson"}, {"batch": 50}, {"trace": "hutchinson", "batch": 50}]
)
def test_random_traces_and_batches_learn_it_too(options):
    """A correlated normal density in two dimensions; the entropy is the least there can be."""
    covariance = np.array([[1.0, 0.6], [0.6, 0.5]])
    x = np.random.default_rng(0).multivariate_normal([1.0, -0.5], covariance, 200)
    flow = ContinuousNormalizingFlow(nn.mlp([3, 8, 2], seed=1), 2, **options)
    result = sml.fit(flow, x, optimisers=Adam(0.03, 150, "cosine"), **LOOSE)
    mean = flow.fitted(result).log_prob(x).mean()
    best = -0.5 * np.log(np.linalg.det(2.0 * np.pi * np.e * np.cov(x.T)))
    assert best - 0.1 < mean < best + 0.1
    assert len(set(result.history.loss)) == 150


def test_draws_are_the_same_in_a_resumed_fit(tmp_path):
    x = np.random.default_rng(0).standard_normal((40, 2))
    flow = ContinuousNormalizingFlow(nn.mlp([3, 4, 2]), 2, trace="hutchinson", batch=20)
    options = {"optimisers": Adam(0.03, 11), **LOOSE}
    whole = sml.fit(flow, x, **options)
    path = tmp_path / "half.npz"
    sml.fit(flow, x, checkpoint=path, checkpoint_every=5, **options)
    resumed = sml.fit(flow, x, resume=path, **options)
    np.testing.assert_array_equal(resumed.history.loss, whole.history.loss)
    assert whole.loss == whole.history.loss[-1] > whole.history.loss.min()  # no lucky draw


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ContinuousNormalizingFlow(3, 1), TypeError, "network must be an nn.Module"),
        (
            lambda: ContinuousNormalizingFlow(nn.mlp([3, 2]), 2, trace="none"),
            ValueError,
            "trace must be 'auto', 'exact' or 'hutchinson'",
        ),
        (
            lambda: sml.fit(ContinuousNormalizingFlow(nn.mlp([3, 2]), 2), np.ones((4, 3)), **FAST),
            ValueError,
            "data must be samples, (samples, 2); got an array of shape (4, 3)",
        ),
        (
            lambda: sml.fit(
                ContinuousNormalizingFlow(nn.mlp([3, 2]), 2, batch=2), np.ones((4, 2)), **FAST
            ),
            ValueError,
            "optimisers must be Adam(...) for a loss that is drawn anew in each iteration; got LBF",
        ),
        (
            lambda: sml.fit(
                ContinuousNormalizingFlow(nn.mlp([2, 1]), 1), np.ones(4), u0=[1.0], **FAST
            ),
            ValueError,
            "u0 must not be given",
        ),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
