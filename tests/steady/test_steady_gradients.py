"""Gradients through steady states: closed forms, and finite differences of exact states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from steady_cases import GENE, RATES, binding, brusselator, gene, gene_exact, heat, lotka_volterra

import pysciml as sml


def test_lotka_volterra():
    """u* = (death/fed, growth/eaten)."""
    found = sml.gradient(lotka_volterra(), lambda u: u[0] * u[1], "SSRootfind")
    prey, predator = RATES["death"] / RATES["fed"], RATES["growth"] / RATES["eaten"]
    assert found.value == pytest.approx(prey * predator, rel=1e-13)
    assert found.p["death"] == pytest.approx(predator / RATES["fed"], rel=1e-12)
    assert found.p["fed"] == pytest.approx(-prey * predator / RATES["fed"], rel=1e-12)
    assert found.p["growth"] == pytest.approx(prey / RATES["eaten"], rel=1e-12)
    assert found.p["eaten"] == pytest.approx(-prey * predator / RATES["eaten"], rel=1e-12)
    assert found.u0.tolist() == [0.0, 0.0]
    assert found.sensealg == "implicit function theorem"


def test_brusselator_with_parameters_in_the_loss():
    """L = a b + (b/a)^2 + b at (a, b/a)."""
    a, b = 1.2, 1.7
    found = sml.gradient(brusselator(a, b), lambda u, p: u[0] * p[1] + u[1] ** 2 + p[1])
    assert found.value == pytest.approx(a * b + (b / a) ** 2 + b, rel=1e-12)
    by_b = a + 2 * b / a**2 + 1.0
    assert found.p == pytest.approx([b - 2 * b**2 / a**3, by_b], rel=1e-11)


def test_chemical_network_against_differences_of_the_exact_state():
    found = sml.gradient(gene(), lambda u: (u**2).sum() + torch.sin(u[0]))

    def loss(p):
        u = gene_exact(p)
        return (u**2).sum() + np.sin(u[0])

    for name, value in GENE.items():
        h = 1e-4 * value
        up, down, up2, down2 = (loss({**GENE, name: value + k * h}) for k in (1.0, -1.0, 2.0, -2.0))
        difference = (8 * (up - down) - (up2 - down2)) / (12 * h)
        assert found.p[name] == pytest.approx(difference, rel=1e-8)


def test_against_differences_of_solves():
    problem = heat()
    found = sml.gradient(problem, lambda u: (u**3).sum())

    def loss(p):
        return (sml.solve(problem.remake(p=p), "SSRootfind").u ** 3).sum()

    h = 1e-3
    assert found.p == pytest.approx((loss(1.0 + h) - loss(1.0 - h)) / (2 * h), rel=1e-5)
    assert found.p == pytest.approx(3.0 * found.value, rel=1e-10)  # u is linear in p


def test_of_some_parameters():
    found = sml.gradient(gene(), lambda u: u[1], wrt=["half"])
    assert found.p.keys() == {"half"}
    assert found.p["half"] > 0.0


def test_no_parameters():
    problem = sml.SteadyStateProblem(lambda u, p, t: 1.0 - u, [0.0])
    assert sml.gradient(problem, lambda u: u.sum()).p_flat.size == 0


def test_what_is_conserved_has_no_gradient():
    with pytest.raises(ValueError, match="the Jacobian is singular at the steady state"):
        sml.gradient(binding(), lambda u: u[2], abstol=1e-10, reltol=1e-10)
