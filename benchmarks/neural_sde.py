"""Neural SDEs: a spiral by its moments, a process at rest by its signature, sunspots; and torchsde.

`python -m benchmarks.neural_sde`. The spiral is that of DiffEqFlux's example; both fits have the
same networks, first weights, paths, steps (Euler-Maruyama) and iterations of Adam, and other noise.
torchsde differentiates the steps of its solver, which is how it is quickest here. The error is the
root mean square of that of the mean, over time and components; the note has that of the variance.

The process at rest is du = -1.5 u dt + sqrt(3) dW from its stationary law, 1000 paths at 11 times.
A linear drift and a constant diffusion are fitted; the error is that of the drift's coefficient,
relative, and the note has that of the diffusion. torchsde is given the same loss.

The sunspots are those of the example: the error is that of the forecasts of 11 years from 33, of
1921 to 2008, learnt from 1700 to 1920; the note has the mean log density of what came, in nats. For
torchsde the latent SDE is the same module, with the same steps and loss, whose divergence is of its
`logqp`. The neural SDE is of the number and that of two years before, fitted to the law of windows
of 22 years.

Times are of the processor, of one thread.
"""

from __future__ import annotations

import runpy
import sys
import time

import numpy as np
import torch

import pysciml as sml
from pysciml.models import NeuralSDE
from pysciml.models.latent import divergence, normal
from pysciml.models.series import as_series
from pysciml.train import Adam

from .timing import ROOT, Report, Row, Skip, need_pysciml

SPIRAL, REST, SUNSPOTS = 500, 200, 500  # iterations
RATE, TIMES, STEP = 1.5, np.linspace(0.0, 2.0, 11), 1.0 / 20.0  # of the process at rest


def need_torchsde():
    try:
        import torchsde
    except ImportError as error:
        raise Skip(f"torchsde: {error}") from error
    return torchsde


class Pair(torch.nn.Module):
    """The drift and the diffusion of a neural SDE, as torchsde has them."""

    sde_type, noise_type = "ito", "diagonal"

    def __init__(self, model) -> None:
        super().__init__()
        self.model = model

    def f(self, t, u):
        return self.model.drift(u)

    def g(self, t, u):
        return self.model.diffusion(u)


def minimise(model, loss, iterations: int, lr: float) -> float:
    """By Adam with cosine decay; the seconds that it took."""
    weights = [x for x in model.parameters() if x.requires_grad]
    optimiser = torch.optim.Adam(weights, lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    begin = time.process_time()
    for _ in range(iterations):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        schedule.step()
    return time.process_time() - begin


def spiral_by_torchsde(example):
    """The fit in plain PyTorch, and paths of the result."""
    torchsde = need_torchsde()
    model, known, times = example["spiral_model"](), example["ensemble"](), example["T"]
    misfit = model.loss.against(times, known)
    starts = torch.as_tensor(np.tile(example["START"], (model.paths, 1)))

    def loss():
        t = torch.as_tensor(times)
        return misfit(torchsde.sdeint(Pair(model), starts, t, method="euler", dt=1.0 / 64.0))

    seconds = minimise(model, loss, SPIRAL, 0.03)
    u = model.simulate(np.tile(example["START"], (2000, 1)), example["T"], 5, alg="EM", dt=1 / 64)
    return example["Spiral"](known, u, seconds)


def spiral(report: Report, example) -> None:
    parts = {
        "spiral, pysciml": lambda: example["fit_spiral"](SPIRAL),
        "spiral, torchsde": lambda: spiral_by_torchsde(example),
    }
    for name, fit in parts.items():
        with report.part(name):
            found = fit()
            mean, variance = found.errors
            report.add(name, found.seconds, f"variance off by {variance:.3f}", mean)
    report.at_least("spiral, pysciml", 1.0, "spiral, torchsde")


def at_rest(count: int = 1000, seed: int = 1) -> np.ndarray:
    """Exact steps, (11, count, 1)."""
    random = np.random.default_rng(seed)
    u = [random.standard_normal(count)]
    for h in np.diff(TIMES):
        keep = np.exp(-RATE * h)
        u.append(keep * u[-1] + np.sqrt(1.0 - keep**2) * random.standard_normal(count))
    return np.stack(u)[..., None]


class Constant(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.ones(1))

    def forward(self, u):
        return self.value.expand(u.shape)


def rest_model(loss: str) -> NeuralSDE:
    drift = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        drift.weight.fill_(-0.5)
    return NeuralSDE(drift, Constant(), 200, loss)


def fit_rest(loss: str):
    model, data = rest_model(loss), (TIMES, at_rest())
    how = {"engine": "native", "alg": "EM", "dt": STEP, "progress": False}
    sml.fit(model, data, optimisers=Adam(0.05, 2), **how)  # compile
    begin = time.process_time()
    result = sml.fit(model, data, optimisers=Adam(0.05, REST, "cosine"), **how)
    return model.fitted(result), time.process_time() - begin


def rest_by_torchsde():
    torchsde = need_torchsde()
    model, u = rest_model("signature"), at_rest()
    misfit, starts, t = model.loss.against(TIMES, u), torch.as_tensor(u[0]), torch.as_tensor(TIMES)

    def loss():
        u0 = starts[torch.randint(len(starts), (model.paths,))]
        return misfit(torchsde.sdeint(Pair(model), u0, t, method="euler", dt=STEP))

    return model, minimise(model, loss, REST, 0.05)


def rest(report: Report) -> None:
    parts = {
        "at rest, signature, pysciml": lambda: fit_rest("signature"),
        "at rest, signature, torchsde": rest_by_torchsde,
        "at rest, moments, pysciml": lambda: fit_rest("moments"),
    }
    for name, fit in parts.items():
        with report.part(name):
            model, seconds = fit()
            rate, noise = -model.drift.weight.item(), abs(model.diffusion.value.item())
            off = [abs(rate / RATE - 1.0), abs(noise / np.sqrt(2.0 * RATE) - 1.0)]
            report.add(name, seconds, f"diffusion off by {off[1]:.3f}", off[0])
    report.at_least("at rest, signature, pysciml", 1.0, "at rest, signature, torchsde")


class Latent(torch.nn.Module):
    """A latent SDE as torchsde has them: f of the posterior, h of the prior."""

    sde_type, noise_type = "ito", "diagonal"

    def __init__(self, model, knots) -> None:
        super().__init__()
        self.model, self.knots, self.context = model, torch.as_tensor(knots), None

    def f(self, t, z):
        place = (t - self.knots[0]) / (self.knots[1] - self.knots[0])
        hats = torch.relu(1.0 - torch.abs(place - torch.arange(len(self.knots))))
        told = torch.tensordot(hats, self.context, dims=1)
        v = told[:, -1:] * self.model.control(torch.cat([z, told[:, :-1]], -1))
        return self.model.drift(z) + self.model.diffusion(z) * v

    def g(self, t, z):
        return self.model.diffusion(z)

    def h(self, t, z):
        return self.model.drift(z)


def sunspots_by_torchsde(example, sun):
    torchsde = need_torchsde()
    model = example["latent_sde"]()
    series = as_series((example["YEARS"], sun.train), 1, 0.0)
    sde = Latent(model, np.linspace(0.0, series.end, model.knots))
    t, random = torch.as_tensor(example["YEARS"]), torch.Generator().manual_seed(0)

    def loss():
        some = series.some(model.batch, random)
        mean, deviation, sde.context = model._posterior(some, sde.knots.numpy())
        z0 = mean + deviation * normal(mean.shape, random)
        dt = example["STEPS"]["dt"]
        z, spent = torchsde.sdeint(sde, z0, t, method="euler", dt=dt, logqp=True)
        return -(model._likelihood(z, some) - divergence(mean, deviation) - spent.sum(0)).mean()

    seconds = minimise(model, loss, SUNSPOTS, 0.02)
    return example["predicted"](model, sun, seconds, **example["STEPS"])


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
    add("latent SDE, torchsde", lambda: sunspots_by_torchsde(example, sun))
    report.at_least("sunspots, latent SDE", 1.0, "sunspots, latent SDE, torchsde")
    add("neural SDE, signature", lambda: example["fit_law"](sun, SUNSPOTS))
    add("neural SDE, moments", lambda: example["fit_law"](sun, SUNSPOTS, "moments"))
    add("latent ODE", lambda: fit(sun, SUNSPOTS, example["latent_ode"](), engine="native")[1])
    for order in (2, 9):
        add(f"AR({order})", lambda order=order: example["autoregression"](sun, order))
    still = example["Predicted"](np.zeros((example["AHEAD"], 1)), np.ones((example["AHEAD"], 1)))
    add("mean of 1700 to 1920", lambda: still)


def main() -> int:
    need_pysciml()
    torch.set_num_threads(1)
    example = runpy.run_path(str(ROOT / "examples" / "neural_sde.py"))
    report = Report("neural_sde", "Neural SDEs: a spiral, a process at rest, sunspots")
    spiral(report, example)
    rest(report)
    sunspots(report, example)
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
