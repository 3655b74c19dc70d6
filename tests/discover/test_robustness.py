"""Attacks on systems whose worst perturbation is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import pysciml as sml
from pysciml.discover import Ball, lipschitz, robustness

A = np.array([[-0.3, 2.0], [-0.5, -0.1]])
FAST = {"engine": "native", "abstol": 1e-10, "reltol": 1e-10}
SKEWED = sml.ODEProblem(lambda u, p, t: torch.as_tensor(A) @ u, [1.0, 0.5], (0.0, 2.0))


def growing(u, p, t):
    return p["r"] * u * (1.0 - u / p["K"])


LOGISTIC = sml.ODEProblem(growing, [0.2], (0.0, 3.0), {"r": 1.5, "K": 2.0})


def test_the_worst_of_a_linear_system_is_its_singular_vector():
    found = robustness(SKEWED, Ball(0.3, steps=30), loss="final", **FAST)
    _, values, vectors = np.linalg.svd(expm(2.0 * A))
    assert found.growth[-1] == pytest.approx(values[0], rel=1e-7)
    assert abs(found.direction @ vectors[0]) == pytest.approx(1.0, abs=1e-7)
    assert found.loss == pytest.approx((0.3 * values[0]) ** 2, rel=1e-6)
    assert found.deviation == pytest.approx(found.linear_deviation, rel=1e-6)
    assert np.linalg.norm(found.perturbation) == pytest.approx(0.3, rel=1e-9)
    assert found.lipschitz == pytest.approx(np.linalg.norm(A, 2), rel=1e-12)
    assert found.random.max() <= found.loss * (1.0 + 1e-6)
    rates = np.linalg.eigvalsh((A + A.T) / 2.0)
    np.testing.assert_allclose(found.growth_bound, np.exp(rates[-1] * found.t), rtol=1e-12)
    assert (found.growth <= found.growth_bound * (1.0 + 1e-8)).all()


def test_the_worst_in_the_largest_norm_is_a_corner():
    found = robustness(SKEWED, Ball(0.3, 20, "linf"), loss="final", **FAST)
    corners = 0.3 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    expected = ((corners @ expm(2.0 * A).T) ** 2).sum(axis=1).max()
    assert found.loss == pytest.approx(expected, rel=1e-7)
    assert np.abs(found.perturbation).tolist() == pytest.approx([0.3, 0.3])


def test_scales_of_the_entries():
    """In units of 0.1 and 1 the second entry is nearly all there is."""
    found = robustness(SKEWED, Ball(0.2, 30, scale=[1e-6, 1.0]), loss="final", **FAST)
    assert found.loss == pytest.approx((0.2 * np.linalg.norm(expm(2.0 * A)[:, 1])) ** 2, rel=1e-6)
    relative = robustness(SKEWED, Ball(0.2, 30, "linf", scale="relative"), **FAST)
    assert np.abs(relative.perturbation).tolist() == pytest.approx([0.2, 0.1])


def test_parameters():
    """Of a logistic curve, du/dr and du/dK are known."""
    found = robustness(LOGISTIC, Ball(0.1, 10, "linf", scale="relative"), on=["r", "K"], **FAST)
    assert found.on == ("r", "K")
    assert found.perturbation.tolist() in (
        pytest.approx([0.15, 0.2]),
        pytest.approx([-0.15, -0.2]),
    )

    def curve(r, K):
        return K / (1.0 + (K / 0.2 - 1.0) * math.exp(-3.0 * r))

    h = 1e-6
    by_r = (curve(1.5 + h, 2.0) - curve(1.5 - h, 2.0)) / (2 * h)
    by_K = (curve(1.5, 2.0 + h) - curve(1.5, 2.0 - h)) / (2 * h)
    assert found.growth[-1] == pytest.approx(math.hypot(1.5 * by_r, 2.0 * by_K), rel=1e-6)
    assert np.isnan(found.growth_bound).all()


def test_a_perturbation_that_blows_up():
    """u' = u^2 - 1 ends for u0 < 1 and explodes for u0 > 1."""
    explosive = sml.ODEProblem(lambda u, p, t: u**2 - 1.0, [0.9], (0.0, 6.0))
    found = robustness(explosive, Ball(0.5, 10), engine="native", seed=3)
    assert found.loss == math.inf
    assert not found.worst.success
    assert found.deviation == math.inf
    assert 0.0 < np.isinf(found.random).mean() < 1.0


def test_a_loss_of_ones_own_and_the_plot():
    found = robustness(LOGISTIC, Ball(0.05), loss=lambda u: -u[-1, 0], saveat=[3.0], **FAST)
    assert found.perturbation[0] == pytest.approx(-0.05)
    assert "Robustness of u0 (l2, radius 0.05)" in repr(found)
    states, growth = robustness(LOGISTIC, Ball(0.05), **FAST).plot().axes
    assert len(states.get_lines()) == 2
    assert len(growth.get_lines()) == 2


def test_lipschitz_bounds_what_a_network_does():
    for activation in ("tanh", "rbf", "sigmoid", "gelu", "silu", "sin", "softplus"):
        network = sml.nn.mlp([3, 16, 2], activation, seed=1)
        bound = lipschitz(network)
        x = 3.0 * torch.randn(500, 3, dtype=torch.float64, generator=torch.manual_seed(0))
        slopes = torch.func.vmap(torch.func.jacrev(network))(x).detach().numpy()
        largest = np.linalg.norm(slopes, 2, axis=(1, 2)).max()
        assert 0.1 * bound < largest <= bound, activation
    linear = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False, dtype=torch.float64))
    with torch.no_grad():
        linear[0].weight.copy_(torch.as_tensor(A))
    assert lipschitz(linear) == pytest.approx(np.linalg.norm(A, 2), rel=1e-14)


# -- adversarial training ----
def test_training_against_the_worst_start():
    """u' = -k u, data 0 at t = 1: the worst u0 in the ball is u0 + radius."""
    problem = sml.ODEProblem(lambda u, p, t: -p * u, [1.0], (0.0, 1.0), 0.5)
    plain = sml.fit(
        problem, ([1.0], [[0.5]]), optimisers=sml.train.Adam(0.02, 200), progress=False, **FAST
    )
    assert plain.p == pytest.approx(math.log(2.0), rel=1e-3)
    against = sml.fit(
        problem,
        ([1.0], [[0.5]]),
        optimisers=sml.train.Adam(0.02, 1),
        adversarial=Ball(0.2, 5),
        progress=False,
        **FAST,
    )
    # at k = 0.5, exp(-0.5) = 0.607 > 0.5, so a larger start is worse
    assert against.loss == pytest.approx((1.2 * math.exp(-0.5) - 0.5) ** 2, rel=1e-8)
    best = sml.fit(
        problem,
        ([1.0], [[0.5]]),
        optimisers=sml.train.Adam(0.02, 300, "cosine"),
        adversarial=Ball(0.2, 5),
        progress=False,
        **FAST,
    )
    # both ends of the ball are then equally bad: (1.2 e - 0.5) = -(0.8 e - 0.5) at e = 0.5
    assert best.p == pytest.approx(math.log(2.0), rel=5e-3)
    assert best.loss == pytest.approx(0.1**2, rel=0.02)


def test_adversarial_gradients_are_those_at_the_worst_start():
    """By finite differences of the largest loss over the ball."""
    from pysciml.engines import get
    from pysciml.train.adversarial import AdversarialFunction
    from pysciml.train.data import as_tables
    from pysciml.train.inputs import make_task
    from pysciml.train.objective import ObjectiveFunction

    data = [(np.array([1.0, 2.0, 3.0]), np.array([[0.8], [1.4], [1.7]]))] * 2
    task = make_task(LOGISTIC, as_tables(data), u0=[[0.2], [0.3]], abstol=1e-11, reltol=1e-11)
    function = ObjectiveFunction(get("native"), task.objective())
    attacked = AdversarialFunction(function, Ball(0.05, 10))
    theta = np.array([1.3, 1.8])
    value, slope = attacked(theta)
    by_hand = max(
        function.value(theta, np.array([[a], [b]])) for a in (-0.05, 0.05) for b in (-0.05, 0.05)
    )
    assert value == pytest.approx(by_hand, rel=1e-9)
    for i in range(2):
        h = 1e-5 * np.eye(2)[i]
        difference = (attacked(theta + h)[0] - attacked(theta - h)[0]) / 2e-5
        assert slope[i] == pytest.approx(difference, rel=1e-5)


WRONG_CALLS = [
    (lambda: Ball(0.0), ValueError, "radius must be a finite number > 0; got 0.0"),
    (lambda: Ball(0.1, 0), ValueError, "steps must be a whole number >= 1; got 0"),
    (lambda: Ball(0.1, norm="l1"), ValueError, "norm must be 'l2' or 'linf'; got 'l1'"),
    (lambda: Ball(0.1, scale="std"), ValueError, "scale must be numbers > 0 or"),
    (lambda: robustness(LOGISTIC, 0.1), TypeError, "ball must be a Ball(...); got 0.1"),
    (lambda: robustness(growing, Ball(0.1)), TypeError, "problem must be an ODEProblem"),
    (
        lambda: robustness(LOGISTIC, Ball(0.1), on="L", engine="native"),
        ValueError,
        "on must name parameters; got 'L'",
    ),
    (
        lambda: robustness(LOGISTIC, Ball(0.1, scale=[1.0, 2.0]), engine="native"),
        ValueError,
        "scale must be one number, or one for each of (1,)",
    ),
    (
        lambda: robustness(LOGISTIC, Ball(0.1), loss="end", engine="native"),
        ValueError,
        "loss must be 'trajectory' or 'final'; got 'end'",
    ),
    (
        lambda: sml.fit(LOGISTIC, ([1.0], [[1.0]]), adversarial=0.1),
        TypeError,
        "adversarial must be a Ball(...) or None; got 0.1",
    ),
    (lambda: lipschitz(torch.nn.Tanh()), TypeError, "network must be an nn.Sequential"),
    (
        lambda: lipschitz(torch.nn.Sequential(torch.nn.Bilinear(2, 2, 2))),
        TypeError,
        "network must have linear layers and activations that pysciml.nn.mlp knows",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
