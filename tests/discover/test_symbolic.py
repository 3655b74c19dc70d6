"""Symbolic regression: what goes to PySR and what comes back; and PySR itself where it is."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sympy

import pysciml as sml
from pysciml.discover import Samples, slopes, symbolic_regression

X = np.stack([np.linspace(0.5, 2.0, 30), np.cos(np.linspace(0.0, 3.0, 30))], axis=1)
Y = np.stack([1.5 * X[:, 0] - 0.5 * X[:, 0] * X[:, 1], X[:, 0] / (1.0 + X[:, 1] ** 2)], axis=1)
SAMPLES = Samples(X, Y, ("prey", "I"), ("dprey/dt", "dI/dt"))


class StandIn:
    """In the place of PySRRegressor: gives the formulas that are true, as PySR names its parts."""

    def __init__(self, **options):
        self.options = options
        StandIn.last = self

    def fit(self, x, y, variable_names):
        self.given = x, y, variable_names
        a, b = sympy.symbols(variable_names)
        self._found = [a * (1.5 - 0.5 * b), a / (1.0 + b**2)]
        self.equations_ = [
            pd.DataFrame({"complexity": [1, 7], "loss": [0.3, 1e-20], "sympy_format": [a, found]})
            for found in self._found
        ]

    def sympy(self):
        return self._found


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysr", SimpleNamespace(PySRRegressor=StandIn))


def test_formulas_become_an_equation(stand_in):
    found = symbolic_regression(SAMPLES, unary=("cos",), iterations=7, seed=3, maxsize=20)
    equation = found.equation
    assert equation.p["dprey/dt"] == {"prey": 1.5, "I*prey": -0.5}
    np.testing.assert_allclose(equation(X), Y, rtol=1e-12)
    options = StandIn.last.options
    assert options["unary_operators"] == ["cos"]
    assert (options["niterations"], options["random_state"], options["maxsize"]) == (7, 3, 20)
    assert StandIn.last.given[2] == ["v0", "v1"]  # I would be the imaginary unit
    (front, _) = found.formulas
    assert [(complexity, loss) for complexity, loss, _ in front] == [(1, 0.3), (7, 1e-20)]
    assert front[0][2] == sympy.Symbol("prey")
    solution = sml.solve(equation.problem([1.0, 0.1], (0.0, 0.5)), engine="native")
    assert solution.success
    assert str(found) == str(equation)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysr", None)
    with pytest.raises(ImportError, match=r"needs PySR .* pip install 'pysciml\[symbolic\]'"):
        symbolic_regression(SAMPLES)


@pytest.mark.julia
def test_pysr_itself():
    pytest.importorskip("pysr")
    t = np.linspace(0.0, 3.0, 60)
    u = np.stack([np.cos(2.0 * t), np.sin(2.0 * t)], axis=1)
    found = symbolic_regression(slopes((t, u), smoothing=0.0), binary=("+", "*"), iterations=20)
    assert found.equation.p["dx0/dt"]["x1"] == pytest.approx(-2.0, rel=1e-2)


def test_wrong_calls():
    with pytest.raises(TypeError, match=r"data must be Samples\(x, y\) or slopes\(data\); got an"):
        symbolic_regression(X)
    with pytest.raises(ValueError, match="iterations must be a whole number >= 1; got 0"):
        symbolic_regression(SAMPLES, iterations=0)
