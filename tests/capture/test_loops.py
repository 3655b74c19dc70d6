"""What generated loops are made of: elementary functions, matrix products, sums across rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

from pysciml.capture import capture
from pysciml.capture.array import Loop, lower_to_array
from pysciml.codegen import elementary
from pysciml.codegen.numba import as_numpy_function, compile_program, generate

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e-310, -1e-310, 1e308, -1e308])
RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=2000)
TINY = NORMAL * 10.0 ** RNG.uniform(-30, 0, 2000)
POSITIVE = 10.0 ** RNG.uniform(-320, 308, 2000)
#: where each function is looked at, besides the special values
ARGUMENTS = {
    "exp": (NORMAL, TINY, RNG.uniform(-746, 710, 2000), np.array([709.78, 709.79, -745.2])),
    "expm1": (NORMAL, TINY, RNG.uniform(-40, 710, 2000), np.array([709.78, 709.79])),
    "tanh": (NORMAL, TINY, RNG.uniform(-25, 25, 2000)),
    "log": (POSITIVE, 1.0 + TINY, np.array([-1.0])),
    "log1p": (POSITIVE, TINY, RNG.uniform(-1, 1, 2000), np.array([-1.0, -1.5])),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_elementary_functions_agree_with_numpy(name: str) -> None:
    function = getattr(elementary, name)

    @njit
    def apply(x, out):  # type: ignore[no-untyped-def]
        for i in range(x.size):
            out[i] = function(x[i])

    x = np.concatenate([SPECIAL, *ARGUMENTS[name]])
    value = np.empty_like(x)
    apply(x, value)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
        error = np.abs(value - expected) / np.spacing(np.abs(expected))
    finite = np.isfinite(expected)
    assert np.array_equal(value[~finite], expected[~finite], equal_nan=True)
    assert error[finite].max() <= 3.0


def _compiled(f: Any, u: Any, p: Any, name: str = "f") -> tuple[Any, Any]:
    """Value of the array form, and of the interpreter."""
    program = getattr(capture(f, u, p), name)
    arguments = (u, p, 0.0, RNG.normal(size=u.size))[: len(program.inputs)]
    function = as_numpy_function(compile_program(program, "array"), program)
    return function(*arguments), program(*arguments)


# k <= 4 n: the state holds the left matrix, and all products are its derivative
SIZES = [(1, 7, 5), (5, 4, 1), (2, 2, 2), (3, 8, 2), (6, 8, 8), (9, 17, 12), (40, 3, 33)]


@pytest.mark.parametrize("sizes", SIZES)
def test_products_of_all_layouts(sizes: tuple[int, int, int]) -> None:
    m, k, n = sizes

    def f(u: Any, p: Any, t: Any) -> Any:
        a, b = u[: m * k], p[: k * n]
        left = a.reshape((m, k)), a.reshape((k, m)).T
        right = b.reshape((k, n)), b.reshape((n, k)).T
        return torch.cat([(x @ y).reshape(-1) for x in left for y in right])

    u, p = RNG.normal(size=4 * m * n), RNG.normal(size=k * n)
    for name in ("f", "vjp_up"):
        value, expected = _compiled(f, u, p, name)
        assert np.abs(value - expected).max() <= 1e-13 * np.abs(expected).max()


def test_batches_of_products() -> None:
    def f(u: Any, p: Any, t: Any) -> Any:
        return torch.matmul(u.transpose(1, 2), p) @ u

    value, expected = _compiled(f, RNG.normal(size=(3, 6, 6)), RNG.normal(size=(3, 6, 6)))
    assert np.abs(value - expected).max() <= 1e-13 * np.abs(expected).max()


def test_large_products_go_to_blas() -> None:
    def f(u: Any, p: Any, t: Any) -> Any:
        return p @ u

    u, p = RNG.normal(size=(170, 170)), RNG.normal(size=(170, 170))
    program = capture(f, u, p).f
    assert "np.dot" in generate(program)[0]
    value, expected = _compiled(f, u, p)
    assert np.abs(value - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("reduce", ["sum", "amax", "amin"])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_reductions_along_and_across_rows(reduce: str, axes: tuple[int, ...]) -> None:
    def f(u: Any, p: Any, t: Any) -> Any:
        y = torch.exp(u.reshape(5, 6, 7)) * p
        return (u.reshape(5, 6, 7) * getattr(y, reduce)(axes, keepdim=True)).reshape(-1)

    value, expected = _compiled(f, RNG.normal(size=210), RNG.normal(size=(1, 6, 1)))
    assert np.abs(value - expected).max() <= 1e-13 * np.abs(expected).max()


def test_rows_of_fast_functions_are_loops_and_single_ones_are_not() -> None:
    wide = capture(lambda u, p, t: torch.tanh(u), np.zeros(8)).f
    narrow = capture(lambda u, p, t: torch.tanh(u), np.zeros(7)).f
    assert compile_program(wide).form == "array"
    assert compile_program(narrow).form == "scalar"
    assert math.isclose(as_numpy_function(compile_program(narrow), narrow)(np.ones(7), [], 0)[3],
                        math.tanh(1.0), rel_tol=1e-15)  # fmt: skip


def test_what_is_used_together_is_computed_together() -> None:
    # p[1] + 1 has to come first, and yet the rest is one pass that keeps nothing but the result
    def reaction(u: Any, p: Any, t: Any) -> Any:
        a, b = u[0], u[1]
        rate = a**2 * b
        return torch.stack([p[0] + rate - (p[1] + 1) * a, p[1] * a - rate])

    form = lower_to_array(capture(reaction, np.ones((2, 50)), np.ones(2)).f)
    first, second = form.statements
    assert isinstance(first, Loop) and isinstance(second, Loop)
    assert (first.extent, second.extent) == ((), (50,))
    assert [access.buffer.name for _, access in second.stores] == ["out", "out"]
