"""Adjoints of SciMLSensitivity: each method with each sort of solver, and what surrounds them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

import pysciml as sml
from pysciml import engines
from pysciml.engines.base import AdjointOptions, RawSolution, SolveOptions
from pysciml.engines.julia.adjoint import DISCRETE, SENSEALGS
from pysciml.errors import UnsupportedError

pytestmark = pytest.mark.julia

Array = np.ndarray
TIMES = np.linspace(0.0, 10.0, 21)


def lotka_volterra(u, p, t):
    return [p[0] * u[0] - p[1] * u[0] * u[1], -p[2] * u[1] + p[3] * u[0] * u[1]]


def relaxation(u, p, t):
    """Stiff: u[0] follows p[1] cos(p[2] t) at the rate p[0], and u[1] integrates it."""
    import torch

    return [-p[0] * (u[0] - p[1] * torch.cos(p[2] * t)), p[3] * u[0]]


@functools.cache
def model(name: str) -> sml.ODEProblem:
    if name == "lotka_volterra":
        return sml.ODEProblem(lotka_volterra, [1.0, 1.0], (0.0, 10.0), [1.5, 1.0, 3.0, 1.0])
    return sml.ODEProblem(relaxation, [2.0, 0.0], (0.0, 10.0), [1e4, 1.0, 1.3, 0.7])


def cotangents(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(3).standard_normal(shape)


def differentiated(
    problem: sml.ODEProblem,
    alg: str | None,
    sensealg: str | None = None,
    tolerance: float = 1e-10,
    saveat: Array | None = TIMES,
    checkpointing: bool | None = None,
    **options,
) -> tuple[RawSolution, Callable]:
    settings = SolveOptions(
        saveat=saveat,
        abstol=tolerance,
        reltol=tolerance,
        dense=False,
        **{"maxiters": 1_000_000, **options},
    )
    how = AdjointOptions(sensealg=sensealg, checkpointing=checkpointing)
    return engines.get("julia").solve_with_pullback(problem, alg, settings, how)


def pulled(problem: sml.ODEProblem, *how, **more) -> Array:
    """Gradient of sum(cotangents * saved states) with respect to u0 and p."""
    raw, pullback = differentiated(problem, *how, **more)
    assert raw.retcode == "Success"
    found = pullback(cotangents(raw.u.shape))
    return np.concatenate([found.u0, found.p])


@functools.cache
def reference(name: str) -> Array:
    """The same by fourth-order central differences of native solves at 1e-13."""
    problem = model(name)
    start = np.concatenate([problem.u0_flat, problem.p_flat])
    w = cotangents((TIMES.size, 2))
    alg = "Vern7" if name == "lotka_volterra" else "Rodas5P"

    def value(x: Array) -> float:
        moved = problem.remake(u0=x[:2], p=x[2:])
        return float((sml.solve(moved, alg, "native", TIMES, 1e-13, 1e-13).u * w).sum())

    found = []
    for i in range(start.size):
        e = np.zeros(start.size)
        e[i] = h = 1e-3 * max(abs(start[i]), 0.1)
        near, far = value(start + e) - value(start - e), value(start + 2 * e) - value(start - 2 * e)
        found.append((8 * near - far) / (12 * h))
    return np.array(found)


def error(found: Array, name: str) -> float:
    expected = reference(name)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


EXPLICIT = ("Tsit5", "DP5", "BS3", "Vern6", "Vern7", "Vern8", "Vern9", "DP8", "AutoTsit5(Rodas5P)")
STIFF = ("Rodas5P", "FBDF", "KenCarp4", "RadauIIA5", "AutoVern7(Rodas5P)", None)
DISCRETELY = ("Tsit5", "Vern6", "Vern7", "AutoTsit5(Rodas5P)")
FOR_STIFF = ("GaussAdjoint", "GaussKronrodAdjoint", "QuadratureAdjoint")


@pytest.mark.parametrize("sensealg", SENSEALGS[1:])
@pytest.mark.parametrize("alg", EXPLICIT)
def test_explicit_methods(alg: str, sensealg: str) -> None:
    assert error(pulled(model("lotka_volterra"), alg, sensealg), "lotka_volterra") < 1e-6


@pytest.mark.parametrize("alg", DISCRETELY)
def test_the_discrete_adjoint(alg: str) -> None:
    assert error(pulled(model("lotka_volterra"), alg, DISCRETE), "lotka_volterra") < 1e-6


@pytest.mark.parametrize("alg", ("Tsit5", "Vern7"))
def test_the_discrete_adjoint_differentiates_the_steps_themselves(alg: str) -> None:
    """With fixed steps the numbers are smooth functions of p, as wrong as they may be."""
    problem = model("lotka_volterra")
    how = {"adaptive": False, "dt": 0.25, "saveat": np.array([0.6, 2.0, 3.1, 9.9])}
    w = cotangents((4, 2))

    def value(x: Array) -> float:
        raw, _pullback = differentiated(problem.remake(u0=x[:2], p=x[2:]), alg, DISCRETE, **how)
        return float((raw.u * w).sum())

    start = np.concatenate([problem.u0_flat, problem.p_flat])
    _raw, pullback = differentiated(problem, alg, DISCRETE, **how)
    found = pullback(w)
    for i, slope in enumerate(np.concatenate([found.u0, found.p])):
        e = 1e-3 * np.eye(6)[i]
        near, far = value(start + e) - value(start - e), value(start + 2 * e) - value(start - 2 * e)
        assert slope == pytest.approx((8 * near - far) / 12e-3, rel=1e-7, abs=1e-7)


def test_the_discrete_adjoint_is_refused_where_there_is_none() -> None:
    for alg in ("DP5", "Rodas5P"):
        with pytest.raises(UnsupportedError, match="is for Tsit5, Vern6, Vern7"):
            differentiated(model("lotka_volterra"), alg, DISCRETE)


@pytest.mark.parametrize("sensealg", FOR_STIFF)
@pytest.mark.parametrize("alg", STIFF)
def test_stiff_methods(alg: str | None, sensealg: str) -> None:
    assert error(pulled(model("relaxation"), alg, sensealg, 1e-9), "relaxation") < 1e-6


@pytest.mark.parametrize(
    ("name", "alg", "sensealg"),
    [
        ("lotka_volterra", "Tsit5", DISCRETE),
        ("lotka_volterra", "Tsit5", "GaussAdjoint"),
        ("lotka_volterra", "Vern7", "GaussKronrodAdjoint"),
        ("lotka_volterra", "Tsit5", "InterpolatingAdjoint"),
        ("relaxation", "Rodas5P", "GaussAdjoint"),
        ("relaxation", None, "GaussKronrodAdjoint"),
        ("relaxation", "FBDF", "QuadratureAdjoint"),
    ],
)
def test_checkpoints_give_the_same_gradient(name: str, alg: str | None, sensealg: str) -> None:
    found = pulled(model(name), alg, sensealg, 1e-9, checkpointing=True)
    assert error(found, name) < 1e-6


def test_few_saved_times_and_many_checkpoints() -> None:
    """The checkpoints are steps, not the saved times; the last of these lies before t1."""
    problem = model("lotka_volterra")
    saveat = np.array([2.0, 7.3])
    plain = pulled(problem, "Tsit5", None, 1e-10, saveat)
    checkpointed = pulled(problem, "Tsit5", None, 1e-10, saveat, True)
    np.testing.assert_allclose(checkpointed, plain, rtol=1e-7)


@pytest.mark.parametrize("sensealg", FOR_STIFF)
@pytest.mark.parametrize("alg", ("Tsit5", "Rodas5P"))
def test_a_first_step_back_that_is_cut_short(alg: str, sensealg: str) -> None:
    """Free fall: one long step would do, there and back."""
    problem = sml.ODEProblem(lambda u, p, t: [u[1], -p[0]], [1.0, 0.3], (0.0, 0.7), [9.81])
    _, pullback = differentiated(problem, alg, sensealg, 1e-8, np.array([0.7]))
    assert pullback(np.ones((1, 2))).p[0] == pytest.approx(-0.5 * 0.7**2 - 0.7, rel=1e-9)


def test_the_default_method_is_right_where_it_switches() -> None:
    """Van der Pol's equation: stiff on the slow branches, not on the jumps."""

    def f(u, p, t):
        return [u[1], p[0] * (1.0 - u[0] ** 2) * u[1] - u[0]]

    problem = sml.ODEProblem(f, [2.0, 0.0], (0.0, 60.0), [30.0])
    saveat = np.array([10.0, 20.0, 60.0])
    w = cotangents((3, 2))

    def value(mu: float, u: float) -> float:
        moved = problem.remake(p=[mu], u0=[u, 0.0])
        return float((sml.solve(moved, "Rodas5P", "native", saveat, 1e-12, 1e-12).u * w).sum())

    raw, pullback = differentiated(problem, None, None, 1e-10, saveat)
    found = pullback(w)
    assert raw.alg == "Auto(Vern7, Rodas5P)"
    h = 1e-4
    by_p = (value(30 + h, 2.0) - value(30 - h, 2.0)) / (2 * h)
    by_u = (value(30.0, 2 + h) - value(30.0, 2 - h)) / (2 * h)
    assert found.p[0] == pytest.approx(by_p, rel=1e-5)
    assert found.u0[0] == pytest.approx(by_u, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("alg", ("Tsit5", "Vern7"))
def test_every_step_is_a_saved_state(alg: str) -> None:
    problem = model("lotka_volterra")
    raw, pullback = differentiated(problem, alg, None, 1e-9, None)
    assert raw.t[0] == 0.0
    assert raw.t[-1] == 10.0
    w = np.zeros_like(raw.u)
    w[-1] = [1.0, -2.0]
    found = pullback(w)
    _raw, same = differentiated(problem, alg, None, 1e-9, np.array([10.0]))
    expected = same(np.array([[1.0, -2.0]]))
    np.testing.assert_allclose(found.p, expected.p, rtol=1e-12)
    np.testing.assert_allclose(found.u0, expected.u0, rtol=1e-12)


def test_states_are_those_of_a_plain_solve() -> None:
    problem = model("lotka_volterra")
    raw, _pullback = differentiated(problem, "Tsit5", None, 1e-8)
    plain = sml.solve(problem, "Tsit5", "julia", TIMES, 1e-8, 1e-8)
    np.testing.assert_array_equal(raw.t, plain.t)
    np.testing.assert_allclose(raw.u, plain.u, rtol=1e-12)


def test_a_pullback_is_linear_and_can_be_called_again_much_later() -> None:
    problem = model("lotka_volterra")
    raw, pullback = differentiated(problem, "Tsit5")
    a, b = cotangents(raw.u.shape), cotangents(raw.u.shape)[::-1].copy()
    first, second = pullback(a), pullback(b)
    pulled(problem.remake(p=[1.0, 1.0, 1.0, 1.0]), "Tsit5")
    again = pullback(a)
    np.testing.assert_array_equal(again.p, first.p)
    np.testing.assert_array_equal(again.u0, first.u0)
    both = pullback(2e6 * a - 3e6 * b)
    np.testing.assert_allclose(both.p, 2e6 * first.p - 3e6 * second.p, rtol=1e-7)


def test_what_needs_no_solve() -> None:
    problem = model("lotka_volterra")
    raw, pullback = differentiated(problem, "Tsit5")
    nothing = pullback(np.zeros_like(raw.u))
    np.testing.assert_array_equal(np.concatenate([nothing.u0, nothing.p]), np.zeros(6))
    w = np.zeros_like(raw.u)
    w[0] = [3.0, 4.0]  # of the state at t0
    start = pullback(w)
    np.testing.assert_array_equal(start.u0, [3.0, 4.0])
    np.testing.assert_array_equal(start.p, np.zeros(4))
    w[1, 1] = np.nan
    assert np.isnan(pullback(w).p).all()


def test_backwards_in_time() -> None:
    def decay(u, p, t):
        return -p[0] * u

    problem = sml.ODEProblem(decay, [2.0], (1.0, -1.0), [0.5])
    saveat = np.array([0.5, 0.0, -1.0])
    w = np.array([[1.0], [2.0], [-0.5]])
    grown = np.exp(-0.5 * (saveat - 1.0))
    for checkpointing in (None, True):
        raw, pullback = differentiated(
            problem, "Tsit5", None, 1e-10, saveat, checkpointing=checkpointing
        )
        np.testing.assert_allclose(raw.u[:, 0], 2.0 * grown, rtol=1e-8)
        found = pullback(w)
        assert found.u0 == pytest.approx([(w[:, 0] * grown).sum()], rel=1e-7)
        by_p = (w[:, 0] * 2.0 * grown * -(saveat - 1.0)).sum()
        assert found.p == pytest.approx([by_p], rel=1e-7)


def test_a_jump_in_f_at_a_stop() -> None:
    """u' = p0 before t = 1 and p1 after it."""
    import torch

    def f(u, p, t):
        return torch.where(t < 1.0, p[0], p[1]) * u

    problem = sml.ODEProblem(f, [1.0], (0.0, 2.0), [0.3, -0.8])
    saveat = np.array([2.0])
    for sensealg in SENSEALGS:
        raw, pullback = differentiated(
            problem, "Tsit5", sensealg, 1e-10, saveat, tstops=np.array([1.0])
        )
        end = np.exp(-0.5)
        assert raw.u[0, 0] == pytest.approx(end, rel=1e-9)
        found = pullback(np.array([[1.0]]))
        assert found.p == pytest.approx([end, end], rel=1e-7)


@pytest.mark.parametrize("sensealg", SENSEALGS)
@pytest.mark.parametrize("width", (0.3, 0.1))
def test_a_dose_that_the_adjoint_alone_would_step_over(width: float, sensealg: str) -> None:
    """u' = p g(t), with g a short pulse: du/dp after it is its integral, whatever came before."""
    import torch

    def f(u, p, t):
        return [p[0] * torch.exp(-(((t - 3.0) / width) ** 2)) - u[0]]

    problem = sml.ODEProblem(f, [1.0], (0.0, 10.0), [2.0])
    saveat = np.array([2.9, 10.0])
    raw, pullback = differentiated(problem, "Tsit5", sensealg, 1e-10, saveat)
    # by completing the square
    integral = width * np.sqrt(np.pi) * np.exp(-7.0 + (0.5 * width) ** 2)
    assert raw.u[1, 0] == pytest.approx(2.0 * integral + np.exp(-10.0), rel=1e-6)
    assert pullback(np.array([[0.0], [1.0]])).p == pytest.approx([integral], rel=1e-6)


@pytest.mark.parametrize("checkpointing", (False, True))
def test_an_initial_layer(checkpointing: bool) -> None:
    """It contributes to du[1]/dp[3] what it lasts, 1e-4; the adjoint knows nothing of it."""
    problem = model("relaxation").remake(tspan=(0.0, 0.5))
    saveat = np.array([0.5])
    _raw, pullback = differentiated(problem, "Rodas5P", None, 1e-8, saveat, checkpointing)
    rate, size, w, _gain = problem.p_flat
    # u[0] = (2 - c) exp(-rate t) + c cos(w t) + s sin(w t)
    c = size * rate**2 / (rate**2 + w**2)
    s = size * rate * w / (rate**2 + w**2)
    integral = (2.0 - c) / rate + c * np.sin(w * 0.5) / w + s * (1 - np.cos(w * 0.5)) / w
    found = pullback(np.array([[0.0, 1.0]])).p[3]
    assert found == pytest.approx(integral, abs=1e-8)


@pytest.mark.parametrize("sensealg", FOR_STIFF)
def test_mass_matrices(sensealg: str) -> None:
    """2 u' + v' = -p u, 3 v' = -v; and a DAE with the same solution of its first component."""

    def f(u, p, t):
        return [-p[0] * u[0], -u[1]]

    problem = sml.ODEProblem(
        f, [1.0, 1.0], (0.0, 2.0), [0.7], mass_matrix=np.array([[2.0, 1.0], [0.0, 3.0]])
    )
    saveat = np.array([1.0, 2.0])
    w = np.array([[1.0, 0.5], [-2.0, 1.0]])

    def value(p: float, u0: Array) -> float:
        moved = problem.remake(p=[p], u0=u0)
        return float((sml.solve(moved, "Rodas5P", "native", saveat, 1e-12, 1e-12).u * w).sum())

    _raw, pullback = differentiated(problem, "Rodas5P", sensealg, 1e-10, saveat)
    found = pullback(w)
    h, start = 1e-4, np.ones(2)
    assert found.p[0] == pytest.approx(
        (value(0.7 + h, start) - value(0.7 - h, start)) / (2 * h), rel=1e-6
    )
    for i in range(2):
        e = h * np.eye(2)[i]
        central = (value(0.7, start + e) - value(0.7, start - e)) / (2 * h)
        assert found.u0[i] == pytest.approx(central, rel=1e-6)


@pytest.mark.parametrize("sensealg", FOR_STIFF)
def test_algebraic_equations(sensealg: str) -> None:
    """u' = -p v, 0 = v - p u: u = u0 exp(-p^2 t)."""

    def f(u, p, t):
        return [-p[0] * u[1], u[1] - p[0] * u[0]]

    problem = sml.ODEProblem(
        f, [2.0, 1.2], (0.0, 2.0), [0.6], mass_matrix=np.array([[1.0, 0.0], [0.0, 0.0]])
    )
    saveat = np.array([0.5, 2.0])
    w = np.array([[1.0, 0.5], [-2.0, 1.0]])
    _raw, pullback = differentiated(problem, "Rodas5P", sensealg, 1e-10, saveat)
    found = pullback(w)
    p, e = 0.6, np.exp(-0.36 * saveat)
    by_u = ((w[:, 0] + p * w[:, 1]) * e).sum()
    by_p = ((w[:, 0] + p * w[:, 1]) * 2 * e * (-2 * p * saveat) + w[:, 1] * 2 * e).sum()
    assert found.u0[0] == pytest.approx(by_u, rel=1e-6)
    assert found.p[0] == pytest.approx(by_p, rel=1e-6)


def test_a_model_without_parameters() -> None:
    problem = sml.ODEProblem(lambda u, p, t: -u, [1.0, 2.0], (0.0, 1.0))
    raw, pullback = differentiated(problem, "Tsit5", saveat=np.array([1.0]))
    found = pullback(np.ones_like(raw.u))
    assert found.p.shape == (0,)
    assert found.u0 == pytest.approx(np.exp([-1.0, -1.0]), rel=1e-8)


def test_after_a_failed_solve_the_pullback_is_for_what_was_saved() -> None:
    """u = 1/(1/u0 - t) has a pole at t = 1."""
    problem = sml.ODEProblem(lambda u, p, t: p[0] * u**2, [1.0], (0.0, 2.0), [1.0])
    saveat = np.array([0.5, 0.9, 1.5])
    raw, pullback = differentiated(problem, "Tsit5", None, 1e-10, saveat)
    assert raw.retcode != "Success"
    np.testing.assert_array_equal(raw.t, [0.5, 0.9])
    found = pullback(np.array([[0.0], [1.0]]))
    # du/du0 = u^2/u0^2, du/dp = t u^2
    assert found.u0 == pytest.approx([100.0], rel=1e-6)
    assert found.p == pytest.approx([90.0], rel=1e-6)


def test_refusals() -> None:
    problem = model("relaxation")
    with pytest.raises(sml.UnsupportedError, match="did you mean 'GaussAdjoint'"):
        differentiated(problem, "Tsit5", "GausAdjoint")
    for alg in ("Rodas5P", None):
        for sensealg in ("BacksolveAdjoint", "InterpolatingAdjoint"):
            with pytest.raises(sml.UnsupportedError, match=f"{sensealg} is wrong for stiff"):
                differentiated(problem, alg, sensealg)
    with pytest.raises(sml.UnsupportedError, match="lacks the dense output that adjoints need"):
        differentiated(problem, "DefaultODEAlgorithm")
    raw, pullback = differentiated(problem, "Rodas5P")
    with pytest.raises(
        ValueError, match=r"the shape of the saved states, \(21, 2\); got \(2, 21\)"
    ):
        pullback(np.zeros(raw.u.shape[::-1]))
