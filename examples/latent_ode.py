"""Latent ODE: spirals out of a few noisy points, and where they go on.

Clockwise and anticlockwise spirals of R. T. Q. Chen et al. (NeurIPS 2018), each seen at 30 of 100
times, which are its own, with noise. A latent ODE reads the points backwards, by a GRU or by an
ODE-RNN, and says what lies between them and what comes behind them, over as much time again. Beside
it a GRU that is told the time gaps, and whose state decays in between, goes on from its own
predictions. Both learn to forecast as Y. Rubanova et al. (NeurIPS 2019) have it: they read the
first half of a series, and the loss is on all of it.

Run: python examples/latent_ode.py [--short]
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
from pysciml import nn
from pysciml.models import LatentODE, RecurrentEncoder
from pysciml.models.series import as_series
from pysciml.train import Adam
from pysciml.train.own_loss import OwnLoss

WINDOW = 100  # times at which a spiral may be seen; as many follow
NOISE = 0.3


@dataclass
class Spirals:
    t: np.ndarray  # (2 * WINDOW,)
    u: np.ndarray  # (2 * WINDOW, spirals, 2), without noise
    rows: np.ndarray  # (spirals, points), where in t each is seen behind the window
    seen: list[tuple[np.ndarray, np.ndarray]]  # what is known of each, within the window
    whole: list[tuple[np.ndarray, np.ndarray]]  # and as much behind it

    @classmethod
    def make(cls, count: int, points: int, seed: int, total: int = 500) -> Spirals:
        random = np.random.default_rng(seed)
        angle = np.linspace(0.0, 6.0 * np.pi, total)
        back = angle[-1] + 1.0 - angle
        both = [_turned(15.0 / back, back, -5.0), _turned(0.3 * angle, angle, 5.0)]
        starts = random.integers(WINDOW, total - 2 * WINDOW, count)
        u = np.stack([both[random.integers(2)][k : k + 2 * WINDOW] for k in starts], axis=1)
        noisy = u + NOISE * random.standard_normal(u.shape)
        t = angle[: 2 * WINDOW]
        rows = np.stack(
            [np.sort(random.choice(WINDOW, points, replace=False)) for _ in range(2 * count)]
        )
        rows = np.split(rows, 2)[0], np.split(rows, 2)[1] + WINDOW
        seen, whole = (
            [(t[k], noisy[k, i]) for i, k in enumerate(each)]
            for each in (rows[0], np.concatenate(rows, axis=1))
        )
        return cls(t, u, rows[1], seen, whole)

    @property
    def behind(self) -> np.ndarray:
        """What follows the window, (points, spirals, 2), without noise."""
        return self.u[self.rows.T, np.arange(len(self.rows))]


def _turned(radius: np.ndarray, angle: np.ndarray, centre: float) -> np.ndarray:
    return np.stack([radius * np.cos(angle) + centre, radius * np.sin(angle)], axis=1)


def latent_ode(encoder: str, observed: float) -> LatentODE:
    ode = nn.mlp([40, 40, 40], seed=3) if encoder == "ODE-RNN" else None
    return LatentODE(
        RecurrentEncoder(2, 4, 40, ode),
        nn.mlp([4, 40, 40, 4], seed=1),
        nn.mlp([4, 40, 2], "relu", seed=2),
        noise=NOISE,
        batch=64,
        observed=observed,
    )


class DecayingGRU(torch.nn.Module):
    """From each observation, and the time to the next, what the next will be."""

    def __init__(
        self, n: int, hidden: int = 25, batch: int = 64, observed: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.n, self.batch, self.observed = n, batch, observed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.cell = torch.nn.GRUCell(n + 1, hidden)
            self.decay = torch.nn.Linear(1, hidden)
            self.out = torch.nn.Linear(hidden + 1, n)
        self.double()

    def step(self, u, gap, h):
        """The state, and the observation after `gap`, (series, 1)."""
        h = self.cell(torch.cat([u, gap], -1), h)
        h = h * torch.exp(-torch.relu(self.decay(gap)))
        return h, u + self.out(torch.cat([h, gap], -1))

    def along(self, series, shown):
        """Each row but the first, from those before it, or what was predicted of them."""
        h, u, found = None, series.u[0], []
        for k, gap in enumerate(series.gaps[:-1].unsqueeze(-1)):
            h, u = self.step(torch.where(shown[k], series.u[k], u), gap, h)
            found.append(u)
        return torch.stack(found)

    def fit_loss(self, data) -> OwnLoss:
        series = as_series(data, self.n, 0.0)

        def value(random):
            some = series.some(self.batch, random)
            shown = some.until(self.observed * some.t[-1]).seen
            off = self.along(some, shown) - some.u[1:]
            return torch.where(some.seen[1:], off**2, 0.0).sum() / some.seen[1:].sum()

        return OwnLoss(value, is_random=True)

    def behind(self, spirals: Spirals) -> np.ndarray:
        """At the times behind the window, from what was seen in it and from predictions."""
        series = as_series(spirals.whole, self.n, 0.0)
        end = np.full(len(spirals.rows), spirals.t[WINDOW - 1])
        with torch.no_grad():
            found = self.along(series, series.until(end).seen)
        return found.numpy()[-spirals.rows.shape[1] :]

    def between(self, spirals: Spirals) -> np.ndarray:
        """At each time of the window, from what was seen before."""
        series, t = as_series(spirals.seen, self.n, 0.0), spirals.t[:WINDOW]
        times = torch.as_tensor(t)
        own, gaps = torch.as_tensor(series.t), series.gaps.unsqueeze(-1)
        found, h = series.u[0].repeat(len(t), 1, 1), None
        with torch.no_grad():
            for k, u in enumerate(series.u):
                later = (times[:, None] > own[k]).unsqueeze(-1)
                ahead = (times[:, None] - own[k]).clamp(0.0).unsqueeze(-1)
                following = torch.stack([self.step(u, gap, h)[1] for gap in ahead])
                found = torch.where(later, following, found)
                if k + 1 < len(own):
                    h, _ = self.step(u, gaps[k], h)
        return found.numpy()

    def fitted(self, result):
        with torch.no_grad():
            for name, x in self.named_parameters():
                x.copy_(torch.as_tensor(result.p[name]))
        return self


MODELS = {
    "latent ODE, GRU": lambda observed: latent_ode("GRU", observed),
    "latent ODE, ODE-RNN": lambda observed: latent_ode("ODE-RNN", observed),
    "GRU with decay": lambda observed: DecayingGRU(2, observed=observed),
}


@dataclass
class Predicted:
    between: np.ndarray  # at all times of the window
    behind: np.ndarray  # behind it, where `Spirals.behind` is
    samples: np.ndarray | None = None

    @classmethod
    def by(cls, model, spirals: Spirals) -> Predicted:
        if isinstance(model, DecayingGRU):
            return cls(model.between(spirals), model.behind(spirals))
        found = model.predict(spirals.seen, spirals.t)
        own = found.mean[spirals.rows.T, np.arange(len(spirals.rows))]
        return cls(found.mean[:WINDOW], own, found.samples)


@dataclass
class Outcome:
    model: torch.nn.Module
    predicted: Predicted
    between: float  # root mean square of the errors over the window
    behind: float  # and over what follows
    seconds: float


def run(
    name: str,
    train: Spirals,
    test: Spirals,
    iterations: int,
    seed: int = 0,
    forecasts: bool = True,
    **options,
) -> Outcome:
    """`forecasts`: learn from what follows the window, too; else only from what was seen in it."""
    begin = time.process_time()
    model = MODELS[name](0.5 if forecasts else 1.0)
    result = sml.fit(
        model,
        train.whole if forecasts else train.seen,
        optimisers=Adam(0.02, iterations, "cosine"),
        fixed=[] if isinstance(model, DecayingGRU) else "log_noise",  # is known
        seed=seed,
        progress=False,
        **options,
    )
    model = model.fitted(result)
    seconds = time.process_time() - begin
    predicted = Predicted.by(model, test)
    off = predicted.between - test.u[:WINDOW], predicted.behind - test.behind
    return Outcome(model, predicted, *(float(np.sqrt((x**2).mean())) for x in off), seconds)


def draw(outcomes: dict[str, Outcome], test: Spirals, count: int = 3) -> plt.Figure:
    figure, axes = plt.subplots(
        len(outcomes), count, figsize=(4 * count, 3.2 * len(outcomes)), layout="constrained"
    )
    for row, (name, outcome) in zip(axes, outcomes.items(), strict=True):
        predicted = outcome.predicted
        for k, axis in enumerate(row):
            axis.plot(*test.u[:, k].T, color="0.75", linewidth=4, label="truth")
            if predicted.samples is not None:
                for sample in predicted.samples[:20, :, k]:
                    axis.plot(*sample.T, color="C0", linewidth=0.4, alpha=0.4)
            axis.plot(*predicted.between[:, k].T, color="C0", label="between the points")
            axis.plot(*predicted.behind[:, k].T, color="C3", label="behind them")
            axis.plot(*test.seen[k][1].T, "k.", markersize=4, label="seen")
            axis.set_aspect("equal", "datalim")
        row[0].set_ylabel(name)
        row[0].set_title(f"errors {outcome.between:.2f}, {outcome.behind:.2f}")
    axes[0, 0].legend(fontsize=7)
    return figure


def main(arguments: list[str] | None = None) -> dict[str, Outcome]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer iterations, for tests")
    short = parser.parse_args(arguments).short
    torch.set_num_threads(1)  # more only slow products of this size down
    train, test = Spirals.make(1000, 30, 0), Spirals.make(100, 30, 1)
    outcomes = {}
    for name in MODELS:
        outcomes[name] = one = run(name, train, test, 200 if short else 1500)
        print(
            f"{name:<20} error between the points {one.between:.3f}, behind them {one.behind:.3f}; "
            f"{one.seconds:.0f} s"
        )
    path = Path("output") / "latent_ode.png"
    path.parent.mkdir(exist_ok=True)
    draw(outcomes, test).savefig(path, dpi=150)
    print("picture:", path)
    return outcomes


if __name__ == "__main__":
    main()
