"""Continuous normalising flows: densities in one and two dimensions, beside the true ones.

An ODE carries samples to a normal density, and its divergence along the way gives theirs
(Grathwohl et al., FFJORD, ICLR 2019). What is compared is the log-likelihood of samples that were
not trained on, in nats: under the learned density, and under the true one, which nothing can beat
on average. In two dimensions also with the trace estimated by random signs, in batches, as it has
to be in many dimensions.

Run: python examples/normalizing_flow.py [--short]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

import pysciml as sml
from pysciml.models import ContinuousNormalizingFlow
from pysciml.train import L2, LBFGS, Adam

RING = 2.0 * np.exp(2j * np.pi * np.arange(6) / 6)
CENTRES, WIDTH = np.stack([RING.real, RING.imag], -1), 0.4


@dataclass(frozen=True)
class Density:
    name: str
    n: int
    sample: Callable[[int, np.random.Generator], np.ndarray]
    log_prob: Callable[[np.ndarray], np.ndarray]


def two_hills(count: int, random: np.random.Generator) -> np.ndarray:
    left = random.random(count) < 0.4
    hills = random.normal(-1.5, 0.4, count), random.normal(1.0, 0.7, count)
    return np.where(left, *hills)[:, None]


def log_two_hills(x: np.ndarray) -> np.ndarray:
    return np.log(0.4 * norm.pdf(x[:, 0], -1.5, 0.4) + 0.6 * norm.pdf(x[:, 0], 1.0, 0.7))


def banana(count: int, random: np.random.Generator) -> np.ndarray:
    x, y = random.normal(0.0, 1.2, count), random.normal(0.0, 0.5, count)
    return np.stack([x, y + 0.7 * x**2 - 1.0], -1)


def log_banana(x: np.ndarray) -> np.ndarray:
    height = x[:, 1] - 0.7 * x[:, 0] ** 2 + 1.0
    return norm.logpdf(x[:, 0], 0.0, 1.2) + norm.logpdf(height, 0.0, 0.5)


def ring(count: int, random: np.random.Generator) -> np.ndarray:
    return CENTRES[random.integers(6, size=count)] + WIDTH * random.standard_normal((count, 2))


def log_ring(x: np.ndarray) -> np.ndarray:
    each = norm.logpdf(x[:, None], CENTRES, WIDTH).sum(-1)
    return logsumexp(each, axis=1) - np.log(6.0)


DENSITIES = (
    Density("two hills", 1, two_hills, log_two_hills),
    Density("banana", 2, banana, log_banana),
    Density("ring", 2, ring, log_ring),
)


@dataclass
class Outcome:
    density: Density
    trace: str
    flow: ContinuousNormalizingFlow
    likelihood: float  # mean logarithm of the learned density, on new samples
    best: float  # of the true one
    seconds: float


def learn(density: Density, options: dict, count: int, stages) -> Outcome:
    samples = density.sample(count, np.random.default_rng(0))
    width = 16 if density.n == 1 else 32
    flow = ContinuousNormalizingFlow(
        sml.nn.mlp([density.n + 1, width, density.n], seed=0), density.n, **options
    )
    result = sml.fit(
        flow,
        samples,
        optimisers=stages,
        regularise=L2(1e-4, on="module"),
        engine="native",
        abstol=1e-4,
        reltol=1e-4,
        progress=False,
    )
    flow = flow.fitted(result)
    new = density.sample(4000, np.random.default_rng(1))
    found = Outcome(
        density,
        "random, batches" if options else "exact",
        flow,
        float(flow.log_prob(new, abstol=1e-6, reltol=1e-6).mean()),
        float(density.log_prob(new).mean()),
        float(result.history.seconds[-1]),
    )
    print(
        f"  {density.name:<10} {found.trace:<16} {found.likelihood:8.4f} {found.best:8.4f}"
        f" {found.best - found.likelihood:9.4f} {found.seconds:8.1f} s",
        flush=True,
    )
    return found


def draw(outcomes: list[Outcome]) -> plt.Figure:
    one, *two = [outcome for outcome in outcomes if outcome.trace == "exact"]
    figure = plt.figure(figsize=(15, 4.2 * len(two)), layout="constrained")
    grid = figure.add_gridspec(len(two), 4, width_ratios=(1.3, 1.0, 1.0, 1.0))
    line = figure.add_subplot(grid[:, 0])
    x = np.linspace(-4.0, 4.0, 300)[:, None]
    line.plot(x, np.exp(one.density.log_prob(x)), ":", color="black", label="true")
    line.plot(x, np.exp(one.flow.log_prob(x)), color="C2", label="learned")
    line.hist(one.flow.sample(4000)[:, 0], 80, density=True, alpha=0.3, label="its samples")
    line.set(title=one.density.name, xlabel="x", ylabel="density", xlim=(-4.0, 4.0))
    line.legend()
    for row, outcome in enumerate(two):
        low, high = ([-4.0, -3.0], [4.0, 6.0]) if row == 0 else ([-3.5, -3.5], [3.5, 3.5])
        axes = [np.linspace(a, b, 80) for a, b in zip(low, high, strict=True)]
        points = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
        shown = {"true": outcome.density.log_prob, "learned": outcome.flow.log_prob}
        for column, (name, log_prob) in enumerate(shown.items(), 1):
            ax = figure.add_subplot(grid[row, column])
            ax.pcolormesh(*axes, np.exp(log_prob(points)).reshape(80, 80), shading="gouraud")
            ax.set_title(f"{outcome.density.name}, {name}")
        ax = figure.add_subplot(grid[row, 3])
        ax.plot(*outcome.flow.sample(1500).T, ".", markersize=2)
        ax.set(title="its samples", xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return figure


def main(arguments: list[str] | None = None) -> list[Outcome]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="two densities, few samples, for tests"
    )
    short = parser.parse_args(arguments).short
    print("Mean log-likelihood of new samples, learned and true, and the difference, in nats:")
    outcomes = []
    for density in DENSITIES[:2] if short else DENSITIES:
        stages = [Adam(0.03, 60 if short else 150), LBFGS(40 if short else 150)]
        outcomes.append(learn(density, {}, 300 if short else 2000, stages))
        if density.n > 1:
            options = {"trace": "hutchinson", "batch": 100 if short else 400}
            adam = Adam(0.03, 100 if short else 1000, "cosine")
            outcomes.append(learn(density, options, 300 if short else 2000, adam))
    path = Path("output") / "normalizing_flow.png"
    path.parent.mkdir(exist_ok=True)
    draw(outcomes).savefig(path, dpi=120)
    print("picture:", path)
    return outcomes


if __name__ == "__main__":
    main()
