"""Latent SDEs, against an Ornstein-Uhlenbeck process seen with noise, of which all is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import pysciml as sml
from pysciml import nn
from pysciml.models import LatentSDE, RecurrentEncoder
from pysciml.train import Adam

RATE, NOISE = 0.5, 0.3  # dz = -RATE z dt + dW has variance 1 at rest
T = np.linspace(0.0, 4.0, 9)


def linear(slope, offset=0.0, inputs=1):
    layer = nn.mlp([inputs, 1])
    with torch.no_grad():
        layer[0].weight.fill_(slope)
        layer[0].bias.fill_(offset)
    return layer


def model(control=None, **options):
    options = {"context": 3, "knots": 17, "noise": NOISE} | options
    return LatentSDE(
        RecurrentEncoder(1, 1, 16),
        linear(-RATE),
        linear(0.0, 1.0),
        linear(1.0),
        nn.mlp([4, 16, 1], seed=4) if control is None else control,
        **options,
    )


@pytest.fixture(scope="module")
def data():
    """Exact steps, 100 series."""
    random = np.random.default_rng(0)
    z = [random.standard_normal(100)]
    for h in np.diff(T):
        keep = np.exp(-RATE * h)
        z.append(z[-1] * keep + np.sqrt(1.0 - keep**2) * random.standard_normal(100))
    u = np.stack(z) + NOISE * random.standard_normal((9, 100))
    return T, u[..., None]


def covariance(a, b):
    return np.exp(-RATE * np.abs(a[:, None] - b))


def test_the_bound_comes_close_to_the_likelihood_and_the_posterior_to_the_true_one(data):
    begun = model()
    result = sml.fit(
        begun,
        data,
        fixed=["drift", "diffusion", "decoder", "log_noise"],
        optimisers=Adam(0.05, 80, "cosine"),
        engine="native",
        progress=False,
    )
    found = begun.fitted(result)
    known = covariance(T, T) + NOISE**2 * np.eye(9)
    u = data[1][..., 0]
    likelihood = stats.multivariate_normal(cov=known).logpdf(u.T).mean()
    bound = -result.history.loss[-20:].mean()
    assert likelihood - 3.0 < bound < likelihood + 0.2
    # at an observation, between two, and behind the last, where only the prior is left
    at = np.array([6.0, 0.0, 1.25, 2.0])
    forecast = found.predict(data, at, 50, engine="native")
    across = covariance(at, T)
    mean = across @ np.linalg.solve(known, u)
    variance = 1.0 - np.einsum("ij,ji->i", across, np.linalg.solve(known, across.T))
    assert forecast.mean.shape == (4, 100, 1)
    assert np.sqrt(((forecast.mean[..., 0] - mean) ** 2).mean(1)).max() < 0.2
    np.testing.assert_allclose(
        np.sqrt((forecast.std**2).mean((1, 2))), np.sqrt(variance + NOISE**2), rtol=0.15
    )
    assert np.sqrt((forecast.std[0] ** 2).mean()) == pytest.approx(
        np.hypot(np.sqrt(variance[0]), NOISE), rel=0.05
    )


def test_a_constant_control_costs_half_its_square_a_time(data):
    """Then z(t0) and the noise are all that is random: the bounds differ by v^2 T / 2 where the
    decoder does not look at z."""
    values = []
    for v in (0.0, 0.7):
        one = model(linear(0.0, v, inputs=4))
        with torch.no_grad():
            one.decoder[0].weight.zero_()
        values.append(one.fit_loss(data).value(torch.Generator().manual_seed(0)).item())
    assert values[1] - values[0] == pytest.approx(0.5 * 0.7**2 * 4.0, rel=1e-6)


def test_behind_what_the_encoder_is_shown_there_is_no_control(data):
    """A constant control then costs half its square for half the time."""
    values = []
    for observed in (0.5, 1.0):
        one = model(linear(0.0, 0.7, inputs=4), observed=observed)
        with torch.no_grad():
            one.decoder[0].weight.zero_()
            one.encoder.head.weight.zero_()
        values.append(one.fit_loss(data).value(torch.Generator().manual_seed(0)).item())
    half_a_knot = 0.5 * 0.7**2 * 4.0 / 16.0  # it fades over the knots around its end
    assert values[1] - values[0] == pytest.approx(0.5 * 0.7**2 * 2.0, abs=half_a_knot)


def test_samples_have_the_law_of_the_model():
    u = model().sample([3.0, 0.0, 1.0], 4000, seed=1, engine="native")[..., 0]
    assert u.shape == (3, 4000)
    np.testing.assert_allclose(u.std(1), 1.0, rtol=0.05)
    expected = covariance(np.array([3.0, 0.0, 1.0]), np.array([3.0, 0.0, 1.0]))
    np.testing.assert_allclose(np.corrcoef(u), expected, atol=0.06)


def test_the_gradient_is_that_of_the_loss(data):
    t, u = data
    one = model(knots=5)
    own = one.fit_loss((t, u[:, :3]), alg="EM", dt=0.125)

    def at_seed():
        return own.value(torch.Generator().manual_seed(0))

    weights = (
        one.control[0].weight,
        one.told[0].weight,
        one.encoder.cell.weight_hh,
        one.drift[0].bias,
    )
    for weight in weights:
        (slope,) = torch.autograd.grad(at_seed(), weight)
        flat, step = weight.detach().view(-1), 1e-6
        flat[0] += step
        above = at_seed().item()
        flat[0] -= 2.0 * step
        below = at_seed().item()
        flat[0] += step
        assert slope.view(-1)[0].item() == pytest.approx(
            (above - below) / (2.0 * step), rel=1e-5, abs=1e-7
        )


def test_series_of_times_of_their_own(data):
    """The same series as a list, each in another order, is the same loss."""
    t, u = data
    order = np.random.default_rng(0).permutation(9)
    each = [(t, u[:, 0]), (t[order], u[order, 1])]
    values = [
        model().fit_loss(form).value(torch.Generator().manual_seed(0)).item()
        for form in ((t, u[:, :2]), each)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: LatentSDE(nn.mlp([1, 1]), *[linear(1.0)] * 4),
            "encoder must be a RecurrentEncoder",
        ),
        (lambda: model(nn.mlp([3, 1])), r"control must take .* it raised: mat1"),
        (lambda: model(nn.mlp([4, 2])), r"control must take \(..., 4\) numbers to \(..., 1\)"),
        (lambda: model(knots=1), "knots must be at least 2"),
        (lambda: model(context=0), "context must be"),
        (lambda: model().sample([-1.0]), "t must be a vector of times from t0 = 0 on"),
    ],
)
def test_bad_calls_name_the_argument(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
