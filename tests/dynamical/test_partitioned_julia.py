"""Symplectic and Nystrom methods on Julia: orders on known solutions, energy over long times."""

from __future__ import annotations

import os

import numpy as np
import pytest
from dynamical_cases import (
    PERIOD,
    energy,
    forced,
    kepler,
    kepler_exact,
    oscillator,
    oscillator_exact,
    relativistic,
)

import pysciml as sml
from pysciml.engines.julia.two_parts import kinds

pytestmark = pytest.mark.julia

# Their orders, and steps for 0.7 of a Kepler period: errors there are neither coarse nor rounding.
ORDERS = {
    "SymplecticEuler": (1, 6400),
    "VelocityVerlet": (2, 200),
    "VerletLeapfrog": (2, 200),
    "LeapfrogDriftKickDrift": (2, 200),
    "PseudoVerletLeapfrog": (2, 200),
    "McAte2": (2, 200),
    "Ruth3": (3, 1600),
    "McAte3": (3, 1600),
    "CandyRoz4": (4, 100),
    "Yoshida6": (6, 60),
    "KahanLi6": (6, 50),
    "McAte8": (8, 30),
    "KahanLi8": (8, 40),
    "SofSpa10": (10, 14),
    "Nystrom4VelocityIndependent": (4, 100),
    "Nystrom5VelocityIndependent": (5, 100),
    "IRKN3": (3, 200),
    "IRKN4": (4, 200),
    "DPRKN4": (4, 200),
    "DPRKN5": (5, 60),
    "DPRKN6": (6, 60),
    "DPRKN6FM": (6, 60),
    "DPRKN8": (8, 20),
    "DPRKN12": (12, 6),
    "ERKN4": (4, 100),
    "ERKN5": (5, 60),
    "ERKN7": (7, 50),
    "Nystrom4": (4, 20),
    "FineRKN4": (4, 10),
    "FineRKN5": (5, 6),
}
FEW = ("VelocityVerlet", "KahanLi8", "Nystrom4VelocityIndependent", "DPRKN6", "FineRKN5")
# each of them costs the compilation of its solver
TRIED = ORDERS if "PYSCIML_ALL_METHODS" in os.environ else FEW


def damped() -> sml.SecondOrderODEProblem:
    return sml.SecondOrderODEProblem(lambda du, u, p, t: -u - 0.2 * du, [0.0], [1.0], (0.0, 2.0))


def damped_exact(t: float) -> np.ndarray:
    w = np.sqrt(0.99)
    fading = np.exp(-0.1 * t)
    u = fading * (np.cos(w * t) + 0.1 / w * np.sin(w * t))
    return np.array([[-fading * np.sin(w * t) / w], [u]])


def test_the_table_has_them():
    partitioned = ("symplectic", "autonomous", "nystrom", "damped")
    assert {name for name, kind in kinds().items() if kind in partitioned} == ORDERS.keys()


@pytest.mark.parametrize("alg", TRIED)
def test_order(alg):
    order, steps = ORDERS[alg]
    problem, exact = kepler(0.7), kepler_exact(0.7 * PERIOD)
    if kinds()[alg] == "damped":
        problem, exact = damped(), damped_exact(2.0)
    errors = []
    for n in (steps, 2 * steps):
        dt = problem.tspan[1] / n
        found = sml.solve(problem, alg, "julia", dt=dt, adaptive=False)
        assert found.alg == alg
        assert found.stats.naccept in (n, n + 1)  # one more by rounding
        errors.append(np.abs(found.u[-1] - exact).max())
    assert 1e-14 < errors[1] < 1e-3
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35 if order < 8 else 1.0)


@pytest.mark.parametrize("alg", ["DPRKN6", "FineRKN5"])
def test_nystrom_methods_choose_their_steps(alg):
    problem, times = kepler(2.0), np.linspace(0.0, 2.0 * PERIOD, 9)
    errors = []
    for tolerance in (1e-6, 1e-10):
        found = sml.solve(problem, alg, "julia", saveat=times, abstol=tolerance, reltol=tolerance)
        errors.append(np.abs(found.u[-1] - kepler_exact(times[-1:])[0]).max())
    assert errors[0] < 1e-3
    assert errors[1] < 1e-7
    assert found.u.shape == (9, 2, 2)


def test_energy_stays_over_ten_thousand_periods():
    """Saved at ends of steps: between them Julia interpolates."""
    dt = PERIOD / 30
    how = {"dt": dt, "saveat": 500 * PERIOD, "maxiters": 1_000_000}
    found = sml.solve(kepler(10_000), "KahanLi8", "julia", **how)
    error = np.abs(energy(found.u) + 0.5)
    assert found.u.shape == (21, 2, 2)
    assert error.max() < 1e-5
    assert error[-5:].max() < 1.2 * error[1:6].max() + 1e-11
    native = sml.solve(kepler(10_000), "KahanLi8", "native", **how)
    assert np.abs(error - np.abs(energy(native.u) + 0.5)).max() < 1e-10


@pytest.mark.parametrize(
    ("problem", "alg"),
    [(oscillator, "KahanLi8"), (relativistic, "KahanLi8"), (forced, "VelocityVerlet")],
)
def test_takes_the_steps_that_the_native_engine_takes(problem, alg):
    """Up to the digits of the coefficients."""
    found, native = (sml.solve(problem(), alg, engine, dt=0.1) for engine in ("julia", "native"))
    assert np.abs(found.u - native.u).max() < 1e-10


def test_parameters_stops_and_output():
    problem = oscillator()
    found = sml.solve(problem.remake(p={"k": 2.0}), "KahanLi6", "julia", dt=0.01, tstops=[0.123])
    assert 0.123 in found.t
    assert np.abs(found.u - oscillator_exact(found.t, 2.0)).max() < 1e-12
    some = sml.solve(problem, "KahanLi6", "julia", dt=0.01, saveat=0.5, save_idxs=[1])
    assert np.abs(some.u[:, 0] - oscillator_exact(some.t)[:, 1, 0]).max() < 1e-9
    dense = sml.solve(problem, "KahanLi6", "julia", dt=0.01)
    times = np.linspace(0.0, 3.0, 50)
    assert np.abs(dense(times) - oscillator_exact(times)).max() < 1e-7


def test_an_ensemble():
    p, how = np.array([[1.0], [2.0], [3.0]]), {"dt": 0.01, "saveat": [1.0, 3.0]}
    found = sml.solve_ensemble(
        oscillator(), p=p, alg="KahanLi8", engine="julia", progress=False, **how
    )
    for i in range(3):
        alone = sml.solve(found.problem_at(i), "KahanLi8", "julia", **how)
        np.testing.assert_array_equal(found.u[i], alone.u)


def test_a_run_that_ends_early():
    problem = sml.SecondOrderODEProblem(lambda du, u, p, t: u**3, [1.0], [1.0], (0.0, 10.0))
    failed = sml.solve(problem, "Ruth3", "julia", dt=0.01, raise_on_failure=False)
    assert failed.retcode == "Unstable"
