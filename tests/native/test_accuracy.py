"""What is asked for by the tolerances is reached: against SciPy, closed forms, published values."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from native_models import (
    brusselator,
    brusselator_numpy,
    closed_form,
    exact,
    heat,
    hires,
    lotka_volterra,
    orego,
    robertson,
    robertson_dae,
    van_der_pol,
    van_der_pol_scaled,
)
from scipy.integrate import solve_ivp

from pysciml.engines.base import SolveOptions
from pysciml.engines.native.engine import NativeEngine

ENGINE = NativeEngine()
STIFF = ["Rodas5P", "Rodas4", "AutoTsit5(Rodas5P)", "AutoVern7(Rodas5P)"]


@cache
def lotka_volterra_reference():
    a, b, c, d = 1.5, 1.0, 3.0, 1.0
    return solve_ivp(
        lambda t, u: [a * u[0] - b * u[0] * u[1], -c * u[1] + d * u[0] * u[1]],
        (0.0, 10.0),
        [1.0, 1.0],
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
        dense_output=True,
    ).sol


@pytest.mark.parametrize("tol", [1e-5, 1e-8, 1e-11])
@pytest.mark.parametrize("alg", ["Tsit5", "DP5", "Vern6", "Vern7", "Rodas5P", None])
def test_lotka_volterra_against_scipy(alg, tol):
    """This orbit amplifies local errors a hundredfold; |u| reaches 6."""
    solution = ENGINE.solve(lotka_volterra(), alg, SolveOptions(abstol=tol, reltol=tol))
    reference = lotka_volterra_reference()
    assert solution.retcode == "Success"
    assert np.abs(solution.u - reference(solution.t).T).max() < 300 * tol
    fine = np.linspace(0.0, 10.0, 777)
    assert np.abs(solution.interpolate(fine) - reference(fine).T).max() < 300 * tol


@pytest.mark.parametrize("alg", ["Tsit5", "Vern7", "Rodas5P", "Rosenbrock23", "BS3", "Midpoint"])
def test_closed_form_forwards_and_backwards(alg):
    for tspan in ((0.0, 2.0), (2.0, 0.0)):
        options = SolveOptions(abstol=1e-7, reltol=1e-7)
        solution = ENGINE.solve(closed_form(tspan), alg, options)
        assert solution.retcode == "Success"
        assert solution.t[0] == tspan[0]
        assert solution.t[-1] == tspan[1]
        assert np.all(np.diff(solution.t) * (tspan[1] - tspan[0]) > 0)
        bound = 3e-4 if alg == "Rosenbrock23" else 3e-5  # its error is controlled at order 3
        assert np.abs(solution.u - exact(solution.t)).max() < bound
        fine = np.linspace(*tspan, 200)
        assert np.abs(solution.interpolate(fine) - exact(fine)).max() < bound


# E. Hairer, G. Wanner, "Solving ODEs II", and the Bari/CWI test set for IVP solvers.
ROBERTSON_END = [0.2083340149701255e-07, 0.8333360770334713e-13, 0.9999999791665050]
HIRES_END = [
    0.7371312573325668e-3,
    0.1442485726316185e-3,
    0.5888729740967575e-4,
    0.1175651343283149e-2,
    0.2386356198831331e-2,
    0.6238968252742796e-2,
    0.2849998395185769e-2,
    0.2850001604814231e-2,
]
OREGO_END = [0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3]
VAN_DER_POL_END = [0.1706167732170483e1, -0.8928097010247975]


@pytest.mark.parametrize("alg", STIFF)
@pytest.mark.parametrize(
    ("problem", "end", "abstol"),
    [
        (robertson, ROBERTSON_END, 1e-14),
        (hires, HIRES_END, 1e-10),
        (orego, OREGO_END, 1e-8),
        (van_der_pol_scaled, VAN_DER_POL_END, 1e-8),
    ],
    ids=["robertson", "hires", "orego", "van der Pol"],
)
def test_stiff_test_set(problem, end, abstol, alg):
    solution = ENGINE.solve(problem(), alg, SolveOptions(abstol=abstol, reltol=1e-7, dense=False))
    assert solution.retcode == "Success"
    scale = np.abs(end) + 1e-6 * np.max(np.abs(end)) * (problem is hires)
    assert np.max(np.abs(solution.u[-1] - end) / scale) < 1e-5


@pytest.mark.parametrize("linsolve", ["dense", "banded", "sparse"])
@pytest.mark.parametrize("alg", ["Rodas5P", "Rodas4", None])
def test_robertson_as_dae(alg, linsolve):
    options = SolveOptions(abstol=1e-14, reltol=1e-7, dense=False, algorithm={"linsolve": linsolve})
    solution = ENGINE.solve(robertson_dae(), alg, options)
    assert solution.retcode == "Success"
    assert np.allclose(solution.u[-1], ROBERTSON_END, rtol=1e-5, atol=0)
    assert np.abs(solution.u.sum(axis=1) - 1.0).max() < 1e-9


def test_full_mass_matrix_is_a_change_of_the_right_hand_side():
    """SciPy integrates du/dt = inv(M) f(u)."""
    problem = lotka_volterra((0.0, 3.0))
    problem.mass_matrix = np.array([[2.0, 0.5], [0.0, 1.0]])
    solution = ENGINE.solve(problem, "Rodas5P", SolveOptions(abstol=1e-9, reltol=1e-9))
    inverse = np.linalg.inv(problem.mass_matrix)
    reference = solve_ivp(
        lambda t, u: inverse @ [1.5 * u[0] - u[0] * u[1], -3.0 * u[1] + u[0] * u[1]],
        (0.0, 3.0),
        [1.0, 1.0],
        method="DOP853",
        rtol=1e-12,
        atol=1e-12,
    )
    assert np.abs(solution.u[-1] - reference.y[:, -1]).max() < 1e-7


@pytest.mark.parametrize("switching", ["AutoTsit5(Rodas5P)", "AutoVern7(Rodas5P)"])
def test_switching_on_van_der_pol(switching):
    problem = van_der_pol(1000.0, 1500.0)
    options = SolveOptions(abstol=1e-7, reltol=1e-7, maxiters=10**7, dense=False)
    auto = ENGINE.solve(problem, switching, options)
    plain = ENGINE.solve(problem, "Tsit5", options)
    reference = solve_ivp(
        lambda t, u: [u[1], 1000.0 * (1.0 - u[0] ** 2) * u[1] - u[0]],
        (0.0, 1500.0),
        [2.0, 0.0],
        method="Radau",
        jac=lambda t, u: [[0, 1], [-2000.0 * u[0] * u[1] - 1.0, 1000.0 * (1.0 - u[0] ** 2)]],
        rtol=1e-10,
        atol=1e-12,
    )
    assert auto.retcode == plain.retcode == "Success"
    assert np.allclose(auto.u[-1], reference.y[:, -1], rtol=2e-5)
    assert auto.stats.nf * 50 < plain.stats.nf
    assert 0 < auto.stats.njacs < auto.stats.naccept  # both methods took steps


def test_switching_leaves_an_easy_problem_alone():
    options = SolveOptions(abstol=1e-7, reltol=1e-7)
    auto = ENGINE.solve(lotka_volterra(), "AutoTsit5(Rodas5P)", options)
    plain = ENGINE.solve(lotka_volterra(), "Tsit5", options)
    assert auto.stats.njacs == 0
    assert np.array_equal(auto.u, plain.u)


def test_dense_output_across_a_switch():
    problem = van_der_pol(50.0, 100.0)
    options = SolveOptions(abstol=1e-9, reltol=1e-9)
    auto = ENGINE.solve(problem, "AutoVern7(Rodas5P)", options)
    assert 0 < auto.stats.njacs < auto.stats.naccept
    fine = np.linspace(0.0, 100.0, 2000)
    reference = ENGINE.solve(
        problem, "Vern7", SolveOptions(saveat=fine, abstol=1e-12, reltol=1e-12)
    )
    assert np.abs(auto.interpolate(fine) - reference.u)[:, 0].max() < 1e-5


@cache
def brusselator_reference(cells):
    problem = brusselator(cells, t_end=1.0)
    return solve_ivp(
        brusselator_numpy,
        (0.0, 1.0),
        problem.u0_flat,
        method="LSODA",
        rtol=1e-11,
        atol=1e-11,
        lband=2,
        uband=2,
    ).y[:, -1]


@pytest.mark.parametrize(
    ("cells", "linsolve"),
    [(32, "dense"), (32, "banded"), (32, "sparse"), (32, "auto"), (128, "sparse"), (128, "auto")],
)
def test_brusselator(cells, linsolve):
    options = SolveOptions(abstol=1e-7, reltol=1e-7, algorithm={"linsolve": linsolve})
    solution = ENGINE.solve(brusselator(cells, t_end=1.0), "Rodas5P", options)
    assert solution.retcode == "Success"
    assert np.abs(solution.u[-1] - brusselator_reference(cells)).max() < 1e-6


def test_sparse_is_dense():
    """The colouring gives the very Jacobian, so that every step is the same."""
    solutions = [
        ENGINE.solve(
            brusselator(32, t_end=1.0),
            "Rodas5P",
            SolveOptions(abstol=1e-7, reltol=1e-7, algorithm={"linsolve": linsolve}),
        )
        for linsolve in ("dense", "banded", "sparse")
    ]
    for solution in solutions[1:]:
        assert np.allclose(solution.t, solutions[0].t, rtol=1e-9)
        assert np.allclose(solution.u, solutions[0].u, rtol=1e-9)


@pytest.mark.parametrize("alg", ["Rodas5P", None])
def test_heat_in_two_dimensions(alg):
    problem, end = heat()
    solution = ENGINE.solve(problem, alg, SolveOptions(abstol=1e-6, reltol=1e-6, dense=False))
    assert solution.retcode == "Success"
    assert np.abs(solution.u[-1] - end).max() < 1e-6
    assert solution.stats.nw > 0
