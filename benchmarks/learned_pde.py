"""Equations on grids with learned stencils: the package, torchdiffeq, and a closure's worth.

`python -m benchmarks.learned_pde`. The models are those of examples/learned_pde.py and
examples/navier_stokes_closure.py. "fit, native", "fit, julia" and "torchdiffeq" do the same: 400
iterations of Adam with the same step sizes from the same weights, then 400 of L-BFGS with 20 steps
of memory, on the same data, at tolerances of 1e-6; torchdiffeq by differentiation through its
dopri5. The error is the largest of the three taps found, relative to [1, -2, 1] D. "Adam alone" is
where the first 400 iterations end. For the flow it is that of the vorticity at twice the time of
training, the mean of six flows that were not trained on, and the time is that of one run. Times of
fits are of the processor, of all threads of Julia and one of Python, after an iteration of each
stage that compiles.
"""

from __future__ import annotations

import copy
import functools
import runpy
import sys
import time

import numpy as np
import torch

from .learning import lbfgs
from .timing import ROOT, Report, Skip, best, need_engine

ITERATIONS = 400  # of each stage
LEARNING_RATE = 0.01
MEMORY = 20
TOL = 1e-6


def off(model, coefficient: float) -> float:
    taps = model.networks["diffusion"].taps.detach().numpy() / coefficient
    return float(np.abs(taps / [1.0, -2.0, 1.0] - 1.0).max())


def by_fit(model, data, engine="native", finish=True):
    sml = need_engine(engine)

    def run(iterations):
        stages = [
            sml.train.Adam(LEARNING_RATE, iterations, "cosine"),
            sml.train.LBFGS(iterations, memory=MEMORY),
        ]
        options = {"alg": "Tsit5", "engine": engine, "abstol": TOL, "reltol": TOL}
        used = stages if finish else stages[:1]
        return sml.fit(model, data, optimisers=used, progress=False, **options)

    run(1)
    start = time.process_time()
    result = run(ITERATIONS)
    return model.fitted(result), time.process_time() - start, result.loss


def by_torchdiffeq(model, data):
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise Skip(str(error)) from error
    from pysciml.train import Adam

    model = copy.deepcopy(model)
    t, u = (torch.as_tensor(x) for x in data)

    def loss():
        found = odeint(lambda t, u: model(u, None, t), u[0], t, rtol=TOL, atol=TOL)
        return ((found - u) ** 2).mean()

    optimiser = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    start = time.process_time()
    for rate in Adam(LEARNING_RATE, ITERATIONS, "cosine").rates():
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    lbfgs(model.parameters(), loss, ITERATIONS, MEMORY)
    return model, time.process_time() - start, loss().item()


def flows(report: Report, engine: str) -> None:
    need_engine(engine)
    example = runpy.run_path(str(ROOT / "examples" / "navier_stokes_closure.py"))
    example["train"](1, 1, engine)
    start = time.process_time()
    model = example["train"](4, 150, engine)
    seconds = time.process_time() - start
    outcome = example["judge"](model, 6)
    times = outcome.times[[0, -1]]
    equation, begin = example["vorticity_equation"], example["random_vorticity"](100)
    coarse, run = example["averaged"](begin), example["run"]
    for name, f, w0, error, note in (
        ("64 x 64", equation(64), begin, None, "the reference"),
        ("16 x 16", equation(16), coarse, outcome.error_without, ""),
        ("16 x 16, closure", model, coarse, outcome.error_with, f"trained in {seconds:.3g} s"),
    ):
        last = None if error is None else error[:, -1].mean()
        taken = best(lambda f=f, w0=w0: run(f, w0, times, engine))
        report.add(f"Flow, {name}, {engine}", taken, note, last)


ENGINES = ("native", "julia")
FITS = {
    "fit, native": by_fit,
    "fit, julia": functools.partial(by_fit, engine="julia"),
    "Adam alone, native": functools.partial(by_fit, finish=False),
    "torchdiffeq": by_torchdiffeq,
}


def main() -> int:
    need_engine("native")
    torch.set_num_threads(1)
    report = Report("learned_pde", "Equations on grids with learned stencils")
    example = runpy.run_path(str(ROOT / "examples" / "learned_pde.py"))
    for name in example["CASES"]:
        model, data = example["model"](name), example["observed"](name)
        for how, run in FITS.items():
            with report.part(f"{name}, {how}"):
                found, seconds, loss = run(model, data)
                error = off(found, example["COEFFICIENT"][name])
                report.add(f"{name}, {how}", seconds, f"loss {loss:.2e}", error)
        for engine in ENGINES:
            report.at_least(f"{name}, fit, {engine}", 1.0, f"{name}, torchdiffeq")
    for engine in ENGINES:
        with report.part(f"Flow, {engine}"):
            flows(report, engine)
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
