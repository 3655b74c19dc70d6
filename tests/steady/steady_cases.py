"""Systems whose steady states are known."""

from __future__ import annotations

import numpy as np

import pysciml as sml


def lotka_volterra_rate(u, p, t):
    prey, predator = u
    return [
        p["growth"] * prey - p["eaten"] * prey * predator,
        p["fed"] * prey * predator - p["death"] * predator,
    ]


RATES = {"growth": 1.1, "eaten": 0.4, "fed": 0.1, "death": 0.4}


def lotka_volterra() -> sml.SteadyStateProblem:
    """A centre at (death/fed, growth/eaten), which no flow reaches."""
    return sml.SteadyStateProblem(lotka_volterra_rate, [3.0, 2.0], RATES)


def brusselator_rate(u, p, t):
    a, b = p
    return [a + u[0] ** 2 * u[1] - (b + 1.0) * u[0], b * u[0] - u[0] ** 2 * u[1]]


def brusselator(a: float = 1.2, b: float = 1.7) -> sml.SteadyStateProblem:
    """(a, b/a), stable for b < 1 + a^2, else inside a limit cycle."""
    return sml.SteadyStateProblem(brusselator_rate, [1.0, 1.0], [a, b])


def gene_rate(u, p, t):
    """A gene that its own protein represses, made and decayed: messenger m, protein x."""
    m, x = u
    return [p["made"] / (1.0 + (x / p["half"]) ** 2) - m, p["read"] * m - p["decay"] * x]


GENE = {"made": 3.0, "half": 0.8, "read": 2.0, "decay": 0.5}


def gene() -> sml.SteadyStateProblem:
    return sml.SteadyStateProblem(gene_rate, [0.1, 0.1], GENE, names=["m", "x"])


def gene_exact(p: dict[str, float]) -> np.ndarray:
    """The one real root of decay x (1 + (x/half)^2) = made read, and m."""
    cubic = [p["decay"] / p["half"] ** 2, 0.0, p["decay"], -p["made"] * p["read"]]
    roots = np.roots(cubic)
    x = roots[np.abs(roots.imag) < 1e-9].real[0]
    return np.array([p["decay"] * x / p["read"], x])


def binding_rate(u, p, t):
    """A + B <-> C: a + c and b + c are conserved."""
    forward = p[0] * u[0] * u[1] - p[1] * u[2]
    return [-forward, -forward, forward]


def binding() -> sml.SteadyStateProblem:
    return sml.SteadyStateProblem(binding_rate, [1.0, 2.0, 0.0], [3.0, 0.5])


def binding_exact() -> np.ndarray:
    """c of (1 - c) (2 - c) k = c, k = 6, between 0 and 1."""
    c = np.roots([6.0, -19.0, 12.0]).min()
    return np.array([1.0 - c, 2.0 - c, c])


def heat() -> sml.SteadyStateProblem:
    """u'' + 1 = 0 between two zeros, in a 2-D array of twice the same rod: x (1 - x)/2."""
    n = 31
    h = 1.0 / (n + 1)

    def f(u, p, t):
        import torch

        wide = torch.nn.functional.pad(u, (1, 1))
        return (wide[:, 2:] - 2.0 * u + wide[:, :-2]) / h**2 + p

    return sml.SteadyStateProblem(f, np.zeros((2, n)), 1.0)
