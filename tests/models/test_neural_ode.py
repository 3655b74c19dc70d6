"""Neural ODEs and their discrete relatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import pysciml as sml
from pysciml import nn
from pysciml.models import AugmentedNeuralODE, NeuralODE, Recurrent, SecondOrderNeuralODE
from pysciml.train import LBFGS, Adam

FAST = {"engine": "native", "progress": False}
U0 = np.array([0.8, -0.3])


@pytest.mark.parametrize("method", ["Euler", "Midpoint", "RK4"])
@pytest.mark.parametrize("time", [False, True])
def test_a_method_makes_a_recurrent_network(method, time):
    """States and gradients of the unrolled network are those of the solve, to rounding."""
    model = NeuralODE(nn.mlp([2 + time, 6, 2], seed=1), time)
    dt, steps = 0.125, 8
    network = Recurrent(model, dt, method)
    u0 = torch.tensor(U0, requires_grad=True)
    states = network(u0, steps)
    loss = (states**2).mean()
    loss.backward()
    found = sml.gradient(
        sml.ODEProblem(model, U0, (0.0, 1.0)),
        lambda u: (u**2).mean(),
        alg=method,
        engine="native",
        saveat=dt,
        dt=dt,
        adaptive=False,
    )
    assert found.value == pytest.approx(loss.item(), rel=1e-14)
    np.testing.assert_allclose(found.u0, u0.grad.numpy(), rtol=1e-12)
    for name, x in model.named_parameters():
        np.testing.assert_allclose(found.p[name], x.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_a_neural_ode_is_fitted_like_any_right_hand_side():
    """A linear spiral, by one linear layer: the matrix itself is found."""
    t = np.linspace(0.0, 4.0, 21)
    a = np.array([[-0.1, 2.0], [-2.0, -0.1]])
    u = np.stack([expm(a * s) @ [2.0, 0.0] for s in t])
    model = NeuralODE(nn.Polynomial(2, 2, 1))
    stages = [Adam(0.1, 100), LBFGS(100)]
    result = sml.fit(model, (t, u), optimisers=stages, abstol=1e-8, reltol=1e-8, **FAST)
    np.testing.assert_allclose(result.p["network.weight"][:, 1:][:, ::-1], a, atol=1e-5)
    trained = model.fitted(result)
    assert not model.network.weight.any()
    with torch.no_grad():
        slope = trained(torch.tensor([1.0, 0.0]).double(), 0.0)
    np.testing.assert_allclose(slope, a[:, 0], atol=1e-5)


def test_time_is_one_more_input():
    model = NeuralODE(nn.mlp([3, 4, 2]), time=True)
    u, t = torch.rand(5, 2, dtype=torch.float64), 0.7
    expected = model.network(torch.cat([u, torch.full((5, 1), t).double()], -1))
    torch.testing.assert_close(model(u, t), expected)
    second = SecondOrderNeuralODE(nn.mlp([5, 4, 2]), time=True)
    state = torch.rand(2, 2, dtype=torch.float64)
    expected = second.network(torch.cat([*state, torch.tensor([t]).double()]))
    torch.testing.assert_close(second(state, t), torch.stack([expected, state[0]]))


def crossing(model, **options):
    """Fit x(1) = -x(0) for x(0) = -1 and 1, and return the mean square that is left."""
    data = [0.0, 1.0], np.array([[[-1.0], [1.0]], [[1.0], [-1.0]]])
    stages = [Adam(0.03, 100), LBFGS(100)]
    return sml.fit(model, data, optimisers=stages, **FAST, **options)


def test_augmented_trajectories_pass_each_other():
    """Dupont et al. (2019), figure 3: two paths on a line cannot change places, and so both end in
    the middle at best, a mean square of 1/2 over both times; with one more dimension they can.
    """
    plain = crossing(NeuralODE(nn.mlp([1, 16, 1], seed=1)))
    assert plain.loss > 0.5 - 1e-6
    model = AugmentedNeuralODE(nn.mlp([2, 16, 2], seed=1), 1)
    augmented = crossing(model)
    assert augmented.loss < 1e-4
    assert augmented.problem.u0.shape == (2, 2)
    np.testing.assert_array_equal(augmented.problem.u0, [[-1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(augmented.data[0].values[1], [1.0, -1.0])


def test_augmented_trajectories_of_times_of_their_own():
    t = np.array([1.0, 1.5, 2.0])
    data = [(t, np.exp(-t)[:, None]), (t[1:], 2.0 * np.exp(-t[1:])[:, None])]
    model = AugmentedNeuralODE(nn.mlp([3, 3]), 2)
    result = sml.fit(model, data, optimisers=Adam(0.01, 2), **FAST)
    np.testing.assert_array_equal(
        result.u0, [[np.exp(-1.0), 0.0, 0.0], [2.0 * np.exp(-1.5), 0.0, 0.0]]
    )
    given = sml.fit(model, data, u0=[[3.0], [4.0]], optimisers=Adam(0.01, 2), **FAST)
    np.testing.assert_array_equal(given.u0, [[3.0, 0.0, 0.0], [4.0, 0.0, 0.0]])


WRONG = [
    (lambda: NeuralODE(lambda u: u), TypeError, "network must be an nn.Module"),
    (lambda: NeuralODE(nn.mlp([1, 1]), time=1), TypeError, "time must be True or False; got 1"),
    (lambda: AugmentedNeuralODE(nn.mlp([2, 2]), 0), ValueError, "extra must be a whole number"),
    (lambda: Recurrent(nn.mlp([1, 1]), 0.0), ValueError, "dt must be a finite number > 0"),
    (lambda: Recurrent(nn.mlp([1, 1]), 0.1, "RK5"), ValueError, "method must be"),
    (
        lambda: sml.fit(AugmentedNeuralODE(nn.mlp([2, 2]), 1), ([0.0, 1.0], [1.0, 2.0]), **FAST),
        ValueError,
        "u of data must be of shape (len(t), ..., n) for an AugmentedNeuralODE",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
