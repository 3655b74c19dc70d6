"""Three equations in a hundred dimensions by the deep BSDE method: ours, the paper's, in one run.

`python -m benchmarks.deep_bsde`. "PyTorch" is the method of Han, Jentzen and E (2018) in a plain
loop, with the settings of its authors' code: a network of its own for each step with batch
normalisation, their first guesses, step sizes and numbers of iterations. The rows named "paper" are
what they printed. Errors are relative, against the method of lines in |x| (Allen-Cahn), the closed
form (Hamilton-Jacobi-Bellman) and published multilevel Picard (Black-Scholes). Times are of the
processor, of one thread, so that what else runs in these minutes is not in them.
"""

from __future__ import annotations

import runpy
import sys
import time
from dataclasses import dataclass

import torch
from torch import nn

from .timing import ROOT, Report, need_pysciml


@dataclass(frozen=True)
class Published:
    """Settings of https://github.com/frankhan91/DeepBSDE, and the paper's figures."""

    first: float
    lr: float
    iterations: int
    error: float
    seconds: float


PAPER = {
    "Allen-Cahn": Published(0.4, 5e-4, 4000, 0.0030, 647.0),
    "Hamilton-Jacobi-Bellman": Published(0.5, 1e-2, 2000, 0.0017, 330.0),
    "Black-Scholes, default risk": Published(45.0, 8e-3, 6000, 0.0046, 1607.0),
}

ITERATIONS = 1000  # of ours


def subnetwork(d: int) -> nn.Sequential:
    width = d + 10
    return nn.Sequential(
        nn.BatchNorm1d(d),
        nn.Linear(d, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, d),
        nn.BatchNorm1d(d),
    )


def by_pysciml(model) -> tuple[float, float]:
    """u(x0, 0) and seconds."""
    sml = need_pysciml()
    start = time.process_time()
    result = sml.fit(model, optimisers=sml.train.Adam(0.01, ITERATIONS, "cosine"), progress=False)
    return model.fitted(result).u0, time.process_time() - start


def by_torch(model, published: Published) -> tuple[float, float]:
    """u(x0, 0) and seconds; `model` gives the equation and its paths, not its networks."""
    d, steps, dt = model.x0.numel(), model.steps, model.dt
    networks = nn.ModuleList(subnetwork(d) for _ in range(steps - 1)).double()
    for module in networks.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.1, 0.5)
    u0 = nn.Parameter(torch.tensor(published.first, dtype=torch.float64))
    z0 = nn.Parameter(0.2 * torch.rand(d, dtype=torch.float64) - 0.1)
    optimiser = torch.optim.Adam([u0, z0, *networks.parameters()], published.lr)
    random = torch.Generator().manual_seed(0)
    start = time.process_time()
    for _ in range(published.iterations):
        noise = model.noise(64, random)
        with torch.no_grad():
            x = model._points(noise)
        u, z = u0.expand(64), z0.expand(64, d)
        for n in range(steps):
            slope = model.f(x[n], u, z, model.times[n])
            u = u - dt * slope + (z * noise[n]).sum(-1)
            if n < steps - 1:
                z = networks[n](x[n + 1]) / d
        optimiser.zero_grad()
        ((u - model.g(x[-1])) ** 2).mean().backward()
        optimiser.step()
    return u0.item(), time.process_time() - start


def main() -> int:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    example = runpy.run_path(str(ROOT / "examples" / "deep_bsde.py"))
    report = Report("deep_bsde", "Parabolic equations in 100 dimensions, at one point")
    for name, published in PAPER.items():
        make, known, _ = example["CASES"][name]
        with report.part(f"{name}, pysciml"):
            model = make()
            found, seconds = by_pysciml(model)
            note = f"u = {found:.5g}, {ITERATIONS} iterations from {model.u0:.4g}"
            report.add(f"{name}, pysciml", seconds, note, abs(found / known() - 1.0))
        with report.part(f"{name}, PyTorch"):
            found, seconds = by_torch(make(), published)
            note = f"u = {found:.5g}, {published.iterations} iterations from {published.first:g}"
            report.add(f"{name}, PyTorch", seconds, note, abs(found / known() - 1.0))
        report.add(f"{name}, paper", published.seconds, "as printed, 2018", published.error)
        report.at_least(f"{name}, pysciml", 1.0, f"{name}, PyTorch")
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
