"""Signatures against closed forms, and laws of paths that only their signatures tell apart."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml import nn
from pysciml.models import NeuralSDE, SignatureMMD, signature
from pysciml.train import Adam


def levels(flat, d, depth):
    """Arrays of d, d x d, ..., by level, the zeroth included."""
    pieces = torch.as_tensor(flat).split([d**k for k in range(1, depth + 1)])
    return [np.array(1.0), *(x.numpy().reshape((d,) * k) for k, x in enumerate(pieces, 1))]


def walk(seed, steps=6, d=2):
    return torch.as_tensor(np.random.default_rng(seed).standard_normal((steps, d)).cumsum(0))


def test_of_a_straight_line_it_is_the_exponential_of_the_increment():
    x = np.array([0.3, -1.2, 0.7])
    line = torch.as_tensor(np.array([0.0, 0.2, 0.9, 1.0])[:, None] * x + 5.0)
    power = np.array(1.0)
    for k, level in enumerate(levels(signature(line, 5), 3, 5)):
        np.testing.assert_allclose(level, power / math.factorial(k), rtol=1e-13, atol=1e-15)
        power = np.multiply.outer(power, x)


def test_of_a_path_and_its_continuation_it_is_the_product():
    """Chen's identity."""
    whole = walk(0, 9)
    first, second = (levels(signature(x, 4), 2, 4) for x in (whole[:5], whole[4:]))
    for k, level in enumerate(levels(signature(whole, 4), 2, 4)):
        product_ = sum(np.multiply.outer(first[i], second[k - i]) for i in range(k + 1))
        np.testing.assert_allclose(level, product_, atol=1e-11)


def test_products_of_entries_are_sums_over_shuffles():
    found = levels(signature(walk(1), 4), 2, 4)
    for i, j, k, m in product(range(2), repeat=4):
        shuffles = [
            (i, j, k, m),
            (i, k, j, m),
            (i, k, m, j),
            (k, i, j, m),
            (k, i, m, j),
            (k, m, i, j),
        ]
        both = found[2][i, j] * found[2][k, m]
        assert both == pytest.approx(sum(found[4][word] for word in shuffles), rel=1e-11, abs=1e-11)


def test_the_area_of_a_circle():
    """Half of (1, 2) - (2, 1) is the signed area, here of a polygon of 200 corners."""
    angle = torch.linspace(0.0, 2.0 * math.pi, 201, dtype=torch.float64)
    _, _, second = levels(signature(torch.stack([angle.cos(), angle.sin()], -1), 2), 2, 2)
    area = 100.0 * math.sin(2.0 * math.pi / 200.0)
    assert 0.5 * (second[0, 1] - second[1, 0]) == pytest.approx(area, rel=1e-12)


def test_many_paths_at_once_and_the_gradient():
    paths = torch.stack([walk(seed) for seed in range(6)], 1).reshape(6, 2, 3, 2)
    found = signature(paths, 3)
    assert found.shape == (2, 3, 14)
    np.testing.assert_allclose(found[1, 2], signature(paths[:, 1, 2], 3), rtol=1e-14)
    assert torch.autograd.gradcheck(lambda x: signature(x, 3), walk(2, 4).requires_grad_())


RATE, T = 1.5, np.linspace(0.0, 2.0, 11)


def at_rest(rate, count, seed):
    """Exact steps of du = -rate u dt + sqrt(2 rate) dW, whose variance is 1 at all times."""
    random = np.random.default_rng(seed)
    u = [random.standard_normal(count)]
    for h in np.diff(T):
        keep = np.exp(-rate * h)
        u.append(keep * u[-1] + np.sqrt(1.0 - keep**2) * random.standard_normal(count))
    return np.stack(u)[..., None]


def test_the_distance_of_equal_laws_is_zero_on_average_and_grows_with_their_difference():
    misfit = SignatureMMD().against(T, at_rest(RATE, 4000, 0))
    values = [
        np.mean([misfit(torch.as_tensor(at_rest(rate, 100, 10 * k))).item() for k in range(1, 41)])
        for rate in (RATE, 1.5 * RATE, 3.0 * RATE)
    ]
    assert abs(values[0]) < 2e-3  # a hundred paths alone are 1e-2 off
    assert 5e-3 < values[1] < 0.5 * values[2]


def linear(weight, bias):
    layer = nn.mlp([1, 1])
    with torch.no_grad():
        layer[0].weight.fill_(weight)
        layer[0].bias.fill_(bias)
    return layer


def test_the_rate_of_a_process_at_rest_is_in_its_signature():
    """Its means and variances say nothing of it."""
    model = NeuralSDE(linear(-0.5, 0.0), linear(0.0, 1.0), 100, "signature")
    data = T, at_rest(RATE, 2000, 1)
    options = {"alg": "EM", "dt": 1.0 / 20.0, "engine": "native", "progress": False}
    found = model.fitted(
        sml.fit(
            model, data, optimisers=Adam(0.08, 100, "cosine"), fixed="diffusion.0.weight", **options
        )
    )
    assert found.drift[0].weight.item() == pytest.approx(-RATE, rel=0.07)
    assert abs(found.diffusion[0].bias.item()) == pytest.approx(np.sqrt(2.0 * RATE), rel=0.05)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: SignatureMMD(0), "depth must be"),
        (lambda: signature(walk(0), 1.5), "depth must be"),
        (lambda: NeuralSDE(linear(0, 0), linear(0, 0), loss="mmd"), 'loss must be "moments"'),
        (
            lambda: NeuralSDE(linear(0, 0), linear(0, 0), loss="signature").fit_loss(
                (T, np.where(np.arange(11)[:, None, None] == 3, np.nan, at_rest(1.0, 3, 0)))
            ),
            "hold two numbers of each",
        ),
    ],
)
def test_bad_calls_name_the_argument(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
