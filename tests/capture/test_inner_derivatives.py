"""Derivatives taken and linear systems solved inside a right-hand side, as in mechanics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pysciml import nn
from pysciml.capture import capture
from pysciml.errors import CaptureError

N = 3
U = np.array([0.3, -0.8, 0.5])
P = np.array([0.5, 1.5])
apply, weights = nn.functional(nn.mlp([N, 5, 1]))


def energy(u, p):
    return apply(u, weights).squeeze(-1) + p[0] * torch.cos(u).sum() + p[1] * (u**4).sum()


def matrix(u, p):
    """Its first pivot is zero, so rows have to change places."""
    return torch.outer(u, u * p[0]) + torch.diag(p[1] + u**2).roll(1, 0) - torch.diag(u**2 * p[0])


def gradient(u, p, t):
    return torch.func.grad(energy)(u, p)


def mapped(u, p, t):
    return torch.func.vmap(torch.func.grad(energy), (0, None))(torch.stack([u, 2.0 * u]), p)[1]


def hessian(u, p, t):
    return torch.func.hessian(energy)(u, p) @ u


def reverse_twice(u, p, t):
    return torch.func.jacrev(torch.func.grad(energy))(u, p) @ u


def along(u, p, t):
    return torch.func.jvp(lambda u: torch.func.grad(energy)(u, p), (u,), (u**2,))[1]


def pulled_back(u, p, t):
    return torch.func.vjp(lambda u: torch.func.grad(energy)(u, p), u)[1](u**2)[0]


def solve(u, p, t):
    return torch.linalg.solve(matrix(u, p), u**2)


def solve_for_columns(u, p, t):
    return torch.linalg.solve(matrix(u, p), torch.outer(u, p)) @ p


def solve_from_the_left(u, p, t):
    return p @ torch.linalg.solve(matrix(u, p), torch.outer(p, u), left=False)


def solve_a_batch(u, p, t):
    return torch.linalg.solve(torch.stack([matrix(u, p), matrix(u**2, p)]), u).sum(0)


def inverse(u, p, t):
    return torch.linalg.inv(matrix(u, p)) @ u


def gradient_of_a_solve(u, p, t):
    return torch.func.grad(lambda u: (torch.linalg.solve(matrix(u, p), u) ** 2).sum())(u)


def acceleration(u, p, t):
    """A Lagrangian's equations of motion: a solve with a Hessian."""
    mass = torch.func.hessian(energy)(u, p) + 3.0 * torch.eye(N)
    return torch.linalg.solve(mass, torch.func.grad(energy)(u, p))


@pytest.mark.parametrize(
    "f",
    [
        gradient,
        mapped,
        hessian,
        reverse_twice,
        along,
        pulled_back,
        solve,
        solve_for_columns,
        solve_from_the_left,
        solve_a_batch,
        inverse,
        gradient_of_a_solve,
        acceleration,
    ],
    ids=lambda f: f.__name__,
)
def test_the_value_and_the_gradients_of_it(f):
    model = capture(f, U, P)
    u, p = torch.tensor(U, requires_grad=True), torch.tensor(P, requires_grad=True)
    w = torch.tensor([0.7, -1.0, 0.2], dtype=torch.float64)
    expected = model.torch_function(u, p, torch.tensor(0.0))
    by_u, by_p = torch.autograd.grad(expected @ w, (u, p))
    np.testing.assert_allclose(model.f(U, P, 0.0), expected.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(model.vjp(U, P, 0.0, w.numpy()), by_u.numpy(), rtol=1e-10)
    np.testing.assert_allclose(model.vjp_p(U, P, 0.0, w.numpy()), by_p.numpy(), rtol=1e-10)


def test_a_singular_matrix_has_no_finite_solution():
    model = capture(lambda u, p, t: torch.linalg.solve(torch.outer(u, u), u), np.ones(2))
    with np.errstate(all="ignore"):
        assert not np.isfinite(model.f(np.ones(2), np.zeros(0), 0.0)).any()


def test_a_large_system_is_refused():
    def f(u, p, t):
        return torch.linalg.solve(torch.diag(u), u)

    with pytest.raises(CaptureError, match="_linalg_solve_ex"):
        capture(f, np.ones(20))
