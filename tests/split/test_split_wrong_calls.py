"""What methods for split problems are not for on Julia is refused before Julia runs."""

from __future__ import annotations

import pytest
import torch

import pysciml as sml
from pysciml.engines.julia.two_parts import refuse_gradients


def split(f1) -> sml.SplitODEProblem:
    return sml.SplitODEProblem(f1, lambda u, p, t: 0.0 * u, [1.0, 2.0], (0.0, 1.0), 2.0)


NOT_LINEAR = (
    "ETDRK4 needs a linear f1, a matrix times u that does not change with time; here it is not. "
    '"KenCarp4" takes any f1'
)

WRONG_CALLS = [
    (
        lambda: sml.solve(
            sml.ODEProblem(lambda u, p, t: -u, 1.0, (0, 1)), "SBDF2", "julia", dt=0.1
        ),
        "SBDF2 takes a SplitODEProblem, one part of which is implicit or linear; got an ODEProblem",
    ),
    (lambda: sml.solve(split(lambda u, p, t: -(u**2)), "ETDRK4", "julia", dt=0.1), NOT_LINEAR),
    (lambda: sml.solve(split(lambda u, p, t: -t * u), "ETDRK4", "julia", dt=0.1), NOT_LINEAR),
    (
        lambda: sml.solve(
            split(lambda u, p, t: torch.where(u > 1.0, -u, -2.0 * u)), "ETDRK4", "julia", dt=0.1
        ),
        NOT_LINEAR,
    ),
    (
        lambda: sml.solve(split(lambda u, p, t: p - u), "ETDRK4", "julia", dt=0.1),
        "f1 must be linear for ETDRK4, zero where u is; here f1(0, p, t0) is [2.0, 2.0]: let f2 "
        "have that",
    ),
    (
        lambda: sml.gradient(
            split(lambda u, p, t: -u), lambda u: u.sum(), "ETDRK4", "julia", dt=0.1, saveat=1.0,
            sensealg="adjoint",
        ),
        'engine="julia" has no gradients of ETDRK4',
    ),
]  # fmt: skip


@pytest.mark.parametrize("alg", ["KenCarp4", "KenCarp4()", None])
def test_what_takes_the_sum_has_gradients(alg):
    refuse_gradients(split(lambda u, p, t: -u), alg)


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS, ids=[m[:40] for _, m in WRONG_CALLS])
def test_wrong_calls(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message
