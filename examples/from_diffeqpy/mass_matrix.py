"""diffeqpy's README: Robertson's equations with a singular mass matrix.

The matrix is a NumPy array, and nothing is converted by hand.

Run: python examples/from_diffeqpy/mass_matrix.py [--engine julia]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml


def rober(du, u, p, t):
    y1, y2, y3 = u
    k1, k2, k3 = p
    du[0] = -k1 * y1 + k3 * y2 * y3
    du[1] = k1 * y1 - k3 * y2 * y3 - k2 * y2**2
    du[2] = y1 + y2 + y3 - 1


M = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
prob_mm = sml.ODEProblem(
    rober, [1.0, 0.0, 0.0], (0.0, 1e5), (0.04, 3e7, 1e4), mass_matrix=M, names=["y1", "y2", "y3"]
)


def main(arguments: list[str] | None = None) -> sml.Solution:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", default="auto")
    engine = parser.parse_args(arguments).engine

    sol = sml.solve(prob_mm, "Rodas5P", engine=engine, reltol=1e-8, abstol=1e-8)
    figure, axes = plt.subplots(layout="constrained")
    axes.semilogx(sol.t[1:], sol.u[1:] * [1.0, 1e4, 1.0], label=["y1", "10⁴ y2", "y3"])
    axes.set(xlabel="t")
    axes.legend()
    path = Path("output", "diffeqpy_mass_matrix.png")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    return sol


if __name__ == "__main__":
    main()
