"""Blood cells that are made too late: from rest through rhythm to chaos, by one delay.

Mackey and Glass (Science 197 (1977) 287-289) let the production of blood cells depend on how many
there were a lag ago, u' = beta u(t - lag) / (1 + u(t - lag)^n) - gamma u. With a short lag the
number comes to rest; with longer ones it swings, and from about 17 on it is chaotic: two
histories that differ by a thousandth part ways. The lag is a parameter of the one captured model.

Run: python examples/mackey_glass.py [--short] [--engine julia]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml

LAGS = {"at rest": 3.0, "a rhythm": 8.0, "chaos": 17.0}
RATES = {"beta": 0.2, "gamma": 0.1, "n": 10.0, "start": 1.2}


def cells(u, h, p, t):
    """Made of those that there were a lag ago; lost at once."""
    past = h(p, t - p["lag"])
    return p["beta"] * past / (1.0 + past ** p["n"]) - p["gamma"] * u


def history(p, t):
    return p["start"]


def blood(t1: float) -> sml.DDEProblem:
    rates = {**RATES, "lag": 17.0}
    return sml.DDEProblem(cells, rates["start"], history, (0.0, t1), rates, names=["cells"])


def solved(problem: sml.DDEProblem, engine: str, **changes: float) -> sml.Solution:
    p = {**problem.p, **changes}
    return sml.solve(problem.remake(p=p, u0=p["start"]), engine=engine, abstol=1e-9, reltol=1e-9)


def draw(runs: dict[str, sml.Solution], apart: tuple[np.ndarray, np.ndarray], path: Path) -> None:
    figure, axes = plt.subplots(2, 4, figsize=(15, 7), layout="constrained")
    t1 = next(iter(runs.values())).t[-1]
    late = np.linspace(0.6 * t1, t1, 12_000)
    for (series, portrait), (name, run) in zip(axes.T, runs.items(), strict=False):
        lag = run.problem.p["lag"]
        window = late[late > t1 - 250.0]
        series.plot(window, run(window))
        series.set(xlabel="t", ylabel="cells", ylim=(0.0, 1.5), title=f"lag {lag:g}: {name}")
        portrait.plot(run(late - lag), run(late), lw=0.6)
        portrait.plot(run(t1 - lag), run(t1), "o", ms=4, color="tab:red")
        portrait.set(xlabel=f"cells at t - {lag:g}", ylabel="cells at t")
        portrait.set(xlim=(0.0, 1.5), ylim=(0.0, 1.5))
    first, distance = axes[0, 3], axes[1, 3]
    t, pair = apart
    window = t > t1 - 250.0
    first.plot(t[window], pair[:, window].T)
    first.set(xlabel="t", ylabel="cells", ylim=(0.0, 1.5), title="lag 17 from two histories")
    distance.semilogy(t, np.abs(pair[1] - pair[0]), lw=0.6)
    distance.set(xlabel="t", ylabel="distance")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> tuple[dict[str, sml.Solution], np.ndarray]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a shorter time")
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args(arguments)
    t1 = 1000.0 if options.short else 3000.0

    problem = blood(t1)
    runs = {name: solved(problem, options.engine, lag=lag) for name, lag in LAGS.items()}
    for name, run in runs.items():
        late = run(np.linspace(0.6 * t1, t1, 1000))
        print(f"lag {LAGS[name]:4g}: {name}, cells from {late.min():.3f} to {late.max():.3f}")

    beside = solved(problem, options.engine, lag=LAGS["chaos"], start=RATES["start"] + 1e-3)
    t = np.linspace(0.0, t1, 6000)
    pair = np.array([runs["chaos"](t), beside(t)])
    far = t[np.abs(pair[1] - pair[0]) > 0.1]
    print(
        f"two histories a thousandth apart differ by a tenth from t = {far[0]:.0f} on"
        if far.size
        else "two histories a thousandth apart stay together for so long"
    )
    draw(runs, (t, pair), Path("output") / "mackey_glass.png")
    return runs, pair


if __name__ == "__main__":
    main()
