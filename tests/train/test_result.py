"""Results: covariance against closed forms, save and load, plots, and the record."""

from __future__ import annotations

import json

import matplotlib
import numpy as np
import pytest
from scipy.optimize import curve_fit

import pysciml as sml
from pysciml import train
from pysciml.train import LBFGS, FitResult, Gaussian

matplotlib.use("Agg")

TIGHT = {"engine": "native", "abstol": 1e-11, "reltol": 1e-11, "progress": False}


@pytest.fixture(scope="module")
def linear(ramps):
    """u = u0 + p0 t + p1 t^2/2 with noise, and its design matrix."""
    t = np.linspace(0.1, 2.0, 25)
    design = np.stack([t, 0.5 * t**2], axis=1)
    u = 1.0 + design @ [0.7, -0.2] + 0.05 * np.random.default_rng(2).standard_normal(25)
    return ramps, t, u, design


# -- covariance ----
def test_covariance_of_a_linear_model_is_that_of_least_squares(linear):
    problem, t, u, design = linear
    result = sml.fit(problem, (t, u), optimisers=LBFGS(100), **TIGHT)
    best, squares, _, _ = np.linalg.lstsq(design, u - 1.0, rcond=None)
    np.testing.assert_allclose(result.p, best, rtol=1e-6)
    expected = squares[0] / (25 - 2) * np.linalg.inv(design.T @ design)
    np.testing.assert_allclose(result.covariance(), expected, rtol=1e-6)
    errors = result.standard_errors()
    assert list(errors) == ["p[0]", "p[1]"]
    np.testing.assert_allclose(list(errors.values()), np.sqrt(np.diag(expected)), rtol=1e-6)


def test_covariance_with_weights_and_known_noise(linear):
    problem, t, u, design = linear
    weights = np.linspace(0.5, 2.0, 25)
    result = sml.fit(problem, (t, u), weights=weights, loss=Gaussian(0.1), **TIGHT)
    expected = np.linalg.inv(design.T @ (design * weights[:, None]) / 0.1**2)
    np.testing.assert_allclose(result.covariance(), expected, rtol=1e-7)


def test_covariance_with_initial_state_and_fitted_noise(linear):
    problem, t, u, design = linear
    stages = [train.Adam(0.02, 200), LBFGS(200, tolerance=1e-14)]
    result = sml.fit(problem, (t, u), fit_u0=True, loss="gaussian", optimisers=stages, **TIGHT)
    full = np.column_stack([design, np.ones(25)])
    expected = result.noise[0] ** 2 * np.linalg.inv(full.T @ full)
    np.testing.assert_allclose(result.covariance(), expected, rtol=1e-6)
    assert list(result.quantities) == ["p[0]", "p[1]", "u0[0]"]


def test_covariance_is_in_the_units_of_the_parameters(decays, decay_data):
    """A transform does not change it; SciPy's curve_fit finds the same."""
    t, y = decay_data

    def model(t, k):
        return (np.exp(-k * t)[:, None] * [2.0, 1.0]).ravel()

    _, expected = curve_fit(model, t, y.ravel(), p0=[1.0], ftol=1e-14, xtol=1e-14)
    for transform in (None, train.positive, train.bounded(0.0, 10.0)):
        result = sml.fit(decays, (t, y), transforms=transform, optimisers=LBFGS(50), **TIGHT)
        np.testing.assert_allclose(result.covariance(), expected, rtol=1e-4)


def test_information_of_counts_and_of_log_normal_noise(decays):
    """For u = u0 exp(-k t): du/dk = -t u, so I = sum t^2 u and sum t^2 / sigma^2."""
    t = np.linspace(0.1, 1.0, 10)
    start = decays.remake(u0=[200.0, 100.0])
    mean = np.exp(-1.5 * t)[:, None] * [200.0, 100.0]
    counts = np.random.default_rng(0).poisson(mean)
    result = sml.fit(start, (t, counts), loss="poisson", optimisers=LBFGS(50), **TIGHT)
    fitted = np.exp(-result.p["k"] * t)[:, None] * [200.0, 100.0]
    information = (t[:, None] ** 2 * fitted).sum()
    np.testing.assert_allclose(result.covariance(), [[1.0 / information]], rtol=1e-6)
    result = sml.fit(start, (t, mean), loss=train.LogNormal(0.2), optimisers=LBFGS(50), **TIGHT)
    information = 2 * (t**2).sum() / 0.2**2
    np.testing.assert_allclose(result.covariance(), [[1.0 / information]], rtol=1e-6)


def test_what_the_data_do_not_determine_is_named(decay_data):
    t, y = decay_data
    problem = sml.ODEProblem(
        lambda u, p, t: -(p["a"] + p["b"]) * u + 0.0 * p["c"], [2.0, 1.0], (0, 1),
        {"a": 0.5, "b": 0.6, "c": 1.0},
    )  # fmt: skip
    result = sml.fit(problem, (t, y), optimisers=LBFGS(20), **TIGHT)
    with pytest.raises(ValueError, match="the data say nothing about c"):
        result.covariance()
    result = sml.fit(problem, (t, y), fixed=["c"], optimisers=LBFGS(20), **TIGHT)
    with pytest.raises(ValueError, match="leave a combination of a, b undetermined"):
        result.covariance()
    result = sml.fit(problem, (t, y), fixed=["b", "c"], optimisers=LBFGS(20), **TIGHT)
    assert result.covariance().shape == (1, 1)


def test_a_covariance_needs_data_and_a_likelihood(linear):
    problem, t, u, _ = linear
    result = sml.fit(problem, (t[:2], u[:2]), optimisers=LBFGS(5), **TIGHT)
    with pytest.raises(ValueError, match="there are 2 observations and 2 quantities"):
        result.covariance()
    result = sml.fit(
        problem, (t, u), loss=lambda x, y: (x - y).abs().sum(), optimisers=LBFGS(5), **TIGHT
    )
    with pytest.raises(ValueError, match="needs MSE or a likelihood; the loss is a function"):
        result.covariance()


# -- files ----
@pytest.fixture(scope="module")
def fitted(lotka_volterra):
    problem, t, u = lotka_volterra
    data = [(t, u), (t[::2], u[::2])]
    u = u.copy()
    u[3, 0] = np.nan
    return problem, sml.fit(
        problem, data, fit_u0=True, loss="gaussian", optimisers=LBFGS(5), seed=7, **TIGHT
    )


def test_a_result_comes_back_from_its_file(fitted, tmp_path):
    problem, result = fitted
    result.covariance()
    path = result.save(tmp_path / "deep" / "lv.fit")
    assert path.name == "lv.fit.npz"
    back = FitResult.load(tmp_path / "deep" / "lv.fit", problem)
    assert back.p == result.p
    for name in ("p_flat", "u0", "noise"):
        np.testing.assert_array_equal(getattr(back, name), getattr(result, name))
    for name in ("loss", "validation", "start", "phase", "stage", "seconds"):
        np.testing.assert_array_equal(getattr(back.history, name), getattr(result.history, name))
    for name in ("loss", "message", "seed", "engine", "alg", "versions", "names", "quantities"):
        assert getattr(back, name) == getattr(result, name)
    for one, other in zip(back.residuals, result.residuals, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(back.covariance(), result.covariance())
    for one, other in zip(back.problems, result.problems, strict=True):
        np.testing.assert_array_equal(one.p_flat, other.p_flat)
        np.testing.assert_array_equal(one.u0, other.u0)
        assert one.tspan == other.tspan
    back.plot()


def test_nothing_in_the_file_is_pickled(fitted, tmp_path):
    _, result = fitted
    path = result.save(tmp_path / "result.npz")
    assert path.name == "result.npz"
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
        assert json.loads(str(file["facts"]))["seed"] == 7


def test_without_its_problem_a_result_still_has_its_numbers(fitted, tmp_path):
    _, result = fitted
    fresh = sml.fit(
        fitted[0], (result.data[0].t, result.data[0].values), optimisers=LBFGS(2), **TIGHT
    )
    back = FitResult.load(fresh.save(tmp_path / "result"))
    assert back.p == dict(fresh.p)
    with pytest.raises(ValueError, match=r"pass the problem, FitResult.load\(path, problem\)"):
        _ = back.problem
    with pytest.raises(ValueError, match=r"call covariance\(\) before save\(\)"):
        back.covariance()


def test_files_of_other_things_are_refused(fitted, ramps, tmp_path):
    _, result = fitted
    with pytest.raises(FileNotFoundError, match="there is no fit result at"):
        FitResult.load(tmp_path / "nowhere")
    path = result.save(tmp_path / "result")
    with pytest.raises(ValueError, match=r"4 parameters and u0 of shape \(2,\); got 2 parameters"):
        FitResult.load(path, ramps)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="is not a fit result of pysciml"):
        FitResult.load(tmp_path / "other.npz")


def test_networks_come_back_in_their_structure(tmp_path):
    apply, weights = sml.nn.functional(sml.nn.mlp([1, 3, 1]))
    problem = sml.ODEProblem(
        lambda u, p, t: apply(u, p["net"]) - p["k"] * u, [1.0], (0, 1), {"net": weights, "k": 1.0}
    )
    t = np.linspace(0.1, 1.0, 5)
    result = sml.fit(problem, (t, np.exp(-t)), optimisers=LBFGS(5), **TIGHT)
    back = FitResult.load(result.save(tmp_path / "net"), problem)
    assert back.p.keys() == {"net", "k"}
    np.testing.assert_array_equal(back.p["net"]["0.weight"], result.p["net"]["0.weight"])
    by_name = FitResult.load(tmp_path / "net").p
    assert by_name["net.0.weight[2, 0]"] == result.p["net"]["0.weight"][2, 0]


# -- what it shows ----
def test_the_plot_has_data_fit_residuals_and_loss(fitted):
    _, result = fitted
    figure = result.plot()
    over_time, residuals, losses = figure.axes
    lines = {line.get_label(): line for line in over_time.lines}
    np.testing.assert_array_equal(lines["prey"].get_xdata(), result.curves[0].t)
    np.testing.assert_array_equal(lines["prey"].get_ydata(), result.curves[0].y[:, 0])
    points = [line for line in residuals.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(points[0].get_ydata(), result.residuals[0][:, 0])
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), result.history.loss)
    assert losses.get_ylabel() == "loss"


def test_the_record_of_what_computed_it(fitted):
    _, result = fitted
    assert (result.seed, result.engine) == (7, "native")
    assert result.alg == "AutoVern7(Rodas5P)"
    assert {"python", "numpy", "torch", "numba", "pysciml"} <= result.versions.keys()
    assert repr(result).startswith("FitResult(loss ")


def test_curves_agree_with_a_solve(fitted):
    _, result = fitted
    curve = result.curves[1]
    solution = sml.solve(
        result.problems[1], engine="native", saveat=curve.t, abstol=1e-11, reltol=1e-11
    )
    np.testing.assert_allclose(curve.y, solution.u, rtol=1e-10)
    rows = np.searchsorted(curve.t, result.data[1].t)
    np.testing.assert_array_equal(result.fitted[1], curve.y[rows])
