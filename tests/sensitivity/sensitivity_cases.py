"""Losses whose gradients are known by finite differences of solves at a tolerance of 1e-13."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

import pysciml as sml

Array = np.ndarray


@dataclass(frozen=True)
class Case:
    """`loss(u)` of the states saved at `saveat`, and tolerances at which 1e-6 is to be reached."""

    name: str
    problem: sml.ODEProblem
    saveat: Array
    loss: Callable[[torch.Tensor], torch.Tensor]
    alg: str
    abstol: float
    reltol: float
    scale: Array  # typical size of each component, which the loss divides by
    tight: float = 1e-13  # relative tolerance of the reference
    step: float = 1e-3  # relative step of its finite differences

    @functools.cached_property
    def directions(self) -> list[tuple[Array, Array]]:
        """Directions (in p, in u0) to differentiate along, each relative to the values' size."""
        rng = np.random.default_rng(7)
        p, u0 = self.problem.p_flat, self.problem.u0_flat
        found = []
        for _ in range(3):
            along_p = rng.standard_normal(p.size) * np.abs(p)
            along_u0 = rng.standard_normal(u0.size) * np.abs(u0)
            found += [(along_p, 0 * u0), (0 * p, along_u0)]
        return found

    @functools.cached_property
    def reference(self) -> Array:
        """Derivatives along `directions`: fourth-order central differences."""
        h = self.step / np.sqrt(self.problem.p_flat.size)
        weights = {1: 8 / 12, -1: -8 / 12, 2: -1 / 12, -2: 1 / 12}
        return np.array(
            [
                sum(w * self.value(step * h * p, step * h * u0) for step, w in weights.items()) / h
                for p, u0 in self.directions
            ]
        )

    def value(self, dp: Array, du0: Array) -> float:
        problem = self.problem
        moved = problem.remake(
            p=problem.p_flat + dp, u0=(problem.u0_flat + du0).reshape(problem.u0.shape)
        )
        # a tolerance for each component: those of Robertson differ by five orders of magnitude
        alg = "Rodas5P" if self.alg == "Rodas5P" else "Vern7"
        solution = sml.solve(
            moved,
            alg,
            "native",
            self.saveat,
            self.tight * self.scale,
            self.tight,
            maxiters=10_000_000,
        )
        return float(self.loss(torch.from_numpy(solution.u)))

    def along(self, gradient: sml.Gradient) -> Array:
        """A gradient's derivatives along `directions`."""
        return np.array(
            [gradient.p_flat @ p + gradient.u0.ravel() @ u0 for p, u0 in self.directions]
        )


def _sum_of_squares(weight: Array) -> Callable[[torch.Tensor], torch.Tensor]:
    w = torch.from_numpy(np.asarray(weight, dtype=float))
    return lambda u: ((u / w) ** 2).mean() + torch.sin(u / w).mean()


def lotka_volterra() -> Case:
    def f(u, p, t):
        return [p[0] * u[0] - p[1] * u[0] * u[1], -p[2] * u[1] + p[3] * u[0] * u[1]]

    problem = sml.ODEProblem(f, [1.0, 1.0], (0.0, 10.0), [1.5, 1.0, 3.0, 1.0])
    ones = np.ones(2)
    saveat = np.linspace(0, 10, 21)
    return Case(
        "lotka_volterra", problem, saveat, _sum_of_squares(ones), "Tsit5", 1e-10, 1e-10, ones
    )


def lorenz() -> Case:
    def f(u, p, t):
        x, y, z = u
        return [p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z]

    problem = sml.ODEProblem(f, [1.0, 0.0, 0.0], (0.0, 2.0), [10.0, 28.0, 8 / 3])
    scale = np.array([10.0, 10.0, 30.0])
    saveat = np.linspace(0, 2, 11)
    return Case("lorenz", problem, saveat, _sum_of_squares(scale), "Tsit5", 1e-11, 1e-11, scale)


def network(*sizes: int, seed: int = 0) -> torch.nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    layers: list[torch.nn.Module] = []
    for k, (m, n) in enumerate(itertools.pairwise(sizes)):
        linear = torch.nn.Linear(m, n, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.randn(n, m, generator=generator, dtype=float) / m**0.5)
            linear.bias.copy_(0.1 * torch.randn(n, generator=generator, dtype=float))
        layers += [linear, torch.nn.Tanh()] if k + 2 < len(sizes) else [linear]
    return torch.nn.Sequential(*layers)


class Universal(torch.nn.Module):
    """Known growth and death, an unknown interaction."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = torch.nn.Parameter(torch.tensor([1.3, 1.8], dtype=torch.float64))
        self.net = network(2, 32, 32, 2)

    def forward(self, t, u):
        return self.rates * u * torch.tensor([1.0, -1.0], dtype=u.dtype) + self.net(u)


def universal() -> Case:
    problem = sml.ODEProblem(Universal(), [0.44249296, 4.6280594], (0.0, 3.0))
    ones = np.ones(2)
    saveat = np.linspace(0, 3, 31)
    return Case("universal", problem, saveat, _sum_of_squares(ones), "Tsit5", 1e-10, 1e-10, ones)


def robertson() -> Case:
    def f(u, p, t):
        a, b, c = p[0] * u[0], p[1] * u[1] * u[1], p[2] * u[1] * u[2]
        return [-a + c, a - b - c, b]

    problem = sml.ODEProblem(f, [1.0, 1e-7, 1e-7], (0.0, 1e5), [0.04, 3e7, 1e4])
    scale = np.array([1.0, 1e-5, 1.0])
    saveat = np.logspace(-4, 5, 10)
    return Case(
        "robertson",
        problem,
        saveat,
        _sum_of_squares(scale),
        "Rodas5P",
        1e-10,
        1e-9,
        scale,
        1e-11,
        1e-2,
    )


class Stiff(torch.nn.Module):
    """A network on the slow component; the fast one is drawn to it 1e4 times as fast."""

    def __init__(self) -> None:
        super().__init__()
        self.pull = torch.nn.Parameter(torch.tensor(1e4, dtype=torch.float64))
        self.net = network(2, 8, 1)

    def forward(self, t, u):
        slow = self.net(u)[0]
        return torch.stack([slow, self.pull * (torch.sin(u[0]) - u[1])])


def stiff_network() -> Case:
    problem = sml.ODEProblem(Stiff(), [1.0, 0.0], (0.0, 3.0))
    ones = np.ones(2)
    saveat = np.linspace(0, 3, 7)
    return Case(
        "stiff_network",
        problem,
        saveat,
        _sum_of_squares(ones),
        "Rodas5P",
        1e-10,
        1e-10,
        ones,
        1e-12,
        1e-2,
    )


class Reaction(torch.nn.Module):
    """A field on a ring: diffusion, and a reaction that is a small network."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.diffusion = torch.nn.Parameter(torch.tensor(0.02, dtype=torch.float64))
        self.net = network(1, 8, 1)

    def forward(self, t, u):
        laplacian = torch.roll(u, 1) + torch.roll(u, -1) - 2 * u
        return self.diffusion * laplacian * self.n + self.net(u[:, None])[:, 0]


def reaction_diffusion() -> Case:
    n = 64
    x = np.arange(n) / n
    problem = sml.ODEProblem(Reaction(n), 0.5 + 0.3 * np.sin(2 * np.pi * x), (0.0, 1.0))
    ones = np.ones(n)
    saveat = np.linspace(0, 1, 6)
    return Case(
        "reaction_diffusion", problem, saveat, _sum_of_squares(ones), "Tsit5", 1e-10, 1e-10, ones
    )


@functools.cache
def cases() -> dict[str, Case]:
    made = (
        lotka_volterra(),
        lorenz(),
        universal(),
        robertson(),
        reaction_diffusion(),
        stiff_network(),
    )
    return {case.name: case for case in made}
