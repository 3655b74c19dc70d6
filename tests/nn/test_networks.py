"""Networks, expansions, and models that call them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev

import pysciml as sml
from pysciml import nn


# -- perceptrons ----
def test_a_perceptron_is_layers_and_activations():
    net = nn.mlp([2, 5, 3, 1], "tanh", seed=3)
    parts = dict(net.named_parameters())
    shapes = {name: tuple(x.shape) for name, x in parts.items()}
    assert shapes == {
        "0.weight": (5, 2), "0.bias": (5,),
        "2.weight": (3, 5), "2.bias": (3,),
        "4.weight": (1, 3), "4.bias": (1,),
    }  # fmt: skip
    assert all(x.dtype == torch.float64 for x in parts.values())
    x = torch.tensor([0.3, -0.7], dtype=torch.float64)
    w = [x.detach().numpy() for x in parts.values()]
    h = np.tanh(w[0] @ x.numpy() + w[1])
    expected = w[4] @ np.tanh(w[2] @ h + w[3]) + w[5]
    np.testing.assert_allclose(net(x).detach().numpy(), expected, rtol=1e-14)


def test_seeds_are_apart_from_torchs_generator():
    torch.manual_seed(0)
    first = torch.rand(1)
    torch.manual_seed(0)
    one = nn.mlp([2, 8, 2], seed=5)
    assert torch.rand(1) == first
    torch.manual_seed(99)
    two, other = nn.mlp([2, 8, 2], seed=5), nn.mlp([2, 8, 2], seed=6)
    assert torch.equal(one[0].weight, two[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_first_weights_are_uniform_within_their_bound():
    weight = nn.mlp([16, 400, 1], seed=1)[0].weight.detach().numpy()
    assert np.abs(weight).max() <= 0.25
    assert weight.std() == pytest.approx(0.25 / np.sqrt(3.0), rel=0.02)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("rbf", lambda x: np.exp(-(x**2))),
        ("sin", np.sin),
        ("softplus", lambda x: np.log1p(np.exp(x))),
        ("sigmoid", lambda x: 1.0 / (1.0 + np.exp(-x))),
        ("swish", lambda x: x / (1.0 + np.exp(-x))),
        ("relu", lambda x: np.maximum(x, 0.0)),
        ("identity", lambda x: x),
    ],
)
def test_activations(name, function):
    net = nn.mlp([1, 4, 1], name)
    x = np.array([0.4])
    w = [x.detach().numpy() for x in net.parameters()]
    expected = w[2] @ function(w[0] @ x + w[1]) + w[3]
    np.testing.assert_allclose(net(torch.as_tensor(x)).detach().numpy(), expected, rtol=1e-14)


def test_activations_can_differ_and_be_modules():
    net = nn.mlp([1, 2, 2, 1], ["rbf", torch.nn.ELU()])
    assert [type(layer).__name__ for layer in net] == [
        "Linear", "RBF", "Linear", "ELU", "Linear"
    ]  # fmt: skip


# -- functional ----
def test_functional_is_the_module():
    net = nn.mlp([2, 5, 2], seed=2)
    apply, weights = nn.functional(net)
    x = torch.tensor([0.1, 0.2], dtype=torch.float64)
    assert list(weights) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(isinstance(w, np.ndarray) and w.dtype == np.float64 for w in weights.values())
    expected = net(x).detach().numpy()
    tensors = {name: torch.as_tensor(w) for name, w in weights.items()}
    for found in (apply(x, weights), apply(list(x), tensors)):
        assert isinstance(found, torch.Tensor)
        np.testing.assert_array_equal(found.detach().numpy(), expected)
    for found in (apply([0.1, 0.2], weights), apply(np.array([[0.1, 0.2]]), weights)[0]):
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_functional_leaves_the_module_and_its_weights_alone():
    net = nn.mlp([1, 2, 1])
    before = net[0].weight.detach().clone()
    apply, weights = nn.functional(net)
    weights["0.weight"] += 1.0
    assert torch.equal(net[0].weight, before)
    changed = apply([0.5], weights)
    assert not np.allclose(changed, net(torch.tensor([0.5]).double()).detach().numpy())


def test_single_precision_and_buffers_are_computed_in_double():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).eval()
    module[1].running_mean.fill_(0.25)
    apply, weights = nn.functional(module)
    x = np.array([[0.3, 0.4]])
    expected = module.double()(torch.as_tensor(x)).detach().numpy()
    found = apply(x, weights)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def composed(u, p, t):
    """A known part and a learned one."""
    learned = NET(u, p["net"])
    return [p["growth"] * u[0] + learned[0], -u[1] + learned[1]]


NET, WEIGHTS = nn.functional(nn.mlp([2, 8, 2], seed=4))


def test_a_model_of_known_and_learned_parts_solves_and_differentiates():
    problem = sml.ODEProblem(composed, [0.5, 1.0], (0.0, 1.0), {"growth": 1.3, "net": WEIGHTS})
    assert problem.model.parameters.names[0] == "growth"
    assert problem.model.parameters.names[1] == "net.0.weight[0, 0]"
    u, w = np.array([0.5, 1.0]), np.array([0.3, -0.8])
    p = torch.tensor(problem.p_flat, requires_grad=True)

    def f(p):
        parts = problem.model.parameters.unflatten(p)
        return torch.stack(composed(torch.as_tensor(u), parts, 0.0))

    (expected,) = torch.autograd.grad(f(p) @ torch.as_tensor(w), p)
    np.testing.assert_allclose(problem.model.vjp_p(u, problem.p_flat, 0.0, w), expected, rtol=1e-12)
    native = sml.solve(problem, engine="native", saveat=0.5, abstol=1e-9, reltol=1e-9)
    other = sml.solve(problem, engine="torch", saveat=0.5, abstol=1e-9, reltol=1e-9)
    np.testing.assert_allclose(native.u, other.u, rtol=1e-7)


def test_a_network_in_a_model_written_with_numpy():
    apply, weights = nn.functional(nn.mlp([2, 3, 2], seed=1))

    def f(u, p, t):
        return np.sin(u) * p["k"] + apply(u, p["net"])

    problem = sml.ODEProblem(f, [0.5, 1.0], (0.0, 1.0), {"k": 0.7, "net": weights})
    u = np.array([0.4, -0.3])
    expected = np.sin(u) * 0.7 + apply(u, weights)
    np.testing.assert_allclose(problem.model.f(u, problem.p_flat, 0.0), expected, rtol=1e-13)


# -- expansions ----
def with_weights(expansion, seed=0):
    random = np.random.default_rng(seed)
    with torch.no_grad():
        expansion.weight.copy_(torch.as_tensor(random.standard_normal(expansion.weight.shape)))
    return expansion, expansion.weight.detach().numpy()


def value(expansion, x):
    return expansion(torch.as_tensor(np.asarray(x, dtype=float))).detach().numpy()


def test_polynomials_are_all_monomials_up_to_their_degree():
    expansion, w = with_weights(nn.Polynomial(2, 3, degree=2))
    assert set(expansion.terms) == {(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)}
    x, y = 0.7, -1.3
    features = [x**i * y**j for i, j in expansion.terms]
    np.testing.assert_allclose(value(expansion, [x, y]), w @ features, rtol=1e-14)


def test_chebyshev_is_numpys_on_its_box():
    expansion, w = with_weights(nn.Chebyshev(1, 1, degree=5, low=1.0, high=4.0))
    x = np.linspace(1.0, 4.0, 7)
    expected = chebyshev.chebval((2.0 * x - 5.0) / 3.0, w[0])
    np.testing.assert_allclose(value(expansion, x[:, None])[:, 0], expected, rtol=1e-13)


def test_chebyshev_in_two_dimensions_is_a_product():
    expansion, w = with_weights(nn.Chebyshev(2, 2, 3, low=[0.0, -1.0], high=[2.0, 3.0]))
    x = np.array([0.3, 2.2])
    scaled = (x - [1.0, 1.0]) / [1.0, 2.0]
    one = [chebyshev.chebval(s, np.eye(4)) for s in scaled]
    features = [one[0][i] * one[1][j] for i, j in expansion.terms]
    assert len(features) == 10
    np.testing.assert_allclose(value(expansion, x), w @ features, rtol=1e-13)


def test_fourier_has_the_box_as_period():
    expansion, w = with_weights(nn.Fourier(1, 1, degree=3, low=0.0, high=2.0))
    assert expansion.weight.shape == (1, 7)
    x = 0.6
    angle = np.pi * (x - 1.0)
    features = [1.0]
    for k in (1, 2, 3):
        features += [np.cos(k * angle), np.sin(k * angle)]
    np.testing.assert_allclose(value(expansion, [x]), w @ features, rtol=1e-13)
    np.testing.assert_allclose(value(expansion, [x + 2.0]), w @ features, rtol=1e-12)
    two = nn.Fourier(2, 1, degree=2)
    assert all(-(-i // 2) + -(-j // 2) <= 2 for i, j in two.terms)
    assert len(two.terms) == 1 + 4 + 4 + 4


@pytest.mark.parametrize(
    "expansion", [nn.Polynomial(2, 2, 3), nn.Chebyshev(2, 2, 3, -5.0, 5.0), nn.Fourier(2, 2, 2)]
)
def test_an_expansion_starts_as_nothing_and_stands_where_a_network_stands(expansion):
    apply, weights = nn.functional(expansion)

    def f(u, p, t):
        return apply(u, p) - u

    problem = sml.ODEProblem(f, [0.5, 1.0], (0.0, 1.0), weights)
    solution = sml.solve(problem, engine="native", saveat=[1.0], abstol=1e-10, reltol=1e-10)
    np.testing.assert_allclose(solution.u[0], np.exp(-1.0) * np.array([0.5, 1.0]), rtol=1e-8)
    value = problem.model.vjp_p([0.5, 1.0], problem.p_flat, 0.0, [1.0, 0.0])
    features = expansion.features(torch.tensor([0.5, 1.0], dtype=torch.float64)).detach().numpy()
    np.testing.assert_allclose(value[: len(features)], features, rtol=1e-13)


def test_an_expansion_is_fitted_to_the_law_behind_the_data(lotka_volterra_law):
    """Quadratic polynomials hold Lotka-Volterra's interaction exactly."""
    problem, t, u = lotka_volterra_law
    result = sml.fit(
        problem,
        (t, u),
        optimisers=sml.train.BFGS(500),
        strategy=sml.train.Collocation(smoothing=0.0),
        engine="native",
        abstol=1e-9,
        reltol=1e-9,
        progress=False,
    )
    terms = nn.Polynomial(2, 2, 2).terms
    found = {term: result.p["net"]["weight"][:, i] for i, term in enumerate(terms)}
    np.testing.assert_allclose(found[1, 1], [-0.9, 0.8], atol=0.01)
    for term in set(terms) - {(1, 1)}:
        np.testing.assert_allclose(found[term], 0.0, atol=0.01)


@pytest.fixture
def lotka_volterra_law():
    def law(u, p, t):
        return [1.3 * u[0] - 0.9 * u[0] * u[1], 0.8 * u[0] * u[1] - 1.8 * u[1]]

    apply, weights = nn.functional(nn.Polynomial(2, 2, 2))

    def model(u, p, t):
        learned = apply(u, p["net"])
        return [1.3 * u[0] + learned[0], -1.8 * u[1] + learned[1]]

    t = np.linspace(0.0, 6.0, 61)
    exact = sml.ODEProblem(law, [1.0, 1.0], (0.0, 6.0))
    u = sml.solve(exact, "Vern7", "native", t, 1e-12, 1e-12).u
    return sml.ODEProblem(model, [1.0, 1.0], (0.0, 6.0), {"net": weights}), t, u


# -- wrong calls ----
WRONG_CALLS = [
    (
        lambda: nn.mlp(3),
        ValueError,
        "sizes must be at least two numbers, inputs and outputs; got 3",
    ),
    (
        lambda: nn.mlp([2]),
        ValueError,
        "sizes must be at least two numbers, inputs and outputs; got the list [2]",
    ),
    (lambda: nn.mlp([2, 0, 1]), ValueError, "sizes[1] must be a whole number >= 1; got 0"),
    (lambda: nn.mlp([2, 2.5]), ValueError, "sizes[1] must be a whole number >= 1; got 2.5"),
    (
        lambda: nn.mlp([2, 3, 2], "tahn"),
        ValueError,
        "activation must be 'tanh', 'rbf', 'sigmoid', 'relu', 'gelu', 'silu', 'swish', "
        "'softplus', 'sin', 'identity' or an nn.Module; got the string 'tahn'; "
        "did you mean 'tanh'?",
    ),
    (
        lambda: nn.mlp([2, 3, 2], torch.tanh),
        ValueError,
        "activation must be 'tanh', 'rbf', 'sigmoid', 'relu', 'gelu', 'silu', 'swish', "
        "'softplus', 'sin', 'identity' or an nn.Module; got a builtin_function_or_method",
    ),
    (
        lambda: nn.mlp([2, 3, 2], ["tanh", "tanh"]),
        ValueError,
        "activation must be one, or one for each of the 1 hidden layers; "
        "got the list ['tanh', 'tanh']",
    ),
    (
        lambda: nn.functional(torch.nn.Linear),
        TypeError,
        "module must be an nn.Module; got the class Linear",
    ),
    (lambda: nn.Polynomial(2, 1, 0), ValueError, "degree must be a whole number >= 1; got 0"),
    (
        lambda: nn.Chebyshev(2, 1, 3, low=[0.0, 1.0, 2.0]),
        ValueError,
        "low must be a number, or one for each of the 2 inputs; got the list [0.0, 1.0, 2.0]",
    ),
    (
        lambda: nn.Fourier(1, 1, 3, low=2.0, high=1.0),
        ValueError,
        "low must be below high in each dimension; got 2.0 and 1.0",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == message
