"""Ensembles in Julia's threads: to the last bit the trajectories of single solves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import pysciml as sml

pytestmark = pytest.mark.julia

HOW = {"engine": "julia", "saveat": 0.25, "abstol": 1e-7, "reltol": 1e-7, "progress": False}


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture(scope="module")
def van_der_pol():
    return sml.ODEProblem(
        lambda u, p, t: [u[1], p[0] * (1.0 - u[0] ** 2) * u[1] - u[0]],
        [2.0, 0.0],
        (0.0, 1.0),
        [1.0],
    )


@pytest.fixture(scope="module")
def blow_up():
    """u = 1 / (1 - p t): it ends at t = 1/p."""
    return sml.ODEProblem(lambda u, p, t: [p[0] * u[0] ** 2], [1.0], (0.0, 1.0), [1.0])


@pytest.fixture(scope="module")
def diffusion():
    """Its Jacobian is sparse, and every thread needs one of its own."""

    def f(u, p, t):
        left = np.concatenate([u[:1], u[:-1]])
        right = np.concatenate([u[1:], u[-1:]])
        return p[0] * (left - 2.0 * u + right)

    return sml.ODEProblem(f, np.ones(80), (0.0, 1.0), [10.0])


def singly(ensemble: sml.EnsembleSolution, alg: str | None, **how) -> None:
    """Assert that each trajectory and the work of all are those of solves one by one."""
    how = {key: value for key, value in how.items() if key != "progress"}
    work = np.zeros(6, dtype=int)
    for i in range(len(ensemble)):
        alone = sml.solve(ensemble.problem_at(i), alg, **how)
        np.testing.assert_array_equal(ensemble.u[i], alone.u)
        assert ensemble.alg == alone.alg
        work += alone.stats
    assert list(ensemble.stats) == work.tolist()


# of one step and of many, explicit and implicit; None changes to the stiff method and back
@pytest.mark.parametrize("alg", [None, "Tsit5", "Rodas5P", "FBDF", "VCABM"])
def test_each_trajectory_is_that_of_its_own_solve(van_der_pol, rng, alg):
    u0 = rng.normal(size=(12, 2))
    p = np.array([1.0, 1e4, 2.0, 1e5] * 3)[:, None] if alg is None else rng.uniform(0.5, 5, (12, 1))
    ensemble = sml.solve_ensemble(van_der_pol, alg=alg, u0=u0, p=p, **HOW)
    assert ensemble.u.shape == (12, 5, 2)
    assert ensemble.success
    singly(ensemble, alg, **HOW)


@pytest.mark.parametrize(
    "options",
    [
        {"save_idxs": [1]},
        {"abstol": [1e-4, 1e-8]},
        {"tstops": [0.3, 0.6]},
        {"dt": 1e-2, "adaptive": False},
        {"saveat": [0.3, 0.9]},
    ],
)
def test_options_reach_every_trajectory(van_der_pol, rng, options):
    how = {**HOW, **options}
    ensemble = sml.solve_ensemble(van_der_pol, alg="Tsit5", u0=rng.normal(size=(5, 2)), **how)
    singly(ensemble, "Tsit5", **how)


def test_backwards_in_time_and_a_mass_matrix(rng):
    massive = sml.ODEProblem(
        lambda u, p, t: [-u[0], u[0] - u[1]],
        [1.0, 1.0],
        (1.0, 0.0),
        mass_matrix=[[1.0, 0.0], [0.0, 0.0]],
    )
    u0 = np.repeat(rng.normal(size=(4, 1)), 2, axis=1)
    ensemble = sml.solve_ensemble(massive, u0=u0, **HOW)
    singly(ensemble, None, **HOW)
    np.testing.assert_allclose(ensemble.u[:, -1, 1], u0[:, 0] * np.exp(1.0), rtol=1e-5)


def test_a_large_stiff_system(diffusion, rng):
    u0 = rng.normal(size=(8, 80))
    ensemble = sml.solve_ensemble(diffusion, alg="Rodas5P", u0=u0, **HOW)
    singly(ensemble, "Rodas5P", **HOW)
    np.testing.assert_allclose(ensemble.u.sum(axis=2), u0.sum(axis=1)[:, None] + np.zeros(5))


def test_threads_and_batches_change_nothing(van_der_pol, rng):
    how = {**HOW, "p": rng.uniform(0.5, 2000.0, size=(300, 1))}
    every = sml.solve_ensemble(van_der_pol, **how)
    cut = sml.solve_ensemble(van_der_pol, batch_size=7, threads=1, **how)
    serial = sml.solve_ensemble(van_der_pol, ensemblealg="EnsembleSerial", **how)
    for other in (cut, serial):
        np.testing.assert_array_equal(other.u, every.u)
        assert other.stats == every.stats
    statistics = [
        sml.solve_ensemble(van_der_pol, keep="statistics", **each, **how)
        for each in ({}, {"threads": 1})
    ]
    for name in ("mean", "var", "min", "max", "quantiles"):
        np.testing.assert_array_equal(*(getattr(each, name) for each in statistics))


def test_failures_are_told_once_and_the_rest_is_kept(blow_up):
    p, how = np.linspace(0.2, 3.0, 40), {**HOW, "maxiters": 300}
    with pytest.warns(RuntimeWarning, match=r"\d+ of 40 trajectories did not succeed"):
        ensemble = sml.solve_ensemble(blow_up, alg="Tsit5", p=p, **how)
    assert set(ensemble.retcodes[p > 1.0]) <= {"DtLessThanMin", "MaxIters", "Unstable"}
    del how["progress"]
    for i, (rate, retcode) in enumerate(zip(p, ensemble.retcodes, strict=True)):
        alone = sml.solve(ensemble.problem_at(i), "Tsit5", raise_on_failure=False, **how)
        assert retcode == alone.retcode
        there = rate * ensemble.t < 1.0  # and not the state where it stopped
        np.testing.assert_allclose(
            ensemble.u[i, there, 0], 1.0 / (1.0 - rate * ensemble.t[there]), rtol=1e-4
        )
        assert np.isnan(ensemble.u[i, ~there]).all()


@pytest.mark.parametrize("alg", [None, "EM"])
def test_paths_are_those_of_single_solves_in_any_thread(alg):
    problem = sml.SDEProblem(
        lambda u, p, t: [p[0] * u[0], -u[1]],
        lambda u, p, t: [p[1] * u[0], 0.2 + 0.0 * u[1]],
        [1.0, 0.5],
        (0.0, 1.0),
        [0.5, 0.2],
    )
    step = {"dt": 2**-6} if alg else {}
    how = {**HOW, "abstol": 1e-3, "reltol": 1e-3, "saveat": [0.25, 0.7, 1.0], "seed": 5, **step}
    ensemble = sml.solve_ensemble(problem, 100, alg, **how)
    assert ensemble.success and ensemble.alg == (alg or "SOSRI")
    cut = sml.solve_ensemble(problem, 100, alg, batch_size=7, threads=1, **how)
    np.testing.assert_array_equal(cut.u, ensemble.u)
    assert len(np.unique(ensemble.u[:, -1, 0])) == 100
    del how["progress"]
    for i in (0, 17, 99):
        alone = sml.solve(ensemble.problem_at(i), alg, **{**how, "seed": (5, i)})
        np.testing.assert_array_equal(ensemble.u[i], alone.u)
    error = np.exp(0.5) - ensemble.mean[-1, 0]
    assert abs(error) < 5.0 * ensemble.std[-1, 0] / np.sqrt(100)


def test_events(rng):
    """A ball that bounces until t = 1, and ends where it is back at its first height."""
    ground = sml.ContinuousEvent(
        lambda u, p, t: u[0], lambda u, p, t: [-u[0], -p[0] * u[1]], direction=-1
    )
    end = sml.ContinuousEvent(lambda u, p, t: u[0] - p[1], terminal=True, direction=1)
    problem = sml.ODEProblem(
        lambda u, p, t: [u[1], -9.81], [1.0, 0.0], (0.0, 1.0), [0.9, 2.0], events=[ground, end]
    )
    p = np.column_stack([rng.uniform(0.5, 0.9, 40), rng.choice([0.3, 2.0], 40)])
    how = {**HOW, "saveat": 0.125}
    ensemble = sml.solve_ensemble(problem, alg="Tsit5", p=p, **how)
    assert set(ensemble.retcodes) == {"Success", "Terminated"}
    del how["progress"]
    for i in range(40):
        alone = sml.solve(ensemble.problem_at(i), "Tsit5", **how)
        assert ensemble.retcodes[i] == alone.retcode
        ended = np.searchsorted(ensemble.t, alone.t[-1], side="right")
        np.testing.assert_array_equal(ensemble.u[i, :ended], alone.u[:ended])
        assert np.isnan(ensemble.u[i, ended:]).all()


def test_other_kinds_of_problem_are_solved_one_by_one():
    def decay(du, u, p, t):
        return [du[0] + p[0] * u[0]]

    problem = sml.DAEProblem(decay, [-1.0], [1.0], (0.0, 1.0), [1.0])
    rates = np.array([1.0, 1.0])
    ensemble = sml.solve_ensemble(problem, p=rates, **HOW)
    np.testing.assert_allclose(ensemble.u[:, -1, 0], np.exp(-rates), rtol=1e-5)


def test_more_threads_than_julia_has(van_der_pol):
    there = int(sml.julia.main().Base.Threads.nthreads())
    with pytest.raises(ValueError) as raised:
        sml.solve_ensemble(van_der_pol, 3, threads=there + 1, **HOW)
    assert str(raised.value) == (
        f"threads must be at most {there}, with which Julia was started "
        f"(PYTHON_JULIACALL_THREADS says with how many); got {there + 1}"
    )


def test_what_a_method_cannot_do_is_raised(rng):
    massive = sml.ODEProblem(
        lambda u, p, t: [-u[0], u[0] - u[1]],
        [1.0, 1.0],
        (0.0, 1.0),
        mass_matrix=[[1.0, 0.0], [0.0, 0.0]],
    )
    with pytest.raises(sml.UnsupportedError, match="this method cannot use a mass matrix"):
        sml.solve_ensemble(massive, 200, "Tsit5", **HOW)


@pytest.fixture(scope="module")
def processes():
    """The operating system's numbers of two processes."""
    assert sml.julia.addprocs(2) == 2
    distributed = sml.julia.package("Distributed")
    return [int(distributed.remotecall_fetch(sml.julia.main().getpid, i)) for i in (2, 3)]


def test_processes(van_der_pol, rng, processes):
    how = {**HOW, "u0": rng.normal(size=(200, 2)), "p": rng.uniform(0.5, 2000.0, size=(200, 1))}
    for alg in (None, "VCABM"):  # the second one's library is not loaded there yet
        here = sml.solve_ensemble(van_der_pol, alg=alg, **how)
        there = sml.solve_ensemble(van_der_pol, alg=alg, ensemblealg="EnsembleDistributed", **how)
        np.testing.assert_array_equal(there.u, here.u)
        assert there.stats == here.stats
        assert there.success


def test_processes_on_a_large_stiff_system(diffusion, rng, processes):
    how = {**HOW, "alg": "Rodas5P", "u0": rng.normal(size=(8, 80))}
    there = sml.solve_ensemble(diffusion, ensemblealg="EnsembleDistributed", **how)
    np.testing.assert_array_equal(there.u, sml.solve_ensemble(diffusion, **how).u)


def test_processes_take_no_other_problem(processes):
    problem = sml.DAEProblem(lambda du, u, p, t: du + u, [-1.0], [1.0], (0.0, 1.0))
    with pytest.raises(sml.UnsupportedError) as raised:
        sml.solve_ensemble(problem, 3, ensemblealg="EnsembleDistributed", **HOW)
    assert str(raised.value) == (
        "EnsembleDistributed takes an ODEProblem without events, and methods that take it whole; "
        "executor= spreads any problem over several processes"
    )


def test_a_process_killed_half_way_loses_nothing(van_der_pol, processes):
    rates = np.linspace(0.5, 5.0, 64)

    def vary(problem, i):
        if i == 32:
            os.kill(processes[0], signal.SIGKILL)
        return problem.remake(p=rates[i : i + 1])

    how = {**HOW, "ensemblealg": "EnsembleDistributed", "batch_size": 16}
    killed = sml.solve_ensemble(van_der_pol, 64, prob_func=vary, **how)
    assert killed.success
    np.testing.assert_array_equal(killed.u, sml.solve_ensemble(van_der_pol, p=rates, **HOW).u)

    def vary_again(problem, i):
        if i == 32:
            os.kill(processes[1], signal.SIGKILL)
        return problem.remake(p=rates[i : i + 1])

    with pytest.warns(RuntimeWarning, match="32 of 64 .*: 32 Failure"):
        left = sml.solve_ensemble(van_der_pol, 64, prob_func=vary_again, **how)
    np.testing.assert_array_equal(left.u[:32], killed.u[:32])
    assert np.isnan(left.u[32:]).all()
    with pytest.raises(sml.UnsupportedError) as raised:
        sml.solve_ensemble(van_der_pol, 3, ensemblealg="EnsembleDistributed", **HOW)
    assert str(raised.value) == (
        "EnsembleDistributed needs processes: start them with pysciml.julia.addprocs(2)"
    )


# A process of its own: what a process does with signals is not to be tried in the one of the tests.
SIGNALS = """
import os, signal, subprocess, time
import pysciml as sml

def send(name, seconds):  # Python's threads cannot, as Julia holds Python's lock while it solves
    subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -{name} {os.getpid()}"])

heard = []
signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
julia = sml.julia.main()
print("threads", julia.Base.Threads.nthreads(), len(os.sched_getaffinity(0)))
print("blocked", signal.pthread_sigmask(signal.SIG_BLOCK, ()))

problem = sml.ODEProblem(lambda u, p, t: -u, [1.0], (0.0, 1.0))
how = {"engine": "julia", "saveat": 0.5, "adaptive": False, "progress": False}
sml.solve_ensemble(problem, 100, "Tsit5", dt=0.1, **how)

begin = time.perf_counter()  # each trajectory would take minutes
send("INT", 0.5)
left = sml.solve_ensemble(problem, 100, "Tsit5", dt=1e-9, maxiters=10**12, **how)
print("left", (left.retcodes == "Interrupted").all(), time.perf_counter() - begin < 30.0)

send("INT", 0.5)
try:
    while True:
        pass
except KeyboardInterrupt:
    print("KeyboardInterrupt")

send("USR1", 0.0)
while not heard:
    pass
print("heard", heard == [signal.SIGUSR1])
julia.seval("Threads.@threads for i in 1:100; [zeros(1000) for _ in 1:1000]; end; GC.gc()")
print("again", sml.solve_ensemble(problem, 100, "Tsit5", dt=0.1, **how).success, flush=True)
send("TERM", 0.0)
while True:
    pass
"""


def test_threads_and_signals():
    env = {key: value for key, value in os.environ.items() if "THREADS" not in key}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SIGNALS],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=env,
    )
    cores = len(os.sched_getaffinity(0))
    assert done.stdout.splitlines() == [
        f"threads {cores} {cores}",
        "blocked set()",
        "left True True",
        "KeyboardInterrupt",
        "heard True",
        "again True",
    ], done.stderr
    assert done.returncode == -signal.SIGTERM
