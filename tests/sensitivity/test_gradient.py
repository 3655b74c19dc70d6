"""Derivatives of solutions against closed forms, and the wrong calls."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pytest
import torch

import pysciml as sml

TIGHT = {"abstol": 1e-11, "reltol": 1e-11}
ENGINES = ("native", "torch")
T = np.array([0.0, 0.5, 1.0, 2.0])


def decay(u, p, t):
    return -p[0] * u


def decay_problem() -> sml.ODEProblem:
    return sml.ODEProblem(decay, [1.5, 0.5], (0.0, 2.0), [0.7])


def squares(u):
    return (u**2).sum()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sensealg", ("forward", "adjoint"))
def test_exponential_decay(engine: str, sensealg: str) -> None:
    problem = decay_problem()
    found = sml.gradient(problem, squares, None, engine, T, sensealg, **TIGHT)
    u0, p = problem.u0, 0.7
    assert found.value == pytest.approx((u0**2).sum() * np.exp(-2 * p * T).sum(), rel=1e-9)
    assert found.p == pytest.approx([-2 * (u0**2).sum() * (T * np.exp(-2 * p * T)).sum()], rel=1e-9)
    assert found.u0 == pytest.approx(2 * u0 * np.exp(-2 * p * T).sum(), rel=1e-9)
    assert found.solution.engine == engine
    assert found.sensealg == sensealg


@pytest.mark.parametrize("engine", ENGINES)
def test_saved_times(engine: str) -> None:
    problem = decay_problem()
    found = sml.gradient(problem, squares, None, engine, T, times=True, **TIGHT)
    expected = -2 * 0.7 * (problem.u0**2).sum() * np.exp(-2 * 0.7 * T)
    assert found.t == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_of_the_parameters_too(engine: str) -> None:
    def loss(u, p):
        return (u[-1] ** 2).sum() + 3 * p[0] ** 2

    found = sml.gradient(decay_problem(), loss, None, engine, T, **TIGHT)
    assert found.p == pytest.approx([-4 * 2.5 * np.exp(-4 * 0.7) + 6 * 0.7], rel=1e-8)


@pytest.mark.parametrize("engine", ENGINES)
def test_hessian_times_vector(engine: str) -> None:
    """L = sum |u0|^2 exp(-2 p t): all second derivatives are known."""
    problem = decay_problem()
    u0, energy = problem.u0, np.exp(-1.4 * T)
    a, b = 0.3, np.array([0.2, -0.5])
    found = sml.hessian_vector(problem, squares, [a], b, None, engine, T, **TIGHT)
    first, second = (T * energy).sum(), (T**2 * energy).sum()
    by_p = 4 * (u0 @ u0) * second * a - 4 * first * (u0 @ b)
    by_u0 = -4 * u0 * first * a + 2 * energy.sum() * b
    assert found.p == pytest.approx([by_p], rel=1e-8)
    assert found.u0 == pytest.approx(by_u0, rel=1e-8)
    assert found.value == pytest.approx(
        -2 * (u0 @ u0) * first * a + 2 * energy.sum() * (u0 @ b), rel=1e-8
    )


def test_hessian_of_a_loss_of_the_parameters() -> None:
    def loss(u, p):
        return p[0] ** 3 * u[-1, 0]

    found = sml.hessian_vector(decay_problem(), loss, [1.0], None, None, "native", T, **TIGHT)
    p, u = 0.7, 1.5 * np.exp(-1.4)
    assert found.p == pytest.approx([(6 * p - 12 * p**2 + 4 * p**3) * u], rel=1e-8)


@pytest.mark.parametrize("engine", ENGINES)
def test_sensitivities(engine: str) -> None:
    problem = decay_problem()
    found = sml.sensitivities(problem, None, engine, T, **TIGHT)
    factor = np.exp(-0.7 * T)
    assert found.u == pytest.approx(factor[:, None] * problem.u0, rel=1e-9)
    assert found.p[:, :, 0] == pytest.approx(-(T * factor)[:, None] * problem.u0, abs=1e-9)
    assert found.u0 == pytest.approx(factor[:, None, None] * np.eye(2), abs=1e-9)
    assert found.names == ("p[0]",)


def test_sensitivities_of_a_field_in_named_parameters() -> None:
    """A rotation of the plane by p["rate"], written on a matrix-shaped state."""

    def f(u, p, t):
        turned = torch.stack([-u[1], u[0]])
        return p["rate"] * turned + 0 * p["other"].sum()

    u0 = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])
    p = {"rate": 0.9, "other": np.ones(2)}
    problem = sml.ODEProblem(f, u0, (0.0, 2.0), p)
    found = sml.sensitivities(problem, None, "native", T, wrt=["rate"], u0=False, **TIGHT)
    assert found.names == ("rate",)
    assert found.u0 is None
    assert found.p.shape == (4, 2, 3, 1)
    c, s = np.cos(0.9 * T), np.sin(0.9 * T)
    expected = T[:, None] * np.stack([-s, -c], 1) @ np.stack([u0[0], u0[1]])
    assert found.p[:, 0, :, 0] == pytest.approx(expected, abs=1e-9)


class Rates(NamedTuple):
    up: float
    down: float


def test_gradients_have_the_parameters_structure() -> None:
    def f(u, p, t):
        return p.up - p.down * u

    problem = sml.ODEProblem(f, 2.0, (0.0, 2.0), Rates(1.0, 0.5))
    found = sml.gradient(problem, lambda u: u[-1], None, "native", T, **TIGHT)
    e = np.exp(-1.0)
    assert isinstance(found.p, Rates)
    assert found.p.up == pytest.approx(2 * (1 - e), rel=1e-9)
    # u = a/b + (u0 - a/b) exp(-b t), at u0 = a/b
    assert found.p.down == pytest.approx(-4 * (1 - e), rel=1e-9)
    assert found.u0.shape == ()
    assert found.u0 == pytest.approx(e, rel=1e-9)
    named = sml.gradient(problem, lambda u: u[-1], None, "native", T, wrt=["down"], **TIGHT)
    assert list(named.p) == ["down"]
    assert named.p["down"] == pytest.approx(-4 * (1 - e), rel=1e-9)


def test_a_modules_gradients_bear_its_names() -> None:
    module = torch.nn.Linear(2, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    problem = sml.ODEProblem(module, [1.0, 0.0], (0.0, 2.0))
    found = sml.gradient(problem, squares, None, "native", T, **TIGHT)
    # by autograd through the matrix exponential
    weight = module.weight.detach().clone().requires_grad_()
    u0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
    squares(torch.stack([torch.matrix_exp(weight * t) @ u0 for t in T])).backward()
    assert found.p["weight"] == pytest.approx(weight.grad.numpy(), rel=1e-8)


def test_states_at_the_solvers_own_steps() -> None:
    found = sml.gradient(decay_problem(), lambda u: u[-1].sum(), None, "native", **TIGHT)
    assert found.p == pytest.approx([-2 * 2.0 * np.exp(-1.4)], rel=1e-8)


def test_a_failed_solve_has_no_gradient() -> None:
    problem = sml.ODEProblem(lambda u, p, t: p[0] * u**2, [1.0], (0.0, 2.0), [1.0])
    for sensealg in ("adjoint", "forward"):
        with pytest.raises(sml.SolveError) as error:
            sml.gradient(problem, squares, None, "native", T, sensealg)
        assert error.value.solution.t[-1] <= 1.0


def test_a_regular_mass_matrix_and_a_singular_one() -> None:
    mass = np.array([[2.0, 0.0], [0.0, 4.0]])
    problem = sml.ODEProblem(decay, [1.5, 0.5], (0.0, 2.0), [0.7], mass_matrix=mass)
    for sensealg in ("adjoint", "forward"):
        found = sml.gradient(problem, lambda u: u[-1, 0], None, "native", T, sensealg, **TIGHT)
        assert found.p == pytest.approx([-1.5 * np.exp(-0.7)], rel=1e-7)
    singular = sml.ODEProblem(decay, [1.5, 0.0], (0.0, 2.0), [0.7], mass_matrix=np.diag([1.0, 0.0]))
    with pytest.raises(sml.UnsupportedError, match="forward sensitivities need a regular"):
        sml.sensitivities(singular, None, "native", T)


WRONG = {
    "loss": ({"loss": 3}, TypeError, "loss must be a function loss(u) or loss(u, p); got 3"),
    "vector loss": (
        {"loss": lambda u: u[-1]},
        ValueError,
        "loss must return one number; got shape (2,)",
    ),
    "number loss": (
        {"loss": lambda u: 1.0},
        TypeError,
        "loss must return a torch tensor with one element; got 1.0",
    ),
    "sensealg": (
        {"sensealg": "ajoint"},
        ValueError,
        "sensealg must be one of 'auto', 'adjoint', 'forward'",
    ),
    "sensealg type": ({"sensealg": 3}, TypeError, "sensealg must be one of"),
    "wrt": ({"wrt": ["q"]}, ValueError, "wrt names no parameter 'q'; known: p, p[0]"),
    "wrt string": ({"wrt": "p"}, TypeError, "wrt must be a list of parameter names; got"),
    "save_idxs": ({"save_idxs": [0]}, TypeError, "save_idxs has no meaning for derivatives"),
    "option": ({"rtol": 1e-3}, TypeError, "no option 'rtol'; here it is called 'reltol'"),
    "tolerance": ({"adjoint_abstol": -1.0}, ValueError, "adjoint_abstol must be"),
    "problem": (
        {"problem": 3},
        TypeError,
        "problem must be a problem, such as ODEProblem(f, u0, tspan); got 3",
    ),
    "engine": ({"engine": "rust"}, ValueError, "engine must be one of"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    wrong, kind, message = WRONG[name]
    call = {"problem": decay_problem(), "loss": squares, "engine": "native", "saveat": T} | wrong
    with pytest.raises(kind, match=re.escape(message)):
        sml.gradient(**call)


def test_a_hessian_needs_a_vector() -> None:
    with pytest.raises(ValueError, match="p or u0 must be given"):
        sml.hessian_vector(decay_problem(), squares, engine="native", saveat=T)
