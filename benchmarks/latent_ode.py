"""Spirals from irregular noisy points: latent ODEs, the same in PyTorch, a GRU, and the paper.

`python -m benchmarks.latent_ode`. 1000 spirals to learn from and 100 others to predict, as in the
example; each is seen at 30, 50 or 100 of 100 times. In training all models read the first half of
a series of twice that length, with as many points again, and the loss is on all of it (the
extrapolation of Rubanova et al., NeurIPS 2019); there the GRU, too, goes on from its own
predictions. The error is the root mean square behind the window, where nothing of the predicted
spirals is seen, at times of their own; the note has the one within it. "From the window" are fits
to which no training series is shown behind it, either. Errors and times are means over the seeds
of the fits. All are trained by the same `fit` (Adam, cosine decay; the noise is known to the latent
ODEs). "PyTorch" is the same model with the same random numbers, its ODE solved and differentiated
by torchdiffeq; "Julia" has it solved by OrdinaryDiffEq. The rows named "paper" are table 2 of Chen
et al. (NeurIPS 2018), learnt from windows: spirals of the same kind with other noise, turns and
horizon, so that only their order can be compared. Times are of the processor, of one thread; what
compiles has compiled before.
"""

from __future__ import annotations

import runpy
import sys

import numpy as np
import torch

from .timing import ROOT, Report, Row, need_engine, need_pysciml

ITERATIONS = 1000
SEEDS = {30: (0, 1, 2), 50: (0, 1), 100: (0, 1)}
PAPER = {30: (0.3937, 0.1642), 50: (0.3202, 0.1502), 100: (0.1813, 0.1346)}  # RNN, latent ODE
ODE, ODE_RNN, GRU = "latent ODE, GRU", "latent ODE, ODE-RNN", "GRU with decay"


class Spirals:
    """Those of one number of points, and the rows of a report about them."""

    def __init__(self, report: Report, example, points: int) -> None:
        self._report, self._run, self.points = report, example["run"], points
        make = example["Spirals"].make
        self._pair = make(1000, points, 0), make(100, points, 1)

    def add(self, row: str, name: str, seeds=None, **options) -> list[float]:
        """The errors behind the window, of each seed."""
        label, seeds = f"{self.points} points, {row}", seeds or SEEDS[self.points]
        behind: list[float] = []
        with self._report.part(label):
            need_engine(options.get("engine", "native"))
            self._run(name, *self._pair, 2, **options)
            found = [self._run(name, *self._pair, ITERATIONS, seed=k, **options) for k in seeds]
            behind = [one.behind for one in found]
            each = ", ".join(f"{error:.3f}" for error in behind)
            between = np.mean([one.between for one in found])
            note = f"{between:.3f} between the points; seeds: {each}"
            seconds = np.mean([one.seconds for one in found])
            self._report.add(label, seconds, note, np.mean(behind))
        return behind


def main() -> int:
    need_pysciml()
    torch.set_num_threads(1)
    example = runpy.run_path(str(ROOT / "examples" / "latent_ode.py"))
    report = Report("latent_ode", "Spirals from 30, 50 and 100 irregular points")
    for points, paper in PAPER.items():
        spirals = Spirals(report, example, points)
        mine = spirals.add("latent ODE, GRU encoder", ODE, engine="native")
        theirs = spirals.add("GRU", GRU)
        if points == 30:
            spirals.add("latent ODE, ODE-RNN encoder", ODE_RNN, (0,), engine="native")
            spirals.add("latent ODE, GRU encoder, PyTorch", ODE, (0,), engine="torch")
            spirals.add("latent ODE, GRU encoder, Julia", ODE, (0,), engine="julia")
            spirals.add("latent ODE, from the window", ODE, (0,), engine="native", forecasts=False)
            spirals.add("GRU, from the window", GRU, (0,), forecasts=False)
            label = "30 points, latent ODE, GRU encoder"
            report.at_least(label, 1.0, f"{label}, PyTorch")
        for row, error in zip(("RNN", "latent ODE"), paper, strict=True):
            label = f"{points} points, {row}, paper"
            report.rows.append(Row(label, None, "as printed, 2018", error))
        report.holds(
            f"{points} points: a latent ODE forecasts better than the GRU",
            bool(mine and theirs) and np.mean(mine) < np.mean(theirs),
            f"{np.mean(mine):.3f} and {np.mean(theirs):.3f}",
        )
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
