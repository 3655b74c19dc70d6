"""Three rate constants of a stiff reaction, over nine decades, from noisy concentrations.

Robertson's kinetics (1966): A -> B, B + B -> C + B, B + C -> A + C. B never exceeds 4e-5, the
constants lie between 0.04 and 3e7, and time runs from 1e-5 to 1e5. Two settings make this an
ordinary fit: each species' residual is divided by its largest value, and the optimiser moves the
logarithms of the constants.

Run: python examples/robertson_fit.py [--short] [--engine native]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml
from pysciml.train import LBFGS, MSE, Adam, positive

TRUE = {"k1": 0.04, "k2": 3e7, "k3": 1e4}
GUESS = {"k1": 0.1, "k2": 1e7, "k3": 4e4}
NOISE = 2e-3  # of each species' largest value


def robertson(u, p, t):
    a, b, c = u
    first, second, third = p["k1"] * a, p["k2"] * b * b, p["k3"] * b * c
    return [-first + third, first - second - third, second]


def measured(count: int, engine: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`count` noisy states at times that are even in their logarithm."""
    t = np.logspace(-5, 5, count)
    problem = sml.ODEProblem(robertson, [1.0, 0.0, 0.0], (0.0, 1e5), TRUE)
    u = sml.solve(problem, "Rodas5P", engine, t, abstol=1e-12, reltol=1e-9).u
    noise = np.random.default_rng(seed).standard_normal(u.shape)
    return t, u + NOISE * u.max(axis=0) * noise


def fit(t: np.ndarray, u: np.ndarray, engine: str, short: bool = False) -> sml.FitResult:
    problem = sml.ODEProblem(robertson, [1.0, 0.0, 0.0], (0.0, 1e5), GUESS, names=["A", "B", "C"])
    return sml.fit(
        problem,
        (t, u),
        loss=MSE(scale="max"),
        transforms=positive,
        optimisers=[Adam(0.1, 50 if short else 100), LBFGS(100)],
        alg="Rodas5P",
        engine=engine,
        abstol=1e-10,
        reltol=1e-7,
        progress=False,
    )


def draw(result: sml.FitResult) -> plt.Figure:
    figure, axes = plt.subplots(3, 1, figsize=(8, 7), sharex=True, layout="constrained")
    data = result.data[0]
    t = np.logspace(-5, 5, 300)
    settings = {"engine": result.engine, "abstol": 1e-10, "reltol": 1e-7}
    fitted = sml.solve(result.problem, "Rodas5P", saveat=t, **settings)
    guess = sml.solve(result.problem.remake(p=GUESS), "Rodas5P", saveat=t, **settings)
    for i, (ax, name) in enumerate(zip(axes, result.names, strict=True)):
        ax.plot(data.t, data.values[:, i], "o", markersize=3, label="data")
        ax.plot(t, guess.u[:, i], ":", color="0.5", label="first guess")
        ax.plot(t, fitted.u[:, i], label="fit")
        ax.set_ylabel(name)
    axes[0].set_xscale("log")
    axes[0].legend()
    axes[0].set_title("Robertson's kinetics")
    axes[2].set_xlabel("t")
    return figure


def main(arguments: list[str] | None = None) -> sml.FitResult:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer data, for tests")
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args(arguments)
    t, u = measured(30 if options.short else 60, options.engine)
    result = fit(t, u, options.engine, options.short)
    errors = result.standard_errors()
    print("        true      guess     found     error   standard error")
    for name, true in TRUE.items():
        found = result.p[name]
        print(
            f"  {name}  {true:9.3g} {GUESS[name]:9.3g} {found:9.4g}  {found / true - 1:8.2%}"
            f"  {errors[name] / found:8.2%}"
        )
    print(f"{result} in {result.history.seconds[-1]:.2f} s")
    path = Path("output") / "robertson_fit.png"
    path.parent.mkdir(exist_ok=True)
    draw(result).savefig(path, dpi=150)
    print("picture:", path)
    return result


if __name__ == "__main__":
    main()
