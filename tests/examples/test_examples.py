"""The examples in their short form, with what each has to show."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import image

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
