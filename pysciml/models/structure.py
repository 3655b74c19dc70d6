"""What is known of a law without knowing the law: built into the network, not into the loss.

Each piece is a module around a network, from a vector to a vector (leading axes are a batch), and
keeps its promise for all weights, to rounding. They can be put into each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.models.base import require_network

_MOST_ELEMENTS = 96  # of a finite group: the network is evaluated at each


class _Around(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = require_network(network)


class Positive(_Around):
    """log(1 + exp(network(x))), above zero: rates, diffusivities, variances."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.softplus(self.network(x))


class Residual(_Around):
    """known(x) + network(x): the network gives what a known function leaves.

    A `UDE` whose known terms are a function of the state alone, for what takes networks, such as
    the drift and the diffusion of a `NeuralSDE`.

    Parameters
    ----------
    network : nn.Module
        From (..., n) to (..., n).
    known : callable
        Of (..., n) tensors, in torch operations and arithmetic: (..., n), or one number.
    """

    def __init__(self, network: nn.Module, known: Callable[[Tensor], Any]) -> None:
        super().__init__(network)
        check.require_callable(known, "known", "a function of the state")
        self.known = known

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.known(x) + self.network(x)
        return y


class PerCapita(_Around):
    """x network(x), entry by entry: what is zero stays zero, and what is positive stays positive.

    Kolmogorov's form of the laws of populations, dx_i/dt = x_i g_i(x).
    """

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.network(x)
        return y


class Reactions(_Around):
    """stoichiometry @ network(x): the network gives rates, and what reactions conserve is kept.

    A linear quantity c @ x is conserved where c @ stoichiometry = 0, as mass and atoms are.

    Parameters
    ----------
    network : nn.Module
        From (..., n) to (..., m) rates; `Positive(...)` for reactions that go one way.
    stoichiometry : (n, m) array
        What each reaction adds to each entry of the state.
    """

    stoichiometry: Tensor

    def __init__(self, network: nn.Module, stoichiometry: Any) -> None:
        super().__init__(network)
        matrix = check.as_state(stoichiometry, "stoichiometry")
        if matrix.ndim != 2:
            raise ValueError(
                "stoichiometry must be an (n, m) array, a column for each reaction; "
                f"got {check.describe(stoichiometry)}"
            )
        self.register_buffer("stoichiometry", torch.tensor(matrix))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x) @ self.stoichiometry.T
        return y


class Conserving(_Around):
    """network(x) without what would change an invariant I(x): y - g (g.y)/(g.g), g = dI/dx.

    Parameters
    ----------
    network : nn.Module
        From (..., n) to (..., n).
    invariant : callable
        I(x) of one (n,) vector, in torch operations: one number. Its gradient must not vanish
        where the model is used.
    """

    def __init__(self, network: nn.Module, invariant: Callable[[Tensor], Tensor]) -> None:
        super().__init__(network)
        check.require_callable(invariant, "invariant", "a function of the state")
        self.invariant = invariant

    def forward(self, x: Tensor) -> Tensor:
        y = self.network(x)
        each = x.reshape(-1, x.shape[-1])
        g = torch.func.vmap(torch.func.grad(self.invariant))(each).reshape(x.shape)
        along: Tensor = (g * y).sum(-1, keepdim=True) / (g * g).sum(-1, keepdim=True)
        return y - g * along


class Equivariant(_Around):
    """The mean of G^-1 network(G x) over a finite group: f(G x) = G f(x) for each of its G.

    Parameters
    ----------
    network : nn.Module
        From (..., n) to (..., n).
    generators : (n, n) matrix, or list of these
        Symmetries that give the group when multiplied, such as -I, a reflection, a rotation by a
        part of the circle, a permutation.

    Raises
    ------
    ValueError
        A matrix is singular, or together they give no group of up to 96 elements.
    """

    group: Tensor
    inverses: Tensor

    def __init__(self, network: nn.Module, generators: Any) -> None:
        super().__init__(network)
        group = _group(generators)
        self.register_buffer("group", torch.tensor(group))
        self.register_buffer("inverses", torch.tensor(np.linalg.inv(group)))

    def forward(self, x: Tensor) -> Tensor:
        moved = torch.stack([x @ g.T for g in self.group])
        found = self.network(moved)
        back = [y @ g.T for y, g in zip(found, self.inverses, strict=True)]
        return torch.stack(back).mean(0)


def _group(generators: Any) -> np.ndarray:
    """All products of the generators, the identity first."""
    given = check.as_state(generators, "generators")
    given = given[None] if given.ndim == 2 else given
    if given.ndim != 3 or given.shape[1] != given.shape[2]:
        raise ValueError(
            f"generators must be (n, n) matrices; got {check.describe(np.asarray(generators))}"
        )
    if any(np.linalg.matrix_rank(g) < len(g) for g in given):
        raise ValueError("generators must be invertible matrices; one is singular")
    found = [np.eye(given.shape[1])]
    for known in found:  # grows while it is walked through
        for g in given:
            product = known @ g
            if not any(np.allclose(product, other, atol=1e-9) for other in found):
                found.append(product)
        if len(found) > _MOST_ELEMENTS:
            raise ValueError(
                f"generators must give a finite group of at most {_MOST_ELEMENTS} elements; "
                "these give more"
            )
    return np.stack(found)


class Pointwise(_Around):
    """The network at each point of a field: (channels, *grid) -> (channels, *grid).

    Parameters
    ----------
    network : nn.Module
        From (..., channels) to (..., channels). For a field without an axis of channels, one of
        shape (*grid,), from one number to one.
    channels : bool
        Whether the field's first axis is that of channels.
    """

    def __init__(self, network: nn.Module, channels: bool = False) -> None:
        super().__init__(network)
        self.channels = check.as_flag(channels, "channels")

    def forward(self, x: Tensor) -> Tensor:
        if self.channels:
            return self.network(x.movedim(0, -1)).movedim(-1, 0)
        return self.network(x.unsqueeze(-1)).squeeze(-1)
