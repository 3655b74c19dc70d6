"""Networks that go to Lux and come back, and DiffEqFlux on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pysciml as sml
from pysciml.nn import RBF, Sine

pytestmark = pytest.mark.julia


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(2, 8), nn.Tanh(), nn.Sequential(nn.Linear(8, 5, bias=False), nn.SiLU()),
        nn.Dropout(0.5), nn.Linear(5, 2),
    ).double().eval()  # fmt: skip


def forward(model, parameters, state, x: np.ndarray) -> np.ndarray:
    """Of a batch of rows, which are Lux's columns."""
    y, _state = model(sml.julia.array(x.T), parameters, state)
    return np.array(y).T


def test_forward_passes_agree() -> None:
    net = network()
    x = np.random.default_rng(1).standard_normal((7, 2))
    np.testing.assert_allclose(
        forward(*sml.julia.to_lux(net), x), net(torch.from_numpy(x)).detach(), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    "activation",
    [
        nn.CELU(0.7), nn.ELU(0.3), nn.GELU(), nn.GELU("tanh"), nn.Identity(), nn.LeakyReLU(0.2),
        nn.ReLU(), nn.SELU(), nn.SiLU(), nn.Sigmoid(), nn.Softplus(), nn.Softplus(2.0, 5.0),
        nn.Softsign(), nn.Tanh(), RBF(), Sine(),
    ],
    ids=repr,
)  # fmt: skip
def test_activations_are_torchs(activation: nn.Module) -> None:
    x = np.linspace(-30.0, 30.0, 121)[:, None]
    np.testing.assert_allclose(
        forward(*sml.julia.to_lux(nn.Sequential(activation)), x),
        activation(torch.from_numpy(x)),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("named", (False, True))
def test_round_trip_is_exact(named: bool) -> None:
    net = network()
    if named:
        net = nn.Sequential()
        for name, child in zip(("inward", "bend", "middle", "drop", "out"), network(), strict=True):
            net.add_module(name, child)
    _model, parameters, _state = sml.julia.to_lux(net)
    back = sml.julia.from_lux(parameters)
    own = net.state_dict()
    assert set(back) == set(own)
    for name, value in own.items():
        torch.testing.assert_close(back[name], value, rtol=0, atol=0)
    net.load_state_dict(back)


def test_other_parameters_by_name_and_flat() -> None:
    net, other = network(), network()
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(-2.0)
    flat = np.concatenate([value.detach().numpy().ravel() for value in other.parameters()])
    by_name = {name: value.detach().numpy() for name, value in other.named_parameters()}
    for given in (flat, by_name):
        _model, parameters, _state = sml.julia.to_lux(net, given)
        for name, value in sml.julia.from_lux(parameters).items():
            np.testing.assert_array_equal(value, by_name[name])


def test_wrong_calls() -> None:
    with pytest.raises(sml.UnsupportedError, match=r"made of Sequential, Linear.*1\. is a Conv1d"):
        sml.julia.to_lux(nn.Sequential(nn.Linear(2, 2), nn.Conv1d(2, 2, 1)))
    with pytest.raises(ValueError, match=r"parameters must be the module's 6 numbers; got 5"):
        sml.julia.to_lux(nn.Linear(2, 2), np.zeros(5))
    with pytest.raises(ValueError, match="got no \\['weight'\\]"):
        sml.julia.to_lux(nn.Linear(2, 2), {"bias": np.zeros(2)})
    with pytest.raises(ValueError, match=r"weight is \(2, 3\); got \(3, 2\)"):
        sml.julia.to_lux(nn.Linear(3, 2), {"weight": np.zeros((3, 2)), "bias": np.zeros(2)})
    with pytest.raises(sml.EngineUnavailableError, match="no package Nonsense"):
        sml.julia.package("Nonsense")


def test_diffeqflux_solves_the_same_neural_ode() -> None:
    net = network()
    u0, times = np.array([0.4, -0.8]), np.linspace(0.0, 1.5, 7)
    model, parameters, state = sml.julia.to_lux(net)
    flux = sml.julia.package("DiffEqFlux")
    tsit5 = sml.julia.package("OrdinaryDiffEqTsit5").Tsit5()
    node = flux.NeuralODE(
        model, (0.0, 1.5), tsit5, saveat=sml.julia.array(times), abstol=1e-10, reltol=1e-10
    )
    found, _state = node(sml.julia.array(u0), parameters, state)
    own = sml.solve(sml.ODEProblem(net, u0, (0.0, 1.5)), "Vern7", "native", times, 1e-12, 1e-12)
    np.testing.assert_allclose(np.stack([np.array(u) for u in found.u]), own.u, atol=1e-8)


def observations() -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(0.0, 3.0, 25)
    noise = 0.01 * np.random.default_rng(5).standard_normal((25, 2))
    return np.stack([np.sin(t), np.cos(2 * t)], axis=1) + noise, t


@pytest.mark.parametrize("kernel", sml.julia.KERNELS)
def test_collocation_against_weighted_least_squares(kernel: str) -> None:
    """Local linear and quadratic fits, done by NumPy at one time."""
    data, t = observations()
    h = 0.35
    derivative, smoothed = sml.julia.collocate_data(data, t, kernel, h)
    assert derivative.shape == smoothed.shape == data.shape
    i = 11
    z = (t - t[i]) / (t[-1] - t[0]) / h
    a = np.abs(z)
    inside = {
        "Epanechnikov": 0.75 * (1 - z**2),
        "Uniform": 0.5 + 0 * z,
        "Triangular": 1 - a,
        "Quartic": 15 / 16 * (1 - z**2) ** 2,
        "Triweight": 35 / 32 * (1 - z**2) ** 3,
        "Tricube": 70 / 81 * (1 - a**3) ** 3,
        "Cosine": np.pi / 4 * np.cos(np.pi * z / 2),
    }
    everywhere = {
        "Gaussian": np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
        "Logistic": 1 / (np.exp(z) + 2 + np.exp(-z)),
        "Sigmoid": 2 / (np.pi * (np.exp(z) + np.exp(-z))),
        "Silverman": np.sin(a / 2 + np.pi / 4) * 0.5 * np.exp(-a / np.sqrt(2)),
    }
    w = everywhere.get(kernel)
    w = np.where(a <= 1, inside[kernel], 0.0) if w is None else w

    def local_fit(degree: int) -> np.ndarray:
        basis = (t - t[i])[:, None] ** np.arange(degree + 1)
        return np.linalg.solve(basis.T @ (w[:, None] * basis), basis.T @ (w[:, None] * data))

    np.testing.assert_allclose(smoothed[i], local_fit(1)[0], rtol=1e-8)
    np.testing.assert_allclose(derivative[i], local_fit(2)[1], rtol=1e-8)


def test_wrong_collocations() -> None:
    data, t = observations()
    with pytest.raises(ValueError, match=r"one of Epanechnikov.*; got 'Gaussain'; did"):
        sml.julia.collocate_data(data, t, "Gaussain")
    with pytest.raises(ValueError, match="data must have one row for each of the 24 times"):
        sml.julia.collocate_data(data, t[:-1])
    with pytest.raises(ValueError, match="t must be at least two increasing times"):
        sml.julia.collocate_data(data, t[::-1])
    with pytest.raises(sml.PyscimlError, match="choose a higher bandwidth"):
        sml.julia.collocate_data(data, t, "Triangular", 1e-6)


def test_multiple_shooting() -> None:
    """The loss is put together by hand from solves of each group."""

    def decay(u, p, t):
        return -p[0] * u

    t = np.linspace(0.0, 2.0, 7)
    data = np.stack([np.exp(-t), 2 * np.exp(-0.8 * t)], axis=1)
    problem = sml.ODEProblem(decay, [1.0, 2.0], (0.0, 2.0), [0.9])
    loss, parts = sml.julia.multiple_shoot(
        problem, data, t, 3, "Vern7", continuity=5.0, abstol=1e-10, reltol=1e-10
    )
    expected, end = 0.0, None
    groups = [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert len(parts) == len(groups)
    for group, part in zip(groups, parts, strict=True):
        exact = data[group[0]] * np.exp(-0.9 * (t[group] - t[group[0]]))[:, None]
        np.testing.assert_allclose(part, exact, rtol=1e-8)
        expected += ((exact - data[group]) ** 2).sum()
        if end is not None:
            expected += 5.0 * np.abs(end - data[group[0]]).sum()
        end = exact[-1]
    assert loss == pytest.approx(expected, rel=1e-7)
    with pytest.raises(ValueError, match="group_size must be from 2 to 7; got 8"):
        sml.julia.multiple_shoot(problem, data, t, 8)
