"""Wrong calls: each with its whole message, none beyond the door."""

from __future__ import annotations

import pytest
import torch
from autograd_cases import DOUBLE, Net, tensor

import pysciml as sml
from pysciml.autograd import methods

TIMES = torch.linspace(0.0, 1.0, 3, **DOUBLE)
NET = Net(**DOUBLE)
Y0 = tensor(1.0, 0.5)
EXPECTED_T = (
    "t must be a 1-D floating-point tensor of strictly increasing or decreasing times; got "
)
KNOWN = ", ".join(methods.TORCHDIFFEQ)


def decay(t, y):
    return -y


# name: (changed arguments, error, message)
CASES = {
    "y0 a list": (
        {"y0": [1.0, 2.0]},
        TypeError,
        "y0 must be a tensor or a tuple of tensors; got the list [1.0, 2.0]",
    ),
    "y0 an empty tuple": (
        {"y0": ()},
        TypeError,
        "y0 must be a tensor or a tuple of tensors; got the tuple ()",
    ),
    "y0 of integers": (
        {"y0": torch.tensor([1, 2])},
        TypeError,
        "y0 must be a floating-point tensor with at least one entry; "
        "got a tensor of shape (2,) and dtype int64",
    ),
    "y0 empty": (
        {"y0": torch.zeros(0)},
        TypeError,
        "y0 must be a floating-point tensor with at least one entry; "
        "got a tensor of shape (0,) and dtype float32",
    ),
    "a number in the tuple": (
        {"y0": (Y0, 1.0)},
        TypeError,
        "y0[1] must be a floating-point tensor with at least one entry; got 1.0",
    ),
    "t a list": ({"t": [0.0, 1.0]}, TypeError, EXPECTED_T + "the list [0.0, 1.0]"),
    "t of integers": (
        {"t": torch.tensor([0, 1])},
        TypeError,
        EXPECTED_T + "a tensor of shape (2,) and dtype int64",
    ),
    "t a matrix": (
        {"t": torch.zeros(2, 2)},
        TypeError,
        EXPECTED_T + "a tensor of shape (2, 2) and dtype float32",
    ),
    "t empty": (
        {"t": torch.zeros(0)},
        TypeError,
        EXPECTED_T + "a tensor of shape (0,) and dtype float32",
    ),
    "t repeated": (
        {"t": tensor(0.0, 1.0, 1.0)},
        ValueError,
        EXPECTED_T + "the list [0.0, 1.0, 1.0]",
    ),
    "t there and back": (
        {"t": tensor(0.0, 1.0, 0.5)},
        ValueError,
        EXPECTED_T + "the list [0.0, 1.0, 0.5]",
    ),
    "t with NaN": (
        {"t": tensor(0.0, float("nan"))},
        ValueError,
        EXPECTED_T + "the list [0.0, nan]",
    ),
    "t to infinity": (
        {"t": tensor(0.0, float("inf"))},
        ValueError,
        "t must be finite; got the list [0.0, inf]",
    ),
    "func a class": (
        {"func": Net},
        TypeError,
        "func must be a function func(t, y) or an nn.Module; got the class Net: pass an instance, "
        "Net(...)",
    ),
    "func None": (
        {"func": None},
        TypeError,
        "func must be a function func(t, y) or an nn.Module; got None",
    ),
    "rtol zero": (
        {"rtol": 0.0},
        ValueError,
        "rtol must be finite and > 0; got 0.0",
    ),
    "atol negative in one entry": (
        {"atol": tensor(1e-6, -1.0)},
        ValueError,
        "atol must be finite and > 0; got -1.0 in atol[1]",
    ),
    "atol of a wrong shape": (
        {"atol": tensor(1.0, 1.0, 1.0)},
        ValueError,
        "atol must be a number or broadcast against y0, an array of shape (2,); "
        "got a tensor of shape (3,) and dtype float64",
    ),
    "rtol a string": (
        {"rtol": "1e-6"},
        TypeError,
        "rtol must be a number > 0, or one for each entry of y0; got the string '1e-6'",
    ),
    "rtol that requires a gradient": (
        {"rtol": tensor(1e-6, grad=True)},
        ValueError,
        "rtol must not require a gradient",
    ),
    "rtol for fewer tensors than there are": (
        {"y0": (Y0, Y0), "func": lambda t, y: y, "rtol": (1e-6,)},
        ValueError,
        "rtol must be a number or one entry for each of the 2 tensors of y0; "
        "got the tuple (1e-06,)",
    ),
    "method misspelt": (
        {"method": "dopri"},
        ValueError,
        f"method must be a method of torchdiffeq ({KNOWN}) or of the engine; got 'dopri'; "
        "did you mean 'dopri8' or 'dopri5'?",
    ),
    "a method of Julia's": (
        {"method": "KenCarp47"},
        ValueError,
        f"method must be a method of torchdiffeq ({KNOWN}) or of the engine; got 'KenCarp47'; "
        'engine="julia" has those of OrdinaryDiffEq',
    ),
    "max_step a string": (
        {"method": "dopri5", "options": {"max_step": "small"}},
        TypeError,
        "options['max_step'] must be a number >= 0; got the string 'small'",
    ),
    "method a function": (
        {"method": decay},
        TypeError,
        "method must be the name of a method; got a function",
    ),
    "options a list": (
        {"method": "rk4", "options": [0.1]},
        TypeError,
        "options must be a dict; got the list [0.1]",
    ),
    "an unknown option": (
        {"method": "rk4", "options": {"stepsize": 0.1}},
        ValueError,
        "options has no 'stepsize' for 'rk4'; did you mean 'step_size'?",
    ),
    "an option of a fixed step": (
        {"method": "dopri5", "options": {"step_size": 0.1}},
        ValueError,
        "options has no 'step_size' for 'dopri5'; it is one of a method with a fixed step",
    ),
    "an option of an adaptive step": (
        {"method": "rk4", "options": {"first_step": 0.1}},
        ValueError,
        "options has no 'first_step' for 'rk4'; it is one of a method with an adaptive step",
    ),
    "an option of a fixed step, without a method": (
        {"options": {"step_size": 0.1}},
        ValueError,
        "options has no 'step_size' for the default method; it is one of a method with a fixed "
        "step",
    ),
    "step_size negative": (
        {"method": "rk4", "options": {"step_size": -0.1}},
        ValueError,
        "options['step_size'] must be a finite number > 0; got -0.1",
    ),
    "step_size and grid_constructor": (
        {"method": "rk4", "options": {"step_size": 0.1, "grid_constructor": decay}},
        ValueError,
        "options must have one of 'step_size' and 'grid_constructor', not both",
    ),
    "max_num_steps zero": (
        {"method": "dopri5", "options": {"max_num_steps": 0}},
        ValueError,
        "options['max_num_steps'] must be a whole number >= 1; got 0",
    ),
    "an unknown solver of SciPy": (
        {"method": "scipy_solver", "options": {"solver": "RK4"}},
        ValueError,
        "options['solver'] must be one of LSODA, BDF, Radau, RK45, RK23, DOP853; got 'RK4'",
    ),
    "an unknown engine": (
        {"engine": "nativ"},
        ValueError,
        "engine must be one of 'auto', 'julia', 'native', 'torch'; got 'nativ'; "
        "did you mean 'native'?",
    ),
    "three times with an event": (
        {"event_fn": lambda t, y: y[0]},
        ValueError,
        "t must be two times, the start and a direction, with event_fn; got 3",
    ),
    "event_fn a number": (
        {"event_fn": 1.0, "t": tensor(0.0, 1.0)},
        TypeError,
        "event_fn must be a function event_fn(t, y); got 1.0",
    ),
}

ADJOINT_CASES = {
    "a function without adjoint_params": (
        {"func": decay},
        ValueError,
        "func must be an instance of nn.Module to specify the adjoint parameters; alternatively "
        "they can be specified explicitly via the `adjoint_params` argument. If there are no "
        "parameters then it is allowable to set `adjoint_params=()`",
    ),
    "adjoint_params that are no tensors": (
        {"adjoint_params": [NET.first.weight, 1.0]},
        TypeError,
        "adjoint_params must be tensors; got 1.0 at 1",
    ),
    "another adjoint_method, with options": (
        {"method": "dopri5", "adjoint_method": "rk4", "options": {"first_step": 0.1}},
        ValueError,
        "adjoint_options must be given when adjoint_method is not method and options are given",
    ),
    "adjoint_method misspelt": (
        {"adjoint_method": "rk5"},
        ValueError,
        f"adjoint_method must be a method of torchdiffeq ({KNOWN}) or of the engine; got 'rk5'; "
        "did you mean 'RK4'?",
    ),
    "adjoint_rtol zero": (
        {"adjoint_rtol": 0.0},
        ValueError,
        "adjoint_rtol must be a finite number > 0; got 0.0",
    ),
    "adjoint_atol negative in a tuple": (
        {"adjoint_atol": (1e-6, tensor(1e-6, -1.0))},
        ValueError,
        "adjoint_atol must be a finite number > 0; got -1.0",
    ),
}

EVENT_CASES = {
    "t0 a number": (
        {"t0": 0.0},
        TypeError,
        "t0 must be a floating-point tensor of one time; got 0.0",
    ),
    "t0 two times": (
        {"t0": tensor(0.0, 1.0)},
        TypeError,
        "t0 must be a floating-point tensor of one time; "
        "got a tensor of shape (2,) and dtype float64",
    ),
    "event_fn None": (
        {"event_fn": None},
        TypeError,
        "event_fn must be a function event_fn(t, y); got None",
    ),
}


@pytest.fixture(autouse=True)
def nothing_is_captured(monkeypatch):
    def refuse(*_):
        raise AssertionError("this call must not come so far")

    monkeypatch.setattr("pysciml.autograd.functions.bind", refuse)


def check(function, defaults, changed, error, message):
    arguments = {**defaults, **changed}
    positional = [arguments.pop(name) for name in defaults if name in ("func", "y0", "t", "t0")]
    with pytest.raises(error) as caught:
        function(*positional, **arguments)
    assert type(caught.value) is error
    assert str(caught.value) == message


@pytest.mark.parametrize(("changed", "error", "message"), CASES.values(), ids=CASES)
def test_odeint(changed, error, message):
    check(sml.odeint, {"func": NET, "y0": Y0, "t": TIMES}, changed, error, message)


@pytest.mark.parametrize(("changed", "error", "message"), ADJOINT_CASES.values(), ids=ADJOINT_CASES)
def test_odeint_adjoint(changed, error, message):
    check(sml.odeint_adjoint, {"func": NET, "y0": Y0, "t": TIMES}, changed, error, message)


@pytest.mark.parametrize(("changed", "error", "message"), EVENT_CASES.values(), ids=EVENT_CASES)
def test_odeint_event(changed, error, message):
    defaults = {"func": NET, "y0": Y0, "t0": tensor(0.0), "event_fn": lambda t, y: y[0]}
    check(sml.odeint_event, defaults, changed, error, message)
