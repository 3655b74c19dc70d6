"""Latent ODEs: variational autoencoders of time series, whose latent state moves by an ODE.

R. T. Q. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud, Neural Ordinary Differential Equations,
NeurIPS 2018. Y. Rubanova, R. T. Q. Chen, D. Duvenaud, Latent ODEs for Irregularly-Sampled Time
Series, NeurIPS 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.models.base import Model, require_network
from pysciml.models.series import Forecast, RecurrentEncoder, Series, as_series

if TYPE_CHECKING:
    from pysciml.train.own_loss import OwnLoss


class LatentODE(Model):
    """A series is what a decoder makes of the states of an ODE, dz/dt = ode(z), and noise:

        z(t0) ~ N(0, 1),    u(t) = decoder(z(t)) + noise * N(0, 1).

    An encoder reads a series and says what z(t0) was: a normal distribution, by its mean and
    deviation. `fit(model, data)` minimises the negative evidence lower bound of the log-likelihood,
    in nats, averaged over the series, with other random z(t0) in each iteration. Data are one
    series (t, u) of shape (len(t), n), several of the same times, (len(t), series, n), or a list of
    series whose times differ; NaN where a value is missing.

    Parameters
    ----------
    encoder : RecurrentEncoder
        Or a module that is called as one, with the attributes `n` and `latent`.
    ode : nn.Module
        From (..., k) to (..., k), where k = encoder.latent.
    decoder : nn.Module
        From (..., k) to (..., n).
    noise : float
        First standard deviation of the observations. It is fitted, one for each component, as the
        parameter `log_noise`; `fit(..., fixed="log_noise")` keeps it.
    batch : int, optional
        Take so many of the series, others in each iteration. Default: all.
    t0 : float
        Where latent states begin: no time may lie before it.
    """

    def __init__(
        self,
        encoder: RecurrentEncoder,
        ode: nn.Module,
        decoder: nn.Module,
        noise: float = 0.1,
        batch: int | None = None,
        t0: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = require_network(encoder, "encoder")
        self.ode = require_network(ode, "ode")
        self.decoder = require_network(decoder, "decoder")
        self.n, self.latent = _sizes(encoder)
        self.batch = None if batch is None else check.as_count(batch, "batch")
        self.t0 = check.as_real(t0, "t0", "a time")
        start = math.log(check.as_positive(noise, "noise"))
        self.log_noise = nn.Parameter(torch.full((self.n,), start, dtype=torch.float64))
        self._check_shapes()

    @property
    def noise(self) -> Array:
        """Standard deviations of the observations, (n,)."""
        found: Array = self.log_noise.detach().exp().numpy()
        return found

    def forward(self, z: Tensor) -> Tensor:
        """dz/dt of (..., k)."""
        slope: Tensor = self.ode(z)
        return slope

    def fit_loss(
        self,
        data: Any,
        engine: str = "auto",
        alg: str | None = None,
        abstol: float = 1e-6,
        reltol: float = 1e-6,
    ) -> OwnLoss:
        """The negative evidence lower bound; "auto" is the native engine."""
        from pysciml.train.own_loss import OwnLoss

        series = as_series(data, self.n, self.t0)
        solver = _Solver(engine, alg, abstol, reltol)

        def value(random: torch.Generator) -> Tensor:
            chosen = series if self.batch is None else series.some(self.batch, random)
            return -self._bound(chosen, solver, random).mean()

        return OwnLoss(value, is_random=True, engine=solver.name)

    def _bound(self, series: Series, solver: _Solver, random: torch.Generator) -> Tensor:
        """Of each series, (series,)."""
        mean, deviation = self.encoder(series)
        z0 = mean + deviation * _normal(mean.shape, random)
        times, places = series.union()
        states = solver(self, z0, times)
        own = states[places, torch.arange(len(z0))]
        off = (self.decoder(own) - series.u) / self.log_noise.exp()
        densities = -0.5 * off**2 - self.log_noise - 0.5 * math.log(2.0 * math.pi)
        likelihood = torch.where(series.seen, densities, 0.0).sum((0, 2))
        divergence = 0.5 * (mean**2 + deviation**2 - 1.0) - deviation.log()
        return likelihood - divergence.sum(-1)

    def encode(self, data: Any) -> tuple[Array, Array]:
        """Mean and standard deviation of z(t0), (series, k) each."""
        with torch.no_grad():
            mean, deviation = self.encoder(as_series(data, self.n, self.t0))
        return mean.numpy(), deviation.numpy()

    def predict(
        self,
        data: Any,
        t: Any,
        samples: int = 100,
        seed: int = 0,
        engine: str = "auto",
        abstol: float = 1e-6,
        reltol: float = 1e-6,
    ) -> Forecast:
        """Series at other times, between observations or beyond them, given what was observed.

        Parameters
        ----------
        data : as in `fit`
        t : (m,) array
            Any times from t0 on, the same for all series.
        samples : int
            How many z(t0) are drawn for each series.
        """
        series = as_series(data, self.n, self.t0)
        random = torch.Generator().manual_seed(check.as_seed(seed, "seed"))
        count = check.as_count(samples, "samples")
        with torch.no_grad():
            mean, deviation = self.encoder(series)
            z0 = mean + deviation * _normal((count, *mean.shape), random)
        u = self._decoded(z0, t, _Solver(engine, None, abstol, reltol))
        return Forecast.of(check.as_state(t, "t"), np.moveaxis(u, 1, 0), self.noise)

    def sample(
        self,
        t: Any,
        count: int = 1,
        seed: int = 0,
        engine: str = "auto",
        abstol: float = 1e-6,
        reltol: float = 1e-6,
    ) -> Array:
        """Series of the model, without noise, at times t: (len(t), count, n)."""
        random = torch.Generator().manual_seed(check.as_seed(seed, "seed"))
        z0 = _normal((check.as_count(count, "count"), self.latent), random)
        return self._decoded(z0, t, _Solver(engine, None, abstol, reltol))

    def _decoded(self, z0: Tensor, t: Any, solver: _Solver) -> Array:
        """(len(t), ..., n) of states (..., k) at t0."""
        asked = check.as_state(t, "t")
        if asked.ndim != 1 or not asked.size or asked.min() < self.t0:
            raise ValueError(
                f"t must be a vector of times from t0 = {self.t0:g} on; got {check.describe(t)}"
            )
        times, places = np.unique(np.append(self.t0, asked), return_inverse=True)
        with torch.no_grad():
            states = solver(self, z0, times)[torch.as_tensor(places[1:])]
            found: Array = self.decoder(states).numpy()
        return found

    def _check_shapes(self) -> None:
        z = torch.zeros(3, self.latent, dtype=torch.float64)
        with torch.no_grad():
            for name, size in (("ode", self.latent), ("decoder", self.n)):
                found = self.get_submodule(name)(z)
                if found.shape != (3, size):
                    raise ValueError(
                        f"{name} must take (..., {self.latent}) numbers to (..., {size}); it "
                        f"returned {tuple(found.shape)} of {tuple(z.shape)}"
                    )


@dataclass(frozen=True)
class _Solver:
    """How the ODE is solved."""

    engine: str
    alg: str | None
    abstol: float
    reltol: float

    @property
    def name(self) -> str:
        return "native" if self.engine == "auto" else self.engine

    def __call__(self, model: LatentODE, z0: Tensor, times: Array) -> Tensor:
        """States at times, the first of which is t0: (len(times), *z0.shape)."""
        from pysciml.autograd import odeint

        states: Tensor = odeint(
            lambda t, z: model(z),
            z0,
            torch.as_tensor(times),
            rtol=self.reltol,
            atol=self.abstol,
            method=self.alg,
            engine=self.name,
        )
        return states


def _sizes(encoder: Any) -> tuple[int, int]:
    if not hasattr(encoder, "n") or not hasattr(encoder, "latent"):
        raise TypeError(
            "encoder must be a RecurrentEncoder, or a module with the attributes n and latent; "
            f"got {check.describe(encoder)}"
        )
    return encoder.n, encoder.latent


def _normal(shape: Any, random: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float64)
