"""Neural SDEs: a noisy spiral by its moments, and three centuries of sunspots by a latent SDE.

Left: drift and diffusion of the spiral of DiffEqFlux's example, fitted to the means and variances
of an ensemble. Right: a latent SDE that has seen the yearly sunspot numbers of 1700 to 1920, 44
years at a time, says what follows 33 years that it has not seen; beside it what an autoregression
of order 9 says, and one of order 2, which G. U. Yule made for these numbers in 1927. A neural SDE
of the number and that of two years before, fitted to the law of 22 years by their signature, is of
that order, too: it knows the cycle, of which means and variances over time say nothing.

Run: python examples/neural_sde.py [--short]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml import datasets, nn
from pysciml.models import LatentODE, LatentSDE, NeuralSDE, RecurrentEncoder
from pysciml.train import Adam

# -- the spiral ------------------------------------------------------------------------------------
T = np.linspace(0.0, 1.0, 30)
START = np.array([2.0, 0.0])
TURN = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], dtype=torch.float64)
EULER = {"engine": "native", "alg": "EM", "dt": 1.0 / 64.0}


class Cubes(torch.nn.Module):
    def forward(self, u):
        return u**3


def ensemble(count: int = 10_000, seed: int = 1) -> np.ndarray:
    """du = A u^3 dt + 0.2 u dW: (30, count, 2)."""
    problem = sml.SDEProblem(
        lambda u, p, t: u**3 @ TURN, lambda u, p, t: 0.2 * u, np.tile(START, (count, 1)), (0.0, 1.0)
    )
    return sml.solve(problem, "SOSRI", "native", saveat=T, seed=seed, abstol=1e-3, reltol=1e-3).u


def spiral_model(paths: int = 200) -> NeuralSDE:
    drift = torch.nn.Sequential(Cubes(), *nn.mlp([2, 50, 2]))
    return NeuralSDE(drift, nn.mlp([2, 2], seed=3), paths)


@dataclass
class Spiral:
    known: np.ndarray
    found: np.ndarray
    seconds: float

    @property
    def errors(self) -> tuple[float, float]:
        """Root mean squares of the errors of the mean and of the variance."""
        parts = self.found.mean(1) - self.known.mean(1), self.found.var(1) - self.known.var(1)
        return tuple(float(np.sqrt((part**2).mean())) for part in parts)


def fit_spiral(iterations: int) -> Spiral:
    known, model = ensemble(), spiral_model()
    begin = time.process_time()
    result = sml.fit(
        model, (T, known), optimisers=Adam(0.03, iterations, "cosine"), progress=False, **EULER
    )
    seconds = time.process_time() - begin
    u = model.fitted(result).simulate(np.tile(START, (2000, 1)), T, seed=5, alg="EM", dt=1 / 64)
    return Spiral(known, u, seconds)


# -- sunspots --------------------------------------------------------------------------------------
SEEN, AHEAD = 33, 11  # years
YEARS = np.arange(SEEN + AHEAD) / 10.0  # in decades
STEPS = {"engine": "native", "alg": "EM", "dt": 0.05}


@dataclass
class Sunspots:
    """Square roots of the numbers, which make their noise even, in units of their spread."""

    train: np.ndarray  # (44, windows, 1), up to 1920
    test: np.ndarray  # from 1921 on
    past: np.ndarray
    starts: np.ndarray  # first years of the test's windows

    @classmethod
    def load(cls) -> Sunspots:
        data = datasets.sunspots()
        root, past = np.sqrt(data.u[:, 0]), data.t <= 1920
        x = (root - root[past].mean()) / root[past].std()
        width = SEEN + AHEAD
        windows = np.lib.stride_tricks.sliding_window_view(x, width).T[..., None]
        first = data.t[: windows.shape[1]]
        return cls(
            windows[:, first + width - 1 <= 1920],
            windows[:, first > 1920],
            x[past],
            first[first > 1920],
        )


def latent_sde(k: int = 3) -> LatentSDE:
    diffusion = torch.nn.Sequential(nn.mlp([k, 8, k], seed=3), torch.nn.Softplus())
    with torch.no_grad():
        diffusion[0][-1].bias -= 1.0  # begin with less noise
    return LatentSDE(
        RecurrentEncoder(1, k, 24),
        nn.mlp([k, 32, k], seed=1),
        diffusion,
        nn.mlp([k, 16, 1], seed=2),
        nn.mlp([k + 4, 32, k], seed=4),
        knots=45,
        noise=0.3,
        batch=32,
    )


def latent_ode(k: int = 4) -> LatentODE:
    """The same without noise in the latent state, for comparison."""
    networks = nn.mlp([k, 32, k], seed=1), nn.mlp([k, 16, 1], seed=2)
    return LatentODE(RecurrentEncoder(1, k, 24), *networks, noise=0.3, batch=32)


@dataclass
class Predicted:
    mean: np.ndarray  # (AHEAD, windows)
    std: np.ndarray
    seconds: float = 0.0

    def scores(self, sun: Sunspots) -> tuple[float, float]:
        """Root mean square of the errors, and mean log density of what came, in nats."""
        off = sun.test[SEEN:, :, 0] - self.mean
        density = -0.5 * (off / self.std) ** 2 - np.log(self.std) - 0.5 * np.log(2.0 * np.pi)
        return float(np.sqrt((off**2).mean())), float(density.mean())


def autoregression(sun: Sunspots, order: int) -> Predicted:
    """By least squares on the past; deviations from its impulse response."""
    lags = np.lib.stride_tricks.sliding_window_view(sun.past, order + 1)[:, ::-1]
    weights, *_ = np.linalg.lstsq(lags[:, 1:], lags[:, 0], rcond=None)
    spread = (lags[:, 0] - lags[:, 1:] @ weights).std(ddof=order)
    rows, response = list(sun.test[:SEEN, :, 0]), [0.0] * (order - 1) + [1.0]
    for _ in range(AHEAD):
        rows.append(weights @ np.array(rows[: -order - 1 : -1]))
        response.append(weights @ np.array(response[: -order - 1 : -1]))
    std = spread * np.sqrt(np.cumsum(np.square(response[order - 1 : order - 1 + AHEAD])))
    return Predicted(np.array(rows[-AHEAD:]), std[:, None])


def fit_sunspots(sun: Sunspots, iterations: int, model=None, **options):
    """The fitted model, and what it predicts; `options` are those of both."""
    model = latent_sde() if model is None else model
    begin = time.process_time()
    stage = Adam(0.02, iterations, "cosine")
    result = sml.fit(model, (YEARS, sun.train), optimisers=stage, progress=False, **options)
    seconds = time.process_time() - begin
    model = model.fitted(result)
    return model, predicted(model, sun, seconds, **options)


def predicted(model, sun: Sunspots, seconds: float, **options) -> Predicted:
    ahead = model.predict((YEARS[:SEEN], sun.test[:SEEN]), YEARS[SEEN:], 100, **options)
    return Predicted(ahead.mean[..., 0], ahead.std[..., 0], seconds)


# -- the law of sunspots ---------------------------------------------------------------------------
LAG, SPAN = 2, 23  # years


def law_model(loss: str, k: int = 2) -> NeuralSDE:
    diffusion = torch.nn.Sequential(nn.mlp([k, 8, k], seed=3), torch.nn.Softplus())
    return NeuralSDE(nn.mlp([k, 32, k], seed=1), diffusion, loss=loss)


def fit_law(sun: Sunspots, iterations: int, loss: str = "signature", paths: int = 200) -> Predicted:
    """What a neural SDE of x(t) and x(t - LAG), fitted to windows of the past, predicts."""
    both = np.stack([sun.past[LAG:], sun.past[:-LAG]], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(both, SPAN, axis=0).transpose(2, 0, 1)
    model, begin = law_model(loss), time.process_time()
    stage = Adam(0.02, iterations, "cosine")
    data = YEARS[:SPAN], windows.copy()
    result = sml.fit(model, data, optimisers=stage, progress=False, **STEPS)
    seconds = time.process_time() - begin
    last = np.concatenate([sun.test[SEEN - 1], sun.test[SEEN - 1 - LAG]], axis=1)
    starts = np.broadcast_to(last, (paths, *last.shape))
    ahead = model.fitted(result).simulate(starts, YEARS[: AHEAD + 1], seed=1, **STEPS)[1:, ..., 0]
    return Predicted(ahead.mean(1), ahead.std(1), seconds)


# -- pictures --------------------------------------------------------------------------------------
def draw(spiral: Spiral, sun: Sunspots, predicted: dict[str, Predicted]) -> plt.Figure:
    figure, axes = plt.subplots(2, 2, figsize=(12, 7), layout="constrained")
    for axis, values, name in zip(
        axes[:, 0], (lambda u: u.mean(1), lambda u: u.var(1)), ("mean", "variance"), strict=True
    ):
        for k in range(2):
            axis.plot(
                T, values(spiral.known)[:, k], ".", color=f"C{k}", label=f"u{k + 1}, ensemble"
            )
            axis.plot(T, values(spiral.found)[:, k], color=f"C{k}", label="neural SDE")
        axis.set_ylabel(name)
        axis.set_xlabel("t")
    axes[0, 0].legend(fontsize=8)
    drawn = {name: predicted[name] for name in ("latent SDE", "AR(9)")}
    for axis, window in zip(axes[:, 1], (0, len(sun.starts) - 1), strict=True):
        years = sun.starts[window] + np.arange(SEEN + AHEAD)
        axis.plot(years, sun.test[:, window, 0], "k.-", linewidth=0.6, label="sunspots")
        for color, (name, one) in zip(("C0", "C3"), drawn.items(), strict=True):
            mean, std = one.mean[:, window], np.broadcast_to(one.std, one.mean.shape)[:, window]
            axis.plot(years[SEEN:], mean, color=color, label=name)
            axis.fill_between(
                years[SEEN:], mean - 1.645 * std, mean + 1.645 * std, color=color, alpha=0.2
            )
        axis.set_ylabel("root of the number, scaled")
    axes[0, 1].legend(fontsize=8, title="90 % bands")
    return figure


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer iterations, for tests")
    short = parser.parse_args(arguments).short
    torch.set_num_threads(1)  # more only slow products of this size down
    spiral = fit_spiral(200 if short else 1000)
    print(
        "spiral: errors of the mean {:.3f}, of the variance {:.3f}; ".format(*spiral.errors)
        + f"{spiral.seconds:.1f} s"
    )
    sun = Sunspots.load()
    _, latent = fit_sunspots(sun, 60 if short else 500, **STEPS)
    forecasts = {
        "latent SDE": latent,
        "neural SDE": fit_law(sun, 150 if short else 500),
        "AR(9)": autoregression(sun, 9),
        "AR(2)": autoregression(sun, 2),
        "mean of 1700 to 1920": Predicted(np.zeros_like(latent.mean), np.ones((AHEAD, 1))),
    }
    for name, one in forecasts.items():
        error, density = one.scores(sun)
        print(f"sunspots, {name:<20} error {error:.3f}, log density {density:.3f}")
    path = Path("output") / "neural_sde.png"
    path.parent.mkdir(exist_ok=True)
    draw(spiral, sun, forecasts).savefig(path, dpi=150)
    print("picture:", path)
    return spiral, sun, forecasts


if __name__ == "__main__":
    main()
