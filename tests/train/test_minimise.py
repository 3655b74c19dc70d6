"""`minimise`: functions of parameters that need no solve."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml.train import BFGS, LBFGS, Adam, minimise, positive

QUIET = {"progress": False}


def rosenbrock(p):
    return (1.0 - p["x"]) ** 2 + 100.0 * (p["y"] - p["x"] ** 2) ** 2


@pytest.mark.parametrize("stages", [LBFGS(100), [Adam(0.05, 50), BFGS(100)]], ids=str)
def test_rosenbrocks_valley(stages):
    found = minimise(rosenbrock, {"x": -1.2, "y": 1.0}, optimisers=stages, **QUIET)
    assert found.p["x"] == pytest.approx(1.0, abs=1e-5)
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert found.value == found.history.loss.min()
    assert found.message == "finished"


def test_what_is_fixed_stays_and_transforms_bound():
    start = {"x": 3.0, "y": 2.0}
    found = minimise(rosenbrock, start, fixed="x", transforms={"y": positive}, **QUIET)
    assert found.p == {"x": 3.0, "y": pytest.approx(9.0, rel=1e-6)}


def test_a_network_is_a_function_of_its_weights():
    apply, weights = sml.nn.functional(sml.nn.mlp([1, 8, 1]))
    x = torch.linspace(-1.0, 1.0, 40, dtype=torch.float64)[:, None]
    found = minimise(lambda p: ((apply(x, p) - torch.sin(3.0 * x)) ** 2).mean(), weights, **QUIET)
    np.testing.assert_allclose(apply(x.numpy(), found.p), np.sin(3.0 * x), atol=1e-2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: minimise(3, 1.0), TypeError, "function must be a torch function of the param"),
        (lambda: minimise(rosenbrock, None), ValueError, "p has no free parameters"),
        (
            lambda: minimise(lambda p: torch.log(2.0 * p), -1.0, **QUIET),
            ValueError,
            "must be finite",
        ),
        (lambda: minimise(lambda p: p, [1.0, 2.0]), sml.CaptureError, "must return one number"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
