"""Physics-informed networks and grids, on the same four problems.

`python -m benchmarks.pinn`. The problems are those of examples/pinn.py. "pysciml" is its network:
Adam, then self-scaled Broyden on points drawn where the residual is large. "even points" and
"L-BFGS" are the same without one or the other. "PyTorch" (a plain loop) and "DeepXDE" have the same
network, built-in boundary values, numbers of points and of iterations, with even points and L-BFGS;
DeepXDE runs in a process of its own, by the Python that PYSCIML_BENCH_PYTHON names (default: this
one). "grid" is finite differences, along time by each engine, compiled before (for Poisson a sparse
direct solve by SciPy; for the viscosity SciPy's search for one number, a solve for each trial).
"published" is what others printed. Errors are relative, in the L2 norm over time and space, against
closed forms (Allen-Cahn: a grid of 1024 points); for the viscosity it is that of the number. Times
of networks are of the processor, of one thread, so that what else runs in these minutes is not in
them.
"""

from __future__ import annotations

import functools
import math
import os
import runpy
import sys

import numpy as np
import torch

from .pinn_peers import PEERS, PROBLEMS
from .timing import ROOT, Report, best, in_process, need_engine


def by_peer(example, peer: str, name: str, points: int) -> tuple[float, float]:
    """Seconds and the relative error."""
    case = example["CASES"][name]
    python = os.environ.get("PYSCIML_BENCH_PYTHON", sys.executable)
    counts = map(str, (points, case.adam, case.broyden))
    seconds, found = in_process(
        "-m", "benchmarks.pinn_peers", peer, name, *counts,
        python=python if peer == "DeepXDE" else sys.executable, timeout=1800,
    )  # fmt: skip
    problem = PROBLEMS[name]
    u = np.reshape(found, [len(axis) for axis in reversed(problem.axes())])
    return seconds, example["relative"](u, exact(example, name, *problem.axes()))


def exact(example, name: str, first, second):
    """At the grid of two axes, the second first."""
    if name == "Poisson":
        return np.outer(np.sin(np.pi * second), np.sin(np.pi * first))
    if name == "Burgers":
        return example["cole_hopf"](*np.meshgrid(first, second))
    x, problem = example["allen_cahn_by_lines"](1024)
    inside = example["along_lines"](x, problem)[:, ::4]  # x = 1 is x = -1
    return np.concatenate([inside, inside[:, :1]], axis=1)


def poisson_grid(example, engine):
    x, u = example["poisson_by_differences"]()
    exact = np.outer(np.sin(np.pi * x), np.sin(np.pi * x))
    note = f"{x.size} x {x.size} points"
    return best(example["poisson_by_differences"]), example["relative"](u, exact), note


def burgers_grid(example, engine):
    x, problem = example["burgers_by_lines"]()
    exact = example["cole_hopf"](*np.meshgrid(x, example["T"]))
    run = functools.partial(example["along_lines"], x, problem, engine)
    return best(run), example["relative"](run(), exact), f"Tsit5, {x.size} points"


def allen_cahn_grid(example, engine):
    x, problem = example["allen_cahn_by_lines"](512)
    fine = example["along_lines"](*example["allen_cahn_by_lines"](1024))[:, ::2]
    run = functools.partial(example["along_lines"], x, problem, engine)
    return best(run), example["relative"](run(), fine), f"Tsit5, {x.size} points"


def viscosity_grid(example, engine):
    from scipy.interpolate import RegularGridInterpolator
    from scipy.optimize import minimize_scalar

    at, observed = example["observations"]()
    x, problem = example["burgers_by_lines"](256)

    def misfit(log_nu):
        trial = problem.remake(p={"nu": math.exp(log_nu)})
        u = example["along_lines"](x, trial, engine)
        wide = np.pad(u, ((0, 0), (1, 1)))
        field = RegularGridInterpolator((example["T"], np.r_[-1.0, x, 1.0]), wide, "cubic")
        return float(((field(at[:, ::-1]) - observed) ** 2).mean())

    def search():
        return minimize_scalar(misfit, bounds=(math.log(0.01), math.log(0.3)), method="bounded")

    found = search()
    note = f"{found.nfev} solves"
    return best(search), abs(math.exp(found.x) / (10.0 * example["NU"]) - 1.0), note


GRIDS = {
    "Poisson": poisson_grid,
    "Burgers": burgers_grid,
    "Allen-Cahn": allen_cahn_grid,
    "viscosity": viscosity_grid,
}
#: Raissi et al. (2019), 100 values and 10000 points: 60 s in docs/index.md, the error in table 1 of
#: "appendix/continuous_time_inference (Burgers)" of https://github.com/maziarraissi/PINNs. Wang,
#: Sankaran, Wang, Perdikaris, An expert's guide to training physics-informed neural networks,
#: arXiv:2308.08468: examples/allen_cahn of https://github.com/PredictiveIntelligenceLab/jaxpi.
PUBLISHED = {
    "Burgers": (60.0, 6.7e-4, "Raissi et al., 2019, on a GPU"),
    "Allen-Cahn": (60.0 * 16.26, 5.84e-4, "Wang et al., 2023, on a GPU"),
}


def network(report: Report, example, name: str, label: str, note: str = "", **how) -> None:
    with report.part(f"{name}, {label}"):
        outcome = example["solve"](name, **how)
        case, points = example["CASES"][name], outcome.found.points
        told = note or f"Adam {case.adam}, Broyden {case.broyden}; {points} points"
        report.add(f"{name}, {label}", outcome.seconds, told, outcome.error)


def main() -> int:
    sml = need_engine("native")
    torch.set_num_threads(1)
    example = runpy.run_path(str(ROOT / "examples" / "pinn.py"))
    report = Report("pinn", "Physics-informed networks and grids")
    for name, case in example["CASES"].items():
        network(report, example, name, "pysciml")
        if name in PUBLISHED:
            even = {"sampling": None}
            network(report, example, name, "pysciml, even points", "the same", **even)
            plain = sml.train.LBFGS(case.broyden, memory=50)
            network(report, example, name, "pysciml, L-BFGS", "even points", finish=plain, **even)
        if name == "Allen-Cahn":
            network(report, example, name, "pysciml, not causal", "the same", causal=0.0)
        for peer in PEERS if name in PROBLEMS else ():
            with report.part(f"{name}, {peer}"):
                points = case.make().points
                seconds, error = by_peer(example, peer, name, points)
                note = f"Adam {case.adam}, L-BFGS {case.broyden}; {points} points"
                report.add(f"{name}, {peer}", seconds, note, error)
        for engine in ("SciPy",) if name == "Poisson" else ("native", "julia"):
            with report.part(f"{name}, grid, {engine}"):
                if engine == "julia":
                    need_engine("julia")
                seconds, error, note = GRIDS[name](example, engine)
                report.add(f"{name}, grid, {engine}", seconds, note, error)
        if name in PUBLISHED:
            seconds, error, note = PUBLISHED[name]
            report.add(f"{name}, published", seconds, note, error)
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
