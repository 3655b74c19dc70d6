"""Steady states against known ones, by the flow, by root-finding and by both."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from steady_cases import (
    GENE,
    binding,
    binding_exact,
    brusselator,
    gene,
    gene_exact,
    heat,
    lotka_volterra,
)

import pysciml as sml

TIGHT = {"abstol": 1e-10, "reltol": 1e-10}


def test_lotka_volterra_by_root_finding():
    found = sml.solve(lotka_volterra(), "SSRootfind")
    assert found.success
    assert found.u == pytest.approx([4.0, 2.75], rel=1e-13)
    assert np.abs(found.resid).max() < 1e-14


@pytest.mark.parametrize("alg", [None, "DynamicSS", "DynamicSS(Tsit5())", "SSRootfind()"])
def test_brusselator(alg):
    found = sml.solve(brusselator(), alg, "native", **TIGHT)
    assert found.retcode == "Success"
    assert found.u == pytest.approx([1.2, 1.7 / 1.2], rel=1e-8)
    assert found.stats.nf > 0


def test_the_default_is_exact_at_loose_tolerances():
    loose = sml.solve(gene(), "DynamicSS")
    exact = gene_exact(GENE)
    assert np.linalg.norm(loose.resid) <= 1e-6 + 1e-3 * np.linalg.norm(loose.u)
    assert np.abs(loose.u - exact).max() > 1e-8
    found = sml.solve(gene())
    assert found.alg == "DynamicSS(Rodas5P), SSRootfind"
    assert found.u == pytest.approx(exact, rel=1e-13)


def test_what_is_conserved_stays_so():
    """The Jacobian is singular: the flow alone decides, and it keeps the sums of u0."""
    found = sml.solve(binding(), **TIGHT)
    assert found.alg == "DynamicSS(Rodas5P)"
    assert found.u == pytest.approx(binding_exact(), rel=1e-8)
    assert found.u[0] + found.u[2] == pytest.approx(1.0, abs=1e-12)


def test_a_state_of_any_shape():
    found = sml.solve(heat(), **TIGHT)
    x = np.arange(1, 32) / 32
    assert found.u.shape == found.resid.shape == (2, 31)
    assert np.abs(found.u - x * (1 - x) / 2).max() < 1e-12


def test_begins_anywhere_with_any_parameters():
    problem = gene().remake(u0=[2.0, 5.0], p={**GENE, "decay": 0.9})
    assert sml.solve(problem).u == pytest.approx(gene_exact({**GENE, "decay": 0.9}), rel=1e-13)
    again = pickle.loads(pickle.dumps(problem))
    assert np.array_equal(sml.solve(again).u, sml.solve(problem).u)


def test_begins_at_the_steady_state():
    problem = brusselator().remake(u0=[1.2, 1.7 / 1.2])
    for alg in (None, "DynamicSS", "SSRootfind"):
        assert sml.solve(problem, alg).u == pytest.approx([1.2, 1.7 / 1.2], rel=1e-12)


def test_a_limit_cycle_is_no_steady_state():
    with pytest.raises(sml.SolveError, match="500 attempts") as error:
        sml.solve(brusselator(1.0, 3.0), maxiters=500)
    assert error.value.solution.u.shape == (2,)
    failed = sml.solve(brusselator(1.0, 3.0), maxiters=500, raise_on_failure=False)
    assert failed.retcode == "MaxIters"
    assert not failed.success


def test_in_place_and_modules():
    def in_place(du, u, p, t):
        du[0] = p - u[0] ** 3

    found = sml.solve(sml.SteadyStateProblem(in_place, [1.0], 8.0))
    assert found.u == pytest.approx([2.0], rel=1e-13)

    class Affine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            with torch.no_grad():
                self.layer.weight.fill_(-2.0)
                self.layer.bias.fill_(3.0)

        def forward(self, u):
            return self.layer(u)

    problem = sml.SteadyStateProblem(Affine(), [0.0])
    assert sml.solve(problem).u == pytest.approx([1.5], rel=1e-13)
    by_weights = sml.gradient(problem, lambda u: u[0]).p  # u = -bias/weight
    assert by_weights["layer.bias"] == pytest.approx([0.5], rel=1e-12)
    assert by_weights["layer.weight"] == pytest.approx(0.75, rel=1e-12)


def test_no_root():
    problem = sml.SteadyStateProblem(lambda u, p, t: u**2 + 1.0, [0.3])
    failed = sml.solve(problem, "SSRootfind", raise_on_failure=False)
    assert failed.retcode == "ConvergenceFailure"
    assert "progress" in failed.message


def test_repr():
    text = repr(sml.solve(lotka_volterra(), "SSRootfind"))
    assert text.startswith("SteadyStateSolution(Success: u (2,), |f| = ")
