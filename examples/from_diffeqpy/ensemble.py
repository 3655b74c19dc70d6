"""diffeqpy's README: the Lorenz equations from random states with random parameters.

The random numbers are arrays, one row for each trajectory, so no Python function is called in
between; `prob_func=lambda prob, i: prob.remake(...)` is there for what arrays cannot say.

Run: python examples/from_diffeqpy/ensemble.py [--short] [--engine julia]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml


def f(u, p, t):
    x, y, z = u
    sigma, rho, beta = p
    return [sigma * (y - x), x * (rho - z) - y, x * y - beta * z]


u0 = np.array([1.0, 0.0, 0.0])
tspan = (0.0, 100.0)
p = np.array([10.0, 28.0, 8 / 3])
prob = sml.ODEProblem(f, u0, tspan, p, names=["x", "y", "z"])


def main(arguments: list[str] | None = None) -> sml.EnsembleSolution:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer trajectories")
    parser.add_argument("--engine", default="auto")
    chosen = parser.parse_args(arguments)

    n = 100 if chosen.short else 10_000
    rng = np.random.default_rng(1)
    ens = sml.solve_ensemble(
        prob,
        u0=rng.uniform(size=(n, 3)) * u0,
        p=rng.uniform(size=(n, 3)) * p,
        alg="Tsit5",
        engine=chosen.engine,
        saveat=0.1,
    )
    figure, axes = plt.subplots(layout="constrained")
    ens.plot(ax=axes)
    path = Path("output", "diffeqpy_ensemble.png")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    return ens


if __name__ == "__main__":
    main()
