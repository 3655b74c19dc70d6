"""Trajectories that fail, and ensembles that are interrupted: the rest is kept."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

import pysciml as sml
from pysciml import engines

HOW = {"engine": "native", "saveat": 0.25, "progress": False}


class OneByOne:
    """The native engine as one that cannot solve many at once."""

    name = "julia"

    def __init__(self):
        self.native = engines.get("native")
        self.solve = self.native.solve


@pytest.fixture
def one_by_one(monkeypatch):
    monkeypatch.setitem(engines._loaded, "julia", OneByOne())


def test_failures_are_told_once_and_the_rest_is_kept(blow_up):
    p = np.array([0.5, 4.0, 0.25, 2.0])
    with pytest.warns(RuntimeWarning) as told:
        ensemble = sml.solve_ensemble(blow_up, alg="Tsit5", p=p, **HOW)
    assert [str(each.message) for each in told] == [
        "2 of 4 trajectories did not succeed: 2 DtLessThanMin. Their states are NaN from where "
        "they stopped, and the statistics leave them out. The first is number 1; "
        "solve(result.problem_at(1)) tells more."
    ]
    assert told[0].filename == __file__
    assert ensemble.retcodes.tolist() == ["Success", "DtLessThanMin"] * 2
    assert ensemble.failed.tolist() == [1, 3]
    assert ensemble.count == 2 and not ensemble.success
    exact = 1.0 / (1.0 - p[::2, None] * ensemble.t)
    np.testing.assert_allclose(ensemble.u[::2, :, 0], exact, rtol=1e-2)
    # p = 4 ends at t = 1/4, p = 2 at t = 1/2; what was saved before is kept
    assert np.isnan(ensemble.u[1, 1:]).all() and ensemble.u[1, 0, 0] == 1.0
    np.testing.assert_allclose(ensemble.u[3, :2, 0], [1.0, 2.0], rtol=1e-2)
    assert np.isnan(ensemble.u[3, 2:]).all()


@pytest.mark.parametrize("alg", ["Tsit5", "Rodas5P", None])
def test_retcodes_and_states_are_those_of_single_solves(alg, blow_up):
    p, how = np.linspace(0.2, 3.0, 15), {**HOW, "maxiters": 300}
    with pytest.warns(RuntimeWarning):
        ensemble = sml.solve_ensemble(blow_up, alg=alg, p=p, **how)
    del how["progress"]
    for i, retcode in enumerate(ensemble.retcodes):
        alone = sml.solve(ensemble.problem_at(i), alg, raise_on_failure=False, **how)
        assert retcode == alone.retcode
        np.testing.assert_array_equal(ensemble.u[i, : len(alone.u)], alone.u)
        assert np.isnan(ensemble.u[i, len(alone.u) :]).all()


def test_maxiters_and_a_bad_start(decay):
    with pytest.warns(RuntimeWarning, match="3 of 3 .*: 3 MaxIters"):
        sml.solve_ensemble(decay, 3, reltol=1e-10, maxiters=2, **HOW)
    root = sml.ODEProblem(lambda u, p, t: [u[0] ** p[0]], [1.0], (0.0, 1.0), [1.0])
    with pytest.warns(RuntimeWarning, match="1 of 2 .*: 1 Unstable"):
        ensemble = sml.solve_ensemble(root, u0=[[1.0], [-1.0]], p=[[0.5], [0.5]], **HOW)
    np.testing.assert_allclose(ensemble.u[0, -1], 1.5**2, rtol=1e-3)


def test_an_engine_that_solves_one_at_a_time(one_by_one, blow_up):
    p = np.array([0.5, 4.0, 0.25])
    with pytest.warns(RuntimeWarning, match="1 DtLessThanMin"):
        ensemble = sml.solve_ensemble(blow_up, p=p, **{**HOW, "engine": "julia"})
    with pytest.warns(RuntimeWarning):
        native = sml.solve_ensemble(blow_up, p=p, **HOW)
    np.testing.assert_array_equal(ensemble.u, native.u)
    assert ensemble.stats == native.stats
    with pytest.raises(sml.UnsupportedError) as refused:
        sml.solve_ensemble(blow_up, p=p, threads=2, **{**HOW, "engine": "julia"})
    assert str(refused.value) == (
        'engine="julia" has no threads; engine="native" has, and executor= runs any engine in '
        "several processes"
    )


def interrupting(at: int):
    """prob_func that presses Ctrl-C when it is asked for a trajectory."""

    def vary(problem, i):
        if i == at:
            os.kill(os.getpid(), signal.SIGINT)
        return problem.remake(p=[0.1 * i])

    return vary


@pytest.mark.parametrize("keep", ["all", "statistics"])
@pytest.mark.parametrize("engine", ["native", "julia"])
def test_ctrl_c_returns_what_is_finished(decay, one_by_one, engine, keep):
    how = {**HOW, "engine": engine, "keep": keep, "batch_size": 5}
    with pytest.warns(RuntimeWarning, match="Interrupted"):
        ensemble = sml.solve_ensemble(decay, 100, prob_func=interrupting(62), **how)
    done = ensemble.retcodes == "Success"
    assert set(ensemble.retcodes) == {"Success", "Interrupted"}
    assert not done[60:].any()
    assert done[:20].all()  # batches that were waited for
    exact = np.exp(-0.1 * np.arange(100)[:, None] * ensemble.t)
    if keep == "all":
        np.testing.assert_allclose(ensemble.u[done, :, 0], exact[done], rtol=1e-2)
        assert np.isnan(ensemble.u[~done]).all()
    np.testing.assert_allclose(ensemble.mean[:, 0], exact[done].mean(axis=0), rtol=1e-3)


def test_batches_that_are_done_when_ctrl_c_comes_are_received(decay):
    sml.solve_ensemble(decay, 10, **HOW)

    def vary(problem, i):
        if i == 12:
            time.sleep(1.0)  # the batches before need a thousandth of it
            raise KeyboardInterrupt
        return problem.remake(p=[0.1 * i])

    with pytest.warns(RuntimeWarning, match="28 Interrupted"):
        ensemble = sml.solve_ensemble(decay, 40, prob_func=vary, batch_size=2, threads=4, **HOW)
    assert (ensemble.retcodes == "Success").sum() == 12


def test_ctrl_c_ends_compiled_code(decay):
    """Each trajectory would take minutes."""
    sml.solve_ensemble(decay, 2, "Euler", dt=0.1, adaptive=False, **HOW)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.warns(RuntimeWarning, match="4 Interrupted"):
        ensemble = sml.solve_ensemble(
            decay, 4, "Euler", dt=1e-10, adaptive=False, maxiters=10**12, **HOW
        )
    assert (ensemble.retcodes == "Interrupted").all()


def test_ctrl_c_within_a_single_solve(decay, monkeypatch):
    solver = OneByOne()

    def solve(problem, alg, options):
        if problem.p_flat[0] == 3.0:
            raise KeyboardInterrupt
        return solver.native.solve(problem, alg, options)

    solver.solve = solve
    monkeypatch.setitem(engines._loaded, "julia", solver)
    with pytest.warns(RuntimeWarning, match="4 Interrupted"):
        ensemble = sml.solve_ensemble(
            decay, p=np.arange(7.0), batch_size=5, **{**HOW, "engine": "julia"}
        )
    assert ensemble.retcodes.tolist() == ["Success"] * 3 + ["Interrupted"] * 4
    assert np.isnan(ensemble.u[3:]).all() and np.isfinite(ensemble.u[:3]).all()


def test_an_error_of_the_users_function_is_raised(decay):
    def broken(problem, i):
        if i == 40:
            raise RuntimeError("no such trajectory")
        return problem

    with pytest.raises(RuntimeError, match="no such trajectory"):
        sml.solve_ensemble(decay, 100, prob_func=broken, batch_size=10, **HOW)


def test_the_progress_bar_counts_trajectories(decay, capsys, monkeypatch):
    import pysciml.ensemble as module

    monkeypatch.setattr(module, "_QUIET_SECONDS", 0.0)
    sml.solve_ensemble(decay, 64, **{**HOW, "progress": True})
    shown = capsys.readouterr().err
    assert "ensemble" in shown and "64/64" in shown
    sml.solve_ensemble(decay, 64, **HOW)
    assert capsys.readouterr().err == ""
