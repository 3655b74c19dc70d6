"""Neural SDEs by their moments, against the Ornstein-Uhlenbeck process."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml import nn
from pysciml.autograd.stochastic import Paths
from pysciml.models import NeuralSDE
from pysciml.train import Adam

FAST = {"engine": "native", "progress": False}
T = np.linspace(0.0, 2.0, 9)
RATE, SIGMA, START = 1.5, 0.6, 2.0


def law(t):
    """Mean and variance of du = -RATE u dt + SIGMA dW from START."""
    return START * np.exp(-RATE * t), SIGMA**2 * (1.0 - np.exp(-2.0 * RATE * t)) / (2.0 * RATE)


@pytest.fixture(scope="module")
def ensemble():
    """Its exact steps."""
    random = np.random.default_rng(0)
    u = [np.full(4000, START)]
    for h in np.diff(T):
        scatter = np.sqrt(law(h)[1])
        u.append(u[-1] * np.exp(-RATE * h) + scatter * random.standard_normal(4000))
    return T, np.stack(u)[..., None]


def linear(seed, bias=True):
    return nn.mlp([1, 1], seed=seed) if bias else torch.nn.Linear(1, 1, bias=False).double()


def test_moments_of_an_ornstein_uhlenbeck_process_are_found(ensemble):
    model = NeuralSDE(linear(1), linear(2), paths=200)
    with torch.no_grad():
        model.diffusion[0].weight.zero_()
    found = model.fitted(sml.fit(model, ensemble, optimisers=Adam(0.05, 200, "cosine"), **FAST))
    u = found.simulate(np.full((4000, 1), START), T, seed=1)
    mean, variance = law(T)
    assert u.shape == (9, 4000, 1)
    np.testing.assert_allclose(u.mean(1)[:, 0], mean, atol=0.04)
    np.testing.assert_allclose(u.var(1)[1:, 0], variance[1:], rtol=0.15)
    at_rest = np.abs(found.diffusion(torch.zeros(1, 1).double()).item())
    assert at_rest == pytest.approx(SIGMA, rel=0.1)
    assert found.drift[0].weight.item() == pytest.approx(-RATE, rel=0.1)


def test_the_loss_is_the_misfit_of_the_moments(ensemble):
    """Without noise the paths are one solution of the drift."""
    silent = linear(0)
    with torch.no_grad():
        for x in silent.parameters():
            x.zero_()
    model = NeuralSDE(linear(3, bias=False), silent, paths=4)
    with torch.no_grad():
        model.drift.weight.fill_(-1.0)
    t, u = ensemble
    u = u.copy()
    u[3, 7] = np.nan
    loss = model.fit_loss((t, u), abstol=1e-6, reltol=1e-6).value(torch.Generator())
    off = START * np.exp(-t) - np.nanmean(u, axis=1)[:, 0]
    variance = np.nanvar(u, axis=1, ddof=1)[:, 0]
    scale = variance.mean()
    expected = (off**2 / scale + variance**2 / (2.0 * scale**2)).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_the_gradient_is_that_of_the_loss(ensemble, engine):
    if engine == "torch":
        pytest.importorskip("torchsde")
    model = NeuralSDE(nn.mlp([1, 4, 1], seed=1), nn.mlp([1, 4, 1], seed=2), paths=5)
    own = model.fit_loss(ensemble, engine, alg="EM", dt=0.125)

    def at_seed():
        return own.value(torch.Generator().manual_seed(0))

    for weight in (model.drift[0].weight, model.diffusion[2].bias):
        (slope,) = torch.autograd.grad(at_seed(), weight)
        flat, step = weight.detach().view(-1), 1e-6
        flat[0] += step
        above = at_seed().item()
        flat[0] -= 2.0 * step
        below = at_seed().item()
        flat[0] += step
        assert slope.view(-1)[0].item() == pytest.approx((above - below) / (2.0 * step), rel=1e-6)


def test_a_path_as_a_function_of_its_start_and_its_parameters():
    """u(t) of geometric Brownian motion is proportional to u0; each EM step is 1 + a h + b dW."""
    problem = sml.SDEProblem(
        lambda u, p, t: p[0] * u, lambda u, p, t: p[1] * u, [1.0, 2.0], (0.0, 1.0), [0.3, 0.2]
    )
    paths = Paths.of(problem, "auto", np.array([0.5, 1.0]), alg="EM", dt=1.0)
    assert paths.engine == "native"
    u0 = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    p = torch.tensor([0.3, 0.2], dtype=torch.float64, requires_grad=True)
    u = paths(5, u0, p)
    by_u0, by_p = torch.autograd.grad(u[-1, 1], [u0, p])
    np.testing.assert_allclose(by_u0, [0.0, u[-1, 1].item() / 2.0], rtol=1e-14)
    # two steps of 1/2: u = u0 (1 + a/2 + b w1) (1 + a/2 + b w2)
    first, second = u[0, 1].item() / 2.0, u[1, 1].item() / u[0, 1].item()
    w1, w2 = (first - 1.15) / 0.2, (second - 1.15) / 0.2
    expected = [2.0 * 0.5 * (first + second), 2.0 * (w1 * second + w2 * first)]
    np.testing.assert_allclose(by_p, expected, rtol=1e-12)
    np.testing.assert_array_equal(paths(5, u0, p).detach(), u.detach())
    with pytest.raises(ValueError, match="u0 and p must have 2 and 2 entries; got 2 and 3"):
        paths(5, u0, torch.zeros(3))
    assert abs(paths(6, u0, p)[-1, 1].item() - u[-1, 1].item()) > 1e-3


def test_a_solve_that_stops_early_raises():
    problem = sml.SDEProblem(lambda u, p, t: u**3, lambda u, p, t: u, [10.0], (0.0, 1.0))
    paths = Paths.of(problem, "native", np.array([1.0]), alg="EM", dt=0.125)
    with pytest.raises(sml.SolveError, match="the solve stopped early"):
        paths(0, torch.tensor([1e3], dtype=torch.float64), torch.zeros(0, dtype=torch.float64))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: NeuralSDE(3, linear(0)), "drift must be an nn.Module"),
        (lambda: NeuralSDE(linear(0), None), "diffusion must be an nn.Module"),
        (lambda: NeuralSDE(linear(0), linear(0), paths=1), "paths must be at least 2"),
        (
            lambda: NeuralSDE(linear(0), linear(0)).fit_loss((T, np.ones((9, 1)))),
            r"of shape \(len\(t\), paths, n\)",
        ),
        (
            lambda: NeuralSDE(linear(0), linear(0)).fit_loss((T, np.ones((9, 2, 1)))),
            "u of data must differ between paths",
        ),
        (
            lambda: NeuralSDE(linear(0), linear(0)).fit_loss((T, np.full((9, 2, 1), np.nan))),
            "without NaN in its first row",
        ),
    ],
)
def test_bad_calls_name_the_argument(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
