"""Physics-informed networks and grids, on the same four problems.

`python -m benchmarks.pinn`. The problems are those of examples/pinn.py. "pysciml" is its network;
"grid" is finite differences, along time by this package's native engine, compiled before (for
Poisson a sparse direct solve by SciPy; for the viscosity SciPy's search for one number, a solve for
each trial). "PyTorch" is Burgers' equation as the paper has it, in a plain loop: nine layers of 20,
conditions as terms, torch's L-BFGS, but with 2500 points and fewer iterations. Errors are relative,
in the L2 norm over time and space, against closed forms (Allen-Cahn: a grid of 1024 points); for
the viscosity it is that of the number. Times of networks are of the processor, of one thread, so
that what else runs in these minutes is not in them.
"""

from __future__ import annotations

import itertools
import math
import runpy
import sys
import time

import numpy as np
import torch

from .timing import ROOT, Report, best, need_engine

NU = 0.01 / math.pi
ITERATIONS, POINTS = 1000, 2500  # of the plain loop


def by_torch(relative, x, t, exact) -> tuple[float, float]:
    """Burgers' equation; the relative error and seconds."""
    torch.manual_seed(0)
    sizes = [2, *[20] * 8, 1]
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        linear = torch.nn.Linear(inputs, outputs, dtype=torch.float64)
        torch.nn.init.xavier_normal_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        layers += [linear, torch.nn.Tanh()]
    network = torch.nn.Sequential(*layers[:-1])
    random = np.random.default_rng(0)
    inside = torch.as_tensor(random.uniform([-1.0, 0.0], [1.0, 1.0], (POINTS, 2)))
    inside.requires_grad_()
    start = np.stack([random.uniform(-1.0, 1.0, 50), np.zeros(50)], 1)
    edges = np.stack([random.choice([-1.0, 1.0], 50), random.uniform(0.0, 1.0, 50)], 1)
    known = torch.as_tensor(np.concatenate([start, edges]))
    values = torch.as_tensor(np.r_[-np.sin(np.pi * start[:, 0]), np.zeros(50)])[:, None]
    optimiser = torch.optim.LBFGS(
        network.parameters(), 1.0, ITERATIONS, history_size=50, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        u = network(inside)
        (du,) = torch.autograd.grad(u.sum(), inside, create_graph=True)
        (ddu,) = torch.autograd.grad(du[:, 0].sum(), inside, create_graph=True)
        residual = du[:, 1] + u[:, 0] * du[:, 0] - NU * ddu[:, 0]
        loss = (residual**2).mean() + ((network(known) - values) ** 2).mean()
        loss.backward()
        return loss

    begin = time.process_time()
    optimiser.step(closure)
    seconds = time.process_time() - begin
    with torch.no_grad():
        found = network(torch.as_tensor(np.stack(np.meshgrid(x, t), -1)))[..., 0].numpy()
    return relative(found, exact), seconds


def poisson_grid(example):
    x, u = example["poisson_by_differences"]()
    exact = np.outer(np.sin(np.pi * x), np.sin(np.pi * x))
    note = f"{x.size} x {x.size} points"
    return best(example["poisson_by_differences"]), example["relative"](u, exact), note


def burgers_grid(example):
    x, problem = example["burgers_by_lines"]()
    exact = example["cole_hopf"](*np.meshgrid(x, example["T"]))
    u = example["along_lines"](x, problem)
    return best(lambda: example["along_lines"](x, problem)), example["relative"](u, exact), "Tsit5"


def allen_cahn_grid(example):
    x, problem = example["allen_cahn_by_lines"](512)
    fine = example["along_lines"](*example["allen_cahn_by_lines"](1024))[:, ::2]
    u = example["along_lines"](x, problem)
    return best(lambda: example["along_lines"](x, problem)), example["relative"](u, fine), "Tsit5"


def viscosity_grid(example):
    from scipy.interpolate import RegularGridInterpolator
    from scipy.optimize import minimize_scalar

    at, observed = example["observations"]()
    x, problem = example["burgers_by_lines"](256)

    def misfit(log_nu):
        u = example["along_lines"](x, problem.remake(p={"nu": math.exp(log_nu)}))
        wide = np.pad(u, ((0, 0), (1, 1)))
        field = RegularGridInterpolator((example["T"], np.r_[-1.0, x, 1.0]), wide, "cubic")
        return float(((field(at[:, ::-1]) - observed) ** 2).mean())

    def search():
        return minimize_scalar(misfit, bounds=(math.log(0.01), math.log(0.3)), method="bounded")

    found = search()
    note = f"{found.nfev} solves"
    return best(search), abs(math.exp(found.x) / (10.0 * NU) - 1.0), note


GRIDS = {
    "Poisson": poisson_grid,
    "Burgers": burgers_grid,
    "Allen-Cahn": allen_cahn_grid,
    "viscosity": viscosity_grid,
}
PUBLISHED = {"Burgers": (60.0, 6.7e-4, "Raissi et al., 2019, on a GPU")}


def main() -> int:
    need_engine("native")
    torch.set_num_threads(1)
    example = runpy.run_path(str(ROOT / "examples" / "pinn.py"))
    report = Report("pinn", "Physics-informed networks and grids")
    for name, case in example["CASES"].items():
        with report.part(f"{name}, pysciml"):
            outcome = example["solve"](name)
            note = f"Adam {case.adam}, L-BFGS {case.lbfgs}; {outcome.found.points} points"
            report.add(f"{name}, pysciml", outcome.seconds, note, outcome.error)
        with report.part(f"{name}, grid"):
            seconds, error, note = GRIDS[name](example)
            report.add(f"{name}, grid", seconds, note, error)
        if name == "Allen-Cahn":
            with report.part(f"{name}, not causal"):
                outcome = example["solve"](name, causal=0.0)
                report.add(f"{name}, not causal", outcome.seconds, "the same", outcome.error)
        if name in PUBLISHED:
            seconds, error, note = PUBLISHED[name]
            report.add(f"{name}, paper", seconds, note, error)
    with report.part("Burgers, PyTorch"):
        x, t = example["X"], example["T"]
        exact = example["cole_hopf"](*np.meshgrid(x, t))
        error, seconds = by_torch(example["relative"], x, t, exact)
        report.add("Burgers, PyTorch", seconds, f"L-BFGS {ITERATIONS}; {POINTS} points", error)
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
