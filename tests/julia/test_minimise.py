"""Whole fits inside Julia against the loop in Python on the same engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import pysciml as sml
from pysciml import engines, train
from pysciml.engines.base import Array
from pysciml.train.data import as_tables
from pysciml.train.inputs import make_task
from pysciml.train.loop import Trials
from pysciml.train.objective import FailedTrial, Objective, ObjectiveFunction

pytestmark = pytest.mark.julia

TRUE = np.array([1.5, 1.0, 3.0, 1.0])


def lotka_volterra(u, p, t):
    return [p[0] * u[0] - p[1] * u[0] * u[1], -p[2] * u[1] + p[3] * u[0] * u[1]]


def problem(p: Sequence[float]) -> sml.ODEProblem:
    return sml.ODEProblem(lotka_volterra, [1.0, 1.0], (0.0, 4.0), p)


def small_fit(**more) -> tuple[Objective, Array]:
    """Two trajectories of Lotka-Volterra, and the unknowns that they are fitted from."""
    t = np.linspace(0.2, 4.0, 12)
    data = []
    for u0 in ([1.0, 1.0], [0.6, 1.4]):
        exact = problem(TRUE).remake(u0=u0)
        data.append((t, sml.solve(exact, "Vern7", "native", t, 1e-12, 1e-12).u))
    settings = {"abstol": 1e-9, "reltol": 1e-9, "alg": "Tsit5", **more}
    task = make_task(
        problem(TRUE * [1.1, 0.9, 1.1, 0.9]),
        as_tables(data),
        u0=[[1.0, 1.0], [0.6, 1.4]],
        **settings,
    )
    return task.objective(), task.unknowns.first


def in_julia(objective: Objective, theta: Array, *stages) -> list[tuple[int, float, Array]]:
    told: list[tuple[int, float, Array]] = []

    def report(stage: int, value: float, theta: Array) -> bool:
        told.append((stage, value, theta))
        return False

    engines.get("julia").minimise(objective, theta, stages, report)
    return told


def in_python(objective: Objective, theta: Array, stage) -> list[tuple[float, Array]]:
    told: list[tuple[float, Array]] = []
    function = Trials(ObjectiveFunction(engines.get("julia"), objective))
    stage.run(function, theta, lambda value, theta: told.append((value, theta)))
    return told


@pytest.mark.parametrize(
    "stage",
    [
        train.Adam(0.02, 40),
        train.Adam(0.05, 40, schedule="cosine", betas=(0.8, 0.99), epsilon=1e-6, clip=0.3),
    ],
    ids=["plain", "scheduled and clipped"],
)
def test_adam_takes_the_same_steps(stage) -> None:
    objective, theta = small_fit()
    found = in_julia(objective, theta, stage)
    expected = in_python(objective, theta, stage)
    assert len(found) == len(expected) == 40
    for (_stage, value, at), (other_value, other_at) in zip(found, expected, strict=True):
        assert value == pytest.approx(other_value, rel=1e-9)
        np.testing.assert_allclose(at, other_at, rtol=1e-9)


@pytest.mark.parametrize("stage", [train.LBFGS(100), train.BFGS(100)], ids=["LBFGS", "BFGS"])
def test_quasi_newton_finds_the_same_minimum(stage) -> None:
    objective, theta = small_fit()
    _number, value, at = min(in_julia(objective, theta, stage), key=lambda told: told[1])
    assert value < 1e-12
    np.testing.assert_allclose(at, TRUE, rtol=1e-5)


def test_stages_follow_one_another_from_the_best_so_far() -> None:
    objective, theta = small_fit()
    told = in_julia(objective, theta, train.Adam(0.05, 30), train.LBFGS(50))
    first = [entry for entry in told if entry[0] == 0]
    second = [entry for entry in told if entry[0] == 1]
    assert len(first) == 30
    assert second
    assert second[0][1] <= min(value for _, value, _ in first)
    np.testing.assert_allclose(second[-1][2], TRUE, rtol=1e-5)


def test_multiple_shooting_and_collocation_run_there_too() -> None:
    t = np.linspace(0.2, 4.0, 12)
    data = sml.solve(problem(TRUE), "Vern7", "native", t, 1e-12, 1e-12).u
    for strategy in (train.MultipleShooting(3), train.Collocation()):
        task = make_task(problem(TRUE * 1.2), as_tables((t, data)), abstol=1e-8, reltol=1e-8)
        (phase,) = strategy.phases(task, (train.Adam(0.02, 15),))
        objective, extra = phase.make(task.unknowns.first)
        theta = np.concatenate([task.unknowns.first, extra])
        found = in_julia(objective, theta, train.Adam(0.02, 15))
        expected = in_python(objective, theta, train.Adam(0.02, 15))
        np.testing.assert_allclose(found[-1][2], expected[-1][1], rtol=1e-7)


def test_report_can_end_a_stage() -> None:
    objective, theta = small_fit()
    told = []

    def report(stage: int, value: float, theta: Array) -> bool:
        told.append(stage)
        return told.count(stage) == 5

    stages = (train.Adam(0.02, 30), train.LBFGS(30), train.Adam(0.001, 30))
    engines.get("julia").minimise(objective, theta, stages, report)
    assert [told.count(stage) for stage in range(3)] == [5, 5, 5]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_report_raises_comes_back(error: type[BaseException]) -> None:
    objective, theta = small_fit()
    told = []

    def report(stage: int, value: float, theta: Array) -> bool:
        told.append(value)
        if len(told) == 3:
            raise error
        return False

    with pytest.raises(error):
        engines.get("julia").minimise(objective, theta, (train.Adam(0.02, 30),), report)
    assert len(told) == 3


def test_ctrl_c_inside_a_solve_ends_the_run() -> None:
    """The signal arrives while Julia runs; it is seen from the right-hand side."""
    import _thread
    import signal
    import threading

    objective, theta = small_fit(abstol=1e-12, reltol=1e-12)
    told = []

    def report(stage: int, value: float, theta: Array) -> bool:
        if not told:
            threading.Timer(0.3, _thread.interrupt_main, (signal.SIGINT,)).start()
        told.append(value)
        return False

    with pytest.raises(KeyboardInterrupt):
        engines.get("julia").minimise(objective, theta, (train.Adam(1e-6, 10**6),), report)
    assert 1 <= len(told) < 10**6


def quadratic_blow_up(u, p, t):
    return p[0] * u**2


def exploding_fit() -> tuple[Objective, Array]:
    """u' = p u^2 from 1 has a pole at t = 1/p: trials with p > 1 fail on [0, 1]."""
    t = np.array([0.5, 1.0])
    exact = 1.0 / (1.0 - 0.95 * t)
    task = make_task(
        sml.ODEProblem(quadratic_blow_up, [1.0], (0.0, 1.0), [0.8]),
        as_tables((t, exact[:, None])),
        abstol=1e-8,
        reltol=1e-8,
        alg="Tsit5",
    )
    return task.objective(), task.unknowns.first


def test_a_diverging_trial_is_a_penalty() -> None:
    objective, theta = exploding_fit()
    stage = train.Adam(0.15, 60)
    found, expected = in_julia(objective, theta, stage), in_python(objective, theta, stage)
    assert max(at[0] for _, _, at in found) > 1.0
    for (_stage, value, at), (other_value, other_at) in zip(found, expected, strict=True):
        assert np.isfinite(value)
        assert value == pytest.approx(other_value, rel=1e-6)
        np.testing.assert_allclose(at, other_at, rtol=1e-6)
    best = min(in_julia(objective, theta, train.LBFGS(60)), key=lambda told: told[1])
    assert best[2] == pytest.approx([0.95], rel=1e-5)


def test_the_first_trial_has_to_work() -> None:
    objective, theta = exploding_fit()
    with pytest.raises(FailedTrial) as failed:
        in_julia(objective, theta + 1.0, train.Adam(0.1, 5))
    assert failed.value.solve == 0


def test_the_same_seed_gives_the_same_numbers() -> None:
    objective, theta = small_fit()
    first, second = (in_julia(objective, theta, train.Adam(0.02, 20)) for _ in range(2))
    for (_, value, at), (_, other_value, other_at) in zip(first, second, strict=True):
        assert value == other_value
        np.testing.assert_array_equal(at, other_at)


def test_a_stage_that_julia_lacks_runs_in_python() -> None:
    t = np.linspace(0.0, 4.0, 21)
    data = sml.solve(problem(TRUE), "Tsit5", "julia", saveat=t, abstol=1e-10, reltol=1e-10)
    stages = [train.Adam(0.02, 20), train.SSBroyden(60)]
    result = sml.fit(
        problem([1.2, 0.8, 2.5, 0.9]),
        (t, data.u),
        optimisers=stages,
        engine="julia",
        alg="Tsit5",
        abstol=1e-9,
        reltol=1e-9,
        progress=False,
    )
    np.testing.assert_allclose(result.p_flat, TRUE, rtol=1e-5)
