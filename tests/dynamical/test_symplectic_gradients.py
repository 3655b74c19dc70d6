"""Gradients of symplectic solves: torch's autograd of the same kicks and drifts, and Vern7's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dynamical_cases import SYMPLECTIC, kepler, oscillator

import pysciml as sml
from pysciml.engines.native.symplectic.tableau import SYMPLECTIC as TABLEAUS

TIMES = np.array([0.0, 0.25, 0.6, 1.0])
DT = 0.1


def force(v, u, p, t):
    return -p["k"] * u**3 + torch.cos(p["w"] * t) * u


def drift(v, u, p, t):
    return v / torch.sqrt(1.0 + p["c"] * v * v)


P = {"k": 1.3, "w": 2.0, "c": 0.4}
V0, U0 = [0.2, -0.5], [1.0, 0.7]


def loss(u):
    return (u[1:] ** 3).sum() + u[-1, 0, 0] * u[1, 1, 1]


def swing(tspan=(0.0, 1.0)) -> sml.DynamicalODEProblem:
    return sml.DynamicalODEProblem(force, drift, V0, U0, tspan, P)


def stepped(alg, state, p, t, h):
    """One step, in torch."""
    tableau = TABLEAUS[alg]
    v, u = state
    of_u = of_v = 0.0
    for kick, shift in zip(tableau.b, tableau.a, strict=True):
        v = v + h * kick * force(v, u, p, torch.tensor(t + of_u * h))
        of_v += kick
        u = u + h * shift * drift(v, u, p, torch.tensor(t + of_v * h))
        of_u += shift
    return torch.stack([v, u])


def autograd(alg, times):
    p = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in P.items()
    }
    start = torch.tensor([V0, U0], dtype=torch.float64, requires_grad=True)
    grid = np.linspace(0.0, 1.0, 11)
    states = [start]
    for t in grid[:-1]:
        states.append(stepped(alg, states[-1], p, t, DT))
    saved = []
    for time in times:
        i = int(np.floor(time / DT + 1e-9))
        rest = time - grid[i]
        saved.append(stepped(alg, states[i], p, grid[i], rest) if rest > 1e-9 else states[i])
    value = loss(torch.stack(saved))
    value.backward()
    return value.item(), start.grad.numpy(), {name: x.grad.item() for name, x in p.items()}


@pytest.mark.parametrize("alg", [name for name in SYMPLECTIC if name != "McAte4"])
@pytest.mark.parametrize("times", [TIMES, np.linspace(0.0, 1.0, 11)])
def test_is_that_of_the_steps(alg, times):
    found = sml.gradient(swing(), loss, alg, "native", saveat=times, dt=DT)
    value, by_u0, by_p = autograd(alg, times)
    assert found.value == pytest.approx(value, rel=1e-13)
    assert np.abs(found.u0 - by_u0).max() < 1e-12
    for name in P:
        assert found.p[name] == pytest.approx(by_p[name], rel=1e-10, abs=1e-12)


def test_every_step_is_saved():
    found = sml.gradient(swing(), loss, "Ruth3", "native", dt=DT)
    _, by_u0, by_p = autograd("Ruth3", np.linspace(0.0, 1.0, 11))
    assert np.abs(found.u0 - by_u0).max() < 1e-12
    assert found.p["w"] == pytest.approx(by_p["w"], rel=1e-10)


@pytest.mark.parametrize("alg", ["McAte4", "KahanLi8"])
def test_tends_to_the_gradient_of_the_solution(alg):
    def end(u):
        return (u[-1] ** 2).sum() + u[0, 0, 1]

    times = [0.3, 5.0]
    exact = sml.gradient(
        kepler(), end, "Vern7", "native", saveat=times, sensealg="adjoint", abstol=1e-12,
        reltol=1e-12,
    )  # fmt: skip
    found = sml.gradient(kepler(), end, alg, "native", saveat=times, dt=0.005)
    assert np.abs(found.u0 - exact.u0).max() < 1e-7


def test_backwards_in_time():
    """u(-t1) of the oscillator, d/dk: as forwards, u being even in t."""
    forwards, backwards = (
        sml.gradient(oscillator((0.0, t1)), lambda u: u[-1, 1, 0], "KahanLi6", "native",
                     saveat=[t1], dt=0.01).p["k"]
        for t1 in (2.0, -2.0)
    )  # fmt: skip
    w = np.sqrt(1.5)
    assert forwards == pytest.approx(-2.0 * np.sin(2.0 * w) / (4.0 * w), rel=1e-11)
    assert backwards == pytest.approx(forwards, rel=1e-11)


def test_fit():
    """Damping-free swing data, fitted through VelocityVerlet itself."""
    times = np.linspace(0.0, 1.0, 11)
    data = sml.solve(swing(), "VelocityVerlet", "native", saveat=times, dt=DT).u
    guess = swing().remake(p={"k": 1.0, "w": 1.7, "c": 0.2})
    found = sml.fit(
        guess, (times, data), alg="VelocityVerlet", engine="native", dt=DT, progress=False
    )
    for name, value in P.items():
        assert found.p[name] == pytest.approx(value, rel=1e-3)
