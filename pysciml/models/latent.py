"""What latent models of series share: an encoder, a normal first state, a decoder and noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.models.base import Model, require_network
from pysciml.models.series import Series, as_series


class LatentSeries(Model):
    """z(t0) ~ N(0, 1), u(t) = decoder(z(t)) + noise * N(0, 1); how z moves, subclasses say."""

    def __init__(
        self,
        encoder: Any,
        decoder: nn.Module,
        noise: float,
        batch: int | None,
        t0: float,
        observed: float | tuple[float, float],
    ) -> None:
        super().__init__()
        self.encoder: Any = require_network(encoder, "encoder")
        self.decoder = require_network(decoder, "decoder")
        if not hasattr(encoder, "n") or not hasattr(encoder, "latent"):
            raise TypeError(
                "encoder must be a RecurrentEncoder, or a module with the attributes n and latent; "
                f"got {check.describe(encoder)}"
            )
        self.n, self.latent = encoder.n, encoder.latent
        self.batch = None if batch is None else check.as_count(batch, "batch")
        self.t0 = check.as_real(t0, "t0", "a time")
        self.observed = _shares(observed)
        start = math.log(check.as_positive(noise, "noise"))
        self.log_noise = nn.Parameter(torch.full((self.n,), start, dtype=torch.float64))
        self._check_shape("decoder", self.latent, self.n)

    @property
    def noise(self) -> Array:
        """Standard deviations of the observations, (n,)."""
        found: Array = self.log_noise.detach().exp().numpy()
        return found

    def encode(self, data: Any) -> tuple[Array, Array]:
        """Mean and standard deviation of z(t0), (series, k) each."""
        with torch.no_grad():
            mean, deviation = self.encoder(self._series(data))
        return mean.numpy(), deviation.numpy()

    def _series(self, data: Any) -> Series:
        return as_series(data, self.n, self.t0)

    def _chosen(self, series: Series, random: torch.Generator) -> Series:
        return series if self.batch is None else series.some(self.batch, random)

    def _shown(self, series: Series, random: torch.Generator) -> Series:
        """What the encoder reads in training."""
        least, most = self.observed
        if least == 1.0:
            return series
        shares = least + (most - least) * torch.rand(series.u.shape[1], generator=random).numpy()
        return series.until(self.t0 + shares * (series.t[-1] - self.t0))

    def _likelihood(self, states: Tensor, series: Series) -> Tensor:
        """log p(series | z), (series,), of z at the times of its rows, (rows, series, k)."""
        off = (self.decoder(states) - series.u) / self.log_noise.exp()
        densities = -0.5 * off**2 - self.log_noise - 0.5 * math.log(2.0 * math.pi)
        return torch.where(series.seen, densities, 0.0).sum((0, 2))

    def _times(self, t: Any) -> tuple[Array, Array, Tensor]:
        """What was asked for; t0 and the different times, increasing; places of the first in it."""
        asked = check.as_state(t, "t")
        if asked.ndim != 1 or not asked.size or asked.min() < self.t0:
            raise ValueError(
                f"t must be a vector of times from t0 = {self.t0:g} on; got {check.describe(t)}"
            )
        times, places = np.unique(np.append(self.t0, asked), return_inverse=True)
        return asked, times, torch.as_tensor(places[1:])

    def _check_shape(self, name: str, inputs: int, outputs: int) -> None:
        x = torch.zeros(3, inputs, dtype=torch.float64)
        expected = f"{name} must take (..., {inputs}) numbers to (..., {outputs})"
        try:
            with torch.no_grad():
                found = self.get_submodule(name)(x)
        except RuntimeError as error:
            raise ValueError(f"{expected}; of {tuple(x.shape)} it raised: {error}") from error
        if found.shape != (3, outputs):
            raise ValueError(f"{expected}; it returned {tuple(found.shape)} of {tuple(x.shape)}")


def _shares(observed: Any) -> tuple[float, float]:
    ends = observed if isinstance(observed, (tuple, list)) else (observed, observed)
    expected = "observed must be a share of the time, 0 < observed <= 1, or two of them, increasing"
    if len(ends) != 2:
        raise ValueError(f"{expected}; got {check.describe(observed)}")
    least, most = (check.as_real(end, "observed", "a share of the time") for end in ends)
    if not 0.0 < least <= most <= 1.0:
        raise ValueError(f"{expected}; got {observed!r}")
    return least, most


def divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Of N(mean, deviation^2) from N(0, 1), in nats: (..., k) to (...)."""
    return (0.5 * (mean**2 + deviation**2 - 1.0) - deviation.log()).sum(-1)


def normal(shape: Any, random: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float64)


def generator(seed: Any) -> torch.Generator:
    return torch.Generator().manual_seed(check.as_seed(seed, "seed"))
