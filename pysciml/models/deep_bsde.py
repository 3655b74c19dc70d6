"""Deep BSDE: parabolic equations in a hundred dimensions, at one point.

J. Han, A. Jentzen, W. E, Solving high-dimensional partial differential equations using deep
learning, PNAS 115 (2018) 8505-8510.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.models.base import Model, require_network, with_time
from pysciml.nn import mlp

if TYPE_CHECKING:
    from pysciml.train.own_loss import OwnLoss

_PILOT = 1024  # paths that scales are taken from
_WIDTH = 32
_GAIN = 10.0  # spreads that the parameter `start` counts as one


@dataclass(frozen=True)
class Paths:
    """Solutions along paths.

    Attributes
    ----------
    t : (steps + 1,) times
    x : (steps + 1, paths, d) points
    u : (steps + 1, paths) values of the solution there
    z : (steps, paths, k) its gradient times sigma there, sigma^T grad u
    """

    t: Array
    x: Array
    u: Array
    z: Array


class DeepBSDE(Model):
    """The solution, at one point, of

        du/dt + tr(sigma sigma^T Hess u)/2 + mu . grad u + f(x, u, sigma^T grad u, t) = 0

    with u(x, T) = g(x). Along dx = mu dt + sigma dW it changes by du = -f dt + z . dW, where
    z = sigma^T grad u: a recurrent network driven by noise, whose cell computes z from x and t,
    and whose first state u(x0, t0) is fitted, too, so that its last is g(x(T)) on every path.
    `fit(model)` does so, on paths that are new in each iteration; there are no data.

    The mean and the spread of g(x(T)) on some paths set the scales: what `fit` minimises is the
    mean square of u(T) - g(x(T)) over the variance of g(x(T)), and u(x0, t0) is a parameter in
    units of ten such spreads, so that it keeps up with the network.

    Parameters
    ----------
    f : callable
        `f(x, u, z, t)`, in torch operations, of points (paths, d), values (paths,), z (paths, k)
        and the time: (paths,) numbers.
    g : callable
        `g(x)` of points (paths, d): (paths,) numbers.
    x0 : (d,) array
        Where the solution is wanted.
    tspan : (t0, T)
    mu : number, (d,) array or callable
        The drift, or `mu(x, t)` of points (paths, d): (paths, d).
    sigma : number, (d,) or (d, k) array or callable
        The noise: one for each component, or a matrix; `sigma(x, t)` is (paths, d) or
        (paths, d, k).
    network : nn.Module, optional
        z in its scale from the point in its scale and the time in (-1, 1): (..., d + 1) to
        (..., k). Default: a linear map, and beside it two hidden layers of 32 tanh units; both
        start at zero.
    steps : int
        Number of Euler steps in time.
    batch : int
        Number of paths in each iteration.
    u0 : float, optional
        First guess of u(x0, t0). Default: the mean of g(x(T)), the solution where f = 0.
    seed : int
        Of the paths that the scales are taken from.
    """

    def __init__(
        self,
        f: Callable[[Tensor, Tensor, Tensor, float], Tensor],
        g: Callable[[Tensor], Tensor],
        x0: Any,
        tspan: Any,
        mu: Any = 0.0,
        sigma: Any = 1.0,
        network: nn.Module | None = None,
        steps: int = 20,
        batch: int = 64,
        u0: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check.require_callable(f, "f", "a torch function f(x, u, z, t)")
        check.require_callable(g, "g", "a torch function g(x)")
        self.f, self.g = f, g
        start = check.as_state(x0, "x0")
        if start.ndim != 1:
            raise ValueError(f"x0 must be a vector, a point; got {check.describe(x0)}")
        t0, t1 = check.as_tspan(tspan)
        if t1 < t0:
            raise ValueError(f"tspan must be (t0, T) with t0 < T; got ({t0}, {t1})")
        self.steps = check.as_count(steps, "steps")
        self.batch = check.as_count(batch, "batch")
        self.times = np.linspace(t0, t1, self.steps + 1)
        self.mu = _coefficient(mu, "mu", start.size, 1)
        self.sigma = _coefficient(sigma, "sigma", start.size, 2)
        self.register_buffer("x0", torch.as_tensor(start))
        self._set_scales(torch.Generator().manual_seed(check.as_seed(seed, "seed")))
        self.network = (
            _LinearAndMore(start.size + 1, self.noises, seed)
            if network is None
            else require_network(network)
        )
        off = 0.0 if u0 is None else check.as_real(u0, "u0", "a number") - self.center.item()
        first = off / (_GAIN * self.spread.item())
        self.start = nn.Parameter(torch.tensor(first, dtype=torch.float64))
        self._check_shapes()

    x0: Tensor
    center: Tensor
    spread: Tensor
    x_mean: Tensor
    x_scale: Tensor

    @property
    def u0(self) -> float:
        """u(x0, t0)."""
        return float(self._first().detach())

    @property
    def dt(self) -> float:
        return float(self.times[1] - self.times[0])

    def noise(self, count: int, random: torch.Generator) -> Tensor:
        """Increments of Wiener processes, (steps, count, k)."""
        shape = (self.steps, count, self.noises)
        return math.sqrt(self.dt) * torch.randn(shape, generator=random, dtype=torch.float64)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (steps + 1, paths, d), values (steps + 1, paths) and z (steps, paths, k)."""
        x = self._points(noise)
        z = self._gradients(x[:-1])
        across = (z * noise).sum(-1)
        u = [self._first().expand(noise.shape[1])]
        for n in range(self.steps):
            slope = self.f(x[n], u[n], z[n], self.times[n])
            u.append(u[n] - self.dt * slope + across[n])
        return x, torch.stack(u), z

    def simulate(self, count: int, seed: int = 0) -> Paths:
        """The solution along `count` paths."""
        random = torch.Generator().manual_seed(check.as_seed(seed, "seed"))
        with torch.no_grad():
            x, u, z = self(self.noise(check.as_count(count, "count"), random))
        return Paths(self.times.copy(), x.numpy(), u.numpy(), z.numpy())

    def fit_loss(self, data: Any = None) -> OwnLoss:
        """The mean square of what is left of u(T) - g(x(T)), over the variance of g(x(T))."""
        from pysciml.train.own_loss import OwnLoss

        if data is not None:
            raise ValueError(f"data must not be given to a DeepBSDE; got {check.describe(data)}")

        def value(random: torch.Generator) -> Tensor:
            x, u, _ = self(self.noise(self.batch, random))
            return (((u[-1] - self.g(x[-1])) / self.spread) ** 2).mean()

        return OwnLoss(value, is_random=True)

    def _first(self) -> Tensor:
        return self.center + _GAIN * self.spread * self.start

    def _points(self, noise: Tensor) -> Tensor:
        x = [self.x0.expand(noise.shape[1], -1)]
        for t, dw in zip(self.times, noise, strict=False):
            sigma = self.sigma(x[-1], t)
            moved = sigma * dw if sigma.ndim == 2 else (sigma @ dw.unsqueeze(-1)).squeeze(-1)
            x.append(x[-1] + self.dt * self.mu(x[-1], t) + moved)
        return torch.stack(x)

    def _gradients(self, x: Tensor) -> Tensor:
        """z at points of all steps, (steps, paths, d) -> (steps, paths, k), in one call."""
        scaled = (x - self.x_mean) / self.x_scale
        t = torch.linspace(-1.0, 1.0, self.steps, dtype=torch.float64)
        span = self.times[-1] - self.times[0]
        scale = self.spread / math.sqrt(self.noises * span)  # the variance of g is that of all z
        z: Tensor = scale * self.network(with_time(scaled, t[:, None, None]))
        return z

    def _set_scales(self, random: torch.Generator) -> None:
        sigma = self.sigma(self.x0[None], self.times[0])
        self.noises = sigma.shape[-1]
        with torch.no_grad():
            x = self._points(self.noise(_PILOT, random))
            ends = self.g(x[-1])
        if not isinstance(ends, Tensor) or ends.shape != (_PILOT,):
            raise ValueError(
                f"g must return one number for each path, (paths,); of {_PILOT} paths it returned "
                f"{check.describe(ends)}"
            )
        spread = ends.std()
        if not bool(torch.isfinite(spread)) or not bool(spread > 0.0):
            raise ValueError(
                "g must be finite and differ between paths, or there is nothing to learn from; "
                f"its standard deviation on {_PILOT} paths is {spread.item():g}"
            )
        scale = x[:-1].std((0, 1))
        self.register_buffer("center", ends.mean())
        self.register_buffer("spread", spread)
        self.register_buffer("x_mean", x[:-1].mean((0, 1)))
        self.register_buffer("x_scale", torch.where(scale > 0.0, scale, 1.0))

    def _check_shapes(self) -> None:
        count = 3
        with torch.no_grad():
            x = self.x0.expand(self.steps, count, -1)
            z = self._gradients(x)
            slope = self.f(x[0], torch.zeros(count, dtype=torch.float64), z[0], self.times[0])
        if z.shape != (self.steps, count, self.noises):
            raise ValueError(
                f"network must take (..., {x.shape[-1] + 1}) numbers to (..., {self.noises}); "
                f"it returned {tuple(z.shape)} of {(self.steps, count, x.shape[-1] + 1)}"
            )
        if not isinstance(slope, Tensor) or slope.shape != (count,):
            raise ValueError(
                f"f must return one number for each path, (paths,); of {count} paths it returned "
                f"{check.describe(slope)}"
            )


class _LinearAndMore(nn.Module):
    """A linear map with a perceptron beside it: a gradient in many dimensions is mostly linear, and
    does not fit through a narrow layer."""

    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        super().__init__()
        self.linear = mlp([inputs, outputs])
        self.more = mlp([inputs, _WIDTH, _WIDTH, outputs], "tanh", seed)
        with torch.no_grad():
            for network in (self.linear, self.more):
                for x in list(network.parameters())[-2:]:
                    x.zero_()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.linear(x) + self.more(x)
        return result


def _coefficient(value: Any, name: str, d: int, ndim: int) -> Callable[[Tensor, float], Tensor]:
    """mu or sigma as a function of points (paths, d) and the time."""
    if callable(value):
        check.require_callable(value, name, f"a torch function {name}(x, t)")
        function: Callable[[Tensor, float], Tensor] = value
        return function
    given = torch.as_tensor(check.as_state(value, name))
    if given.ndim > ndim or (given.ndim and given.shape[0] != d):
        shapes = f"({d},)" if ndim == 1 else f"({d},), ({d}, k)"
        raise ValueError(
            f"{name} must be a number, an array of shape {shapes} or a function; "
            f"got {check.describe(value)}"
        )
    whole = given.expand(d) if given.ndim == 0 else given
    return lambda x, t: whole.expand(len(x), *whole.shape)
