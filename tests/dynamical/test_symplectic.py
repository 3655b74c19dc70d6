"""The native engine's symplectic methods: orders, energy over long times, reversibility, output."""

from __future__ import annotations

import numpy as np
import pytest
from dynamical_cases import (
    PERIOD,
    SYMPLECTIC,
    energy,
    forced,
    kepler,
    kepler_exact,
    oscillator,
    oscillator_exact,
    relativistic,
    slope,
)

import pysciml as sml

STEPS = {1: (400, 800), 2: (200, 400), 3: (1600, 3200), 4: (50, 100), 6: (50, 100), 8: (40, 80)}
# With about the same number of evaluations of the force, the step of KahanLi8 is largest.
PER_PERIOD = {1: 400, 2: 200, 3: 100, 4: 100, 6: 50, 8: 30}


@pytest.mark.parametrize(("alg", "order"), SYMPLECTIC.items())
def test_order_on_kepler(alg, order):
    problem = kepler(0.7)  # after whole periods symmetry makes some methods look better
    exact = kepler_exact(problem.tspan[1])
    assert slope(problem, alg, exact, STEPS[order]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("alg", "order"), SYMPLECTIC.items())
def test_order_with_a_force_that_depends_on_time(alg, order):
    t = 2.0
    u, v = (np.cos(t) - np.cos(2 * t)) / 3, (2 * np.sin(2 * t) - np.sin(t)) / 3
    n = {1: 200, 2: 50, 3: 20, 4: 20, 6: 8, 8: 6}[order]
    found = slope(forced(), alg, np.array([[v], [u]]), (n, 2 * n))
    assert found == pytest.approx(order, abs=0.2 if order < 8 else 0.5)


@pytest.mark.parametrize("alg", [name for name in SYMPLECTIC if name != "McAte4"])
def test_order_where_the_kinetic_energy_is_not_quadratic(alg):
    problem, order = relativistic(), SYMPLECTIC[alg]
    exact = sml.solve(problem, "Vern7", "native", abstol=1e-14, reltol=1e-14).u[-1]
    n = {1: 200, 2: 100, 3: 60, 4: 60, 6: 20, 8: 8}[order]
    assert slope(problem, alg, exact, (n, 2 * n)) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize(("alg", "order"), SYMPLECTIC.items())
def test_energy_stays_over_ten_thousand_periods(alg, order):
    """The error of the second half of the run is that of the first."""
    problem, dt = kepler(10_000), PERIOD / PER_PERIOD[order]
    times = np.arange(0, 10_001, 1) * PERIOD + 0.37 * PERIOD
    solution = sml.solve(problem, alg, "native", dt=dt, saveat=times[:-1], maxiters=10_000_000)
    error = np.abs(energy(solution.u) + 0.5)
    early, late = error[:1000].max(), error[-1000:].max()
    assert late < 1.2 * early + 1e-13
    assert early < {1: 2e-2, 2: 2e-3, 3: 1e-4, 4: 1e-4, 6: 1e-5, 8: 1e-5}[order]


def test_energy_of_a_method_that_is_not_symplectic_drifts():
    """RK4 with as many evaluations as Ruth3 and more has lost the orbit by then."""
    problem = kepler(10_000)
    solution = sml.solve(
        problem, "RK4", "native", dt=PERIOD / 100, adaptive=False, saveat=100 * PERIOD,
        maxiters=10_000_000,
    )  # fmt: skip
    error = np.abs(energy(solution.u) + 0.5)
    assert error[-1] > 50 * error[1]
    assert error[-1] > 1e-3


def test_rounding_errors_do_not_add_up():
    """Without compensation these 17 million kicks lose 1e-13."""
    solution = sml.solve(
        kepler(10_000), "KahanLi8", "native", dt=PERIOD / 100, saveat=1000 * PERIOD,
        maxiters=10_000_000,
    )  # fmt: skip
    assert np.abs(energy(solution.u) + 0.5).max() < 2e-14


@pytest.mark.parametrize(("alg", "order"), SYMPLECTIC.items())
def test_harmonic_oscillator(alg, order):
    solution = sml.solve(oscillator(), alg, "native", dt=0.001, saveat=0.25)
    error = np.abs(solution.u - oscillator_exact(solution.t)).max()
    assert error < {1: 5e-3, 2: 2e-6, 3: 1e-9, 4: 1e-11, 6: 1e-13, 8: 1e-13}[order]


@pytest.mark.parametrize("alg", ["VelocityVerlet", "CandyRoz4", "Yoshida6", "KahanLi6", "KahanLi8"])
def test_back_to_the_start(alg):
    """Symmetric methods, run backwards, retrace their steps."""
    there = sml.solve(kepler(), alg, "native", dt=0.05)
    assert np.abs(there.u[-1] - there.u[0]).max() > 1e-12
    problem = kepler().remake(u0=there.u[-1], tspan=(PERIOD, 0.0))
    back = sml.solve(problem, alg, "native", dt=0.05, tstops=there.t)
    assert np.abs(back.u[-1] - there.u[0]).max() < 1e-13


@pytest.mark.parametrize("alg", ["KahanLi8", "McAte4"])
def test_agrees_with_vern7(alg):
    times = np.linspace(0.1, 2.0, 7) * PERIOD
    problem = kepler(2.0)
    exact = sml.solve(problem, "Vern7", "native", saveat=times, abstol=1e-13, reltol=1e-13)
    found = sml.solve(problem, alg, "native", dt=PERIOD / 2000, saveat=times)
    assert np.abs(found.u - exact.u).max() < 1e-9


def test_times_inside_steps_have_the_order_of_the_method_and_change_nothing():
    problem = kepler()
    times = np.array([0.0, 0.111, 0.112, 3.3, PERIOD])
    saved = sml.solve(problem, "KahanLi8", "native", dt=PERIOD / 60, saveat=times)
    plain = sml.solve(problem, "KahanLi8", "native", dt=PERIOD / 60)
    assert np.abs(saved.u - kepler_exact(times)).max() < 1e-8
    assert np.array_equal(saved.u[-1], plain.u[-1])


def test_dense_output_is_cubic():
    solution = sml.solve(oscillator(), "KahanLi6", "native", dt=0.05)
    assert len(solution.t) == 61
    middle = 0.5 * (solution.t[1:] + solution.t[:-1])
    error = np.abs(solution(middle) - oscillator_exact(middle)).max()
    assert 1e-9 < error < 0.05**4 * 2 * 1.5**2 / 384 * 2  # h^4 max |x''''|/384, |v''''| = 2 w^5
    assert np.array_equal(solution(solution.t), solution.u)


def test_output_options():
    problem = oscillator()
    some = sml.solve(problem, "Ruth3", "native", dt=0.1, save_idxs=[1], tstops=[0.25])
    assert some.u.shape == (32, 1)
    assert 0.25 in some.t
    ends = sml.solve(problem, "Ruth3", "native", dt=0.1, save_everystep=False)
    assert ends.t.tolist() == [0.0, 3.0]
    assert ends.stats.nf == 90
    assert sml.solve(problem, "VelocityVerlet()", "native", dt=0.1).stats.nf == 31


def test_failures_keep_what_was_computed():
    few = sml.solve(oscillator(), "Ruth3", "native", dt=0.1, maxiters=5, raise_on_failure=False)
    assert few.retcode == "MaxIters"
    assert len(few.t) == 6
    away = sml.SecondOrderODEProblem(lambda du, u, p, t: u**3, [10.0], [10.0], (0.0, 5.0))
    lost = sml.solve(away, "VelocityVerlet", "native", dt=0.1, raise_on_failure=False)
    assert lost.retcode == "Unstable"
    assert np.isfinite(lost.u).all()


def test_ensemble():
    u0 = np.stack([[[0.0], [x]] for x in (1.0, 2.0, 3.0)])
    found = sml.solve_ensemble(
        oscillator(), u0=u0, alg="Yoshida6", engine="native", dt=0.05, saveat=1.0
    )
    assert np.abs(found.u - u0[:, 1, 0, None, None, None] * oscillator_exact(found.t)).max() < 1e-8
