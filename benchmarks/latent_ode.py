"""Spirals from irregular noisy points: latent ODEs, the same in PyTorch, a GRU, and the paper.

`python -m benchmarks.latent_ode`. 1000 spirals to learn from and 100 others to predict, as in the
example; each is seen at 30, 50 or 100 of 100 times. The error is the root mean square over the
hundred times that follow the window, where nothing was seen; the note has the one within it. All
are trained by the same `fit` (Adam, cosine decay). "PyTorch" is the same model with the same random
numbers, its ODE solved and differentiated by torchdiffeq. The rows named "paper" are table 2 of
Chen et al. (NeurIPS 2018): spirals of the same kind with other noise, turns and horizon, so that
only their order can be compared. Times are of the processor, of one thread.
"""

from __future__ import annotations

import runpy
import sys

import torch

from .timing import ROOT, Report, Row, need_pysciml

ITERATIONS = 1500
PAPER = {30: (0.3937, 0.1642), 50: (0.3202, 0.1502), 100: (0.1813, 0.1346)}  # RNN, latent ODE


def main() -> int:
    need_pysciml()
    torch.set_num_threads(1)
    example = runpy.run_path(str(ROOT / "examples" / "latent_ode.py"))
    report = Report("latent_ode", "Spirals from 30, 50 and 100 irregular points")
    for points, paper in PAPER.items():
        spirals = [
            example["Spirals"].make(count, points, seed) for seed, count in ((0, 1000), (1, 100))
        ]
        behind = {}

        def add(
            row: str, name: str, spirals=spirals, behind=behind, points=points, **options
        ) -> None:
            label = f"{points} points, {row}"
            with report.part(label):
                one = example["run"](name, *spirals, ITERATIONS, **options)
                behind[row] = one.behind
                note = f"{one.between:.3f} between the points"
                report.add(label, one.seconds, note, one.behind)

        add("latent ODE, GRU encoder", "latent ODE, GRU", engine="native")
        add("GRU with decay", "GRU with decay")
        if points == 30:
            add("latent ODE, ODE-RNN encoder", "latent ODE, ODE-RNN", engine="native")
            add("latent ODE, GRU encoder, PyTorch", "latent ODE, GRU", engine="torch")
            mine, theirs = (f"30 points, latent ODE, GRU encoder{x}" for x in ("", ", PyTorch"))
            report.at_least(mine, 1.0, theirs)
        for row, error in zip(("RNN", "latent ODE"), paper, strict=True):
            label = f"{points} points, {row}, paper"
            report.rows.append(Row(label, None, "as printed, 2018", error))
        mine, theirs = behind["latent ODE, GRU encoder"], behind["GRU with decay"]
        report.holds(
            f"{points} points: a latent ODE predicts better than the GRU",
            mine < theirs,
            f"{mine:.3f} and {theirs:.3f}",
        )
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
