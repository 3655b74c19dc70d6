"""What can't be captured is told with the user's own line, the reason and a way out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pysciml.capture import capture
from pysciml.errors import CaptureError


def branch(u, p, t):
    if u[0] > 1:
        return [u[0], u[1]]
    return [u[1], u[0]]


def numpy_branch(u, p, t):
    x = np.sin(u)
    return x if x[0] > 1 else u


def builtin_max(u, p, t):
    return [max(u[0], 0.0), u[1]]


def too_far(u, p, t):
    return [u[0], u[5]]


def numpy_too_far(u, p, t):
    return np.array([u[0], u[7]])


def wrong_length(u, p, t):
    return [u[0]]


def random(u, p, t):
    return u * torch.rand(2)


def unknown_name(u, p, t):
    return [undefined_name * u[0], u[1]]  # noqa: F821


def boolean_index(u, p, t):
    return u[u > 0]


def number(u, p, t):
    return [u[0] * float(u[1]), u[1]]


def svd(u, p, t):
    return torch.linalg.svd(torch.outer(u, u))[1]


def text(u, p, t):
    return "abc"


def nothing(u, p, t):
    u * 2


def scipy_order(t, u):
    return u


CASES = [
    (branch, ["if u[0] > 1:", "depends on the values", "torch.where"]),
    (numpy_branch, ["x if x[0] > 1 else u", "depends on the values", "np.where"]),
    (builtin_max, ["max(u[0], 0.0)", "torch.maximum"]),
    (too_far, ["return [u[0], u[5]]", "index 5 is out of bounds"]),
    (numpy_too_far, ["np.array([u[0], u[7]])", "index 7 is out of bounds"]),
    (wrong_length, ["u's shape (2,)", "returned shape (1,)"]),
    (random, ["torch.rand(2)", "random numbers"]),
    (unknown_name, ["undefined_name * u[0]", "NameError"]),
    (boolean_index, ["u[u > 0]", "an index depends on the values"]),
    (number, ["float(u[1])", "float(), int() or .item()"]),
    (svd, ["torch.linalg.svd", "no translation yet"]),
    (text, ["returned str"]),
    (nothing, ["returned nothing", "(du, u, p, t)"]),
    (scipy_order, ["takes 2 arguments (t, u)", "from_scipy"]),
]


@pytest.mark.parametrize(("f", "parts"), CASES, ids=[f.__name__ for f, _ in CASES])
def test_message(f, parts) -> None:
    with pytest.raises(CaptureError) as caught:
        capture(f, np.ones(2))
    for part in parts:
        assert part in str(caught.value)
