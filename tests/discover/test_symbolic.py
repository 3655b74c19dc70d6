"""Symbolic regression: PySR's own search, beside pysciml's Julia, and what becomes of formulas."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import sympy
import torch

import pysciml as sml
from pysciml.discover import Samples, slopes, symbolic_regression
from pysciml.discover.symbolic import equation_from
from pysciml.engines.julia import environment

X = np.stack([np.linspace(0.5, 2.0, 30), np.cos(np.linspace(0.0, 3.0, 30))], axis=1)
Y = np.stack([1.5 * X[:, 0] - 0.5 * X[:, 0] * X[:, 1], X[:, 0] / (1.0 + X[:, 1] ** 2)], axis=1)
SAMPLES = Samples(X, Y, ("prey", "I"), ("dprey/dt", "dI/dt"))

DECAY = sml.ODEProblem(lambda u, p, t: -p * u, 1.0, (0.0, 1.0), 2.0)


def what_is_missing() -> str | None:
    """Looked up without an import of PySR, which would start Julia in PySR's own way."""
    if importlib.util.find_spec("pysr") is None:
        return "PySR is not installed"
    packages = environment.manifest(environment.locate().project) or {}
    return None if "SymbolicRegression" in packages else "no SymbolicRegression.jl in Julia"


def needs_pysr(test):
    missing = what_is_missing()
    skip = pytest.mark.skipif(missing is not None, reason=str(missing))
    return pytest.mark.julia(skip(test))


def test_a_formula_is_split_into_terms_with_coefficients():
    prey, infected = sympy.symbols("prey I")
    formulas = [prey * (1.5 - 0.5 * infected), prey / (1.0 + infected**2)]
    equation = equation_from(formulas, SAMPLES)
    assert equation.p["dprey/dt"] == {"prey": 1.5, "I*prey": -0.5}
    np.testing.assert_allclose(equation(X), Y, rtol=1e-12)
    assert sml.solve(equation.problem([1.0, 0.1], (0.0, 0.5)), engine="native").success


@pytest.fixture(scope="module")
def interaction():
    """What PySR reads out of a network that was trained on -0.9xy and 0.8xy, Julia being there."""
    assert sml.solve(DECAY, "Tsit5", "julia").success
    torch.manual_seed(0)
    x = 0.2 + 2.8 * torch.rand(200, 2, dtype=torch.float64)
    y = x.prod(dim=1, keepdim=True) * torch.tensor([-0.9, 0.8], dtype=torch.float64)
    network = sml.nn.mlp([2, 16, 2], "tanh")
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = ((network(x) - y) ** 2).mean()
        value.backward()
        return value

    optimiser.step(loss)
    samples = Samples(x, network(x).detach(), ("x", "I"), ("dx/dt", "dI/dt"))
    return symbolic_regression(samples, binary=("+", "-", "*"), iterations=8, maxsize=12)


@needs_pysr
def test_the_interaction_is_read_out_of_a_network(interaction):
    equation = interaction.equation
    assert equation.p == {
        "dx/dt": {"I*x": pytest.approx(-0.9, rel=0.01)},
        "dI/dt": {"I*x": pytest.approx(0.8, rel=0.01)},
    }
    x, infected = sympy.symbols("x I")
    assert equation.expressions[0].coeff(x * infected) == pytest.approx(-0.9, rel=0.01)
    assert str(interaction).startswith("dx/dt = -0.") and "I*x" in str(interaction)
    assert r"\frac{d x}{dt} &= - 0." in equation.latex()


@needs_pysr
def test_the_front_goes_from_simple_to_exact(interaction):
    for front in interaction.formulas:
        sizes, errors, formulas = zip(*front, strict=True)
        assert list(sizes) == sorted(set(sizes))
        assert list(errors) == sorted(errors, reverse=True)
        assert errors[-1] < 1e-3 * errors[0]
        assert {str(s) for s in formulas[-1].free_symbols} == {"x", "I"}


@needs_pysr
def test_what_is_found_is_solved(interaction):
    """dx/dt = -0.9xy, dy/dt = 0.8xy keeps 0.8x + 0.9y, which makes x logistic."""
    solution = sml.solve(
        interaction.equation.problem([2.0, 0.5], (0.0, 1.0)),
        engine="native", abstol=1e-10, reltol=1e-10,
    )  # fmt: skip
    kept = 0.8 * 2.0 + 0.9 * 0.5
    x = kept / 0.8 / (1.0 + (kept / (0.8 * 2.0) - 1.0) * np.exp(kept))
    assert solution.u[-1] == pytest.approx([x, (kept - 0.8 * x) / 0.9], rel=0.01)


@needs_pysr
def test_slopes_in_double_precision_and_again():
    t = np.linspace(0.0, 3.0, 60)
    u = np.stack([np.cos(2.0 * t), np.sin(2.0 * t)], axis=1)
    samples = slopes((t, u), smoothing=0.0)
    settings = {"binary": ("+", "-", "*"), "iterations": 3, "maxsize": 7}
    exact = Samples(samples.x, 1.25 * samples.x[:, :1] * samples.x[:, 1:])
    found = symbolic_regression(exact, **settings)
    assert found.equation.p["y"]["x0*x1"] == pytest.approx(1.25, rel=1e-12)  # float32 has 6e-8
    first, second = (symbolic_regression(samples, seed=1, **settings) for _ in range(2))
    assert first.equation.p["dx0/dt"]["x1"] == pytest.approx(-2.0, rel=1e-2)
    assert first.formulas == second.formulas


STEPS = """
import signal
import numpy as np
import pysciml as sml
from pysciml.discover import Samples, symbolic_regression

def solve():
    problem = sml.ODEProblem(lambda u, p, t: -p * u, 1.0, (0.0, 1.0), 2.0)
    return sml.solve(problem, "Tsit5", "julia", [1.0], 1e-10, 1e-10).u[-1]

def search():
    x = np.linspace(1.0, 2.0, 20)[:, None]
    return symbolic_regression(Samples(x, -3.0 * x, ("x",), ("y",)), iterations=1, maxsize=7)
"""
CHECKS = """
import juliacall, pysr
assert sml.julia.main() is juliacall.Main is pysr.jl
assert abs(search().equation.p["y"]["x"] + 3.0) < 1e-6
assert abs(solve() - np.exp(-2.0)) < 1e-8
print("level", juliacall.Base.JLOptions().opt_level)
print("ctrl-c", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def run(first: str, **settings: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{STEPS}\n{first}\n{CHECKS}"],
        env=os.environ | settings, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


@needs_pysr
def test_one_julia_that_a_search_started():
    """PySR alone would start it with -O3, for which all packages would be compiled anew."""
    done = run("search()")
    assert done.stdout.split() == ["level", "2", "ctrl-c", "True"]
    assert "Warning" not in done.stderr


@needs_pysr
def test_one_julia_that_pysr_started():
    run("import pysr", PYTHON_JULIACALL_OPTLEVEL="2")


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysr", None)
    with pytest.raises(ImportError, match=r"needs PySR .* pip install 'pysciml\[symbolic\]'"):
        symbolic_regression(SAMPLES)


def test_wrong_calls():
    with pytest.raises(TypeError, match=r"data must be Samples\(x, y\) or slopes\(data\); got an"):
        symbolic_regression(X)
    with pytest.raises(ValueError, match="iterations must be a whole number >= 1; got 0"):
        symbolic_regression(SAMPLES, iterations=0)
