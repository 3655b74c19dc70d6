"""diffeqpy's README: a delay differential equation.

There, the function has to be written in Julia. Here it is Python like any other, and compiled; the
lag is read off it, so that `constant_lags` may be left out. Needs Julia.

Run: python examples/from_diffeqpy/dde.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

import pysciml as sml

START = [1.05767027 / 3, 1.030713491 / 3]


def f(du, u, h, p, t):
    past = h(p, t - 20.0)
    du[0] = 1.1 / (1 + 10**0.5 * past[0] ** (5 / 4)) - 10 * u[0] / (1 + 40 * u[1])
    du[1] = 100 * u[0] / (1 + 40 * u[1]) - 2.43 * u[1]


def h(p, t):
    return START


prob = sml.DDEProblem(f, START, h, (0.0, 100.0), constant_lags=[20.0])


def main(arguments: list[str] | None = None) -> sml.Solution:
    sol = sml.solve(prob, saveat=0.1)
    figure, axes = plt.subplots(layout="constrained")
    sol.plot(ax=axes)
    path = Path("output", "diffeqpy_dde.png")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    return sol


if __name__ == "__main__":
    main()
