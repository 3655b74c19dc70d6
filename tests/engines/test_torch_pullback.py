"""The torch engine's pullback against closed forms and finite differences of SciPy's solves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import pysciml as sml
from pysciml.engines.base import AdjointOptions, SolveOptions
from pysciml.engines.torch.engine import TorchEngine

SENSEALGS = ("backprop", "odeint_adjoint")
MATRIX = np.array([[-0.3, 2.0], [-2.0, -0.1]])
TIMES = np.linspace(0.0, 2.0, 5)
RATES = np.array([1.5, 1.0, 3.0, 1.0])
TIGHT = SolveOptions(saveat=TIMES, abstol=1e-10, reltol=1e-10, dense=False)


def linear(u, p, t):
    return p.reshape(2, 2) @ u


def lotka_volterra(u, p, t):
    x, y = u[0], u[1]
    return torch.stack([p[0] * x - p[1] * x * y, p[3] * x * y - p[2] * y])


def pull(problem, states_bar, sensealg=None, alg=None, options=TIGHT, **adjoint):
    raw, pullback = TorchEngine().solve_with_pullback(
        problem, alg, options, AdjointOptions(sensealg, **adjoint)
    )
    return raw, pullback(states_bar)


def test_the_names():
    assert TorchEngine().sensealgs() == SENSEALGS


@pytest.mark.parametrize("sensealg", [None, *SENSEALGS])
def test_initial_state_of_a_linear_system(sensealg):
    problem = sml.ODEProblem(linear, [1.0, -0.5], (0.0, 2.0), MATRIX.ravel())
    states_bar = np.random.default_rng(0).normal(size=(5, 2))
    raw, found = pull(problem, states_bar, sensealg)
    exact = sum(expm(MATRIX * t).T @ bar for t, bar in zip(TIMES, states_bar, strict=True))
    np.testing.assert_allclose(raw.u[-1], expm(MATRIX * 2.0) @ [1.0, -0.5], rtol=1e-8)
    np.testing.assert_allclose(found.u0, exact, rtol=1e-7)


@pytest.mark.parametrize("sensealg", SENSEALGS)
# torchdiffeq interpolates dopri8's long steps, and bosh3's, less exactly than it takes them
@pytest.mark.parametrize(("alg", "error"), [("dopri5", 1e-6), ("dopri8", 2e-4), ("bosh3", 5e-5)])
def test_parameters_against_finite_differences(sensealg, alg, error):
    options = SolveOptions(saveat=TIMES, abstol=1e-9, reltol=1e-9, dense=False)
    problem = sml.ODEProblem(lotka_volterra, [1.0, 0.7], (0.0, 2.0), RATES)
    states_bar = np.random.default_rng(1).normal(size=(5, 2))
    _, found = pull(problem, states_bar, sensealg, alg, options)

    def loss(p):
        def f(t, u):
            return [p[0] * u[0] - p[1] * u[0] * u[1], p[3] * u[0] * u[1] - p[2] * u[1]]

        tight = {"rtol": 1e-13, "atol": 1e-13}
        u = solve_ivp(f, (0, 2), [1.0, 0.7], "DOP853", TIMES, **tight).y.T
        return (u * states_bar).sum()

    step = 1e-4 * np.eye(4)
    exact = [(loss(RATES + h) - loss(RATES - h)) / 2e-4 for h in step]
    np.testing.assert_allclose(found.p, exact, rtol=error)


@pytest.mark.parametrize("sensealg", SENSEALGS)
def test_a_fixed_step_without_parameters_backwards_in_time(sensealg):
    problem = sml.ODEProblem(lambda u, p, t: -u, [2.0], (1.0, 0.0))
    options = SolveOptions(np.array([1.0, 0.5, 0.0]), dt=0.01, adaptive=False, dense=False)
    _, found = pull(problem, np.array([[0.0], [1.0], [10.0]]), sensealg, "rk4", options)
    np.testing.assert_allclose(found.u0, np.exp(0.5) + 10 * np.exp(1.0), rtol=1e-8)
    assert found.p.shape == (0,)


def test_the_pullback_is_linear_and_can_be_called_again():
    problem = sml.ODEProblem(lotka_volterra, [1.0, 0.7], (0.0, 2.0), RATES)
    _, pullback = TorchEngine().solve_with_pullback(problem, None, TIGHT, AdjointOptions())
    one, two = np.random.default_rng(2).normal(size=(2, 5, 2))
    first, second, both = pullback(one), pullback(two), pullback(one - 3 * two)
    np.testing.assert_allclose(both.p, first.p - 3 * second.p, rtol=1e-12)
    np.testing.assert_allclose(both.u0, first.u0 - 3 * second.u0, rtol=1e-12)


@pytest.mark.parametrize("sensealg", SENSEALGS)
@pytest.mark.parametrize("everystep", [True, False])
def test_without_saveat_the_cotangent_is_of_the_steps(sensealg, everystep):
    problem = sml.ODEProblem(linear, [1.0, -0.5], (0.0, 2.0), MATRIX.ravel())
    options = SolveOptions(abstol=1e-10, reltol=1e-10, dense=False, save_everystep=everystep)
    raw, pullback = TorchEngine().solve_with_pullback(
        problem, None, options, AdjointOptions(sensealg)
    )
    assert len(raw.t) > 10 if everystep else len(raw.t) == 2
    found = pullback(np.ones(raw.u.shape))
    exact = sum(expm(MATRIX * t).T @ [1.0, 1.0] for t in raw.t)
    np.testing.assert_allclose(found.u0, exact, rtol=1e-7)


@pytest.mark.parametrize("sensealg", SENSEALGS)
def test_after_a_failed_solve_it_is_the_pullback_of_what_was_saved(sensealg):
    """u' = u^2 from 1 is 1/(1 - t): infinite at t = 1; du(t)/du0 = u(t)^2 at u0 = 1."""
    problem = sml.ODEProblem(lambda u, p, t: u * u, [1.0], (0.0, 2.0))
    options = SolveOptions(np.array([0.25, 0.5, 1.5]), 1e-9, 1e-9, dense=False, maxiters=200)
    raw, found = pull(problem, np.array([[1.0], [10.0]]), sensealg, options=options)
    assert raw.retcode != "Success"
    np.testing.assert_allclose(raw.t, [0.25, 0.5])
    np.testing.assert_allclose(found.u0, (1 / 0.75) ** 2 + 10 * 2.0**2, rtol=1e-6)


def test_the_backward_tolerances_are_used():
    problem = sml.ODEProblem(lotka_volterra, [1.0, 0.7], (0.0, 2.0), RATES)
    states_bar = np.ones((5, 2))
    exact = pull(problem, states_bar, "backprop")[1].p
    errors = [
        np.abs(pull(problem, states_bar, "odeint_adjoint", abstol=tol, reltol=tol)[1].p - exact)
        for tol in (1e-3, 1e-9)
    ]
    assert errors[0].max() > 1e3 * errors[1].max()


@pytest.mark.parametrize(
    ("alg", "adjoint", "message"),
    [
        (
            None,
            AdjointOptions("backprob"),
            "engine=\"torch\" has no sensealg 'backprob', only backprop and odeint_adjoint; "
            "did you mean 'backprop'?",
        ),
        (
            "scipy_solver",
            AdjointOptions(),
            'sensealg="backprop" cannot go through "scipy_solver" in engine="torch"; '
            '"odeint_adjoint" can',
        ),
        (
            None,
            AdjointOptions(checkpointing=True),
            'engine="torch" has no checkpointing; its sensealg="odeint_adjoint" keeps no steps at '
            'all, and engine="native" and engine="julia" have it',
        ),
    ],
)
def test_what_it_cannot_do(alg, adjoint, message):
    problem = sml.ODEProblem(linear, [1.0, -0.5], (0.0, 2.0), MATRIX.ravel())
    with pytest.raises(sml.UnsupportedError) as caught:
        TorchEngine().solve_with_pullback(problem, alg, TIGHT, adjoint)
    assert str(caught.value) == message
