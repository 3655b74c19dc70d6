"""Random programs: PyTorch, the interpreter, both forms and both back ends agree to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from random_models import N_P, RandomModel, random_models, sample_point

from pysciml.capture import Model, capture
from pysciml.codegen.numba import as_numpy_function, compile_program

RELATIVE = 1e-12
relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def by_torch(f: RandomModel) -> dict[str, Any]:
    """The values that every program of `f` should have, from PyTorch's eager autograd."""
    u, p, t, v = sample_point(f.shape)
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (u, p, t)]

    def flat(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return f(u, p, t).reshape(-1)

    by_u, by_p, by_t = torch.autograd.functional.jacobian(flat, tuple(tensors))
    n = v.size
    jac = by_u.reshape(n, n).numpy()
    jac_p = by_p.reshape(n, N_P).numpy()

    def second(wrt: int, weights: Any) -> Any:
        """Gradient in u, then in p, of the weighted first derivative of v·f."""
        scalar = flat(*tensors) @ torch.tensor(v)
        (first,) = _gradients(scalar, (tensors[wrt],))
        return np.concatenate(
            [
                g.detach().numpy().ravel()
                for g in _gradients((first * torch.tensor(weights)).sum(), tensors[:2])
            ]
        )

    return {
        "f": flat(*tensors).detach().numpy(),
        "jac": jac,
        "tgrad": by_t.reshape(n).numpy(),
        "jvp": jac @ v,
        "vjp": v @ jac,
        "vjp_p": v @ jac_p,
        "vjp_up": np.concatenate([v @ jac, v @ jac_p]),
        "jvp_vjp": second(0, v[::-1].reshape(f.shape).copy()),
        "tgrad_vjp": second(2, 1.0),
    }


def _gradients(scalar: torch.Tensor, wrt: Any) -> Any:
    """Zeros where `scalar` does not depend on what it is differentiated by."""
    if not scalar.requires_grad:
        return [torch.zeros_like(x) for x in wrt]
    return torch.autograd.grad(scalar, wrt, create_graph=True, materialize_grads=True)


def assert_close(value: Any, expected: Any, what: str) -> None:
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    assert np.abs(value - expected).max(initial=0.0) <= RELATIVE * scale, what


def arguments(model: Model, name: str) -> tuple[Any, ...]:
    u, p, t, v = sample_point(model.state_shape)
    if name == "jvp_vjp":
        return u, p, t, np.concatenate([v[::-1], v])
    return (u, p, t) if name in ("f", "jac", "tgrad") else (u, p, t, v)


@given(random_models())
@example(RandomModel((2, 3), [("add", 0, 0), ("cumsum", 0, 0), ("in_place", 5, 0)]))
@settings(relaxed, max_examples=60)
def test_programs_agree_with_torch(f: RandomModel) -> None:
    model = capture(f, np.zeros(f.shape), np.zeros(N_P))
    for name, expected in by_torch(f).items():
        value = getattr(model, name)(*arguments(model, name))
        assert_close(value, expected, f"{name} of {f}")


@given(random_models(longest=5))
@settings(relaxed, max_examples=8)
def test_both_native_forms_agree_with_torch(f: RandomModel) -> None:
    model = capture(f, np.zeros(f.shape), np.zeros(N_P))
    for name, expected in by_torch(f).items():
        program = getattr(model, name)
        for form in ("scalar", "array"):
            compiled = as_numpy_function(compile_program(program, form), program)
            assert_close(compiled(*arguments(model, name)), expected, f"{form} {name} of {f}")


@given(random_models(longest=5))
@settings(relaxed, max_examples=60)
def test_the_sparsity_pattern_covers_the_jacobian(f: RandomModel) -> None:
    model = capture(f, np.zeros(f.shape), np.zeros(N_P))
    outside = ~model.sparsity().toarray()
    assert not by_torch(f)["jac"][outside].any()


@pytest.mark.julia
@given(random_models(longest=5))
@settings(relaxed, max_examples=15)
def test_both_julia_forms_agree_with_torch(f: RandomModel) -> None:
    from julia_functions import as_numpy_function

    from pysciml.codegen.julia import generate

    model = capture(f, np.zeros(f.shape), np.zeros(N_P))
    for name, expected in by_torch(f).items():
        program = getattr(model, name)
        for form in ("scalar", "array"):
            source = generate(program, form=form)
            value = as_numpy_function(source, program)(*arguments(model, name))
            assert_close(value, expected, f"{form} {name} of {f}")
