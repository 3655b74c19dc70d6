"""Posteriors against the closed form of a model that is linear in its unknowns."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import pysciml as sml
from pysciml.datasets import lynx_hare
from pysciml.discover import Normal, deep_ensemble, laplace, nuts, sgld
from pysciml.discover.posterior import split_rhat
from pysciml.train import LBFGS, Gaussian, positive

FAST = {"engine": "native", "abstol": 1e-9, "reltol": 1e-9}
T = np.linspace(0.1, 2.0, 20)
SIGMA = 0.2
PRIOR = {"p[0]": Normal(0.0, 2.0), "p[1]": Normal(1.0, 0.5)}


def ramp(u, p, t):
    """u = 1 + p[0] t + p[1] t^2 / 2"""
    return p[0] + p[1] * t + 0.0 * u


PROBLEM = sml.ODEProblem(ramp, [1.0], (0.0, 2.0), [0.5, 0.0])
DESIGN = np.stack([T, T**2 / 2.0], axis=1)
Y = 1.0 + DESIGN @ [0.7, -0.4] + SIGMA * np.random.default_rng(0).standard_normal(T.size)
DATA = T, Y[:, None]


def exact():
    """Mean and covariance of the posterior, and the log evidence."""
    mean0, cov0 = np.array([0.0, 1.0]), np.diag([2.0**2, 0.5**2])
    cov = np.linalg.inv(np.linalg.inv(cov0) + DESIGN.T @ DESIGN / SIGMA**2)
    mean = cov @ (np.linalg.inv(cov0) @ mean0 + DESIGN.T @ (Y - 1.0) / SIGMA**2)
    marginal = multivariate_normal(
        1.0 + DESIGN @ mean0, DESIGN @ cov0 @ DESIGN.T + SIGMA**2 * np.eye(T.size)
    )
    return mean, cov, marginal.logpdf(Y)


def assert_moments(posterior, mean_within, cov_within):
    mean, cov, _ = exact()
    draws = posterior.p.reshape(-1, 2)
    sd = np.sqrt(np.diag(cov))
    assert np.abs((draws.mean(axis=0) - mean) / sd).max() < mean_within
    np.testing.assert_allclose(np.cov(draws.T), cov, atol=cov_within * sd.max() ** 2)


def test_laplace_is_exact_here():
    found = laplace(PROBLEM, DATA, likelihood=Gaussian(SIGMA), prior=PRIOR, samples=4000, **FAST)
    mean, _, evidence = exact()
    assert list(found.mode.values()) == pytest.approx(mean.tolist(), rel=1e-6)
    assert found.diagnostics["log_evidence"] == pytest.approx(evidence, abs=1e-6)
    assert_moments(found, 0.05, 0.06)
    assert found.quantities.keys() == {"p[0]", "p[1]"}
    again = laplace(PROBLEM, DATA, likelihood=Gaussian(SIGMA), prior=PRIOR, samples=4000, **FAST)
    assert (again.p == found.p).all()


def test_langevin_dynamics():
    settings = {"likelihood": Gaussian(SIGMA), "prior": PRIOR, "optimisers": LBFGS(50), **FAST}
    found = sgld(PROBLEM, DATA, step=0.1, draws=500, burn_in=200, thin=5, **settings)
    assert found.p.shape == (4, 500, 2)
    assert_moments(found, 0.15, 0.15)
    assert found.diagnostics["failed_moves"] == 0
    assert found.diagnostics["largest_rhat"] < 1.05


def test_langevin_dynamics_on_some_trajectories_at_a_time():
    """Two halves of the data: the mean stays, the variance grows with the noise of the gradient."""
    halves = [(T[::2], Y[::2, None]), (T[1::2], Y[1::2, None])]
    settings = {"likelihood": Gaussian(SIGMA), "prior": PRIOR, "optimisers": LBFGS(50), **FAST}
    found = sgld(
        PROBLEM, halves, step=0.02, draws=400, burn_in=200, thin=10, chains=2, batch=1, **settings
    )
    assert_moments(found, 0.3, 0.35)


def test_nuts():
    pytest.importorskip("nutpie")
    settings = {"likelihood": Gaussian(SIGMA), "prior": PRIOR, "optimisers": LBFGS(50), **FAST}
    found = nuts(PROBLEM, DATA, draws=500, tune=200, **settings)
    assert_moments(found, 0.1, 0.1)
    assert found.diagnostics["divergences"] == 0
    assert found.diagnostics["largest_rhat"] < 1.02
    again = nuts(PROBLEM, DATA, draws=500, tune=200, **settings)
    assert (again.p == found.p).all()


def test_where_there_is_no_solution_the_chain_turns_back():
    """u' = p u^2 explodes before t = 1 for p > 1; data say p is about 0.9, give or take 0.3."""
    pytest.importorskip("nutpie")
    problem = sml.ODEProblem(lambda u, p, t: p * u**2, [1.0], (0.0, 1.0), 0.5)
    data = [0.3, 0.3, 1.0], [[1.37], [1.37], [np.nan]]  # the solve goes on to t = 1
    prior = Normal(0.9, 0.3)
    found = nuts(problem, data, likelihood=Gaussian(5.0), prior=prior, draws=300, tune=200, **FAST)
    assert found.p.max() < 1.0
    assert found.p.mean() < 0.9
    assert found.diagnostics["divergences"] > 0
    walked = sgld(
        problem, data, likelihood=Gaussian(5.0), prior=prior, step=0.3, draws=300, chains=2, **FAST
    )
    assert walked.p.max() < 1.0
    assert walked.diagnostics["failed_moves"] > 0


def test_noise_is_inferred():
    """The posterior of sigma, for a flat mean: by quadrature."""
    found = laplace(
        PROBLEM, DATA, prior={**PRIOR, "sigma": Normal(math.log(0.3), 1.0)}, samples=4000, **FAST
    )
    residual = Y - 1.0 - DESIGN @ [found.mode["p[0]"], found.mode["p[1]"]]
    log_sigma = np.linspace(-3.0, 0.5, 4001)
    log_density = (
        -T.size * log_sigma
        - (residual @ residual) / 2.0 * np.exp(-2.0 * log_sigma)
        - (log_sigma - math.log(0.3)) ** 2 / 2.0
    )
    assert np.log(found.mode["sigma[0]"]) == pytest.approx(
        log_sigma[log_density.argmax()], abs=2e-3
    )
    assert np.log(found.noise).std() == pytest.approx(1.0 / math.sqrt(2 * T.size + 1), rel=0.05)


def test_nuts_on_lynx_and_hare_is_stans():
    """Posterior means and deviations: B. Carpenter, Predator-prey population dynamics (2018),
    https://mc-stan.org/users/documentation/case-studies/lotka-volterra-predator-prey.html,
    "Comparing the fitted model to data"; deviations from the 80 % intervals that it gives."""
    pytest.importorskip("nutpie")
    pelts = lynx_hare()

    def f(u, p, t):
        hare, lynx = u
        return [
            (p["alpha"] - p["beta"] * lynx) * hare,
            (p["delta"] * hare - p["gamma"]) * lynx,
        ]

    rates = {"alpha": 0.55, "beta": 0.028, "gamma": 0.80, "delta": 0.024}
    problem = sml.ODEProblem(f, pelts.u[0], (0.0, 20.0), rates)
    found = nuts(
        problem,
        (pelts.t - 1900.0, pelts.u),
        likelihood="lognormal",
        prior={**{k: Normal(None, 0.5) for k in rates}, "sigma": Normal(-1.0, 1.0)},
        transforms=positive,
        fit_u0=True,
        u0_transform=positive,
        draws=250,
        tune=250,
        chains=2,
        engine="native",
    )
    assert found.diagnostics["largest_rhat"] < 1.05
    published = {
        "alpha": (0.55, 0.07),
        "beta": (0.028, 0.004),
        "gamma": (0.80, 0.09),
        "delta": (0.024, 0.004),
    }
    for name, (mean, sd) in published.items():
        assert found.quantities[name].mean() == pytest.approx(mean, abs=0.25 * sd), name
        # deviations are published to one digit, and 500 draws know them to some per cent
        assert found.quantities[name].std() == pytest.approx(sd, rel=0.35), name
    for i in range(2):
        assert found.quantities[f"sigma[{i}]"].mean() == pytest.approx(0.25, abs=0.03)


# -- predictions ----
@pytest.fixture(scope="module")
def posterior():
    return laplace(PROBLEM, DATA, likelihood=Gaussian(SIGMA), prior=PRIOR, samples=2000, **FAST)


def test_predictions(posterior):
    t = np.array([0.5, 1.0, 3.0])
    basis = np.stack([t, t**2 / 2.0], axis=1)
    mean, cov, _ = exact()
    predicted = posterior.predict(t)
    assert predicted.values.shape == (2000, 3, 1)
    sd = np.sqrt(np.einsum("ij,jk,ik->i", basis, cov, basis))
    np.testing.assert_allclose(predicted.mean[:, 0], 1.0 + basis @ mean, atol=0.1 * sd.max())
    np.testing.assert_allclose(predicted.std[:, 0], sd, rtol=0.06)
    observed = posterior.predict(t, noise=True)
    np.testing.assert_allclose(observed.std[:, 0], np.hypot(sd, SIGMA), rtol=0.06)
    low, high = predicted.quantile([0.025, 0.975])
    np.testing.assert_allclose((high - low)[:, 0], 2.0 * 1.96 * sd, rtol=0.08)
    one = sml.solve(posterior.problem(7), engine="native", saveat=[1.0], abstol=1e-9, reltol=1e-9)
    np.testing.assert_allclose(one.u[0], predicted.values[7, 1], rtol=1e-6)


def test_calibration(posterior):
    t = np.linspace(0.01, 2.0, 2000)
    truth = 1.0 + 0.7 * t - 0.4 * t**2 / 2.0
    new = truth + SIGMA * np.random.default_rng(5).standard_normal(t.size)
    assert posterior.calibration(0.9, (t, new)) == pytest.approx(0.9, abs=0.03)
    assert posterior.calibration(0.9) > 0.7


def test_plot(posterior):
    (ax,) = posterior.plot(until=3.0).axes
    assert ax.get_title() == "laplace, 2000 samples, bands of 90%"
    assert "Posterior by laplace: 1 chains of 2000" in repr(posterior)


@pytest.mark.parametrize("likelihood", ["lognormal", "poisson"])
def test_noise_of_other_likelihoods(likelihood):
    problem = sml.ODEProblem(lambda u, p, t: -p * u, [50.0], (0.0, 1.0), 0.5)
    t = np.linspace(0.1, 1.0, 10)
    counts = np.round(50.0 * np.exp(-0.5 * t))[:, None] + np.array([1, -1] * 5)[:, None]
    found = laplace(problem, (t, counts), likelihood=likelihood, samples=3000, **FAST)
    states, seen = found.predict(t), found.predict(t, noise=True)
    noise = np.sqrt((seen.std**2 - states.std**2)[:, 0])
    expected = np.sqrt(states.mean[:, 0])
    if likelihood == "lognormal":
        expected = states.mean[:, 0] * np.sqrt(np.mean(found.noise**2))
    np.testing.assert_allclose(noise, expected, rtol=0.1)


def test_members_of_a_bootstrap_scatter_as_they_should():
    """Over members refitted to rows drawn again: the standard error of least squares."""
    found = deep_ensemble(
        [PROBLEM] * 60, DATA, resample=True, optimisers=LBFGS(30), loss=Gaussian(SIGMA), **FAST
    )
    assert found.p.shape == (1, 60, 2)
    cov = SIGMA**2 * np.linalg.inv(DESIGN.T @ DESIGN)
    np.testing.assert_allclose(found.p[0].std(axis=0), np.sqrt(np.diag(cov)), rtol=0.3)
    assert found.predict([1.0], noise=True).std[0, 0] == pytest.approx(SIGMA, rel=0.2)


def test_members_differ_where_there_are_no_data():
    network, _ = sml.nn.functional(sml.nn.mlp([1, 8, 1]))
    first = sml.ODEProblem(
        lambda u, p, t: network(u, p),
        [0.2],
        (0.0, 2.0),
        sml.nn.functional(sml.nn.mlp([1, 8, 1]))[1],
    )
    t = np.linspace(0.0, 2.0, 21)
    u = 1.0 / (1.0 + 4.0 * np.exp(-t))
    members = deep_ensemble(
        lambda seed: first.remake(p=sml.nn.functional(sml.nn.mlp([1, 8, 1], seed=seed))[1]),
        (t, u[:, None]),
        members=4,
        optimisers=[sml.train.Adam(0.02, 100), LBFGS(60)],
        engine="native",
    )
    assert len(members) == 4
    inside, outside = members.predict(t[1:]), members.predict(np.linspace(0.0, 12.0, 50)[1:])
    assert inside.std.max() < 0.02
    assert np.abs(inside.mean[:, 0] - u[1:]).max() < 0.02
    assert outside.std[-1, 0] > 3.0 * inside.std.max()
    with pytest.raises(ValueError, match="noise=True needs a likelihood"):
        members.predict(t, noise=True)


def test_split_rhat_is_that_of_the_book():
    random = np.random.default_rng(0)
    same = random.standard_normal((4, 1000))
    assert split_rhat(same) == pytest.approx(1.0, abs=0.01)
    apart = same + np.array([0.0, 0.0, 1.0, 1.0])[:, None]
    # within 1, between means of variance 0.25 * 8/7: sqrt(1 + 2/7)
    assert split_rhat(apart) == pytest.approx(math.sqrt(1.0 + 0.25 * 8.0 / 7.0), abs=0.03)
    drifting = same + np.linspace(0.0, 3.0, 1000)
    assert split_rhat(drifting) > 1.2


WRONG_CALLS = [
    (lambda: laplace(PROBLEM, DATA, likelihood="mse"), ValueError, "likelihood must be"),
    (lambda: laplace(PROBLEM, DATA, prior=1.0), TypeError, "prior must be a Normal(...); got 1.0"),
    (
        lambda: laplace(PROBLEM, DATA, prior={"q": Normal()}),
        ValueError,
        "prior must name unknowns; got 'q'",
    ),
    (
        lambda: laplace(PROBLEM, DATA, prior={"p": 2.0}),
        TypeError,
        "prior['p'] must be a Normal(...); got 2.0",
    ),
    (lambda: Normal(0.0, 0.0), ValueError, "sd must be a finite number > 0; got 0.0"),
    (lambda: sgld(PROBLEM, DATA, step=0.0), ValueError, "step must be a finite number > 0"),
    (lambda: sgld(PROBLEM, DATA, draws=0), ValueError, "draws must be a whole number >= 1; got 0"),
    (
        lambda: sgld(PROBLEM, DATA, batch=2, engine="native"),
        ValueError,
        "batch must be at most the number of trajectories, 1; got 2",
    ),
    (lambda: deep_ensemble([], DATA), TypeError, "problem must be a function seed -> ODEProblem"),
    (lambda: deep_ensemble([ramp], DATA), TypeError, "problem must be a function seed ->"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_times_before_the_start(posterior):
    with pytest.raises(ValueError, match="t must be increasing times from 0 on"):
        posterior.predict([-1.0, 1.0])


def test_nutpie_is_an_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nutpie", None)
    with pytest.raises(
        ImportError, match=r"nuts\(\) needs nutpie: pip install 'pysciml\[discover\]'"
    ):
        nuts(PROBLEM, DATA)
