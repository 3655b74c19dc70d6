"""Trajectories on the native engine: to the last bit those of single solves, in any thread."""

from __future__ import annotations

import numpy as np
import pytest

import pysciml as sml

HOW = {"engine": "native", "saveat": 0.25, "abstol": 1e-7, "reltol": 1e-7, "progress": False}


def singly(ensemble: sml.EnsembleSolution, alg: str | None, **how) -> None:
    """Assert that each trajectory and the work of all are those of solves one by one."""
    how = {key: value for key, value in how.items() if key not in ("progress", "threads")}
    work = np.zeros(6, dtype=int)
    for i in range(len(ensemble)):
        alone = sml.solve(ensemble.problem_at(i), alg, **how)
        np.testing.assert_array_equal(ensemble.u[i], alone.u)
        assert ensemble.alg == alone.alg
        work += alone.stats
    assert list(ensemble.stats) == work.tolist()


@pytest.mark.parametrize("alg", ["Tsit5", "Vern7", "BS3", "Rodas5P", "Rosenbrock23"])
def test_each_trajectory_is_that_of_its_own_solve(van_der_pol, rng, alg):
    u0 = rng.normal(size=(9, 2))
    p = rng.uniform(0.5, 5.0, size=(9, 1))
    ensemble = sml.solve_ensemble(van_der_pol, alg=alg, u0=u0, p=p, **HOW)
    assert ensemble.u.shape == (9, 5, 2)
    assert ensemble.success
    singly(ensemble, alg, **HOW)


def test_trajectories_change_to_the_stiff_method_and_the_next_starts_anew(van_der_pol):
    p = np.array([1.0, 1e5, 2.0, 1e6, 1e5, 3.0])[:, None]
    ensemble = sml.solve_ensemble(van_der_pol, p=p, batch_size=6, **HOW)
    assert ensemble.alg == "AutoTsit5(Rodas5P)"
    assert ensemble.stats.nw > 0
    singly(ensemble, None, **HOW)


@pytest.mark.parametrize("linsolve", ["dense", "banded", "sparse"])
def test_every_kind_of_linear_algebra(linsolve, rng):
    def diffusion(u, p, t):
        left = np.concatenate([u[:1], u[:-1]])
        right = np.concatenate([u[1:], u[-1:]])
        return p[0] * (left - 2.0 * u + right)

    problem = sml.ODEProblem(diffusion, np.ones(30), (0.0, 1.0), [10.0])
    u0, p = rng.normal(size=(4, 30)), rng.uniform(5.0, 20.0, size=(4, 1))
    how = {**HOW, "alg_options": {"linsolve": linsolve}}
    ensemble = sml.solve_ensemble(problem, alg="Rodas5P", u0=u0, p=p, **how)
    singly(ensemble, "Rodas5P", **how)
    np.testing.assert_allclose(ensemble.u.sum(axis=2), u0.sum(axis=1)[:, None] + np.zeros(5))


@pytest.mark.parametrize(
    "options",
    [
        {"save_idxs": [1]},
        {"abstol": [1e-4, 1e-8], "reltol": [1e-3, 1e-7]},
        {"tstops": [0.3, 0.6]},
        {"dt": 1e-2, "adaptive": False},
        {"dtmax": 0.05},
        {"alg_options": {"gamma": 0.8}},
    ],
)
def test_options_reach_every_trajectory(van_der_pol, rng, options):
    u0 = rng.normal(size=(5, 2))
    how = {**HOW, **options}
    singly(sml.solve_ensemble(van_der_pol, alg="Tsit5", u0=u0, **how), "Tsit5", **how)


def test_backwards_in_time_and_a_mass_matrix(decay, rng):
    backwards = decay.remake(tspan=(1.0, 0.0))
    u0 = rng.normal(size=(4, 1))
    singly(sml.solve_ensemble(backwards, alg="Tsit5", u0=u0, **HOW), "Tsit5", **HOW)
    massive = sml.ODEProblem(
        lambda u, p, t: [-u[0], u[0] - u[1]],
        [1.0, 1.0],
        (0.0, 1.0),
        mass_matrix=[[1.0, 0.0], [0.0, 0.0]],
    )
    u0 = np.repeat(rng.normal(size=(4, 1)), 2, axis=1)
    ensemble = sml.solve_ensemble(massive, u0=u0, **HOW)
    singly(ensemble, None, **HOW)
    np.testing.assert_allclose(ensemble.u[:, -1, 1], u0[:, 0] * np.exp(-1.0), rtol=1e-5)


def test_threads_and_batches_change_nothing(van_der_pol, rng):
    p = rng.uniform(0.5, 2000.0, size=(70, 1))
    one = sml.solve_ensemble(van_der_pol, p=p, threads=1, **HOW)
    two = sml.solve_ensemble(van_der_pol, p=p, threads=2, **HOW)
    cut = sml.solve_ensemble(van_der_pol, p=p, threads=3, batch_size=1, **HOW)
    np.testing.assert_array_equal(one.u, two.u)
    np.testing.assert_array_equal(one.u, cut.u)
    assert one.stats == two.stats == cut.stats
    statistics = [
        sml.solve_ensemble(van_der_pol, p=p, threads=count, keep="statistics", **HOW)
        for count in (1, 2)
    ]
    for name in ("mean", "var", "min", "max", "quantiles"):
        np.testing.assert_array_equal(*(getattr(each, name) for each in statistics))


def test_closed_forms(decay, oscillator, rng):
    rates = rng.uniform(0.1, 3.0, size=50)
    ensemble = sml.solve_ensemble(decay, p=rates, **{**HOW, "abstol": 1e-10, "reltol": 1e-10})
    exact = np.exp(-rates[:, None] * ensemble.t)
    np.testing.assert_allclose(ensemble.u[:, :, 0], exact, rtol=1e-8)
    k, u0 = rng.uniform(1.0, 4.0, size=20), rng.normal(size=(20, 2))
    scale = np.column_stack([np.full(20, 2.0), np.full(20, 0.5)])
    ensemble = sml.solve_ensemble(
        oscillator, u0=u0, p={"k": k, "scale": scale}, **{**HOW, "abstol": 1e-10, "reltol": 1e-10}
    )
    w = np.sqrt(k)[:, None]
    exact = u0[:, :1] * np.cos(w * ensemble.t) + u0[:, 1:] / w * np.sin(w * ensemble.t)
    np.testing.assert_allclose(ensemble.u[:, :, 0], exact, atol=1e-8)


def test_states_of_any_shape_and_no_parameters(rng):
    matrix = sml.ODEProblem(lambda u, p, t: -u, np.ones((2, 3)), (0.0, 1.0))
    u0 = rng.normal(size=(4, 2, 3))
    ensemble = sml.solve_ensemble(matrix, u0=u0, **HOW)
    assert ensemble.u.shape == (4, 5, 2, 3)
    assert ensemble.mean.shape == (5, 2, 3)
    np.testing.assert_allclose(ensemble.u[:, -1], u0 * np.exp(-1.0), rtol=1e-6)
    number = sml.ODEProblem(lambda u, p, t: -p * u, 1.0, (0.0, 1.0), 2.0)
    ensemble = sml.solve_ensemble(number, u0=[1.0, 2.0], p=[1.0, 3.0], **HOW)
    assert ensemble.u.shape == (2, 5)
    np.testing.assert_allclose(ensemble.u[:, -1], [np.exp(-1.0), 2 * np.exp(-3.0)], rtol=1e-6)
    kept = sml.solve_ensemble(matrix, u0=u0, save_idxs=[5, 0], **HOW)
    np.testing.assert_array_equal(kept.u[:, 0], u0.reshape(4, 6)[:, [5, 0]])


def test_a_function_makes_the_problems(decay):
    calls = []

    def vary(problem, i):
        calls.append(i)
        return problem.remake(u0=[1.0 + i], p=[0.1 * i])

    ensemble = sml.solve_ensemble(decay, 7, prob_func=vary, batch_size=2, **HOW)
    assert calls == list(range(7))
    i = np.arange(7)[:, None]
    np.testing.assert_allclose(
        ensemble.u[:, :, 0], (1.0 + i) * np.exp(-0.1 * i * ensemble.t), rtol=1e-6
    )
    assert ensemble.problem_at(3).u0.tolist() == [4.0]


def test_parameters_of_a_module_and_part_of_a_dict(oscillator):
    import torch

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))

        def forward(self, t, u):
            return -self.rate * u

    problem = sml.ODEProblem(Linear(), [1.0, 1.0], (0.0, 1.0))
    rates = np.array([[1.0, 2.0], [0.5, 3.0]])
    for p in (rates, {"rate": rates}):
        ensemble = sml.solve_ensemble(problem, p=p, **HOW)
        np.testing.assert_allclose(ensemble.u[:, -1], np.exp(-rates), rtol=1e-6)
    ensemble = sml.solve_ensemble(oscillator, p={"scale": [[1.0, 4.0]]}, **HOW)
    np.testing.assert_allclose(ensemble.u[0, :, 0], np.cos(2.0 * ensemble.t), atol=1e-5)
