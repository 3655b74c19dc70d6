"""The drop-in beside what it stands for: loss and gradient through `odeint`.

`python -m benchmarks.odeint`. The right-hand sides are those of `benchmarks.gradients`: a universal
differential equation with a 2-32-2 network, 31 points, and 256 trajectories at once through a
2-64-64-2 network. Each solver is called as torchdiffeq's README does, loss and `backward()`
included, in float64 and, for the batch, in float32 too, torchdiffeq's own dtype. diffrax runs in a
process of its own, by the Python that PYSCIML_BENCH_PYTHON names (default: this one).
"""

from __future__ import annotations

import os
import sys

import numpy as np

from .gradients import BATCH_T, TOL, U0, T, batch_start, torch_models
from .timing import Report, best, in_process, need_engine

CASES = {
    "UDE": (0, U0, T, "float64", 1),
    "batch": (1, batch_start(), BATCH_T, "float64", os.cpu_count() or 1),
    "batch, float32": (1, batch_start(), BATCH_T, "float32", os.cpu_count() or 1),
}


def solvers():
    """name -> (odeint, its keyword arguments)."""
    import torchdiffeq

    import pysciml

    return {
        "pysciml odeint": (pysciml.odeint, {"engine": "native"}),
        "pysciml odeint_adjoint": (pysciml.odeint_adjoint, {"engine": "native"}),
        "torchdiffeq odeint": (torchdiffeq.odeint, {}),
        "torchdiffeq odeint_adjoint": (torchdiffeq.odeint_adjoint, {}),
    }


def loss_and_gradient(odeint, func, y0, t, **options):
    """A call, and the gradient that it leaves behind."""

    def call():
        func.zero_grad()
        loss = odeint(func, y0, t, rtol=TOL, atol=TOL, method="dopri5", **options).square().mean()
        loss.backward()

    def gradient():
        call()
        return np.concatenate([p.grad.double().numpy().ravel() for p in func.parameters()])

    return call, gradient


def exact_gradient(func, u0, times):
    import torch
    import torchdiffeq

    y0, t = torch.from_numpy(u0), torch.from_numpy(times)
    states = torchdiffeq.odeint(func, y0, t, rtol=1e-11, atol=1e-12)
    states.square().mean().backward()
    return np.concatenate([p.grad.numpy().ravel() for p in func.parameters()])


def study(report: Report, title: str) -> None:
    import torch

    which, u0, times, dtype, threads = CASES[title]
    torch.set_num_threads(threads)
    kind = getattr(torch, dtype)
    func = torch_models()[which].to(kind)
    y0, t = torch.from_numpy(u0).to(kind), torch.from_numpy(times).to(kind)
    reference = exact_gradient(torch_models()[which], u0, times)
    for name, (odeint, options) in solvers().items():
        with report.part(f"{title}, {name}"):
            if name.startswith("pysciml"):
                need_engine("native")
            call, gradient = loss_and_gradient(odeint, func, y0, t, **options)
            error = np.abs(gradient() - reference).max() / np.abs(reference).max()
            note = f"dopri5, {dtype}, {threads} thread{'s' * (threads > 1)}"
            report.add(f"{title}, {name}", best(call), note, error)


def diffrax(report: Report, title: str) -> None:
    with report.part(f"{title}, diffrax"):
        python = os.environ.get("PYSCIML_BENCH_PYTHON", sys.executable)
        figure = in_process("-m", "benchmarks.gradients", "diffrax", title, python=python)
        report.add(f"{title}, diffrax", figure["seconds"], figure["note"])


def main() -> int:
    report = Report(
        "odeint", "Loss and gradient through odeint: UDE 2-32-2, and a batch, 2-64-64-2"
    )
    for title in CASES:
        study(report, title)
    for title in ("UDE", "batch"):
        diffrax(report, title)
    mine = "UDE, pysciml odeint_adjoint"
    report.within(mine, 0.5e-3)
    report.at_least(mine, 100.0, "UDE, torchdiffeq odeint_adjoint")
    report.at_least(mine, 1.0, "UDE, torchdiffeq odeint")
    report.at_least(mine, 1.0, "UDE, diffrax")
    for title in ("batch", "batch, float32"):
        mine = f"{title}, pysciml odeint_adjoint"
        report.at_least(mine, 5.0, f"{title}, torchdiffeq odeint_adjoint")
        report.at_least(mine, 1.0, f"{title}, torchdiffeq odeint")
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
