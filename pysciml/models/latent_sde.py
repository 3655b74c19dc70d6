"""Latent SDEs: variational autoencoders of noisy series, whose latent state moves by an SDE.

X. Li, T.-K. L. Wong, R. T. Q. Chen, D. Duvenaud, Scalable Gradients for Stochastic Differential
Equations, AISTATS 2020.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.models.base import require_network
from pysciml.models.latent import LatentSeries, divergence, generator, normal
from pysciml.models.series import Forecast, RecurrentEncoder, Series
from pysciml.nn import mlp

if TYPE_CHECKING:
    from pysciml.train.own_loss import OwnLoss


class LatentSDE(LatentSeries):
    """A series is what a decoder makes of a diffusion, with noise of its own (Ito):

        z(t0) ~ N(0, 1),    dz = drift(z) dt + diffusion(z) dW,
        u(t) = decoder(z(t)) + noise * N(0, 1).

    Of a series that was seen, z moves by dz = (drift(z) + diffusion(z) v) dt + diffusion(z) dW
    with v = control(z, context): the context is what the encoder has read from the series' end back
    to the next observation, and the time until then; v is zero behind the last. Both laws of z then
    differ by half the integral of v^2, in nats (Girsanov), which is one more state. `fit` takes
    data as a `LatentODE` does, and minimises the negative evidence lower bound, averaged over the
    series, on a path for each series that is new in each iteration.

    Parameters
    ----------
    encoder : RecurrentEncoder
    drift, diffusion : nn.Module
        From (..., k) to (..., k), where k = encoder.latent.
    decoder : nn.Module
        From (..., k) to (..., n).
    control : nn.Module
        From (..., k + context) to (..., k).
    context : int
        How many numbers the encoder tells the control at each time.
    knots : int
        Between so many times, evenly spaced over the data, the context is linear in time.
    noise, batch, t0, observed : as of a `LatentODE`
    """

    def __init__(
        self,
        encoder: RecurrentEncoder,
        drift: nn.Module,
        diffusion: nn.Module,
        decoder: nn.Module,
        control: nn.Module,
        context: int = 4,
        knots: int = 30,
        noise: float = 0.1,
        batch: int | None = None,
        t0: float = 0.0,
        observed: float | tuple[float, float] = 1.0,
    ) -> None:
        if not isinstance(encoder, RecurrentEncoder):
            raise TypeError(f"encoder must be a RecurrentEncoder; got {check.describe(encoder)}")
        super().__init__(encoder, decoder, noise, batch, t0, observed)
        self.encoder: RecurrentEncoder = encoder
        self.drift = require_network(drift, "drift")
        self.diffusion = require_network(diffusion, "diffusion")
        self.control = require_network(control, "control")
        self.context = check.as_count(context, "context")
        self.knots = check.as_count(knots, "knots")
        if self.knots < 2:
            raise ValueError(f"knots must be at least 2; got {knots}")
        self.told = mlp([encoder.hidden + 1, self.context])
        self._check_shape("drift", self.latent, self.latent)
        self._check_shape("diffusion", self.latent, self.latent)
        self._check_shape("control", self.latent + self.context, self.latent)

    def forward(self, z: Tensor) -> Tensor:
        """The drift at (..., k)."""
        slope: Tensor = self.drift(z)
        return slope

    def fit_loss(
        self,
        data: Any,
        engine: str = "auto",
        alg: str | None = None,
        dt: float | None = None,
        abstol: float = 1e-2,
        reltol: float = 1e-2,
    ) -> OwnLoss:
        """The negative evidence lower bound; "auto" is the native engine."""
        from pysciml.train.own_loss import OwnLoss

        series = self._series(data)
        settings = {"dt": dt, "abstol": abstol, "reltol": reltol}
        count = series.u.shape[1] if self.batch is None else min(self.batch, series.u.shape[1])
        knots = self._knots(series)
        solver = _Solver(self, (count,), knots, engine, alg, settings)

        def value(random: torch.Generator) -> Tensor:
            return -self._bound(self._chosen(series, random), solver, random).mean()

        return OwnLoss(value, is_random=True, engine=solver.engine)

    def _bound(self, series: Series, solver: _Solver, random: torch.Generator) -> Tensor:
        """Of each series, (series,)."""
        mean, deviation, context = self._posterior(self._shown(series, random), solver.knots)
        z0 = mean + deviation * normal(mean.shape, random)
        times, places = series.union()
        z, spent = solver(z0, context, times, random)
        own = z[places, torch.arange(len(z0))]
        return self._likelihood(own, series) - divergence(mean, deviation) - spent[-1]

    def _knots(self, series: Series) -> Array:
        return np.linspace(self.t0, series.end, self.knots)

    def _posterior(self, series: Series, knots: Array) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and deviation of z(t0); the context at the knots, (knots, series, context + 1), the
        last of which is 1 up to the last observation, then 0.
        """
        states = self.encoder.states(series)
        mean, deviation = self.encoder.initial(states, series)
        following = torch.as_tensor((series.t < knots[:, None, None]).sum(1))
        there = (following < len(states)).double().unsqueeze(-1)
        rows = following.clamp(max=len(states) - 1)
        ahead = states[rows, torch.arange(len(mean))]
        gap = torch.as_tensor(np.take_along_axis(series.t, rows.numpy(), 0) - knots[:, None])
        told = self.told(torch.cat([ahead, gap.unsqueeze(-1)], dim=-1))
        return mean, deviation, torch.cat([told * there, there], dim=-1)

    def predict(
        self,
        data: Any,
        t: Any,
        samples: int = 100,
        seed: int = 0,
        engine: str = "auto",
        alg: str | None = None,
        dt: float | None = None,
        abstol: float = 1e-2,
        reltol: float = 1e-2,
    ) -> Forecast:
        """Series at other times, between observations or beyond them, given what was observed.

        Parameters
        ----------
        data : as in `fit`
        t : (m,) array
            Any times from t0 on, the same for all series.
        samples : int
            How many paths are drawn for each series.
        """
        series, random = self._series(data), generator(seed)
        asked, times, _ = self._times(t)
        shape = (check.as_count(samples, "samples"), series.u.shape[1])
        how = engine, alg, {"dt": dt, "abstol": abstol, "reltol": reltol}
        solver = _Solver(self, shape, self._knots(series), *how)
        seen, later = np.append(times[times < series.end], series.end), times[times > series.end]
        with torch.no_grad():
            mean, deviation, context = self._posterior(series, solver.knots)
            z0 = mean + deviation * normal((*shape, self.latent), random)
            z, _ = solver(z0, context, seen, random)
            if later.size:
                behind = self._prior(z[-1], np.append(series.end, later), random, *how)
                z = torch.cat([z, behind[1:]])
            places = np.searchsorted(np.append(seen, later), asked)
            u = self.decoder(z[torch.as_tensor(places)]).numpy()
        return Forecast.of(asked, np.moveaxis(u, 1, 0), self.noise)

    def sample(
        self,
        t: Any,
        count: int = 1,
        seed: int = 0,
        engine: str = "auto",
        alg: str | None = None,
        dt: float | None = None,
        abstol: float = 1e-2,
        reltol: float = 1e-2,
    ) -> Array:
        """Series of the model, without noise, at times t: (len(t), count, n)."""
        random = generator(seed)
        _, times, places = self._times(t)
        z0 = normal((check.as_count(count, "count"), self.latent), random)
        settings = {"dt": dt, "abstol": abstol, "reltol": reltol}
        with torch.no_grad():
            z = self._prior(z0, times, random, engine, alg, settings)
            u: Array = self.decoder(z[places]).numpy()
        return u

    def _prior(
        self,
        z0: Tensor,
        times: Array,
        random: torch.Generator,
        engine: str,
        alg: Any,
        settings: Any,
    ) -> Tensor:
        """z at times, from z0, (..., k), at the first of them, without control."""
        solver = _Solver(self, z0.shape[:-1], times[[0, -1]], engine, alg, settings)
        context = torch.zeros(2, z0.shape[-2], self.context + 1, dtype=torch.float64)
        return solver(z0, context, times, random)[0]


class _Solver:
    """The SDE of z and of what its control has spent, (..., k + 1), from knot to knot.

    Its parameters are those of the networks in it and the context at the knots.
    """

    def __init__(
        self,
        model: LatentSDE,
        shape: tuple[int, ...],
        knots: Array,
        engine: str,
        alg: str | None,
        settings: Any,
    ) -> None:
        from pysciml.autograd.stochastic import Paths
        from pysciml.problems import SDEProblem

        self.knots = knots
        self._weights = {
            name: x
            for name, x in model.named_parameters()
            if name.startswith(("drift.", "diffusion.", "control."))
        }
        p = {name: x.detach().numpy() for name, x in self._weights.items()}
        p["context"] = np.zeros((len(knots), shape[-1], model.context + 1))
        problem = SDEProblem(
            _drift_of(model, knots),
            _diffusion_of(model),
            np.zeros((*shape, model.latent + 1)),
            (knots[0], knots[-1]),
            p,
        )
        self._paths = Paths.of(problem, engine, knots[-1:], alg, **settings)
        self.engine = self._paths.engine

    def __call__(
        self, z0: Tensor, context: Tensor, times: Array, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """z, (len(times), ..., k), and half the integral of v^2 up to there, (len(times), ...)."""
        from pysciml.autograd.stochastic import seed_from

        paths = replace(self._paths, options=replace(self._paths.options, saveat=times))
        u0 = torch.cat([z0, torch.zeros_like(z0[..., :1])], dim=-1)
        p = torch.cat([x.reshape(-1) for x in (*self._weights.values(), context)])
        u = paths(seed_from(random), u0, p)
        return u[..., :-1], u[..., -1]


def _drift_of(model: LatentSDE, knots: Array) -> Any:
    start, step = knots[0], knots[1] - knots[0]
    numbers = torch.arange(len(knots), dtype=torch.float64)

    def f(u: Tensor, p: Any, t: Any) -> Tensor:
        z = u[..., :-1]
        place = torch.clamp((t - start) / step, max=len(knots) - 1.0)  # stages may lie behind
        hats = torch.relu(1.0 - torch.abs(place - numbers))
        context = torch.tensordot(hats, p["context"], dims=1)
        known = context[..., :-1].expand(*z.shape[:-1], model.context)
        v = context[..., -1:] * model.part("control", p, torch.cat([z, known], dim=-1))
        moved = model.part("drift", p, z) + model.part("diffusion", p, z) * v
        return torch.cat([moved, 0.5 * (v**2).sum(-1, keepdim=True)], dim=-1)

    return f


def _diffusion_of(model: LatentSDE) -> Any:
    def g(u: Tensor, p: Any, t: Any) -> Tensor:
        scale = model.part("diffusion", p, u[..., :-1])
        return torch.cat([scale, torch.zeros_like(scale[..., :1])], dim=-1)

    return g
