"""Energies and Lagrangians as networks: their equations of motion, against mechanics itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml import nn
from pysciml.models import HamiltonianNN, LagrangianNN, NeuralODE, SecondOrderNeuralODE, Separable
from pysciml.train import LBFGS, Adam, Collocation

FAST = {"engine": "native", "progress": False}


class Known(torch.nn.Module):
    """A function in the place of a network."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def pendulum_energy(x):
    """1/2 p^2 - cos q of (..., 2)."""
    return (0.5 * x[..., :1] ** 2) - torch.cos(x[..., 1:])


def double_pendulum_lagrangian(x):
    """Of two unit masses on unit rods, g = 1, angles from below: (..., 4) -> (..., 1)."""
    v1, v2, q1, q2 = x.unbind(-1)
    kinetic = v1**2 + 0.5 * v2**2 + v1 * v2 * torch.cos(q1 - q2)
    return (kinetic + 2.0 * torch.cos(q1) + torch.cos(q2)).unsqueeze(-1)


def double_pendulum_accelerations(v, q):
    """Closed form: E. Hairer, S. P. Norsett, G. Wanner, Solving ODEs I, exercise I.14.3 solved."""
    (v1, v2), (q1, q2) = v, q
    d = q1 - q2
    mass = np.array([[2.0, np.cos(d)], [np.cos(d), 1.0]])
    force = np.array(
        [
            -(v2**2) * np.sin(d) - 2.0 * np.sin(q1),
            v1**2 * np.sin(d) - np.sin(q2),
        ]
    )
    return np.linalg.solve(mass, force)


def test_hamiltons_equations_of_a_known_energy():
    model = HamiltonianNN(Known(pendulum_energy))
    problem = sml.ODEProblem(model, [[0.4], [1.2]], (0.0, 1.0))
    np.testing.assert_allclose(
        problem.model.f(problem.u0_flat, problem.p_flat, 0.0), [-np.sin(1.2), 0.4], rtol=1e-15
    )


def test_lagranges_equations_of_a_known_lagrangian():
    model = LagrangianNN(Known(double_pendulum_lagrangian), inertia=0.0)
    state = np.array([[0.7, -0.4], [1.2, -0.3]])
    problem = sml.ODEProblem(model, state, (0.0, 1.0))
    expected = [double_pendulum_accelerations(*state), state[0]]
    found = problem.model.f(problem.u0_flat, problem.p_flat, 0.0)
    np.testing.assert_allclose(found.reshape(2, 2), expected, rtol=1e-13)


@pytest.mark.parametrize("kind", [HamiltonianNN, LagrangianNN])
def test_the_energy_of_any_network_stays(kind):
    """Whatever the weights, and beside a plain network of the same size that does not."""
    start = [[0.4, -0.2], [0.9, 0.3]]
    model = kind(nn.mlp([4, 5, 1], seed=1))
    tight = {"engine": "native", "abstol": 1e-12, "reltol": 1e-12}
    sol = sml.solve(sml.ODEProblem(model, start, (0.0, 5.0)), "Vern7", **tight)
    with torch.no_grad():
        energy = np.array([model.energy(torch.as_tensor(u)) for u in sol.u])
        assert np.abs(sol.u - sol.u[0]).max() > 0.1
        np.testing.assert_allclose(energy, energy[0], rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("kind", [HamiltonianNN, LagrangianNN])
def test_a_batch_of_states_is_each_of_them(kind):
    model = kind(nn.mlp([4, 5, 1], seed=2))
    states = torch.rand(2, 3, 2, dtype=torch.float64)
    together = model(states)
    for i in range(3):
        torch.testing.assert_close(together[:, i], model(states[:, i]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [HamiltonianNN, LagrangianNN])
def test_gradients_through_the_inner_derivatives(kind):
    """By weights and initial state, against torchdiffeq through torch's own derivatives."""
    model = kind(nn.mlp([2, 4, 1], seed=3))
    problem = sml.ODEProblem(model, [[0.2], [1.0]], (0.0, 2.0))

    def gradient(engine, alg):
        steps = {"saveat": 0.5, "dt": 0.125, "adaptive": False}
        return sml.gradient(problem, lambda u: (u**2).mean(), alg=alg, engine=engine, **steps)

    native, torchs = gradient("native", "Kutta38"), gradient("torch", "rk4")  # the 3/8 rule too
    assert native.value == pytest.approx(torchs.value, rel=1e-13)
    np.testing.assert_allclose(native.u0, torchs.u0, rtol=1e-12)
    for name, slope in native.p.items():
        np.testing.assert_allclose(slope, torchs.p[name], rtol=1e-10, atol=1e-14)


def pendulums(amplitudes, t):
    """Velocities and angles of pendulums released at rest, (len(t), 2, pendulums, 1)."""
    start = np.array([np.zeros(len(amplitudes)), amplitudes])[..., None]
    problem = sml.ODEProblem(lambda u, p, t: [-torch.sin(u[1]), u[0]], start, (0.0, t[-1]))
    return sml.solve(problem, "Vern7", "native", saveat=t, abstol=1e-11, reltol=1e-11).u


def drift(model, result, amplitude, end):
    """Largest change of the true energy along the learned motion, by the energy that it has."""
    problem = sml.ODEProblem(model.fitted(result), [[0.0], [amplitude]], (0.0, end))
    u = sml.solve(problem, engine="native", saveat=0.5, abstol=1e-9, reltol=1e-9).u
    energy = 0.5 * u[:, 0, 0] ** 2 + 1.0 - np.cos(u[:, 1, 0])
    return np.abs(energy - energy[0]).max() / energy[0]


def test_a_learned_energy_does_not_drift():
    """Pendulums seen for one period and followed for twenty; the same data and stages for both."""
    t = np.linspace(0.0, 6.0, 31)
    data = t, pendulums([0.4, 0.9, 1.4], t)
    stages = {"strategy": Collocation(), "optimisers": [Adam(0.02, 100), LBFGS(300)]}
    drifts = {}
    for name, model in {
        "Hamiltonian": HamiltonianNN(nn.mlp([2, 12, 1], seed=0)),
        "plain": PlainPendulum(),
    }.items():
        result = sml.fit(model, data, **stages, **FAST)
        drifts[name] = drift(model, result, 1.0, 120.0)
    assert drifts["Hamiltonian"] < 2e-3
    assert drifts["plain"] > 10.0 * drifts["Hamiltonian"]


class PlainPendulum(NeuralODE):
    """A network of velocity and angle for the change of both."""

    def __init__(self):
        super().__init__(nn.mlp([2, 12, 2], seed=0))

    def forward(self, u, t):
        return self.network(torch.cat([u[0], u[1]], -1)).movedim(-1, 0).unsqueeze(-1)


def test_a_separable_energy_goes_to_symplectic_methods():
    """A method of order 4: the energy's error does not grow, and falls as dt^4."""
    model = HamiltonianNN(Separable(nn.mlp([1, 6, 1], seed=1), nn.mlp([1, 6, 1], seed=2)))
    problem = model.problem([0.3], [0.5], (0.0, 200.0))
    errors = []
    for dt in (0.4, 0.2):
        u = sml.solve(problem, "CandyRoz4", "native", dt=dt, saveat=1.0).u
        with torch.no_grad():
            energy = np.array([model.energy(torch.as_tensor(state)) for state in u])
        error = np.abs(energy - energy[0])
        assert error[100:].max() < 1.5 * error[:100].max()
        errors.append(error.max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.5)
    joint = HamiltonianNN(nn.mlp([2, 6, 1])).problem([0.3], [0.5], (0.0, 1.0))
    with pytest.raises(sml.UnsupportedError, match="needs a separable system"):
        sml.solve(joint, "CandyRoz4", "native", dt=0.1)


def test_second_order_needs_positions_only():
    """u'' = -4 u from noise-free positions; the velocity is a state that nobody saw."""
    t = np.linspace(0.0, 3.0, 31)
    model = SecondOrderNeuralODE(nn.Polynomial(2, 1, 1))
    problem = sml.ODEProblem(model, [[0.0], [1.0]], (0.0, 3.0))
    result = sml.fit(
        problem, (t, np.cos(2.0 * t)[:, None]), observe=[1], optimisers=LBFGS(100), **FAST
    )
    np.testing.assert_allclose(result.p["network.weight"][0], [0.0, -4.0, 0.0], atol=1e-4)
    assert result.problem.u0.shape == (2, 1)
