"""Expansions and networks of 97 coefficients: how near they come to a function, and in what time.

`python -m benchmarks.approximation`. The functions of `examples/universal_approximation.py`; series
by least squares here and by NumPy (Chebyshev) and SciPy (radial basis functions, as many centres);
a network of one layer by L-BFGS, 1000 iterations, here and by PyTorch's own from the same weights.
Errors are root mean squares on [-1, 1].
"""

from __future__ import annotations

import runpy
import sys

import numpy as np
import torch

from .learning import lbfgs, timed
from .timing import ROOT, Report, best, need_pysciml

COUNT, ITERATIONS = 97, 1000
WIDTH = (COUNT - 1) // 3


def rms(example, function, found) -> float:
    return float(np.sqrt(((found - function(example["FINE"])) ** 2).mean()))


def by_scipy(example, function):
    from scipy.interpolate import RBFInterpolator

    centres = np.linspace(-1.0, 1.0, COUNT)[:, None]
    return RBFInterpolator(centres, function(centres[:, 0]), kernel="gaussian", epsilon=COUNT / 3.0)


def by_minimise(example, function):
    return timed(lambda k: example["trained"](function, WIDTH, 0, k), ITERATIONS)


def by_torch(example, function):
    def train(iterations: int):
        module = example["trained"](function, WIDTH, 0, 1)
        x = torch.as_tensor(example["POINTS"][:, None])
        y = torch.as_tensor(function(example["POINTS"])[:, None])

        def loss() -> torch.Tensor:
            return ((module(x) - y) ** 2).mean()

        lbfgs(module.parameters(), loss, iterations)
        return module

    return timed(train, ITERATIONS)


def main() -> int:
    torch.set_num_threads(1)
    need_pysciml()
    from pysciml.models import least_squares

    example = runpy.run_path(str(ROOT / "examples" / "universal_approximation.py"))
    points, fine = example["POINTS"], example["FINE"]
    report = Report("approximation", f"Functions by {COUNT} coefficients")
    for target, function in example["TARGETS"].items():
        label = target.replace("|", "\\|")
        values = function(points)
        for name, make in example["SERIES"].items():

            def call(make=make, values=values):
                return least_squares(make(COUNT), points, values)

            report.add(f"{label}, {name}", best(call, 0.2), "", example["error"](function, call()))

        def numpys(values=values):
            return np.polynomial.Chebyshev.fit(points, values, COUNT - 1)

        error = rms(example, function, numpys()(fine))
        report.add(f"{label}, Chebyshev, NumPy", best(numpys, 0.2), "", error)

        def scipys(function=function):
            return by_scipy(example, function)

        error = rms(example, function, scipys()(fine[:, None]))
        report.add(f"{label}, RBF, SciPy", best(scipys, 0.2), "interpolates", error)
        with report.part(f"{label}, network"):
            module, seconds = by_minimise(example, function)
            error = example["error"](function, module)
            report.add(f"{label}, network", seconds, f"{ITERATIONS} iterations", error)
        with report.part(f"{label}, network, PyTorch"):
            module, seconds = by_torch(example, function)
            error = example["error"](function, module)
            report.add(f"{label}, network, PyTorch", seconds, f"{ITERATIONS} iterations", error)
        report.at_least(f"{label}, network", 1.0, f"{label}, network, PyTorch")
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
