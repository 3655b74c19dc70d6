"""Boundary value problems on the native engine: shooting and collocation."""

from __future__ import annotations

import boundary_cases as cases
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import pysciml as sml

METHODS = ("Collocation", "Shooting", "Shooting(Vern7)", "Shooting(Rodas5P)")
TIGHT = {"engine": "native", "abstol": 1e-9, "reltol": 1e-9}


@pytest.mark.parametrize("alg", METHODS)
def test_sine(alg):
    sol = sml.solve(cases.sine(), alg, **TIGHT)
    assert sol.t[[0, -1]] == pytest.approx([0.0, np.pi / 2], abs=0.0)
    assert sol.u == pytest.approx(cases.sine_exact(sol.t), abs=1e-8)
    assert sol(0.3) == pytest.approx(cases.sine_exact(np.array(0.3)), abs=1e-8)
    assert sol.alg.startswith(alg.partition("(")[0])
    other = sml.solve(cases.sine().remake(p=[1.5]), alg, saveat=0.5, save_idxs=[1], **TIGHT)
    assert other.u[:, 0] == pytest.approx(cases.sine_exact(other.t, 1.5)[:, 1], abs=1e-8)


@pytest.mark.parametrize("alg", METHODS)
def test_bratu(alg):
    sol = sml.solve(cases.bratu_problem(), alg, saveat=0.125, **TIGHT)
    assert sol.u[:, 0] == pytest.approx(cases.bratu_exact(sol.t), abs=1e-8)


def test_the_guess_chooses_the_branch():
    upper = sml.solve(cases.bratu_problem(1.0, height=4.0), saveat=0.125, **TIGHT)
    assert upper.u[:, 0] == pytest.approx(cases.bratu_exact(upper.t, upper=True), abs=1e-7)
    lower = sml.solve(upper.problem.remake(u0=[0.0, 0.0]), saveat=0.125, **TIGHT)
    assert lower.u[:, 0] == pytest.approx(cases.bratu_exact(lower.t), abs=1e-8)


@pytest.mark.parametrize("alg", METHODS)
def test_conditions_inside(alg):
    sol = sml.solve(cases.inside(), alg, **TIGHT)
    assert np.all(np.diff(sol.t) > 0.0)
    assert sol.u == pytest.approx(cases.inside_exact(sol.t), abs=1e-7)


@pytest.mark.parametrize("alg", METHODS)
def test_pendulum(alg):
    """Its conditions hold, and SciPy, started where it starts, goes the same way."""
    sol = sml.solve(cases.pendulum_problem(), alg, saveat=np.linspace(0, np.pi / 2, 9), **TIGHT)
    assert sol.u[[4, 8], 0] == pytest.approx([-np.pi / 2, np.pi / 2], abs=1e-8)
    run = solve_ivp(
        lambda t, u: [u[1], -9.81 * np.sin(u[0])],
        (0.0, np.pi / 2),
        sol.u[0],
        method="DOP853",
        t_eval=sol.t,
        rtol=1e-12,
        atol=1e-12,
    )
    assert sol.u == pytest.approx(run.y.T, abs=1e-6)


@pytest.mark.parametrize("alg", METHODS[:2])
def test_backwards_in_time_and_any_shape(alg):
    def f(u, p, t):
        return [[u[0, 1], -u[0, 0]]]

    def bc(u, p, t):
        return [u(t[0])[0, 0] - 1.0, u(t[1])[0, 0]]

    problem = sml.BVProblem(f, bc, [[0.0, 0.0]], (np.pi / 2, 0.0))
    sol = sml.solve(problem, alg, **TIGHT)
    assert sol.t[0] > sol.t[-1] == 0.0
    assert sol.u[:, 0] == pytest.approx(cases.sine_exact(sol.t), abs=1e-8)


def test_dt_is_the_first_mesh():
    coarse, fine = (
        sml.solve(cases.sine(), dt=dt, engine="native", reltol=1.0) for dt in (0.5, 0.1)
    )
    assert (len(coarse.t), len(fine.t)) == (5, 17)


def test_ensemble():
    ws = np.array([[0.5], [1.0], [1.5]])
    found = sml.solve_ensemble(cases.sine(), p=ws, saveat=[0.5, 1.0], progress=False, **TIGHT)
    exact = [cases.sine_exact(np.array([0.5, 1.0]), w) for (w,) in ws]
    assert found.u == pytest.approx(np.array(exact), abs=1e-8)


def test_no_solution():
    """Bratu's problem has none beyond 3.5138..."""
    problem = cases.bratu_problem(4.0)
    with pytest.raises(sml.SolveError, match="Collocation on the native engine found no solution"):
        sml.solve(problem, engine="native", maxiters=1000)
    lost = sml.solve(problem, "Shooting", "native", raise_on_failure=False)
    assert lost.retcode == "ConvergenceFailure"
    assert "the conditions are missed by" in lost.message


def test_a_shot_that_is_lost():
    """u' = u^2 from a guess that blows up before t1."""
    problem = sml.BVProblem(lambda u, p, t: u * u, lambda u, p, t: u(0.0) - 0.5, 2.0, (0.0, 1.0))
    with pytest.raises(sml.SolveError, match="initial value problem that a shot solves stopped"):
        sml.solve(problem, "Shooting", "native")
    sol = sml.solve(problem.remake(u0=0.4), "Shooting", **TIGHT)
    assert sol.u == pytest.approx(1.0 / (2.0 - sol.t), rel=1e-8)
