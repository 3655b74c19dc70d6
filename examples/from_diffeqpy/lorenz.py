"""diffeqpy's README: the Lorenz equations, returned and in place.

Both forms are compiled to the same code, so `de.jit` and functions written in Julia have no
counterpart here: there is nothing left for them to do.

Run: python examples/from_diffeqpy/lorenz.py [--engine julia]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

import pysciml as sml


def f(u, p, t):
    x, y, z = u
    sigma, rho, beta = p
    return [sigma * (y - x), x * (rho - z) - y, x * y - beta * z]


def f_in_place(du, u, p, t):
    x, y, z = u
    sigma, rho, beta = p
    du[0] = sigma * (y - x)
    du[1] = x * (rho - z) - y
    du[2] = x * y - beta * z


u0 = [1.0, 0.0, 0.0]
tspan = (0.0, 100.0)
p = [10.0, 28.0, 8 / 3]


def main(arguments: list[str] | None = None) -> tuple[sml.Solution, sml.Solution]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", default="auto")
    engine = parser.parse_args(arguments).engine

    sol = sml.solve(sml.ODEProblem(f, u0, tspan, p), engine=engine, saveat=0.01)
    same = sml.solve(sml.ODEProblem(f_in_place, u0, tspan, p), engine=engine, saveat=0.01)

    figure = plt.figure(figsize=(10, 4), layout="constrained")
    series = figure.add_subplot(1, 2, 1)
    series.plot(sol.t, sol.u, linewidth=0.7, label=["x", "y", "z"])
    series.set(xlabel="t")
    series.legend(loc="upper right")
    phase = figure.add_subplot(1, 2, 2, projection="3d")
    phase.plot(*sol.u.T, linewidth=0.4)
    phase.set(xlabel="x", ylabel="y", zlabel="z")
    path = Path("output", "diffeqpy_lorenz.png")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    return sol, same


if __name__ == "__main__":
    main()
