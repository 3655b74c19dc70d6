"""Boundary value problems by BoundaryValueDiffEq, where it is in the Julia environment."""

from __future__ import annotations

import boundary_cases as cases
import numpy as np
import pytest

import pysciml as sml

pytestmark = pytest.mark.julia

METHODS = (
    "MIRK4",
    "Shooting",
    "Shooting(Vern7())",
    "MultipleShooting(4, Tsit5)",
)
TIGHT = {"engine": "julia", "abstol": 1e-9, "reltol": 1e-9}


@pytest.fixture(autouse=True)
def needs_the_packages():
    from pysciml.engines.julia import session

    try:
        session.extension("PySciMLBoundaryExt")
    except sml.EngineUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("alg", METHODS)
def test_two_points(alg):
    sol = sml.solve(cases.sine(), alg, **TIGHT)
    assert sol.t[[0, -1]] == pytest.approx([0.0, np.pi / 2])
    assert sol.u == pytest.approx(cases.sine_exact(sol.t), abs=1e-7)
    assert sol(0.3) == pytest.approx(cases.sine_exact(np.array(0.3)), abs=1e-6)
    assert sol.alg.startswith(alg.partition("(")[0])
    other = sml.solve(cases.sine().remake(p=[1.5]), alg, saveat=0.5, save_idxs=[1], **TIGHT)
    assert other.u[:, 0] == pytest.approx(cases.sine_exact(other.t, 1.5)[:, 1], abs=1e-6)


@pytest.mark.parametrize("alg", METHODS)
def test_conditions_inside(alg):
    sol = sml.solve(cases.inside(), alg, **TIGHT)
    assert sol.u == pytest.approx(cases.inside_exact(sol.t), abs=1e-6)


@pytest.mark.parametrize("alg", [None, "RadauIIa5"])
def test_branches_of_bratu(alg):
    for height, upper in ((0.0, False), (4.0, alg is not None)):
        problem = cases.bratu_problem(1.0, height)
        sol = sml.solve(problem, alg, saveat=0.125, dt=0.02, **TIGHT)
        assert sol.u[:, 0] == pytest.approx(cases.bratu_exact(sol.t, upper=upper), abs=1e-6)


def test_pendulum_as_on_the_native_engine():
    times = np.linspace(0.0, np.pi / 2, 9)
    sol = sml.solve(cases.pendulum_problem(), "MIRK6", saveat=times, **TIGHT)
    native = sml.solve(
        cases.pendulum_problem(), engine="native", saveat=times, abstol=1e-9, reltol=1e-9
    )
    assert sol.u == pytest.approx(native.u, abs=1e-6)


def test_wrong_calls():
    with pytest.raises(sml.UnsupportedError, match="BoundaryValueDiffEq has no method 'MIRK44'"):
        sml.solve(cases.sine(), "MIRK44", "julia")
    with pytest.raises(sml.UnsupportedError, match="no method Tsit5 for boundary value problems"):
        sml.solve(cases.sine(), "Tsit5", "julia")
    with pytest.raises(sml.UnsupportedError, match="have no meaning for a BVProblem"):
        sml.solve(cases.sine(), engine="julia", tstops=[0.5])
