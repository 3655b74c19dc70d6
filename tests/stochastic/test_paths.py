"""One seed is one path: whatever the steps, the method, the threads and what is saved."""

from __future__ import annotations

import pickle
import signal
import threading
import time

import numpy as np
import pytest
import torch
from equations import (
    ENGINES,
    MIXING,
    correlated,
    geometric,
    geometric_exact,
    ornstein_uhlenbeck,
    predator_prey,
)

import pysciml as sml

ENDS = np.array([0.0, 0.5, 1.0])


on_engines = pytest.mark.parametrize("engine", ENGINES)


def solve(problem, alg=None, saveat=ENDS, *, engine="native", **options):
    return sml.solve(problem, alg, engine, saveat, **{"seed": 3, **options})


@on_engines
def test_the_seed_decides(engine):
    problem = geometric()
    a, b, c = (solve(problem, "EM", dt=1 / 16, seed=seed, engine=engine) for seed in (5, 5, 6))
    np.testing.assert_array_equal(a.u, b.u)
    assert (a.u[1:] != c.u[1:]).all()
    assert a.seed == 5
    drawn, again = (
        solve(problem, seed=None, engine=engine),
        solve(problem, seed=None, engine=engine),
    )
    assert drawn.seed != again.seed
    np.testing.assert_array_equal(solve(problem, seed=drawn.seed, engine=engine).u, drawn.u)


def test_the_path_is_the_same_whatever_follows_it():
    w = []
    for alg, options in [
        (None, {}),
        ("SOSRI", {"abstol": 1e-7, "reltol": 1e-7}),
        ("SRIW1", {"abstol": 1e-4, "reltol": 1e-4, "saveat": [0.0, 0.1, 0.5, 0.77, 1.0]}),
        ("LambaEM", {"abstol": 1e-2, "reltol": 1e-2, "tstops": [0.123]}),
        ("EM", {"dt": 1 / 8}),
        ("RKMil", {"dt": 1 / 1024}),
        ("SOSRI", {"dt": 1 / 16, "adaptive": False, "saveat": None}),
        ("SOSRI", {"dt": 1 / 4}),
    ]:
        sol = solve(geometric(n=2), alg, save_noise=True, **options)
        assert sol.W.shape == sol.u.shape
        w.append(sol.W[np.isin(sol.t, ENDS)])
    for other in w[1:]:
        np.testing.assert_allclose(other, w[0], atol=1e-13)


def test_tighter_tolerances_come_closer_to_the_path():
    problem = geometric(n=2)
    errors = []
    for tol in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        sol = solve(problem, "SOSRI", abstol=tol, reltol=tol, save_noise=True)
        errors.append(np.abs(sol.u - geometric_exact(problem, sol.t, sol.W)).max())
    assert errors[-1] < 2e-5
    assert (np.diff(np.log10(errors)) < -0.4).all()


@pytest.mark.parametrize("alg", ["LambaEulerHeun", "LambaEM"])
@on_engines
def test_low_order_methods_with_chosen_steps(alg, engine):
    problem = geometric("scalar", "stratonovich" if alg == "LambaEulerHeun" else "ito")
    sol = solve(problem, alg, abstol=1e-3, reltol=1e-3, save_noise=True, engine=engine)
    rtol = {"native": 2e-2, "julia": 5e-2}[engine]
    np.testing.assert_allclose(sol.u, geometric_exact(problem, sol.t, sol.W), rtol=rtol)


def test_additive_noise_on_the_same_path():
    """All methods agree on it, and both interpretations."""
    problem = predator_prey("additive")
    exact = solve(problem, "SOSRA", dt=2.0**-14, adaptive=False)
    for alg, tol in (("SRA1", 1e-5), ("SOSRA", 1e-5), ("SOSRI", 1e-5), ("EM", 2e-2)):
        sol = solve(problem, alg, dt=1 / 512, adaptive=False)
        np.testing.assert_allclose(sol.u, exact.u, atol=tol)
    chosen = solve(predator_prey("additive", "stratonovich"), abstol=1e-6, reltol=1e-6)
    assert chosen.alg == "SOSRA"
    np.testing.assert_allclose(chosen.u, exact.u, atol=2e-5)


def test_general_noise_is_the_product_with_the_increments():
    for alg, options in (("EM", {"dt": 1 / 8}), ("SOSRA", {}), ("LambaEM", {})):
        sol = solve(correlated(), alg, save_noise=True, **options)
        assert sol.W.shape == (3, 3)
        np.testing.assert_allclose(sol.u, sol.W @ MIXING.T, atol=1e-13)


@on_engines
def test_general_noise_of_both_interpretations_converges(engine):
    """Euler-Heun's and Euler-Maruyama's limits differ by the correction of the drift."""

    def f(u, p, t):
        return torch.stack([-u[0], -0.5 * u[1]])

    def g(u, p, t):  # the columns do not commute
        return torch.stack([torch.stack([0.3 * u[1], 0.2 * u[0]]), torch.stack([0.1 * u[0], u[1]])])

    def corrected(u, p, t):  # f + (g1' g1 + g2' g2)/2
        first = torch.stack([0.03 * u[0], 0.03 * u[1]])
        second = torch.stack([0.04 * u[0], u[1]])
        return f(u, p, t) + 0.5 * (first + second)

    given = ([1.0, 0.7], (0.0, 1.0))
    stratonovich = sml.SDEProblem(f, g, *given, noise="general", interpretation="stratonovich")
    ito = sml.SDEProblem(corrected, g, *given, noise="general")
    differences = []
    for level in (6, 8, 10):
        found = []
        for k in range(60):
            how = {"dt": 2.0**-level, "seed": (1, k), "saveat": [1.0]}
            a = solve(stratonovich, "EulerHeun", **how, engine=engine)
            b = solve(ito, "EM", **how, engine=engine)
            found.append(a.u - b.u)
        differences.append(np.median(np.abs(found)))
    assert differences[0] > 2.5 * differences[2]  # 4, for steps 16 times as small
    assert differences[2] < 0.01


def test_without_noise_it_is_the_ode():
    def f(u, p, t):
        return torch.stack([torch.cos(3 * t) * u[1], -u[0]])

    sde = sml.SDEProblem(f, lambda u, p, t: 0.0 * u, [1.0, 0.5], (0.0, 2.0))
    ode = sml.solve(
        sml.ODEProblem(f, [1.0, 0.5], (0.0, 2.0)), "Vern7", "native", [2.0], 1e-12, 1e-12
    )
    for alg, tol in (("SOSRI", 1e-5), ("SRIW1", 1e-5), ("EulerHeun", 1e-5), ("EM", 1e-2)):
        problem = sde
        if alg == "EulerHeun":
            problem = sml.SDEProblem(
                f, sde.g, [1.0, 0.5], (0.0, 2.0), interpretation="stratonovich"
            )
        sol = sml.solve(problem, alg, "native", [2.0], dt=1e-3, adaptive=False, seed=1)
        np.testing.assert_allclose(sol.u, ode.u, atol=tol)


# -- what is saved ---------------------------------------------------------------------------------
def test_output_times_on_and_off_the_grid():
    problem = geometric()
    every = solve(problem, "EM", None, dt=1 / 64)
    assert every.t.size == 65
    np.testing.assert_array_equal(every.t, np.arange(65) / 64)
    on = solve(problem, "EM", 0.25, dt=1 / 64)
    np.testing.assert_array_equal(on.u, every.u[::16])
    off = solve(problem, "SRIW1", [0.1, 0.3, 0.7], dt=1 / 256, adaptive=False, save_noise=True)
    np.testing.assert_array_equal(off.t, [0.1, 0.3, 0.7])
    np.testing.assert_allclose(off.u, geometric_exact(problem, off.t, off.W), rtol=1e-3)
    uneven = solve(problem, "EM", None, dt=0.3)
    np.testing.assert_allclose(uneven.t, [0.0, 0.3, 0.6, 0.9, 1.0])


@on_engines
def test_dense_output_is_straight_between_the_steps(engine):
    problem = geometric(n=2)
    steps = solve(problem, "SOSRI", None, engine=engine)
    assert steps.has_dense
    query = np.linspace(0.0, 1.0, 37)
    lines = [np.interp(query, steps.t, steps.u[:, i]) for i in range(2)]
    np.testing.assert_allclose(steps(query), np.transpose(lines), rtol=1e-13)
    np.testing.assert_array_equal(steps(steps.t[5]), steps.u[5])
    both = solve(problem, "SOSRI", 0.25, dense=True, save_idxs=[1], save_noise=True, engine=engine)
    alone = solve(problem, "SOSRI", 0.25, save_idxs=[1], save_noise=True, engine=engine)
    np.testing.assert_array_equal(both.u, alone.u)
    np.testing.assert_array_equal(both.W, alone.W)
    assert both(0.1).shape == (1,)


@on_engines
def test_only_the_ends(engine):
    for dense in (False, True):
        sol = solve(
            geometric(), "EM", None, dt=1 / 8, save_everystep=False, dense=dense, engine=engine
        )
        np.testing.assert_array_equal(sol.t, [0.0, 1.0])
        np.testing.assert_array_equal(
            sol.u, solve(geometric(), "EM", [0.0, 1.0], dt=1 / 8, engine=engine).u
        )


@on_engines
def test_shapes_of_the_state(engine):
    def f(u, p, t):
        return -u

    one = solve(
        sml.SDEProblem(f, lambda u, p, t: 0.1 * u, 2.0, (0, 1)), save_noise=True, engine=engine
    )
    assert one.u.shape == one.W.shape == (3,)
    field = sml.SDEProblem(f, lambda u, p, t: 0.1 + 0.0 * u, np.ones((40, 25)), (0, 1))
    sol = solve(field, "EM", dt=1 / 8, save_noise=True, engine=engine)
    assert sol.u.shape == sol.W.shape == (3, 40, 25)
    exact = (7 / 8) ** 8 + 0.1 * np.zeros((40, 25))
    assert abs(sol.u[-1].mean() - exact.mean()) < 3.3 * 0.1 / np.sqrt(1000)
    shared = sml.SDEProblem(
        f, lambda u, p, t: 0.1 + 0.0 * u, np.ones((4, 2)), (0, 1), noise="scalar"
    )
    sol = solve(shared, "EM", dt=1 / 8, save_noise=True, engine=engine)
    assert sol.W.shape == (3,)
    assert np.ptp(sol.u[-1]) == 0.0


def test_styles_of_g_and_pickling():
    def in_place(du, u, p, t):
        du[0] = p["s"] * u[0] * (1 + 0.2 * t)
        du[1] = p["s"] * np.sin(u[1]) + 0.1

    problem = predator_prey("own")
    other = sml.SDEProblem(problem.f, in_place, problem.u0, problem.tspan, problem.p)
    expected = solve(problem, "EM", dt=1 / 8).u
    np.testing.assert_allclose(solve(other, "EM", dt=1 / 8).u, expected, rtol=1e-14)
    copy = pickle.loads(pickle.dumps(problem))
    np.testing.assert_array_equal(solve(copy, "EM", dt=1 / 8).u, expected)


# -- many ------------------------------------------------------------------------------------------
def test_trajectories_of_an_ensemble_are_those_of_their_own_solves():
    problem = geometric(n=2)
    rows = np.random.default_rng(0).uniform(0.5, 2.0, (40, 2))
    for alg, options in (("EM", {"dt": 1 / 32}), ("SOSRI", {})):
        given = {"u0": rows, "seed": 8, "progress": False, **options}
        one = sml.solve_ensemble(problem, None, alg, "native", ENDS, threads=1, **given)
        two = sml.solve_ensemble(problem, None, alg, "native", ENDS, threads=2, **given)
        cut = sml.solve_ensemble(problem, None, alg, "native", ENDS, batch_size=7, **given)
        np.testing.assert_array_equal(one.u, two.u)
        np.testing.assert_array_equal(one.u, cut.u)
        for k in (0, 17, 39):
            alone = solve(problem.remake(u0=rows[k]), alg, seed=(8, k), **options)
            np.testing.assert_array_equal(one.u[k], alone.u)
            assert alone.seed == ((8, k) if k else 8)


def test_a_failing_trajectory_leaves_the_others():
    problem = sml.SDEProblem(lambda u, p, t: u**3, lambda u, p, t: 0.1 * u, [0.1], (0.0, 1.0))
    starts = np.array([[0.1], [3.0], [0.2]])
    with pytest.warns(RuntimeWarning, match="1 of 3"):
        many = sml.solve_ensemble(
            problem, None, "EM", "native", ENDS, u0=starts, dt=1 / 64, seed=1, progress=False
        )
    assert many.retcodes.tolist() == ["Success", "Unstable", "Success"]
    assert np.isnan(many.u[1, -1]).all()
    assert np.isfinite(many.u[[0, 2]]).all()


# -- when it fails ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("drift", "noise", "u0", "options", "retcode"),
    [
        ("decay", "small", 1.0, {"maxiters": 5}, "MaxIters"),
        ("decay", "small", 1.0, {"alg": "EM", "dt": 1e-3, "maxiters": 50}, "MaxIters"),
        ("cube", "small", 3.0, {"alg": "EM", "dt": 0.01}, "Unstable"),
        ("cube", "small", 3.0, {}, "DtLessThanMin"),
        ("decay", "small", 1.0, {"dtmin": 0.5, "abstol": 1e-9, "reltol": 1e-9}, "DtLessThanMin"),
        ("decay", "log", -1.0, {}, "Unstable"),
    ],
)
def test_a_failed_solve_keeps_what_it_had(drift, noise, u0, options, retcode):
    f = {"decay": lambda u, p, t: -u, "cube": lambda u, p, t: u**3}[drift]
    g = {"small": lambda u, p, t: 0.3 * u, "log": lambda u, p, t: torch.log(u)}[noise]
    problem = sml.SDEProblem(f, g, [u0], (0.0, 1.0))
    with pytest.raises(sml.SolveError, match=retcode) as raised:
        solve(problem, saveat=None, **options)
    kept = raised.value.solution
    assert kept.retcode == retcode
    assert 1 <= len(kept.t) < 2000
    assert np.isfinite(kept.u).all()
    assert kept.message
    same = solve(problem, saveat=None, raise_on_failure=False, **options)
    np.testing.assert_array_equal(same.u, kept.u)


def test_an_interrupted_path_is_kept():
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals go to the main thread")
    problem = ornstein_uhlenbeck()
    solve(problem, "EM", [0.0, 4.0], dt=1e-2)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    began = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt) as raised:
            solve(problem, "EM", 0.5, dt=1e-9, maxiters=10**10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert time.perf_counter() - began < 20
    partial = raised.value.solution
    assert partial.retcode == "Failure"
    assert 0.0 < len(partial.t) < 9
