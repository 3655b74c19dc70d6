"""Latent ODEs: variational autoencoders of time series, whose latent state moves by an ODE.

R. T. Q. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud, Neural Ordinary Differential Equations,
NeurIPS 2018. Y. Rubanova, R. T. Q. Chen, D. Duvenaud, Latent ODEs for Irregularly-Sampled Time
Series, NeurIPS 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.models.base import require_network
from pysciml.models.latent import LatentSeries, divergence, generator, normal
from pysciml.models.series import Forecast, RecurrentEncoder, Series

if TYPE_CHECKING:
    from pysciml.train.own_loss import OwnLoss


class LatentODE(LatentSeries):
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
    observed : float or (float, float)
        The share of each series' time, from t0 to its last observation, that the encoder is shown
        in training. The bound is of all observations, so that with a half, say, the model learns to
        forecast (Rubanova et al., 2019, extrapolation). Of two shares, each series has one between
        them in each iteration, by chance. Default: all.
    """

    def __init__(
        self,
        encoder: RecurrentEncoder,
        ode: nn.Module,
        decoder: nn.Module,
        noise: float = 0.1,
        batch: int | None = None,
        t0: float = 0.0,
        observed: float | tuple[float, float] = 1.0,
    ) -> None:
        super().__init__(encoder, decoder, noise, batch, t0, observed)
        self.ode = require_network(ode, "ode")
        self._check_shape("ode", self.latent, self.latent)

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

        series = self._series(data)
        solver = _Solver(engine, alg, abstol, reltol)

        def value(random: torch.Generator) -> Tensor:
            return -self._bound(self._chosen(series, random), solver, random).mean()

        return OwnLoss(value, is_random=True, engine=solver.name)

    def _bound(self, series: Series, solver: _Solver, random: torch.Generator) -> Tensor:
        """Of each series, (series,)."""
        mean, deviation = self.encoder(self._shown(series, random))
        z0 = mean + deviation * normal(mean.shape, random)
        times, places = series.union()
        states = solver(self, z0, times)[places, torch.arange(len(z0))]
        return self._likelihood(states, series) - divergence(mean, deviation)

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
        series, random = self._series(data), generator(seed)
        asked, times, places = self._times(t)
        with torch.no_grad():
            mean, deviation = self.encoder(series)
            shape = (check.as_count(samples, "samples"), *mean.shape)
            z0 = mean + deviation * normal(shape, random)
            states = _Solver(engine, None, abstol, reltol)(self, z0, times)
            u = self.decoder(states[places]).numpy()
        return Forecast.of(asked, np.moveaxis(u, 1, 0), self.noise)

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
        _, times, places = self._times(t)
        z0 = normal((check.as_count(count, "count"), self.latent), generator(seed))
        with torch.no_grad():
            states = _Solver(engine, None, abstol, reltol)(self, z0, times)
            u: Array = self.decoder(states[places]).numpy()
        return u


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
