"""solve(): what reaches the engine, and what becomes of its answer."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

import pysciml as sml
from pysciml import engines
from pysciml.engines.base import Availability
from pysciml.timing import best_time


def decay(u, p, t):
    return -u


@pytest.fixture
def problem():
    return sml.ODEProblem(decay, [1.0, 2.0], (0, 1))


def test_defaults(problem, recorder):
    sml.solve(problem, engine="native")
    _, alg, options = recorder.calls[0]
    assert alg is None
    assert (options.abstol, options.reltol, options.maxiters) == (1e-6, 1e-3, 100_000)
    assert options.saveat is options.dt is options.dtmax is options.tstops is None
    assert options.adaptive and options.save_everystep and options.dense
    assert options.dtmin == 0.0
    assert options.algorithm == {}


@pytest.mark.parametrize(
    ("tspan", "step", "expected"),
    [
        ((0, 1), 0.25, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ((0, 1), 0.4, [0.0, 0.4, 0.8, 1.0]),
        ((0, 1), 1, [0.0, 1.0]),
        ((0, 1), 5.0, [0.0, 1.0]),
        ((1, 0), 0.5, [1.0, 0.5, 0.0]),
        ((1, 0), 0.4, [1.0, 0.6, 0.2, 0.0]),
        ((-1, 1), np.float32(0.5), [-1.0, -0.5, 0.0, 0.5, 1.0]),
    ],
)
def test_saveat_as_a_step_starts_at_t0_and_ends_at_t1(tspan, step, expected, recorder):
    solution = sml.solve(sml.ODEProblem(decay, 1.0, tspan), engine="native", saveat=step)
    np.testing.assert_allclose(solution.t, expected, atol=1e-15)
    assert solution.t[-1] == expected[-1]


def test_a_step_that_divides_the_span_has_no_stray_point(recorder):
    solution = sml.solve(sml.ODEProblem(decay, 1.0, (0, 10)), engine="native", saveat=0.1)
    assert len(solution.t) == 101
    np.testing.assert_allclose(np.diff(solution.t), 0.1, rtol=1e-12)


@pytest.mark.parametrize("times", [[0.25, 0.5], (0, 1), np.array([1]), range(2)])
def test_saveat_as_times_is_kept_as_it_is(problem, recorder, times):
    solution = sml.solve(problem, engine="native", saveat=times)
    assert solution.t.tolist() == [float(t) for t in times]


def test_a_rounding_error_beyond_the_end_is_forgiven(recorder):
    problem = sml.ODEProblem(decay, 1.0, (0, 0.3))
    times = np.arange(4) * 0.1
    assert times[-1] > 0.3
    assert sml.solve(problem, engine="native", saveat=times).t[-1] == 0.3


def test_the_times_of_one_solution_are_not_those_of_the_next(problem, recorder):
    sml.solve(problem, engine="native", saveat=0.5).t[:] = 7.0
    assert sml.solve(problem, engine="native", saveat=0.5).t.tolist() == [0.0, 0.5, 1.0]


def test_tstops_are_sorted_in_the_direction_of_time(recorder):
    sml.solve(sml.ODEProblem(decay, 1.0, (1, 0)), engine="native", tstops=[0.2, 0.8, 0.2])
    assert recorder.options.tstops.tolist() == [0.8, 0.2]


def test_tolerances_for_each_component(recorder):
    problem = sml.ODEProblem(decay, np.ones((2, 2)), (0, 1))
    sml.solve(problem, engine="native", abstol=[[1, 2], [3, 4]], reltol=np.full(4, 1e-4))
    assert recorder.options.abstol.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert recorder.options.reltol.tolist() == [1e-4] * 4


def test_numbers_of_any_type(problem, recorder):
    sml.solve(
        problem,
        engine="native",
        abstol=np.float32(0.5),
        reltol=1,
        dt=1,
        dtmin=0,
        dtmax=np.int64(2),
        maxiters=1e5,
        adaptive=np.False_,
        save_idxs=-1,
        dense=True,
        alg_options={"autodiff": False},
    )
    options = recorder.options
    assert (options.abstol, options.reltol, options.dt, options.dtmax) == (0.5, 1.0, 1.0, 2.0)
    assert options.maxiters == 100_000
    assert options.adaptive is False
    assert options.save_idxs.tolist() == [1]
    assert options.algorithm == {"autodiff": False}
    kinds = [type(x) for x in (options.abstol, options.reltol, options.dt, options.dtmin)]
    assert kinds == [float] * 4


@pytest.mark.parametrize(
    ("options", "dense"),
    [
        ({}, True),
        ({"saveat": 0.5}, False),
        ({"saveat": 0.5, "dense": True}, True),
        ({"save_everystep": False}, False),
        ({"dense": False}, False),
    ],
)
def test_dense_output_is_kept_when_every_step_is(problem, recorder, options, dense):
    assert sml.solve(problem, engine="native", **options).has_dense is dense


class TestFailure:
    def test_it_raises_and_keeps_what_was_computed(self, problem, recorder):
        recorder.retcode = "MaxIters"
        recorder.message = "100000 steps were not enough at t = 0.3, step size 1e-07."
        with pytest.raises(sml.SolveError) as raised:
            sml.solve(problem, engine="native")
        assert str(raised.value) == (
            "Tsit5 on the native engine stopped before t = 1 (MaxIters): 100000 steps were not "
            "enough at t = 0.3, step size 1e-07. Likely the tolerances are too tight or the "
            'problem is stiff: try a stiff method (alg="Rodas5P"), looser tolerances, or a '
            "larger maxiters. The 2 saved states are in error.solution; raise_on_failure=False "
            "returns them instead of raising."
        )
        assert raised.value.solution.retcode == "MaxIters"
        assert raised.value.solution.u.shape == (2, 2)

    def test_or_returns_it(self, problem, recorder):
        recorder.retcode = "Unstable"
        solution = sml.solve(problem, engine="native", raise_on_failure=False)
        assert solution.retcode == "Unstable"
        assert not solution.success

    def test_a_retcode_without_advice_of_its_own(self, problem, recorder):
        recorder.retcode = "Failure"
        with pytest.raises(sml.SolveError, match="Likely the model or its input: look at"):
            sml.solve(problem, engine="native")


def test_ctrl_c_keeps_what_was_computed(problem, recorder, monkeypatch):
    solve = recorder.solve

    def interrupted(*arguments):
        stop = KeyboardInterrupt()
        stop.partial = solve(*arguments)
        raise stop

    monkeypatch.setattr(recorder, "solve", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        sml.solve(problem, engine="native")
    assert raised.value.solution.u.shape == (2, 2)


class TestAuto:
    @pytest.fixture
    def julia(self, monkeypatch):
        class Julia:
            name = "julia"
            state = Availability(False, "Julia is not installed", "pysciml julia install")
            asked = 0

            def availability(self):
                self.asked += 1
                return self.state

        engine = Julia()
        monkeypatch.setitem(engines._loaded, "julia", engine)
        monkeypatch.setattr(engines, "_auto", None)
        monkeypatch.setattr(engines, "_fallback_said", False)
        return engine

    def test_native_with_one_line_when_julia_is_not_ready(self, problem, recorder, julia, caplog):
        with caplog.at_level(logging.WARNING, "pysciml"):
            for _ in range(3):
                assert sml.solve(problem).engine == "native"
        assert [record.getMessage() for record in caplog.records] == [
            'pysciml: engine="auto" uses the native engine, because Julia is not ready (Julia is '
            "not installed). To get it: pysciml julia install"
        ]
        assert julia.asked == 1

    def test_julia_when_it_is_ready(self, julia, caplog):
        julia.state = Availability(True)
        assert engines.get("auto") is julia
        assert not caplog.records

    def test_julia_installed_meanwhile_is_found(self, problem, recorder, julia, monkeypatch):
        assert engines.get("auto").name == "native"
        julia.state = Availability(True)
        monkeypatch.setattr(engines, "_auto", (engines.get("native"), 0.0))
        assert engines.get("auto") is julia


def test_an_engine_whose_import_fails_is_unavailable(monkeypatch):
    monkeypatch.setitem(engines._HOMES, "native", ("pysciml.engines.nowhere", "Engine"))
    monkeypatch.delitem(engines._loaded, "native", raising=False)
    with pytest.raises(sml.EngineUnavailableError, match='engine="native" could not be loaded'):
        engines.get("native")
    assert not engines.availability("native").ready


def test_the_front_door_costs_microseconds(problem, recorder):
    def call():
        sml.solve(problem, "Tsit5", "native", 0.1, 1e-6, 1e-6)

    call()
    inside = best_time(lambda: recorder.solve(problem, "Tsit5", recorder.options))
    assert best_time(call) - inside < 100e-6  # about 8 on an idle machine


def test_import_loads_no_engine_and_no_torch():
    import subprocess

    code = "import sys, pysciml; print([m for m in ('torch', 'numba', 'juliacall', 'scipy', "
    code += "'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
