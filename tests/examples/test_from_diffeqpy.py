"""diffeqpy's README, rewritten: against SciPy, and on Julia against the same in Julia itself."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import pysciml as sml

matplotlib.use("Agg")

EXAMPLES = Path(__file__).parents[2] / "examples" / "from_diffeqpy"

#: what the README's Python becomes in Julia, where diffeqpy's functions are
IN_JULIA = {
    "ode": """
        using OrdinaryDiffEqVerner
        prob = ODEProblem((u, p, t) -> -u, 0.5, (0.0, 1.0))
        solve(prob, Vern9(); saveat = 0.1, abstol = 1e-10, reltol = 1e-10).u
    """,
    "mass_matrix": """
        using OrdinaryDiffEqRosenbrock
        function rober(du, u, p, t)
            y1, y2, y3 = u
            k1, k2, k3 = p
            du[1] = -k1 * y1 + k3 * y2 * y3
            du[2] = k1 * y1 - k3 * y2 * y3 - k2 * y2^2
            du[3] = y1 + y2 + y3 - 1
        end
        M = [1.0 0 0; 0 1 0; 0 0 0]
        f = ODEFunction(rober; mass_matrix = M)
        prob = ODEProblem(f, [1.0, 0.0, 0.0], (0.0, 1e5), (0.04, 3e7, 1e4))
        solve(prob, Rodas5P(); reltol = 1e-8, abstol = 1e-8).u[end]
    """,
    "dae": """
        using OrdinaryDiffEqBDF
        function f(du, u, p, t)
            resid1 = -0.04u[1] + 1e4u[2] * u[3] - du[1]
            resid2 = 0.04u[1] - 3e7u[2]^2 - 1e4u[2] * u[3] - du[2]
            resid3 = u[1] + u[2] + u[3] - 1.0
            [resid1, resid2, resid3]
        end
        prob = DAEProblem(f, [-0.04, 0.04, 0.0], [1.0, 0.0, 0.0], (0.0, 1e5);
            differential_vars = [true, true, false])
        solve(prob, DFBDF(); abstol = 1e-10, reltol = 1e-8).u[end]
    """,
    "dde": """
        using DelayDiffEq, OrdinaryDiffEqTsit5
        function f(du, u, h, p, t)
            du[1] = 1.1 / (1 + sqrt(10) * (h(p, t - 20)[1])^(5 / 4)) - 10u[1] / (1 + 40u[2])
            du[2] = 100u[1] / (1 + 40u[2]) - 2.43u[2]
        end
        u0 = [1.05767027 / 3, 1.030713491 / 3]
        prob = DDEProblem(f, u0, (p, t) -> u0, (0.0, 100.0); constant_lags = [20.0])
        stack(solve(prob, MethodOfSteps(Tsit5()); saveat = 0.1, abstol = 1e-10, reltol = 1e-10).u)
    """,
}


@pytest.fixture
def example(tmp_path, monkeypatch):
    """example(name, *arguments): the module of that script, and what its main returns."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        module = runpy.run_path(str(EXAMPLES / f"{name}.py"))
        return module, module["main"](list(arguments))

    yield run
    matplotlib.pyplot.close("all")


def in_julia(name):
    main = sml.julia.main()
    return np.asarray(
        main.seval(f"module From{name}\nusing SciMLBase\nu = begin {IN_JULIA[name]} end\nend").u
    )


def test_ode(example):
    _, sol = example("ode", "--engine", "native")
    np.testing.assert_allclose(sol.u, 0.5 * np.exp(-sol.t), rtol=1e-9)


def test_lorenz(example):
    module, (sol, same) = example("lorenz", "--engine", "native")
    assert np.array_equal(sol.u, same.u)
    early = sol.t <= 2.0  # later, chaos makes another trajectory of every rounding error
    reference = solve_ivp(
        lambda t, u: module["f"](u, module["p"], t),
        (0.0, 2.0),
        module["u0"],
        t_eval=sol.t[early],
        rtol=1e-11,
        atol=1e-11,
    )
    np.testing.assert_allclose(sol.u[early], reference.y.T, atol=0.05)
    assert np.abs(sol.u).max() < 60.0


def test_sde(example):
    module, solutions = example("sde", "--engine", "native")
    assert solutions["shared noise"].u.shape == (20001, 3)
    assert all(np.isfinite(sol.u).all() for sol in solutions.values())
    ens = sml.solve_ensemble(module["one"], 20_000, "EM", "native", dt=2**-8, saveat=[1.0], seed=1)
    spread = 0.5 * np.exp(1.01) * np.sqrt(np.expm1(0.87**2))
    assert ens.mean[0] == pytest.approx(0.5 * np.exp(1.01), abs=5 * spread / np.sqrt(20_000))


def test_mass_matrix(example):
    _, sol = example("mass_matrix", "--engine", "native")
    np.testing.assert_allclose(sol.u.sum(1), 1.0, atol=1e-10)

    kinetics = solve_ivp(
        lambda t, y: [
            -0.04 * y[0] + 1e4 * y[1] * y[2],
            0.04 * y[0] - 1e4 * y[1] * y[2] - 3e7 * y[1] ** 2,
            3e7 * y[1] ** 2,
        ],
        (0.0, 1e5),
        [1.0, 0.0, 0.0],
        "Radau",
        rtol=1e-10,
        atol=1e-14,
    )
    np.testing.assert_allclose(sol.u[-1], kinetics.y[:, -1], rtol=1e-6)


def test_ensemble(example):
    module, ens = example("ensemble", "--short", "--engine", "native")
    assert ens.u.shape == (100, 1001, 3)
    first = module["prob"].remake(
        u0=ens.u[0, 0], p=np.random.default_rng(1).uniform(size=(200, 3))[100] * module["p"]
    )
    np.testing.assert_allclose(
        ens.u[0, :20], sml.solve(first, "Tsit5", "native", saveat=0.1).u[:20], rtol=1e-12
    )


@pytest.mark.julia
def test_ode_as_in_julia(example):
    _, sol = example("ode", "--engine", "julia")
    np.testing.assert_allclose(sol.u, in_julia("ode"), rtol=1e-11)


@pytest.mark.julia
def test_mass_matrix_as_in_julia(example):
    _, sol = example("mass_matrix", "--engine", "julia")
    np.testing.assert_allclose(sol.u[-1], in_julia("mass_matrix"), rtol=1e-6)


@pytest.mark.julia
def test_dae_as_in_julia(example):
    _, (sol, same) = example("dae")
    assert np.array_equal(sol.u, same.u)
    np.testing.assert_allclose(sol.u[-1], in_julia("dae"), rtol=1e-4)


@pytest.mark.julia
def test_dde_as_in_julia(example):
    _, sol = example("dde")
    np.testing.assert_allclose(sol.u, in_julia("dde").T, rtol=2e-2, atol=1e-4)
