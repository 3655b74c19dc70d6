"""JumpProcesses' methods for reactions on Julia: laws, paths, and what they refuse.

Means lie within four standard errors.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import pysciml as sml
from pysciml import JumpProblem, Reaction
from pysciml.engines.julia.jumps import EXACT, LEAPS

julia = pytest.mark.julia
OF_FUNCTIONS = tuple(name for name in EXACT if not name.startswith("RSSA"))
N = 1000
JULIA = {"engine": "julia", "progress": False}
BIRTH, DEATH, START = 0.6, 0.4, 20
BIRTHS = JumpProblem(
    [Reaction("birth", {"A": 1}, {"A": 2}), Reaction("death", {"A": 1})],
    [START], (0.0, 2.0), {"birth": BIRTH, "death": DEATH}, names=["A"],
)  # fmt: skip


def epidemic(people, ill=0.01, span=(0.0, 60.0), **rates):
    """An epidemic with the rate constants 0.5/people and 0.2."""
    return JumpProblem(
        [Reaction("beta", {"S": 1, "I": 1}, {"I": 2}), Reaction("gamma", {"I": 1}, {"R": 1})],
        [(1.0 - ill) * people, ill * people, 0], span,
        {"beta": 0.5 / people, "gamma": 0.2} | rates, names=["S", "I", "R"],
    )  # fmt: skip


def limit(times):
    """The epidemic's differential equation, in parts of all people."""
    return solve_ivp(
        lambda t, x: [-0.5 * x[0] * x[1], 0.5 * x[0] * x[1] - 0.2 * x[1], 0.2 * x[1]],
        (0.0, 60.0), [0.99, 0.01, 0.0], rtol=1e-10, atol=1e-12, t_eval=times,
    ).y.T  # fmt: skip


def assert_mean(sample, exact, bias=0.0):
    assert abs(sample.mean() - exact) < 4.0 * sample.std() / math.sqrt(len(sample)) + bias


# -- laws ------------------------------------------------------------------------------------------
@julia
@pytest.mark.parametrize("alg", EXACT)
def test_a_birth_death_process_by_every_aggregator(alg):
    times = np.array([1.0, 2.0])
    found = sml.solve_ensemble(BIRTHS, N, alg, saveat=times, seed=1, **JULIA)
    growth = np.exp((BIRTH - DEATH) * times)
    variance = START * (BIRTH + DEATH) / (BIRTH - DEATH) * growth * (growth - 1.0)
    for i in range(2):
        sample = found.u[:, i, 0]
        assert_mean(sample, START * growth[i])
        assert_mean((sample - sample.mean()) ** 2, variance[i])


@julia
@pytest.mark.parametrize("alg", EXACT)
def test_an_epidemic_among_many_by_every_aggregator(alg):
    people, times = 50_000, np.arange(0.0, 61.0, 10.0)
    found = sml.solve_ensemble(epidemic(people), 8, alg, saveat=times, seed=8, **JULIA)
    for i in (1, 2, 6):
        for j in range(3):
            # the mean itself is off by parts of the order of 1/people
            assert_mean(found.u[:, i, j] / people, limit(times)[i, j], 20.0 / people)
    assert found.u[:, :, 1].std(axis=0).max() > 1e-4 * people
    assert found.stats.naccept > 8 * people
    np.testing.assert_array_equal(found.u.sum(axis=2), people)


@julia
@pytest.mark.parametrize("alg", OF_FUNCTIONS)
def test_rates_that_are_functions(alg):
    """Beside mass action: u' = 8 - u + 5 - 0.5 u on average, as all propensities are linear."""
    problem = JumpProblem(
        [
            Reaction(lambda u, p, t: p["k"] + 0.0 * u[0], None, {0: 1}),
            Reaction(lambda u, p, t: 0.5 * u[0], {0: 1}),
            Reaction("d", {0: 1}),
            Reaction(5.0, None, {0: 1}),
        ],
        [2], (0.0, 3.0), {"k": 8.0, "d": 1.0},
    )  # fmt: skip
    found = sml.solve_ensemble(problem, N, alg, saveat=[0.5, 3.0], seed=2, **JULIA)
    for i, t in enumerate((0.5, 3.0)):
        stays = 13.0 / 1.5
        assert_mean(found.u[:, i, 0], stays + (2.0 - stays) * math.exp(-1.5 * t))


# what a leap of length h leaves on average of things that vanish at rate 1: of the linear test
# equation, that of Euler's method, of the implicit one, and of the trapezoidal rule
LEFT = {
    "SimpleTauLeaping": lambda h: 1.0 - h,
    "ImplicitTauLeaping": lambda h: 1.0 / (1.0 + h),
    "ThetaTrapezoidalTauLeaping": lambda h: (1.0 - h / 2.0) / (1.0 + h / 2.0),
}


@julia
@pytest.mark.parametrize("alg", LEAPS)
@pytest.mark.parametrize("dt", [0.5, 0.25])
def test_the_mean_of_leaps_is_that_of_a_method_for_odes(alg, dt):
    start = 1_000_000
    problem = JumpProblem([Reaction(1.0, {0: 1})], start, (0.0, 2.0))
    how = {"dt": dt, "saveat": [1.0, 2.0], "seed": 2, **JULIA}
    found = sml.solve_ensemble(problem, 400, alg, **how)
    assert found.alg == alg
    assert found.stats.naccept == 400 * 2.0 / dt
    for i in range(2):
        assert_mean(found.u[:, i], start * LEFT[alg](dt) ** ((i + 1) / dt))


@julia
@pytest.mark.parametrize("alg", LEAPS)
def test_short_leaps_have_mean_and_variance_of_births_and_deaths(alg):
    """Immigration and death: the sum of a Poisson and a binomial number."""
    problem = JumpProblem([Reaction(10.0, None, {0: 1}), Reaction(1.0, {0: 1})], [100], (0.0, 2.0))
    found = sml.solve_ensemble(problem, 2 * N, alg, dt=0.01, saveat=[2.0], seed=3, **JULIA)
    stay, sample = math.exp(-2.0), found.u[:, 0, 0]
    assert_mean(sample, 10.0 + 90.0 * stay, 0.3)
    variance = 10.0 * (1.0 - stay) + 100.0 * stay * (1.0 - stay)
    assert_mean((sample - sample.mean()) ** 2, variance, 0.4)


@julia
def test_an_implicit_leap_that_is_not_found_ends_the_path():
    """A hundred lifetimes long: its iteration does not contract."""
    problem = JumpProblem([Reaction(100.0, {0: 1})], [1000], (0.0, 10.0))
    with pytest.raises(sml.SolveError, match="leap was not found, for which dt is too") as caught:
        sml.solve(problem, "ImplicitTauLeaping", "julia", dt=1.0, seed=1)
    assert caught.value.solution.retcode == "ConvergenceFailure"
    assert caught.value.solution.t[-1] < 10.0


# -- paths -----------------------------------------------------------------------------------------
@julia
def test_a_path_and_what_is_kept_of_it():
    problem = epidemic(1000)
    path = sml.solve(problem, engine="julia", seed=1)
    assert path.alg == "Direct" and path.engine == "julia" and path.retcode == "Success"
    jumps = np.diff(path.u, axis=0)[:-1]  # the last row is the end of tspan
    assert len(jumps) == path.stats.naccept > 1000
    assert (jumps[:, None] == problem.stoichiometry).all(axis=2).any(axis=1).all()
    np.testing.assert_array_equal(path(path.t[3:50]), path.u[3:50])
    np.testing.assert_array_equal(path(np.nextafter(path.t[3:50], 0.0)), path.u[2:49])
    times = np.linspace(0.0, 60.0, 25)
    how = {"engine": "julia", "seed": 1}
    saved = sml.solve(problem, saveat=times, **how)
    np.testing.assert_array_equal(saved.u, path(times))
    both = sml.solve(problem, saveat=times, dense=True, save_idxs=[2, 0], **how)
    np.testing.assert_array_equal(both.u, saved.u[:, [2, 0]])
    np.testing.assert_array_equal(both(path.t), path.u[:, [2, 0]])
    few = sml.solve(problem, saveat=times, save_idxs=[1], **how)
    np.testing.assert_array_equal(few.u[:, 0], saved.u[:, 1])
    ends = sml.solve(problem, save_everystep=False, **how)
    np.testing.assert_array_equal(ends.u, path.u[[0, -1]])


@julia
@pytest.mark.parametrize("alg", ["Direct", "NRM", "SimpleTauLeaping", "ImplicitTauLeaping"])
def test_an_ensemble_is_its_single_solves_in_any_number_of_threads(alg):
    dt = 0.5 if alg in LEAPS else None
    problem, how = epidemic(1000), {"saveat": 20.0, "dt": dt}
    betas = np.linspace(2e-4, 6e-4, 12)
    many = {"p": {"beta": betas}, "seed": 7, "batch_size": 5, **JULIA}
    found = [sml.solve_ensemble(problem, None, alg, threads=k, **many, **how) for k in (1, None)]
    np.testing.assert_array_equal(found[0].u, found[1].u)
    for i in (0, 5, 11):
        one = problem.remake(p={"beta": betas[i], "gamma": 0.2})
        alone = sml.solve(one, alg, "julia", seed=(7, i), **how)
        np.testing.assert_array_equal(found[0].u[i], alone.u)
    assert (found[0].u[0] != found[0].u[1]).any()


@julia
def test_a_path_stops_after_so_many_jumps():
    with pytest.raises(sml.SolveError, match="MaxIters") as caught:
        sml.solve(epidemic(1000), engine="julia", seed=1, maxiters=100)
    assert len(caught.value.solution.t) == 101


@julia
def test_a_propensity_below_zero_is_refused_with_its_reaction():
    problem = JumpProblem(
        [Reaction(lambda u, p, t: 100.0 * (6.0 - u[0]), {0: 1}, {0: 2})], [1], (0.0, 9.0)
    )
    grows = problem.remake(u0=[8])
    with pytest.raises(sml.SolveError, match=r"propensity of reactions\[0\] .* is -200"):
        sml.solve(grows, engine="julia", seed=1)


# -- wrong calls -----------------------------------------------------------------------------------
@julia
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"alg": "TauLeaping"},
            sml.UnsupportedError,
            "TauLeaping, which chooses its leaps, is not in the Julia engine: there are "
            "SimpleTauLeaping, ImplicitTauLeaping, ThetaTrapezoidalTauLeaping, with a dt, and "
            'engine="native" has "TauLeaping"',
        ),
        (
            {"alg_options": {"epsilon": 0.1}},
            sml.UnsupportedError,
            "Direct has no options; got ['epsilon']",
        ),
        ({"alg": "NMR"}, ValueError, "alg='NMR' is no method for a JumpProblem of the Julia eng"),
        ({"dt": 0.1}, ValueError, "dt has no meaning for Direct, which makes no time steps"),
        (
            {"alg": "SimpleTauLeaping"},
            ValueError,
            "dt must be given for SimpleTauLeaping: it is the length of a leap; got None",
        ),
    ],
)
def test_wrong_calls(options, error, message):
    with pytest.raises(error) as caught:
        sml.solve(BIRTHS, engine="julia", **options)
    assert str(caught.value).startswith(message)


@julia
def test_rates_that_are_functions_are_not_for_rejection_methods():
    problem = JumpProblem([Reaction(lambda u, p, t: u[0], {0: 1})], [9], (0.0, 1.0))
    for alg in ("RSSA", "RSSACR"):
        with pytest.raises(sml.UnsupportedError, match=f"{alg} bounds each propensity"):
            sml.solve(problem, alg, "julia")
