"""Two partial differential equations read off their solutions, with convolutions as stencils.

Fisher and Kolmogorov's equation, u_t = D u_xx + u (1 - u): diffusion is a convolution of three
taps, the reaction a small network (C. Rackauckas et al., arXiv:2001.04385, 2020). Burgers'
equation, u_t = -(u^2/2)_x + nu u_xx: the viscous term is such a convolution, and the flux a
network, whose difference is taken, so that what is learned conserves u. One solution with noise is
what both are learned from; they are judged on another, from another initial state and for twice the
time.

Run: python examples/learned_pde.py [--short]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml import nn
from pysciml.models import UDE, Pointwise, Stencil
from pysciml.train import LBFGS, Adam

N = 32
H = 1.0 / N
X = H * np.arange(N)
NOISE = 1e-3
COEFFICIENT = {"Fisher-KPP": 0.01, "Burgers": 0.02}
slope = Stencil(order=1, weights=[-0.5, 0.0, 0.5])


def fisher(u, p, t):
    second = torch.roll(u, 1) - 2.0 * u + torch.roll(u, -1)
    return COEFFICIENT["Fisher-KPP"] * second / H**2 + u * (1.0 - u)


def burgers(u, p, t):
    left, right = torch.roll(u, 1), torch.roll(u, -1)
    second = left - 2.0 * u + right
    return (left**2 - right**2) / (4.0 * H) + COEFFICIENT["Burgers"] * second / H**2


def of_reaction(u, p, t, nn):
    return nn["diffusion"](u) / H**2 + nn["unknown"](u)


def of_flux(u, p, t, nn):
    return nn["diffusion"](u) / H**2 - slope(nn["unknown"](u)) / H


@dataclass(frozen=True)
class Case:
    true: Callable
    law: Callable
    unknown: Callable  # what the network should be, up to a constant for a flux
    order: int
    seen: np.ndarray  # initial states
    other: np.ndarray
    end: float


CASES = {
    "Fisher-KPP": Case(
        fisher,
        of_reaction,
        lambda u: u * (1.0 - u),
        1,
        0.25 * (np.tanh((X - 0.3) / 0.1) - np.tanh((X - 0.7) / 0.1)),
        0.3 * np.exp(-(((X - 0.25) / 0.08) ** 2)) + 0.6 * np.exp(-(((X - 0.7) / 0.05) ** 2)),
        5.0,
    ),
    "Burgers": Case(
        burgers,
        of_flux,
        lambda u: u**2 / 2.0,
        2,
        np.sin(2.0 * np.pi * X) + 0.3,
        0.5 * np.cos(4.0 * np.pi * X) + 0.3 * np.sin(2.0 * np.pi * X),
        0.5,
    ),
}


@dataclass
class Outcome:
    name: str
    taps: np.ndarray  # times 1/coefficient: [1, -2, 1]
    u: np.ndarray
    found: np.ndarray  # the network at u
    t: np.ndarray
    exact: np.ndarray
    predicted: np.ndarray

    @property
    def error(self) -> float:
        """Of the solution from the other initial state, relative."""
        return float(np.linalg.norm(self.predicted - self.exact) / np.linalg.norm(self.exact))


def run(f, u0, end):
    """At uneven times: between even ones, a field may go round a periodic domain unseen."""
    problem = sml.ODEProblem(f, u0, (0.0, end))
    times = end * np.linspace(0.0, 1.0, 21) ** 1.5
    return sml.solve(problem, "Tsit5", "native", saveat=times, abstol=1e-8, reltol=1e-8)


def model(name: str) -> UDE:
    case = CASES[name]
    networks = {"diffusion": Stencil(order=case.order), "unknown": Pointwise(nn.mlp([1, 8, 1]))}
    return UDE(case.law, networks)


def observed(name: str):
    seen = run(CASES[name].true, CASES[name].seen, CASES[name].end)
    return seen.t, seen.u + NOISE * np.random.default_rng(0).standard_normal(seen.u.shape)


def learn(name: str, short: bool) -> Outcome:
    case, ude = CASES[name], model(name)
    stages = [Adam(0.01, 400, "cosine"), LBFGS(150 if short else 400)]
    found = ude.fitted(
        sml.fit(
            ude, observed(name), alg="Tsit5", engine="native", optimisers=stages, progress=False
        )
    )
    exact = run(case.true, case.other, 2.0 * case.end)
    predicted = run(found, case.other, 2.0 * case.end)
    u = np.linspace(case.seen.min(), case.seen.max() if name == "Burgers" else 1.0, 50)
    with torch.no_grad():
        taps = found.networks["diffusion"].taps.numpy() / COEFFICIENT[name]
        unknown = found.networks["unknown"](torch.as_tensor(u)).numpy()
    if name == "Burgers":
        unknown = unknown + (case.unknown(u) - unknown).mean()
    return Outcome(name, taps, u, unknown, exact.t, exact.u, predicted.u)


def draw(outcomes: list[Outcome]) -> plt.Figure:
    figure, axes = plt.subplots(len(outcomes), 4, figsize=(13, 6), layout="constrained")
    for outcome, row in zip(outcomes, axes, strict=True):
        places = np.arange(3)
        row[0].bar(places - 0.2, [1.0, -2.0, 1.0], 0.4, label="true")
        row[0].bar(places + 0.2, outcome.taps, 0.4, label="found")
        row[0].set_xticks(places, ["left", "middle", "right"])
        row[0].set_title(f"{outcome.name}: stencil")
        row[1].plot(outcome.u, CASES[outcome.name].unknown(outcome.u), linewidth=4, alpha=0.4)
        row[1].plot(outcome.u, outcome.found)
        row[1].set(title="reaction" if outcome.name == "Fisher-KPP" else "flux", xlabel="u")
        for axis, field, title in (
            (row[2], outcome.exact, "another solution"),
            (row[3], outcome.predicted, f"predicted, {100 * outcome.error:.2g} % off"),
        ):
            image = axis.pcolormesh(
                outcome.t, X, field.T, vmin=outcome.exact.min(), vmax=outcome.exact.max()
            )
            axis.set(title=title, xlabel="t", ylabel="x")
        figure.colorbar(image, ax=row[3])
    axes[0, 0].legend()
    return figure


def main(arguments: list[str] | None = None) -> list[Outcome]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few iterations, for tests")
    short = parser.parse_args(arguments).short
    outcomes = []
    for name in CASES:
        outcome = learn(name, short)
        outcomes.append(outcome)
        print(
            f"{name:<12} stencil / coefficient: {np.round(outcome.taps, 4)}; "
            f"another solution, twice as long: {100 * outcome.error:.2g} % off"
        )
    path = Path("output") / "learned_pde.png"
    path.parent.mkdir(exist_ok=True)
    draw(outcomes).savefig(path, dpi=150)
    print("picture:", path)
    return outcomes


if __name__ == "__main__":
    main()
