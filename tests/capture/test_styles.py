"""Every way of writing a right-hand side gives the same program as plain PyTorch."""

from __future__ import annotations

import math
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from math import exp, pi
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pysciml.capture import capture

A = np.array([[1.0, 2.0], [-0.5, 3.0]])
Rates = namedtuple("Rates", ["alpha", "beta"])


def helper(x: Any) -> Any:
    return math.sqrt(x) + exp(-x)


# -- each entry: the model in some style, and the same by hand in NumPy ----------------------------
def as_list(u, p, t):
    x, y = u
    return [p[0] * x - p[1] * x * y, p[1] * x * y - t]


def as_tuple_with_number(u, p, t):
    return u[1], -9.81


def in_place(du, u, p, t):
    du[0] = p[0] * u[0]
    du[1] = u[1] ** 2
    du[1] -= t


def torch_style(u, p, t):
    return torch.stack([torch.sin(u[0]) * p[0], torch.dot(u, u)])


def numpy_array(u, p, t):
    return np.array([np.sin(u[0]) * p[0], np.dot(u, u)])


def numpy_in_place(du, u, p, t):
    du[:] = A @ u
    du[0] += np.sum(np.roll(u, 1)) * np.exp(-t)


def numpy_zeros(u, p, t):
    du = np.zeros(2)
    du[0] = np.maximum(u[0], 0.5) + math.cos(t)
    du[1] = np.where(u[1] > 0.5, u[1], p[1]) + pi
    return du


def plain_math(u, p, t):
    return [math.sin(u[0]) + math.atan2(u[1], 2.0), helper(u[1]) + math.log(u[0], 2)]


def static_control_flow(u, p, t):
    total = u * 0
    for k in range(3):
        total = total + (u**k if k % 2 else -u)
    return total


def closure_over_array(u, p, t):
    return torch.as_tensor(A) @ u


HANDWRITTEN = [
    (as_list, lambda u, p, t: [p[0] * u[0] - p[1] * u[0] * u[1], p[1] * u[0] * u[1] - t]),
    (as_tuple_with_number, lambda u, p, t: [u[1], -9.81]),
    (in_place, lambda u, p, t: [p[0] * u[0], u[1] ** 2 - t]),
    (torch_style, lambda u, p, t: [np.sin(u[0]) * p[0], u @ u]),
    (numpy_array, lambda u, p, t: [np.sin(u[0]) * p[0], u @ u]),
    (numpy_in_place, lambda u, p, t: A @ u + [u.sum() * np.exp(-t), 0.0]),
    (
        numpy_zeros,
        lambda u, p, t: [
            max(u[0], 0.5) + np.cos(t),
            (u[1] if u[1] > 0.5 else p[1]) + np.pi,
        ],
    ),
    (
        plain_math,
        lambda u, p, t: [
            np.sin(u[0]) + np.arctan2(u[1], 2.0),
            np.sqrt(u[1]) + np.exp(-u[1]) + np.log2(u[0]),
        ],
    ),
    (static_control_flow, lambda u, p, t: -u + u - u),
    (closure_over_array, lambda u, p, t: A @ u),
]


@pytest.mark.parametrize(("f", "by_hand"), HANDWRITTEN, ids=lambda f: getattr(f, "__name__", ""))
def test_style(f: Any, by_hand: Any) -> None:
    model = capture(f, np.ones(2), [0.3, 0.8])
    rng = np.random.default_rng(1)
    for _ in range(5):
        u, p, t = rng.uniform(0.1, 1.0, 2), rng.uniform(0.1, 1.0, 2), rng.uniform()
        expected = np.asarray(by_hand(u, p, t), dtype=float)
        np.testing.assert_allclose(model.f(u, p, t), expected, rtol=1e-14, atol=1e-14)
        tensors = (torch.tensor(u), torch.tensor(p), torch.tensor(t, dtype=torch.float64))
        own = model.torch_function(*tensors).numpy()
        np.testing.assert_allclose(own, expected, rtol=1e-14, atol=1e-14)


# -- parameters ------------------------------------------------------------------------------------
def test_parameters_by_name() -> None:
    def f(u, p, t):
        return [p["growth"] * u[0], p["inner"]["matrix"][0, 1] * u[1]]

    p = {"growth": 2.0, "inner": {"matrix": np.arange(4.0).reshape(2, 2)}}
    model = capture(f, np.ones(2), p)
    assert model.parameters.names == [
        "growth",
        "inner.matrix[0, 0]",
        "inner.matrix[0, 1]",
        "inner.matrix[1, 0]",
        "inner.matrix[1, 1]",
    ]
    np.testing.assert_array_equal(model.p_flat, [2.0, 0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(model.f([3.0, 5.0], model.p_flat, 0.0), [6.0, 5.0])
    back = model.parameters.unflatten(model.p_flat)
    np.testing.assert_array_equal(back["inner"]["matrix"], p["inner"]["matrix"])


def test_parameters_as_namedtuple_and_scalar() -> None:
    model = capture(lambda u, p, t: p.alpha * u - p.beta, np.ones(2), Rates(2.0, 0.5))
    np.testing.assert_array_equal(model.f([1.0, 2.0], model.p_flat, 0.0), [1.5, 3.5])
    assert model.parameters.names == ["alpha", "beta"]
    scalar = capture(lambda u, p, t: -p * u, np.float64(1.0), 3.0)
    assert scalar.state_shape == ()
    np.testing.assert_array_equal(scalar.f(2.0, [3.0], 0.0), -6.0)


def test_parameters_of_the_wrong_shape_are_named() -> None:
    model = capture(lambda u, p, t: p["a"] * u, np.ones(2), {"a": 1.0})
    with pytest.raises(ValueError, match=r"p must have the keys \['a'\], got \['b'\]"):
        model.parameters.flatten({"b": 1.0})
    with pytest.raises(ValueError, match=r"p\['a'\] must have shape \(\), got shape \(2,\)"):
        model.parameters.flatten({"a": [1.0, 2.0]})
    with pytest.raises(ValueError, match="p must be finite, but a is nan"):
        model.parameters.flatten({"a": math.nan})


# -- modules ---------------------------------------------------------------------------------------
class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, t, u):
        return self.linear(u) * t


class WithPhysics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.SiLU(), nn.Linear(4, 2))

    def forward(self, u, p, t):
        return p["rate"] * u + self.net(u)


class Stencil(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3, padding=1, padding_mode="circular")
        self.mix = nn.Conv1d(2, 1, 1)

    def forward(self, u):
        return self.mix(torch.relu(self.conv(u[None, None])))[0, 0]


@pytest.mark.parametrize(
    ("module", "size", "p", "call"),
    [
        (nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)), 2, None, "u"),
        (nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 3), nn.Softmax(-1)), 3, None, "u"),
        (TimeFirst(), 2, None, "tu"),
        (WithPhysics(), 2, {"rate": 0.5}, "upt"),
        (Stencil(), 8, None, "u"),
    ],
    ids=["mlp", "gelu-softmax", "time-first", "with-physics", "circular-stencil"],
)
def test_module(module: nn.Module, size: int, p: Any, call: str) -> None:
    model = capture(module, np.ones(size), p)
    count = sum(x.numel() for x in module.parameters())
    assert model.n_p == count + (1 if p else 0)
    module.double()
    u = torch.linspace(-1, 1, size, dtype=torch.float64)
    t = torch.tensor(0.3, dtype=torch.float64)
    given = {"u": (u,), "tu": (t, u), "upt": (u, p, t)}[call]
    expected = module(*given).detach().numpy()
    np.testing.assert_allclose(model.f(u.numpy(), model.p_flat, 0.3), expected, rtol=1e-13)


def test_module_parameters_keep_names_and_float64() -> None:
    module = nn.Linear(2, 2)  # float32
    model = capture(module, np.ones(2))
    assert model.parameters.names[:3] == ["weight[0, 0]", "weight[0, 1]", "weight[1, 0]"]
    assert model.f([1.0, 1.0], model.p_flat, 0.0).dtype == np.float64
    assert module.weight.dtype == torch.float32


def test_matrix_state() -> None:
    def diffusion(u, p, t):
        return p * (torch.roll(u, 1, 0) + torch.roll(u, -1, 0) - 2 * u)

    model = capture(diffusion, np.ones((4, 3)), 0.1)
    u = np.random.default_rng(0).normal(size=(4, 3))
    expected = 0.1 * (np.roll(u, 1, 0) + np.roll(u, -1, 0) - 2 * u)
    np.testing.assert_allclose(model.f(u, [0.1], 0.0), expected.ravel(), atol=1e-15)
    assert model.sparsity().nnz == 12 * 3


def test_a_digest_tells_programs_apart() -> None:
    one = capture(lambda u, p, t: p * u, np.ones(2), 1.0)
    same = capture(lambda u, p, t: p * u, np.zeros(2), 2.0)
    other = capture(lambda u, p, t: p + u, np.ones(2), 1.0)
    assert one.f.digest == same.f.digest != other.f.digest


def test_capture_leaves_the_users_modules_alone() -> None:
    before = set(globals())
    capture(plain_math, np.ones(2), [0.3, 0.8])
    assert set(globals()) == before and exp is math.exp
    assert torch.get_default_dtype() == torch.float32


def test_products_differentiate_at_zeros() -> None:
    def f(u, p, t):
        return torch.stack([torch.prod(u), torch.prod(u.reshape(2, 2), 1)[0], u[0], u[1]])

    model = capture(f, np.ones(4))
    u = np.array([2.0, 0.0, 3.0, 5.0])
    np.testing.assert_array_equal(model.f(u, [], 0.0), [0.0, 0.0, 2.0, 0.0])
    expected = [[0, 30, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    np.testing.assert_array_equal(model.jac(u, [], 0.0), expected)


def test_functions_in_threads_leave_the_default_dtype_alone() -> None:
    first_is_inside, second_is_inside, first_has_left = (threading.Event() for _ in range(3))
    in_threads = False

    def first(u, p, t):
        if in_threads:
            first_is_inside.set()
            assert second_is_inside.wait(timeout=10.0)
        return -u

    def second(u, p, t):
        if in_threads:
            second_is_inside.set()
            assert first_has_left.wait(timeout=10.0)
        return -u

    arguments = torch.ones(2), torch.zeros(0), torch.tensor(0.0)
    functions = [capture(f, np.ones(2), None).torch_function for f in (first, second)]
    in_threads = True
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(functions[0], *arguments)
        assert first_is_inside.wait(timeout=10.0)
        later = pool.submit(functions[1], *arguments)
        running.result()
        first_has_left.set()
        later.result()
    assert torch.get_default_dtype() == torch.float32


def test_captures_in_threads() -> None:
    def pendulum(k: float) -> Any:
        return lambda u, p, t: np.array([u[1] * p, -k * np.sin(u[0]) * math.exp(-u[1])])

    def rate(k: float) -> Any:
        model = capture(pendulum(k), np.ones(2), 2.0)
        return model.f(np.array([0.3, 0.4]), np.array([2.0]), 0.0)[1]

    strengths = np.arange(12.0)
    with ThreadPoolExecutor(4) as pool:
        rates = list(pool.map(rate, strengths))
    np.testing.assert_allclose(rates, -strengths * np.sin(0.3) * np.exp(-0.4), rtol=1e-14)
