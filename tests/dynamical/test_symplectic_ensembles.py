"""Ensembles by the native engine's symplectic methods: to the last bit those of single solves."""

from __future__ import annotations

import numpy as np
import pytest
from dynamical_cases import PERIOD, SYMPLECTIC, energy, kepler, oscillator, oscillator_exact

import pysciml as sml

HOW = {"engine": "native", "dt": 0.05, "saveat": np.array([0.0, 0.3, 1.0, 2.99, 3.0])}


def starts(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 2, 1))


@pytest.mark.parametrize("alg", SYMPLECTIC)
@pytest.mark.parametrize("options", [{}, {"save_idxs": [1]}, {"tstops": [0.123, 2.0]}])
def test_each_trajectory_is_that_of_its_own_solve(alg, options):
    u0, p = starts(7), np.linspace(0.5, 4.0, 7)[:, None]
    found = sml.solve_ensemble(
        oscillator(), u0=u0, p=p, alg=alg, batch_size=3, progress=False, **HOW, **options
    )
    work = np.zeros(6, dtype=int)
    for i in range(len(found)):
        alone = sml.solve(found.problem_at(i), alg, **HOW, **options)
        np.testing.assert_array_equal(found.u[i], alone.u)
        work += alone.stats
    assert found.success
    assert found.alg == alg
    assert list(found.stats) == work.tolist()


def test_threads_change_nothing():
    ensembles = [
        sml.solve_ensemble(
            oscillator(), u0=starts(40), alg="KahanLi8", batch_size=5, progress=False, **HOW, **how
        )
        for how in ({"threads": 1}, {"threads": 2}, {"ensemblealg": "EnsembleSerial"})
    ]
    for other in ensembles[1:]:
        np.testing.assert_array_equal(other.u, ensembles[0].u)


def test_against_the_closed_form():
    p = np.linspace(0.5, 4.0, 6)
    found = sml.solve_ensemble(
        oscillator(), p=p[:, None], alg="KahanLi8", progress=False, **{**HOW, "dt": 0.01}
    )
    exact = np.stack([oscillator_exact(found.t, k) for k in p])
    assert np.abs(found.u - exact).max() < 1e-13


def test_energy_of_many_orbits():
    u0 = kepler().u0 * np.linspace(1.0, 1.02, 20)[:, None, None]
    found = sml.solve_ensemble(
        kepler(100), u0=u0, alg="KahanLi8", engine="native", dt=PERIOD / 60, saveat=25 * PERIOD,
        progress=False,
    )  # fmt: skip
    assert found.u.shape == (20, 5, 2, 2)
    assert np.abs(energy(found.u) - energy(u0)[:, None]).max() < 1e-8


def test_one_that_fails_leaves_the_rest():
    """One orbit begins at the centre, where the force is infinite."""
    u0 = np.stack([kepler().u0, np.zeros((2, 2)), kepler().u0])
    with pytest.warns(RuntimeWarning, match="1 of 3 trajectories did not succeed"):
        found = sml.solve_ensemble(
            kepler(), u0=u0, alg="VerletLeapfrog", engine="native", dt=0.01, saveat=1.0,
            progress=False,
        )  # fmt: skip
    assert found.retcodes.tolist() == ["Success", "Unstable", "Success"]
    np.testing.assert_array_equal(found.u[0], found.u[2])
    assert np.isnan(found.u[1, 1:]).all()


def test_steps_beyond_one_chunk():
    how = {"engine": "native", "dt": 1e-4, "saveat": 3.0, "maxiters": 50_000}
    found = sml.solve_ensemble(oscillator(), u0=starts(2), alg="Ruth3", progress=False, **how)
    for i in range(2):
        np.testing.assert_array_equal(found.u[i], sml.solve(found.problem_at(i), "Ruth3", **how).u)


def test_events_are_refused():
    event = sml.ContinuousEvent(lambda u, p, t: u[1, 0], terminal=True)
    with pytest.raises(sml.UnsupportedError, match="Ruth3 has no events"):
        sml.solve_ensemble(oscillator(), n=2, alg="Ruth3", events=[event], progress=False, **HOW)
