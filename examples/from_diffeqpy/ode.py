"""diffeqpy's README: a one-dimensional ODE.

`de.ODEProblem`, `de.solve` and `saveat` are what they were; the method is a name. The function is
compiled, where diffeqpy calls it or needs `de.jit`.

Run: python examples/from_diffeqpy/ode.py [--engine julia]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml


def f(u, p, t):
    return -u


u0 = 0.5
tspan = (0.0, 1.0)
prob = sml.ODEProblem(f, u0, tspan)


def main(arguments: list[str] | None = None) -> sml.Solution:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", default="auto")
    engine = parser.parse_args(arguments).engine

    sol = sml.solve(prob, engine=engine)
    t = np.linspace(0, 1, 100)
    figure, axes = plt.subplots(layout="constrained")
    axes.plot(sol.t, sol.u, "o", label="steps")
    axes.plot(t, sol(t), label="sol(t)")
    axes.set(xlabel="t", ylabel="u")
    axes.legend()

    # the ninth-order method is Julia's
    alg = "Vern9" if sol.engine == "julia" else "Vern7"
    tight = sml.solve(prob, alg, engine=engine, saveat=0.1, abstol=1e-10, reltol=1e-10)
    print(f"u(1) = {tight.u[-1]:.12f}, exactly {0.5 * np.exp(-1):.12f}")

    path = Path("output", "diffeqpy_ode.png")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    return tight


if __name__ == "__main__":
    main()
