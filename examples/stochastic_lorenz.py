"""The Lorenz attractor under noise: how long can it be foretold, and what is sure in the long run?

A thousand paths start from one state, each with additive noise of its own.
At first they stay together; then the two wings of the attractor tear the fan apart. What remains
are averages. In the stationary state those of d(x^2) and dz vanish, and Ito's formula leaves
<xy> = <x^2> - a^2/(2 sigma) and <xy> = beta <z>, whatever the strength a of the noise.

Run: python examples/stochastic_lorenz.py [--short]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml

SIGMA, RHO, BETA, STRENGTH = 10.0, 28.0, 8.0 / 3.0, 4.0
SPAN = (0.0, 30.0)


def lorenz(u, p, t):
    x, y, z = u
    return [SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z]


def noise(u, p, t):
    """Of the same strength in every component."""
    return STRENGTH * torch.ones(3)


PROBLEM = sml.SDEProblem(lorenz, noise, [-8.0, -8.0, 27.0], SPAN, names=["x", "y", "z"])


def averages(paths: sml.EnsembleSolution, start: float) -> tuple[np.ndarray, np.ndarray]:
    """Means of x^2 - xy, xy - beta z and z along each path from a time on, and standard errors."""
    x, y, z = np.moveaxis(paths.u[:, paths.t >= start], -1, 0)
    terms = np.stack([x * x - x * y, x * y - BETA * z, z])
    of_paths = np.trapezoid(terms, dx=paths.t[1] - paths.t[0], axis=2) / (paths.t[-1] - start)
    return of_paths.mean(axis=1), of_paths.std(axis=1) / np.sqrt(len(paths))


def draw(paths: sml.EnsembleSolution, path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained")
    paths.plot("x", ax=left)
    left.set_xlim(0.0, 10.0)
    x, _, z = paths.u[0].T
    right.plot(x, z, lw=0.5)
    right.set(xlabel="x", ylabel="z", title="One path")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer paths")
    parser.add_argument("--engine", default="native")
    options = parser.parse_args(arguments)
    n = 200 if options.short else 1_000

    how = {"dt": 1 / 256, "adaptive": False, "saveat": 1 / 64, "seed": 1}
    paths = sml.solve_ensemble(PROBLEM, n, "SOSRA", options.engine, **how)
    found, errors = averages(paths, start=10.0)
    expected = (f"{STRENGTH**2 / (2 * SIGMA):g}", "0", "no formula")
    for name, mean, error, exact in zip(
        ("<x^2> - <xy>", "<xy> - beta <z>", "<z>"), found, errors, expected, strict=True
    ):
        print(f"{name} = {mean:.4f} +- {error:.4f} (Ito: {exact})")
    draw(paths, Path("output") / "stochastic_lorenz.png")
    return found, errors


if __name__ == "__main__":
    main()
