"""Proteins made in bursts: jumps in the solution of an ordinary differential equation.

A gene is read now and then. Each time its messenger lives shortly, and a burst of proteins is made,
whose size is exponential; between bursts proteins decay, du/dt = -u. In the long run their number
then follows a gamma distribution, with the bursts per lifetime as its shape and their mean size as
its scale (Friedman, Cai and Xie, Physical Review Letters 97 (2006) 168302).

Run: python examples/gene_bursts.py [--short]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats

import pysciml as sml

OFTEN, SIZE = 3.0, 20.0  # bursts per lifetime of a protein, and how many proteins a burst makes


def decay(u, p, t):
    return -u


def burst(u, p, t, z):
    """More proteins: z is uniform, so that -log(z) is exponential."""
    return u - p["size"] * torch.log(z)


def cell(lifetimes: float) -> sml.JumpProblem:
    equation = sml.ODEProblem(
        decay, [OFTEN * SIZE], (0.0, lifetimes), {"often": OFTEN, "size": SIZE}, names=["proteins"]
    )
    return sml.JumpProblem(equation, [sml.Jump("often", burst, "uniform")])


def draw(sol: sml.Solution, sample: np.ndarray, path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    t = np.linspace(0.0, 20.0, 4001)
    axes[0].plot(t, sol(t)[:, 0], lw=1.0)
    axes[0].set(xlabel="lifetimes", ylabel="proteins", title="The beginning of the path")
    axes[1].hist(sample, "auto", density=True, color="tab:green", alpha=0.6, label="along the path")
    x = np.linspace(0.0, sample.max(), 400)
    axes[1].plot(x, stats.gamma.pdf(x, OFTEN, scale=SIZE), "k--", label="gamma distribution")
    axes[1].set(xlabel="proteins", ylabel="density", title="In the long run")
    axes[1].legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> tuple[sml.Solution, np.ndarray]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a shorter path")
    parser.add_argument("--engine", default="native")
    options = parser.parse_args(arguments)

    sol = sml.solve(cell(400 if options.short else 4_000), engine=options.engine, seed=1)
    (bursts,) = sol.events
    sample = sol(np.arange(5.0, sol.t[-1], 4.0))[:, 0]  # far enough apart to be independent
    print(f"{len(bursts.t)} bursts in {sol.t[-1]:g} lifetimes; expected: {OFTEN * sol.t[-1]:g}")
    print(f"{sample.mean():.1f} +- {sample.std():.1f} proteins; expected: ", end="")
    print(f"{OFTEN * SIZE:.1f} +- {OFTEN**0.5 * SIZE:.1f}")
    draw(sol, sample, Path("output") / "gene_bursts.png")
    return sol, sample


if __name__ == "__main__":
    main()
