"""Neural ODEs, and the recurrent networks that they are when they are stepped.

R. T. Q. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud, Neural Ordinary Differential Equations,
NeurIPS 2018. E. Dupont, A. Doucet, Y. W. Teh, Augmented Neural ODEs, NeurIPS 2019. A. Norcliffe et
al., On Second Order Behaviour in Augmented Neural ODEs, NeurIPS 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.models.base import Model, require_network, with_time

if TYPE_CHECKING:
    from pysciml.train import Setup


class NeuralODE(Model):
    """du/dt = network(u), or network(u, t).

    Its discrete relatives are a method away: with ``alg="Euler", dt=dt, adaptive=False`` the same
    fit trains the residual network u + dt network(u), which is a recurrent network; with
    ``alg="RK4"`` one of four stages. `Recurrent` is the same in plain PyTorch.

    Parameters
    ----------
    network : nn.Module
        From (..., n) to (..., n) numbers, of which n are a state's; leading axes are a batch.
    time : bool
        Whether the network takes the time as one more number.
    """

    def __init__(self, network: nn.Module, time: bool = False) -> None:
        super().__init__()
        self.network = require_network(network)
        self.time = check.as_flag(time, "time")

    def forward(self, u: Tensor, t: Any) -> Tensor:
        result: Tensor = self.network(with_time(u, t) if self.time else u)
        return result


class AugmentedNeuralODE(NeuralODE):
    """A neural ODE with room for trajectories to pass each other: `extra` more states, from zero.

    An ODE's trajectories do not cross, so that not every map of u(0) to u(1) is one's; with more
    states each is. `fit` takes data of the n states proper and adds the others itself.

    Parameters
    ----------
    network : nn.Module
        From (..., n + extra) to (..., n + extra) numbers.
    extra : int
        How many states are added.
    time : bool
        Whether the network takes the time as one more number.
    """

    def __init__(self, network: nn.Module, extra: int, time: bool = False) -> None:
        super().__init__(network, time)
        self.extra = check.as_count(extra, "extra")

    def augmented(self, u: Any) -> Any:
        """(..., n) -> (..., n + extra), the others zero."""
        u = np.asarray(u, dtype=np.float64)
        return np.concatenate([u, np.zeros((*u.shape[:-1], self.extra))], axis=-1)

    def fit_setup(self, data: Any, u0: Any) -> Setup:
        """Data of the states proper; their rows are the initial states where `u0` is not given."""
        from pysciml.problems import ODEProblem
        from pysciml.train.data import as_tables
        from pysciml.train.inputs import Setup

        tables = as_tables(data)
        first = tables[0]
        if first.u.ndim < 2:
            raise ValueError(
                "u of data must be of shape (len(t), ..., n) for an AugmentedNeuralODE; "
                f"got {check.describe(first.u)}"
            )
        shape = first.u.shape[1:]
        if u0 is None or isinstance(u0, str):
            start = self.augmented(np.zeros(shape))
            starts: Any = "data" if u0 is None else u0
        else:
            starts = self.augmented(u0)
            start = starts[0] if starts.ndim > len(shape) else starts
        span = float(first.t.min()), float(first.t.max())
        seen = np.arange(start.size).reshape(start.shape)[..., : shape[-1]].reshape(-1)
        flat = [(each.t, each.u.reshape(len(each.t), -1)) for each in tables]
        return Setup(
            ODEProblem(self, start, span),
            flat if isinstance(data, list) else flat[0],
            starts,
            observe=seen,
        )


class SecondOrderNeuralODE(Model):
    """u'' = network(u', u), or network(u', u, t).

    The state is u' above u, of shape (2, ..., n), as that of a `SecondOrderODEProblem`.

    Parameters
    ----------
    network : nn.Module
        From (..., 2 n) numbers, u' then u, to (..., n).
    time : bool
        Whether the network takes the time as one more number.
    """

    def __init__(self, network: nn.Module, time: bool = False) -> None:
        super().__init__()
        self.network = require_network(network)
        self.time = check.as_flag(time, "time")

    def forward(self, u: Tensor, t: Any) -> Tensor:
        both = torch.cat([u[0], u[1]], dim=-1)
        acceleration = self.network(with_time(both, t) if self.time else both)
        return torch.stack([acceleration, u[0]])


#: of each method the coefficients of its stages, of its result, and its nodes
_STEPS: dict[str, tuple[Sequence[Sequence[float]], Sequence[float], Sequence[float]]] = {
    "Euler": ([[]], [1.0], [0.0]),
    "Midpoint": ([[], [1 / 2]], [0.0, 1.0], [0.0, 1 / 2]),
    "RK4": (
        [[], [1 / 2], [0.0, 1 / 2], [0.0, 0.0, 1.0]],
        [1 / 6, 1 / 3, 1 / 3, 1 / 6],
        [0.0, 1 / 2, 1 / 2, 1.0],
    ),
}


class Recurrent(nn.Module):
    """A neural ODE as the recurrent network that one of its methods makes of it.

    One step of "Euler" is u + dt f(u, t), a residual block; applied again and again with the same
    weights, a recurrent network. One step of "RK4" is four such stages.

    Parameters
    ----------
    ode : nn.Module
        f(u, t), such as a `NeuralODE`. Its weights are shared, not copied.
    dt : float
        Length of a step.
    method : "Euler", "Midpoint" or "RK4"
    """

    def __init__(self, ode: nn.Module, dt: float, method: str = "Euler") -> None:
        super().__init__()
        self.ode = ode
        self.dt = check.as_positive(dt, "dt")
        self.method = check.as_choice(method, "method", tuple(_STEPS))

    def step(self, u: Tensor, t: Any = 0.0) -> Tensor:
        """u at t + dt."""
        stages, weights, nodes = _STEPS[self.method]
        slopes: list[Tensor] = []
        for row, node in zip(stages, nodes, strict=True):
            slopes.append(self.ode(self._moved(u, row, slopes), t + node * self.dt))
        return self._moved(u, weights, slopes)

    def _moved(self, u: Tensor, factors: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
        for factor, slope in zip(factors, slopes, strict=True):
            if factor:
                u = u + self.dt * factor * slope
        return u

    def forward(self, u: Tensor, steps: int, t: float = 0.0) -> Tensor:
        """(..., n) -> (steps + 1, ..., n): the state and what follows it."""
        states = [u]
        for k in range(steps):
            states.append(self.step(states[-1], t + k * self.dt))
        return torch.stack(states)
