"""Predator and prey with uncertain rates: an ensemble, its statistics, and a cluster.

How far can the populations be foretold when the growth of the prey and the death of the predators
are known to a few per cent? 2000 trajectories are kept and drawn; of 100 000 more only the
statistics are. With --dask the same runs on a Dask cluster, here one of two local workers; any
other cluster is reached by `Client("scheduler:8786")`.

Run: python examples/ensemble.py [--short] [--dask]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml


def lotka_volterra(u, p, t):
    hares, lynx = u
    return [
        p["growth"] * hares - p["eaten"] * hares * lynx,
        p["fed"] * hares * lynx - p["death"] * lynx,
    ]


RATES = {"growth": 1.1, "eaten": 0.4, "fed": 0.1, "death": 0.4}
PROBLEM = sml.ODEProblem(lotka_volterra, [10.0, 5.0], (0.0, 20.0), RATES, names=["hares", "lynx"])
HOW = {"saveat": 0.1, "abstol": 1e-8, "reltol": 1e-8}


def uncertain(n: int, seed: int) -> dict[str, np.ndarray]:
    """n pairs of rates, known to 4 %."""
    rng = np.random.default_rng(seed)
    return {name: RATES[name] * np.exp(0.04 * rng.normal(size=n)) for name in ("growth", "death")}


def draw(kept: sml.EnsembleSolution, path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    kept.plot(ax=left)
    kept.plot(("hares", "lynx"), ax=right, trajectories=3)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def on_dask(rates: dict[str, np.ndarray]) -> sml.EnsembleSolution:
    """A worker that dies costs time, and nothing else."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        return sml.solve_ensemble(PROBLEM, p=rates, executor=client.get_executor(), **HOW)


def main(arguments: list[str] | None = None) -> tuple[sml.EnsembleSolution, ...]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer trajectories")
    parser.add_argument("--dask", action="store_true", help="once more on a local Dask cluster")
    parser.add_argument("--engine", default="native")
    options = parser.parse_args(arguments)
    scale = 20 if options.short else 1

    kept = sml.solve_ensemble(
        PROBLEM, p=uncertain(2000 // scale, seed=1), engine=options.engine,
        quantiles=(0.05, 0.25, 0.5, 0.75, 0.95), **HOW,
    )  # fmt: skip
    print(kept)
    draw(kept, Path("output") / "ensemble.png")

    many = sml.solve_ensemble(
        PROBLEM, p=uncertain(100_000 // scale, seed=2), engine=options.engine,
        keep="statistics", **HOW,
    )  # fmt: skip
    print(many)
    low, _, high = many.quantiles[:, -1, 0]
    print(f"hares at t = 20: {many.mean[-1, 0]:.2f}, nine in ten from {low:.2f} to {high:.2f}")
    if not options.dask:
        return kept, many
    there = on_dask(uncertain(2000 // scale, seed=1))
    print("on Dask:", there)
    return kept, many, there


if __name__ == "__main__":
    main()
