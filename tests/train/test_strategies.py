"""Strategies on a landscape where single shooting is lost: the frequency of an oscillation."""

from __future__ import annotations

import numpy as np
import pytest

import pysciml as sml
from pysciml.train import (
    LBFGS,
    Adam,
    Collocation,
    GrowingHorizon,
    MultipleShooting,
)

OMEGA = 3.0
FAST = {"engine": "native", "progress": False}


def oscillator(u, p, t):
    return [u[1], -(p["omega"] ** 2) * u[0]]


@pytest.fixture(scope="module")
def wrong_frequency():
    """Ten periods are observed; the guess is off by 30 %."""
    return sml.ODEProblem(oscillator, [1.0, 0.0], (0.0, 20.0), {"omega": 2.1}, names=["x", "v"])


@pytest.fixture(scope="module")
def swings():
    t = np.linspace(0.0, 20.0, 121)
    exact = np.stack([np.cos(OMEGA * t), -OMEGA * np.sin(OMEGA * t)], axis=1)
    return t, exact + 0.02 * np.random.default_rng(0).standard_normal(exact.shape)


STAGES = [Adam(0.02, 200), LBFGS(100)]


def test_single_shooting_is_lost(wrong_frequency, swings):
    """Guards the tests below."""
    result = sml.fit(wrong_frequency, swings, optimisers=STAGES, **FAST)
    assert abs(result.p["omega"] - OMEGA) > 0.3
    assert result.loss > 1.0


@pytest.mark.parametrize(
    "strategy",
    [
        MultipleShooting(20),
        Collocation(),
        GrowingHorizon([0.02, 0.05, 0.1, 0.2, 0.4, 0.7]),
        [MultipleShooting(30, 0.1), MultipleShooting(10, 10.0)],
    ],
    ids=["multiple shooting", "collocation", "growing horizon", "two in a row"],
)
def test_a_warm_start_finds_the_frequency(wrong_frequency, swings, strategy):
    result = sml.fit(wrong_frequency, swings, optimisers=STAGES, strategy=strategy, **FAST)
    assert result.p["omega"] == pytest.approx(OMEGA, rel=1e-3)
    assert result.loss == pytest.approx(0.02**2, rel=0.2)
    assert result.history.phases[-1] == "fit"


def test_multiple_shooting_with_one_state_observed(wrong_frequency, swings):
    t, u = swings
    result = sml.fit(
        wrong_frequency,
        (t, u[:, 0]),
        observe=["x"],
        optimisers=STAGES,
        strategy=MultipleShooting(20, optimisers=[Adam(0.02, 600), LBFGS(300)]),
        **FAST,
    )
    assert result.p["omega"] == pytest.approx(OMEGA, rel=1e-3)


def test_multiple_shooting_of_several_trajectories(wrong_frequency, swings):
    t, u = swings
    half = len(t) // 2
    later = t[half:] - t[half], u[half:]
    starts = [[1.0, 0.0], [np.cos(OMEGA * t[half]), -OMEGA * np.sin(OMEGA * t[half])]]
    result = sml.fit(
        wrong_frequency,
        [(t[:half], u[:half]), later],
        u0=starts,
        optimisers=STAGES,
        strategy=MultipleShooting(8),
        **FAST,
    )
    assert result.p["omega"] == pytest.approx(OMEGA, rel=1e-3)


def test_collocation_needs_no_solve(wrong_frequency, swings):
    """Its phase alone comes within a few per cent: the splines flatten the extremes."""
    collocation = Collocation()
    result = sml.fit(
        wrong_frequency,
        swings,
        optimisers=Adam(1e-12, 1),
        strategy=collocation,
        **FAST,
    )
    assert result.p["omega"] == pytest.approx(OMEGA, rel=0.03)


def test_collocation_fits_slopes_of_the_data_themselves(lotka_volterra):
    """On exact data, dense enough, the rates are right to the splines' error."""
    problem, t, u = lotka_volterra
    guess = problem.remake(p={"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5})
    result = sml.fit(
        guess, (t, u), optimisers=Adam(1e-12, 1), strategy=Collocation(smoothing=0.0), **FAST
    )
    for name, value in problem.p.items():
        assert result.p[name] == pytest.approx(value, rel=0.02), name


def test_collocation_of_a_model_in_numpy(swings):
    """The captured function is evaluated at all nodes at once, however it was written."""

    def in_place(du, u, p, t):
        du[0] = u[1]
        du[1] = -np.square(p[0]) * u[0] * np.exp(0.0 * t)

    problem = sml.ODEProblem(in_place, [1.0, 0.0], (0.0, 20.0), [2.1])
    result = sml.fit(problem, swings, optimisers=LBFGS(50), strategy=Collocation(), **FAST)
    assert result.p[0] == pytest.approx(OMEGA, rel=1e-3)


def test_starts_are_forgotten_after_multiple_shooting(wrong_frequency, swings):
    result = sml.fit(
        wrong_frequency, swings, optimisers=STAGES, strategy=MultipleShooting(5), **FAST
    )
    assert list(result.quantities) == ["omega"]
    np.testing.assert_array_equal(result.u0[0], [1.0, 0.0])
