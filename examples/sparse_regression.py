"""The Lorenz equations from noisy observations: slopes of smooth curves, and the weak form.

Sparse regression needs du/dt, which noise spoils. The weak form integrates the equations against
test functions instead, so that no slope of the data is needed (Messenger and Bortz, 2021).

Run: python examples/sparse_regression.py [--short]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml
from pysciml.discover import Bagging, SparseFit, slopes, stlsq, weak_form

NAMES = ["x", "y", "z"]
RATES = {
    "dx/dt": {"x": -10.0, "y": 10.0},
    "dy/dt": {"x": 28.0, "x*z": -1.0, "y": -1.0},
    "dz/dt": {"x*y": 1.0, "z": -8.0 / 3.0},
}
LEVELS = (0.0, 0.001, 0.01, 0.02, 0.05, 0.1)  # of each component's standard deviation


def lorenz(u, p, t):
    x, y, z = u
    return [10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z]


def observe(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    problem = sml.ODEProblem(lorenz, [-8.0, 8.0, 27.0], (0.0, 10.0))
    exact = sml.solve(problem, "Vern7", "native", saveat=0.005, abstol=1e-12, reltol=1e-12)
    random = np.random.default_rng(seed)
    return exact.t, exact.u + noise * exact.u.std(axis=0) * random.standard_normal(exact.u.shape)


def error(found: SparseFit) -> tuple[float, int]:
    """Largest relative error of the seven coefficients, and how many terms are there too many."""
    p = found.equation.p
    errors = [
        abs(p.get(name, {}).get(term, 0.0) / value - 1.0)
        for name, terms in RATES.items()
        for term, value in terms.items()
    ]
    return max(errors), found.equation.size - len(errors)


def main(arguments: list[str] | None = None) -> dict[str, np.ndarray]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="few levels of noise, one of each, for tests"
    )
    options = parser.parse_args(arguments)
    seeds = range(1 if options.short else 5)
    levels = (0.0, 0.01, 0.05) if options.short else LEVELS
    sources = {"slopes": slopes, "weak form": weak_form}
    table = {name: np.zeros((len(levels), len(seeds), 2)) for name in sources}
    print("noise     largest error of a coefficient (terms too many), median of", len(seeds))
    for i, noise in enumerate(levels):
        for seed in seeds:
            data = observe(noise, seed)
            for name, source in sources.items():
                table[name][i, seed] = error(stlsq(source(data, names=NAMES)))
        shown = [
            f"{name} {np.median(x[i, :, 0]):8.1e} ({np.median(x[i, :, 1]):.0f})"
            for name, x in table.items()
        ]
        print(f"{noise:5.1%}    {'    '.join(shown)}")
    noisy = observe(0.05, 0)
    found = stlsq(weak_form(noisy, names=NAMES), bagging=Bagging(100))
    print(f"\nfrom data with 5 % noise:\n{found}")
    path = Path("output") / "sparse_regression.png"
    path.parent.mkdir(exist_ok=True)
    draw(table, levels, noisy, found).savefig(path, dpi=150)
    print("picture:", path)
    return table


def draw(table: dict[str, np.ndarray], levels: tuple, noisy: tuple, found: SparseFit) -> plt.Figure:
    figure, (errors, plane) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for name, values in table.items():
        errors.plot(np.array(levels)[1:], np.median(values[1:, :, 0], axis=1), "o-", label=name)
    errors.set(xscale="log", yscale="log", xlabel="noise / standard deviation")
    errors.set_ylabel("largest error of a coefficient")
    errors.set_title("STLSQ, quadratic library, BIC")
    errors.legend()
    problem = found.equation.problem([-8.0, 8.0, 27.0], (0.0, 10.0))
    again = sml.solve(problem, engine="native", saveat=0.005, abstol=1e-8, reltol=1e-8)
    plane.plot(noisy[1][:, 0], noisy[1][:, 2], ".", color="0.75", markersize=2, label="data")
    plane.plot(again.u[:, 0], again.u[:, 2], linewidth=0.8, label="found equation")
    plane.set(xlabel="x", ylabel="z")
    plane.set_title(f"from data with 5 % noise:\n{found}", fontsize=8)
    plane.legend()
    return figure


if __name__ == "__main__":
    main()
