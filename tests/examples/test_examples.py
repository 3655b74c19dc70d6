"""The examples in their short form, with what each has to show."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import image
from scipy import stats

matplotlib.use("Agg")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(tmp_path, monkeypatch):
    """example(name): the module of that script; pictures go to a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    yield lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"))
    matplotlib.pyplot.close("all")


def assert_picture(name):
    pixels = image.imread(f"output/{name}.png")
    assert min(pixels.shape[:2]) > 300
    assert pixels.std() > 0.02  # not a blank page


def test_lotka_volterra_ude(example):
    (outcome,) = example("lotka_volterra_ude")["main"](["--short", "--engine", "native"])
    assert outcome.mse < 1e-4
    assert outcome.error < 5.0
    assert_picture("lotka_volterra_ude")


def test_lotka_volterra_ude_on_ten_seeds(example):
    """Within the data, and bounded beyond them: prey never exceed 9 in truth."""
    outcomes = [example("lotka_volterra_ude")["train"](seed, "native") for seed in range(10)]
    assert sum(outcome.mse <= 1e-4 for outcome in outcomes) >= 9
    assert all(outcome.extrapolated.u.max() < 15.0 for outcome in outcomes)
    assert all(outcome.extrapolated.u.min() > 0.0 for outcome in outcomes)


def test_lynx_hare_ude(example):
    whole, part = example("lynx_hare_ude")["main"](["--short", "--engine", "native"])
    # posterior means of the same model: Carpenter, Stan case study (2018)
    published = {"alpha": 0.55, "beta": 0.028, "gamma": 0.80, "delta": 0.024}
    errors = whole.rates.standard_errors()
    for name, value in published.items():
        assert abs(whole.rates.p[name] - value) < errors[name], name
    for comparison in (whole, part):
        assert comparison.scatter(1)[0] < comparison.scatter(0)[0]
    assert np.isfinite(part.scatter(0)[1])
    assert_picture("lynx_hare_ude")


def test_bouncing_ball(example):
    solution, fitted = example("bouncing_ball")["main"]()
    fall = np.sqrt(2.0 * 1.5 / 9.81)
    flights = 2.0 * fall * 0.8 ** np.arange(1, 4)
    np.testing.assert_allclose(
        solution.events[0].t, fall + np.cumsum([0.0, *flights]), rtol=0.0, atol=1e-9
    )
    assert fitted.p["restitution"] == pytest.approx(0.8, abs=0.005)
    assert fitted.u0[0] == pytest.approx([1.5, 0.0], abs=0.05)
    assert_picture("bouncing_ball")


def test_kepler(example):
    module = example("kepler")
    runs = module["main"](years=2000)
    errors = {alg: np.abs(module["energy"](run.u) + 0.5) for alg, run in runs.items()}
    for alg, bound in (("VelocityVerlet", 1e-4), ("KahanLi8", 1e-7)):
        assert errors[alg][-100:].max() < 1.1 * errors[alg][:1200].max() < 1.1 * bound
    assert errors["RK4"][-1] > 1e-3 > 10 * errors["RK4"][:1200].max()
    assert_picture("kepler")


def test_spiral(example):
    error, timed = example("spiral")["main"](["--short"])
    assert error < 1.0  # one solve over all time, after short training; the spiral is 2 wide
    losses = [loss for _, loss in timed.values()]
    assert {"native", "torch"} <= timed.keys()
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)
    assert_picture("spiral")


def test_robertson_fit(example):
    result = example("robertson_fit")["main"](["--short", "--engine", "native"])
    for name, value in {"k1": 0.04, "k2": 3e7, "k3": 1e4}.items():
        assert result.p[name] == pytest.approx(value, rel=0.01), name
    assert result.data[0].values[:, 1].max() < 5e-5
    assert_picture("robertson_fit")


def test_robertson_fit_on_other_noise(example):
    script = example("robertson_fit")
    for seed in (1, 2, 3):
        result = script["fit"](*script["measured"](60, "native", seed), "native")
        for name, value in script["TRUE"].items():
            assert result.p[name] == pytest.approx(value, rel=0.01), (seed, name)


def test_discover_lotka_volterra(example):
    module = example("discover_lotka_volterra")
    (found,) = module["main"](["--short", "--engine", "native"])
    assert module["relative_error"](found) < 0.02
    assert_picture("discover_lotka_volterra")


def test_sparse_regression(example):
    table = example("sparse_regression")["main"](["--short"])
    for name, values in table.items():
        assert values[0, 0, 0] < 1e-5, name  # without noise
        assert values[0, 0, 1] == 0.0, name
    weak = table["weak form"][:, 0]
    assert weak[:, 0].max() < 0.05  # up to 5 % noise
    assert not weak[:, 1].any()
    assert_picture("sparse_regression")


def test_where_to_trust(example):
    on, off = example("where_to_trust")["main"](["--short", "--engine", "native"])
    for outcome in (on, off):
        inside, outside = outcome.reach.distance <= 1.0, outcome.reach.distance > 10.0
        assert np.median(outcome.error[inside]) < 0.2 * np.median(outcome.error[outside])
    assert 3.0 < on.reach.leaves < 3.3
    assert_picture("where_to_trust")


def test_robustness(example):
    known, neural, trained = example("robustness")["main"](["--short", "--engine", "native"])
    assert known.errors[0] < 0.2 * neural.errors[0]
    assert trained.report.growth[-1] < neural.report.growth[-1]
    assert known.report.growth[-1] == pytest.approx(1.945, rel=0.1)  # of the true equations
    assert_picture("robustness")


def test_bayesian_lynx_hare(example):
    pytest.importorskip("nutpie")
    found = example("bayesian_lynx_hare")["main"](["--short", "--engine", "native"])
    assert list(found) == ["deep ensemble", "NUTS", "SGLD", "Laplace", "four rates, NUTS"]
    for name in ("NUTS", "SGLD", "Laplace"):
        assert found[name].calibration(0.9) > 0.85, name
    assert found["NUTS"].noise.mean() == pytest.approx(0.23, abs=0.06)
    assert_picture("bayesian_lynx_hare")


def test_deep_bsde(example):
    found = example("deep_bsde")["main"](["--short"])
    errors = {each.name: each.error for each in found}
    assert errors["Allen-Cahn"] < 0.02
    assert errors["Hamilton-Jacobi-Bellman"] < 0.002  # it begins at 0.0008, but with z = 0
    assert found[1].losses[-30:].mean() < 0.9 * found[1].losses[:30].mean()
    assert errors["Black-Scholes, default risk"] < 0.02
    assert found[0].known == pytest.approx(0.0528, rel=0.002)  # published: Han, Jentzen, E (2018)
    assert found[1].known == pytest.approx(4.5901, rel=1e-4)
    assert_picture("deep_bsde")


def test_the_published_price_under_default_risk(example):
    """57.300, which Han, Jentzen and E (2018) have from multilevel Picard iteration, by 1000 such
    runs of level 3 (E, Hutzenthaler, Jentzen and Kruse, J. Sci. Comput. 79 (2019) 1534-1571); and
    the mean of the cheapest share alone, which SciML's HighDimPDE has as 60.781."""
    module, random = example("deep_bsde"), np.random.default_rng(1)
    model = module["black_scholes"]()

    def driver(u):
        return model.f(None, torch.as_tensor(u), None, 0.0).numpy()

    def moved(x, dt):
        noise = random.standard_normal(x.shape)
        return x * np.exp((0.02 - 0.2**2 / 2.0) * dt + 0.2 * np.sqrt(dt) * noise)

    def picard(level, t, x):
        """Values at times t, (n, 1), and points x, (n, d)."""
        if level == 0:
            return np.zeros(len(x))
        many = 3**level
        end = moved(np.repeat(x, many, axis=0), np.repeat(1.0 - t, many, axis=0)).min(axis=1)
        found = end.reshape(-1, many).mean(axis=1)
        for below in range(level):
            many = 3 ** (level - below)
            left = np.repeat(1.0 - t, many, axis=0)
            part = left * random.random(left.shape)
            later, points = 1.0 - left + part, moved(np.repeat(x, many, axis=0), part)
            change = driver(picard(below, later, points))
            if below:
                change -= driver(picard(below - 1, later, points))
            found += (left[:, 0] * change).reshape(-1, many).mean(axis=1)
        return found

    start, now = np.full((1000, 100), 100.0), np.zeros((1000, 1))
    known = module["CASES"]["Black-Scholes, default risk"][1]()
    assert known == 57.3
    assert picard(3, now, start).mean() == pytest.approx(known, abs=0.1)
    cheapest = [moved(start, now + 1.0).min(axis=1).mean() for _ in range(100)]
    assert np.mean(cheapest) == pytest.approx(60.781, abs=0.06)


def test_recurrent_networks(example):
    errors, outcomes = example("recurrent_networks")["main"](["--short"])
    orders = {alg: np.log2(coarse / fine) for alg, (coarse, fine) in errors.items()}
    assert orders["Euler"] == pytest.approx(1.0, abs=0.2)
    assert orders["RK4"] == pytest.approx(4.0, abs=0.5)
    assert max(errors["ODE"]) < 1e-8
    counted, stepped, ode = (outcome.error for outcome in outcomes)
    assert ode < 0.5 * stepped < stepped < counted
    assert_picture("recurrent_networks")


def test_mechanics_networks(example):
    found = example("mechanics_networks")["main"](["--short"])["pendulum"]
    drift = {outcome.name: abs(outcome.trend) for outcome in found}
    assert all(outcome.error < 5e-3 for outcome in found)
    for name in ("Hamiltonian network", "Lagrangian network"):
        assert drift[name] < 0.05 * drift["neural ODE"], name
    assert_picture("mechanics_networks")


def test_data_scarcity(example):
    found = example("data_scarcity")["main"](["--short"])
    universal, neural = (np.median(values, axis=1) for values in found.values())
    assert (universal < 0.1).all()
    assert (universal < 0.2 * neural).all()
    assert_picture("data_scarcity")


def test_koopman(example):
    module = example("koopman")
    (found, known), (asked, values, single, _) = module["main"](["--short"])
    nearest = {
        name: [np.abs(each - value).min() for value in known] for name, each in found.items()
    }
    assert max(nearest["autoencoder"]) < 0.02
    assert max(nearest["DMD"]) > 0.3
    assert max(nearest["EDMD, quadratics"]) < 1e-3
    exact = module["frequency"](asked)
    assert np.abs(np.abs(values.imag) - exact).mean() < 0.04
    assert np.abs(np.abs(single.imag).max() - exact).mean() > 0.06
    assert_picture("koopman")


def test_normalizing_flow(example):
    outcomes = example("normalizing_flow")["main"](["--short"])
    for outcome in outcomes:
        assert -0.05 < outcome.best - outcome.likelihood < 0.4, outcome.density.name
    assert_picture("normalizing_flow")


def test_universal_approximation(example):
    found = example("universal_approximation")["main"](["--short"])
    last = {
        target: {name: rows[-1][1] for name, rows in of.items()} for target, of in found.items()
    }
    assert last["exp(sin πx)"]["Fourier"] < 1e-8
    for target in found:  # polynomials of one degree, in two bases
        assert last[target]["Chebyshev"] == pytest.approx(last[target]["Legendre"], rel=1e-6)
    coefficients, errors = np.array(found["1 / (1 + 25x²)"]["Chebyshev"]).T
    rate = np.log(errors[-2] / errors[-1]) / (coefficients[-1] - coefficients[-2])
    # Trefethen (2013), theorem 8.2: as rho^-degree, rho = (1 + sqrt 26) / 5
    assert rate == pytest.approx(np.log((1.0 + np.sqrt(26.0)) / 5.0), rel=0.1)
    assert_picture("universal_approximation")


def test_pinn(example):
    found = {each.name: each.error for each in example("pinn")["main"](["--short"])}
    assert found["Poisson"] < 1e-3
    assert found["Burgers"] < 0.3
    assert found["viscosity"] < 0.3
    assert_picture("pinn")


def test_learned_pde(example):
    for outcome in example("learned_pde")["main"](["--short"]):
        np.testing.assert_allclose(outcome.taps, [1.0, -2.0, 1.0], rtol=0.03)
        assert outcome.error < 0.01
    assert_picture("learned_pde")


def test_navier_stokes_closure(example):
    """The scheme itself is tested below; here, that a closure helps on a flow not seen."""
    outcome = example("navier_stokes_closure")["main"](["--short"])
    assert outcome.error_with[0, -1] < 0.9 * outcome.error_without[0, -1]
    assert_picture("navier_stokes_closure")


def test_a_vortex_that_only_decays(example):
    """Taylor and Green's: an eigenfunction, so that nothing is carried."""
    module = example("navier_stokes_closure")
    n, t = 16, 5.0
    x = 2.0 * np.pi * np.arange(n) / n
    w = np.sin(x)[:, None] * np.sin(x)[None, :]
    found = module["run"](module["vorticity_equation"](n), w, [t]).u[-1]
    rate = module["NU"] * 2.0 * 4.0 * np.sin(np.pi / n) ** 2 / (2.0 * np.pi / n) ** 2
    np.testing.assert_allclose(found, np.exp(-rate * t) * w, atol=1e-5)


def test_latent_ode(example):
    found = example("latent_ode")["main"](["--short"])
    assert found["latent ODE, GRU"].between < 1.0  # the spirals are 10 wide
    assert found["latent ODE, ODE-RNN"].between < 1.0
    assert found["GRU with decay"].between < 0.6
    assert max(one.behind for one in found.values()) < 2.0
    assert_picture("latent_ode")


def test_neural_sde(example):
    spiral, sun, predicted = example("neural_sde")["main"](["--short"])
    mean, variance = spiral.errors  # the means are 2 wide, the variances 1
    assert mean < 0.2
    assert variance < 0.15
    scores = {name: one.scores(sun) for name, one in predicted.items()}
    assert sun.train.shape == (44, 178, 1)
    assert scores["AR(9)"][0] < scores["AR(2)"][0] < scores["mean of 1700 to 1920"][0]
    assert np.isfinite(scores["latent SDE"]).all()
    assert scores["neural SDE"][0] < scores["mean of 1700 to 1920"][0]
    assert_picture("neural_sde")


def test_gene_bursts(example):
    """Averages of the path against the gamma distribution, with the errors of independent times."""
    sol, sample = example("gene_bursts")["main"](["--short"])
    assert abs(len(sol.events[0].t) - 1200) < 4.0 * np.sqrt(1200)
    assert abs(sample.mean() - 60.0) < 4.0 * 20.0 * np.sqrt(3.0 / len(sample))
    assert stats.kstest(sample, "gamma", args=(3.0, 0.0, 20.0)).pvalue > 0.01
    assert_picture("gene_bursts")


def test_stochastic_lorenz(example):
    """Ito's identities, and the mean of z against a plain Euler-Maruyama method."""
    found, errors = example("stochastic_lorenz")["main"](["--short"])
    assert abs(found[0] - 16.0 / 20.0) < 4.0 * errors[0] < 0.5
    assert abs(found[1]) < 4.0 * errors[1] < 0.5
    rng, dt, n = np.random.default_rng(0), 1e-3, 300
    x, y, z = np.array([-8.0, -8.0, 27.0])[:, None] * np.ones(n)
    total = np.zeros(n)
    for k in range(20_000):
        dw = 4.0 * np.sqrt(dt) * rng.standard_normal((3, n))
        x, y, z = (
            x + 10.0 * (y - x) * dt + dw[0],
            y + (x * (28.0 - z) - y) * dt + dw[1],
            z + (x * y - 8.0 / 3.0 * z) * dt + dw[2],
        )
        total += z if k >= 10_000 else 0.0
    mean = total / 10_000
    assert abs(found[2] - mean.mean()) < 4.0 * np.hypot(errors[2], mean.std() / np.sqrt(n)) < 0.5
    assert_picture("stochastic_lorenz")


@pytest.mark.julia
def test_jump_diffusion(example):
    price, error, exact = example("jump_diffusion")["main"](["--short"])
    assert (np.abs(price - exact) < 4.0 * error).all() and (error < 0.01).all()
    assert_picture("jump_diffusion")
