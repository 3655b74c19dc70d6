"""Neural SDEs: a spiral by its moments, also by torchsde, and sunspots beside autoregressions.

`python -m benchmarks.neural_sde`. The spiral is that of DiffEqFlux's example; both fits have the
same networks, first weights, paths, steps (Euler-Maruyama) and iterations of Adam, and other noise.
torchsde differentiates the steps of its solver, which is how it is quickest here. The error is the
root mean square of that of the mean, over time and components; the note has that of the variance.
The sunspots are those of the example: the error is that of the forecasts of 11 years from 33, of
1921 to 2008, learnt from 1700 to 1920; the note has the mean log density of what came, in nats.
Times are of the processor, of one thread.
"""

from __future__ import annotations

import runpy
import sys
import time

import numpy as np
import torch

from .timing import ROOT, Report, Row, Skip, need_pysciml

SPIRAL, SUNSPOTS = 500, 500  # iterations


def by_torchsde(example, iterations: int):
    """The fit in plain PyTorch, and paths of the result."""
    try:
        import torchsde
    except ImportError as error:
        raise Skip(f"torchsde: {error}") from error
    model, known = example["spiral_model"](), example["ensemble"]()

    class Pair(torch.nn.Module):
        sde_type, noise_type = "ito", "diagonal"

        def f(self, t, u):
            return model.drift(u)

        def g(self, t, u):
            return model.diffusion(u)

    times = torch.as_tensor(example["T"])
    mean, variance = (torch.as_tensor(x) for x in (known.mean(1), known.var(1, ddof=1)))
    scale = variance.mean(0)
    starts = torch.as_tensor(np.tile(example["START"], (model.paths, 1)))
    optimiser = torch.optim.Adam(model.parameters(), 0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    begin = time.process_time()
    for _ in range(iterations):
        u = torchsde.sdeint(Pair(), starts, times, method="euler", dt=1.0 / 64.0)
        off = u.mean(1) - mean, u.var(1) - variance
        loss = (off[0] ** 2 / scale + off[1] ** 2 / (2.0 * scale**2)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    seconds = time.process_time() - begin
    u = model.simulate(np.tile(example["START"], (2000, 1)), example["T"], 5, alg="EM", dt=1 / 64)
    return example["Spiral"](known, u, seconds)


def spiral(report: Report, example) -> None:
    parts = {
        "spiral, pysciml": lambda: example["fit_spiral"](SPIRAL),
        "spiral, torchsde": lambda: by_torchsde(example, SPIRAL),
    }
    for name, fit in parts.items():
        with report.part(name):
            found = fit()
            mean, variance = found.errors
            report.add(name, found.seconds, f"variance off by {variance:.3f}", mean)
    report.at_least("spiral, pysciml", 1.0, "spiral, torchsde")


def sunspots(report: Report, example) -> None:
    sun = example["Sunspots"].load()

    def add(name: str, predict) -> None:
        with report.part(f"sunspots, {name}"):
            found = predict()
            error, density = found.scores(sun)
            seconds = found.seconds or None  # of what is trained
            report.rows.append(
                Row(f"sunspots, {name}", seconds, f"log density {density:.3f}", error)
            )

    fit = example["fit_sunspots"]
    add("latent SDE", lambda: fit(sun, SUNSPOTS, **example["STEPS"])[1])
    add("latent ODE", lambda: fit(sun, SUNSPOTS, example["latent_ode"](), engine="native")[1])
    for order in (2, 9):
        add(f"AR({order})", lambda order=order: example["autoregression"](sun, order))
    still = example["Predicted"](np.zeros((example["AHEAD"], 1)), np.ones((example["AHEAD"], 1)))
    add("mean of 1700 to 1920", lambda: still)


def main() -> int:
    need_pysciml()
    torch.set_num_threads(1)
    example = runpy.run_path(str(ROOT / "examples" / "neural_sde.py"))
    report = Report("neural_sde", "Neural SDEs: a spiral by its moments, sunspots by a latent SDE")
    spiral(report, example)
    sunspots(report, example)
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
