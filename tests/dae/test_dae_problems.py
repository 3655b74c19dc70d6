"""DAEProblem: what is captured, and what is refused."""

from __future__ import annotations

import pickle

import dae_cases as cases
import numpy as np
import pytest

import pysciml as sml
from pysciml.engines import availability


def test_residual_and_its_jacobian():
    problem = cases.robertson_problem(1.0)
    x, p = np.array([0.1, 0.2, 0.3, 0.5, 1e-5, 0.4]), problem.p_flat
    expected = [
        -0.02 + 1e4 * 4e-6 - 0.1,
        0.02 - 1e4 * 4e-6 - 3e7 * 1e-10 - 0.2,
        0.5 + 1e-5 + 0.4 - 1,
    ]
    assert problem.model.f(x, p, 0.0) == pytest.approx(expected)
    jac = problem.model.jac(x, p, 0.0)
    assert jac[:, :3] == pytest.approx(np.diag([-1.0, -1.0, 0.0]))
    by_u = [[-0.04, 4e3, 0.1], [0.04, -4e3 - 600.0, -0.1], [1.0, 1.0, 1.0]]
    assert jac[:, 3:] == pytest.approx(np.array(by_u))


def test_differential_entries():
    assert list(cases.robertson_problem(1.0).differential_vars) == [True, True, False]
    assert list(cases.pendulum_problem().differential_vars) == [True] * 4 + [False]
    given = sml.DAEProblem(
        lambda du, u, p, t: [du[0] + u[0], u[1] + 0.0 * du[1]],
        [-1.0, 0.0],
        [1.0, 0.0],
        (0.0, 1.0),
        differential_vars=[True, False],
    )
    assert list(given.differential_vars) == [True, False]


def test_remake_and_pickle():
    problem = cases.pendulum_problem()
    moved = problem.remake(u0=[0.6, -0.8, 0.0, 0.0, 0.0], du0=[1.0] * 5)
    assert moved.start == pytest.approx([1.0] * 5 + [0.6, -0.8, 0.0, 0.0, 0.0])
    assert moved.model is problem.model
    assert moved.remake(p=1.0).du0 == pytest.approx(moved.du0)
    copy = pickle.loads(pickle.dumps(problem))
    assert copy.start == pytest.approx(problem.start)
    assert repr(copy).startswith("DAEProblem(pendulum, u0=[1.0, 0.0")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"f": lambda u, p, t: u}, TypeError, r"f must be a function f\(du, u, p, t\)"),
        ({"du0": [1.0]}, ValueError, "du0 must be an array of shape"),
        ({"differential_vars": [1, 0]}, TypeError, "differential_vars must be True or False"),
        ({"differential_vars": [True]}, TypeError, "for each entry of u0, of shape"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    given = {"f": lambda du, u, p, t: du + u, "du0": [0.0, 0.0], "u0": [0.0, 0.0]}
    with pytest.raises(error, match=message):
        sml.DAEProblem(**{**given, "tspan": (0.0, 1.0), **arguments})


def test_engines_without_implicit_equations_say_so():
    problem = cases.pendulum_problem()
    for engine in ("native", "torch"):
        with pytest.raises(sml.UnsupportedError, match='has no DAEProblem; engine="julia" has'):
            sml.solve(problem, engine=engine)
    if not availability("julia").ready:
        with pytest.raises(sml.EngineUnavailableError, match='DAEProblem needs engine="julia"'):
            sml.solve(problem)
    with pytest.raises(sml.UnsupportedError, match=r"no derivatives.* of a DAEProblem"):
        sml.gradient(problem, lambda u: u.sum())
