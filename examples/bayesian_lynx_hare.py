"""How sure is a neural ODE about lynx and hare? Four answers, from the same 16 years.

The growth rate of each species is a small network of the other's number. Its posterior is sampled
by NUTS (after Dandekar et al., Bayesian neural ordinary differential equations, arXiv:2012.07244,
2020) and by Langevin dynamics, approximated by Laplace's method, and replaced by an ensemble of
fits. Beside them is Lotka and Volterra's law with its four rates. The last five years were kept.

The states are logarithms of the numbers: then no growth rate that a prior allows ends a solve, and
scatter in proportion to the numbers is normal.

Run: python examples/bayesian_lynx_hare.py [--short] [--engine native]
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml.datasets import lynx_hare
from pysciml.discover import Normal, Posterior, deep_ensemble, laplace, nuts, sgld
from pysciml.train import L2, LBFGS, Collocation, positive

PELTS = lynx_hare()
YEARS = PELTS.t - PELTS.t[0]
LOGS = np.log(PELTS.u)
SEEN = 16
LEVEL = 0.9
network, _ = sml.nn.functional(sml.nn.mlp([1, 3, 1], "tanh"))
RATES = {"alpha": 0.55, "beta": 0.028, "gamma": 0.8, "delta": 0.024}


def first_weights(seed: int) -> dict[str, np.ndarray]:
    return sml.nn.functional(sml.nn.mlp([1, 3, 1], "tanh", seed=seed))[1]


def growth(other, weights):
    """Per year, for the logarithm of the number of the other species in thousands."""
    return network((other - math.log(25.0))[..., None], weights)[..., 0]


def neural(u, p, t):
    hare, lynx = u
    return [growth(lynx, p["hare"]), growth(hare, p["lynx"])]


def lotka_volterra(u, p, t):
    hare, lynx = torch.exp(u)
    return [p["alpha"] - p["beta"] * lynx, p["delta"] * hare - p["gamma"]]


SPAN = (0.0, YEARS[-1])
FIRST = sml.ODEProblem(
    neural,
    LOGS[0],
    SPAN,
    {"hare": first_weights(0), "lynx": first_weights(1)},
    names=PELTS.names,
)
FOUR_RATES = sml.ODEProblem(lotka_volterra, LOGS[0], SPAN, RATES, names=PELTS.names)
DATA, KEPT = (YEARS[:SEEN], LOGS[:SEEN]), (YEARS[SEEN:], LOGS[SEEN:])
#: first states within a fifth of the first counts; scatter of 0.25, give or take
BOTH = {"u0": Normal(None, 0.2), "sigma": Normal(np.log(0.25), 0.3)}
#: variance one over the number of inputs, so that growth is of order one, however wide the network
LAST = ["hare.2.weight", "lynx.2.weight"]
OF_WEIGHTS = {"hare": Normal(0.0), "lynx": Normal(0.0), **BOTH}
OF_WEIGHTS |= {name: Normal(0.0, 3**-0.5) for name in LAST}
OF_RATES = {**{name: Normal(None, 0.5) for name in RATES}, **BOTH}


def member(seed: int) -> sml.ODEProblem:
    return FIRST.remake(p={"hare": first_weights(seed), "lynx": first_weights(seed + 1000)})


def answers(engine: str, short: bool) -> dict[str, tuple[Posterior, float]]:
    """The posterior by each method, and the seconds that it took."""
    found = {}

    def ask(name, method, *arguments, **options):
        begin = time.perf_counter()
        try:
            posterior = method(*arguments, engine=engine, fit_u0=True, **options)
        except ImportError as missing:
            print(f"{name} is left out: {missing}")
        else:
            found[name] = posterior, time.perf_counter() - begin

    ask(
        "deep ensemble",
        deep_ensemble,
        member,
        DATA,
        members=2 if short else 20,
        loss="gaussian",
        regularise=[L2(0.5), L2(1.0, on=LAST)],  # the same as the prior
        strategy=Collocation(),
        optimisers=LBFGS(200 if short else 500),
    )
    members = found["deep ensemble"][0]
    best = int(np.argmin(members.diagnostics["losses"]))
    start = FIRST.remake(p=members.p[0, best])
    sampler = {"draws": 500, "tune": 600, "chains": 4, "target_accept": 0.95}
    walk = {"draws": 500, "burn_in": 10000, "thin": 100, "chains": 4}
    if short:
        sampler |= {"draws": 30, "tune": 30, "chains": 2, "max_depth": 5}
        walk = {"draws": 50, "burn_in": 100, "thin": 4, "chains": 2}
    ask("NUTS", nuts, start, DATA, prior=OF_WEIGHTS, **{"max_depth": 8, **sampler})
    ask("SGLD", sgld, start, DATA, prior=OF_WEIGHTS, step=3e-3, **walk)
    ask("Laplace", laplace, start, DATA, prior=OF_WEIGHTS, samples=200)
    rates = {"prior": OF_RATES, "transforms": positive}
    ask("four rates, NUTS", nuts, FOUR_RATES, DATA, **rates, **sampler)
    return found


def log_score(posterior: Posterior, t: np.ndarray, logs: np.ndarray) -> float:
    """Mean log density of each count under the samples' predictions and their noise."""
    states = posterior.predict(t).values
    sigma = posterior.noise.reshape(len(states), 1, -1)
    z = (logs - states) / sigma
    density = np.exp(-0.5 * z**2) / (np.sqrt(2.0 * np.pi) * sigma * np.exp(logs))
    return float(np.log(np.nanmean(density, axis=0)).mean())


def told(posterior: Posterior) -> str:
    """How far the chains agree on what they predict, and what the method says of itself."""
    known = {k: v for k, v in posterior.diagnostics.items() if k not in ("losses", "largest_rhat")}
    agreed = posterior.prediction_rhat(YEARS[1:]).max()
    return f"R-hat of predictions {agreed:.2f}, {known}" if len(posterior.p) > 1 else f"{known}"


def main(arguments: list[str] | None = None) -> dict[str, Posterior]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few samples, for tests")
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args(arguments)
    found = answers(options.engine, options.short)
    print(f"counts inside the band of {LEVEL:.0%}, and mean log density of a count")
    print(f"{'':16}  1900-1915      1916-1920        seconds")
    for name, (posterior, seconds) in found.items():
        seen, new = posterior.calibration(LEVEL), posterior.calibration(LEVEL, KEPT)
        print(
            f"{name:16}  {seen:4.0%} {log_score(posterior, *DATA):6.2f}    {new:4.0%} "
            f"{log_score(posterior, *KEPT):6.2f}    {seconds:8.1f}   {told(posterior)}"
        )
    path = Path("output") / "bayesian_lynx_hare.png"
    path.parent.mkdir(exist_ok=True)
    draw({name: posterior for name, (posterior, _) in found.items()}).savefig(path, dpi=150)
    print("picture:", path)
    return {name: posterior for name, (posterior, _) in found.items()}


def draw(found: dict[str, Posterior]) -> plt.Figure:
    figure, axes = plt.subplots(2, 3, figsize=(14, 7), layout="constrained")
    *over_time, learned = axes.flat
    for ax, (name, posterior) in zip(over_time, found.items(), strict=False):
        draw_prediction(ax, posterior)
        ax.set_title(name)
    over_time[0].legend()
    draw_growth(learned, found.get("NUTS", found["Laplace"]))
    return figure


def draw_prediction(ax: plt.Axes, posterior: Posterior) -> None:
    """The median, the band in which counts should lie, and all counts; hollow: kept."""
    t = np.linspace(0.0, YEARS[-1], 200)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.exp(posterior.predict(t, noise=True).quantile(tails))
    middle = np.exp(posterior.predict(t).quantile(0.5))
    for i, (species, colour) in enumerate(zip(PELTS.names, ("C0", "C3"), strict=True)):
        ax.fill_between(PELTS.t[0] + t, low[:, i], high[:, i], color=colour, alpha=0.15)
        ax.plot(PELTS.t[0] + t, middle[:, i], color=colour, label=species)
        ax.plot(PELTS.t[:SEEN], PELTS.u[:SEEN, i], "o", color=colour, markersize=4)
        ax.plot(PELTS.t[SEEN:], PELTS.u[SEEN:, i], "o", color=colour, fillstyle="none")
    ax.set(yscale="log", ylim=(1.0, 1000.0), xticks=np.arange(1900, 1921, 4))
    ax.set_ylabel(PELTS.units[1])


def draw_growth(ax: plt.Axes, posterior: Posterior) -> None:
    """What the networks say, and how sure they are: it is nearly what Lotka and Volterra wrote."""
    number = torch.linspace(3.0, 80.0, 100, dtype=torch.float64)
    samples = [
        posterior.problem(i).p for i in range(0, len(posterior), max(1, len(posterior) // 200))
    ]
    law = {
        "hare": RATES["alpha"] - RATES["beta"] * number,
        "lynx": RATES["delta"] * number - RATES["gamma"],
    }
    for (name, line), other, colour in zip(
        law.items(), ("lynx", "hare"), ("C0", "C3"), strict=True
    ):
        curves = np.stack([growth(torch.log(number), p[name]) for p in samples])
        low, middle, high = np.quantile(curves, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], axis=0)
        ax.fill_between(number, low, high, color=colour, alpha=0.15)
        ax.plot(number, middle, color=colour, label=f"{name}, by the number of {other}")
        ax.plot(number, line, ":", color=colour)
    ax.set(xlabel="number of the other species, thousands", ylabel="growth per year")
    ax.set(title="learned growth; dotted: four rates", ylim=(-2.0, 2.0))
    ax.legend()


if __name__ == "__main__":
    main()
