"""Neural SDEs: drift and diffusion out of an ensemble of noisy paths, by its law.

C. Rackauckas et al., Universal Differential Equations for Scientific Machine Learning,
arXiv:2001.04385 (2020), and the example "neural SDE" of DiffEqFlux. X. Li, T.-K. L. Wong, R. T. Q.
Chen, D. Duvenaud, Scalable Gradients for Stochastic Differential Equations, AISTATS 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.models.base import Model, require_network
from pysciml.models.signature import SignatureMMD

if TYPE_CHECKING:
    from pysciml.problems import SDEProblem
    from pysciml.train.own_loss import OwnLoss


class NeuralSDE(Model):
    """du = drift(u) dt + diffusion(u) dW, with a Wiener process for each entry of u (Ito).

    `fit(model, (t, u))` takes an ensemble of paths, u of shape (len(t), paths, n), NaN where a
    value is missing, and minimises how far it is from `paths` paths of the model. These start from
    rows of u[0] and have new noise in each iteration of `Adam`, the same in those of a quasi-Newton
    stage. All of them are one SDEProblem, and gradients are those of the steps along each path.

    By its moments, the misfit is that of means and variances over time,

        mean over t and components of (m - m_data)^2 / v + (s - v_data)^2 / (2 v^2),

    where v is the mean of v_data over time. As a sample's moments scatter, the fitted variance is
    too small, by about 3 / paths of itself. What is at one time says nothing of how fast paths
    change: for an ensemble at rest take the signature, see `SignatureMMD`.

    Parameters
    ----------
    drift, diffusion : nn.Module
        From (..., n) to (..., n). Only the square of the diffusion has a meaning. Where it changes
        its sign it is zero, which a fit seldom mends: let its network end in `torch.nn.Softplus`.
    paths : int
        How many are drawn in each iteration.
    loss : "moments", "signature" or SignatureMMD
    """

    def __init__(
        self,
        drift: nn.Module,
        diffusion: nn.Module,
        paths: int = 100,
        loss: str | SignatureMMD = "moments",
    ) -> None:
        super().__init__()
        self.drift = require_network(drift, "drift")
        self.diffusion = require_network(diffusion, "diffusion")
        self.paths = check.as_count(paths, "paths")
        if self.paths < 2:
            raise ValueError(f"paths must be at least 2, which a variance takes; got {paths}")
        self.loss = _as_loss(loss)

    def forward(self, u: Tensor) -> Tensor:
        """The drift at (..., n)."""
        slope: Tensor = self.drift(u)
        return slope

    def problem(self, u0: Any, tspan: Any) -> SDEProblem:
        """The SDEProblem from states u0, (..., n); its parameters are this module's, by name."""
        from pysciml.problems import SDEProblem

        p = {name: x.detach().numpy() for name, x in self.named_parameters()}
        return SDEProblem(
            lambda u, p, t: self.part("drift", p, u),
            lambda u, p, t: self.part("diffusion", p, u),
            u0,
            tspan,
            p,
        )

    def simulate(
        self, u0: Any, t: Any, seed: int = 0, engine: str = "native", **options: Any
    ) -> Array:
        """Paths from each of the states u0, (..., n), at t[0]: (len(t), ..., n).

        `options` are those of `solve`.
        """
        from pysciml.solve import solve

        times = check.as_state(t, "t")
        problem = self.problem(u0, (times[0], times[-1]))
        options = {"abstol": 1e-2, "reltol": 1e-2} | options
        states: Array = solve(problem, engine=engine, saveat=times, seed=seed, **options).u
        return states

    def fit_loss(
        self,
        data: Any,
        engine: str = "auto",
        alg: str | None = None,
        dt: float | None = None,
        abstol: float = 1e-2,
        reltol: float = 1e-2,
    ) -> OwnLoss:
        """How far the law of paths is from the data's; "auto" is the native engine."""
        from pysciml.autograd.stochastic import Paths, seed_from
        from pysciml.train.own_loss import OwnLoss

        t, u = _ensemble(data)
        misfit = self.loss.against(t, u)
        starts = torch.as_tensor(u[0])
        problem = self.problem(np.resize(u[0], (self.paths, u.shape[-1])), (t[0], t[-1]))
        paths = Paths.of(problem, engine, t, alg=alg, dt=dt, abstol=abstol, reltol=reltol)

        def value(random: torch.Generator) -> Tensor:
            rows = torch.randint(len(starts), (self.paths,), generator=random)
            p = torch.cat([x.reshape(-1) for x in self.parameters()])
            states = paths(seed_from(random), starts[rows], p)
            return misfit(states)

        return OwnLoss(value, is_random=True, engine=paths.engine)


class Moments:
    """The distance of means and variances over time."""

    def against(self, t: Array, u: Array) -> MomentMisfit:
        """From those of an ensemble, (len(t), paths, n)."""
        return MomentMisfit(u)


class MomentMisfit:
    """Means and variances of an ensemble, (len(t), paths, n), and how far another's are off."""

    def __init__(self, u: Array) -> None:
        self.mean = torch.as_tensor(np.nanmean(u, axis=1))
        self.variance = torch.as_tensor(np.nanvar(u, axis=1, ddof=1))
        self.scale = self.variance.mean(0)

    def __call__(self, states: Tensor) -> Tensor:
        off_mean = states.mean(1) - self.mean
        off_variance = states.var(1) - self.variance
        return (off_mean**2 / self.scale + off_variance**2 / (2.0 * self.scale**2)).mean()


def _as_loss(loss: Any) -> Moments | SignatureMMD:
    if isinstance(loss, SignatureMMD):
        return loss
    if not isinstance(loss, str) or loss not in ("moments", "signature"):
        raise ValueError(
            'loss must be "moments", "signature" or a SignatureMMD(...); '
            f"got {check.describe(loss)}"
        )
    return Moments() if loss == "moments" else SignatureMMD()


def _ensemble(data: Any) -> tuple[Array, Array]:
    from pysciml.train.data import as_tables

    tables = as_tables(data)
    u = tables[0].u
    if len(tables) > 1 or u.ndim != 3 or u.shape[1] < 2:
        raise ValueError(
            "data must be one ensemble (t, u), u of shape (len(t), paths, n) with two paths at "
            f"least, for a NeuralSDE; got {check.describe(data)}"
        )
    order = np.argsort(tables[0].t, kind="stable")
    t, u = tables[0].t[order], u[order]
    if np.isnan(u[0]).any() or (np.isfinite(u).sum(axis=1) < 2).any():
        raise ValueError(
            "u of data must be without NaN in its first row, and hold two numbers of each "
            "component in the others"
        )
    if (np.nanvar(u, axis=1).mean(axis=0) == 0.0).any():
        raise ValueError("u of data must differ between paths in each component")
    return t, u
