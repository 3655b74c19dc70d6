"""Jumps in the solution of ODEs and SDEs, against closed forms. Seeds are fixed.

Means lie within four standard errors, p-values of goodness-of-fit tests above 1 %.
"""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from scipy import stats

import pysciml as sml
from pysciml import Jump, JumpProblem, Reaction

ENGINES = ("native", pytest.param("julia", marks=pytest.mark.julia))
on_engines = pytest.mark.parametrize("engine", ENGINES)
julia = pytest.mark.julia
N = 600


def decay(u, p, t):
    return -u


def up(u, p, t):
    return u + 1.0


def shots(rate="often", marks=None, affect=up):
    """Shot noise: decay, and jumps up at random times."""
    equation = sml.ODEProblem(decay, [1.0], (0.0, 3.0), {"often": 2.0})
    return JumpProblem(equation, [Jump(rate, affect, marks)])


def finals(problem, engine, n=N, alg=None, **options):
    many = sml.solve_ensemble(
        problem, n, alg, engine, [problem.tspan[1]], seed=11, progress=False, **options
    )
    assert many.success
    return many.u[:, 0]


def assert_mean(sample, exact, bias=0.0):
    assert abs(sample.mean() - exact) < 4.0 * sample.std() / math.sqrt(len(sample)) + bias


# -- one path --------------------------------------------------------------------------------------
@on_engines
def test_a_path_follows_the_equation_between_its_jumps(engine):
    sol = sml.solve(shots(), engine=engine, seed=1, abstol=1e-10, reltol=1e-10)
    (jumped,) = sol.events
    assert len(jumped.t) >= 3
    np.testing.assert_allclose(jumped.after, jumped.before + 1.0, rtol=1e-15)
    from_last = np.diff(np.append(0.0, jumped.t))[:, None]
    started = np.vstack([[1.0], jumped.after[:-1]])
    np.testing.assert_allclose(jumped.before, started * np.exp(-from_last), rtol=1e-8)
    # the solution is continuous from the right, and every time is there once
    assert (np.diff(sol.t) > 0.0).all()
    np.testing.assert_array_equal(sol.u[np.isin(sol.t, jumped.t)], jumped.after)
    np.testing.assert_allclose(sol(jumped.t), jumped.after, rtol=1e-14)
    np.testing.assert_allclose(sol(jumped.t - 1e-12), jumped.before, rtol=1e-9)
    query = np.linspace(0.0, 3.0, 41)
    saved = sml.solve(shots(), engine=engine, seed=1, saveat=query, abstol=1e-10, reltol=1e-10)
    np.testing.assert_allclose(saved.u, sol(query), rtol=1e-7)
    np.testing.assert_array_equal(saved.t, query)


@on_engines
def test_the_seed_decides(engine):
    problem = shots()
    a, b, c = (sml.solve(problem, engine=engine, seed=seed, saveat=0.5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.u, b.u)
    assert not np.array_equal(a.u, c.u)
    many = sml.solve_ensemble(problem, 3, engine=engine, saveat=0.5, seed=1, progress=False)
    np.testing.assert_array_equal(many.u[0], a.u)
    copy = pickle.loads(pickle.dumps(problem))
    np.testing.assert_array_equal(sml.solve(copy, engine=engine, seed=1, saveat=0.5).u, a.u)
    shifted = problem.remake(u0=[2.0], p={"often": 1e-9})
    quiet = sml.solve(shifted, engine=engine, seed=1, saveat=[3.0], abstol=1e-9, reltol=1e-9)
    assert quiet.u[0, 0] == pytest.approx(2.0 * math.exp(-3.0), rel=1e-7)
    assert len(quiet.events[0].t) == 0


# -- laws ------------------------------------------------------------------------------------------
@on_engines
def test_shot_noise(engine):
    """Campbell's theorem."""
    u = finals(shots(), engine)[:, 0]
    gone = 1.0 - math.exp(-3.0)
    assert_mean(u, math.exp(-3.0) + 2.0 * gone)
    variance = 1.0 - math.exp(-6.0)
    assert_mean((u - u.mean()) ** 2, variance)


@on_engines
def test_a_rate_that_depends_on_time(engine):
    """Given their number, the jump times are independent, with the rate as density."""
    problem = JumpProblem(
        sml.ODEProblem(lambda u, p, t: 0.0 * u, [0.0], (0.0, 6.0)),
        [Jump(lambda u, p, t: 3.0 * (1.0 + torch.sin(t)), lambda u, p, t: u + 1.0)],
    )
    counts, times = [], []
    for k in range(150):
        sol = sml.solve(problem, engine=engine, seed=(2, k), saveat=[6.0])
        counts.append(sol.u[0, 0])
        times.append(sol.events[0].t)

    def integral(t):
        return 3.0 * (t + 1.0 - np.cos(t))

    assert_mean(np.array(counts), integral(6.0))
    spread = np.concatenate(times)
    assert stats.kstest(integral(spread) / integral(6.0), "uniform").pvalue > 0.01


def still(kind, tspan):
    """A state that only jumps would move, as an equation of either kind."""
    if kind == "ODE":
        return sml.ODEProblem(lambda u, p, t: 0.0 * u, [0.0], tspan)
    return sml.SDEProblem(lambda u, p, t: 0.0 * u, lambda u, p, t: 0.0 * u, [0.0], tspan)


@pytest.mark.parametrize(
    ("engine", "kind", "how"),
    [
        ("native", "ODE", {}),
        pytest.param("julia", "ODE", {}, marks=julia),
        pytest.param("julia", "SDE", {"alg": "EM", "dt": 0.1}, marks=julia),
        pytest.param("julia", "SDE", {"alg": "SOSRI", "dtmax": 0.1}, marks=julia),
    ],
)
@pytest.mark.parametrize("t0", [-2.0, 5.0])
def test_jumps_of_a_rate_that_varies_begin_where_tspan_does(engine, kind, how, t0):
    problem = JumpProblem(
        still(kind, (t0, t0 + 60.0)),
        [Jump(lambda u, p, t: 3.0 * (1.0 + torch.sin(t)), lambda u, p, t: u + 1.0)],
    )
    sol = sml.solve(problem, engine=engine, seed=6, saveat=[t0 + 60.0], **how)
    times = sol.events[0].t
    assert sol.u[-1, 0] == pytest.approx(len(times), rel=1e-12)

    def integral(t):
        return 3.0 * (t - t0 + math.cos(t0) - np.cos(t))

    exact = integral(t0 + 60.0)
    assert abs(len(times) - exact) < 4.0 * math.sqrt(exact)
    assert stats.kstest(integral(times) / exact, "uniform").pvalue > 0.01


@julia
def test_a_process_that_explodes_uses_up_its_steps():
    """A rate that grows with the square of the number of jumps: there are infinitely many by 1."""
    squared = Jump(lambda u, p, t: (1.0 + u[0]) ** 2 * 10.0, lambda u, p, t: u + 1.0)
    problem = JumpProblem(still("SDE", (0.0, 1.0)), [squared])
    found = sml.solve(problem, "EM", "julia", dt=0.1, seed=1, maxiters=500, raise_on_failure=False)
    assert found.retcode == "MaxIters"
    assert 400 < len(found.events[0].t) <= 501 and found.t[-1] < 1.0


@on_engines
def test_a_rate_that_depends_on_the_state(engine):
    """A pure birth process (Yule): geometric numbers."""
    problem = JumpProblem(
        sml.ODEProblem(lambda u, p, t: 0.0 * u, [1.0], (0.0, 1.5)), [Reaction(1.0, {0: 1}, {0: 2})]
    )
    found = finals(problem, engine)[:, 0].astype(int)
    expected = N * stats.geom.pmf(np.arange(1, 11), math.exp(-1.5))
    observed = np.bincount(found, minlength=12)[1:11]
    rest = [N - observed.sum()], [N - expected.sum()]
    together = np.append(observed, rest[0]), np.append(expected, rest[1])
    assert stats.chisquare(*together).pvalue > 0.01


@on_engines
def test_which_of_several_jumps_happens(engine):
    """One constant rate, two that depend on the state, in every order."""
    equation = sml.ODEProblem(
        lambda u, p, t: 0.0 * u, [1.0, 0.0, 0.0, 0.0], (0.0, 400.0), {"b": 0.5}
    )

    def counted(i):
        def affect(u, p, t):
            u[i] = u[i] + 1.0
            return u

        return affect

    jumps = [
        Jump(lambda u, p, t: 2.0 * u[0], counted(1)),
        Jump("b", counted(2)),
        Jump(lambda u, p, t: u[0] + p["b"], counted(3)),
    ]
    sol = sml.solve(JumpProblem(equation, jumps), engine=engine, seed=4, saveat=[400.0])
    counts = sol.u[0, 1:]
    np.testing.assert_allclose(counts, [len(each.t) for each in sol.events], rtol=1e-12)
    for count, rate in zip(counts, (2.0, 0.5, 1.5), strict=True):
        assert abs(count - 400.0 * rate) < 4.0 * math.sqrt(400.0 * rate)


@on_engines
def test_marks(engine):
    """A compound Poisson process with two marks for each jump."""
    equation = sml.ODEProblem(lambda u, p, t: 0.0 * u, [0.0, 0.0], (0.0, 500.0))

    def affect(u, p, t, z):
        return torch.stack([u[0] + z[0], u[1] + z[1]])

    problem = JumpProblem(equation, [Jump(1.0, affect, ["normal", "uniform"])])
    sol = sml.solve(problem, engine=engine, seed=5, saveat=[500.0])
    drawn = sol.events[0].after - sol.events[0].before
    assert stats.kstest(drawn[:, 0], "norm").pvalue > 0.01
    assert stats.kstest(drawn[:, 1], "uniform").pvalue > 0.01
    one = sml.solve(shots(2.0, "uniform", lambda u, p, t, z: u + z), engine=engine, seed=1)
    sizes = one.events[0].after - one.events[0].before
    assert ((sizes > 0.0) & (sizes < 1.0)).all()


@julia
@pytest.mark.parametrize("alg", [None, "EM"])
def test_merton(alg):
    """Geometric Brownian motion with log-normal jumps: mean, and mean and variance of its log."""
    mu, sigma, often, m, delta = 0.1, 0.3, 1.5, -0.2, 0.4
    equation = sml.SDEProblem(lambda u, p, t: mu * u, lambda u, p, t: sigma * u, [1.0], (0.0, 1.0))
    jump = Jump(often, lambda u, p, t, z: u * torch.exp(m + delta * z), "normal")
    options = {"dt": 1 / 64} if alg else {"abstol": 1e-2, "reltol": 1e-2}
    u = finals(JumpProblem(equation, [jump]), "julia", 2000, alg, **options)[:, 0]
    assert_mean(u, math.exp(mu + often * (math.exp(m + delta**2 / 2) - 1.0)), 5e-3)
    log = np.log(u)
    assert_mean(log, mu - sigma**2 / 2 + often * m, 5e-3)
    assert_mean((log - log.mean()) ** 2, sigma**2 + often * (m**2 + delta**2), 5e-3)


@julia
def test_killing_of_brownian_motion():
    """Cameron and Martin: the chance of no jump at rate W^2 until t is cosh(sqrt(2) t)^(-1/2)."""
    equation = sml.SDEProblem(
        lambda u, p, t: 0.0 * u,
        lambda u, p, t: torch.stack([1.0 + 0.0 * t, 0.0 * t]),
        [0.0, 0.0], (0.0, 1.0), noise="scalar",
    )  # fmt: skip
    jump = Jump(lambda u, p, t: u[0] ** 2, lambda u, p, t: torch.stack([u[0], u[1] + 1.0]))
    problem = JumpProblem(equation, [jump])
    u = finals(problem, "julia", 2000, "EM", dt=1 / 128)
    assert_mean((u[:, 1] == 0.0).astype(float), math.cosh(math.sqrt(2.0)) ** -0.5, 5e-3)
    assert_mean(u[:, 0] ** 2, 1.0)  # jumps do not change the noise


@julia
@pytest.mark.parametrize("rate", [4.0, lambda u, p, t: 4.0 + 1.0 / (1.0 + u[0] ** 2)])
def test_noise_is_the_same_with_jumps_and_without(rate):
    equation = sml.SDEProblem(decay, lambda u, p, t: 0.5 + 0.0 * u, [1.0], (0.0, 1.0))
    how = {"dt": 1 / 64, "adaptive": False, "seed": 3, "save_noise": True}
    plain = sml.solve(equation, "EM", "julia", **how)
    problem = JumpProblem(equation, [Jump(rate, lambda u, p, t: u + 1)])
    sol = sml.solve(problem, "EM", "julia", **how)
    assert len(sol.events[0].t) > 1
    assert sol.W.shape == sol.u.shape and (np.diff(sol.t) > 0.0).all()
    # the first jump cuts a step of the path; before it, both are one
    before = sol.t < sol.events[0].t[0]
    np.testing.assert_array_equal(sol.u[before], plain.u[: before.sum()])
    np.testing.assert_allclose(sol.W[before], plain.W[: before.sum()], atol=1e-14)
    # Euler's steps between jumps: u + dt f + 0.5 dW
    states, jumped = sol.u[:, 0], np.isin(sol.t, sol.events[0].t)
    expected = states[:-1] * (1.0 - np.diff(sol.t)) + 0.5 * np.diff(sol.W[:, 0])
    free = ~jumped[1:]
    np.testing.assert_allclose(states[1:][free], expected[free], atol=1e-12)
    # inside a step, where a jump of a rate that varies is found, the state is interpolated
    np.testing.assert_allclose(states[1:] - jumped[1:], expected, atol=0.2)
    dense = sml.solve(problem, "EM", "julia", **(how | {"saveat": 0.25, "dense": True}))
    np.testing.assert_allclose(dense.u, dense(dense.t), rtol=1e-12)


@on_engines
def test_a_bad_rate_stops_the_path(engine):
    problem = JumpProblem(
        sml.ODEProblem(lambda u, p, t: -1.0 + 0.0 * u, [1.0], (0.0, 3.0)),
        [Jump(lambda u, p, t: 0.01 * u[0], lambda u, p, t: u)],
    )
    what = {
        "native": "or a rate of a jump became negative",
        "julia": r"the rate of jumps\[0\] .* is -",
    }
    with pytest.raises(sml.SolveError, match=what[engine]) as caught:
        sml.solve(problem, engine=engine, seed=1)
    assert caught.value.solution.retcode == "Unstable"
    assert 0.0 < caught.value.solution.t[-1] <= 1.01


# -- wrong calls -----------------------------------------------------------------------------------
ODE = sml.ODEProblem(decay, [1.0], (0.0, 1.0), {"a": 1.0})
UP = Jump(1.0, lambda u, p, t: u + 1.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: Jump(-1.0, decay),
            ValueError,
            "rate must be a number >= 0, the name of a parameter, or a function rate(u, p, t); "
            "got -1.0",
        ),
        (
            lambda: Jump(1.0, lambda u: u),
            TypeError,
            "affect must be a function affect(u, p, t); got a function",
        ),
        (
            lambda: Jump(1.0, decay, "normal"),
            TypeError,
            "affect must be a function affect(u, p, t, z); got a function",
        ),
        (
            lambda: Jump(1.0, decay, "gauss"),
            ValueError,
            "marks must be 'normal' or 'uniform'; got 'gauss'",
        ),
        (
            lambda: Jump(1.0, decay, []),
            TypeError,
            "marks must be 'normal' or 'uniform', or a list of those; got the list []",
        ),
        (
            lambda: JumpProblem(ODE, UP),
            TypeError,
            "jumps must be a list of Jump(rate, affect) and Reaction(rate, reactants, products); "
            "got ",
        ),
        (
            lambda: JumpProblem(ODE, []),
            ValueError,
            "jumps must be a list of Jump(rate, affect) and Reaction(rate, reactants, products), "
            "with at least one; got an empty list",
        ),
        (
            lambda: JumpProblem(ODE, [1.0]),
            TypeError,
            "jumps[0] must be a Jump or a Reaction; got 1.0",
        ),
        (
            lambda: JumpProblem(ODE, [Jump("b", decay)]),
            ValueError,
            "jumps[0].rate must be the name of a parameter; got 'b': p has ['a']",
        ),
        (
            lambda: JumpProblem(sml.DiscreteProblem(decay, [1.0], (0, 1)), [UP]),
            sml.UnsupportedError,
            "there are no jumps in the solution of a DiscreteProblem; there are in that of an "
            "ODEProblem and of an SDEProblem",
        ),
        (
            lambda: JumpProblem(sml.ODEProblem(decay, [1.0], (1.0, 0.0)), [UP]),
            ValueError,
            "tspan must be two times t0 < t1, as jumps happen forwards in time; got (1.0, 0.0)",
        ),
        (
            lambda: JumpProblem(sml.ODEProblem(decay, [1.0], (0, 1), mass_matrix=np.eye(1)), [UP]),
            sml.UnsupportedError,
            "problem must have no mass_matrix: a jump leaves the constraints",
        ),
        (
            lambda: sml.solve(
                JumpProblem(sml.SDEProblem(decay, decay, [1.0], (0, 1)), [UP]), engine="native"
            ),
            sml.UnsupportedError,
            'engine="native" has no JumpProblem of an SDEProblem; engine="julia" has',
        ),
        (
            lambda: sml.solve(JumpProblem(ODE, [UP]), engine="torch"),
            sml.UnsupportedError,
            'engine="torch" has no JumpProblem of an ODEProblem; engine="native" and '
            'engine="julia" have',
        ),
        (
            lambda: sml.solve(JumpProblem(ODE, [Jump(1.0, lambda u, p, t: u[0])]), engine="native"),
            sml.CaptureError,
            "affect of jumps[0] must return the new state, of u's shape (1,), but returned ",
        ),
        (
            lambda: sml.solve(JumpProblem(ODE, [Jump(lambda u, p, t: u, decay)]), engine="native"),
            sml.CaptureError,
            "the rate of jumps[0] must return one number, but returned shape (1,)",
        ),
        (
            lambda: sml.solve(JumpProblem(ODE, [UP]), engine="native", save_noise=True),
            ValueError,
            "save_noise has no meaning for jumps in an ODEProblem: it has no noise",
        ),
        (
            lambda: sml.gradient(JumpProblem(ODE, [UP]), lambda u: u.sum(), engine="native"),
            sml.UnsupportedError,
            "there are no derivatives of the solution of a JumpProblem of an ODEProblem yet",
        ),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_which_rates_vary():
    """Those of the state and of the time, by a leap, too; not those of parameters."""
    rates = [
        lambda u, p, t: p["a"] ** 2,
        lambda u, p, t: torch.where(u[0] > 1.0, 3.0, 2.0),
        "a",
        lambda u, p, t: torch.where(t > 0.5, 3.0, 2.0),
    ]
    jumps = [*(Jump(rate, lambda u, p, t: u) for rate in rates), sml.Reaction(1.0, {0: 1})]
    groups = JumpProblem(ODE, jumps).captured_jumps.groups
    assert {group.varying: group.numbers for group in groups} == {True: (1, 3, 4), False: (0, 2)}


def test_what_it_is():
    problem = JumpProblem(ODE, [UP])
    assert isinstance(problem, JumpProblem) and type(problem) is sml.JumpDiffusionProblem
    assert repr(problem) == f"JumpProblem({ODE!r}, 1 jump)"
    assert problem.problem.u0 is ODE.u0 and problem.jumps == (UP,)
    assert problem.remake(u0=[0.5]).problem.u0.tolist() == [0.5]  # no whole number
