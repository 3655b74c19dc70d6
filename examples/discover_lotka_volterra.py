"""From 31 noisy points to the equation: a network learns what is unknown, and is read back.

That prey grow and predators die is known; what they do to each other is not. A network is trained
in its place, sampled where the data were, and replaced by terms of a library, with coefficients
that are fitted to the data again. After Rackauckas et al., Universal Differential Equations for
Scientific Machine Learning, arXiv:2001.04385 (2020): their rates, initial state, times and noise.

Run: python examples/discover_lotka_volterra.py [--short] [--engine native] [--seeds 10]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml
from pysciml.discover import Discovery, discover, polynomial

U0 = [0.44249296, 4.6280594]
RATES = {"growth": 1.3, "death": 1.8}
EATEN, FED = -0.9, 0.8
NOISE = 5e-3  # of each species' mean


def law(u, p, t, unknown):
    prey, predator = u
    eaten, fed = unknown(u)
    return [p["growth"] * prey + eaten, fed - p["death"] * predator]


def truth(u, p, t):
    return law(u, p, t, lambda u: [EATEN * u[0] * u[1], FED * u[0] * u[1]])


EXACT = sml.ODEProblem(truth, U0, (0.0, 12.0), RATES, names=["prey", "predator"])


def observe(seed: int, engine: str = "auto") -> tuple[np.ndarray, np.ndarray]:
    """31 times on [0, 3], and noisy states."""
    clean = sml.solve(
        EXACT.remake(tspan=(0.0, 3.0)), engine=engine, saveat=0.1, abstol=1e-10, reltol=1e-10
    )
    noise = np.random.default_rng(seed).standard_normal(clean.u.shape)
    return clean.t, clean.u + NOISE * clean.u.mean(axis=0) * noise


def find(seed: int, engine: str = "auto") -> Discovery:
    return discover(
        law,
        observe(seed, engine),
        sml.nn.mlp([2, 32, 2], "tanh", seed=seed),
        u0=U0,
        p=RATES,
        names=["prey", "predator"],
        outputs=["eaten", "fed"],
        library=polynomial(2),
        engine=engine,
        progress=False,
    )


def relative_error(found: Discovery) -> float:
    """The larger of both coefficients' errors; infinite unless these two are all there is."""
    wanted = {"eaten": {"predator*prey": EATEN}, "fed": {"predator*prey": FED}}
    p = found.equation.p
    if {name: set(terms) for name, terms in p.items()} != {k: set(v) for k, v in wanted.items()}:
        return np.inf
    return max(abs(p[k]["predator*prey"] / v["predator*prey"] - 1.0) for k, v in wanted.items())


def draw(found: Discovery, engine: str) -> plt.Figure:
    figure = found.plot(12.0)
    exact = sml.solve(EXACT, engine=engine, saveat=0.5, abstol=1e-8, reltol=1e-8)
    beyond = figure.axes[1]
    for i in range(2):
        beyond.plot(exact.t, exact.u[:, i], "x", color=f"C{i}", markersize=4)
    beyond.set_title("trained to t = 3; crosses: truth")
    return figure


def main(arguments: list[str] | None = None) -> list[Discovery]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="one seed, for tests")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seeds", type=int, default=10, help="how many networks and noises")
    options = parser.parse_args(arguments)
    found = []
    for seed in range(1 if options.short else options.seeds):
        found.append(find(seed, options.engine))
        text = "; ".join(str(found[-1]).splitlines())
        print(f"seed {seed}: {text}   (largest error {relative_error(found[-1]):.1%})")
    errors = np.array([relative_error(each) for each in found])
    print(f"{(errors <= 0.02).sum()} of {errors.size} within 2 %, of exactly these terms")
    print("with standard errors:", found[0].standard_errors())
    path = Path("output") / "discover_lotka_volterra.png"
    path.parent.mkdir(exist_ok=True)
    draw(found[0], options.engine).savefig(path, dpi=150)
    print("picture:", path)
    return found


if __name__ == "__main__":
    main()
