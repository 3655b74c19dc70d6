"""Spirals from irregular noisy points: latent ODEs, the same in PyTorch, a GRU, and the paper.

`python -m benchmarks.latent_ode`. 1000 spirals to learn from and 100 others to predict, as in the
example; each is seen at 30, 50 or 100 of 100 times. In training all models read the first half of
a series of twice that length, with as many points again, and the loss is on all of it (the
extrapolation of Rubanova et al., NeurIPS 2019); there the GRU, too, goes on from its own
predictions. The error is the root mean square behind the window, where nothing of the predicted
spirals is seen, at times of their own; the note has the one within it. "From the window" are fits
to which no training series is shown behind it, either. Errors and times are means over the seeds
of the fits, whose errors follow in the note; rows without them are of one seed. All are trained by
the same `fit` (Adam, cosine decay; the noise is known to the latent ODEs). The rows named "paper"
are table 2 of Chen et al. (NeurIPS 2018), learnt from windows: spirals of the same kind with other
noise, turns and horizon, so that only their order can be compared.

An iteration is timed over 30 of them, of the same model with the same random numbers,
whose ODE is solved and differentiated by the native engine, by torchdiffeq, or by OrdinaryDiffEq.
Times are of the processor, of one thread; what compiles has compiled before.
"""

from __future__ import annotations

import runpy
import sys

import numpy as np
import torch

from .timing import ROOT, Report, Row, need_engine, need_pysciml

ITERATIONS, TIMED = 800, 30
SEEDS = 0, 1
PAPER = {30: (0.3937, 0.1642), 50: (0.3202, 0.1502), 100: (0.1813, 0.1346)}  # RNN, latent ODE
ODE, ODE_RNN, GRU = "latent ODE, GRU", "latent ODE, ODE-RNN", "GRU with decay"


class Spirals:
    """Those of one number of points, and the rows of a report about them."""

    def __init__(self, report: Report, example, points: int) -> None:
        self._report, self._run, self.points = report, example["run"], points
        make = example["Spirals"].make
        self._pair = make(1000, points, 0), make(100, points, 1)

    def add(self, row: str, name: str, seeds=SEEDS, **options) -> float | None:
        """Mean error behind the window."""
        label = f"{self.points} points, {row}"
        with self._report.part(label):
            self._run(name, *self._pair, 2, **options)
            found = [self._run(name, *self._pair, ITERATIONS, seed=k, **options) for k in seeds]
            seconds, between, behind = (
                float(np.mean([getattr(one, what) for one in found]))
                for what in ("seconds", "between", "behind")
            )
            each = ", ".join(f"{one.behind:.3f}" for one in found)
            note = f"{between:.3f} between the points" + (f"; {each}" if len(found) > 1 else "")
            self._report.add(label, seconds, note, behind)
            return behind
        return None

    def time(self, row: str, engine: str) -> None:
        """Of an iteration: what longer fits take more than short ones."""
        label = f"an iteration, {row}"
        with self._report.part(label):
            need_engine(engine)
            many = 1 + TIMED  # Julia compiles again what is solved often
            _, one, more = (self._run(ODE, *self._pair, k, engine=engine) for k in (many, 1, many))
            self._report.add(label, (more.seconds - one.seconds) / TIMED, f"{self.points} points")


def compare(report: Report, spirals: Spirals) -> None:
    points = spirals.points
    mine = spirals.add("latent ODE", ODE, engine="native")
    theirs = spirals.add("GRU", GRU)
    for row, error in zip(("RNN", "latent ODE"), PAPER[points], strict=True):
        label = f"{points} points, {row}, paper"
        report.rows.append(Row(label, None, "as printed, 2018", error))
    if mine is not None and theirs is not None:
        report.holds(
            f"{points} points: a latent ODE forecasts better than the GRU",
            mine < theirs,
            f"{mine:.3f} and {theirs:.3f}",
        )


def main() -> int:
    need_pysciml()
    torch.set_num_threads(1)
    example = runpy.run_path(str(ROOT / "examples" / "latent_ode.py"))
    report = Report("latent_ode", "Spirals from 30, 50 and 100 irregular points")
    for points in PAPER:
        compare(report, Spirals(report, example, points))
    few = Spirals(report, example, 30)
    few.add("latent ODE, ODE-RNN encoder", ODE_RNN, SEEDS[:1], engine="native")
    few.add("latent ODE, from the window", ODE, SEEDS[:1], engine="native", forecasts=False)
    few.add("GRU, from the window", GRU, SEEDS[:1], forecasts=False)
    for row, engine in (("native", "native"), ("PyTorch", "torch"), ("Julia", "julia")):
        few.time(row, engine)
    report.at_least("an iteration, native", 1.0, "an iteration, PyTorch")
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
