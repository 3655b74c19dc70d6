"""Merton's jump-diffusion: a stock that may crash overnight, and what an option on it costs.

Between crashes the price is a geometric Brownian motion; at each of them it is multiplied by a
log-normal number. The price of a call is the mean of what it pays. Merton found it as a series, a
Black-Scholes price for each number of jumps (Journal of Financial Economics 3 (1976) 125-144).

Needs Julia. Run: python examples/jump_diffusion.py [--short]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats

import pysciml as sml

RATE, SIGMA = 0.05, 0.2  # of interest, and the volatility between crashes
OFTEN, MEAN, SPREAD = 1.0, -0.25, 0.15  # crashes a year, and the logarithm of what they leave
LEFT = math.exp(MEAN + SPREAD**2 / 2)  # the mean of what a crash leaves
STRIKES = np.array([0.8, 1.0, 1.2])


def stock() -> sml.JumpProblem:
    """The price, with a drift that makes up for crashes: discounted it is a fair game."""
    drift = RATE - OFTEN * (LEFT - 1.0)
    equation = sml.SDEProblem(
        lambda u, p, t: drift * u, lambda u, p, t: SIGMA * u, [1.0], (0.0, 1.0), names=["price"]
    )
    crash = sml.Jump(OFTEN, lambda u, p, t, z: u * torch.exp(MEAN + SPREAD * z), "normal")
    return sml.JumpProblem(equation, [crash])


def merton(strikes: np.ndarray) -> np.ndarray:
    """Prices of calls: Black-Scholes prices, by how many crashes there were."""
    total = np.zeros_like(strikes)
    for k in range(40):
        drift = RATE - OFTEN * (LEFT - 1.0) + k * math.log(LEFT)
        variance = SIGMA**2 + k * SPREAD**2
        low = (np.log(1.0 / strikes) + drift - variance / 2) / math.sqrt(variance)
        gain = math.exp(drift) * stats.norm.cdf(low + math.sqrt(variance))
        total += stats.poisson.pmf(k, OFTEN) * (gain - strikes * stats.norm.cdf(low))
    return math.exp(-RATE) * total


def draw(paths: sml.EnsembleSolution, path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    axes[0].plot(paths.t, paths.u[:12, :, 0].T, lw=0.9)
    axes[0].set(xlabel="years", ylabel="price", title="Twelve paths")
    axes[1].hist(np.log(paths.u[:, -1, 0]), 80, density=True, color="tab:blue", alpha=0.6)
    axes[1].set(xlabel="logarithm of the price after a year", ylabel="density", title="All paths")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer paths")
    options = parser.parse_args(arguments)
    n = 4_000 if options.short else 40_000

    paths = sml.solve_ensemble(stock(), n, "EM", "julia", saveat=1 / 64, dt=1 / 64, seed=1)
    paid = math.exp(-RATE) * np.maximum(paths.u[:, -1] - STRIKES, 0.0)
    price, error, exact = paid.mean(axis=0), paid.std(axis=0) / math.sqrt(n), merton(STRIKES)
    for k, strike in enumerate(STRIKES):
        print(f"strike {strike}: {price[k]:.4f} +- {error[k]:.4f}; Merton: {exact[k]:.4f}")
    draw(paths, Path("output") / "jump_diffusion.png")
    return price, error, exact


if __name__ == "__main__":
    main()
