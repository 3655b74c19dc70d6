"""Delay differential equations with constant lags on the native engine."""

from __future__ import annotations

import delay_cases as cases
import numpy as np
import pytest

import pysciml as sml

TIGHT = {"engine": "native", "abstol": 1e-10, "reltol": 1e-10}


@pytest.mark.parametrize("alg", [None, "Tsit5", "MethodOfSteps(Vern7())", "DP5", "Vern6"])
def test_linear(alg):
    times = np.linspace(0.0, 5.0, 51)
    sol = sml.solve(cases.linear(), alg, **TIGHT)
    assert sol(times) == pytest.approx(cases.linear_exact(times), abs=1e-9)
    assert {1.0, 2.0, 3.0, 4.0} <= set(sol.t)  # where the solution has kinks
    assert np.diff(sol.t).max() <= 1.0
    assert sol.alg.startswith("MethodOfSteps(")


@pytest.mark.parametrize(("alg", "order"), [("Heun", 2), ("BS3", 3), ("RK4", 4)])
def test_orders(alg, order):
    def error(dt: float) -> float:
        sol = sml.solve(cases.linear(), alg, "native", dt=dt, adaptive=False, saveat=[4.6, 5.0])
        return np.abs(sol.u - cases.linear_exact(sol.t)).max()

    coarse, fine = error(0.05), error(0.025)
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.35)


def test_lag_is_a_parameter():
    problem = cases.linear()
    other = problem.remake(p=[0.7, 1.5])
    sol = sml.solve(other, saveat=0.25, **TIGHT)
    assert other.delays is problem.delays
    assert sol.u == pytest.approx(cases.linear_exact(sol.t, 0.7, 1.5), abs=1e-9)


@pytest.mark.parametrize(("tolerance", "error"), [(1e-6, 1e-4), (1e-9, 1e-7), (1e-11, 1e-9)])
def test_mackey_glass(tolerance, error):
    times = np.linspace(0.0, 100.0, 41)
    p = cases.MACKEY_GLASS

    def f(u, past):
        return p["beta"] * past / (1 + past ** p["n"]) - p["gamma"] * u

    reference = cases.method_of_steps(f, lambda t: 1.2 + 0.0 * t, p["lag"], 100.0, times)
    problem = cases.mackey_glass_problem()
    sol = sml.solve(problem, engine="native", saveat=times, abstol=tolerance, reltol=tolerance)
    assert sol.u == pytest.approx(reference, abs=error)


def test_neutral():
    problem = sml.DDEProblem(cases.neutral, 0.0, lambda p, t: t, (0.0, 6.0))
    sol = sml.solve(problem, "Tsit5", **TIGHT)
    assert sol.u == pytest.approx(cases.neutral_exact(sol.t), abs=1e-12)
    assert {1.0, 2.0, 3.0, 4.0, 5.0} <= set(sol.t)


def test_two_lags_in_place():
    """u' = u(t - 1) - v(t - 1.7), v' = u(t) by hand for a while: before t = 1 both pasts are known.

    With u = v = t before 0: u = t^2/2 - t - t^2/2 + 1.7 t = 0.7 t and v = 0.35 t^2.
    """

    def f(du, u, h, p, t):
        du[0] = h(p, t - 1.0)[0] - h(p, t - p, idxs=1)
        du[1] = u[0]

    problem = sml.DDEProblem(f, [0.0, 0.0], lambda p, t: [t, t], (0.0, 3.0), 1.7)
    sol = sml.solve(problem, **TIGHT)
    early = np.linspace(0.0, 1.0, 11)
    assert sol(early)[:, 0] == pytest.approx(0.7 * early, abs=1e-9)
    assert sol(early)[:, 1] == pytest.approx(0.35 * early**2, abs=1e-9)
    assert {1.0, 1.7, 2.0, 2.7} <= set(sol.t)
    # and from the solution itself: u' where it is smooth
    t = 2.4
    slope = (sol(t + 1e-4)[0] - sol(t - 1e-4)[0]) / 2e-4
    assert slope == pytest.approx(sol(t - 1.0)[0] - sol(t - 1.7)[1], abs=1e-7)


def test_state_of_any_shape():
    def f(u, h, p, t):
        return -h(p, t - 1.0)

    start = np.array([[1.0, 2.0], [3.0, 4.0]])
    sol = sml.solve(sml.DDEProblem(f, start, start, (0.0, 3.0)), saveat=0.5, **TIGHT)
    exact = cases.linear_exact(sol.t)[:, None, None] * start
    assert sol.u == pytest.approx(exact, abs=1e-9)


def test_jump_at_the_start():
    """u0 need not be h(p, t0): with u = 0 before 0, u' = -u(t - 1) rests at u(0) until t = 1."""
    problem = sml.DDEProblem(cases.minus_the_past, 1.0, 0.0, (0.0, 3.0), [1.0, 1.0])
    sol = sml.solve(problem, saveat=[0.5, 1.0, 2.0, 3.0], **TIGHT)
    assert sol.u == pytest.approx([1.0, 1.0, 0.0, -0.5], abs=1e-12)


def test_a_start_that_is_not_zero():
    """Lags and times that are no binary numbers: the kinks are met all the same."""
    problem = sml.DDEProblem(cases.minus_the_past, 1.0, 0.0, (12.3, 14.4), [1.0, 0.7])
    sol = sml.solve(problem, "Tsit5", **TIGHT)
    late = np.maximum(sol.t - 13.0, 0.0)  # rests until 13, then -1, then bends at 13.7
    bent = np.maximum(sol.t - 13.7, 0.0)
    assert sol.u == pytest.approx(1.0 - late + bent**2 / 2, abs=1e-12)


def test_output_and_options():
    problem = cases.linear()
    sol = sml.solve(problem, saveat=[0.5, 5.0], save_idxs=[0], **TIGHT)
    assert sol.u[:, 0] == pytest.approx(cases.linear_exact(sol.t), abs=1e-9)
    assert not sol.has_dense
    assert list(sml.solve(problem, save_everystep=False, **TIGHT).t) == [0.0, 5.0]
    stopped = sml.solve(problem, tstops=[0.123], dtmax=0.5, **TIGHT)
    assert 0.123 in stopped.t
    assert np.diff(stopped.t).max() <= 0.5 + 1e-12
    few = sml.solve(problem, "Tsit5", "native", maxiters=4, raise_on_failure=False)
    assert few.retcode == "MaxIters"
    many = sml.solve_ensemble(
        problem, p=[[0.5, 1.0], [1.5, 1.0]], saveat=[2.0, 5.0], progress=False, **TIGHT
    )
    exact = [cases.linear_exact(np.array([2.0, 5.0]), rate) for rate in (0.5, 1.5)]
    assert many.u == pytest.approx(np.array(exact), abs=1e-9)


def test_what_is_on_julia_only():
    for lags in ([], [lambda u, p, t: t - np.log(u)]):
        problem = sml.DDEProblem(cases.elsgolts, 1.0, 1.0, (1.0, 5.0), dependent_lags=lags)
        with pytest.raises(sml.UnsupportedError, match=r'takes constant lags only.*"julia" takes'):
            sml.solve(problem, engine="native")
    for alg in ("Rodas5P", "AutoTsit5(Rodas5P)", "KahanLi8"):
        with pytest.raises(sml.UnsupportedError, match=r"is not explicit.*takes explicit methods"):
            sml.solve(cases.linear(), alg, "native", dt=0.1)
