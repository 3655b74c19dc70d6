"""Events in ensembles: every trajectory has its own."""

from __future__ import annotations

import warnings

import numpy as np

import pysciml as sml

HOW = {"engine": "native", "saveat": 0.1, "abstol": 1e-10, "reltol": 1e-10}
G = 9.81


def ball(events):
    return sml.ODEProblem(lambda u, p, t: [u[1], -G], [1.0, 0.0], (0.0, 2.0), [0.8], events=events)


def height(u, p, t):
    return u[0]


def singly(ensemble, alg):
    for i in range(len(ensemble)):
        alone = sml.solve(ensemble.problem_at(i), alg, **HOW)
        reached = len(alone.u) - (alone.retcode == "Terminated")  # whose end is not on the grid
        np.testing.assert_array_equal(ensemble.u[i, :reached], alone.u[:reached])
        assert np.isnan(ensemble.u[i, reached:]).all()
        assert ensemble.retcodes[i] == alone.retcode


def test_bouncing_balls(rng):
    bounce = sml.ContinuousEvent(height, lambda u, p, t: [u[0], -p[0] * u[1]], direction=-1)
    u0 = np.column_stack([rng.uniform(0.5, 2.0, 12), np.zeros(12)])
    restitution = rng.uniform(0.75, 0.9, 12)  # they bounce for longer than 2
    for alg in ("Tsit5", None, "Rodas5P"):
        ensemble = sml.solve_ensemble(
            ball([bounce]), alg=alg, u0=u0, p=restitution, progress=False, threads=2, **HOW
        )
        singly(ensemble, alg)
        # between the first bounce and the second: height of a throw at p * sqrt(2 g h)
        first = np.sqrt(2.0 * u0[:, 0] / G)
        since = ensemble.t - first[:, None]
        speed = restitution * G * first
        within = (since > 0.0) & (since < 2.0 * speed[:, None] / G)
        exact = speed[:, None] * since - G / 2.0 * since**2
        np.testing.assert_allclose(ensemble.u[..., 0][within], exact[within], atol=1e-7)
        assert within.any(axis=1).all()


def test_a_terminal_event_is_no_failure_and_no_statistic():
    land = sml.ContinuousEvent(height, direction=-1, terminal=True)
    u0 = np.array([[1.0, 0.0], [100.0, 0.0], [0.5, 0.0], [200.0, 0.0]])
    for keep in ("all", "statistics"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ensemble = sml.solve_ensemble(ball([land]), u0=u0, keep=keep, progress=False, **HOW)
        assert ensemble.retcodes.tolist() == ["Terminated", "Success"] * 2
        assert ensemble.success and ensemble.count == 2
        np.testing.assert_allclose(ensemble.mean[:, 0], 150.0 - G / 2.0 * ensemble.t**2)
        if keep == "all":
            singly(ensemble, None)
            landed = np.sqrt(2.0 * u0[::2, :1] / G) < ensemble.t
            np.testing.assert_array_equal(np.isnan(ensemble.u[::2, :, 0]), landed)


def test_preset_times(rng):
    kick = sml.PresetTimes([0.55, 1.25], lambda u, p, t: [u[0], u[1] + p[0]])
    kicks = rng.uniform(1.0, 5.0, 6)
    ensemble = sml.solve_ensemble(ball([kick]), p=kicks, progress=False, **HOW)
    singly(ensemble, None)
    exact = -G * 2.0 + 2.0 * kicks
    np.testing.assert_allclose(ensemble.u[:, -1, 1], exact, rtol=1e-9)
