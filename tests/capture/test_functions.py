"""Functions of vectors as Programs: interpreted fast, and mapped over many states at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from random_models import N_P, OPERATIONS, SHAPES, RandomModel, random_models, sample_point

from pysciml.capture import capture
from pysciml.capture.functions import capture_value_and_grad
from pysciml.capture.interpret import prepare

relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@given(random_models())
@settings(relaxed, max_examples=40)
def test_prepared_programs_are_the_programs(f: RandomModel) -> None:
    """To the last bit, whatever the operations."""
    model = capture(f, np.zeros(f.shape), np.zeros(N_P))
    u, p, t, v = sample_point(f.shape)
    for name in ("f", "jac", "tgrad", "vjp", "vjp_p"):
        program = getattr(model, name)
        extra = () if name in ("f", "jac", "tgrad") else (v,)
        expected = program(u, p, t, *extra)
        with np.errstate(all="ignore"):
            found = prepare(program)(u.reshape(-1), p, t, *extra)
        np.testing.assert_array_equal(found, expected.reshape(-1))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape], ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_function_of_one_state_can_be_mapped_over_many(
    operation: str, shape: tuple[int, ...]
) -> None:
    """What `observe`, physics terms and collocation do, with the gradient in states and p."""
    f = RandomModel(shape, [(operation, 0, 2), (operation, 4, 1)])
    rows, size = 4, int(np.prod(shape))
    times = torch.linspace(0.1, 0.9, rows, dtype=torch.float64)

    def scalar(u: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        values = torch.func.vmap(lambda u, t: f(u, p, t))(u.reshape(rows, *shape), times)
        weights = torch.cos(torch.arange(values.numel(), dtype=torch.float64))
        return values.reshape(-1) @ weights

    random = np.random.default_rng(0)
    u, p = random.normal(size=rows * size), random.normal(size=N_P)
    program = capture_value_and_grad(scalar, rows * size, N_P)
    by = [torch.tensor(x, requires_grad=True) for x in (u, p)]
    value = scalar(*by)
    gradients = torch.autograd.grad(value, by, materialize_grads=True)
    expected = np.concatenate([[value.item()], *(g.numpy() for g in gradients)])
    np.testing.assert_allclose(program(u, p, 0.0), expected, rtol=1e-11, atol=1e-12)
