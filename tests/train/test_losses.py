"""Values of losses and regularisers against closed forms and scipy.stats."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import pysciml as sml
from pysciml import train
from pysciml.train import L1, L2, MSE, Adam, Gaussian, LogNormal, Physics

TIGHT = {"engine": "native", "abstol": 1e-12, "reltol": 1e-12, "progress": False}


def first_loss(problem, data, **options):
    """The loss at the problem's own parameters."""
    result = sml.fit(problem, data, optimisers=Adam(iterations=1), **TIGHT, **options)
    return result.history.loss[0]


def exact(t, k=1.5):
    return np.exp(-k * t)[:, None] * [2.0, 1.0]


def test_mse_is_the_mean_of_squares(decays, decay_data):
    t, y = decay_data
    assert first_loss(decays, (t, y)) == pytest.approx(np.mean((exact(t) - y) ** 2), rel=1e-9)


def test_mse_weighs_each_observation(decays, decay_data):
    t, y = decay_data
    weights = np.random.default_rng(0).uniform(0.1, 3.0, y.shape)
    expected = np.average((exact(t) - y) ** 2, weights=weights)
    assert first_loss(decays, (t, y), weights=weights) == pytest.approx(expected, rel=1e-9)


def test_weights_can_be_one_for_each_component(decays, decay_data):
    t, y = decay_data
    expected = np.average((exact(t) - y) ** 2, weights=np.broadcast_to([1.0, 5.0], y.shape))
    assert first_loss(decays, (t, y), weights=[1.0, 5.0]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("scale", "values"),
    [
        ([2.0, 0.5], lambda y: np.array([2.0, 0.5])),
        ("max", lambda y: np.abs(y).max(axis=0)),
        ("std", lambda y: y.std(axis=0)),
    ],
)
def test_mse_scales_each_component(decays, decay_data, scale, values):
    t, y = decay_data
    expected = np.mean(((exact(t) - y) / values(y)) ** 2)
    assert first_loss(decays, (t, y), loss=MSE(scale)) == pytest.approx(expected, rel=1e-9)


def test_gaussian_is_the_normal_density(decays, decay_data):
    t, y = decay_data
    expected = -stats.norm.logpdf(y, exact(t), [0.1, 0.2]).sum()
    found = first_loss(decays, (t, y), loss=Gaussian([0.1, 0.2]))
    assert found == pytest.approx(expected, rel=1e-9)


def test_lognormal_is_the_log_normal_density(decays, decay_data):
    t, y = decay_data
    expected = -stats.lognorm.logpdf(y, s=0.2, scale=exact(t)).sum()
    assert first_loss(decays, (t, y), loss=LogNormal(0.2)) == pytest.approx(expected, rel=1e-9)


def test_poisson_is_the_mass_of_counts(decays, decay_data):
    t, _ = decay_data
    counts = np.array([[2, 0], [1, 1], [0, 3], [1, 0], [0, 0]])
    expected = -stats.poisson.logpmf(counts, exact(t)).sum()
    assert first_loss(decays, (t, counts), loss="poisson") == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("loss", ["gaussian", "lognormal"])
def test_noise_is_fitted_to_its_maximum_likelihood(decays, loss):
    """At the maximum, sigma^2 is the mean square of that component's residuals."""
    random = np.random.default_rng(3)
    t = np.linspace(0.02, 1.0, 50)
    noise = random.standard_normal((50, 2)) * [0.1, 0.02]
    y = exact(t) * np.exp(noise) if loss == "lognormal" else exact(t) + noise
    stages = [Adam(0.05, 100), train.LBFGS(200, tolerance=1e-14)]
    result = sml.fit(decays, (t, y), loss=loss, optimisers=stages, **TIGHT)
    fitted = exact(t, result.p["k"])
    residuals = np.log(y / fitted) if loss == "lognormal" else y - fitted
    np.testing.assert_allclose(result.noise, np.sqrt((residuals**2).mean(axis=0)), rtol=1e-5)


def test_a_function_of_prediction_and_data(decays, decay_data):
    t, y = decay_data

    def huber(prediction, data):
        assert prediction.shape == data.shape == (5, 2)
        return torch.nn.functional.huber_loss(prediction, data, delta=0.01, reduction="sum")

    r = np.abs(exact(t) - y)
    expected = np.where(r < 0.01, 0.5 * r**2, 0.01 * (r - 0.005)).sum()
    assert first_loss(decays, (t, y), loss=huber) == pytest.approx(expected, rel=1e-8)


def test_a_function_that_takes_parameters(decays, decay_data):
    t, y = decay_data

    def loss(prediction, data, p):
        return ((prediction - data) ** 2).sum() + 10.0 * p["k"]

    expected = ((exact(t) - y) ** 2).sum() + 15.0
    assert first_loss(decays, (t, y), loss=loss) == pytest.approx(expected, rel=1e-9)


def test_a_function_sees_no_residual_where_data_are_missing(decays, decay_data):
    t, y = decay_data
    y = y.copy()
    y[1, 0] = y[4, 1] = np.nan
    expected = np.nansum((exact(t) - y) ** 2)

    def squares(prediction, data):
        return ((prediction - data) ** 2).sum()

    assert first_loss(decays, (t, y), loss=squares) == pytest.approx(expected, rel=1e-9)


def test_regularisers_add_up(decays, decay_data):
    t, y = decay_data
    plain = first_loss(decays, (t, y))
    regularise = [L1(0.1), L2(0.01, on="k"), lambda p: 3.0 * p["k"]]
    added = first_loss(decays, (t, y), regularise=regularise) - plain
    assert added == pytest.approx(0.1 * 1.5 + 0.01 * 1.5**2 + 3.0 * 1.5, rel=1e-9)


def test_physics_is_the_mean_square_of_a_residual_along_the_solution(decays, decay_data):
    """u[0] = 2 u[1] holds exactly; u[0] - t does not."""
    t, y = decay_data
    plain = first_loss(decays, (t, y))
    conserved = Physics(lambda u, p, t: u[0] - 2.0 * u[1])
    assert first_loss(decays, (t, y), regularise=conserved) == pytest.approx(plain, rel=1e-12)
    other = Physics(lambda u, p, t: [p["k"] * u[0] - t, u[1]], weight=2.0)
    residuals = np.stack([1.5 * exact(t)[:, 0] - t, exact(t)[:, 1]])
    expected = plain + 2.0 * (residuals**2).mean()
    assert first_loss(decays, (t, y), regularise=other) == pytest.approx(expected, rel=1e-9)


def test_losses_of_trajectories_add_up(decays, decay_data):
    """Sums add; the mean is over all observations."""
    t, y = decay_data
    both = [(t, y), (t[:3], y[:3] * 2.0)]
    u0 = [[2.0, 1.0], [4.0, 2.0]]
    residuals = np.concatenate([exact(t) - y, 2.0 * (exact(t[:3]) - y[:3])])
    assert first_loss(decays, both, u0=u0) == pytest.approx(np.mean(residuals**2), rel=1e-9)
    normal = -stats.norm.logpdf(residuals, scale=0.3).sum()
    found = first_loss(decays, both, u0=u0, loss=Gaussian(0.3))
    assert found == pytest.approx(normal, rel=1e-9)


def test_an_unfitted_component_leaves_the_others_alone(decays, decay_data):
    t, y = decay_data
    y = y.copy()
    y[:, 1] = np.nan
    expected = -stats.norm.logpdf(y[:, 0], exact(t)[:, 0], y[:, 0].std()).sum()
    found = first_loss(decays, (t, y), loss=train.Gaussian())
    assert found == pytest.approx(expected, rel=1e-9)
