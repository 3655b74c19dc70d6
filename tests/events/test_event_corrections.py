"""States that stay positive, or on a manifold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from event_cases import oscillator

import pysciml as sml


def absolute(u, p, t):
    """u' = -|u|: once the state is negative by an error, it runs away (Shampine et al. 2005)."""
    return -torch.abs(u)


@pytest.mark.parametrize("alg", ("Tsit5", "BS3", "AutoTsit5(Rodas5P)"))
def test_positive_states(engine: str, alg: str) -> None:
    problem = sml.ODEProblem(absolute, [1.0, 3.0], (0.0, 60.0))
    loose = {"abstol": 1e-4, "reltol": 1e-3}
    plain = sml.solve(problem, alg, engine, **loose)
    assert plain.u[-1].max() < -1.0  # what happens without
    sol = sml.solve(problem, alg, engine, events=[sml.Positive()], **loose)
    assert sol.u.min() >= 0.0
    exact = np.array([1.0, 3.0]) * np.exp(-sol.t[:, None])
    assert sol.u == pytest.approx(exact, abs=5e-3)
    # between the steps there is an interpolant, which ends where they end
    assert sol(sol.t) == pytest.approx(sol.u, abs=1e-15)


def test_some_components_only(engine: str) -> None:
    problem = sml.ODEProblem(absolute, [1.0, 3.0], (0.0, 60.0))
    sol = sml.solve(problem, "Tsit5", engine, events=[sml.Positive([1])], abstol=1e-4)
    assert sol.u[:, 1].min() >= 0.0
    assert sol.u[-1, 0] < -1.0


def test_a_solution_that_really_turns_negative_is_not_followed(engine: str) -> None:
    sol = sml.solve(
        oscillator(), "Tsit5", engine, events=[sml.Positive([0])], maxiters=300,
        raise_on_failure=False,
    )  # fmt: skip
    assert sol.retcode == "MaxIters"
    assert sol.t[-1] == pytest.approx(np.pi / 2, abs=1e-2)
    assert sol.u[:, 0].min() >= 0.0


def pendulum(u, p, t):
    return [u[1], -torch.sin(u[0])]


def energy(u):
    return 0.5 * u[..., 1] ** 2 - np.cos(u[..., 0])


@pytest.mark.parametrize("alg", ("Tsit5", "Vern7", "Rodas5P", "AutoTsit5(Rodas5P)"))
def test_the_energy_of_a_pendulum(engine: str, alg: str) -> None:
    problem = sml.ODEProblem(
        pendulum, [2.0, 0.0], (0.0, 100.0), {"E": energy(np.array([2.0, 0.0]))}
    )
    keep = sml.ManifoldProjection(lambda u, p, t: 0.5 * u[1] ** 2 - torch.cos(u[0]) - p["E"])
    options = {"alg": alg, "engine": engine, "abstol": 1e-6, "reltol": 1e-6}
    plain = sml.solve(problem, **options)
    sol = sml.solve(problem, events=[keep], **options)
    assert np.abs(energy(plain.u) - energy(plain.u[0])).max() > 1e-7
    assert np.abs(energy(sol.u) - energy(sol.u[0])).max() < 1e-14
    between = sol(np.linspace(0.0, 100.0, 3000))
    assert np.abs(energy(between) - energy(sol.u[0])).max() < 3e-5
    exact = sml.solve(problem, "Vern7", engine, [100.0], 1e-12, 1e-12).u[-1]
    error, plain_error = np.abs(sol.u[-1] - exact).max(), np.abs(plain.u[-1] - exact).max()
    assert error < 1.1 * plain_error


def test_two_invariants_at_once(engine: str) -> None:
    """Kepler's problem keeps energy and angular momentum."""

    def kepler(u, p, t):
        x, y, vx, vy = u
        cubed = (x * x + y * y) ** 1.5
        return [vx, vy, -x / cubed, -y / cubed]

    def invariants(u, p, t):
        x, y, vx, vy = u
        return [
            0.5 * (vx * vx + vy * vy) - 1.0 / torch.sqrt(x * x + y * y) + 0.5,
            x * vy - y * vx - np.sqrt(0.75),
        ]

    start = [0.5, 0.0, 0.0, np.sqrt(3.0)]  # excentricity 1/2, period 2 pi
    problem = sml.ODEProblem(kepler, start, (0.0, 40.0 * np.pi))
    sol = sml.solve(problem, "Tsit5", engine, events=[sml.ManifoldProjection(invariants)])
    x, y, vx, vy = sol.u.T
    assert np.abs(0.5 * (vx**2 + vy**2) - 1.0 / np.hypot(x, y) + 0.5).max() < 1e-13
    assert np.abs(x * vy - y * vx - np.sqrt(0.75)).max() < 1e-13


def test_projection_and_events_together(engine: str) -> None:
    circle = sml.ManifoldProjection(lambda u, p, t: (u * u).sum() - 1.0)
    crossing = sml.ContinuousEvent(lambda u, p, t: u[0], direction=-1)
    sol = sml.solve(
        oscillator((0.0, 20.0)), "Tsit5", engine, abstol=1e-9, reltol=1e-9,
        events=[circle, crossing],
    )  # fmt: skip
    assert len(sol.events[0].t) == 0
    assert sol.events[1].t == pytest.approx(np.pi * np.array([0.5, 2.5, 4.5]), abs=1e-7)
    at_steps = ~np.isin(sol.t, sol.events[1].t)
    assert np.abs((sol.u[at_steps] ** 2).sum(1) - 1.0).max() < 1e-14
    assert np.abs((sol.events[1].before ** 2).sum(1) - 1.0).max() < 1e-9


def test_residuals_that_cannot_be_projected_end_the_solve(engine: str) -> None:
    flat = sml.ManifoldProjection(lambda u, p, t: 0.0 * u[0] + 1.0)
    sol = sml.solve(oscillator(), "Tsit5", engine, events=[flat], raise_on_failure=False)
    assert sol.retcode == {"native": "DtLessThanMin", "julia": "Unstable"}[engine]
    assert sol.t.tolist() == [0.0]
