"""What changes between two calls counts in the second one, whatever was traced before."""

from __future__ import annotations

import functools
import gc
import types
import warnings
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torchdiffeq
from autograd_cases import DOUBLE, TIGHT, Net, assert_same, tensor

import pysciml as sml
from pysciml.autograd.binding import Layout, bind

TIMES = torch.linspace(0.0, 1.0, 3, **DOUBLE)
Y0 = tensor(1.0, -0.5)

RATE = 0.5
SETTINGS = types.SimpleNamespace(rate=0.5)
CONSTANTS = types.ModuleType("constants_of_a_user")
CONSTANTS.RATE = 0.5


@pytest.fixture(autouse=True)
def nothing_falls_back(recwarn):
    yield
    assert not [w for w in recwarn if "torchdiffeq" in str(w.message)]


def check(func):
    """The drop-in, called once more, agrees with torchdiffeq."""
    found = sml.odeint(func, Y0, TIMES, **TIGHT)
    assert_same([found.detach()], [torchdiffeq.odeint(func, Y0, TIMES, **TIGHT).detach()], 1e-8)
    return found


def model_of(func, y0=Y0):
    return bind(func, Layout(y0.shape), y0, TIMES).problem.model


# -- tensors ---------------------------------------------------------------------------------------
def test_an_optimiser_step():
    net = Net(**DOUBLE)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    model = model_of(net)
    for _ in range(3):
        optimiser.zero_grad()
        check(net).sum().backward()
        optimiser.step()
    assert model_of(net) is model


def test_parameters_replaced_and_loaded():
    net = Net(**DOUBLE)
    check(net)
    net.first.weight = torch.nn.Parameter(torch.full((8, 2), 0.1, **DOUBLE))
    model = model_of(net)
    check(net).sum().backward()
    assert net.first.weight.grad is not None
    net.load_state_dict(Net(seed=5, **DOUBLE).state_dict())
    check(net)
    net.second.bias.data = tensor(0.3, 0.4)
    check(net)
    assert model_of(net) is model


@pytest.mark.parametrize("how", ["in place", "through .data", "replaced"])
def test_a_buffer(how):
    net = Net(**DOUBLE)
    for _ in range(3):  # the first change makes it an input
        check(net)
        if how == "in place":
            net.mean += 0.3
        elif how == "through .data":
            net.mean.data.mul_(2.0)
        else:
            net.mean = net.mean + 0.3
    model = model_of(net)
    net.mean += 0.1
    check(net)
    assert model_of(net) is model


def test_a_plain_tensor_attribute_and_one_in_a_closure():
    context = tensor(1.0, 2.0)

    class Controlled(torch.nn.Module):
        control = None

        def forward(self, t, y):
            return self.control * y.flip(0) - context * y

    func = Controlled()
    for step in range(4):
        func.control = tensor(0.1 * step, 0.2)
        context += 0.1
        check(func)


def test_requires_grad_can_be_switched_on():
    rate = tensor(0.5)
    func = lambda t, y: -rate * y  # noqa: E731
    assert not check(func).requires_grad
    rate.requires_grad_()
    check(func).sum().backward()
    assert rate.grad is not None


def test_a_numpy_array():
    matrix = np.array([[0.0, 1.0], [-1.0, 0.0]])
    func = lambda t, y: torch.from_numpy(matrix) @ y  # noqa: E731
    check(func)
    matrix[0, 1] = 3.0
    check(func)


def test_data_of_another_shape_and_dtype():
    net = Net(**DOUBLE)
    check(net)
    net.first.weight.data = torch.full((5, 2), 0.2, **DOUBLE)
    net.first.bias.data = torch.full((5,), 0.1, **DOUBLE)
    net.second.weight.data = torch.full((2, 5), 0.3, **DOUBLE)
    check(net)
    for p in net.parameters():
        p.requires_grad_(False)
    check(net)
    net.float().double()
    check(net)


def test_a_constant_with_nan_that_is_not_used():
    table = tensor(0.5, float("nan"))
    func = lambda t, y: -table[0] * y  # noqa: E731
    check(func)
    model = model_of(func)
    assert model_of(func) is model
    table[1] = 2.0
    table[0] = 0.9
    check(func)


def test_an_index_tensor():
    index = torch.tensor([1, 0])
    func = lambda t, y: y[index]  # noqa: E731
    check(func)
    index[:] = torch.tensor([0, 1])
    check(func)


# -- plain values ----------------------------------------------------------------------------------
def test_numbers_of_a_module():
    net = Net(**DOUBLE)
    models = []
    for rate in (0.7, 1.4, 0.7):
        net.rate = rate
        check(net)
        models.append(model_of(net))
    assert models[0] is models[2] is not models[1]


def test_a_closure_a_default_and_a_global():
    closed = 0.5

    def func(t, y, default=0.5):
        return -closed * default * RATE * y

    check(func)
    closed = 0.8
    check(func)
    func.__defaults__ = (0.9,)
    check(func)
    global RATE
    RATE = 0.3
    check(func)


def test_keyword_defaults_and_partial():
    def func(t, y, *, k):
        return -k * y

    keyword = functools.partial(func, k=0.5)
    check(keyword)
    check(functools.partial(func, k=0.7))
    keyword.keywords["k"] = 0.9
    check(keyword)


def test_attributes_of_other_objects():
    @dataclass
    class Config:
        rate: float

    class Slotted:
        __slots__ = ("rate",)

    config, slotted, table, numbers = Config(0.5), Slotted(), {"rate": 0.5}, [0.5, 1.0]
    slotted.rate = 0.5

    def func(t, y):
        named = config.rate * slotted.rate * SETTINGS.rate * CONSTANTS.RATE
        return -named * table["rate"] * numbers[0] * y

    check(func)
    for change in (
        lambda: setattr(config, "rate", 0.9),
        lambda: setattr(slotted, "rate", 0.9),
        lambda: setattr(SETTINGS, "rate", 0.9),
        lambda: setattr(CONSTANTS, "RATE", 0.9),
        lambda: table.update(rate=0.9),
        lambda: numbers.__setitem__(0, 0.9),
    ):
        change()
        check(func)


def test_class_attributes_properties_and_helper_functions():
    scale = [1.0]

    def helper(y):
        return scale[0] * y

    class Model(torch.nn.Module):
        rate = 0.5

        def __init__(self):
            super().__init__()
            self._power = 1.0

        @property
        def power(self):
            return self._power

        def damping(self, y):
            return self.rate * helper(y)

        def forward(self, t, y):
            return -self.damping(y) * self.power

    func = Model()
    check(func)
    Model.rate = 0.9
    check(func)
    func._power = 2.0
    check(func)
    scale[0] = 0.3
    check(func)


def test_an_attribute_named_by_a_string_and_a_function_swapped():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = 0.5
            self.activation = torch.tanh

        def forward(self, t, y):
            return -getattr(self, "rate") * self.activation(y)  # noqa: B009

    func = Model()
    check(func)
    func.rate = 0.9
    check(func)
    func.activation = torch.sin
    check(func)


def test_training_mode_and_hooks():
    class Model(torch.nn.Module):
        def forward(self, t, y):
            return -y if self.training else -2 * y

    func = Model()
    check(func)
    check(func.eval())
    check(func.train())
    handle = func.register_forward_hook(lambda module, args, result: 3 * result)
    check(func)
    handle.remove()
    check(func)


def test_a_submodule_added_and_removed():
    func = torch.nn.Sequential()

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = func

        def forward(self, t, y):
            return self.layers(-y)

    model = Model()
    check(model)
    func.append(torch.nn.Tanh())
    check(model)
    func.append(torch.nn.Linear(2, 2, **DOUBLE))
    check(model).sum().backward()
    del func[-1]
    check(model)


def test_the_initial_state_in_the_closure():
    y0 = tensor(1.0, -0.5, grad=True)
    pull = tensor(0.8, grad=True)

    def gradients(solver):
        for x in (y0, pull):
            x.grad = None
        states = solver(lambda t, y: pull * (y0 - y) + torch.sin(t), y0, TIMES, **TIGHT)
        states.square().sum().backward()
        return [states.detach(), y0.grad, pull.grad]

    assert_same(gradients(sml.odeint), gradients(torchdiffeq.odeint))


# -- what is captured once -------------------------------------------------------------------------
def test_a_new_lambda_each_time_and_a_copy_of_a_module_share_a_model():
    nets = [Net(seed=seed, **DOUBLE) for seed in (1, 2)]
    models = {id(model_of(lambda t, y, net=net: net(t, y))) for net in (*nets, *nets)}
    assert len(models) == 1
    assert model_of(nets[0]) is model_of(nets[1])
    for net in nets:
        check(net)


def test_shapes_have_models_of_their_own():
    net = Net(**DOUBLE)
    batch = torch.ones(4, 2, **DOUBLE)
    assert model_of(net, batch) is not model_of(net)
    assert sml.odeint(net, batch, TIMES).shape == (3, 4, 2)
    check(net)


def test_a_counter_of_calls_counts_traces_only():
    net = Net(**DOUBLE)
    check(net)  # a first call, and torchdiffeq's
    before = net.nfe
    for _ in range(5):
        sml.odeint(net, Y0, TIMES)
    assert net.nfe == before
    net.nfe = 0  # as training loops do
    sml.odeint(net, Y0, TIMES)
    assert net.nfe == 0


def test_a_number_that_keeps_changing_is_told_once():
    weight = 0.0
    func = lambda t, y: -weight * y  # noqa: E731
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(1, 13):
            weight = step
            bind(func, Layout(Y0.shape), Y0, TIMES)
    assert len(caught) == 1
    assert str(caught[0].message) == (
        "pysciml: <lambda> has been captured 10 times, because weight keeps changing, and each "
        "time it is compiled. A number that changes should be a tensor"
    )


def test_a_shape_that_keeps_changing_is_told_once():
    func = lambda t, y: -y  # noqa: E731
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for size in range(1, 13):
            bind(func, Layout((size,)), torch.ones(size, **DOUBLE), TIMES)
    assert len(caught) == 1
    assert "because the shape of y0 keeps changing" in str(caught[0].message)


def test_a_log_of_calls_and_a_value_made_on_the_first_call():
    log = []

    class Model(torch.nn.Module):
        noise = None

        def forward(self, t, y):
            log.append(len(log))
            if self.noise is None:
                self.noise = tensor(0.3, 0.7)
            return -y * self.noise

    func = Model()
    check(func)
    count = len(log)
    sml.odeint(func, Y0, TIMES)
    assert len(log) == count
    func.noise = tensor(0.9, 0.1)
    check(func)


def test_a_function_is_not_kept_alive():
    def twice(net):
        return lambda t, y: 2 * net(t, y)

    net = Net(**DOUBLE)
    func = twice(net)
    sml.odeint(func, Y0, TIMES)
    sml.odeint(net, Y0, TIMES).sum().backward()
    references = [weakref.ref(net), weakref.ref(func), weakref.ref(net.first.weight)]
    del net, func
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
