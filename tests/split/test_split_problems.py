"""The sum of two right-hand sides, on every engine that is here."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import pysciml as sml

TIMES = np.linspace(0.0, 2.0, 5)


def decay(u, p, t):
    return [-p["k"] * u[0], -p["k"] * u[1]]


def rotation(u, p, t):
    return np.array([-p["w"] * u[1], p["w"] * u[0]])


def decay_in_place(du, u, p, t):
    du[0] = -p["k"] * u[0]
    du[1] = -p["k"] * u[1]


def rotation_in_place(du, u, p, t):
    du[0] = -p["w"] * u[1]
    du[1] = p["w"] * u[0]


P = {"k": 0.5, "w": 3.0}
EXACT = np.exp(-0.5 * TIMES)[:, None] * np.stack([np.cos(3 * TIMES), np.sin(3 * TIMES)], -1)


def spiral(f1=decay, f2=rotation) -> sml.SplitODEProblem:
    return sml.SplitODEProblem(f1, f2, [1.0, 0.0], (0.0, 2.0), P)


@pytest.mark.parametrize(
    ("engine", "alg"),
    [("native", None), ("native", "Vern7"), ("native", "Rodas5P"), ("torch", "dopri5")],
)
@pytest.mark.parametrize("halves", [(decay, rotation), (decay_in_place, rotation_in_place)])
def test_solves_as_the_sum(engine, alg, halves):
    found = sml.solve(spiral(*halves), alg, engine, saveat=TIMES, abstol=1e-10, reltol=1e-10)
    assert np.abs(found.u - EXACT).max() < 1e-7


def test_gradient():
    """L = |u(2)|^2 = exp(-4 k)."""
    found = sml.gradient(
        spiral(), lambda u: (u[-1] ** 2).sum(), "Vern7", "native", saveat=2.0, sensealg="adjoint",
        abstol=1e-12, reltol=1e-12,
    )  # fmt: skip
    assert found.p["k"] == pytest.approx(-4.0 * np.exp(-2.0), rel=1e-9)
    assert found.p["w"] == pytest.approx(0.0, abs=1e-9)


def test_lists_tensors_and_scalars_are_added():
    whole = lambda u, p, t: torch.stack([u[1], -u[0]])  # noqa: E731
    mixed = sml.SplitODEProblem(whole, lambda u, p, t: (0.0 * t, u[0]), [1.0, 2.0], (0.0, 1.0))
    found = sml.solve(mixed, "Vern7", "native", saveat=1.0, abstol=1e-12, reltol=1e-12)
    assert found.u[-1] == pytest.approx([3.0, 2.0], rel=1e-11)
    one = sml.SplitODEProblem(lambda u, p, t: -u, lambda u, p, t: 1.0, 0.0, (0.0, 1.0))
    found = sml.solve(one, "Vern7", "native", saveat=1.0, abstol=1e-12, reltol=1e-12)
    assert found.u[-1] == pytest.approx(1.0 - np.exp(-1.0), rel=1e-11)


def test_repr_and_pickle():
    values = "u0=[1.0, 0.0], tspan=(0.0, 2.0), p={'k': 0.5, 'w': 3.0}"
    text = f"SplitODEProblem(decay, rotation, {values})"
    assert repr(spiral()) == repr(pickle.loads(pickle.dumps(spiral()))) == text


WRONG_CALLS = [
    (
        lambda: sml.SplitODEProblem(decay, None, [1.0, 0.0], (0, 1), P),
        "f2 must be a function f2(u, p, t) or f2(du, u, p, t); got None",
    ),
    (
        lambda: sml.SplitODEProblem(lambda t, u: u, rotation, [1.0, 0.0], (0, 1), P),
        "f1 must be a function f1(u, p, t) or f1(du, u, p, t); got <lambda>(t, u)",
    ),
    (
        lambda: sml.SplitODEProblem(decay_in_place, rotation, [1.0, 0.0], (0, 1), P),
        "f1 and f2 must both return their results or both write them in place; here f2 returns its "
        "result and f1 writes it",
    ),
    (
        lambda: sml.SplitODEProblem(decay, torch.nn.Tanh(), [1.0, 0.0], (0, 1), P),
        "f2 must be a function f2(u, p, t) or f2(du, u, p, t); got the nn.Module Tanh: call it in "
        "a function, with its weights in p (see pysciml.nn.functional)",
    ),
    (
        lambda: sml.SplitODEProblem(decay, rotation, [1.0, 0.0], (1, 1), P),
        "tspan must be two different times; got (1.0, 1.0)",
    ),
    *[
        (
            lambda alg=alg: sml.solve(spiral(), alg, "native"),
            f"alg='{alg}' is not in the native engine; it needs engine=\"julia\", which has every "
            "algorithm of OrdinaryDiffEq. ",
        )
        for alg in ("KenCarp4", "IMEXEuler", "SBDF2", "ARS343")
    ],
]


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS, ids=[m[:60] for _, m in WRONG_CALLS])
def test_wrong_calls(call, message):
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert str(error.value).startswith(message)


def test_terms_of_different_lengths():
    problem = sml.SplitODEProblem(decay, lambda u, p, t: [u[0]], [1.0, 0.0], (0, 1), P)
    with pytest.raises(sml.CaptureError, match="f1 returned 2 entries and f2 1"):
        sml.solve(problem, engine="native")
