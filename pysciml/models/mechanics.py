"""Networks for mechanics: an energy or a Lagrangian is learned, and its equations of motion solved.

The derivatives of the network are taken inside the right-hand side, which is captured with them and
differentiated again for training.

S. Greydanus, M. Dzamba, J. Yosinski, Hamiltonian Neural Networks, NeurIPS 2019. M. Cranmer et al.,
Lagrangian Neural Networks, ICLR workshop 2020 (arXiv:2003.04630).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.models.base import Model, require_network

if TYPE_CHECKING:
    from pysciml.problems import DynamicalODEProblem


class Separable(nn.Module):
    """kinetic(momenta) + potential(positions), for a `HamiltonianNN` that symplectic methods solve.

    Parameters
    ----------
    kinetic, potential : nn.Module
        From (..., n) to (..., 1).
    """

    def __init__(self, kinetic: nn.Module, potential: nn.Module) -> None:
        super().__init__()
        self.kinetic = require_network(kinetic, "kinetic")
        self.potential = require_network(potential, "potential")

    def forward(self, x: Tensor) -> Tensor:
        momenta, positions = x.chunk(2, dim=-1)
        energy: Tensor = self.kinetic(momenta) + self.potential(positions)
        return energy


class HamiltonianNN(Model):
    """dp/dt = -dH/dq, dq/dt = dH/dp, where the energy H(p, q) is a network.

    Its energy never changes along a solution but for the solver's error, and is found up to a
    constant. The state is p above q, of shape (2, ..., n), as that of a `DynamicalODEProblem`.

    Parameters
    ----------
    network : nn.Module
        H: from (..., 2 n) numbers, momenta then positions, to (..., 1). `Separable(...)` for a sum
        of a kinetic and a potential energy.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = require_network(network)

    def energy(self, u: Tensor) -> Tensor:
        """H of states (2, ..., n): (...)."""
        energy: Tensor = self.network(torch.cat([u[0], u[1]], dim=-1)).squeeze(-1)
        return energy

    def forward(self, u: Tensor) -> Tensor:
        by_p, by_q = torch.func.grad(lambda u: self.energy(u).sum())(u)
        return torch.stack([-by_q, by_p])

    def problem(self, p0: Any, q0: Any, tspan: Any) -> DynamicalODEProblem:
        """The motion from (p0, q0) at the network's present weights, for symplectic methods too.

        These take it when the network is `Separable`.
        """
        from pysciml.nn import functional
        from pysciml.problems import DynamicalODEProblem

        slopes, weights = functional(self)
        return DynamicalODEProblem(
            lambda v, u, p, t: slopes(torch.stack([v, u]), p)[0],
            lambda v, u, p, t: slopes(torch.stack([v, u]), p)[1],
            p0,
            q0,
            tspan,
            weights,
        )


class LagrangianNN(Model):
    """The Euler-Lagrange equations of L(q', q) = inertia |q'|^2 / 2 + network(q', q):

        q'' = (d2L/dq'2)^-1 (dL/dq - d2L/dq'dq q').

    It needs no momenta, only velocities. The state is q' above q, of shape (2, ..., n), as that of
    a `SecondOrderODEProblem`.

    Parameters
    ----------
    network : nn.Module
        From (..., 2 n) numbers, velocities then positions, to (..., 1).
    inertia : float
        Of the kinetic energy that is there before anything is learned; without it the equations
        of a fresh network are close to singular. A Lagrangian is only determined up to a factor.
    """

    def __init__(self, network: nn.Module, inertia: float = 1.0) -> None:
        super().__init__()
        self.network = require_network(network)
        self.inertia = check.as_nonnegative(inertia, "inertia")

    def lagrangian(self, velocity: Tensor, position: Tensor) -> Tensor:
        """L of (..., n) velocities and positions: (...)."""
        kinetic = 0.5 * self.inertia * (velocity**2).sum(-1)
        learned: Tensor = self.network(torch.cat([velocity, position], dim=-1)).squeeze(-1)
        return kinetic + learned

    def momentum(self, velocity: Tensor, position: Tensor) -> Tensor:
        """dL/dq' of (..., n) velocities and positions: (..., n)."""
        slope: Tensor = torch.func.grad(lambda v: self.lagrangian(v, position).sum())(velocity)
        return slope

    def energy(self, u: Tensor) -> Tensor:
        """q' . dL/dq' - L of states (2, ..., n), which the motion conserves: (...)."""
        velocity, position = u[0], u[1]
        action = (velocity * self.momentum(velocity, position)).sum(-1)
        return action - self.lagrangian(velocity, position)

    def forward(self, u: Tensor) -> Tensor:
        velocity, position = u[0], u[1]
        _, pullback, *_ = torch.func.vjp(self.momentum, velocity, position)
        axes = torch.eye(velocity.shape[-1], dtype=u.dtype)
        by_velocity, by_position = zip(
            *(pullback(e.expand(velocity.shape)) for e in axes), strict=True
        )
        mass, coupling = torch.stack(by_velocity, -2), torch.stack(by_position, -2)
        force = torch.func.grad(lambda q: self.lagrangian(velocity, q).sum())(position)
        right = force.unsqueeze(-1) - coupling @ velocity.unsqueeze(-1)
        return torch.stack([torch.linalg.solve(mass, right).squeeze(-1), velocity])
