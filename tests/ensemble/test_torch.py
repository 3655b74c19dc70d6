"""A batch on the torch engine is one solve of torchdiffeq."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchdiffeq

import pysciml as sml

HOW = {"engine": "torch", "saveat": 0.5, "abstol": 1e-8, "reltol": 1e-8, "progress": False}


def test_closed_forms_and_one_solve_for_all(decay, rng, monkeypatch):
    solves = []
    odeint = torchdiffeq.odeint
    monkeypatch.setattr(
        torchdiffeq, "odeint", lambda f, u0, t, **how: solves.append(u0) or odeint(f, u0, t, **how)
    )
    rates, u0 = rng.uniform(0.1, 3.0, size=40), rng.normal(size=(40, 1))
    ensemble = sml.solve_ensemble(decay, u0=u0, p=rates, **HOW)
    exact = u0 * np.exp(-rates[:, None] * ensemble.t)
    np.testing.assert_allclose(ensemble.u[:, :, 0], exact, atol=1e-7)
    assert [tuple(each.shape) for each in solves] == [(40, 1)]


def test_a_batch_of_one_takes_the_steps_of_a_single_solve(decay):
    ensemble = sml.solve_ensemble(decay, 1, **HOW)
    alone = sml.solve(decay, engine="torch", saveat=0.5, abstol=1e-8, reltol=1e-8)
    np.testing.assert_array_equal(ensemble.u[0], alone.u)
    assert ensemble.stats == alone.stats


def test_each_trajectory_meets_its_tolerance(decay):
    """One fast trajectory among many that rest, whose errors torchdiffeq's mean would hide."""
    p = np.zeros(2000)
    p[0] = 40.0
    ensemble = sml.solve_ensemble(decay, p=p, **HOW)
    alone = sml.solve(decay.remake(p=[40.0]), engine="torch", saveat=0.5, abstol=1e-8, reltol=1e-8)
    assert ensemble.stats.naccept >= alone.stats.naccept
    np.testing.assert_allclose(ensemble.u[0, :, 0], np.exp(-40.0 * ensemble.t), atol=1e-7)


def test_fixed_steps_tolerances_of_each_component_and_kept_components(oscillator):
    p = {"k": [1.0, 4.0]}
    fixed = sml.solve_ensemble(oscillator, alg="rk4", p=p, **{**HOW, "dt": 0.01})
    np.testing.assert_allclose(fixed.u[1, :, 0], np.cos(2.0 * fixed.t), atol=1e-6)
    how = {**HOW, "abstol": [1e-8, 1e-9], "save_idxs": [1]}
    kept = sml.solve_ensemble(oscillator, p=p, **how)
    assert kept.u.shape == (2, 7, 1)
    np.testing.assert_allclose(kept.u[1, :, 0], -2.0 * np.sin(2.0 * kept.t), atol=1e-6)


def test_what_fails_is_found_and_the_rest_is_kept(blow_up):
    p = np.array([0.5, 0.3, 4.0, 0.25])
    with pytest.warns(RuntimeWarning, match="1 of 4"):
        ensemble = sml.solve_ensemble(blow_up, p=p, **{**HOW, "saveat": 0.25, "maxiters": 200})
    good = [0, 1, 3]
    assert ensemble.failed.tolist() == [2]
    exact = 1.0 / (1.0 - p[good, None] * ensemble.t)
    np.testing.assert_allclose(ensemble.u[good, :, 0], exact, rtol=1e-6)
    assert ensemble.u[2, 0, 0] == 1.0 and np.isnan(ensemble.u[2, 1:]).all()


def test_a_function_that_cannot_be_vectorised_is_solved_one_by_one(caplog):
    def f(u, p, t):
        du = torch.zeros(2, dtype=torch.float64)
        du[0] = -p[0] * u[0]
        du[1] = -u[1]
        return du

    problem = sml.ODEProblem(f, [1.0, 1.0], (0.0, 1.0), [1.0])
    ensemble = sml.solve_ensemble(problem, p=[1.0, 2.0], **HOW)
    np.testing.assert_allclose(ensemble.u[:, -1, 0], np.exp([-1.0, -2.0]), atol=1e-7)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and told[0].startswith(
        "pysciml: the torch engine solves the trajectories one after the other, because "
        "torch.func.vmap cannot vectorise the function (vmap: inplace arithmetic"
    )


def test_scipys_solver_keeps_its_own_error_control(decay):
    ensemble = sml.solve_ensemble(decay, alg="scipy_solver", p=[1.0, 2.0], **HOW)
    np.testing.assert_allclose(ensemble.u[:, -1, 0], np.exp([-2.0, -4.0]), atol=1e-6)
