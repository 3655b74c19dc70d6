"""Continuous normalising flows: a density is what an ODE makes of a normal one.

W. Grathwohl, R. T. Q. Chen, J. Bettencourt, I. Sutskever, D. Duvenaud, FFJORD: Free-form continuous
dynamics for scalable reversible generative models, ICLR 2019.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.models.base import Model, require_network, with_time

if TYPE_CHECKING:
    from pysciml.train import Setup

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_EXACT_UP_TO = 4


class ContinuousNormalizingFlow(Model):
    """dx/dt = network(x, t) carries samples at t = 0 to a standard normal density at t = 1, so

        log p(x(0)) = log N(x(1)) + integral over [0, 1] of tr(d network/dx) dt.

    `fit(flow, samples)` maximises the mean log-likelihood; the loss is its negative. The state is
    the samples and, as a last column, the integral so far: (samples, n + 1).

    Parameters
    ----------
    network : nn.Module
        From (..., n + 1) numbers, a sample and the time, to (..., n).
    n : int
        Dimension of a sample.
    trace : "auto", "exact" or "hutchinson"
        In a fit: by n products with the Jacobian, or by `probes` of them with random signs, an
        estimate without bias (M. F. Hutchinson, Commun. Stat. 18 (1989) 1059-1076), with other
        signs in each iteration. "auto" is exact up to n = 4.
    probes : int
    batch : int, optional
        Take so many of the samples, others in each iteration. Default: all, in each. With batches
        or random signs the loss is another one in each iteration: fit by `Adam` alone.
    seed : int
        Of the random signs and batches.
    """

    def __init__(
        self,
        network: nn.Module,
        n: int,
        trace: str = "auto",
        probes: int = 1,
        batch: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = require_network(network)
        self.n = check.as_count(n, "n")
        chosen = check.as_choice(trace, "trace", ("auto", "exact", "hutchinson"))
        self.is_exact = chosen == "exact" or (chosen == "auto" and self.n <= _EXACT_UP_TO)
        self.probes = check.as_count(probes, "probes")
        self.batch = None if batch is None else check.as_count(batch, "batch")
        self.seed = check.as_seed(seed, "seed")

    def velocity(self, x: Tensor, t: Any) -> Tensor:
        """dx/dt of samples (..., n)."""
        slope: Tensor = self.network(with_time(x, t))
        return slope

    def forward(self, u: Tensor, p: Any, t: Tensor) -> Tensor:
        """The change of samples and integrals; `p` may hold signs, (probes, samples, n)."""
        x = u[..., : self.n]
        slope, pullback, *_ = torch.func.vjp(lambda x: self.velocity(x, t), x)
        if p is None or "signs" not in p:
            axes = torch.eye(self.n, dtype=x.dtype)
            parts = [pullback(e.expand(x.shape))[0][..., i] for i, e in enumerate(axes)]
            trace = torch.stack(parts).sum(0)
        else:
            estimates = [(pullback(e)[0] * e).sum(-1) for e in p["signs"]]
            trace = torch.stack(estimates).mean(0)
        return torch.cat([slope, trace.unsqueeze(-1)], dim=-1)

    def fit_setup(self, data: Any, u0: Any) -> Setup:
        """Data are samples, (samples, n)."""
        from pysciml.problems import ODEProblem
        from pysciml.train.inputs import Setup
        from pysciml.train.renewal import Renewal

        if u0 is not None:
            raise ValueError("u0 must not be given: a flow starts from its samples")
        samples = self._samples(data, "data")
        drawn = self._drawn(samples, 0)
        first = drawn.get("samples", samples)

        def start(p: Any, k: int) -> Tensor:
            x = p["p"]["samples"] if self.batch else torch.as_tensor(samples)
            return torch.cat([x, torch.zeros(len(x), 1, dtype=x.dtype)], dim=1)

        return Setup(
            ODEProblem(self, _with_zeros(first), (0.0, 1.0), drawn or None),
            # what is observed is how often each sample came: once
            ([1.0], np.ones((1, len(first)))),
            start,
            observe=lambda u, p, t: self._log_density(u),
            loss=lambda log_density, counts: -(counts * log_density).sum() / counts.sum(),
            renewal=Renewal("p", lambda k: _flat(self._drawn(samples, k))) if drawn else None,
        )

    def _drawn(self, samples: Array, k: int) -> dict[str, Array]:
        """What is random in iteration k."""
        random = np.random.default_rng([self.seed, k])
        drawn: dict[str, Array] = {}
        if self.batch is not None:
            chosen = random.choice(len(samples), min(self.batch, len(samples)), replace=False)
            samples = drawn["samples"] = samples[chosen]
        if not self.is_exact:
            drawn["signs"] = random.choice([-1.0, 1.0], (self.probes, *samples.shape))
        return drawn

    def _log_density(self, u: Tensor) -> Tensor:
        """Of each sample, from the state at t = 1."""
        x, integral = u[..., : self.n], u[..., self.n]
        return integral - 0.5 * (x**2).sum(-1) - self.n * _HALF_LOG_2PI

    def log_prob(self, x: Any, engine: str = "native", **options: Any) -> Array:
        """Natural logarithm of the density at points (m, n), with the exact trace: (m,).

        `options` are those of `solve`.
        """
        from pysciml.problems import ODEProblem
        from pysciml.solve import solve

        problem = ODEProblem(self, _with_zeros(self._samples(x, "x")), (0.0, 1.0))
        options = {"abstol": 1e-8, "reltol": 1e-8} | options
        u = solve(problem, engine=engine, saveat=[1.0], **options).u[-1]
        return self._log_density(torch.as_tensor(u)).numpy()

    def sample(self, count: int, seed: int = 0, engine: str = "native", **options: Any) -> Array:
        """Samples of the density, (count, n): normal ones, carried back from t = 1 to 0."""
        from pysciml.nn import functional
        from pysciml.problems import ODEProblem
        from pysciml.solve import solve

        normal = np.random.default_rng(seed).standard_normal(
            (check.as_count(count, "count"), self.n)
        )
        network, weights = functional(self.network)
        problem = ODEProblem(
            lambda x, p, t: network(with_time(x, t), p), normal, (1.0, 0.0), weights
        )
        options = {"abstol": 1e-6, "reltol": 1e-6} | options
        samples: Array = solve(problem, engine=engine, saveat=[0.0], **options).u[-1]
        return samples

    def _samples(self, value: Any, name: str) -> Array:
        samples = check.as_state(value, name)
        samples = samples[:, None] if samples.ndim == 1 and self.n == 1 else samples
        if samples.ndim != 2 or samples.shape[1] != self.n:
            raise ValueError(
                f"{name} must be samples, (samples, {self.n}); got {check.describe(value)}"
            )
        return samples


def _flat(values: dict[str, Array]) -> Array:
    return np.concatenate([x.reshape(-1) for x in values.values()])


def _with_zeros(samples: Array) -> Array:
    return np.concatenate([samples, np.zeros((len(samples), 1))], axis=1)
