"""An epidemic, person by person: when does it die out before it has begun?

In the SIR model's differential equations one ill person among a thousand always starts an epidemic.
People are whole, though: the first may recover before infecting anybody. Gillespie's direct method
follows single infections and recoveries; among many people its paths approach the differential
equation. The chance that the epidemic dies out at once, gamma/beta for each of the first ill, is
Whittle's (Biometrika 42 (1955) 116-122).

Run: python examples/sir_gillespie.py [--short]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml

BETA, GAMMA, SPAN = 0.1, 0.03, (0.0, 250.0)
NAMES = ["S", "I", "R"]


def epidemic(people: int, ill: int) -> sml.JumpProblem:
    """Jumps: S + I -> 2 I and I -> R."""
    reactions = [
        sml.Reaction("infection", {"S": 1, "I": 1}, {"I": 2}),
        sml.Reaction("recovery", {"I": 1}, {"R": 1}),
    ]
    rates = {"infection": BETA / people, "recovery": GAMMA}
    return sml.JumpProblem(reactions, [people - ill, ill, 0], SPAN, rates, names=NAMES)


def limit(u, p, t):
    """The differential equation, in parts of all people."""
    infection, recovery = BETA * u[0] * u[1], GAMMA * u[1]
    return [-infection, infection - recovery, recovery]


def draw(groups: dict[int, sml.EnsembleSolution], sure: sml.Solution, recovered, path: Path):
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    for ax, (people, paths) in zip(axes, groups.items(), strict=False):
        for i in range(30):
            ax.plot(paths.t, paths.u[i, :, 1] / people, color="tab:orange", alpha=0.35, lw=0.8)
        ax.plot(sure.t, sure.u[:, 1], "k--", label="differential equation")
        ax.set(xlabel="t", ylabel="ill, part of all", title=f"{people} people, 30 of the paths")
        ax.legend()
    axes[2].hist(recovered, bins=np.linspace(0, 1000, 51), color="tab:green")
    axes[2].set(
        xlabel="had it, of 1000", ylabel="epidemics", title="One ill person first", yscale="log"
    )
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> tuple[dict[int, sml.EnsembleSolution], float]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer paths")
    parser.add_argument("--engine", default="native")
    options = parser.parse_args(arguments)
    n = 2_000 if options.short else 20_000
    how = {"engine": options.engine, "seed": 1, "saveat": 1.0}

    groups = {
        people: sml.solve_ensemble(epidemic(people, people // 100), 200, **how)
        for people in (1_000, 100_000)
    }
    equation = sml.ODEProblem(limit, [0.99, 0.01, 0.0], SPAN, names=NAMES)
    sure = sml.solve(equation, engine=options.engine, saveat=1.0)
    for people, paths in groups.items():
        apart = np.abs(paths.u[:, :, 1] / people - sure.u[:, 1]).max(axis=1).mean()
        print(f"{people} people: paths leave the differential equation by {apart:.1e} on average")

    one_ill = sml.solve_ensemble(epidemic(1_000, 1), n, **{**how, "saveat": [SPAN[1]]})
    recovered = one_ill.u[:, -1, 2]
    at_once = float((recovered < 100).mean())
    print(f"of {n} epidemics {at_once:.1%} died out at once; theory: {GAMMA / BETA:.1%}")
    draw(groups, sure, recovered, Path("output") / "sir_gillespie.png")
    return groups, at_once


if __name__ == "__main__":
    main()
