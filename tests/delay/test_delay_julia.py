"""Delay differential equations by DelayDiffEq."""

from __future__ import annotations

import delay_cases as cases
import numpy as np
import pytest

import pysciml as sml

pytestmark = pytest.mark.julia


def test_linear():
    times = np.linspace(0.0, 5.0, 51)
    exact = cases.linear_exact(times)
    for alg in (None, "Tsit5", "MethodOfSteps(Vern7())", "Rodas5P", "AutoTsit5(Rosenbrock23)"):
        sol = sml.solve(cases.linear(), alg, "julia", abstol=1e-9, reltol=1e-9)
        assert sol(times) == pytest.approx(exact, abs=2e-8), alg
        assert {1.0, 2.0, 3.0} <= set(sol.t), alg  # where the solution has kinks
    assert sol.alg == "MethodOfSteps(Auto(Tsit5, Rosenbrock23))"


def test_fbdf_ends():
    """Its steps cannot be iterated, so they have to be shorter than the lag."""
    sol = sml.solve(cases.linear(), "FBDF", "julia", saveat=[2.5, 5.0], abstol=1e-7, reltol=1e-7)
    assert sol.u == pytest.approx(cases.linear_exact(sol.t), abs=1e-5)
    with pytest.raises(sml.UnsupportedError, match="FBDF cannot take these lags"):
        sml.solve(cases.elsgolts_problem(), "FBDF", "julia")


def test_lag_is_a_parameter():
    problem = cases.linear()
    sml.solve(problem, engine="julia")
    other = problem.remake(p=[0.7, 1.5])
    assert other.delays is problem.delays
    sol = sml.solve(other, engine="julia", saveat=0.25, abstol=1e-10, reltol=1e-10)
    assert sol.u == pytest.approx(cases.linear_exact(sol.t, 0.7, 1.5), abs=1e-8)


def test_mackey_glass():
    times = np.linspace(0.0, 100.0, 41)
    p = cases.MACKEY_GLASS

    def f(u, past):
        return p["beta"] * past / (1 + past ** p["n"]) - p["gamma"] * u

    reference = cases.method_of_steps(f, lambda t: 1.2 + 0.0 * t, p["lag"], 100.0, times)
    sol = sml.solve(
        cases.mackey_glass_problem(), engine="julia", saveat=times, abstol=1e-11, reltol=1e-11
    )
    assert sol.u == pytest.approx(reference, abs=1e-8)
    stiff = sml.solve(
        cases.mackey_glass_problem(), "Rodas5P", "julia", saveat=times, abstol=1e-9, reltol=1e-9
    )
    assert stiff.u == pytest.approx(reference, abs=1e-6)


@pytest.mark.parametrize("f", cases.LEAPING)
def test_lag_leaps(f):
    sol = sml.solve(cases.leaping(f), "Tsit5", "julia", abstol=1e-9, reltol=1e-9)
    # at its steps: inside the one that ends at the leap, the last slope is that behind it
    assert sol.u == pytest.approx(cases.leaping_exact(sol.t), abs=1e-6)


def test_lag_depends_on_the_state():
    problem = cases.elsgolts_problem()
    sol = sml.solve(problem, "Vern7", "julia", abstol=1e-10, reltol=1e-10)
    assert sol.u == pytest.approx(cases.elsgolts_exact(sol.t), rel=1e-8)


def test_given_lags():
    given = sml.DDEProblem(
        cases.elsgolts,
        1.0,
        1.0,
        (1.0, 10.0),
        dependent_lags=[lambda u, p, t: t - np.log(u)],
    )
    sol = sml.solve(given, "Vern7", "julia", abstol=1e-10, reltol=1e-10)
    assert sol.u == pytest.approx(cases.elsgolts_exact(sol.t), rel=1e-8)
    constant = sml.DDEProblem(
        cases.minus_the_past, 1.0, 1.0, (0.0, 5.0), [1.0, 1.0], constant_lags=[1.0, 1.7]
    )
    sol = sml.solve(constant, "Tsit5", "julia", abstol=1e-8, reltol=1e-8)
    assert {1.0, 1.7} <= set(sol.t)
    with pytest.raises(ValueError, match=r"constant_lags must contain.*h\(p, t - 1.2\)"):
        sml.solve(constant.remake(p=[1.0, 1.2]), engine="julia")


def test_neutral():
    problem = sml.DDEProblem(cases.neutral, 0.0, lambda p, t: t, (0.0, 6.0))
    assert problem.delays.is_neutral
    sol = sml.solve(problem, "Tsit5", "julia", abstol=1e-9, reltol=1e-9)
    assert sol.u == pytest.approx(cases.neutral_exact(sol.t), abs=1e-7)
    assert {1.0, 2.0, 3.0, 4.0, 5.0} <= set(sol.t)


def test_state_of_any_shape_in_place():
    """Two copies of the linear equation, with other signs and an entry by index."""

    def f(du, u, h, p, t):
        past = h(p, t - 1.0)
        du[0, 0] = -past[0, 0]
        du[0, 1] = -h(p, t - 1.0, idxs=1)
        du[1, :] = -past[1, :]

    start = np.array([[1.0, 2.0], [3.0, 4.0]])
    problem = sml.DDEProblem(f, start, start, (0.0, 3.0))
    sol = sml.solve(problem, engine="julia", saveat=0.5, abstol=1e-10, reltol=1e-10)
    exact = cases.linear_exact(sol.t)[:, None, None] * start
    assert sol.u == pytest.approx(exact, abs=1e-8)


def test_jump_at_the_start():
    """u0 need not be h(p, t0): with u = 0 before 0, u' = -u(t - 1) rests at u(0) until t = 1."""
    problem = sml.DDEProblem(cases.minus_the_past, 1.0, 0.0, (0.0, 3.0), [1.0, 1.0])
    sol = sml.solve(problem, engine="julia", saveat=[0.5, 1.0, 2.0, 3.0], abstol=1e-9, reltol=1e-9)
    assert sol.u == pytest.approx([1.0, 1.0, 0.0, -0.5], abs=1e-7)


def test_options():
    problem = cases.linear()
    fixed = sml.solve(problem, "Tsit5", "julia", dt=0.125, adaptive=False, save_everystep=False)
    assert list(fixed.t) == [0.0, 5.0]
    assert fixed.u[-1] == pytest.approx(cases.linear_exact(np.array(5.0)), abs=1e-7)
    few = sml.solve(problem, "Tsit5", "julia", maxiters=4, raise_on_failure=False)
    assert few.retcode == "MaxIters"
    short = sml.solve(problem, "Vern7", "julia", alg_options={"constrained": True})
    assert np.diff(short.t).max() <= 1.0
    with pytest.raises(sml.UnsupportedError, match="no method 'Tsit6'"):
        sml.solve(problem, "MethodOfSteps(Tsit6())", "julia")


def test_some_components():
    """The ones that are kept, at the steps and between them."""
    problem = sml.DDEProblem(lambda u, h, p, t: -h(p, t - 1.0), [1.0, 2.0], [1.0, 2.0], (0.0, 3.0))
    sol = sml.solve(problem, engine="julia", save_idxs=[1], abstol=1e-9, reltol=1e-9)
    assert sol.u[:, 0] == pytest.approx(2.0 * cases.linear_exact(sol.t), abs=1e-7)
    assert sol(2.5) == pytest.approx([2.0 * cases.linear_exact(np.array(2.5))], abs=1e-7)


def test_ensemble():
    """Engines without ensembles of their own solve one after the other."""
    rates = np.array([0.5, 1.0, 1.5])
    p = np.stack([rates, np.ones(3)], axis=1)
    tolerances = {"abstol": 1e-9, "reltol": 1e-9}
    found = sml.solve_ensemble(
        cases.linear(), p=p, engine="julia", saveat=[2.0, 5.0], progress=False, **tolerances
    )
    exact = [cases.linear_exact(np.array([2.0, 5.0]), rate) for rate in rates]
    assert found.u == pytest.approx(np.array(exact), abs=1e-7)


def test_gradients_are_those_of_the_native_engine():
    """By rate, lag and u0: the sensitivity equations are a delay problem on every engine."""
    options = {"alg": "MethodOfSteps(Vern7())", "saveat": 0.5, "abstol": 1e-10, "reltol": 1e-10}
    problem = cases.linear(0.7, 4.0)
    julia, native = (
        sml.gradient(problem, lambda u: (u**2).sum(), engine=engine, **options)
        for engine in ("julia", "native")
    )
    assert julia.value == pytest.approx(native.value, rel=1e-8)
    assert julia.p == pytest.approx(native.p, rel=1e-7)
    assert julia.u0 == pytest.approx(native.u0, rel=1e-7)
