"""Pathwise gradients against central differences on the same path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from equations import MU, PARAMETERS, SIGMA, geometric, predator_prey

import pysciml as sml

TIMES = [0.0, 0.3, 0.7, 1.0]
FIXED = {"dt": 1 / 32, "adaptive": False}


def loss(u):
    return (u**2).sum() + torch.sin(u[:, 0]).sum()


def differences(problem, alg, engine, options):
    """d loss/d(a, s, u0) by central differences."""

    def value(changed):
        return float(loss(torch.from_numpy(sml.solve(changed, alg, engine, **options).u)))

    h, found = 1e-6, []
    for key in PARAMETERS:
        up, down = ({**PARAMETERS, key: PARAMETERS[key] + sign * h} for sign in (1, -1))
        found.append((value(problem.remake(p=up)) - value(problem.remake(p=down))) / (2 * h))
    for i in range(2):
        step = h * np.eye(2)[i]
        up, down = problem.remake(u0=problem.u0 + step), problem.remake(u0=problem.u0 - step)
        found.append((value(up) - value(down)) / (2 * h))
    return np.array(found)


@pytest.mark.parametrize(
    ("kind", "interpretation", "alg", "engine", "options"),
    [
        ("own", "ito", "EM", "native", FIXED),
        ("full", "ito", "EM", "native", FIXED),
        ("shared", "ito", "RKMil", "native", FIXED),
        ("own", "stratonovich", "RKMil", "native", FIXED),
        ("full", "stratonovich", "EulerHeun", "native", FIXED),
        ("own", "ito", "SRIW1", "native", FIXED),
        ("shared", "ito", "SOSRI", "native", FIXED),
        ("own", "ito", "SOSRI", "native", {"abstol": 1e-3, "reltol": 1e-3}),
        ("additive", "ito", "SOSRA", "native", FIXED),
        ("own", "ito", "euler", "torch", {"dt": 1 / 16}),
        ("full", "stratonovich", "heun", "torch", {"dt": 1 / 8}),
    ],
)
def test_gradient(kind, interpretation, alg, engine, options):
    problem = predator_prey(kind, interpretation)
    options = {"saveat": TIMES, "seed": 5, **options}
    found = sml.gradient(problem, loss, alg, engine, **options)
    by_p = [found.p[key] for key in PARAMETERS]
    expected = differences(problem, alg, engine, options)
    np.testing.assert_allclose(np.append(by_p, found.u0), expected, rtol=2e-7, atol=1e-8)
    assert found.solution.seed == 5


def test_against_the_closed_form():
    """d/d(mu, sigma, u0) of u(1) = u0 exp((mu - sigma^2/2) + sigma W)."""
    how = {"dt": 1 / 1024, "adaptive": False, "seed": 2}
    found = sml.gradient(geometric(), lambda u: u[-1, 0], "SOSRI", "native", [1.0], **how)
    sol = sml.solve(geometric(), "SOSRI", "native", [1.0], save_noise=True, **how)
    w = sol.W[0, 0]
    u = np.exp(MU - SIGMA**2 / 2 + SIGMA * w)
    np.testing.assert_allclose(found.value, u, rtol=1e-4)
    np.testing.assert_allclose(found.p, [u, (w - SIGMA) * u], rtol=2e-3)
    np.testing.assert_allclose(found.u0, [u], rtol=1e-4)


def test_every_step_and_a_stop_at_a_jump():
    """Without saveat the loss is of all steps; the drift jumps at a stop."""

    def f(u, p, t):
        return torch.where(t < 0.37, p["a"] * u, -p["a"] * u)

    problem = sml.SDEProblem(f, lambda u, p, t: p["s"] * u, [1.0, 0.5], (0.0, 1.0), PARAMETERS)
    options = {"seed": 1, "dt": 1 / 16, "tstops": [0.37]}
    for alg in ("EM", "SRIW1"):
        given = {**options, "adaptive": False}
        found = sml.gradient(problem, loss, alg, "native", **given)
        by_p = [found.p[key] for key in PARAMETERS]
        expected = differences(problem, alg, "native", given)
        np.testing.assert_allclose(np.append(by_p, found.u0), expected, rtol=2e-7)


def test_a_neural_sde():
    """The parameters of two networks, along a random direction."""
    torch.manual_seed(0)
    nets = [
        torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
        for _ in range(2)
    ]
    problem = sml.SDEProblem(*nets, [1.0, 0.5], (0.0, 1.0))
    options = {"saveat": [0.5, 1.0], "seed": 3, "dt": 1 / 16}
    found = sml.gradient(problem, loss, "EM", "native", **options)
    assert set(found.p) == {"p", "f", "g"}
    along = np.random.default_rng(0).standard_normal(problem.p_flat.size)

    def value(h):
        moved = problem.remake(p=problem.p_flat + h * along)
        return float(loss(torch.from_numpy(sml.solve(moved, "EM", "native", **options).u)))

    np.testing.assert_allclose(found.p_flat @ along, (value(1e-6) - value(-1e-6)) / 2e-6, rtol=1e-7)


def test_the_pullback_can_be_used_again_and_checks_its_cotangent():
    from pysciml import engines
    from pysciml.engines.base import AdjointOptions
    from pysciml.options import solve_options

    problem = predator_prey("own")
    options = solve_options(problem, TIMES, dense=False, seed=1, **FIXED)
    engine = engines.get("native")
    raw, pullback = engine.solve_with_pullback(problem, "EM", options, AdjointOptions())
    rows = np.random.default_rng(1).standard_normal((2, *raw.u.shape))
    one, two, both = pullback(rows[0]), pullback(rows[1]), pullback(rows[0] + rows[1])
    np.testing.assert_allclose(one.p + two.p, both.p, rtol=1e-12)
    np.testing.assert_allclose(one.u0 + two.u0, both.u0, rtol=1e-12)
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        pullback(rows[0, :3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p: sml.gradient(p, loss, "EM", "native", TIMES, times=True, dt=0.1),
            "times=True is not there",
        ),
        (
            lambda p: sml.gradient(p, loss, "EM", "native", TIMES, "forward", dt=0.1),
            "there are first derivatives, and backwards",
        ),
        (
            lambda p: sml.gradient(p, loss, "EM", "native", TIMES, checkpointing=True, dt=0.1),
            "checkpointing=True is not there for SDEs",
        ),
        (lambda p: sml.sensitivities(p, "EM", "native", TIMES, dt=0.1), "backwards"),
        (lambda p: sml.hessian_vector(p, loss, u0=[1.0, 0.0], engine="native"), "backwards"),
        (
            lambda p: sml.gradient(p, loss, "euler", "torch", TIMES, "odeint_adjoint", dt=0.1),
            'has sensealg="backprop" only',
        ),
    ],
)
def test_what_there_is_not(call, message):
    with pytest.raises(sml.UnsupportedError, match=message):
        call(predator_prey("own"))
