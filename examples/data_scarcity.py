"""What known structure is worth: a universal and a neural ODE with 10, 30, 100 and 300 points.

Predators and prey again, seen with noise on [0, 6]. The universal equation knows that prey grow and
predators die, and that nothing happens where nobody meets; the neural ODE knows nothing. Both are
asked for what they saw, for the time after it, and for a beginning that they never saw.

The law and its rates: Rackauckas et al., Universal Differential Equations for Scientific Machine
Learning, arXiv:2001.04385 (2020).

Run: python examples/data_scarcity.py [--short]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml
from pysciml.models import UDE, NeuralODE, Positive
from pysciml.train import L2, LBFGS, Adam, MultipleShooting

SETTINGS = {"engine": "native", "progress": False}
SEEN, END = 6.0, 12.0
U0, OTHER = [0.44249296, 4.6280594], [1.5, 1.0]
NOISE = 0.03  # of each species' mean
QUESTIONS = ("what was seen", "afterwards", "another beginning")


def truth(u, p, t):
    met = u[0] * u[1]
    return [1.3 * u[0] - 0.9 * met, 0.8 * met - 1.8 * u[1]]


def law(u, p, t, nn):
    eaten, fed = nn(u)
    return [1.3 * u[0] - eaten * u[0] * u[1], fed * u[0] * u[1] - 1.8 * u[1]]


def models(seed: int) -> dict:
    return {
        "universal ODE": UDE(law, Positive(sml.nn.mlp([2, 16, 2], seed=seed))),
        "neural ODE": NeuralODE(sml.nn.mlp([2, 16, 2], seed=seed)),
    }


def exact(start, end: float, saveat) -> sml.Solution:
    problem = sml.ODEProblem(truth, start, (0.0, end))
    return sml.solve(problem, "Vern7", saveat=saveat, abstol=1e-10, reltol=1e-10, engine="native")


def errors(fitted, clean: sml.Solution, other: sml.Solution) -> list[float]:
    """Root mean square errors over the spread of the truth, for each of the questions.

    A solution that leaves the plot counts as one that is wrong by ten spreads.
    """
    options = {"engine": "native", "raise_on_failure": False, "abstol": 1e-8, "reltol": 1e-8}
    found = []
    for start, true in ((U0, clean), (OTHER, other)):
        problem = sml.ODEProblem(fitted, start, (0.0, true.t[-1]))
        solved = sml.solve(problem, saveat=true.t, **options)
        u = np.full_like(true.u, np.inf)
        u[: len(solved.u)] = solved.u
        found.append(np.minimum(np.abs(u - true.u) / true.u.std(axis=0), 10.0))
    early = clean.t <= SEEN
    parts = (found[0][early], found[0][~early], found[1])
    return [float(np.sqrt((part**2).mean())) for part in parts]


def study(counts: list[int], seeds: int, iterations: int) -> dict[str, np.ndarray]:
    """For each model, errors of shape (counts, seeds, questions)."""
    clean, other = exact(U0, END, 0.05), exact(OTHER, SEEN, 0.05)
    found: dict[str, list] = {name: [] for name in models(0)}
    for count in counts:
        t = np.linspace(0.0, SEEN, count)
        u = exact(U0, SEEN, t).u
        rows: dict[str, list] = {name: [] for name in found}
        for seed in range(seeds):
            noise = np.random.default_rng(seed).standard_normal(u.shape)
            data = t, u + NOISE * u.mean(axis=0) * noise
            for name, model in models(seed).items():
                result = sml.fit(
                    model,
                    data,
                    u0=U0,
                    optimisers=[Adam(0.01, iterations), LBFGS(2 * iterations)],
                    strategy=MultipleShooting(4),
                    regularise=L2(1e-3),
                    **SETTINGS,
                )
                rows[name].append(errors(model.fitted(result), clean, other))
        for name, values in rows.items():
            found[name].append(values)
            shown = "  ".join(f"{x:.3f}" for x in np.median(values, axis=0))
            print(f"  {count:4} points  {name:<14} {shown}", flush=True)
    return {name: np.array(values) for name, values in found.items()}


def draw(counts: list[int], found: dict[str, np.ndarray]) -> plt.Figure:
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.3), sharey=True, layout="constrained")
    for question, (ax, title) in enumerate(zip(axes, QUESTIONS, strict=True)):
        for i, (name, values) in enumerate(found.items()):
            part = values[:, :, question]
            ax.loglog(counts, np.median(part, axis=1), "o-", color=f"C{i}", label=name)
            ax.fill_between(counts, part.min(axis=1), part.max(axis=1), color=f"C{i}", alpha=0.15)
        ax.set_xticks(counts, [str(count) for count in counts])
        ax.minorticks_off()
        ax.set(xlabel="points", title=title)
    axes[0].set_ylabel("error / spread of the truth")
    axes[0].legend()
    return figure


def main(arguments: list[str] | None = None) -> dict[str, np.ndarray]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="less of all, for tests")
    short = parser.parse_args(arguments).short
    counts = [10, 30] if short else [10, 30, 100, 300]
    print("Median errors over the spread of the truth:", ", ".join(QUESTIONS))
    found = study(counts, *((2, 100) if short else (5, 300)))
    path = Path("output") / "data_scarcity.png"
    path.parent.mkdir(exist_ok=True)
    draw(counts, found).savefig(path, dpi=150)
    print("picture:", path)
    return found


if __name__ == "__main__":
    main()
