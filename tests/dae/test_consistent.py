"""Consistent initial values: what is refused, and what is found."""

from __future__ import annotations

import dae_cases as cases
import numpy as np
import pytest

import pysciml as sml
from pysciml.consistent import consistent

MEND = "BrownFullBasicInit"
HANGING = [0.6, -0.8, 0.0, 0.0, 5.0]  # with a force that does not fit


def test_algebraic_entries_are_found():
    with pytest.raises(ValueError, match=r"u0 must be consistent.*f is off by 12\.8"):
        sml.solve(cases.pendulum_with_mass_matrix(HANGING), engine="native")
    sol = sml.solve(
        cases.pendulum_with_mass_matrix(HANGING),
        engine="native",
        initialize=MEND,
        abstol=1e-9,
        reltol=1e-9,
    )
    assert sol.u[0] == pytest.approx([0.6, -0.8, 0.0, 0.0, -0.8 * cases.GRAVITY], abs=1e-12)
    length, energy = cases.invariants(sol.u)
    assert length == pytest.approx(1.0, abs=1e-7)
    assert energy == pytest.approx(-0.8 * cases.GRAVITY, abs=1e-6)


def test_what_is_consistent_is_left_alone():
    problem = cases.pendulum_with_mass_matrix()
    assert consistent(problem, MEND, 1e-8) is problem
    nearly = problem.remake(u0=[1.0, 0.0, 0.0, 0.0, 1e-9])
    assert consistent(nearly, None, 1e-8) is nearly
    implicit = cases.pendulum_problem()
    assert consistent(implicit, None, 1e-8) is implicit


def test_nonlinear_equations():
    """0 = z^3 - u with u(0) = 8, from z = 1 to 2; then u' = -z keeps z the cube root."""
    problem = sml.ODEProblem(
        lambda u, p, t: [-u[1], u[1] ** 3 - u[0]],
        [8.0, 1.0],
        (0.0, 1.0),
        mass_matrix=[[1.0, 0.0], [0.0, 0.0]],
    )
    sol = sml.solve(problem, engine="native", initialize=MEND, abstol=1e-9, reltol=1e-9)
    assert sol.u[0] == pytest.approx([8.0, 2.0])
    # z' 3 z^2 = -z, so z^2 = 4 - 2 t / 3
    assert sol.u[:, 1] ** 2 == pytest.approx(4.0 - 2.0 * sol.t / 3.0, rel=1e-7)
    assert sol.problem.u0 == pytest.approx([8.0, 2.0])
    assert problem.u0 == pytest.approx([8.0, 1.0])


def test_derivatives_are_found():
    problem = cases.pendulum_problem().remake(u0=HANGING, du0=np.zeros(5))
    with pytest.raises(ValueError, match=r"du0 and u0 must be consistent"):
        consistent(problem, "CheckInit", 1e-8)
    found = consistent(problem, MEND, 1e-8)
    force = -0.8 * cases.GRAVITY
    assert found.u0 == pytest.approx([0.6, -0.8, 0.0, 0.0, force])
    expected = [0.0, 0.0, 0.6 * force, -0.8 * force - cases.GRAVITY, 0.0]
    assert found.du0 == pytest.approx(expected)
    assert not np.abs(found.model.f(found.start, found.p_flat, 0.0)).max() > 1e-12


def test_what_has_no_solution():
    problem = sml.ODEProblem(
        lambda u, p, t: [-u[1], u[1] ** 2 + 1.0],
        [1.0, 1.0],
        (0.0, 1.0),
        mass_matrix=np.diag([1, 0]),
    )
    with pytest.raises(ValueError, match="no consistent u0 was found near the one given"):
        sml.solve(problem, engine="native", initialize=MEND)


def test_as_many_equations_as_unknowns():
    problem = sml.ODEProblem(
        lambda u, p, t: [u[1], u[0] - 1.0], [0.0, 1.0], (0.0, 1.0), mass_matrix=[[1, 1], [0, 0]]
    )
    with pytest.raises(ValueError, match="0 algebraic states cannot be found from 1 algebraic eq"):
        sml.solve(problem, engine="native", initialize=MEND)


def test_wrong_calls():
    plain = sml.ODEProblem(lambda u, p, t: -u, 1.0, (0.0, 1.0))
    with pytest.raises(TypeError, match="initialize is for algebraic equations"):
        sml.solve(plain, engine="native", initialize=MEND)
    with pytest.raises(ValueError, match="initialize must be 'CheckInit' or 'BrownFullBasicInit'"):
        sml.solve(cases.pendulum_with_mass_matrix(), engine="native", initialize="NoInit")
    with pytest.raises(TypeError, match="here it is called 'initialize'"):
        sml.solve(plain, engine="native", initializealg=MEND)
