"""Deep BSDE: three equations in a hundred dimensions, against what is known of them.

Allen-Cahn, Hamilton-Jacobi-Bellman and Black-Scholes with default risk, as J. Han, A. Jentzen and
W. E solved them (PNAS 115 (2018) 8505-8510). No grid has a hundred dimensions, but two of the three
can be checked without one: the first is a function of |x| alone, an equation in one dimension that
the method of lines solves, and the second has a closed form, an expected value.

Run: python examples/deep_bsde.py [--short]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats

import pysciml as sml
from pysciml.models import DeepBSDE
from pysciml.train import Adam

D = 100


def allen_cahn() -> DeepBSDE:
    """du/dt + Laplace u + u - u^3 = 0."""
    return DeepBSDE(
        lambda x, u, z, t: u - u**3,
        lambda x: 1.0 / (2.0 + 0.4 * (x**2).sum(-1)),
        np.zeros(D),
        (0.0, 0.3),
        sigma=math.sqrt(2.0),
    )


def hamilton_jacobi_bellman() -> DeepBSDE:
    """du/dt + Laplace u = |grad u|^2: the least cost of steering a noisy particle."""
    return DeepBSDE(
        lambda x, u, z, t: -0.5 * (z**2).sum(-1),  # z = sqrt(2) grad u
        lambda x: torch.log((1.0 + (x**2).sum(-1)) / 2.0),
        np.zeros(D),
        (0.0, 1.0),
        sigma=math.sqrt(2.0),
    )


def black_scholes() -> DeepBSDE:
    """The worth of the cheapest of a hundred shares in a year, from someone who may default, the
    more likely the less it is worth: between 0.2 and 0.02 a year at 50 and at 70."""
    recovered, rate = 2.0 / 3.0, 0.02

    def f(x, u, z, t):
        intensity = torch.clamp(0.2 + (0.02 - 0.2) / (70.0 - 50.0) * (u - 50.0), 0.02, 0.2)
        return -((1.0 - recovered) * intensity + rate) * u

    return DeepBSDE(
        f,
        lambda x: x.amin(-1),
        np.full(D, 100.0),
        (0.0, 1.0),
        mu=lambda x, t: 0.02 * x,
        sigma=lambda x, t: 0.2 * x,
        steps=40,
    )


def allen_cahn_by_lines(points: int = 300, end: float = 15.0) -> float:
    """The first equation in r = |x|, u_rr + (d - 1) u_r / r in the place of Laplace u."""
    h = end / points
    r = h * (np.arange(points) + 0.5)
    outwards = torch.as_tensor((D - 1) / r)

    def f(u, p, t):
        wide = torch.cat([u[:1], u, u[-1:]])  # even in r; flat far out
        left, right = wide[:-2], wide[2:]
        return (left - 2.0 * u + right) / h**2 + outwards * (right - left) / (2.0 * h) + u - u**3

    problem = sml.ODEProblem(f, 1.0 / (2.0 + 0.4 * r**2), (0.0, 0.3))
    u = sml.solve(problem, "Rodas5P", "native", saveat=[0.3], abstol=1e-10, reltol=1e-8).u[-1]
    return float(np.polyval(np.polyfit(r[:3] ** 2, u[:3], 2), 0.0))


def hamilton_jacobi_bellman_exactly() -> float:
    """-log E exp(-g(sqrt(2) W)), where |W|^2 at t = 1 is chi-squared."""
    return -math.log(stats.chi2(D).expect(lambda c: 2.0 / (1.0 + 2.0 * c)))


@dataclass
class Outcome:
    name: str
    known: float
    source: str
    begun: float
    found: float
    model: DeepBSDE
    losses: np.ndarray
    seconds: float

    @property
    def error(self) -> float:
        return abs(self.found / self.known - 1.0)


CASES: dict[str, tuple[Callable[[], DeepBSDE], Callable[[], float], str]] = {
    "Allen-Cahn": (allen_cahn, allen_cahn_by_lines, "method of lines in |x|"),
    "Hamilton-Jacobi-Bellman": (
        hamilton_jacobi_bellman,
        hamilton_jacobi_bellman_exactly,
        "closed form",
    ),
    "Black-Scholes, default risk": (black_scholes, lambda: 57.3, "multilevel Picard, published"),
}


def solve(name: str, iterations: int, seed: int = 0) -> Outcome:
    make, known, source = CASES[name]
    model = make()
    result = sml.fit(model, optimisers=Adam(0.01, iterations, "cosine"), seed=seed, progress=False)
    fitted = model.fitted(result)
    history = result.history
    return Outcome(
        name, known(), source, model.u0, fitted.u0, fitted, history.loss, history.seconds[-1]
    )


def draw(outcomes: list[Outcome]) -> plt.Figure:
    figure, axes = plt.subplots(2, 3, figsize=(12, 6.5), layout="constrained")
    for outcome, (above, below) in zip(outcomes, axes.T, strict=True):
        above.semilogy(outcome.losses, color="0.6", linewidth=0.7)
        above.set_title(f"{outcome.name}\nu = {outcome.found:.5g}, known {outcome.known:.5g}")
        above.set_xlabel("iteration")
        paths = outcome.model.simulate(40, seed=1)
        below.plot(paths.t, paths.u, color="C0", linewidth=0.6, alpha=0.6)
        ends = outcome.model.g(torch.as_tensor(paths.x[-1])).numpy()
        below.plot(np.full(40, paths.t[-1]), ends, "_", color="C3", markersize=9, label="g(x(T))")
        below.plot(paths.t[0], outcome.known, "o", color="black", label="known u(x0, 0)")
        below.set_xlabel("t")
    axes[0, 0].set_ylabel("(u(T) - g)^2 / var g")
    axes[1, 0].set_ylabel("u along 40 paths")
    axes[1, 0].legend(fontsize=8)
    return figure


def main(arguments: list[str] | None = None) -> list[Outcome]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few iterations, for tests")
    short = parser.parse_args(arguments).short
    torch.set_num_threads(1)  # more only slow products of this size down
    outcomes = []
    for name in CASES:
        outcome = solve(name, 150 if short else 1000)
        outcomes.append(outcome)
        print(
            f"{name:<28} u = {outcome.found:.5g}, from {outcome.begun:.5g}; {outcome.source}: "
            f"{outcome.known:.5g}, {100 * outcome.error:.2f} % off, {outcome.seconds:.1f} s"
        )
    path = Path("output") / "deep_bsde.png"
    path.parent.mkdir(exist_ok=True)
    draw(outcomes).savefig(path, dpi=150)
    print("picture:", path)
    return outcomes


if __name__ == "__main__":
    main()
