"""What methods in two parts are not for on Julia is refused before Julia runs."""

from __future__ import annotations

import pytest
import torch
from dynamical_cases import forced, kepler, oscillator

import pysciml as sml


def friction() -> sml.SecondOrderODEProblem:
    return sml.SecondOrderODEProblem(lambda du, u, p, t: -u - du, [0.0], [1.0], (0.0, 1.0))


def dry_friction() -> sml.SecondOrderODEProblem:
    return sml.SecondOrderODEProblem(
        lambda du, u, p, t: -u - 0.1 * torch.sign(du), [0.0], [1.0], (0.0, 1.0)
    )


def plain() -> sml.ODEProblem:
    return sml.ODEProblem(lambda u, p, t: -u, [1.0, 2.0], (0.0, 1.0))


TIPPING = [sml.ContinuousEvent(lambda u, p, t: u[1, 0], terminal=True)]

WRONG_CALLS = [
    (
        lambda: sml.solve(kepler(), "McAte42", "julia", dt=0.1),
        'McAte42 misses its order in OrdinaryDiffEq; of symplectic methods "CandyRoz4" has order 4 '
        'and "KahanLi8" 8, of IMEX methods "KenCarp4" 4',
    ),
    (
        lambda: sml.solve(forced(), "KahanLi8", "julia", dt=0.1),
        "KahanLi8 of OrdinaryDiffEq has order 1 where f1 or f2 depends on t, as here; "
        "\"VerletLeapfrog\" has order 2, engine='native' has all of its symplectic methods",
    ),
    (
        lambda: sml.solve(plain(), "KahanLi8", "julia", dt=0.1),
        "KahanLi8 takes a DynamicalODEProblem or a SecondOrderODEProblem, but no sensitivity "
        "equations of one; got an ODEProblem",
    ),
    (
        lambda: sml.solve(plain(), "DPRKN6", "julia"),
        "DPRKN6 takes a DynamicalODEProblem or a SecondOrderODEProblem, but no sensitivity "
        "equations of one; got an ODEProblem",
    ),
    (
        lambda: sml.solve(friction(), "Yoshida6", "julia", dt=0.1),
        "Yoshida6 needs a separable system, dv/dt = f1(u, p, t) and du/dt = f2(v, p, t); here f1 "
        '(dv/dt) depends on v. "Tsit5" or "Vern7" solves it',
    ),
    (  # by leaps only, so that no derivative shows it
        lambda: sml.solve(dry_friction(), "KahanLi8", "native", dt=0.1),
        "KahanLi8 needs a separable system, dv/dt = f1(u, p, t) and du/dt = f2(v, p, t); here f1 "
        '(dv/dt) depends on v. "Tsit5" or "Vern7" solves it',
    ),
    (
        lambda: sml.solve(friction(), "DPRKN6", "julia"),
        'DPRKN6 needs an f that does not depend on u\'; here it does. "FineRKN5" takes that',
    ),
    (
        lambda: sml.solve(oscillator(), "FineRKN5", "julia"),
        "FineRKN5 is a Nystrom method and takes a SecondOrderODEProblem; got a DynamicalODEProblem",
    ),
    (
        lambda: sml.solve(oscillator(), "VelocityVerlet", "julia", dt=0.1),
        "VelocityVerlet needs du/dt = v on engine='julia', a SecondOrderODEProblem; "
        '"VerletLeapfrog" is the same method without that',
    ),
    (
        lambda: sml.solve(kepler(), "KahanLi8", "julia", dt=0.1, events=TIPPING),
        'KahanLi8 has no events; "Tsit5" and the other Runge-Kutta methods have them',
    ),
    (
        lambda: sml.gradient(
            kepler(), lambda u: u.sum(), "KahanLi8", "julia", dt=0.1, saveat=1.0, sensealg="adjoint"
        ),
        'engine="julia" has no gradients of KahanLi8; the native engine has, of symplectic ones',
    ),
    (
        lambda: sml.gradient(
            kepler(), lambda u: u.sum(), "DPRKN6", "julia", saveat=1.0, sensealg="adjoint"
        ),
        'engine="julia" has no gradients of DPRKN6; the native engine has, of symplectic ones',
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS, ids=[m[:50] for _, m in WRONG_CALLS])
def test_wrong_calls(call, message):
    with pytest.raises(sml.UnsupportedError) as error:
        call()
    assert str(error.value) == message
