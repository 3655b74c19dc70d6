"""An equation as text, formula, SymPy, function and problem."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
import torch

import pysciml as sml
from pysciml.discover import Samples, custom, polynomial, stlsq

GRID = np.stack(np.meshgrid(np.linspace(0.2, 2.0, 7), np.linspace(0.3, 3.0, 7)), -1).reshape(-1, 2)


def rates(u):
    x, y = u.T
    return np.stack([1.3 * x - 0.9 * x * y, 0.8 * x * y - 1.8 * y], axis=1)


@pytest.fixture(scope="module")
def equation():
    samples = Samples(GRID, rates(GRID), ("x", "y"), ("dx/dt", "dy/dt"))
    return stlsq(samples, polynomial(2)).equation


def test_forms(equation):
    assert str(equation) == "dx/dt = -0.9*x*y + 1.3*x\ndy/dt = 0.8*x*y - 1.8*y"
    assert equation.latex() == (
        r"\begin{aligned} \frac{d x}{dt} &= - 0.9 x y + 1.3 x \\ "
        r"\frac{d y}{dt} &= 0.8 x y - 1.8 y \end{aligned}"
    )
    assert equation._repr_latex_() == f"${equation.latex()}$"
    x, y = sympy.symbols("x y")
    first, second = equation.expressions
    assert sympy.simplify(sympy.diff(first, y) + 0.9 * x).evalf(8).is_zero is not False
    assert float(sympy.diff(second, x).subs({y: 2.0})) == pytest.approx(1.6, rel=1e-10)
    assert equation.size == 4


def test_values_on_arrays_and_tensors(equation):
    np.testing.assert_allclose(equation(GRID), rates(GRID), rtol=1e-12, atol=1e-12)
    stacked = equation(GRID.reshape(7, 7, 2))
    np.testing.assert_allclose(stacked.reshape(-1, 2), rates(GRID), rtol=1e-12, atol=1e-12)
    by_torch = equation(torch.as_tensor(GRID))
    np.testing.assert_allclose(by_torch.numpy(), rates(GRID), rtol=1e-12, atol=1e-12)
    one = equation([torch.tensor(0.5, dtype=torch.float64), torch.tensor(2.0).double()])
    np.testing.assert_allclose(one.numpy(), rates(np.array([[0.5, 2.0]]))[0], rtol=1e-12)
    doubled = {name: {t: 2.0 * c for t, c in terms.items()} for name, terms in equation.p.items()}
    np.testing.assert_allclose(equation(GRID, doubled), 2.0 * rates(GRID), rtol=1e-12, atol=1e-12)


def test_it_is_solved_and_refitted(equation):
    """Its coefficients are the problem's parameters: a fit finds those of other data."""
    problem = equation.problem([1.0, 1.0], (0.0, 4.0))
    assert problem.p == equation.p
    assert problem.names == ("x", "y")
    other = {"dx/dt": {"x": 1.0, "x*y": -0.7}, "dy/dt": {"x*y": 0.6, "y": -1.2}}
    data = sml.solve(
        problem.remake(p=other), engine="native", saveat=0.1, abstol=1e-10, reltol=1e-10
    )
    result = sml.fit(
        problem,
        data,
        optimisers=sml.train.LBFGS(200),
        engine="native",
        progress=False,
        abstol=1e-9,
        reltol=1e-9,
    )
    refitted = equation.of_fit(result)
    for output, terms in other.items():
        for term, value in terms.items():
            assert refitted.p[output][term] == pytest.approx(value, rel=1e-4)
    np.testing.assert_allclose(refitted(GRID), refitted(GRID, result.p), rtol=1e-14)


def test_every_function_of_a_library_can_be_solved():
    """Constants, powers, fractions and functions, in the compiled right-hand side."""
    library = custom("1", "sin(2*x)", "x/(1 + x**2)", "sqrt(x)", "exp(-x)", "x**1.5", "log(x)")
    x = np.linspace(0.5, 2.0, 40)
    y = (
        0.3
        + 0.2 * np.sin(2 * x)
        - x / (1 + x**2)
        + 0.1 * np.sqrt(x)
        - np.exp(-x)
        + 0.1 * x**1.5
        - 0.2 * np.log(x)
    )
    equation = stlsq(Samples(x, y, ("x",), ("dx/dt",)), library, threshold=1e-9).equation
    solution = sml.solve(
        equation.problem([1.0], (0.0, 1.0)), engine="native", abstol=1e-10, reltol=1e-10
    )
    from scipy.integrate import solve_ivp

    exact = solve_ivp(
        lambda t, u: np.interp(u, x, y) * 0 + equation(u), (0, 1), [1.0], rtol=1e-11, atol=1e-11
    )
    assert solution.u[-1, 0] == pytest.approx(exact.y[0, -1], rel=1e-8)
    np.testing.assert_allclose(equation(x[:, None])[:, 0], y, rtol=1e-9)


def test_restricted(equation):
    only = equation.restricted(equation.support & (np.array([["dx/dt", "dy/dt"]]) == "dx/dt"))
    assert only.p == {"dx/dt": equation.p["dx/dt"]}
    np.testing.assert_allclose(only(GRID)[:, 1], 0.0)


def test_a_problem_needs_as_many_outputs_as_inputs():
    part = stlsq(Samples(GRID, rates(GRID)[:, :1], ("x", "y"), ("eaten",))).equation
    assert str(part) == "eaten = -0.9*x*y + 1.3*x"
    with pytest.raises(ValueError, match="a problem needs one output for each input; there are 2"):
        part.problem([1.0, 1.0], (0.0, 1.0))
