"""Methods that treat the terms of a sum differently, on Julia: IMEX and exponential ones."""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import pysciml as sml
from pysciml.engines.julia.two_parts import kinds

pytestmark = pytest.mark.julia

# Their orders on the stiff problem below, some of which are reduced by its stiffness.
ORDERS = {
    "KenCarp3": 3,
    "KenCarp4": 4,
    "KenCarp47": 4,
    "KenCarp5": 5,
    "KenCarp58": 5,
    "CFNLIRK3": 3,
    "ARS222": 2,
    "ARS232": 2,
    "ARS343": 3,
    "ARS443": 3,
    "IMEXSSP222": 2,
    "IMEXSSP2322": 2,
    "IMEXSSP3332": 2,
    "IMEXSSP3433": 3,
    "BHR553": 3,
    "IMEXEuler": 1,
    "IMEXEulerARK": 1,
    "SBDF2": 2,
    "CNAB2": 2,
    "CNLF2": 2,
    "LawsonEuler": 1,
    "NorsettEuler": 1,
    "ETD1": 1,
    "ETD2": 2,
    "ETDRK2": 2,
    "ETDRK3": 3,
    "ETDRK4": 4,
    "HochOst4": 4,
}
# each of them costs the compilation of its solver
TRIED = ORDERS if "PYSCIML_ALL_METHODS" in os.environ else ("SBDF2", "CNAB2", "ETDRK4")

N = 16
X = np.arange(1, N + 1) / (N + 1)
START = np.sin(np.pi * X) + 0.3 * np.sin(2.0 * np.pi * X)
END = 0.5
P = {"spread": 0.1, "growth": 4.0}


def diffusion(u, p, t):
    """Between two zeros: the largest eigenvalue is -115."""
    left, right = np.concatenate([0.0 * u[:1], u[:-1]]), np.concatenate([u[1:], 0.0 * u[-1:]])
    return p["spread"] * (N + 1) ** 2 * (left - 2.0 * u + right)


def reaction(u, p, t):
    return p["growth"] * u * (1.0 - u) * (u + 0.5)


def stiff() -> sml.SplitODEProblem:
    return sml.SplitODEProblem(diffusion, reaction, START, (0.0, END), P)


@pytest.fixture(scope="module")
def exact():
    """SciPy's, at 1e-13."""
    found = solve_ivp(
        lambda t, u: diffusion(u, P, t) + reaction(u, P, t), (0.0, END), START, "DOP853",
        rtol=1e-13, atol=1e-14,
    )  # fmt: skip
    return found.y[:, -1]


def test_the_table_has_them():
    in_sums = {name for name, kind in kinds().items() if kind in ("split", "exponential")}
    assert in_sums == ORDERS.keys()


@pytest.mark.parametrize("alg", TRIED)
def test_order(alg, exact):
    errors = []
    for n in (40, 80, 160):
        found = sml.solve(
            stiff(), alg, "julia", dt=END / n, adaptive=False, saveat=END, abstol=1e-11,
            reltol=1e-11,
        )  # fmt: skip
        assert found.alg == ("NorsettEuler" if alg == "ETD1" else alg)
        errors.append(np.abs(found.u[-1] - exact).max())
    assert errors[0] < 0.05
    assert np.log2(errors[1] / errors[2]) == pytest.approx(ORDERS[alg], abs=0.35)


@pytest.mark.parametrize("alg", ["KenCarp4", "KenCarp47"])
def test_steps_that_are_chosen_keep_the_tolerance(alg, exact):
    """Where f2, which is explicit, decides on them."""
    found = sml.solve(stiff(), alg, "julia", saveat=END, abstol=1e-8, reltol=1e-8)
    assert np.abs(found.u[-1] - exact).max() < 1e-7


def test_kencarp4_chooses_its_steps_and_f2_is_explicit(exact):
    """Without f2's Jacobian: the terms are not added up."""
    found = sml.solve(stiff(), "KenCarp4", "julia", saveat=END, abstol=1e-8, reltol=1e-8)
    assert np.abs(found.u[-1] - exact).max() < 1e-5
    whole = sml.ODEProblem(
        lambda u, p, t: diffusion(u, p, t) + reaction(u, p, t), START, (0.0, END), P
    )
    other = sml.solve(whole, "KenCarp4", "julia", saveat=END, abstol=1e-8, reltol=1e-8)
    assert np.abs(other.u[-1] - exact).max() < 1e-5
    assert found.stats != other.stats


def test_steps_far_beyond_what_explicit_methods_bear():
    """A step of 0.1 where forward Euler bears 2/115."""
    problem = stiff().remake(tspan=(0.0, 20.0))
    found = sml.solve(problem, "IMEXEuler", "julia", dt=0.1, saveat=20.0)
    resid = diffusion(found.u[-1], P, 0.0) + reaction(found.u[-1], P, 0.0)
    assert np.abs(resid).max() < 1e-6


def test_exponential_methods_are_exact_where_f2_is_zero():
    """exp(t A) u0 in one step, for each p."""
    from scipy.linalg import expm

    problem = sml.SplitODEProblem(
        lambda u, p, t: [-p * u[0] + u[1], -100.0 * p * u[1]],
        lambda u, p, t: 0.0 * u,
        [1.0, 2.0],
        (0.0, 1.0),
        1.0,
    )
    for p in (1.0, 0.3):
        found = sml.solve(problem.remake(p=p), "ETDRK4", "julia", dt=1.0, saveat=1.0)
        matrix = np.array([[-p, 1.0], [0.0, -100.0 * p]])
        assert found.u[-1] == pytest.approx(expm(matrix) @ [1.0, 2.0], rel=1e-11)


def test_a_sparse_jacobian(exact):
    """Of 100 states: dense ones are left at 64."""
    n, end = 100, 0.01
    x = np.arange(1, n + 1) / (n + 1)

    def spread(u, p, t):
        left, right = np.concatenate([0.0 * u[:1], u[:-1]]), np.concatenate([u[1:], 0.0 * u[-1:]])
        return p * (n + 1) ** 2 * (left - 2.0 * u + right)

    u0 = np.sin(np.pi * x)
    problem = sml.SplitODEProblem(spread, lambda u, p, t: -0.5 * u, u0, (0.0, end), 1.0)
    decay = 4.0 * (n + 1) ** 2 * np.sin(0.5 * np.pi / (n + 1)) ** 2 + 0.5
    for alg, tolerance in (("ETDRK4", 1e-9), ("SBDF2", 1e-5)):
        found = sml.solve(problem, alg, "julia", dt=end / 50, saveat=end)
        assert found.u[-1] == pytest.approx(np.exp(-decay * end) * u0, rel=tolerance)


def test_events():
    """u = exp(-t) + ..., whose sum of terms falls through a half at log 2, as it does unsplit."""
    event = sml.ContinuousEvent(lambda u, p, t: u[0] - 0.5, terminal=True)
    problem = sml.SplitODEProblem(
        lambda u, p, t: -0.75 * u, lambda u, p, t: -0.25 * u, [1.0], (0.0, 2.0), events=[event]
    )
    found = sml.solve(problem, "KenCarp4", "julia", abstol=1e-10, reltol=1e-10)
    assert found.retcode == "Terminated"
    assert found.t[-1] == pytest.approx(np.log(2.0), rel=1e-7)


def test_gradients_are_those_of_the_sum():
    """L = u(1)^2 with u = exp(-(a + b) t)."""
    problem = sml.SplitODEProblem(
        lambda u, p, t: -p["a"] * u, lambda u, p, t: -p["b"] * u, [1.0], (0.0, 1.0),
        {"a": 0.5, "b": 0.3},
    )  # fmt: skip
    found = sml.gradient(
        problem, lambda u: (u[-1] ** 2).sum(), "Tsit5", "julia", saveat=1.0, sensealg="adjoint",
        abstol=1e-10, reltol=1e-10,
    )  # fmt: skip
    for name in "ab":
        assert found.p[name] == pytest.approx(-2.0 * np.exp(-1.6), rel=1e-7)


def test_a_fixed_step_is_needed():
    with pytest.raises(ValueError, match="SBDF2 with a fixed step needs dt"):
        sml.solve(stiff(), "SBDF2", "julia")
