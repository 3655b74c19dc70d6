"""Networks that solve an equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml import nn
from pysciml.models import PINN, RAD, Condition
from pysciml.train import BFGS, LBFGS, Adam, SSBroyden

UNIT = {"x": (0.0, 1.0), "y": (0.0, 1.0)}
WAVE = {"x": (-1.0, 1.0), "t": (0.0, 1.0)}


def train(model, adam=100, bfgs=200, data=None, lr=0.01, **options):
    stages = [Adam(lr, adam, "cosine"), BFGS(bfgs)]
    return model.fitted(sml.fit(model, data, optimisers=stages, progress=False, **options))


def relative(found, exact):
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def cole_hopf(x, t, nu):
    """Burgers' equation from -sin(pi x): C. Basdevant et al., Computers & Fluids 14 (1986) 23."""
    nodes, weights = np.polynomial.hermite.hermgauss(100)
    y = np.asarray(x)[..., None] - np.sqrt(4.0 * nu * np.asarray(t)[..., None]) * nodes
    kernel = weights * np.exp(-(1.0 + np.cos(np.pi * y)) / (2.0 * np.pi * nu))
    return -(kernel * np.sin(np.pi * y)).sum(-1) / kernel.sum(-1)


def poisson(u, x, p):
    source = 2.0 * math.pi**2 * torch.sin(math.pi * x["x"]) * torch.sin(math.pi * x["y"])
    return u.d("x", "x") + u.d("y", "y") + source


def burgers(u, x, p):
    return u.d("t") + u.value * u.d("x") - p["nu"] * u.d("x", "x")


def from_sine(n, x):
    """-sin(pi x) at t = 0, zero at x = -1 and 1."""
    return -torch.sin(math.pi * x["x"]) + x["t"] * (1.0 - x["x"] ** 2) * n


X, Y = np.meshgrid(np.linspace(0.0, 1.0, 31), np.linspace(0.0, 1.0, 31))
SINES = np.sin(np.pi * X) * np.sin(np.pi * Y)


def test_poisson_with_its_boundary_built_in():
    model = PINN(
        poisson,
        UNIT,
        network=nn.mlp([2, 16, 16, 1]),
        trial=lambda n, x: x["x"] * (1.0 - x["x"]) * x["y"] * (1.0 - x["y"]) * n,
        points=200,
    )
    found = train(model).predict(x=X, y=Y)
    assert relative(found, SINES) < 3e-4
    np.testing.assert_array_equal(found[0], 0.0)


def test_poisson_with_its_boundary_as_conditions():
    edges = [
        Condition(lambda u, x, p: u.value, 50, weight=100.0, **{name: end})
        for name in UNIT
        for end in (0.0, 1.0)
    ]
    model = PINN(poisson, UNIT, edges, network=nn.mlp([2, 16, 16, 1]), points=200)
    assert relative(train(model, 200).predict(x=X, y=Y), SINES) < 0.01


@pytest.fixture(scope="module")
def shock():
    nu = 0.1
    x, t = np.meshgrid(np.linspace(-1.0, 1.0, 41), np.linspace(0.0, 1.0, 21))
    return nu, x, t, cole_hopf(x, t, nu)


def test_burgers(shock):
    nu, x, t, exact = shock
    model = PINN(
        burgers, WAVE, network=nn.mlp([2, 16, 16, 1]), trial=from_sine, p={"nu": nu}, points=300
    )
    found = train(model, 100, 400, fixed=["p"])
    assert found.p["nu"].item() == nu
    assert relative(found.predict(x=x, t=t), exact) < 3e-3


def test_viscosity_from_data(shock):
    nu, *_ = shock
    random = np.random.default_rng(0)
    at = np.stack([random.uniform(-1.0, 1.0, 200), random.uniform(0.0, 1.0, 200)], axis=1)
    data = at, cole_hopf(at[:, 0], at[:, 1], nu)
    model = PINN(
        burgers, WAVE, network=nn.mlp([2, 16, 16, 1]), trial=from_sine, p={"nu": 0.3}, points=300
    )
    assert train(model, 100, 400, data).p["nu"].item() == pytest.approx(nu, rel=0.01)


def test_allen_cahn_against_the_method_of_lines():
    """u_t = 0.01 u_xx + 5 (u - u^3), periodic."""
    n, times = 128, np.linspace(0.0, 0.5, 11)
    h = 2.0 / n
    x = -1.0 + h * np.arange(n)

    def lines(u, p, t):
        second = torch.roll(u, 1) - 2.0 * u + torch.roll(u, -1)
        return 0.01 * second / h**2 + 5.0 * (u - u**3)

    problem = sml.ODEProblem(lines, 0.5 * np.cos(np.pi * x), (0.0, 0.5))
    exact = sml.solve(problem, "Tsit5", "native", saveat=times, abstol=1e-9, reltol=1e-9).u

    network = torch.nn.Sequential(nn.PeriodicFeatures(2, waves=2), nn.mlp([5, 12, 12, 1]))
    model = PINN(
        lambda u, x, p: u.d("t") - 0.01 * u.d("x", "x") - 5.0 * (u.value - u.value**3),
        {"x": (-1.0, 1.0), "t": (0.0, 0.5)},
        network=network,
        trial=lambda n, x: 0.5 * torch.cos(math.pi * x["x"]) + x["t"] * n,
        points=300,
        causal=1.0,
    )
    found = train(model, 100, 150).predict(x=x, t=times[:, None])
    assert relative(found, exact) < 0.01


def test_a_system_of_two_equations():
    """u' = v, v' = -u from (1, 0): a cosine and a negative sine."""
    start = Condition(lambda u, x, p: [u[0].value - 1.0, u[1].value], 1, t=0.0)
    model = PINN(
        lambda u, x, p: [u[0].d("t") - u[1].value, u[1].d("t") + u[0].value],
        {"t": (0.0, 3.0)},
        start,
        network=nn.mlp([1, 16, 2]),
        points=50,
    )
    t = np.linspace(0.0, 3.0, 20)
    found = train(model, 200, 300)
    np.testing.assert_allclose(
        found.predict(t=t), np.stack([np.cos(t), -np.sin(t)], axis=1), atol=2e-3
    )
    assert found.errors().shape == (4,)


def test_derivatives_are_those_of_the_solution():
    seen = {}

    def look(u, x, p):
        a, b = x["x"], x["y"]
        seen.update(
            {
                "x": u.d("x") - torch.cos(a) * b**3,
                "xx": u.d("x", "x") + torch.sin(a) * b**3,
                "xy": u.d("x", "y") - 3.0 * torch.cos(a) * b**2,
                "yx": u.d("y", "x") - u.d("x", "y"),
                "yyx": u.d("y", "y", "x") - 6.0 * torch.cos(a) * b,
                "yyyy": u.d("y", "y", "y", "y"),
            }
        )
        return u.value

    PINN(look, UNIT, trial=lambda n, x: torch.sin(x["x"]) * x["y"] ** 3 + 0.0 * n)
    for name, error in seen.items():
        np.testing.assert_allclose(error.detach(), 0.0, atol=1e-13, err_msg=name)


def constant(value):
    return lambda u, x, p: value + 0.0 * u.value


def loss(model, data=None):
    return model.fit_loss(data).value(torch.Generator().manual_seed(0)).item()


def test_the_loss_is_the_weighted_sum_of_mean_squares():
    model = PINN(
        lambda u, x, p: [2.0 + 0.0 * u.value, 3.0 + 0.0 * u.value],
        UNIT,
        [Condition(constant(0.5), weight=8.0, x=0.0)],
        trial=lambda n, x: 7.0 + 0.0 * n,
        points=10,
    )
    assert loss(model) == pytest.approx(4.0 + 9.0 + 8.0 * 0.25, rel=1e-14)
    data = [[0.5, 0.5], [0.1, 0.2], [0.3, 0.4]], [7.0, 4.0, np.nan]
    assert loss(model, data) == pytest.approx(15.0 + 9.0 / 2.0, rel=1e-14)


def test_causal_weights_fall_with_what_is_left_of_earlier_times():
    slices, epsilon, square = 32, 0.1, 4.0
    model = PINN(constant(2.0), {"t": (0.0, 1.0)}, points=slices * 8, causal=epsilon)
    expected = np.mean(square * np.exp(-epsilon * square * np.arange(slices)))
    assert loss(model) == pytest.approx(expected, rel=1e-12)
    kept = model.fit_loss().kept(torch.Generator()).item()
    assert kept == pytest.approx(square, rel=1e-12)


def test_adaptive_weights_become_the_inverse_of_their_terms():
    """mean square/(2 s) + log(s)/2 is least where s is the mean square."""
    model = PINN(
        constant(2.0),
        UNIT,
        [Condition(constant(0.1), x=0.0)],
        network=nn.mlp([2, 4, 1]),
        points=10,
        adaptive=True,
    )
    adam = sml.fit(model, optimisers=Adam(0.1, 400, "cosine"), fixed=["network"], progress=False).p[
        "log_variances"
    ]
    np.testing.assert_allclose(adam[:2], np.log([4.0, 0.01]), atol=0.01)
    held = sml.fit(model, optimisers=LBFGS(5), progress=False).p["log_variances"]
    np.testing.assert_array_equal(held, 0.0)


def test_gradients_of_terms_are_balanced():
    """u = w0 x + w1 y + b on the unit square, each coordinate scaled to (-1, 1)."""
    model = PINN(
        lambda u, x, p: u.d("x") - 3.0,
        UNIT,
        [Condition(lambda u, x, p: u.d("y") - 1.0, x=0.0)],
        network=torch.nn.Linear(2, 1, dtype=torch.float64),
        points=10,
        adaptive="gradient",
    )
    w0, w1 = 0.3, -0.2
    with torch.no_grad():
        model.network.weight.copy_(torch.tensor([[w0, w1]]))
    largest = abs(4.0 * (2.0 * w0 - 3.0))
    mean = abs(4.0 * (2.0 * w1 - 1.0)) / 3.0  # of three weights, of which one matters
    options = {"fixed": ["network"], "progress": False}
    found = sml.fit(model, optimisers=Adam(0.05, 400, "cosine"), **options).p["log_weights"]
    np.testing.assert_allclose(found, [0.0, np.log(largest / mean), 0.0], atol=1e-6)
    held = sml.fit(model, optimisers=LBFGS(5), progress=False)
    np.testing.assert_array_equal(held.p["log_weights"], 0.0)


def test_conditions_are_met_where_they_are_meant():
    where = []

    def keep(u, x, p):
        where.append({name: each.detach().numpy() for name, each in x.items()})
        return u.value

    PINN(constant(0.0), WAVE, Condition(keep, 64, t=0.25))
    np.testing.assert_array_equal(where[0]["t"], 0.25)
    counts, _ = np.histogram(where[0]["x"], np.linspace(-1.0, 1.0, 9))
    np.testing.assert_array_equal(counts, 8)  # a Sobol sequence is even


def step(seen=None):
    """A residual of 3 where x > 0.8 on (-1, 1), and 1 elsewhere."""

    def residual(u, x, p):
        if seen is not None:
            seen.append(x["x"].detach().numpy())
        return torch.where(x["x"] > 0.8, 3.0, 1.0) + 0.0 * u.value

    return residual


@pytest.mark.parametrize("k, c", [(1.0, 0.0), (2.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
def test_points_are_as_dense_as_the_residual_asks(k, c):
    seen = []
    model = PINN(step(seen), WAVE, points=2000, sampling=RAD(k, c, pool=100))
    model.fit_loss().kept(torch.Generator().manual_seed(1))
    mean = 0.1 * 3.0**k + 0.9
    expected = 0.1 * (3.0**k / mean + c) / (1.0 + c)  # of the points that are taken
    assert (seen[-1] > 0.8).mean() == pytest.approx(expected, abs=0.03)
    seen.clear()
    model.fit_loss().value(torch.Generator().manual_seed(1))
    assert (seen[-1] > 0.8).mean() == pytest.approx(0.1, abs=1e-3)  # Adam's are even


def test_points_stay_while_a_sample_is_kept():
    seen = []
    model = PINN(step(seen), WAVE, points=50, sampling=RAD())
    kept = model.fit_loss().kept
    for number in (1, 1, 2):
        kept(torch.Generator().manual_seed(number))
    first, again, other = [x for x in seen if len(x) == 50][-3:]
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def shock_layer():
    return PINN(
        lambda u, x, p: u.d("t") + u.value * u.d("x") - 0.02 * u.d("x", "x"),
        WAVE,
        network=nn.mlp([2, 16, 16, 1]),
        trial=from_sine,
        points=600,
        sampling=RAD(),
    )


def test_a_shock_layer_by_resampling_and_self_scaling():
    x, t = np.meshgrid(np.linspace(-1.0, 1.0, 101), np.linspace(0.0, 1.0, 21))
    stages = [Adam(0.01, 100, "cosine"), SSBroyden(400, resample=100)]
    model = shock_layer()
    found = model.fitted(sml.fit(model, optimisers=stages, progress=False))
    assert relative(found.predict(x=x, t=t), cole_hopf(x, t, 0.02)) < 5e-3


def test_a_resampling_fit_goes_on_where_it_was(tmp_path, monkeypatch):
    """In the middle of a sample, which was drawn at weights that have been left behind."""
    options = {"optimisers": SSBroyden(12, resample=5), "progress": False}
    whole = sml.fit(shock_layer(), **options)
    plain, calls = PINN._residuals, []

    def interrupted(self, points):
        calls.append(1)
        if len(calls) == 17:
            raise KeyboardInterrupt
        return plain(self, points)

    monkeypatch.setattr(PINN, "_residuals", interrupted)
    model = shock_layer()
    part = sml.fit(model, checkpoint=tmp_path / "run.npz", **options)
    monkeypatch.undo()
    assert 5 < len(part.history) < 10
    rest = sml.fit(shock_layer(), resume=tmp_path / "run.npz", **options)
    np.testing.assert_array_equal(rest.history.loss, whole.history.loss)
    np.testing.assert_array_equal(rest.p_flat, whole.p_flat)


@pytest.mark.parametrize("arguments", [{"k": -1.0}, {"c": -1.0}, {"pool": 0}])
def test_bad_densities_name_the_argument(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be"):
        RAD(**arguments)


def test_fourier_features():
    features = nn.FourierFeatures(2, 3000, scale=4.0, seed=1)
    assert features.waves.std().item() == pytest.approx(4.0, rel=0.03)
    x = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    angles = x.numpy() @ features.waves.numpy()
    np.testing.assert_allclose(features(x)[0], np.r_[np.cos(angles[0]), np.sin(angles[0])])


def test_periodic_features():
    features = nn.PeriodicFeatures(3, which=1, waves=2)
    x = torch.tensor([0.2, -1.0, 0.4], dtype=torch.float64)
    there = x + torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64)
    np.testing.assert_allclose(features(x), features(there), atol=1e-14)
    np.testing.assert_allclose(features(x), [-1.0, 1.0, 0.0, 0.0, 0.2, 0.4], atol=1e-15)


def make(**changes):
    given = {"residual": lambda u, x, p: u.d("x"), "domain": WAVE}
    return PINN(**{**given, **changes})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"residual": 3.0}, "residual must be a torch function"),
        ({"residual": lambda u, x, p: u.value.sum()}, "residual must return one number for each"),
        ({"residual": lambda u, x, p: u.d("z")}, "a derivative must be in 'x', 't'; got 'z'"),
        ({"domain": [0.0, 1.0]}, "domain must be a dict of ranges"),
        ({"domain": {"x": (1.0, 0.0)}}, r"domain\['x'\] must be \(low, high\)"),
        ({"conditions": [3.0]}, r"conditions must be a list of Condition\(...\)"),
        ({"conditions": Condition(constant(0.0), time=0.0)}, "must fix coordinates of the domain"),
        ({"network": 3.0}, "network must be an nn.Module"),
        ({"trial": 3.0}, "trial must be a torch function"),
        ({"points": 0}, "points must be a whole number"),
        ({"causal": 1.0, "time": "s"}, "time must be one of x, t"),
        ({"adaptive": 3}, "adaptive must be"),
        ({"adaptive": "grad"}, "adaptive must be"),
        ({"sampling": "rad"}, r"sampling must be a RAD\(...\) or None"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_bad_calls_name_the_argument(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(**changes)


@pytest.mark.parametrize(
    "data, message",
    [
        (np.zeros(3), r"data must be \(x, u\)"),
        ((np.zeros((4, 3)), np.zeros(4)), r"x of data must be of shape \(m, 2\)"),
        ((np.zeros((4, 2)), np.zeros(3)), r"u of data must be of shape \(4, 1\)"),
    ],
)
def test_bad_data_name_the_argument(data, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sml.fit(make(), data, progress=False)


def test_a_condition_must_fix_something():
    with pytest.raises(ValueError, match="must fix a coordinate"):
        Condition(constant(0.0))


def test_predict_wants_all_coordinates():
    with pytest.raises(ValueError, match="coordinates must be x, t; got x"):
        make().predict(x=0.0)
