"""Where can a network be trusted? The distance from its training states, beside its error.

A network stands for all that prey and predators do to each other. It saw them on [0, 3]; up to
t = 12 it is asked about states that it never saw. How far these are is known without the truth.

Run: python examples/where_to_trust.py [--short] [--engine native]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml
from pysciml.discover import Coverage, Reach, coverage
from pysciml.train import L2, LBFGS, Adam

U0 = [0.44249296, 4.6280594]
NAMES = ["prey", "predator"]
network, first = sml.nn.functional(sml.nn.mlp([2, 32, 2], "tanh"))


def truth(u, p, t):
    x, y = u
    return [1.3 * x - 0.9 * x * y, 0.8 * x * y - 1.8 * y]


def model(u, p, t):
    x, y = u
    eaten, fed = network(u, p)
    return [1.3 * x + eaten, fed - 1.8 * y]


@dataclass
class Outcome:
    """A trained model's distances, and its error in du/dt at states on the way."""

    distances: Coverage
    reach: Reach
    error: np.ndarray  # relative to the mean size of du/dt


def run(engine: str, short: bool) -> tuple[Outcome, Outcome]:
    exact = sml.ODEProblem(truth, U0, (0.0, 12.0), names=NAMES)
    clean = sml.solve(exact, engine=engine, saveat=0.1, abstol=1e-10, reltol=1e-10)
    problem = sml.ODEProblem(model, U0, (0.0, 3.0), first, names=NAMES)
    data = clean.t[:31], clean.u[:31]
    stages = [Adam(0.01, 150 if short else 300), LBFGS(150 if short else 500)]
    result = sml.fit(
        problem, data, optimisers=stages, regularise=L2(1e-5), engine=engine, progress=False
    )
    distances = coverage(result)
    fine = sml.solve(exact, engine=engine, saveat=0.02, abstol=1e-10, reltol=1e-10)
    off = sml.solve(
        exact.remake(u0=[1.0, 1.0]), engine=engine, saveat=0.02, abstol=1e-10, reltol=1e-10
    )
    outcomes = [
        Outcome(distances, distances.along(sol), error(sol.u, result.p)) for sol in (fine, off)
    ]
    return outcomes[0], outcomes[1]


def error(u: np.ndarray, weights: dict) -> np.ndarray:
    """Of the learned part, at each state."""
    wanted = np.stack([-0.9 * u[:, 0] * u[:, 1], 0.8 * u[:, 0] * u[:, 1]], axis=1)
    found = np.asarray(network(u, weights))
    return np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1).mean()


def report(outcome: Outcome, what: str) -> None:
    inside = outcome.reach.distance <= 1.0
    outside = outcome.reach.distance > 10.0
    print(
        f"{what}: {outcome.reach.fraction:.0%} of the times within distance 1; leaves at "
        f"t = {outcome.reach.leaves}"
    )
    for mask, label in ((inside, "distance <= 1"), (outside, "distance > 10")):
        if mask.any():
            print(f"  median error of the network, {label}: {np.median(outcome.error[mask]):.1%}")


def main(arguments: list[str] | None = None) -> tuple[Outcome, Outcome]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few iterations, for tests")
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args(arguments)
    on, off = run(options.engine, options.short)
    report(on, "the training trajectory, continued")
    report(off, "another trajectory, from (1, 1)")
    path = Path("output") / "where_to_trust.png"
    path.parent.mkdir(exist_ok=True)
    figure = on.reach.plot()
    over_time = figure.axes[1]
    over_time.plot(on.reach.t, on.error, color="C0", label="error of the network, relative")
    over_time.axvspan(0.0, 3.0, color="0.92", zorder=0)
    over_time.set_ylim(1e-3, 3e3)
    over_time.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print("picture:", path)
    return on, off


if __name__ == "__main__":
    main()
