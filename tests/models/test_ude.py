"""Known terms and networks together, and what is built into a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml import nn
from pysciml.models import (
    UDE,
    Conserving,
    Equivariant,
    PerCapita,
    Pointwise,
    Positive,
    Reactions,
    Residual,
)
from pysciml.train import L2, LBFGS, Adam

FAST = {"engine": "native", "progress": False}
RATES = {"growth": 1.3, "death": 1.8}
LV0 = [0.44249296, 4.6280594]


def known(u, p, t):
    return [p["growth"] * u[0], -p["death"] * u[1]]


def truth(u, p, t):
    met = u[0] * u[1]
    return [1.3 * u[0] - 0.9 * met, 0.8 * met - 1.8 * u[1]]


@pytest.fixture(scope="module")
def clean():
    problem = sml.ODEProblem(truth, LV0, (0.0, 3.0))
    return sml.solve(problem, "Vern7", "native", saveat=0.1, abstol=1e-11, reltol=1e-11)


def test_the_sum_and_the_call_are_one_equation():
    network = nn.mlp([2, 5, 2])
    u, t = torch.tensor([0.3, 0.8], dtype=torch.float64), torch.tensor(0.0)
    p = {"growth": torch.tensor(1.3), "death": torch.tensor(1.8)}
    added = UDE(known, network)(u, p, t)
    called = UDE(lambda u, p, t, nn: torch.stack(known(u, p, t)) + nn(u), network)(u, p, t)
    torch.testing.assert_close(added, called, rtol=0.0, atol=0.0)
    torch.testing.assert_close(added - torch.stack(known(u, p, t)), network(u))


def test_terms_say_where_the_network_is_added():
    network = nn.mlp([2, 5, 2])
    u = torch.tensor([0.3, 0.8], dtype=torch.float64)
    du = UDE(lambda u, p, t: 0.0 * u, network, terms=[1, 0])(u, None, 0.0)
    torch.testing.assert_close(du, network(u).flip(0))


def test_an_interaction_is_learned_with_the_known_rates_kept(clean):
    """From exact data: the encounters x y to 5 % where the data are, the rates untouched."""
    model = UDE(known, PerCapita(nn.mlp([2, 16, 2], seed=1)))
    result = sml.fit(
        model,
        (clean.t, clean.u),
        p=RATES,
        fixed=["p"],
        regularise=L2(1e-6, on="module"),
        optimisers=[Adam(0.02, 300), LBFGS(300)],
        **FAST,
    )
    assert result.p["p"] == RATES
    network = model.fitted(result).networks
    with torch.no_grad():
        learned = network(torch.as_tensor(clean.u)).numpy()
    met = clean.u[:, :1] * clean.u[:, 1:] * [-0.9, 0.8]
    assert np.abs(learned - met).max() < 0.05 * np.abs(met).max()


def test_networks_by_name_and_rates_are_fitted_together(clean):
    """Two networks with one weight each are the two rates of encounter."""

    def law(u, p, t, nn):
        met = u[0] * u[1]
        one = torch.ones(1, dtype=torch.float64)
        return [
            p["growth"] * u[0] - nn["eaten"](one)[0] * met,
            nn["fed"](one)[0] * met - p["death"] * u[1],
        ]

    networks = {
        name: Positive(torch.nn.Linear(1, 1, bias=False, dtype=torch.float64))
        for name in ("eaten", "fed")
    }
    model = UDE(law, networks)
    result = sml.fit(
        model, (clean.t, clean.u), p={"growth": 1.0, "death": 1.0}, optimisers=LBFGS(200), **FAST
    )
    for name, value in RATES.items():
        assert result.p["p"][name] == pytest.approx(value, rel=1e-3)
    with torch.no_grad():
        rates = [
            model.fitted(result).networks[name](torch.ones(1).double()).item() for name in networks
        ]
    assert rates == pytest.approx([0.9, 0.8], rel=1e-3)


def test_the_reaction_of_a_pde_is_learned():
    """Fisher's equation on a periodic grid: diffusion known, the reaction r u (1 - u) is not."""
    n, d = 24, 0.02
    x = np.arange(n) / n

    def diffusion(u, p, t):
        return d * (torch.roll(u, 1) - 2.0 * u + torch.roll(u, -1)) * n**2

    exact = sml.ODEProblem(
        lambda u, p, t: diffusion(u, p, t) + 2.0 * u * (1.0 - u),
        np.exp(-60.0 * (x - 0.5) ** 2),
        (0.0, 2.0),
    )
    data = sml.solve(exact, engine="native", saveat=0.2, abstol=1e-9, reltol=1e-9)
    model = UDE(diffusion, Pointwise(nn.Polynomial(1, 1, 3)))
    result = sml.fit(model, (data.t, data.u), optimisers=LBFGS(200), **FAST)
    weights = result.p["module"]["networks.network.weight"][0]
    np.testing.assert_allclose(weights, [0.0, 2.0, -2.0, 0.0], atol=2e-3)


def test_a_field_of_channels_is_mapped_point_by_point():
    network = nn.mlp([2, 4, 2])
    field = torch.rand(2, 3, 5, dtype=torch.float64)
    found = Pointwise(network, channels=True)(field)
    for i, j in np.ndindex(3, 5):
        torch.testing.assert_close(found[:, i, j], network(field[:, i, j]))


def test_drift_and_noise_of_an_sde():
    """Along a path, the gradient by the networks' weights is that of finite differences."""
    drift = UDE(lambda u, p, t: -p * u, nn.mlp([1, 3, 1]))
    noise = UDE(lambda u, p, t, nn: 0.1 + nn(u), Positive(nn.mlp([1, 3, 1], seed=1)))
    problem = sml.SDEProblem(drift, noise, [1.0], (0.0, 1.0), 0.5)
    options = {"alg": "EM", "engine": "native", "dt": 1.0 / 64.0, "saveat": [1.0]}
    found = sml.gradient(problem, lambda u: (u**2).sum(), seed=3, **options)
    layout = problem.model.parameters
    slopes, flat = layout.flatten(found.p), problem.p_flat
    direction = np.random.default_rng(0).standard_normal(flat.size)

    def value(step):
        moved = problem.remake(p=flat + step * direction)
        return float((sml.solve(moved, seed=3, **options).u ** 2).sum())

    difference = (value(1e-5) - value(-1e-5)) / 2e-5
    assert slopes @ direction == pytest.approx(difference, rel=1e-6)


class Level(torch.nn.Module):
    """The same everywhere."""

    def __init__(self):
        super().__init__()
        self.level = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        return self.level + 0.0 * x


def test_unknown_growth_and_noise_of_an_sde_are_learned():
    """dx = (x - x^3) dt + 0.3 dW, the cube known, the rest odd, by the moments of paths that NumPy
    made in small steps: the growth to 5 %, the noise to 10 %.
    """
    random = np.random.default_rng(0)
    t, dt, sigma = np.linspace(0.0, 3.0, 13), 0.0025, 0.3
    x, rows = np.full(2000, 0.4), []
    for k in range(round(t[-1] / dt) + 1):
        if k % 100 == 0:
            rows.append(x)
        x = x + dt * (x - x**3) + sigma * np.sqrt(dt) * random.standard_normal(x.size)
    drift = Residual(Equivariant(nn.Polynomial(1, 1, 2), -np.eye(1)), lambda x: -(x**3))
    model = sml.models.NeuralSDE(drift, Positive(Level()), paths=200)
    result = sml.fit(
        model, (t, np.stack(rows)[..., None]), optimisers=Adam(0.05, 120, "cosine"), **FAST
    )
    found = model.fitted(result)
    with torch.no_grad():
        at = torch.tensor([[0.4], [0.9]], dtype=torch.float64)
        growth = (found.drift(at) + at**3) / at
        assert growth.numpy() == pytest.approx(1.0, rel=0.05)
        assert found.diffusion(at).numpy() == pytest.approx(sigma, rel=0.1)


def test_what_is_per_capita_stays_positive_and_stays_zero():
    model = sml.models.NeuralODE(PerCapita(nn.mlp([2, 8, 2], seed=3)))
    sol = sml.solve(
        sml.ODEProblem(model, [1e-3, 0.0], (0.0, 20.0)), engine="native", abstol=1e-12, reltol=1e-8
    )
    assert sol.u[:, 0].min() > 0.0
    assert not sol.u[:, 1].any()


def test_reactions_keep_what_they_conserve():
    """Susceptible, infected and removed: whatever the rates, the population is the same."""
    model = UDE(
        lambda u, p, t, nn: nn(u),
        Reactions(Positive(nn.mlp([3, 6, 2])), [[-1, 0], [1, -1], [0, 1]]),
    )
    sol = sml.solve(sml.ODEProblem(model, [0.9, 0.1, 0.0], (0.0, 3.0)), engine="native")
    np.testing.assert_allclose(sol.u.sum(axis=1), 1.0, rtol=0.0, atol=1e-14)
    assert (np.diff(sol.u[:, 0]) < 0.0).all() and (np.diff(sol.u[:, 2]) > 0.0).all()


def test_an_invariant_is_conserved_by_any_network():
    def radius(u):
        return (u**2).sum()

    model = sml.models.NeuralODE(Conserving(nn.mlp([3, 8, 3], seed=2), radius))
    problem = sml.ODEProblem(model, [0.6, 0.0, 0.8], (0.0, 10.0))
    sol = sml.solve(problem, "Vern7", "native", abstol=1e-12, reltol=1e-12)
    assert np.abs(sol.u[-1] - sol.u[0]).max() > 0.1
    np.testing.assert_allclose((sol.u**2).sum(axis=1), 1.0, rtol=1e-10)
    batch = torch.rand(4, 3, dtype=torch.float64)
    along = (model.network(batch) * 2.0 * batch).sum(-1)
    torch.testing.assert_close(along, torch.zeros_like(along), rtol=0.0, atol=1e-15)


ROTATION = [[0.0, -1.0], [1.0, 0.0]]
MIRROR = [[1.0, 0.0], [0.0, -1.0]]


@pytest.mark.parametrize(
    ("generators", "size"),
    [(-np.eye(2), 2), (ROTATION, 4), ([ROTATION, MIRROR], 8)],
    ids=["odd", "quarter turns", "the square's symmetries"],
)
def test_a_network_has_the_symmetries_of_its_group(generators, size):
    network = Equivariant(nn.mlp([2, 7, 2], seed=5), generators)
    assert len(network.group) == size
    x = torch.rand(6, 2, dtype=torch.float64)
    for g in network.group:
        torch.testing.assert_close(network(x @ g.T), network(x) @ g.T, rtol=1e-13, atol=1e-15)
    assert network(x).abs().max() > 1e-3


WRONG = [
    (lambda: UDE(3, nn.mlp([1, 1])), TypeError, "f must be a function f(u, p, t), to which"),
    (lambda: UDE(nn.mlp([1, 1]), nn.mlp([1, 1])), TypeError, "got the nn.Module Sequential"),
    (lambda: UDE(lambda u: u, nn.mlp([1, 1])), TypeError, "got <lambda>(u)"),
    (lambda: UDE(known, known), TypeError, "networks must be an nn.Module"),
    (lambda: UDE(known, {"a": 1}), TypeError, "networks['a'] must be an nn.Module"),
    (lambda: UDE(known, {"a": nn.mlp([1, 1])}), TypeError, "networks must be one nn.Module"),
    (
        lambda: UDE(lambda u, p, t, nn: u, nn.mlp([1, 1]), terms=[0]),
        ValueError,
        "terms must not be given",
    ),
    (lambda: Reactions(nn.mlp([1, 1]), [1.0]), ValueError, "stoichiometry must be an (n, m)"),
    (lambda: Residual(nn.mlp([1, 1]), 3), TypeError, "known must be a function of the state"),
    (lambda: Conserving(nn.mlp([1, 1]), 3), TypeError, "invariant must be a function"),
    (lambda: Equivariant(nn.mlp([2, 2]), [1.0]), ValueError, "generators must be (n, n)"),
    (lambda: Equivariant(nn.mlp([2, 2]), np.zeros((2, 2))), ValueError, "one is singular"),
    (lambda: Equivariant(nn.mlp([2, 2]), 2 * np.eye(2)), ValueError, "a finite group"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_a_result_of_another_model_is_refused(clean):
    model = UDE(known, nn.mlp([2, 3, 2]))
    result = sml.fit(model, (clean.t, clean.u), p=RATES, optimisers=Adam(0.01, 1), **FAST)
    with pytest.raises(ValueError, match=r"result must be of a fit of this UDE"):
        UDE(known, nn.mlp([2, 3, 3, 2])).fitted(result)
