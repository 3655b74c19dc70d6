"""torchdiffeq's methods and options: each does what it does there, or its documented equivalent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchdiffeq
from autograd_cases import DOUBLE, TIGHT, Net, assert_same, tensor, values_and_gradients

import pysciml as sml
from pysciml import engines
from pysciml.autograd import methods
from pysciml.autograd.solving import Interpolation

TIMES = torch.linspace(0.0, 2.0, 6, **DOUBLE)
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")


@pytest.fixture(autouse=True)
def nothing_falls_back(recwarn):
    yield
    assert not [w for w in recwarn if "torchdiffeq" in str(w.message)]


@pytest.fixture
def asked(monkeypatch):
    """What the native engine is asked for: (alg, options) of each solve."""
    engine = engines.get("native")
    calls = []
    solve = engine.solve

    def noted(problem, alg, options):
        calls.append((alg, options))
        return solve(problem, alg, options)

    monkeypatch.setattr(engine, "solve", noted)
    return calls


def decay(t, y):
    return -y


EQUIVALENTS = {
    None: None,
    "dopri5": "DP5",
    "dopri8": "Vern7",
    "tsit5": "Tsit5",
    "bosh3": "BS3",
    "adaptive_heun": "Heun",
    "fehlberg2": "Heun",
    "implicit_euler": "Rodas5P",
    "trapezoid": "Rodas5P",
    "radauIIA5": "Rodas5P",
    "trbdf2": "Rodas5P",
    "scipy_solver": None,
    "Tsit5": "Tsit5",
    "Rodas4": "Rodas4",
    "AutoVern7(Rodas5P)": "AutoVern7(Rodas5P)",
}


@pytest.mark.parametrize(("method", "alg"), EQUIVALENTS.items())
def test_equivalents_of_adaptive_methods(asked, method, alg):
    found = sml.odeint(decay, tensor(1.0), tensor(0.0, 2.0), rtol=1e-6, atol=1e-6, method=method)
    assert asked[0][0] == alg
    assert abs(found[-1].item() - math.exp(-2.0)) < 3e-6


@pytest.mark.parametrize(
    ("solver", "alg"), [("LSODA", None), ("BDF", "Rodas5P"), ("RK45", "DP5"), ("DOP853", "Vern7")]
)
def test_equivalents_of_scipys_solvers(asked, solver, alg):
    options = {"solver": solver, "max_step": 0.25}
    sml.odeint(decay, tensor(1.0), TIMES, method="scipy_solver", options=options)
    assert asked[0][0] == alg
    assert asked[0][1].dtmax == 0.25


# -- fixed steps: the very numbers of torchdiffeq --------------------------------------------------
@pytest.mark.parametrize("method", FIXED)
@pytest.mark.parametrize(
    "options",
    [
        None,  # from output to output
        {"step_size": 0.1},  # every output is on the grid
        {"step_size": 0.17},  # none is, but the ends
        {"grid_constructor": lambda func, y0, t: torch.linspace(t[0], t[-1], 9, **DOUBLE)},
    ],
    ids=["outputs", "on the grid", "off the grid", "constructed"],
)
@pytest.mark.parametrize("times", [TIMES, TIMES.flip(0)], ids=["forwards", "backwards"])
def test_fixed_steps(method, options, times):
    net = Net(**DOUBLE)
    y0 = tensor(1.0, -0.5, grad=True)
    inputs = [y0, *net.parameters()]
    arguments = {"method": method, "options": options}
    found = values_and_gradients(sml.odeint, net, y0, times, inputs, **arguments)
    expected = values_and_gradients(torchdiffeq.odeint, net, y0, times, inputs, **arguments)
    assert_same(found, expected, 1e-12)


@pytest.mark.parametrize("method", ["Midpoint", "Tsit5", "RK4"])
def test_an_engines_method_with_a_fixed_step(asked, method):
    options = {"step_size": 0.1}
    found = sml.odeint(decay, tensor(1.0), TIMES, method=method, options=options)
    assert asked[0][0] == method
    assert not asked[0][1].adaptive
    assert abs(found[-1].item() - math.exp(-2.0)) < 1e-3


def test_a_grid_that_ends_elsewhere():
    options = {"grid_constructor": lambda func, y0, t: t[:-1]}
    with pytest.raises(ValueError) as caught:
        sml.odeint(decay, tensor(1.0), TIMES, method="rk4", options=options)
    assert str(caught.value) == (
        "options['grid_constructor'] must return times from t[0] = 0.0 on to t[-1] = 2.0; "
        "got a tensor of shape (5,) and dtype float64"
    )


def test_gradient_in_time_of_fixed_steps():
    """Up to the error of the method: the slope of the solution."""
    t = TIMES.clone().requires_grad_()
    states = sml.odeint(decay, tensor(1.0), t, method="rk4", options={"step_size": 0.02})
    (gradient,) = torch.autograd.grad(states[-1].sum(), t)
    exact = torch.zeros(6, **DOUBLE)
    exact[0], exact[-1] = math.exp(-2.0), -math.exp(-2.0)
    torch.testing.assert_close(gradient, exact, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_linear_interpolation_and_its_transpose(sign):
    grid, times = sign * np.array([0.0, 1.0, 1.5, 4.0]), sign * np.array([0.0, 0.25, 1.5, 3.0, 4.0])
    between = Interpolation(grid, times)
    generator = np.random.default_rng(0)
    states, bars = generator.normal(size=(4, 3)), generator.normal(size=(5, 3))
    order = np.argsort(grid)
    exact = [np.interp(times, grid[order], states[order, i]) for i in range(3)]
    np.testing.assert_allclose(between(states), np.transpose(exact), rtol=0, atol=1e-14)
    product = (between(states) * bars).sum()
    np.testing.assert_allclose((states * between.transpose(bars)).sum(), product, rtol=1e-13)


# -- options of adaptive methods -------------------------------------------------------------------
def test_options_reach_the_engine(asked):
    options = {
        "first_step": 0.01,
        "max_step": 0.5,
        "max_num_steps": 77,
        "safety": 0.8,
        "ifactor": 5.0,
        "dfactor": 0.3,
        "step_t": tensor(1.5, 0.5, 7.0),
        "jump_t": tensor(1.0),
        "dtype": torch.float64,
    }
    sml.odeint(decay, tensor(1.0), TIMES, method="dopri5", options=options)
    found = asked[0][1]
    assert (found.dt, found.dtmax, found.maxiters) == (0.01, 0.5, 77)
    assert found.algorithm == {"gamma": 0.8, "qmax": 5.0, "qmin": 0.3}
    assert found.tstops.tolist() == [0.5, 1.0, 1.5]
    sml.odeint(decay, tensor(1.0), TIMES.flip(0), method="dopri5", options=options)
    assert asked[1][1].tstops.tolist() == [1.5, 1.0, 0.5]
    sml.odeint(decay, tensor(1.0), tensor(1.6, 2.0), method="dopri5", options=options)
    assert asked[2][1].tstops is None


def test_jump_t_is_exact_across_a_jump():
    """y' = 0 before t = 1, then 1: the solution at 2 is 1 however large the steps are."""

    def func(t, y):
        return torch.where(t < 1.0, 0.0 * y, 0.0 * y + 1.0)

    options = {"jump_t": tensor(1.0)}
    found = sml.odeint(func, tensor(0.0), tensor(0.0, 2.0), method="dopri5", options=options)
    assert abs(found[-1].item() - 1.0) < 1e-12


def test_more_steps_with_a_smaller_largest_step(asked):
    few = sml.odeint(decay, tensor(1.0), TIMES, method="dopri5", rtol=1e-3, atol=1e-3)
    many = sml.odeint(
        decay, tensor(1.0), TIMES, method="dopri5", rtol=1e-3, atol=1e-3, options={"max_step": 0.01}
    )
    exact = torch.exp(-TIMES)
    assert (many[:, 0] - exact).abs().max() < 1e-3 * (few[:, 0] - exact).abs().max()


# -- engines ---------------------------------------------------------------------------------------
def test_auto_is_native_unless_julia_runs(asked):
    sml.odeint(decay, tensor(1.0), TIMES)
    assert len(asked) == 1


def test_the_torch_engine_is_torchdiffeq_itself():
    net = Net(**DOUBLE)
    y0 = tensor(1.0, -0.5, grad=True)
    inputs = [y0, *net.parameters()]
    for mine, theirs in (
        (sml.odeint, torchdiffeq.odeint),
        (sml.odeint_adjoint, torchdiffeq.odeint_adjoint),
    ):
        found = values_and_gradients(mine, net, y0, TIMES, inputs, engine="torch")
        expected = values_and_gradients(theirs, net, y0, TIMES, inputs)
        assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("solver", [sml.odeint, sml.odeint_adjoint])
def test_an_engines_way_of_differentiating_is_what_gives_the_gradient(solver, monkeypatch):
    """With torchdiffeq's pullback in the place of the native one, on the captured model."""
    torch_engine = engines.get("torch")
    monkeypatch.setitem(engines._loaded, "native", torch_engine)
    net = Net(**DOUBLE)
    y0, t = tensor(1.0, -0.5, grad=True), TIMES.clone().requires_grad_()
    inputs = [y0, t, *net.parameters()]
    found = values_and_gradients(solver, net, y0, t, inputs, **TIGHT)
    expected = values_and_gradients(torchdiffeq.odeint, net, y0, t, inputs, **TIGHT)
    assert_same(found, expected, 1e-7)


@pytest.mark.julia
@pytest.mark.parametrize("method", [None, "dopri5", "Rodas5P"])
def test_julia(method):
    net = Net(**DOUBLE)
    y0, t = tensor(1.0, -0.5, grad=True), TIMES.clone().requires_grad_()
    inputs = [y0, t, *net.parameters()]
    options = {**TIGHT, "method": method, "engine": "julia"}
    found = values_and_gradients(sml.odeint, net, y0, t, inputs, **options)
    expected = values_and_gradients(torchdiffeq.odeint, net, y0, t, inputs, **TIGHT)
    assert_same(found, expected, 1e-6)


def test_every_name_of_the_installed_torchdiffeq_is_known():
    from torchdiffeq._impl.odeint import SOLVERS

    assert set(SOLVERS) <= set(methods.TORCHDIFFEQ)
