"""diffeqpy's README: one SDE, the Lorenz equations with diagonal noise, and with shared noise.

A `seed` makes a path come again. Without one each solve is another path; `sol.seed` says which.

Run: python examples/from_diffeqpy/sde.py [--engine julia]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml


def f(u, p, t):
    return 1.01 * u


def g(u, p, t):
    return 0.87 * u


one = sml.SDEProblem(f, g, 0.5, (0.0, 1.0))


def lorenz(du, u, p, t):
    x, y, z = u
    sigma, rho, beta = p
    du[0] = sigma * (y - x)
    du[1] = x * (rho - z) - y
    du[2] = x * y - beta * z


def diagonal(du, u, p, t):
    du[0] = 0.3 * u[0]
    du[1] = 0.3 * u[1]
    du[2] = 0.3 * u[2]


def shared(du, u, p, t):  # du[i, j]: what the j-th Wiener process does to u[i]
    du[0, 0] = 0.3 * u[0]
    du[1, 0] = 0.6 * u[0]
    du[2, 0] = 0.2 * u[0]
    du[0, 1] = 1.2 * u[1]
    du[1, 1] = 0.2 * u[1]
    du[2, 1] = 0.3 * u[1]


given = [1.0, 0.0, 0.0], (0.0, 100.0), [10.0, 28.0, 2.66]
every = sml.SDEProblem(lorenz, diagonal, *given)
both = sml.SDEProblem(lorenz, shared, *given, noise_rate_prototype=np.zeros((3, 2)))


def main(arguments: list[str] | None = None) -> dict[str, sml.Solution]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", default="auto")
    engine = parser.parse_args(arguments).engine

    usual = {"reltol": 1e-2, "abstol": 1e-2}  # what SciML takes for SDEs; here it is 1e-3, 1e-6
    solutions = {
        "one equation": sml.solve(one, engine=engine, seed=1, reltol=1e-3, abstol=1e-3),
        "diagonal noise": sml.solve(every, engine=engine, seed=1, saveat=0.005, **usual),
        "shared noise": sml.solve(both, engine=engine, seed=1, saveat=0.005, **usual),
    }
    figure = plt.figure(figsize=(12, 4), layout="constrained")
    for k, (name, sol) in enumerate(solutions.items()):
        axes = figure.add_subplot(1, 3, k + 1, projection="3d" if k else None)
        axes.set_title(name)
        if k:
            axes.plot(*sol.u.T, linewidth=0.3)
            axes.set(xlabel="x", ylabel="y", zlabel="z")
        else:
            axes.plot(sol.t, sol.u)
            axes.set(xlabel="t", ylabel="u")
    path = Path("output", "diffeqpy_sde.png")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    return solutions


if __name__ == "__main__":
    main()
