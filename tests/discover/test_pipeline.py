"""The whole way from data to an equation, on the example of Rackauckas et al. (2020)."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import pysciml as sml
from pysciml.discover import discover, polynomial, sr3
from pysciml.models import UDE

U0 = [0.44249296, 4.6280594]
FAST = {"engine": "native", "progress": False}


def law(u, p, t, unknown):
    x, y = u
    eaten, fed = unknown(u)
    return [p["growth"] * x + eaten, fed - p["death"] * y]


def truth(u, p, t):
    return law(u, p, t, lambda u: [-0.9 * u[0] * u[1], 0.8 * u[0] * u[1]])


KNOWN = {"growth": 1.3, "death": 1.8}
EXACT = sml.ODEProblem(truth, U0, (0.0, 12.0), KNOWN)


@pytest.fixture(scope="module")
def clean():
    return sml.solve(EXACT, engine="native", saveat=0.1, abstol=1e-10, reltol=1e-10)


def observed(clean, seed, noise=5e-3):
    u = clean.u[:31]
    return clean.t[:31], u + noise * u.mean(axis=0) * np.random.default_rng(seed).standard_normal(
        u.shape
    )


@pytest.fixture(scope="module")
def found(clean):
    network = sml.nn.mlp([2, 32, 2], "tanh")
    data = observed(clean, 0)
    settings = {"u0": U0, "p": KNOWN, "names": ["x", "y"], "outputs": ["eaten", "fed"]}
    return discover(law, data, network, **settings, **FAST)


def test_the_interaction_is_found(found):
    assert found.equation.p == {
        "eaten": {"x*y": pytest.approx(-0.9, rel=0.02)},
        "fed": {"x*y": pytest.approx(0.8, rel=0.02)},
    }
    errors = found.standard_errors()
    assert abs(found.equation.p["eaten"]["x*y"] + 0.9) < 4.0 * errors["eaten"]["x*y"]
    assert abs(found.equation.p["fed"]["x*y"] - 0.8) < 4.0 * errors["fed"]["x*y"]
    assert found.fit.p["p"] == KNOWN  # what was known stayed


def test_it_predicts_what_comes_long_after_the_data(found, clean):
    equation, network = found.extrapolate(12.0, saveat=0.1)
    assert np.abs(equation.u - clean.u).max() < 0.25  # predators and prey reach 8.8
    far = np.abs(network.u - clean.u[: len(network.u)]).max() if network.success else np.inf
    assert far > 1.0  # the network saw nothing of what comes


def test_what_is_kept(found):
    assert found.samples.x.shape == found.samples.y.shape == (200, 2)
    np.testing.assert_allclose(found.samples.x[0], U0)
    assert found.samples.inputs == ("x", "y")
    assert found.candidates[0].equation.size == 2
    assert all(np.isfinite(each.bic) for each in found.candidates)
    assert str(found) == str(found.equation)
    solution = sml.solve(found.problem, engine="native")
    np.testing.assert_allclose(solution.u[-1], found.fit.fitted[0][-1], rtol=2e-3)


def test_plot(found):
    inside, beyond = found.plot(6.0).axes
    assert len(inside.get_lines()) == 4
    assert len(beyond.get_lines()) == 6


def test_another_regression_and_rates_that_are_fitted(clean):
    """With SR3 on products only; the rates of growth and death are fitted as well."""
    x_y = functools.partial(sr3, threshold=0.3)
    found = discover(
        law,
        observed(clean, 1, 1e-3),
        sml.nn.mlp([2, 16, 2], "tanh", seed=1),
        u0=U0,
        p={"growth": 1.2, "death": 1.9},
        fixed=(),
        library=sml.discover.custom("x*y", "x**2*y", "x*y**2"),
        inputs=["x", "y"],
        regress=x_y,
        **FAST,
    )
    assert found.regression.method == "SR3 (l0)"
    assert found.problem.p["p"] == pytest.approx(KNOWN, rel=0.02)
    assert found.equation.p["y0"]["x*y"] == pytest.approx(-0.9, rel=0.05)
    assert found.equation.p["y1"]["x*y"] == pytest.approx(0.8, rel=0.05)


def test_of_a_ude_whose_network_is_added_to_one_term(clean):
    """All of the predators' equation is known, so the prey's unknown part is one number."""

    def known(u, p, t):
        x, y = u
        return [1.3 * x, 0.8 * x * y - 1.8 * y]

    model = UDE(known, sml.nn.mlp([2, 16, 1], "tanh"), terms=[0])
    found = discover(model, observed(clean, 2), u0=U0, names=["x", "y"], **FAST)
    assert found.equation.p == {"y": {"x*y": pytest.approx(-0.9, rel=0.02)}}
    equation, _ = found.extrapolate(12.0, saveat=0.1)
    assert np.abs(equation.u - clean.u).max() < 0.25


WRONG_CALLS = [
    (
        {"law": UDE(truth, sml.nn.mlp([2, 2]))},
        ValueError,
        "network must not be given with a UDE, which has its own",
    ),
    (
        {"law": UDE(law, {"a": sml.nn.mlp([2, 2])}), "network": None},
        ValueError,
        "law must be a UDE with one network; this has several",
    ),
    ({"law": lambda u, p, t: u}, TypeError, "law must be a function f(u, p, t, unknown)"),
    ({"law": 3}, TypeError, "law must be a function f(u, p, t, unknown) that calls"),
    ({"samples": 0}, ValueError, "samples must be a whole number >= 1; got 0"),
    ({"patience": 1.5}, ValueError, "patience must be a whole number >= 1; got 1.5"),
    ({"evidence": -1.0}, ValueError, "evidence must be a finite number >= 0; got -1.0"),
    ({"library": [polynomial(2)]}, TypeError, "library must be polynomial(...)"),
    ({"network": len}, TypeError, "nn.Module"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG_CALLS)
def test_wrong_calls(wrong, error, message):
    good = {"law": law, "data": ([0.0, 1.0], np.ones((2, 2))), "network": sml.nn.mlp([2, 2])}
    with pytest.raises(error) as caught:
        discover(**{**good, **wrong}, p=KNOWN, **FAST)
    assert message in str(caught.value)


def test_a_law_that_does_not_ask(clean):
    def deaf(u, p, t, unknown):
        unknown(u)
        return law(u, p, t, unknown)

    with pytest.raises(ValueError, match=r"law must call unknown\(inputs\) once"):
        discover(
            deaf,
            observed(clean, 0),
            sml.nn.mlp([2, 4, 2]),
            p=KNOWN,
            optimisers=sml.train.Adam(0.01, 2),
            **FAST,
        )
