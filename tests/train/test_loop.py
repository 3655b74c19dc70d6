"""The loop: failed trials, engines that run it themselves, and the order of things."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

import pysciml as sml
from pysciml import engines
from pysciml.train import LBFGS, Adam, EarlyStopping, GrowingHorizon
from pysciml.train.loop import Trials
from pysciml.train.objective import FailedTrial, ObjectiveFunction

FAST = {"progress": False, "engine": "native"}


def bowl(theta):
    """|theta|^2, which has no value beyond theta[0] = 2."""
    if theta[0] > 2.0:
        raise FailedTrial("beyond")
    return float(theta @ theta), 2.0 * theta


def test_a_failed_trial_costs_more_than_any_that_worked():
    trials = Trials(bowl)
    good = np.array([1.0, 1.0])
    trials(np.array([1.5, 2.0]))
    trials(good)
    value, gradient = trials(np.array([3.0, 1.0]))
    assert value > 1.5**2 + 2.0**2
    farther, _ = trials(np.array([4.0, 1.0]))
    assert farther > value
    np.testing.assert_allclose(gradient / np.linalg.norm(gradient), [1.0, 0.0])
    assert np.linalg.norm(gradient) == pytest.approx(np.linalg.norm(2.0 * good))


def test_the_slope_of_failed_trials_leads_back():
    trials = Trials(bowl)
    trials(np.array([1.0, 0.5]))
    failed = np.array([3.0, 2.0])
    _, gradient = trials(failed)
    step = failed - 1e-3 * gradient
    assert trials(step)[0] < trials(failed)[0]


def test_the_first_trial_has_to_work():
    with pytest.raises(FailedTrial):
        Trials(bowl)(np.array([3.0, 0.0]))


def test_where_trials_work_they_are_the_function():
    trials = Trials(bowl)
    start = np.array([0.3, -0.7])
    assert check_grad(lambda x: trials(x)[0], lambda x: trials(x)[1], start) < 1e-6


class WholeLoops:
    """An engine that runs whole optimisations, the way the protocol asks."""

    name = "native"

    def __init__(self, engine):
        self._engine = engine
        self.calls = []

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def minimise(self, objective, theta0, stages, report):
        function = ObjectiveFunction(self._engine, objective)
        self.calls.append((objective, stages))
        best = (np.inf, theta0)

        class Ended(Exception):
            pass

        for number, stage in enumerate(stages):

            def tell(value, theta, number=number):
                nonlocal best
                best = min(best, (value, theta), key=lambda each: each[0])
                if report(number, value, theta):
                    raise Ended

            try:
                stage.run(Trials(function), best[1], tell)
            except Ended:
                continue


@pytest.fixture
def whole_loops(monkeypatch):
    engine = WholeLoops(engines.get("native"))
    monkeypatch.setitem(engines._loaded, "native", engine)
    yield engine
    monkeypatch.undo()


@pytest.mark.parametrize(
    "options",
    [
        {"optimisers": [Adam(0.05, 20), LBFGS(10)]},
        {"optimisers": [Adam(0.3, 500), LBFGS(10)], "early_stopping": EarlyStopping(20)},
        {"optimisers": LBFGS(10), "strategy": GrowingHorizon([0.5]), "multi_start": 2},
    ],
)
def test_an_engine_that_runs_the_loop_is_asked_to(
    decays, decay_data, monkeypatch, whole_loops, options
):
    in_engine = sml.fit(decays, decay_data, **FAST, **options)
    assert whole_loops.calls
    monkeypatch.undo()
    in_python = sml.fit(decays, decay_data, **FAST, **options)
    np.testing.assert_array_equal(in_engine.history.loss, in_python.history.loss)
    np.testing.assert_array_equal(in_engine.history.stage, in_python.history.stage)
    np.testing.assert_array_equal(in_engine.p_flat, in_python.p_flat)


def test_with_a_checkpoint_the_loop_runs_in_python(decays, decay_data, whole_loops, tmp_path):
    options = {"optimisers": LBFGS(5), "checkpoint": tmp_path / "run.npz"}
    sml.fit(decays, decay_data, **FAST, **options)
    assert not whole_loops.calls


def test_a_loop_in_the_engine_that_cannot_begin_is_an_error(whole_loops):
    problem = sml.ODEProblem(lambda u, p, t: p["k"] * u**2, [1.0], (0.0, 1.0), {"k": 2.0})
    with pytest.raises(sml.SolveError, match="the fit cannot start"):
        sml.fit(problem, ([0.2, 1.0], [[1.0], [2.0]]), **FAST)


def test_interrupts_pass_through_an_engines_loop(decays, decay_data, interrupt, monkeypatch):
    """What interrupts the engine, or is raised by `report`, ends the fit with the best so far."""
    engine = WholeLoops(interrupt(7))
    monkeypatch.setitem(engines._loaded, "native", engine)
    result = sml.fit(decays, decay_data, optimisers=Adam(0.01, 50), **FAST)
    assert engine.calls
    assert result.message == "interrupted in 'fit', after 7 iterations"
    assert result.loss == result.history.loss.min()
