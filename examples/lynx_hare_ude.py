"""Lynx and hare: four rates, and four rates with a network that corrects their meetings.

The rates are fitted first, by maximum likelihood with log-normal noise. Then a network multiplies
how often hares are eaten and how well lynx are fed, at these rates. Both are fitted to all years,
and to all but the last five, which then show what each can predict.

Run: python examples/lynx_hare_ude.py [--short] [--engine native]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml.datasets import lynx_hare
from pysciml.train import L2, LBFGS, Adam, positive

PELTS = lynx_hare()
YEARS = PELTS.t - PELTS.t[0]
HELD_OUT = 5
RATES = {"alpha": 0.55, "beta": 0.028, "gamma": 0.8, "delta": 0.024}

network, weights = sml.nn.functional(sml.nn.mlp([2, 8, 2], "tanh"))
weights["2.weight"] *= 0.0  # the correction begins as none: exp(0) = 1
weights["2.bias"] *= 0.0


def lotka_volterra(u, p, t):
    hare, lynx = u
    return [
        (p["alpha"] - p["beta"] * lynx) * hare,
        (p["delta"] * hare - p["gamma"]) * lynx,
    ]


def corrected(u, p, t):
    hare, lynx = u
    eaten, fed = torch.exp(network([torch.log(hare / 25.0), torch.log(lynx / 25.0)], p["net"]))
    return [
        (p["alpha"] - p["beta"] * eaten * lynx) * hare,
        (p["delta"] * fed * hare - p["gamma"]) * lynx,
    ]


@dataclass
class Comparison:
    """Both models, fitted to the first `years` years, with the states that they predict."""

    years: int
    rates: sml.FitResult
    with_network: sml.FitResult
    solutions: tuple[sml.Solution, sml.Solution]

    def scatter(self, model: int) -> tuple[float, float]:
        """Root mean square of log(data / model) in the years of the fit, and after them."""
        error = np.log(PELTS.u / self.solutions[model](YEARS))
        inside, outside = error[: self.years], error[self.years :]
        root = [float(np.sqrt((x**2).mean())) if x.size else np.nan for x in (inside, outside)]
        return root[0], root[1]


def compare(years: int, engine: str, short: bool) -> Comparison:
    settings = {
        "loss": "lognormal",
        "fit_u0": True,
        "u0_transform": positive,
        "optimisers": [Adam(0.02, 100 if short else 300), LBFGS(100 if short else 500)],
        "engine": engine,
        "progress": False,
    }
    data = YEARS[:years], PELTS.u[:years]
    start, span = PELTS.u[0], (0.0, YEARS[-1])
    plain = sml.ODEProblem(lotka_volterra, start, span, RATES, names=PELTS.names)
    rates = sml.fit(plain, data, transforms=positive, **settings)
    hybrid = sml.ODEProblem(
        corrected, rates.u0[0], span, {**rates.p, "net": weights}, names=PELTS.names
    )
    regularise = L2(0.3, on="net")
    with_network = sml.fit(hybrid, data, fixed=list(RATES), regularise=regularise, **settings)
    solutions = [
        sml.solve(each.problem.remake(tspan=span), engine=engine, abstol=1e-8, reltol=1e-8)
        for each in (rates, with_network)
    ]
    return Comparison(years, rates, with_network, (solutions[0], solutions[1]))


def report(whole: Comparison, part: Comparison) -> None:
    errors = whole.rates.standard_errors()
    print("Four rates, fitted to all years, with standard errors:")
    for name in RATES:
        print(f"  {name:<6} {whole.rates.p[name]:.4f} +- {errors[name]:.4f}")
    print("\nScatter of the data about the model (natural log):")
    print("                  fitted to all years   fitted to 1915   predicted 1916-1920")
    for model, name in enumerate(("four rates", "with network")):
        print(
            f"  {name:<14}  {whole.scatter(model)[0]:10.3f}  {part.scatter(model)[0]:19.3f}"
            f"{part.scatter(model)[1]:18.3f}"
        )
    print(
        "\nThe network describes the years that it saw better; whether it knows more is in the "
        "last column."
    )


def draw(whole: Comparison, part: Comparison) -> plt.Figure:
    figure, axes = plt.subplots(2, 1, figsize=(10, 7), sharex=True, layout="constrained")
    t = np.linspace(0.0, YEARS[-1], 400)
    for ax, comparison in zip(axes, (whole, part), strict=True):
        for i, (name, colour) in enumerate(zip(PELTS.names, ("C0", "C3"), strict=True)):
            for solution, style, model in zip(
                comparison.solutions, (":", "-"), ("four rates", "with network"), strict=True
            ):
                ax.plot(
                    PELTS.t[0] + t, solution(t)[:, i], style, color=colour, label=f"{name}, {model}"
                )
            ax.plot(PELTS.t, PELTS.u[:, i], "o", color=colour, markersize=5)
        ax.set_ylabel(PELTS.units[1])
        ax.set_ylim(0.0, 1.35 * PELTS.u.max())
    last = PELTS.t[part.years - 1] + 0.5
    axes[1].axvspan(last, PELTS.t[-1], color="0.92", zorder=0)
    axes[0].set_title("Fitted to all years")
    axes[1].set_title("Fitted to 1915, predicted from there")
    axes[1].set_xlabel(PELTS.units[0])
    axes[1].set_xticks(np.arange(1900, 1921, 4))
    axes[0].legend(ncols=2, loc="upper center")
    return figure


def main(arguments: list[str] | None = None) -> tuple[Comparison, Comparison]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few iterations, for tests")
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args(arguments)
    whole = compare(len(YEARS), options.engine, options.short)
    part = compare(len(YEARS) - HELD_OUT, options.engine, options.short)
    report(whole, part)
    path = Path("output") / "lynx_hare_ude.png"
    path.parent.mkdir(exist_ok=True)
    draw(whole, part).savefig(path, dpi=150)
    print("picture:", path)
    return whole, part


if __name__ == "__main__":
    main()
