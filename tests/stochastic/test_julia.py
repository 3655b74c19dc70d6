"""StochasticDiffEq's methods: orders, laws, which problems they are for, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from equations import (
    MIXING,
    MU,
    SIGMA,
    correlated,
    geometric,
    geometric_exact,
)

import pysciml as sml
from pysciml.engines.julia.stochastic import schemes

julia = pytest.mark.julia
SURE = 3.3  # standard errors


def solve(problem, alg=None, saveat=(1.0,), **options):
    return sml.solve(problem, alg, "julia", list(saveat), **{"seed": 3, **options})


# -- orders ----------------------------------------------------------------------------------------
LEVELS = np.arange(4, 9)


@julia
@pytest.mark.parametrize(
    ("alg", "interpretation", "noise", "order"),
    [
        ("EM", "ito", "diagonal", 0.5),
        ("RKMil", "ito", "diagonal", 1.0),
        ("RKMil", "stratonovich", "diagonal", 1.0),
        ("RKMil", "ito", "scalar", 1.0),
        ("PCEuler", "ito", "diagonal", 1.0),
        ("EulerHeun", "stratonovich", "diagonal", 1.0),
        ("ISSEulerHeun", "stratonovich", "diagonal", 1.0),
        ("ImplicitRKMil", "ito", "diagonal", 1.0),
        ("SRIW1", "ito", "diagonal", 1.5),
        ("SOSRI", "ito", "diagonal", 1.5),
        ("SOSRI", "ito", "scalar", 1.5),
    ],
)
def test_strong_order(alg, interpretation, noise, order):
    """Root mean squares of errors against the closed form along the same path.

    Each entry of a problem with diagonal noise is a path of its own.
    """
    n, runs = (1, 1200) if noise == "scalar" else (200, 15)
    problem, errors = geometric(noise, interpretation, n), []
    for level in LEVELS:
        found = []
        for k in range(runs):
            how = {"dt": 2.0**-level, "adaptive": False, "seed": (level, k), "save_noise": True}
            sol = solve(problem, alg, **how)
            found.append(sol.u - geometric_exact(problem, sol.t, sol.W))
        errors.append(np.sqrt(np.mean(np.square(found))))
    slope = -np.polyfit(LEVELS, np.log2(errors), 1)[0]
    assert abs(slope - order) < 0.1


@julia
@pytest.mark.parametrize("alg", ["SOSRA", "SRA3", "SKenCarp"])
def test_additive_methods_follow_the_path(alg):
    """An Ornstein-Uhlenbeck process beside W and its integral, which the methods know, too.

    Given the increments of both over a step, w and j + h w/2, the mean of the process is known, and
    its spread is of higher order: u -> exp(-h) u + a w + b j, with the covariances a and b.
    """
    s = 0.5
    problem = sml.SDEProblem(
        lambda u, p, t: torch.stack([0.0 * t, u[0], -u[2]]),
        lambda u, p, t: torch.stack([1.0 + 0.0 * t, 0.0 * t, s + 0.0 * t]),
        [0.0, 0.0, 0.0], (0.0, 1.0), noise="scalar",
    )  # fmt: skip
    errors = []
    for h in (1 / 8, 1 / 32):
        phi = np.exp(-h)
        a = (1.0 - phi) / h
        b = (h / 2 * (1.0 - phi) - (h - 1.0 + phi)) / (h**3 / 12)
        found = []
        for k in range(60):
            how = {"dt": h, "adaptive": False, "seed": (5, k), "dense": False, "save_noise": True}
            sol = sml.solve(problem, alg, "julia", **how)
            np.testing.assert_allclose(sol.u[:, 0], sol.W, atol=1e-12)
            w = np.diff(sol.W)
            j = np.diff(sol.u[:, 1]) - h * sol.W[:-1] - h * w / 2
            u = 0.0
            for step in s * (a * w + b * j):
                u = phi * u + step
            found.append(sol.u[-1, 2] - u)
        errors.append(np.sqrt(np.mean(np.square(found))))
    assert errors[1] < 1e-3
    assert np.log(errors[0] / errors[1]) / np.log(4) > 1.4


@julia
def test_the_table_agrees_with_the_libraries():
    """All its names are there, with the steps and the sense of each; one sense was measured."""
    from pysciml.engines.julia import session

    traits = session.main().seval("""
        function (sciml, extension, name)
            none = Dict{Symbol, Any}()
            alg = sciml.construct(sciml.constructor(Symbol(name)), Symbol(name), (), none)
            core = parentmodule(extension.StochasticCompositeAlgorithm)
            return core.isadaptive(alg), lowercase(string(sciml.SciMLBase.alg_interpretation(alg)))
        end
    """)
    extension = session.extension("PySciMLStochasticExt")
    for name, scheme in schemes().items():
        if name in ("PCEuler", "IIF1M", "IIF2M", "IIF1Mil"):  # need more than a name
            continue
        adaptive, sense = traits(session.module(), extension, name)
        assert adaptive == scheme.adaptive, name
        assert sense in scheme.interpretations or name == "ISSEulerHeun", name


@julia
@pytest.mark.parametrize("noise", ["scalar", "general"])
def test_noise_that_is_not_diagonal(noise):
    problem = correlated() if noise == "general" else geometric("scalar")
    for name in ("EM", "RKMilGeneral", "ImplicitEM"):
        sol = solve(problem, name, dt=1 / 256, adaptive=False, save_noise=True)
        exact = sol.W @ MIXING.T if noise == "general" else geometric_exact(problem, sol.t, sol.W)
        np.testing.assert_allclose(sol.u, exact, rtol=0.1, atol=1e-12, err_msg=name)


# -- laws ------------------------------------------------------------------------------------------
@julia
def test_the_mean_of_geometric_brownian_motion():
    """Euler-Maruyama's own mean is (1 + mu dt)^steps, without any error."""
    n = 4000
    u = solve(geometric(n=n), "EM", dt=1 / 32, alg_options={"split": False}).u[0]
    assert abs(u.mean() - (1 + MU / 32) ** 32) < SURE * u.std() / np.sqrt(n)
    # the noise of a split step is that of the state that the drift has moved
    split = solve(geometric(n=n), "EM", dt=1 / 32).u[0]
    assert (split != u).all()
    log = np.log(solve(geometric(n=50), "SOSRI", abstol=1e-2, reltol=1e-2).u[0])
    assert abs(log.mean() - (MU - SIGMA**2 / 2)) < SURE * SIGMA / np.sqrt(50)


@julia
def test_the_stationary_variance_of_the_ornstein_uhlenbeck_process():
    theta, s, n = 1.5, 0.8, 2000
    problem = sml.SDEProblem(
        lambda u, p, t: -theta * u, lambda u, p, t: s + 0.0 * u, np.ones(n), (0.0, 4.0)
    )
    exact = s**2 / (2 * theta) * (1 - np.exp(-8 * theta))
    u = solve(problem, saveat=[4.0]).u[0]
    assert abs(u.mean() - np.exp(-4 * theta)) < SURE * np.sqrt(exact / n)
    assert abs(u.var() - exact) < SURE * exact * np.sqrt(2 / n)


@julia
def test_trajectories_are_independent_and_reproducible():
    n = 2000
    paths = [
        solve(geometric(n=n), "SRIW1", dt=1 / 16, adaptive=False, seed=(9, k)).u[0]
        for k in range(3)
    ]
    logs = [np.log(u) - np.log(u).mean() for u in paths]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(logs[a], logs[b])[0, 1]) < SURE / np.sqrt(n)
    many = sml.solve_ensemble(
        geometric(n=n),
        3,
        "SRIW1",
        "julia",
        [1.0],
        dt=1 / 16,
        adaptive=False,
        seed=9,
        progress=False,
    )
    np.testing.assert_array_equal(many.u[:, 0], paths)


@julia
@pytest.mark.parametrize("alg", ["EM", "SOSRI", "ISSEulerHeun"])
@pytest.mark.parametrize("noise", ["diagonal", "scalar"])
def test_fixed_steps_are_the_same_whether_they_are_kept_or_not(alg, noise):
    """With tstops between them, and an end that no step meets: to the last bit, and counted."""
    problem = geometric(noise, "stratonovich" if alg == "ISSEulerHeun" else "ito", 2)
    times, stops = np.array([0.3, 0.3005, 1.0]), [0.25, 0.3, 0.3005]
    how = {"dt": 1 / 60, "adaptive": False, "seed": (5, 1)}
    every = sml.solve(problem, alg, "julia", tstops=stops, **how)
    few = solve(problem, alg, times, tstops=stops, **how)
    np.testing.assert_array_equal(few.u, every.u[np.isin(every.t, times)])
    assert few.stats == every.stats
    assert few.stats.naccept == len(every.t) - 1 > 60
    many = sml.solve_ensemble(
        problem, 3, alg, "julia", saveat=times, tstops=stops, progress=False, **how | {"seed": 5}
    )
    np.testing.assert_array_equal(many.u[1], few.u)


@julia
def test_fixed_steps_end_where_maxiters_says():
    problem = geometric("diagonal", "ito", 1)
    how = {"dt": 1 / 60, "adaptive": False, "seed": 1, "maxiters": 25, "raise_on_failure": False}
    few, every = solve(problem, "EM", **how), sml.solve(problem, "EM", "julia", **how)
    assert few.retcode == every.retcode == "MaxIters"
    assert few.stats.naccept == every.stats.naccept == 25


@julia
def test_stiff_drift_needs_an_implicit_method_and_has_its_jacobian():
    problem = sml.SDEProblem(
        lambda u, p, t: torch.stack([-1e4 * (u[0] - torch.cos(t)), -u[1]]),
        lambda u, p, t: 0.1 * torch.ones(2, dtype=torch.float64),
        [1.0, 1.0], (0.0, 1.0),
    )  # fmt: skip
    sol = solve(problem, "ImplicitEM", dt=1 / 64, adaptive=False)
    assert sol.stats.njacs > 0
    assert abs(sol.u[0, 0] - np.cos(1.0)) < 1e-3  # each increment of W is divided by 157
    explicit = solve(problem, "EM", dt=1 / 64, raise_on_failure=False)
    assert np.abs(explicit.u).max() > 1e6 or explicit.retcode == "Unstable"


# -- what is refused -------------------------------------------------------------------------------
def f(u, p, t):
    return -u


def g(u, p, t):
    return 0.1 * u


def columns(u, p, t):
    return torch.stack([u, 2 * u, u * u], -1)


GIVEN = (f, g, [1.0, 2.0], (0, 1))
REFUSED = [
    (
        lambda: solve(sml.SDEProblem(*GIVEN, interpretation="stratonovich"), "SOSRI"),
        "SOSRI is not for interpretation='stratonovich'; LambaEulerHeun is, the default",
    ),
    (
        lambda: solve(sml.SDEProblem(*GIVEN), "EulerHeun", dt=0.1),
        "EulerHeun is not for interpretation='ito'; SOSRI is, the default for this problem",
    ),
    (
        lambda: solve(sml.SDEProblem(*GIVEN), "SRA1"),
        "SRA1 is not for a g that depends on u; SOSRI is",
    ),
    (
        lambda: solve(sml.SDEProblem(f, columns, [1.0, 2.0], (0, 1), noise="general"), "SOSRI"),
        "SOSRI is not for noise='general'; LambaEM is",
    ),
    (
        lambda: solve(
            sml.SDEProblem(f, columns, [1.0, 2.0], (0, 1), noise="general"), "PL1WM", dt=0.1
        ),
        "PL1WM is not for more than one Wiener process; LambaEM is",
    ),
    (
        lambda: solve(sml.SDEProblem(f, lambda u, p, t: u.flip(0), *GIVEN[2:]), "RKMil"),
        "RKMil is not for diagonal noise whose g_i depends on other entries of u; SOSRI is",
    ),
    (
        lambda: solve(sml.SDEProblem(*GIVEN, noise="scalar"), "SIEA", dt=0.1),
        "SIEA is not for noise='scalar'; SOSRI is",
    ),
    (
        lambda: solve(sml.SDEProblem(*GIVEN), "SplitEM", dt=0.1),
        "SplitEM is not for an SDEProblem, but for drifts that come in parts; SOSRI is",
    ),
    (
        lambda: solve(sml.SDEProblem(*GIVEN), "SOSRY"),
        "StochasticDiffEq has no method 'SOSRY'; the nearest are SOSRI, SOSRA",
    ),
    (
        lambda: solve(sml.SDEProblem(*GIVEN), "Tsit5"),
        "StochasticDiffEq has no method 'Tsit5'",
    ),
    (
        lambda: solve(sml.SDEProblem(*GIVEN), "SOSRI; exit()"),
        "alg='SOSRI; exit()' is not the name of a method; write for example 'SOSRI'",
    ),
    (
        lambda: solve(sml.SDEProblem(*GIVEN), "RKMil", alg_options={"interpretation": "Ito"}),
        "alg_options must leave out 'interpretation': it is the problem's, and methods follow",
    ),
    (
        lambda: solve(sml.SDEProblem(*GIVEN), "AutoSOSRI2(ISSEulerHeun)"),
        "ISSEulerHeun is not for interpretation='ito'; SOSRI is",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_refused_without_julia(call, message, monkeypatch):
    """What is wrong is said before Julia starts."""
    from pysciml.engines.julia import session

    def no_julia():
        raise AssertionError("Julia was asked for")

    monkeypatch.setattr(session, "module", no_julia)
    monkeypatch.setattr(session, "started", lambda: False)
    with pytest.raises(sml.UnsupportedError) as raised:
        call()
    assert str(raised.value).startswith(message)


def test_a_step_has_to_be_given_for_fixed_steps():
    with pytest.raises(ValueError, match="dt must be given for EM: it steps by a fixed dt"):
        solve(sml.SDEProblem(*GIVEN), "EM()")


@julia
def test_an_unknown_option_of_a_method():
    with pytest.raises(sml.UnsupportedError, match="SRI has no option tolerance; it has error_te"):
        solve(sml.SDEProblem(*GIVEN), "SRI", alg_options={"tolerance": 1})


def test_gradients_are_the_native_engines():
    with pytest.raises(sml.UnsupportedError, match='"julia" has no gradients of an SDEProblem'):
        sml.gradient(sml.SDEProblem(*GIVEN), lambda u: u.sum(), engine="julia", saveat=[1.0])


@julia
def test_a_failed_solve_keeps_what_it_had():
    problem = sml.SDEProblem(lambda u, p, t: u**3, g, [3.0], (0.0, 1.0))
    with pytest.raises(sml.SolveError, match="Unstable") as raised:
        sml.solve(problem, "EM", "julia", dt=0.01, seed=1)
    kept = raised.value.solution
    assert 1 < len(kept.t) < 100 and kept.message
    short = sml.solve(
        geometric(), "EM", "julia", dt=0.01, maxiters=50, seed=1, raise_on_failure=False
    )
    assert short.retcode == "MaxIters" and 45 < len(short.t) < 55
