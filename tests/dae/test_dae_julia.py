"""Implicit equations by OrdinaryDiffEq, and mass matrices beside them."""

from __future__ import annotations

import dae_cases as cases
import numpy as np
import pytest
from problems import robertson

import pysciml as sml

pytestmark = pytest.mark.julia

TIGHT = {"engine": "julia", "abstol": 1e-9, "reltol": 1e-9}


@pytest.mark.parametrize("alg", [None, "DNordsieckBDF"])
def test_robertson(alg):
    reference = robertson.ODE
    times = reference.saveat[reference.saveat <= 1e5]
    sol = sml.solve(
        cases.robertson_problem(1e5), alg, "julia", saveat=times, abstol=1e-12, reltol=1e-8
    )
    exact = reference.reference[: len(times)]
    assert sol.u == pytest.approx(exact, rel=1e-4, abs=1e-11)
    assert sol.u.sum(axis=1) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("alg", "digits"), [("DFBDF", 5), ("DABDF2", 3), ("DNordsieckBDF", 4)])
def test_pendulum(alg, digits):
    sol = sml.solve(cases.pendulum_problem(), alg, **TIGHT)
    length, energy = cases.invariants(sol.u)
    assert length == pytest.approx(1.0, abs=10.0**-digits)
    assert energy == pytest.approx(0.0, abs=10.0**-digits)
    assert sol.alg == alg
    beside = sml.solve(
        cases.pendulum_with_mass_matrix(),
        "Rodas5P",
        "native",
        saveat=[2.0],
        abstol=1e-11,
        reltol=1e-11,
    )
    assert sol(2.0) == pytest.approx(beside.u[0], abs=10.0 ** (1 - digits))


def test_initial_values_are_mended():
    problem = cases.pendulum_problem().remake(u0=[0.6, -0.8, 0.0, 0.0, 5.0], du0=np.zeros(5))
    with pytest.raises(ValueError, match="du0 and u0 must be consistent"):
        sml.solve(problem, engine="julia")
    sol = sml.solve(problem, initialize="BrownFullBasicInit", **TIGHT)
    with_mass = sml.solve(
        cases.pendulum_with_mass_matrix([0.6, -0.8, 0.0, 0.0, 5.0]),
        initialize="BrownFullBasicInit",
        **TIGHT,
    )
    assert sol.u[0] == pytest.approx([0.6, -0.8, 0.0, 0.0, -0.8 * cases.GRAVITY])
    assert sol.u[-1] == pytest.approx(with_mass.u[-1], abs=1e-5)


def test_options_and_names():
    problem = cases.pendulum_problem()
    sol = sml.solve(
        problem, "DFBDF", saveat=1.0, save_idxs=[1], alg_options={"max_order": 3}, **TIGHT
    )
    assert sol.u.shape == (4, 1)
    with pytest.raises(sml.UnsupportedError, match="a method for ODEs; for a DAEProblem there are"):
        sml.solve(problem, "Rodas5P", "julia")
    with pytest.raises(sml.UnsupportedError, match="it is a method for a DAEProblem"):
        sml.solve(cases.pendulum_with_mass_matrix(), "DFBDF", "julia")
