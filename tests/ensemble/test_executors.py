"""Batches on executors: processes, Dask, and one that loses its workers."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import pysciml as sml
from pysciml import engines

HOW = {"engine": "native", "saveat": 0.5, "progress": False}
RATES = np.linspace(0.1, 2.0, 96)


class WorkersDie(Executor):
    """Loses each job so many times before it is done."""

    def __init__(self, losses: int, victim: int = 0) -> None:
        self.losses, self.victim = losses, victim
        self.jobs: list[int] = []

    def submit(self, job, first, *rest):
        self.jobs.append(first)
        future: Future = Future()
        if first == self.victim and self.jobs.count(first) <= self.losses:
            future.set_exception(RuntimeError("worker died"))
        else:
            # what crosses is what can be pickled
            arguments = pickle.loads(pickle.dumps((job, first, *rest)))
            future.set_result(pickle.loads(pickle.dumps(arguments[0](*arguments[1:]))))
        return future


def check(ensemble, rates=RATES) -> None:
    good = ensemble.retcodes == "Success"
    exact = np.exp(-rates[:, None] * ensemble.t)
    np.testing.assert_allclose(ensemble.u[good, :, 0], exact[good], rtol=1e-2)
    assert np.isnan(ensemble.u[~good]).all()


def test_a_lost_batch_is_sent_again(decay):
    pool = WorkersDie(3, victim=8)
    ensemble = sml.solve_ensemble(decay, p=RATES, executor=pool, batch_size=8, **HOW)
    assert ensemble.success
    assert [pool.jobs.count(first) for first in range(0, 96, 8)] == [1, 4] + [1] * 10
    np.testing.assert_array_equal(ensemble.u, sml.solve_ensemble(decay, p=RATES, **HOW).u)


def test_a_batch_lost_too_often_fails_and_the_rest_is_kept(decay):
    pool = WorkersDie(4, victim=8)
    with pytest.warns(RuntimeWarning) as told:
        ensemble = sml.solve_ensemble(decay, p=RATES, executor=pool, batch_size=8, **HOW)
    assert "8 of 96 trajectories did not succeed: 8 Failure." in str(told[0].message)
    assert str(told[0].message).endswith(
        "Lost with their workers: trajectories 8 to 15: RuntimeError: worker died."
    )
    assert ensemble.failed.tolist() == list(range(8, 16))
    check(ensemble)


def test_statistics_and_shared_rows_on_an_executor(oscillator, rng):
    u0 = rng.normal(size=(90, 2))
    how = {**HOW, "u0": u0, "batch_size": 7}
    here = sml.solve_ensemble(oscillator, **how)
    there = sml.solve_ensemble(oscillator, executor=WorkersDie(0), keep="statistics", **how)
    np.testing.assert_allclose(there.mean, here.u.mean(axis=0), atol=1e-14)
    np.testing.assert_array_equal(there.quantiles, here.quantiles)
    assert there.stats == here.stats


def test_a_captured_model_does_not_travel(decay):
    assert decay.model is not None
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(decay)  # its lambda
    import cloudpickle

    copy = cloudpickle.loads(cloudpickle.dumps(decay))
    assert copy._source.model is None
    np.testing.assert_array_equal(
        sml.solve(copy, engine="native", saveat=0.5).u,
        sml.solve(decay, engine="native", saveat=0.5).u,
    )


def test_an_error_in_a_worker_is_raised(decay):
    with pytest.raises(ValueError, match="Tsit55"):
        sml.solve_ensemble(decay, alg="Tsit55", p=RATES, executor=WorkersDie(0), **HOW)


def test_what_cannot_be_pickled_is_told(decay):
    import threading

    lock = threading.Lock()

    def f(u, p, t):
        assert lock is not None
        return -u

    problem = sml.ODEProblem(f, [1.0], (0.0, 1.0))
    with pytest.raises(TypeError) as raised:
        sml.solve_ensemble(problem, 3, executor=WorkersDie(0), **HOW)
    assert str(raised.value) == (
        "the problem must be one that can be pickled, for executor to send it to its workers; got "
        f"{problem!r}, for which pickle says: cannot pickle '_thread.lock' object"
    )


def test_threads_as_an_executor_and_an_engine_that_solves_one_at_a_time(decay):
    with ThreadPoolExecutor(2) as pool:
        ensemble = sml.solve_ensemble(decay, p=RATES, executor=pool, **{**HOW, "engine": "torch"})
    check(ensemble)


def test_ctrl_c_keeps_the_batches_that_are_done(decay):
    def vary(problem, i):
        if i == 50:
            raise KeyboardInterrupt
        return problem.remake(p=[RATES[i]])

    with pytest.warns(RuntimeWarning, match="48 Interrupted"):
        ensemble = sml.solve_ensemble(
            decay, 96, prob_func=vary, executor=WorkersDie(0), batch_size=16, **HOW
        )
    assert (ensemble.retcodes[:48] == "Success").all()
    check(ensemble)


def kill(pid: int, at: int):
    """prob_func that kills a worker when it is asked for a trajectory."""

    def vary(problem, i):
        if i == at:
            os.kill(pid, signal.SIGKILL)
        return problem.remake(p=[RATES[i]])

    return vary


def test_processes_and_a_pool_that_breaks(decay):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        ensemble = sml.solve_ensemble(decay, p=RATES, executor=pool, **HOW)
        assert ensemble.success
        np.testing.assert_array_equal(ensemble.u, sml.solve_ensemble(decay, p=RATES, **HOW).u)
        (pid,) = pool._processes
        with pytest.warns(RuntimeWarning, match=r"Lost with their workers: .*BrokenProcessPool"):
            broken = sml.solve_ensemble(
                decay, 96, prob_func=kill(pid, 48), executor=pool, batch_size=4, **HOW
            )
    assert set(broken.retcodes) <= {"Success", "Failure"}
    assert (broken.retcodes[60:] == "Failure").all()
    check(broken)


@pytest.fixture(scope="module")
def dask_client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_a_dask_cluster_whose_worker_is_killed_half_way_loses_nothing(decay, dask_client):
    alone = sml.solve_ensemble(decay, p=RATES, **HOW)
    pool = dask_client.get_executor()
    ensemble = sml.solve_ensemble(decay, p=RATES, executor=pool, batch_size=4, **HOW)
    np.testing.assert_array_equal(ensemble.u, alone.u)

    pid = next(iter(dask_client.run(os.getpid).values()))
    killed = sml.solve_ensemble(
        decay, 96, prob_func=kill(pid, 48), executor=pool, batch_size=4, **HOW
    )
    assert killed.success
    np.testing.assert_array_equal(killed.u, alone.u)
    assert pid not in dask_client.run(os.getpid).values()


def test_engines_are_named_for_the_workers(decay):
    pool = WorkersDie(0)
    how = {**HOW, "engine": "auto"}
    ensemble = sml.solve_ensemble(decay, 3, executor=pool, **how)
    assert ensemble.engine == engines.get("auto").name
