"""Steady states on Julia: by each of the methods, against known ones, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from steady_cases import (
    GENE,
    RATES,
    binding,
    binding_exact,
    brusselator,
    gene,
    gene_exact,
    heat,
    lotka_volterra,
)

import pysciml as sml
from pysciml.engines.julia.steady import ROOT_FINDERS

pytestmark = pytest.mark.julia

#: without a Jacobian to begin with, they want a system that is near to linear
LOCAL = ("Klement", "LimitedMemoryBroyden", "DFSane", "SimpleKlement", "SimpleDFSane")
TIGHT = {"abstol": 1e-10, "reltol": 1e-10}


@pytest.mark.parametrize("alg", ["Tsit5", "Rodas5P", "FBDF", "AutoVern7(Rodas5P)", "TRBDF2"])
def test_dynamic_ss_by_methods_for_odes(alg):
    found = sml.solve(brusselator(), f"DynamicSS({alg})", "julia", **TIGHT)
    assert found.success
    assert found.alg.startswith("DynamicSS(")
    assert found.u == pytest.approx([1.2, 1.7 / 1.2], rel=1e-8)
    assert found.stats.naccept > 0


@pytest.mark.parametrize("method", [name for name in ROOT_FINDERS if name not in LOCAL])
def test_root_finding(method):
    """From where each of them gets to the only root of the gene."""
    found = sml.solve(gene(), f"SSRootfind({method})", "julia", **TIGHT)
    assert found.success
    assert found.alg == f"SSRootfind({method})"
    assert found.u == pytest.approx(gene_exact(GENE), rel=1e-9)
    assert np.linalg.norm(found.resid) < 1e-9


@pytest.mark.parametrize("method", LOCAL)
def test_root_finding_near_to_linear(method):
    """u = 1 + u^2/10, twelve times."""
    problem = sml.SteadyStateProblem(
        lambda u, p, t: p - u + 0.1 * u.flip(0) ** 2, np.zeros(12), 1.0
    )
    found = sml.solve(problem, f"SSRootfind({method})", "julia", **TIGHT)
    assert found.u == pytest.approx(np.full(12, 5.0 - np.sqrt(15.0)), rel=1e-9)


def test_a_centre_that_no_flow_reaches():
    found = sml.solve(lotka_volterra(), "SSRootfind", "julia")
    assert found.u == pytest.approx([4.0, 2.75], rel=1e-12)
    with pytest.raises(sml.SolveError, match=r"used up.*\"SSRootfind\" may find it"):
        sml.solve(lotka_volterra(), "DynamicSS(Tsit5)", "julia", maxiters=1000, **TIGHT)


def test_the_default_is_exact_at_loose_tolerances():
    found = sml.solve(gene(), engine="julia")
    assert found.alg == "DynamicSS(Rodas5P), SSRootfind(TrustRegion)"
    assert found.u == pytest.approx(gene_exact(GENE), rel=1e-12)


def test_what_is_conserved_stays_so():
    found = sml.solve(binding(), engine="julia", **TIGHT)
    assert found.alg == "DynamicSS(Rodas5P)"
    assert found.u == pytest.approx(binding_exact(), rel=1e-8)


def test_a_state_of_any_shape_with_a_sparse_jacobian():
    """62 states are dense yet; two rods more are not."""
    x = np.arange(1, 32) / 32
    for rods in (2, 4):
        problem = sml.SteadyStateProblem(heat()._source.f, np.zeros((rods, 31)), 1.0)
        for alg in (None, "SSRootfind(NewtonRaphson)"):
            found = sml.solve(problem, alg, "julia", **TIGHT)
            assert found.u.shape == (rods, 31)
            assert np.abs(found.u - x * (1 - x) / 2).max() < 1e-10


def test_other_parameters_and_another_start():
    other = {**GENE, "decay": 0.9}
    problem = gene().remake(u0=[2.0, 5.0], p=other)
    found = sml.solve(problem, "SSRootfind(TrustRegion)", "julia")
    assert found.u == pytest.approx(gene_exact(other), rel=1e-11)


def test_gradients_by_the_implicit_function_theorem():
    found = sml.gradient(lotka_volterra(), lambda u: u[0] * u[1], "SSRootfind", "julia")
    prey, predator = RATES["death"] / RATES["fed"], RATES["growth"] / RATES["eaten"]
    assert found.value == pytest.approx(prey * predator, rel=1e-11)
    assert found.p["death"] == pytest.approx(predator / RATES["fed"], rel=1e-11)
    assert found.p["eaten"] == pytest.approx(-prey * predator / RATES["eaten"], rel=1e-11)
    native = sml.gradient(gene(), lambda u: (u**2).sum(), engine="native")
    julia = sml.gradient(gene(), lambda u: (u**2).sum(), engine="julia")
    assert julia.p_flat == pytest.approx(native.p_flat, rel=1e-10)


def test_no_root():
    problem = sml.SteadyStateProblem(lambda u, p, t: u**2 + 1.0, [0.3])
    failed = sml.solve(problem, "SSRootfind(TrustRegion)", "julia", raise_on_failure=False)
    assert not failed.success
    assert failed.message


@pytest.mark.parametrize(
    ("alg", "message"),
    [
        ("DynamicSS(Tsitt5)", r"OrdinaryDiffEq has no method 'Tsitt5'; the nearest are .*Tsit5"),
        ("DynamicSS(Euler)", "Euler has no error estimate"),
        ("SSRootfind(NewtonRapson)", "has no method 'NewtonRapson' here; did you mean 'NewtonRa"),
    ],
)
def test_wrong_methods(alg, message):
    with pytest.raises(sml.UnsupportedError, match=message):
        sml.solve(gene(), alg, "julia")
