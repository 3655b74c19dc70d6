"""Latent ODEs, against a linear one, in which everything is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import pysciml as sml
from pysciml import nn
from pysciml.models import LatentODE, RecurrentEncoder
from pysciml.models.series import as_series
from pysciml.train import Adam

FAST = {"engine": "native", "progress": False}
RATE, GAIN, NOISE = 0.7, 2.0, 0.2


def linear(rate=-RATE, gain=GAIN):
    """dz/dt = rate z, u = gain z."""
    ode, decoder = (torch.nn.Linear(1, 1, bias=False).double() for _ in range(2))
    with torch.no_grad():
        ode.weight.fill_(rate)
        decoder.weight.fill_(gain)
    return ode, decoder


def exact(t, u, at=None):
    """Mean and deviation of z(0) given a series of the linear model; at times: of u there."""
    slopes = GAIN * np.exp(-RATE * t)
    precision = 1.0 + (slopes**2).sum() / NOISE**2
    mean, deviation = (slopes * u).sum() / NOISE**2 / precision, precision**-0.5
    if at is None:
        return mean, deviation
    slopes = GAIN * np.exp(-RATE * at)
    return slopes * mean, np.hypot(slopes * deviation, NOISE)


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    series = []
    for z in random.standard_normal(300):
        t = np.array([0.1, 0.5, 1.0, 2.0])
        u = GAIN * z * np.exp(-RATE * t) + NOISE * random.standard_normal(t.size)
        series.append((t, u[:, None]))
    return series


def test_with_the_true_posterior_the_bound_is_the_likelihood(data):
    t, u = data[0][0], data[0][1][:, 0]

    class Posterior(torch.nn.Module):
        n = latent = 1

        def forward(self, series):
            found = np.broadcast_to(np.array(exact(t, u))[:, None, None], (2, len(series.lead), 1))
            return torch.as_tensor(found[0].copy()), torch.as_tensor(found[1].copy())

    model = LatentODE(Posterior(), *linear(), noise=NOISE)
    own = model.fit_loss((t, np.repeat(u[:, None, None], 20_000, axis=1)))
    found = -own.value(torch.Generator().manual_seed(0)).item()
    slopes = GAIN * np.exp(-RATE * t)
    covariance = np.outer(slopes, slopes) + NOISE**2 * np.eye(t.size)
    likelihood = stats.multivariate_normal(cov=covariance).logpdf(u)
    assert found == pytest.approx(likelihood, abs=0.02)  # of which 0.7 / sqrt(20000) is chance


def test_the_encoder_is_shown_a_share_of_the_time_and_the_bound_is_of_all(data):
    """With the exact posterior of the first half, the bound is known."""
    t, u = data[1][0], data[1][1][:, 0]
    half = t <= 1.0

    class Posterior(torch.nn.Module):
        n = latent = 1

        def forward(self, series):
            there = series.seen[:, 0, 0].numpy()
            np.testing.assert_array_equal(there, half)
            np.testing.assert_array_equal(series.t[~there], 1.0)
            np.testing.assert_array_equal(series.u[~there], 0.0)
            found = exact(series.t[there, 0], series.u[there, 0, 0].numpy())
            return tuple(torch.full((len(series.lead), 1), x, dtype=torch.float64) for x in found)

    model = LatentODE(Posterior(), *linear(), noise=NOISE, observed=0.5)
    own = model.fit_loss((t, np.repeat(u[:, None, None], 20_000, axis=1)))
    mean, deviation = exact(t[half], u[half])
    slopes = GAIN * np.exp(-RATE * t)
    likelihood = stats.norm.logpdf(u, slopes * mean, NOISE).sum()
    likelihood -= ((slopes * deviation) ** 2).sum() / (2.0 * NOISE**2)
    divergence = 0.5 * (mean**2 + deviation**2 - 1.0) - np.log(deviation)
    found = -own.value(torch.Generator().manual_seed(0)).item()
    assert found == pytest.approx(likelihood - divergence, abs=0.02)


def test_each_series_is_cut_at_a_share_of_its_own(data):
    series = as_series(data, 1, 0.0)
    model = network_of_one(observed=(0.3, 0.9))
    shown = model._shown(series, torch.Generator().manual_seed(0))
    counts = shown.seen.sum((0, 2)).numpy()  # of t = 0.1, 0.5, 1, 2 up to between 0.6 and 1.8
    assert set(counts) == {2, 3}
    assert (counts == 2).mean() == pytest.approx(1.0 / 3.0, abs=0.1)
    whole = network_of_one()._shown(series, torch.Generator())
    assert whole is series


def network_of_one(**options):
    return LatentODE(RecurrentEncoder(1, 1, 3), *linear(), **options)


def test_a_fit_finds_the_model_and_the_posterior(data):
    model = LatentODE(RecurrentEncoder(1, 1, 12), *linear(-0.1, 1.0), noise=0.5, batch=50)
    found = model.fitted(sml.fit(model, data, optimisers=Adam(0.05, 600, "cosine"), **FAST))
    assert found.ode.weight.item() == pytest.approx(-RATE, rel=0.05)
    assert abs(found.decoder.weight.item()) == pytest.approx(GAIN, rel=0.08)
    assert found.noise[0] == pytest.approx(NOISE, rel=0.05)
    mean, deviation = found.encode(data)
    known = np.array([exact(t, u[:, 0]) for t, u in data])
    sign = np.sign(found.decoder.weight.item())
    assert np.corrcoef(sign * mean[:, 0], known[:, 0])[0, 1] > 0.99
    assert np.median(deviation[:, 0] / known[:, 1]) == pytest.approx(1.0, abs=0.15)
    # between observations and beyond them
    at = np.array([3.0, 0.5, 1.0])
    forecast = found.predict(data, at)
    expected = np.stack([exact(t, u[:, 0], at) for t, u in data], axis=-1)
    assert forecast.mean.shape == forecast.std.shape == (3, 300, 1)
    assert np.sqrt(((forecast.mean[..., 0] - expected[0]) ** 2).mean()) < 0.5 * NOISE
    np.testing.assert_allclose(
        np.median(forecast.std[..., 0], 1), np.median(expected[1], 1), rtol=0.15
    )


def test_samples_have_the_law_of_the_model():
    model = LatentODE(RecurrentEncoder(1, 1, 3), *linear(), noise=NOISE)
    u = model.sample([2.0, 0.0, 1.0], 4000, seed=1, engine="native")
    assert u.shape == (3, 4000, 1)
    np.testing.assert_allclose(
        u[..., 0].std(1), GAIN * np.exp(-RATE * np.array([2.0, 0.0, 1.0])), rtol=0.03
    )


def network(seed=0, ode=None, **options):
    encoder = RecurrentEncoder(2, 3, 5, ode, seed)
    return LatentODE(encoder, nn.mlp([3, 6, 3], seed=1), nn.mlp([3, 6, 2], seed=2), **options)


@pytest.fixture
def pair():
    random = np.random.default_rng(3)
    t = np.array([0.0, 0.4, 0.5, 1.3])
    return t, random.standard_normal((4, 2, 2))


def value(model, data, **options):
    return model.fit_loss(data, **options).value(torch.Generator().manual_seed(0)).item()


def test_forms_of_data_are_one_loss(pair):
    t, u = pair
    model = network(ode=nn.mlp([5, 5]))
    expected = value(model, (t, u))
    order = [2, 0, 3, 1]
    assert value(model, [(t, u[:, 0]), (t[order], u[order, 1])]) == pytest.approx(expected, 1e-12)
    u[1, 0] = np.nan  # a row of which nothing is left, or that is not there at all
    kept = [0, 2, 3]
    apart = value(model, [(t[kept], u[kept, 0]), (t, u[:, 1])])
    assert value(model, (t, u)) == pytest.approx(apart, rel=1e-6)
    assert abs(apart - expected) > 0.1


def test_a_value_may_be_missing_in_a_row(pair):
    t, u = pair
    u[2, 1, 0] = np.nan
    model = network()
    before = value(model, (t, u))
    assert as_series((t, u), 2, 0.0).seen.sum() == 15
    assert np.isfinite(before)
    u[2, 1, 0] = 7.0
    assert value(model, (t, u)) != pytest.approx(before, rel=1e-3)


def test_an_ode_rnn_that_stands_still_is_a_gru(pair):
    still = nn.mlp([5, 5])
    with torch.no_grad():
        for x in still.parameters():
            x.zero_()
    np.testing.assert_array_equal(network(ode=still).encode(pair), network().encode(pair))
    moving = network(ode=nn.mlp([5, 5])).encode(pair)
    assert np.abs(np.array(moving) - network().encode(pair)).max() > 1e-3


def test_the_state_of_an_ode_rnn_moves_to_second_order():
    """dh/ds = -h over one gap."""
    decay = nn.mlp([5, 5])
    with torch.no_grad():
        decay[0].weight.copy_(-torch.eye(5))
        decay[0].bias.zero_()
    encoder = RecurrentEncoder(1, 1, 5, decay)
    h = torch.ones(1, 5, dtype=torch.float64)
    errors = [
        (encoder._move(h, torch.tensor([[s]])) - np.exp(-s)).abs().max().item() for s in (0.1, 0.05)
    ]
    assert errors[0] / errors[1] == pytest.approx(8.0, rel=0.05)


def test_the_gradient_is_that_of_the_loss(pair):
    model = network(ode=nn.mlp([5, 5]))
    own = model.fit_loss(pair, abstol=1e-10, reltol=1e-10)

    def at_seed():
        return own.value(torch.Generator().manual_seed(0))

    for weight in (model.ode[0].weight, model.encoder.ode[0].weight, model.log_noise):
        (slope,) = torch.autograd.grad(at_seed(), weight)
        flat, step = weight.detach().view(-1), 1e-5
        flat[0] += step
        above = at_seed().item()
        flat[0] -= 2.0 * step
        below = at_seed().item()
        flat[0] += step
        assert slope.view(-1)[0].item() == pytest.approx((above - below) / (2.0 * step), rel=1e-5)


def test_engines_agree(pair):
    tight = {"abstol": 1e-9, "reltol": 1e-9}
    native = value(network(), pair, engine="native", **tight)
    assert value(network(), pair, engine="torch", **tight) == pytest.approx(native, rel=1e-7)
    forecasts = [network().predict(pair, [0.2, 2.0], 3, engine=e) for e in ("native", "torch")]
    np.testing.assert_allclose(forecasts[0].samples, forecasts[1].samples, rtol=1e-4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: LatentODE(3, nn.mlp([3, 3]), nn.mlp([3, 2])), "encoder must be an nn.Module"),
        (lambda: LatentODE(nn.mlp([2, 2]), nn.mlp([3, 3]), nn.mlp([3, 2])), "attributes n and"),
        (
            lambda: LatentODE(RecurrentEncoder(2, 3), nn.mlp([3, 2]), nn.mlp([3, 2])),
            r"ode must take \(..., 3\) numbers to \(..., 3\); it returned \(3, 2\)",
        ),
        (
            lambda: LatentODE(RecurrentEncoder(2, 3), nn.mlp([3, 3]), nn.mlp([3, 1])),
            r"decoder must take \(..., 3\) numbers to \(..., 2\)",
        ),
        (lambda: network(noise=0.0), "noise must be"),
        (lambda: network(observed=0.0), "observed must be a share of the time, 0 < observed <= 1"),
        (lambda: network(observed=(0.5, 0.2)), r"two of them, increasing; got \(0.5, 0.2\)"),
        (lambda: network(observed=[0.5]), "observed must be a share of the time"),
        (lambda: network(observed="half"), "observed must be a share of the time"),
        (lambda: network(t0=1.0).encode(([0.0], [[1.0, 2.0]])), "must not lie before t0 = 1"),
        (lambda: network().encode(([0.0, 1.0], [1.0, 2.0])), r"u of data\[0\] must be of shape"),
        (
            lambda: network().encode(([0.0, 1.0], np.full((2, 2), np.nan))),
            "must hold at least one number",
        ),
        (lambda: network().sample([-1.0]), "t must be a vector of times from t0 = 0 on"),
        (lambda: sml.fit(network(), ([0.0], [[1.0, 2.0]]), u0=[0.0]), "has no option 'u0'"),
    ],
)
def test_bad_calls_name_the_argument(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
