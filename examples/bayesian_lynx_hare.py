"""How sure is a neural ODE about lynx and hare? Four answers, from the same 16 years.

The growth rate of each species is a small network of the other's number. Its posterior is sampled
by NUTS (after Dandekar et al., Bayesian neural ordinary differential equations, arXiv:2012.07244,
2020) and by Langevin dynamics, approximated by Laplace's method, and replaced by an ensemble of
fits. Beside them is Lotka and Volterra's law with its four rates. The last five years were kept.

Run: python examples/bayesian_lynx_hare.py [--short] [--engine native]
"""

from __future__ import annotations

import argparse
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
SEEN = 16
LEVEL = 0.9
network, _ = sml.nn.functional(sml.nn.mlp([1, 3, 1], "tanh"))
RATES = {"alpha": 0.55, "beta": 0.028, "gamma": 0.8, "delta": 0.024}


def first_weights(seed: int) -> dict[str, np.ndarray]:
    return sml.nn.functional(sml.nn.mlp([1, 3, 1], "tanh", seed=seed))[1]


def growth(number, weights):
    """Per year, for a number of the other species in thousands."""
    return network(torch.log(number / 25.0)[..., None], weights)[..., 0]


def neural(u, p, t):
    hare, lynx = u
    return [growth(lynx, p["hare"]) * hare, growth(hare, p["lynx"]) * lynx]


def lotka_volterra(u, p, t):
    hare, lynx = u
    return [(p["alpha"] - p["beta"] * lynx) * hare, (p["delta"] * hare - p["gamma"]) * lynx]


SPAN = (0.0, YEARS[-1])
FIRST = sml.ODEProblem(
    neural,
    PELTS.u[0],
    SPAN,
    {"hare": first_weights(0), "lynx": first_weights(1)},
    names=PELTS.names,
)
FOUR_RATES = sml.ODEProblem(lotka_volterra, PELTS.u[0], SPAN, RATES, names=PELTS.names)
DATA = YEARS[:SEEN], PELTS.u[:SEEN]
COMMON = {"fit_u0": True, "u0_transform": positive}
#: first states within a fifth of the first counts; scatter of 0.25, give or take
BOTH = {"u0": Normal(None, 0.2), "sigma": Normal(np.log(0.25), 0.3)}
OF_WEIGHTS = {"hare": Normal(0.0, 1.0), "lynx": Normal(0.0, 1.0), **BOTH}
OF_RATES = {**{name: Normal(None, 0.5) for name in RATES}, **BOTH}


def member(seed: int) -> sml.ODEProblem:
    return FIRST.remake(p={"hare": first_weights(seed), "lynx": first_weights(seed + 1000)})


def answers(engine: str, short: bool) -> dict[str, tuple[Posterior, float]]:
    """The posterior by each method, and the seconds that it took."""
    found = {}

    def ask(name, method, *arguments, **options):
        begin = time.perf_counter()
        try:
            posterior = method(*arguments, engine=engine, **COMMON, **options)
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
        loss="lognormal",
        regularise=L2(0.5),  # the same as the prior
        strategy=Collocation(),
        optimisers=LBFGS(200 if short else 500),
    )
    members = found["deep ensemble"][0]
    best = int(np.argmin(members.diagnostics["losses"]))
    start = FIRST.remake(p=members.p[0, best])
    bayes = {"likelihood": "lognormal", "prior": OF_WEIGHTS}
    sampler = {"draws": 30, "tune": 30} if short else {"draws": 500, "tune": 500}
    sampler |= {"chains": 2, "max_depth": 5 if short else 7}
    ask("NUTS", nuts, start, DATA, **sampler, **bayes)
    walk = {"draws": 50, "burn_in": 100, "thin": 4} if short else {}
    walk = walk or {"draws": 500, "burn_in": 5000, "thin": 100}
    ask("SGLD", sgld, start, DATA, step=1e-3, chains=2, **walk, **bayes)
    ask("Laplace", laplace, start, DATA, samples=200, **bayes)
    of_rates = {"likelihood": "lognormal", "prior": OF_RATES}
    ask("four rates, NUTS", nuts, FOUR_RATES, DATA, **sampler, **of_rates)
    return found


def log_score(posterior: Posterior, t: np.ndarray, u: np.ndarray) -> float:
    """Mean log density of each observation under the samples' predictions and their noise."""
    states = posterior.predict(t).values
    sigma = posterior.noise.reshape(len(states), 1, -1)
    z = (np.log(u) - np.log(states)) / sigma
    density = np.exp(-0.5 * z**2) / (np.sqrt(2.0 * np.pi) * sigma * u)
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
    kept = YEARS[SEEN:], PELTS.u[SEEN:]
    print(f"counts inside the band of {LEVEL:.0%}, and mean log density of a count")
    print(f"{'':16}  1900-1915      1916-1920        seconds")
    for name, (posterior, seconds) in found.items():
        seen, new = posterior.calibration(LEVEL), posterior.calibration(LEVEL, kept)
        print(
            f"{name:16}  {seen:4.0%} {log_score(posterior, *DATA):6.2f}    {new:4.0%} "
            f"{log_score(posterior, *kept):6.2f}    {seconds:8.1f}   {told(posterior)}"
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
    low, high = posterior.predict(t, noise=True).quantile([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    middle = posterior.predict(t).quantile(0.5)
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
        curves = np.stack([growth(number, p[name]) for p in samples])
        low, middle, high = np.quantile(curves, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], axis=0)
        ax.fill_between(number, low, high, color=colour, alpha=0.15)
        ax.plot(number, middle, color=colour, label=f"{name}, by the number of {other}")
        ax.plot(number, line, ":", color=colour)
    ax.set(xlabel="number of the other species, thousands", ylabel="growth per year")
    ax.set(title="learned growth; dotted: four rates", ylim=(-2.0, 2.0))
    ax.legend()


if __name__ == "__main__":
    main()
