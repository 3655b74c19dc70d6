"""Networks for right-hand sides: perceptrons, function expansions, and how a model calls them.

A network is just a function expansion, so an expansion may stand wherever a network stands: each
is an `nn.Module` from a vector to a vector. All have float64 weights.

    apply, weights = functional(mlp([2, 32, 2]))

    def f(u, p, t):
        prey, predator = u
        learned = apply(u, p["net"])
        return [p["growth"] * prey + learned[0], -p["death"] * predator + learned[1]]

    problem = ODEProblem(f, u0, tspan, {"growth": 1.3, "death": 1.8, "net": weights})
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pysciml import validation as check

__all__ = [
    "RBF",
    "Chebyshev",
    "Fourier",
    "FourierFeatures",
    "Legendre",
    "PeriodicFeatures",
    "Polynomial",
    "Sine",
    "functional",
    "mlp",
]

Weights = dict[str, NDArray[np.float64]]


class RBF(nn.Module):
    """exp(-x^2), the activation of Rackauckas et al. (2020)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(-(x**2))


class Sine(nn.Module):
    """sin(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "rbf": RBF,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "softplus": nn.Softplus,
    "sin": Sine,
    "identity": nn.Identity,
}


def mlp(sizes: Sequence[int], activation: Any = "tanh", seed: int = 0) -> nn.Sequential:
    """A multilayer perceptron, with an activation after each layer but the last.

    Parameters
    ----------
    sizes : numbers of inputs, of each hidden layer's units, and of outputs.
    activation : name, module, or list of these, one for each hidden layer.
    seed : of the first weights, which do not depend on torch's own generator, nor change it. They
        are uniform in +-1/sqrt(inputs of the layer), as those of `nn.Linear`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    if not isinstance(sizes, (list, tuple)) or len(sizes) < 2:
        raise ValueError(
            f"sizes must be at least two numbers, inputs and outputs; got {check.describe(sizes)}"
        )
    counts = [check.as_count(size, f"sizes[{i}]") for i, size in enumerate(sizes)]
    activations = _activations(activation, len(counts) - 2)
    random = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(counts)):
        layers.append(_linear(inputs, outputs, random))
        if i < len(activations):
            layers.append(activations[i])
    return nn.Sequential(*layers)


def _linear(inputs: int, outputs: int, random: torch.Generator) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float64)
    bound = 1.0 / math.sqrt(inputs)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=random)
        layer.bias.uniform_(-bound, bound, generator=random)
    return layer


def _activations(value: Any, hidden: int) -> list[nn.Module]:
    if not isinstance(value, (list, tuple)):
        return [_activation(value) for _ in range(hidden)]
    if len(value) != hidden:
        raise ValueError(
            f"activation must be one, or one for each of the {hidden} hidden layers; "
            f"got {check.describe(value)}"
        )
    return [_activation(each) for each in value]


def _activation(value: Any) -> nn.Module:
    if isinstance(value, nn.Module):
        return value
    if isinstance(value, str) and value in _ACTIVATIONS:
        return _ACTIVATIONS[value]()
    hint = check.did_you_mean(value, _ACTIVATIONS) if isinstance(value, str) else ""
    raise ValueError(
        f"activation must be {', '.join(map(repr, _ACTIVATIONS))} or an nn.Module; "
        f"got {check.describe(value)}{hint}"
    )


def functional(module: nn.Module) -> tuple[Callable[[Any, Mapping[str, Any]], Any], Weights]:
    """A module as a function of its input and its weights, and these weights.

    The weights, a dict of float64 arrays by name, go into `p` like any other parameters, and the
    right-hand side calls the function with them.

    Returns
    -------
    apply : (x, weights) -> module(x). For a tensor, or a list of them, a tensor; for arrays an
        array, so that what was learned can be looked at: ``apply(states, result.p["net"])``.
    weights : dict of arrays

    Raises
    ------
    TypeError
        `module` is no nn.Module.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be an nn.Module; got {check.describe(module)}")
    weights = {name: x.detach().double().numpy().copy() for name, x in module.named_parameters()}
    constants = {
        name: x.detach().double() if x.is_floating_point() else x.detach()
        for name, x in module.named_buffers()
    }

    def apply(x: Any, weights: Mapping[str, Any]) -> Any:
        values = {name: _as_tensor(w) for name, w in weights.items()}
        y = torch.func.functional_call(module, {**values, **constants}, (_as_tensor(x),))
        return y if _holds_tensor(x) or any(map(_holds_tensor, weights.values())) else y.numpy()

    return apply, weights


def _as_tensor(x: Any) -> Tensor:
    if isinstance(x, (list, tuple)) and _holds_tensor(x):
        return torch.stack([_as_tensor(each) for each in x])
    return torch.as_tensor(x, dtype=torch.float64)


def _holds_tensor(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(map(_holds_tensor, x))
    return isinstance(x, Tensor)


class _Expansion(nn.Module):
    """y = W b(x): b is all products of one-dimensional basis functions up to a total degree.

    The basis of one dimension has `per_degree` functions for each degree above 0. `weight` has the
    shape (outputs, functions) and starts at zero: the expansion adds nothing until it is fitted.
    """

    per_degree = 1

    def __init__(self, inputs: int, outputs: int, degree: int) -> None:
        super().__init__()
        self.inputs = check.as_count(inputs, "inputs")
        self.outputs = check.as_count(outputs, "outputs")
        self.degree = check.as_count(degree, "degree")
        self.terms = self._terms()
        weight = torch.zeros(self.outputs, len(self.terms), dtype=torch.float64)
        self.weight = nn.Parameter(weight)

    def _terms(self) -> list[tuple[int, ...]]:
        """For each product, the number of its one-dimensional function in each dimension."""
        functions = range(1 + self.per_degree * self.degree)
        combinations = itertools.product(functions, repeat=self.inputs)
        terms = [term for term in combinations if sum(map(self._degree_of, term)) <= self.degree]
        return sorted(terms, key=lambda term: (sum(map(self._degree_of, term)), term))

    def _degree_of(self, function: int) -> int:
        return -(-function // self.per_degree)

    def basis(self, x: Tensor) -> list[Tensor]:
        """The one-dimensional functions at x, of the degrees 0, 1, ..., each of x's shape."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., functions)."""
        values = self.basis(x)
        products = []
        for term in self.terms:
            factors = [values[k][..., i] for i, k in enumerate(term) if k]
            product = math.prod(factors[1:], start=factors[0]) if factors else values[0][..., 0]
            products.append(product)
        return torch.stack(products, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x) @ self.weight.T

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, degree={self.degree}: {len(self.terms)} functions"


class Polynomial(_Expansion):
    """Monomials up to a total degree.

    Parameters
    ----------
    inputs, outputs : lengths of x and y.
    degree : highest total degree.
    """

    def basis(self, x: Tensor) -> list[Tensor]:
        values = [torch.ones_like(x)]
        for _ in range(self.degree):
            values.append(values[-1] * x)
        return values


class _OnDomain(_Expansion):
    """An expansion on a box: each dimension is mapped to (-1, 1) first."""

    def __init__(
        self, inputs: int, outputs: int, degree: int, low: Any = -1.0, high: Any = 1.0
    ) -> None:
        super().__init__(inputs, outputs, degree)
        self.register_buffer("low", _bound(low, "low", self.inputs))
        self.register_buffer("high", _bound(high, "high", self.inputs))
        if not bool((self.low < self.high).all()):
            raise ValueError(f"low must be below high in each dimension; got {low} and {high}")

    low: Tensor
    high: Tensor

    def scaled(self, x: Tensor) -> Tensor:
        return (2.0 * x - (self.low + self.high)) / (self.high - self.low)


class Chebyshev(_OnDomain):
    """Chebyshev polynomials of the first kind, on a box.

    Parameters
    ----------
    inputs, outputs : lengths of x and y.
    degree : highest total degree.
    low, high : the box, a number or one for each input.
    """

    def basis(self, x: Tensor) -> list[Tensor]:
        x = self.scaled(x)
        values = [torch.ones_like(x), x]
        for _ in range(self.degree - 1):
            values.append(2.0 * x * values[-1] - values[-2])
        return values


class Legendre(_OnDomain):
    """Legendre polynomials, on a box: orthogonal there, so least squares are well conditioned.

    Parameters
    ----------
    inputs, outputs : lengths of x and y.
    degree : highest total degree.
    low, high : the box, a number or one for each input.
    """

    def basis(self, x: Tensor) -> list[Tensor]:
        x = self.scaled(x)
        values = [torch.ones_like(x), x]
        for k in range(1, self.degree):
            values.append(((2 * k + 1) * x * values[-1] - k * values[-2]) / (k + 1))
        return values


class Fourier(_OnDomain):
    """Cosines and sines with the box as their period: 1, cos, sin, cos 2, sin 2, ...

    Parameters
    ----------
    inputs, outputs : lengths of x and y.
    degree : highest total frequency.
    low, high : the box, a number or one for each input.
    """

    per_degree = 2

    def basis(self, x: Tensor) -> list[Tensor]:
        angle = math.pi * self.scaled(x)
        values = [torch.ones_like(x)]
        for k in range(1, self.degree + 1):
            values += [torch.cos(k * angle), torch.sin(k * angle)]
        return values


class FourierFeatures(nn.Module):
    """x -> (cos(B x), sin(B x)), B of normal random numbers: what lets a network see fine detail.

    Parameters
    ----------
    inputs : int
        Numbers in x.
    count : int
        Rows of B; there are twice as many features.
    scale : float
        Standard deviation of B: the typical wave number in x, which a `PINN` scales to (-1, 1).
    seed : int
    """

    def __init__(self, inputs: int, count: int, scale: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        shape = check.as_count(inputs, "inputs"), check.as_count(count, "count")
        random = torch.Generator().manual_seed(check.as_seed(seed, "seed"))
        normal = torch.randn(shape, generator=random, dtype=torch.float64)
        self.register_buffer("waves", check.as_positive(scale, "scale") * normal)

    waves: Tensor

    def forward(self, x: Tensor) -> Tensor:
        angles = x @ self.waves
        return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class PeriodicFeatures(nn.Module):
    """x, with one of its numbers replaced by cosines and sines of period 2: a network of these is
    periodic in it, exactly, in the scaled domain of a `PINN`.

    Parameters
    ----------
    inputs : int
        Numbers in x. There are inputs - 1 + 2 * waves features.
    which : int
        The number that is periodic.
    waves : int
        Highest frequency.
    """

    def __init__(self, inputs: int, which: int = 0, waves: int = 1) -> None:
        super().__init__()
        self.inputs = check.as_count(inputs, "inputs")
        if not 0 <= which < self.inputs:
            raise ValueError(f"which must lie between 0 and {self.inputs - 1}; got {which}")
        self.which = which
        waves = check.as_count(waves, "waves")
        numbers = torch.arange(1, waves + 1, dtype=torch.float64)
        self.register_buffer("frequencies", math.pi * numbers)

    frequencies: Tensor

    def forward(self, x: Tensor) -> Tensor:
        k = self.which
        angles = x[..., k : k + 1] * self.frequencies
        rest = (x[..., :k], x[..., k + 1 :])
        return torch.cat([torch.cos(angles), torch.sin(angles), *rest], dim=-1)


def _bound(value: Any, name: str, inputs: int) -> Tensor:
    given = check.as_observations(value, name, "a number, or one for each input")
    if given.ndim and given.shape != (inputs,):
        raise ValueError(
            f"{name} must be a number, or one for each of the {inputs} inputs; "
            f"got {check.describe(value)}"
        )
    return torch.as_tensor(np.broadcast_to(given, (inputs,)).copy())
