"""Partitioned problems are ordinary ones, too: any method, gradients, events, on any engine."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from dynamical_cases import (
    PERIOD,
    energy,
    forced,
    kepler,
    kepler_exact,
    oscillator,
    oscillator_exact,
)

import pysciml as sml

TIGHT = {"abstol": 1e-12, "reltol": 1e-12}


def test_the_state_is_v_above_u():
    problem = oscillator()
    assert problem.u0.tolist() == [[0.0], [1.0]]
    assert problem.names == ("v[0]", "u[0]")
    assert kepler().names == ("du[0]", "du[1]", "u[0]", "u[1]")
    assert problem.remake(u0=([2.0], [3.0])).u0.tolist() == [[2.0], [3.0]]


def test_repr():
    assert repr(kepler(0.5)).startswith("SecondOrderODEProblem(attraction, u0=[[0.0, 1.36")


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("alg", ["Tsit5", "Vern7"])
def test_ordinary_methods_follow_kepler(engine, alg):
    if engine == "torch":
        alg = {"Tsit5": "dopri5", "Vern7": "dopri8"}[alg]
    times = np.linspace(0.0, PERIOD, 9)
    solution = sml.solve(kepler(), alg, engine, saveat=times, abstol=1e-10, reltol=1e-10)
    assert solution.u.shape == (9, 2, 2)
    assert np.abs(solution.u - kepler_exact(times)).max() < 1e-6
    assert np.abs(energy(solution.u) + 0.5).max() < 1e-6


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_second_order_written_in_place(engine):
    solution = sml.solve(forced(), engine=engine, saveat=0.5, **TIGHT)
    t = solution.t
    assert np.abs(solution.u[:, 1, 0] - (np.cos(t) - np.cos(2 * t)) / 3).max() < 1e-10
    assert np.abs(solution.u[:, 0, 0] - (2 * np.sin(2 * t) - np.sin(t)) / 3).max() < 1e-10


def test_pair_written_in_place():
    def f1(dv, v, u, p, t):
        dv[0] = -p["k"] * u[0]

    def f2(du, v, u, p, t):
        du[0] = v[0] / 2.0

    problem = sml.DynamicalODEProblem(f1, f2, [0.0], [1.0], (0.0, 3.0), {"k": 3.0})
    solution = sml.solve(problem, "Vern7", "native", saveat=1.0, **TIGHT)
    assert np.abs(solution.u - oscillator_exact(solution.t)).max() < 1e-10


def test_scalar_state_and_stiff_method():
    problem = sml.SecondOrderODEProblem(lambda du, u, p, t: -p * u, 0.0, 1.0, (0.0, 2.0), 4.0)
    solution = sml.solve(problem, "Rodas5P", "native", saveat=0.5, abstol=1e-11, reltol=1e-11)
    assert solution.u.shape == (5, 2)
    assert np.abs(solution.u[:, 1] - np.cos(2.0 * solution.t)).max() < 1e-9


@pytest.mark.parametrize("sensealg", ["adjoint", "forward"])
def test_gradient(sensealg):
    """d/dk of u(t1)^2, u = cos(w t), dw/dk = 1/(4 w)."""
    found = sml.gradient(
        oscillator(), lambda u: u[-1, 1, 0] ** 2, "Vern7", "native", saveat=3.0,
        sensealg=sensealg, **TIGHT,
    )  # fmt: skip
    w, t = np.sqrt(1.5), 3.0
    assert found.value == pytest.approx(np.cos(w * t) ** 2, rel=1e-9)
    by_k = 2 * np.cos(w * t) * -np.sin(w * t) * t / (4 * w)
    assert found.p["k"] == pytest.approx(by_k, rel=1e-8)
    by_v0 = 2 * np.cos(w * t) * np.sin(w * t) / (2 * w)
    assert found.u0[0, 0] == pytest.approx(by_v0, rel=1e-8)


def test_event():
    """The ball is back on the ground after 2 v0/g."""
    ground = sml.ContinuousEvent(lambda x, p, t: x[1], direction=-1, terminal=True)
    problem = sml.SecondOrderODEProblem(
        lambda du, u, p, t: -p + 0.0 * u, 3.0, 0.0, (0.0, 5.0), 9.81, events=[ground]
    )
    solution = sml.solve(problem, "Tsit5", "native")
    assert solution.retcode == "Terminated"
    assert solution.t[-1] == pytest.approx(6.0 / 9.81, rel=1e-12)


def test_pickled():
    problem = pickle.loads(pickle.dumps(kepler()))
    assert isinstance(problem, sml.SecondOrderODEProblem)
    times = np.array([1.0])
    u = sml.solve(problem, "Vern7", "native", saveat=times, **TIGHT).u
    assert np.abs(u - kepler_exact(times)).max() < 1e-9


def test_math_and_torch_are_captured_inside_the_halves():
    import math

    def swing(du, u, p, t):
        return [-p * math.sin(u[0])]

    both = [
        sml.solve(sml.SecondOrderODEProblem(f, [0.0], [1.0], (0.0, 1.0), 2.0), "Vern7", "native")
        for f in (swing, lambda du, u, p, t: -p * torch.sin(u))
    ]
    assert np.array_equal(both[0].u, both[1].u)


def ok(v, u, p, t):
    return -u


def in_place(dv, v, u, p, t):
    dv[0] = u[0]


def separable(**options):
    return sml.solve(oscillator(), options.pop("alg", "VelocityVerlet"), "native", **options)


WRONG_CALLS = [
    (
        lambda: sml.DynamicalODEProblem(ok, 3.0, [1.0], [1.0], (0, 1)),
        "f2 must be a function f2(v, u, p, t) or f2(dv, v, u, p, t); got 3.0",
    ),
    (
        lambda: sml.DynamicalODEProblem(lambda u, p, t: u, ok, [1.0], [1.0], (0, 1)),
        "f1 must be a function f1(v, u, p, t) or f1(dv, v, u, p, t); got <lambda>(u, p, t)",
    ),
    (
        lambda: sml.DynamicalODEProblem(ok, in_place, [1.0], [1.0], (0, 1)),
        "f1 and f2 must both return their results or both write them in place; here f1 returns its "
        "result and f2 writes it",
    ),
    (
        lambda: sml.DynamicalODEProblem(torch.nn.Linear(1, 1), ok, [1.0], [1.0], (0, 1)),
        "f1 must be a function f1(v, u, p, t) or f1(dv, v, u, p, t); got the nn.Module Linear: "
        "call it in a function, with its weights in p (see pysciml.nn.functional)",
    ),
    (
        lambda: sml.DynamicalODEProblem(ok, ok, [1.0, 2.0], [1.0], (0, 1)),
        "v0 must be an array of shape (1,), like u0; got the list [1.0, 2.0]",
    ),
    (
        lambda: sml.DynamicalODEProblem(ok, ok, [float("nan")], [1.0], (0, 1)),
        "v0 must be finite; got nan in v0[0]",
    ),
    (
        lambda: sml.DynamicalODEProblem(ok, ok, [1.0], [1.0], (0, 1), names=["u"]),
        "names must be a list of 2 strings, one per entry of u0; got the list ['u']",
    ),
    (
        lambda: sml.SecondOrderODEProblem(lambda u, p, t: u, [1.0], [1.0], (0, 1)),
        "f must be a function f(du, u, p, t) or f(ddu, du, u, p, t); got <lambda>(u, p, t)",
    ),
    (
        lambda: sml.SecondOrderODEProblem(ok, 1.0, [1.0], (0, 1)),
        "du0 must be an array of shape (1,), like u0; got 1.0",
    ),
    (
        lambda: sml.SecondOrderODEProblem(ok, [1.0], "one", (0, 1)),
        "u0 must be real numbers: a scalar, a list, an array or a tensor, of any shape; got the "
        "string 'one'",
    ),
    (
        lambda: sml.solve(
            sml.ODEProblem(lambda u, p, t: u, [1.0, 0.0], (0, 1)), "Yoshida6", "native", dt=0.1
        ),
        "Yoshida6 takes a DynamicalODEProblem or a SecondOrderODEProblem, but no "
        "sensitivity equations of one; got an ODEProblem",
    ),
    (
        separable,
        "VelocityVerlet with a fixed step needs dt (VelocityVerlet has no error estimate)",
    ),
    (
        lambda: separable(dt=0.1, alg_options={"gamma": 0.5}),
        "unknown option 'gamma' for the native VelocityVerlet; known: ",
    ),
    (
        lambda: separable(
            dt=0.1, events=[sml.ContinuousEvent(lambda u, p, t: u[1, 0], terminal=True)]
        ),
        'VelocityVerlet has no events; "Tsit5" and the other Runge-Kutta methods have them',
    ),
    (
        lambda: sml.solve(
            sml.SecondOrderODEProblem(lambda du, u, p, t: -u - du, [0.0], [1.0], (0, 1)),
            "KahanLi6",
            "native",
            dt=0.1,
        ),
        "KahanLi6 needs a separable system, dv/dt = f1(u, p, t) and du/dt = f2(v, p, t); here f1 "
        '(dv/dt) depends on v. "Tsit5" or "Vern7" solves it',
    ),
    (
        lambda: sml.solve(
            sml.DynamicalODEProblem(ok, lambda v, u, p, t: u * v, [0.0], [1.0], (0, 1)),
            "Ruth3",
            "native",
            dt=0.1,
        ),
        "Ruth3 needs a separable system, dv/dt = f1(u, p, t) and du/dt = f2(v, p, t); here f2 "
        '(du/dt) depends on u. "Tsit5" or "Vern7" solves it',
    ),
    (
        lambda: sml.solve(
            sml.DynamicalODEProblem(ok, lambda v, u, p, t: v**3, [0.0], [1.0], (0, 1)),
            "McAte4",
            "native",
            dt=0.1,
        ),
        "McAte4 needs a quadratic kinetic energy, a du/dt that is linear in v; here it is not. "
        '"CandyRoz4" has the same order without that',
    ),
    (
        lambda: sml.gradient(
            oscillator(),
            lambda u: u.sum(),
            "VelocityVerlet",
            "native",
            dt=0.1,
            saveat=1.0,
            checkpointing=True,
        ),
        "checkpointing=True is not for VelocityVerlet, whose gradient keeps the states of all "
        "steps",
    ),
    (
        lambda: sml.solve(oscillator(), "Yoshida6", "torch", dt=0.1),
        'engine="torch" has no symplectic methods; engine="native" and engine="julia" have',
    ),
    (
        lambda: separable(alg="CalvoSanz4", dt=0.1),
        "alg='CalvoSanz4' is not in the native engine; it needs engine=\"julia\", which has every "
        "algorithm of OrdinaryDiffEq. Nearest names here: CandyRoz4.",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS, ids=[m[:50] for _, m in WRONG_CALLS])
def test_wrong_calls(call, message):
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert str(error.value) == message
