"""Koopman autoencoders: coordinates in which a nonlinear system is linear.

B. Lusch, J. N. Kutz, S. L. Brunton, Deep learning for universal linear embeddings of nonlinear
dynamics, Nature Communications 9 (2018) 4950. Their linear map from one sample to the next is an
equation here, dz/dt = K z, so that samples may be at any times and K has the eigenvalues itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.models.base import Model, require_network

if TYPE_CHECKING:
    from pysciml.train import Setup
    from pysciml.train.data import Table


class KoopmanAutoencoder(Model):
    """z = encoder(u), dz/dt = K z, u = decoder(z).

    What `fit` minimises is the mean of squares of the prediction decoder(z(t)) - u(t), plus those
    of decoder(encoder(u)) - u and of z(t) - encoder(u(t)), with weights. Trajectories start from
    the encoded first rows of the data.

    Parameters
    ----------
    encoder, decoder : nn.Module
        From (..., n) to (..., k) and back.
    latent : int
        k.
    spectrum : nn.Module, optional
        For eigenvalues that change with the amplitude, as a pendulum's do: dz/dt is a block
        [[m, -w], [w, m]] for each pair of entries of z, and this network gives, of the squared
        radii of the k/2 pairs, their growth rates m and then their frequencies w: (..., k/2) to
        (..., k). Default: one matrix K, the parameter `generator`, which starts at zero.
    linearity, reconstruction : float
        Weights of the other two terms of the loss.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent: int,
        spectrum: nn.Module | None = None,
        linearity: float = 1.0,
        reconstruction: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = require_network(encoder, "encoder")
        self.decoder = require_network(decoder, "decoder")
        self.latent = check.as_count(latent, "latent")
        self.linearity = check.as_nonnegative(linearity, "linearity")
        self.reconstruction = check.as_nonnegative(reconstruction, "reconstruction")
        self.spectrum: nn.Module | None = None
        if spectrum is None:
            self.generator = nn.Parameter(torch.zeros(latent, latent, dtype=torch.float64))
        elif self.latent % 2:
            raise ValueError(f"latent must be even with a spectrum; got {latent}")
        else:
            self.spectrum = require_network(spectrum, "spectrum")

    def forward(self, z: Tensor) -> Tensor:
        """dz/dt of (..., k)."""
        if self.spectrum is None:
            return z @ self.generator.T
        x, y = z.chunk(2, dim=-1)
        growth, frequency = self.spectrum(x**2 + y**2).chunk(2, dim=-1)
        return torch.cat([growth * x - frequency * y, frequency * x + growth * y], dim=-1)

    def eigenvalues(self, u: Any = None) -> Array:
        """Continuous-time eigenvalues, complex, those that decay slowest first.

        Parameters
        ----------
        u : (..., n) array
            Where, with a `spectrum`: then the result is (..., k).
        """
        if self.spectrum is None:
            found = np.linalg.eigvals(self.generator.detach().numpy())
            return found[np.lexsort((found.imag, -found.real))]
        with torch.no_grad():
            x, y = self.encoder(torch.as_tensor(check.as_state(u, "u"))).chunk(2, dim=-1)
            growth, frequency = self.spectrum(x**2 + y**2).chunk(2, dim=-1)
        pairs = growth.numpy() + 1j * frequency.numpy()
        return np.concatenate([pairs, pairs.conj()], axis=-1)

    def predict(self, u0: Any, t: Any, engine: str = "auto", **options: Any) -> Array:
        """States at times t of the trajectory from u0, (..., n), at t[0]: (len(t), ..., n).

        `options` are those of `solve`.
        """
        from pysciml.problems import ODEProblem
        from pysciml.solve import solve

        times = check.as_state(t, "t")
        with torch.no_grad():
            z0 = self.encoder(torch.as_tensor(check.as_state(u0)))
            problem = ODEProblem(self, z0, (times[0], times[-1]))
            z = solve(problem, engine=engine, saveat=times, **options).u
            states: Array = self.decoder(torch.as_tensor(z)).numpy()
        return states

    def fit_setup(self, data: Any, u0: Any) -> Setup:
        """Data are states, (len(t), ..., n), without gaps; a batch of trajectories is one solve."""
        from pysciml.problems import ODEProblem
        from pysciml.train.data import as_tables
        from pysciml.train.inputs import Setup

        if u0 is not None:
            raise ValueError(
                "u0 must not be given: trajectories start from their encoded first row"
            )
        tables = [self._sorted(table) for table in as_tables(data)]
        firsts = [torch.as_tensor(table.u[0]) for table in tables]
        n = firsts[0].shape[-1]
        hidden = np.full((*firsts[0].shape[:-1], self.latent), np.nan)

        def start(p: Any, k: int) -> Tensor:
            return self.part("encoder", p, firsts[k])

        def observe(z: Tensor, p: Any, t: Tensor) -> Tensor:
            return torch.cat([self.part("decoder", p, z), z], dim=-1)

        def loss(prediction: Tensor, target: Tensor, p: Any) -> Tensor:
            u, z = target[..., :n], prediction[..., n:]
            encoded = self.part("encoder", p, u)
            decoded = self.part("decoder", p, encoded)
            return (
                ((prediction[..., :n] - u) ** 2).mean()
                + self.reconstruction * ((decoded - u) ** 2).mean()
                + self.linearity * ((z - encoded) ** 2).mean()
            ) / len(tables)

        # an autonomous system: all trajectories may begin at the same time
        t0 = float(tables[0].t[0])
        padded = [
            (
                table.t - table.t[0] + t0,
                np.concatenate(
                    [table.u, np.broadcast_to(hidden, (len(table.t), *hidden.shape))], -1
                ),
            )
            for table in tables
        ]
        problem = ODEProblem(self, np.zeros_like(hidden), (t0, float(padded[0][0][-1])))
        return Setup(problem, padded, start, observe, loss)

    def _sorted(self, table: Table) -> Table:
        from pysciml.train.data import Table

        if table.u.ndim < 2 or np.isnan(table.u).any():
            raise ValueError(
                "u of data must be of shape (len(t), ..., n) and without NaN for a "
                f"KoopmanAutoencoder; got {check.describe(table.u)}"
            )
        order = np.argsort(table.t, kind="stable")
        return Table(table.t[order], table.u[order], table.columns)


def dmd(t: Any, u: Any) -> Array:
    """Eigenvalues of the linear system that is closest to data: dynamic mode decomposition.

    P. J. Schmid, Dynamic mode decomposition of numerical and experimental data, J. Fluid Mech. 656
    (2010) 5-28, in the exact form of J. H. Tu et al., J. Comput. Dyn. 1 (2014) 391-421.

    Parameters
    ----------
    t : (rows,) array
        Evenly spaced times.
    u : (rows, ..., n) array
        States; axes between are trajectories.

    Returns
    -------
    (n,) complex eigenvalues in continuous time, those that decay slowest first.
    """
    times, states = check.as_state(t, "t"), check.as_state(u, "u")
    steps = np.diff(times)
    if times.ndim != 1 or len(times) < 2 or not np.allclose(steps, steps[0], rtol=1e-6):
        raise ValueError(f"t must be at least two evenly spaced times; got {check.describe(t)}")
    if states.ndim < 2 or len(states) != len(times):
        raise ValueError(
            f"u must be of shape ({len(times)}, ..., n), a row for each time; "
            f"got {check.describe(states)}"
        )
    n = states.shape[-1]
    before, after = states[:-1].reshape(-1, n), states[1:].reshape(-1, n)
    step, *_ = np.linalg.lstsq(before, after, rcond=None)
    found = np.log(np.linalg.eigvals(step).astype(complex)) / steps[0]
    return found[np.lexsort((found.imag, -found.real))]


def edmd(t: Any, u: Any, dictionary: Any) -> Array:
    """Extended dynamic mode decomposition: `dmd` of functions of the state.

    M. O. Williams, I. G. Kevrekidis, C. W. Rowley, A data-driven approximation of the Koopman
    operator, J. Nonlinear Sci. 25 (2015) 1307-1346.

    Parameters
    ----------
    t, u : as for `dmd`
    dictionary : expansion, or callable
        Its `features` (`Polynomial`, `RBF`, ...), or a function of (..., n) arrays, give the values
        (..., m).

    Returns
    -------
    (m,) complex eigenvalues in continuous time, those that decay slowest first.
    """
    states = check.as_state(u, "u")
    if hasattr(dictionary, "features"):
        with torch.no_grad():
            return dmd(t, dictionary.features(torch.as_tensor(states)).numpy())
    check.require_callable(dictionary, "dictionary", "an expansion or a function of the state")
    return dmd(t, dictionary(states))
