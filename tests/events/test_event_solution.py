"""What a solution shows of its events."""

from __future__ import annotations

import pickle
import re

import matplotlib as mpl
import numpy as np
import pytest
from event_cases import BOUNCE, TIGHT, ball, bounce_times, dosed, falling

import pysciml as sml

mpl.use("Agg")


def solved(engine: str, **options) -> sml.Solution:
    return sml.solve(ball(), "Tsit5", engine, **TIGHT, **options)


def test_shapes_are_those_of_the_state(engine: str) -> None:
    def field(u, p, t):
        return -u

    problem = sml.ODEProblem(
        field, np.ones((2, 3)), (0.0, 2.0),
        events=[sml.ContinuousEvent(lambda u, p, t: u.sum() - 3.0, lambda u, p, t: 2.0 * u)],
    )  # fmt: skip
    sol = sml.solve(problem, engine=engine, **TIGHT)
    assert sol.events[0].t == pytest.approx(np.log(2.0) * np.arange(1, 3), abs=1e-9)
    assert sol.events[0].before == pytest.approx(np.full((2, 2, 3), 0.5), abs=1e-9)
    assert sol.events[0].after == pytest.approx(np.ones((2, 2, 3)), abs=1e-9)
    scalar = sml.ODEProblem(
        field, 1.0, (0.0, 2.0), events=[sml.PresetTimes(1.0, lambda u, p, t: u)]
    )
    assert sml.solve(scalar, engine=engine).events[0].before.shape == (1,)
    plain = sml.solve(sml.ODEProblem(field, 1.0, (0.0, 1.0)), engine=engine)
    assert plain.events == ()


def test_every_step_has_both_sides_and_the_interpolant_the_second(engine: str) -> None:
    sol = solved(engine)
    twice = np.flatnonzero(sol.t[1:] == sol.t[:-1])
    assert sol.t[twice] == pytest.approx(bounce_times(), abs=1e-9)
    assert sol.u[twice] == pytest.approx(sol.events[0].before, abs=0)
    assert sol.u[twice + 1] == pytest.approx(sol.events[0].after, abs=0)
    assert sol(sol.events[0].t) == pytest.approx(sol.events[0].after, abs=1e-12)
    just_before = np.nextafter(sol.events[0].t, 0.0)
    assert sol(just_before) == pytest.approx(sol.events[0].before, abs=1e-12)
    # one parabola between two bounces
    t0, (x, v) = sol.events[0].t[1], sol.events[0].after[1]
    times = np.linspace(t0, sol.events[0].t[2], 20)[:-1]
    exact = x + v * (times - t0) - 0.5 * 9.81 * (times - t0) ** 2
    assert sol(times)[:, 0] == pytest.approx(exact, abs=1e-9)


def test_saved_components(engine: str) -> None:
    sol = solved(engine, save_idxs=[1])
    assert sol.u.shape == (len(sol.t), 1)
    assert sol.events[0].before.shape == (4, 2)  # these are whole
    assert sol.u[:, 0] == pytest.approx(solved(engine).u[:, 1], abs=0)


def test_ends_only(engine: str) -> None:
    sol = solved(engine, save_everystep=False)
    assert sol.t == pytest.approx([0.0, 2.5])
    assert sol.u[-1] == pytest.approx(solved(engine).u[-1], abs=1e-12)
    assert len(sol.events[0].t) == 4


def test_nothing_after_a_terminal_event(engine: str) -> None:
    stop = sml.ContinuousEvent(BOUNCE.condition, BOUNCE.affect, terminal=True)
    problem = sml.ODEProblem(falling, [1.0, 0.3], (0.0, 2.5), {"g": 9.81, "e": 0.8}, events=[stop])
    sol = sml.solve(problem, "Tsit5", engine, **TIGHT)  # no SolveError
    end = bounce_times()[0]
    assert (sol.retcode, sol.success, sol.message) == ("Terminated", True, "")
    assert sol.t[-2:] == pytest.approx([end, end], abs=1e-12)
    assert sol.u[-1, 1] == pytest.approx(-0.8 * sol.u[-2, 1])
    assert sol(sol.t[-1]) == pytest.approx(sol.u[-1])
    with pytest.raises(ValueError, match=re.escape("t must lie in the solved span")):
        sol(2.0)


def test_a_second_solve_is_the_same(engine: str) -> None:
    """The work spaces are used again, the problem's events do not change."""
    first = solved(engine)
    other = sml.solve(ball((0.0, 1.2), e=0.5), "Tsit5", engine)
    second = solved(engine)
    assert (first.u == second.u).all()
    assert other.events[0].t == pytest.approx(bounce_times(1.2, e=0.5), abs=1e-6)


def test_a_plot_marks_the_events() -> None:
    sol = sml.solve(
        ball(), "Tsit5", "native", events=[sml.PresetTimes([1.5], lambda u, p, t: 1.1 * u)]
    )
    axes = sol.plot(0)
    curve, *marks = axes.get_lines()
    assert [mark.get_label() for mark in marks] == ["event 0", "event 1"]
    assert marks[0].get_xdata() == pytest.approx(sol.events[0].t)
    assert marks[0].get_ydata() == pytest.approx(sol.events[0].before[:, 0])
    assert marks[1].get_xdata() == pytest.approx([1.5])
    assert "event 0" in [text.get_text() for text in axes.get_legend().get_texts()]
    # the curve has the jump at the dose: both sides at the same time
    x, y = curve.get_xdata(), curve.get_ydata()
    at = np.flatnonzero(x == 1.5)
    assert y[at].min() == pytest.approx(sol.events[1].before[0, 0])
    assert y[at].max() == pytest.approx(sol.events[1].after[0, 0])
    plane = sol.plot((0, 1))
    assert plane.get_lines()[1].get_ydata() == pytest.approx(sol.events[0].before[:, 1])


def test_an_ensemble_has_the_same_trajectories(engine: str) -> None:
    events = [BOUNCE, sml.PresetTimes([0.0, 1.0], lambda u, p, t: u + 0.1)]
    problem = sml.ODEProblem(falling, [1.0, 0.3], (0.0, 2.0), {"g": 9.81, "e": 0.8}, events=events)
    p = np.stack([np.full(9, 9.81), np.linspace(0.8, 0.95, 9)], 1)
    for alg in ("AutoTsit5(Rodas5P)", "Rodas5P"):
        ensemble = sml.solve_ensemble(
            problem, p=p, alg=alg, engine=engine, saveat=0.25, progress=False
        )
        for k in range(9):
            alone = sml.solve(problem.remake(p=p[k]), alg, engine, 0.25)
            assert (ensemble.u[k] == alone.u).all()


def test_problems_with_events_travel(engine: str) -> None:
    """As they do to the workers of an ensemble."""
    schedule = sml.PresetTimes([0.5], slowed)
    problem = sml.ODEProblem(
        falling, [1.0, 0.3], (0.0, 1.0), {"g": 9.81, "e": 0.8}, events=[BOUNCE, schedule]
    )
    there = pickle.loads(pickle.dumps(problem))
    assert (sml.solve(there, "Tsit5", engine).u == sml.solve(problem, "Tsit5", engine).u).all()


def slowed(u, p, t):
    return 0.5 * u


def test_a_comparison_needs_a_reference_with_the_events() -> None:
    with pytest.raises(ValueError) as raised:
        sml.compare(ball(), ["native"])
    assert str(raised.value) == (
        "reference must be given for a problem with events, which SciPy cannot let change the "
        "state; pass a solution with dense output"
    )
    exact = sml.solve(ball(), "Vern7", "native", abstol=1e-12, reltol=1e-12)
    compared = sml.compare(
        ball(), ["native", "torch"], {"native": ["Tsit5"], "torch": [None]}, reltol=1e-8,
        reference=exact, show=False,
    )  # fmt: skip
    native, torch = compared.table
    assert native["error"] < 1e-7
    assert torch["retcode"] == "Unsupported"


def test_doses_show_in_the_repr() -> None:
    problem = sml.ODEProblem(falling, [1.0, 0.0], (0, 1), events=[sml.PresetTimes(0.5, dosed)])
    assert repr(problem).endswith("p=None, 1 event)")
