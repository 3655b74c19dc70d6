"""A network is a function expansion: how fast do expansions come near a function?

Chebyshev, Legendre and Fourier series, radial basis functions and a network of one hidden layer,
with more and more coefficients, on four functions: analytic and periodic, analytic, with a kink,
with a jump. Series find their coefficients by least squares, the network by L-BFGS, best of some
starts. Which is best depends on the function; none is on all.

The theory: L. N. Trefethen, Approximation Theory and Approximation Practice, SIAM 2013, for the
series; G. Cybenko, Approximation by superpositions of a sigmoidal function, Math. Control Signals
Systems 2 (1989) 303-314, for the network, which says that it can, not how fast.

Run: python examples/universal_approximation.py [--short]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml.models import RBF, Chebyshev, Fourier, Legendre, least_squares
from pysciml.train import LBFGS, minimise

TARGETS = {
    "exp(sin πx)": lambda x: np.exp(np.sin(np.pi * x)),
    "1 / (1 + 25x²)": lambda x: 1.0 / (1.0 + 25.0 * x**2),
    "|x|": np.abs,
    "sign x": np.sign,
}
POINTS = np.cos(np.pi * (np.arange(400) + 0.5) / 400)  # denser at both ends: no series overshoots
FINE = np.linspace(-1.0, 1.0, 2000)  # without 0
SERIES = {
    "Chebyshev": lambda count: Chebyshev(1, 1, count - 1),
    "Legendre": lambda count: Legendre(1, 1, count - 1),
    "Fourier": lambda count: Fourier(1, 1, count // 2),
    "RBF": lambda count: RBF(1, 1, count, width=3.0 / count),
}
NETWORK = "network, one layer"


def error(function, approximation: torch.nn.Module) -> float:
    """Root mean square on [-1, 1]."""
    with torch.no_grad():
        found = approximation(torch.as_tensor(FINE[:, None])).numpy()[:, 0]
    return float(np.sqrt(((found - function(FINE)) ** 2).mean()))


def trained(function, width: int, seed: int, iterations: int) -> torch.nn.Module:
    module = sml.nn.mlp([1, width, 1], "tanh", seed=seed)
    with torch.no_grad():  # slopes wide enough for kinks all over the interval
        module[0].weight.mul_(3.0)
        module[0].bias.mul_(3.0)
    apply, weights = sml.nn.functional(module)
    x, y = (torch.as_tensor(column[:, None]) for column in (POINTS, function(POINTS)))
    found = minimise(
        lambda p: ((apply(x, p) - y) ** 2).mean(),
        weights,
        optimisers=LBFGS(iterations, tolerance=1e-12, memory=50),
        progress=False,
    )
    module.load_state_dict({name: torch.as_tensor(w) for name, w in found.p.items()})
    return module


def study(counts: list[int], starts: int, iterations: int) -> dict[str, dict[str, list]]:
    """For each target and approximation: pairs of (coefficients, error)."""
    found: dict[str, dict[str, list]] = {}
    for target, function in TARGETS.items():
        rows: dict[str, list] = {}
        for name, make in SERIES.items():
            rows[name] = []
            for count in counts:
                series = least_squares(make(count), POINTS, function(POINTS))
                rows[name].append((series.weight.numel(), error(function, series)))
        rows[NETWORK] = []
        for count in counts:
            width = max(1, round((count - 1) / 3))
            tries = [trained(function, width, seed, iterations) for seed in range(starts)]
            rows[NETWORK].append((3 * width + 1, min(error(function, each) for each in tries)))
        found[target] = rows
        print(f"{target}:")
        for name, pairs in rows.items():
            shown = "  ".join(f"{count}: {size:.1e}" for count, size in pairs)
            print(f"  {name:<20} {shown}", flush=True)
    return found


def draw(found: dict[str, dict[str, list]]) -> plt.Figure:
    figure, axes = plt.subplots(1, 4, figsize=(16, 4.3), layout="constrained")
    for ax, (target, rows) in zip(axes, found.items(), strict=True):
        for (name, pairs), marker in zip(rows.items(), "os^vD", strict=True):
            line = "--" if name == "Legendre" else "-"  # the same polynomials as Chebyshev's
            ax.loglog(*zip(*pairs, strict=True), marker + line, markersize=5, label=name)
        ticks = [count for count, _ in rows["Chebyshev"]]
        ax.set_xticks(ticks, [str(count) for count in ticks])
        ax.minorticks_off()
        ax.set(xlabel="coefficients", title=target)
    axes[0].set_ylabel("root mean square error")
    axes[0].legend(loc="lower left", fontsize=9)
    return figure


def main(arguments: list[str] | None = None) -> dict[str, dict[str, list]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer coefficients, for tests")
    short = parser.parse_args(arguments).short
    counts = [4, 13, 25] if short else [4, 7, 13, 25, 49, 97]
    found = study(counts, *((1, 200) if short else (3, 2000)))
    path = Path("output") / "universal_approximation.png"
    path.parent.mkdir(exist_ok=True)
    draw(found).savefig(path, dpi=150)
    print("picture:", path)
    return found


if __name__ == "__main__":
    main()
