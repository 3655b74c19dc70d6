"""Time series of different times, side by side, and the network that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.models.base import require_network


@dataclass(frozen=True)
class Series:
    """Observations of several series, padded to the longest.

    Attributes
    ----------
    t : (rows, series) array
        Times, increasing; rows behind a series' end repeat its last time.
    u : (rows, series, n) tensor
        Zero where nothing was observed.
    seen : (rows, series, n) tensor of booleans
    t0 : when all series begin
    """

    t: Array
    u: Tensor
    seen: Tensor
    t0: float

    @property
    def gaps(self) -> Tensor:
        """From each row to the next, (rows, series): zero behind the last."""
        gaps = np.diff(self.t, axis=0, append=self.t[-1:])
        return torch.as_tensor(gaps)

    @property
    def lead(self) -> Tensor:
        """From t0 to the first row, (series,)."""
        return torch.as_tensor(self.t[0] - self.t0)

    @property
    def end(self) -> float:
        return float(self.t.max())

    def some(self, count: int, random: torch.Generator) -> Series:
        """Up to so many of the series, by chance."""
        chosen = torch.randperm(self.u.shape[1], generator=random)[:count]
        return Series(self.t[:, chosen.numpy()], self.u[:, chosen], self.seen[:, chosen], self.t0)

    def until(self, limits: Array) -> Series:
        """What lies up to a time of each series', (series,), but its first row in any case."""
        kept = self.t <= np.maximum(limits, self.t[0])
        t = np.where(kept, self.t, np.where(kept, self.t, -np.inf).max(0))
        there = torch.as_tensor(kept).unsqueeze(-1)
        return Series(t, torch.where(there, self.u, 0.0), self.seen & there, self.t0)

    def union(self) -> tuple[Array, Tensor]:
        """t0 and all different times, increasing, and the places of `t` among them."""
        times, places = np.unique(np.append(self.t0, self.t), return_inverse=True)
        return times, torch.as_tensor(places[1:].reshape(self.t.shape))


def as_series(data: Any, n: int, t0: float) -> Series:
    """Data of `fit` as series of n components from t0 on."""
    from pysciml.train.data import as_tables

    tables = as_tables(data)
    each = [part for i, table in enumerate(tables) for part in _parts(table, n, f"data[{i}]")]
    rows = max(len(t) for t, _ in each)
    t = np.stack([np.pad(t, (0, rows - len(t)), "edge") for t, _ in each], axis=1)
    u = np.stack(
        [np.pad(u, ((0, rows - len(u)), (0, 0)), constant_values=np.nan) for _, u in each], axis=1
    )
    if t.min() < t0:
        raise ValueError(f"data must not lie before t0 = {t0:g}; got t = {t.min():g}")
    return Series(t, torch.as_tensor(np.nan_to_num(u)), torch.as_tensor(~np.isnan(u)), t0)


def _parts(table: Any, n: int, name: str) -> list[tuple[Array, Array]]:
    """The series of a table, by time, without rows in which all is missing."""
    if table.u.ndim not in {2, 3} or table.u.shape[-1] != n:
        raise ValueError(
            f"u of {name} must be of shape (len(t), {n}) or (len(t), series, {n}); "
            f"got {check.describe(table.u)}"
        )
    order = np.argsort(table.t, kind="stable")
    parts = []
    for u in np.moveaxis(table.u[order].reshape(len(order), -1, n), 1, 0):
        there = ~np.isnan(u).all(axis=1)
        if not there.any():
            raise ValueError(f"u of {name} must hold at least one number in each series")
        parts.append((table.t[order][there], u[there]))
    return parts


class RecurrentEncoder(nn.Module):
    """A gated recurrent network that reads a series from its end to its beginning.

    At each observation it is told the values, zero where they are missing, which are there, and
    the time to the observation before. With `ode` its state also moves between them, by one
    midpoint step of dh/ds = ode(h): an ODE-RNN (Rubanova et al., 2019).

    Parameters
    ----------
    n : int
        Components of a series.
    latent : int
        k: it returns k means and k standard deviations.
    hidden : int
        Size of its state.
    ode : nn.Module, optional
        From (..., hidden) to (..., hidden).
    seed : int
        Of the first weights.
    """

    def __init__(
        self, n: int, latent: int, hidden: int = 25, ode: nn.Module | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.n = check.as_count(n, "n")
        self.latent = check.as_count(latent, "latent")
        self.hidden = check.as_count(hidden, "hidden")
        self.ode = None if ode is None else require_network(ode, "ode")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(check.as_seed(seed, "seed"))
            self.cell = nn.GRUCell(2 * self.n + 1, self.hidden, dtype=torch.float64)
            self.head = nn.Linear(self.hidden + 1, 2 * self.latent, dtype=torch.float64)

    def forward(self, series: Series) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (series, k) each."""
        return self.initial(self.states(series), series)

    def initial(self, states: Tensor, series: Series) -> tuple[Tensor, Tensor]:
        """`forward`, from its `states`."""
        found = self.head(torch.cat([states[0], series.lead.unsqueeze(-1)], dim=-1))
        mean, log_deviation = found.chunk(2, dim=-1)
        return mean, log_deviation.exp()

    def states(self, series: Series) -> Tensor:
        """What it has read from the end to each row, (rows, series, hidden)."""
        gaps = series.gaps.unsqueeze(-1)
        inputs = torch.cat([series.u, series.seen.double(), gaps], dim=-1)
        there = series.seen.any(-1, keepdim=True)
        h = torch.zeros(series.u.shape[1], self.hidden, dtype=torch.float64)
        states = []
        for r in reversed(range(len(inputs))):
            moved = h if self.ode is None else self._move(h, gaps[r])
            h = torch.where(there[r], self.cell(inputs[r], moved), h)
            states.append(h)
        return torch.stack(states[::-1])

    def _move(self, h: Tensor, gap: Tensor) -> Tensor:
        assert self.ode is not None
        middle = h + 0.5 * gap * self.ode(h)
        moved: Tensor = h + gap * self.ode(middle)
        return moved


@dataclass(frozen=True)
class Forecast:
    """Series at times that were asked for, as far as they are known.

    Attributes
    ----------
    t : (m,) times
    samples : (samples, m, series, n) series, without noise
    mean : (m, series, n)
    std : (m, series, n) standard deviation of an observation there, noise included
    """

    t: Array
    samples: Array
    mean: Array
    std: Array

    @classmethod
    def of(cls, t: Array, samples: Array, noise: Array) -> Forecast:
        return cls(t, samples, samples.mean(0), np.sqrt(samples.var(0) + noise**2))
