"""A universal differential equation: learn the interaction of predator and prey from 31 points.

That prey grow and predators die is known; what they do to each other is not. A small network
stands for it. After Rackauckas et al., Universal Differential Equations for Scientific Machine
Learning, arXiv:2001.04385 (2020): their rates, initial state, times and noise.

Run: python examples/lotka_volterra_ude.py [--short] [--engine native] [--seeds 10]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml.train import L2, LBFGS, Adam

GROWTH, EATEN, FED, DEATH = 1.3, 0.9, 0.8, 1.8
U0 = [0.44249296, 4.6280594]
NOISE = 5e-3  # of each species' mean


def truth(u, p, t):
    x, y = u
    return [GROWTH * x - EATEN * x * y, FED * x * y - DEATH * y]


network, weights = sml.nn.functional(sml.nn.mlp([2, 32, 2], "tanh"))


def encounters(u, p):
    """Rates at which meetings cost prey and feed predators, both above zero."""
    return torch.nn.functional.softplus(network(u, p["net"]))


def model(u, p, t):
    """Nothing happens where nobody meets, so the unknown rates multiply x y.

    Only this keeps the model bounded where there were no data: a bare network fits as well, and
    lets the prey grow for ever.
    """
    x, y = u
    eaten, fed = encounters(u, p)
    return [GROWTH * x - eaten * x * y, fed * x * y - DEATH * y]


@dataclass
class Outcome:
    """A fit, the truth up to t = 12, and how far the fit is from it."""

    result: sml.FitResult
    clean: sml.Solution
    extrapolated: sml.Solution
    mse: float  # on the clean trajectory where there were data, 0 <= t <= 3
    error: float  # largest, up to t = 12


def train(seed: int, engine: str = "auto", short: bool = False) -> Outcome:
    exact = sml.ODEProblem(truth, U0, (0.0, 12.0), names=["prey", "predator"])
    clean = sml.solve(exact, engine=engine, saveat=0.1, abstol=1e-10, reltol=1e-10)
    t, u = clean.t[:31], clean.u[:31]
    noise = np.random.default_rng(seed).standard_normal(u.shape)
    data = u + NOISE * u.mean(axis=0) * noise

    _, first = sml.nn.functional(sml.nn.mlp([2, 32, 2], "tanh", seed=seed))
    problem = sml.ODEProblem(model, U0, (0.0, 3.0), {"net": first}, names=["prey", "predator"])
    result = sml.fit(
        problem,
        (t, data),
        optimisers=[Adam(0.01, 100 if short else 300), LBFGS(200 if short else 500)],
        regularise=L2(1e-4, on="net"),
        engine=engine,
        seed=seed,
        progress=False,
    )
    longer = result.problem.remake(tspan=(0.0, 12.0))
    extrapolated = sml.solve(longer, engine=engine, saveat=0.1, abstol=1e-8, reltol=1e-8)
    distance = extrapolated.u - clean.u
    return Outcome(
        result, clean, extrapolated, float((distance[:31] ** 2).mean()), float(abs(distance).max())
    )


def draw(outcome: Outcome) -> plt.Figure:
    figure, (over_time, learned) = plt.subplots(
        1, 2, figsize=(12, 4.5), width_ratios=(1.6, 1.0), layout="constrained"
    )
    data, clean = outcome.result.data[0], outcome.clean
    for i, name in enumerate(outcome.result.names):
        over_time.plot(data.t, data.values[:, i], "o", color=f"C{i}", markersize=4)
        over_time.plot(clean.t, clean.u[:, i], ":", color=f"C{i}", label=f"{name}, truth")
        over_time.plot(clean.t, outcome.extrapolated.u[:, i], color=f"C{i}", label=f"{name}, model")
    over_time.axvspan(0.0, 3.0, color="0.92", zorder=0)
    over_time.text(0.1, 9.6, "data")
    over_time.set(xlabel="t", ylabel="population", ylim=(0.0, 10.5))
    over_time.set_title("Trained to t = 3, extrapolated to t = 12")
    over_time.legend(loc="upper right", ncols=2)

    rates = encounters(torch.as_tensor(clean.u), outcome.result.p).T.numpy()
    for rate, value, label in zip(
        rates, (EATEN, FED), ("prey eaten", "predators fed"), strict=True
    ):
        (line,) = learned.plot(clean.t, rate, label=f"{label}, learned")
        learned.axhline(value, linestyle=":", color=line.get_color(), label=f"{label}, truth")
    learned.axvspan(0.0, 3.0, color="0.92", zorder=0)
    learned.set(xlabel="t", ylabel="rate of an encounter", ylim=(0.0, 1.2))
    learned.set_title("What the network learned")
    learned.legend(loc="lower right")
    return figure


def main(arguments: list[str] | None = None) -> list[Outcome]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few iterations, for tests")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seeds", type=int, default=3, help="how many networks and noises")
    options = parser.parse_args(arguments)
    print("seed   loss      MSE, t <= 3   largest error to t = 12   seconds")
    outcomes = []
    for seed in range(1 if options.short else options.seeds):
        outcome = train(seed, options.engine, options.short)
        outcomes.append(outcome)
        print(
            f"{seed:4}   {outcome.result.loss:.2e}  {outcome.mse:.2e}      {outcome.error:.2f}"
            f"{'':22}{outcome.result.history.seconds[-1]:.2f}"
        )
    print(outcomes[0].result)
    path = Path("output") / "lotka_volterra_ude.png"
    path.parent.mkdir(exist_ok=True)
    draw(outcomes[0]).savefig(path, dpi=150)
    print("picture:", path)
    return outcomes


if __name__ == "__main__":
    main()
