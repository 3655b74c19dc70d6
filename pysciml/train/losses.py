"""What is minimised: distances between predictions and data, likelihoods, and regularisers.

A likelihood's value is the negative logarithm of the probability (density) of all data, with all
its constants, so that fits with different likelihoods can be compared.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.train.data import Trajectory, by_component
from pysciml.train.observation import along
from pysciml.train.unknowns import select_all

if TYPE_CHECKING:
    from torch import Tensor

    from pysciml.capture.parameters import Parameters


@dataclass(frozen=True)
class Observed:
    """All observations that are there, of all trajectories, one after another.

    `component[i]`, between 0 and k - 1, is which observed quantity `values[i]` is.
    """

    values: Array
    weights: Array
    component: Any
    k: int

    @staticmethod
    def of(trajectories: Sequence[Trajectory]) -> Observed:
        """In the order of trajectories, rows and components."""
        return Observed(
            np.concatenate([each.values[each.seen] for each in trajectories]),
            np.concatenate([each.weights[each.seen] for each in trajectories]),
            np.concatenate([np.nonzero(each.seen)[1] for each in trajectories]),
            trajectories[0].values.shape[1],
        )


class Loss(Protocol):
    """A loss of single observations. `noise` is the standard deviations that are fitted, or ()."""

    def prepare(self, trajectories: Sequence[Trajectory]) -> Loss:
        """The loss with what it takes from the data; refuses data that it cannot have."""
        ...

    def noise0(self, trajectories: Sequence[Trajectory]) -> Array:
        """First guess of the standard deviations that are fitted with the model; often empty."""
        ...

    def __call__(self, prediction: Tensor, data: Observed, noise: Tensor) -> Tensor:
        """The loss of (M,) predictions."""
        ...

    def information(self, prediction: Array, data: Observed, noise: Array, count: int) -> Array:
        """Fisher information about each of the (M,) predictions, weights included.

        `count` is how many quantities were fitted.
        """
        ...


def _tensor(x: Any) -> Tensor:
    import torch

    return torch.as_tensor(np.asarray(x, dtype=np.float64))


@dataclass(frozen=True)
class MSE:
    """Weighted mean of squares, sum w r^2 / sum w, of r = (prediction - data) / scale.

    Parameters
    ----------
    scale : optional
        One number > 0 for each component; or "max" or "std", that component's largest absolute
        value or standard deviation in the data. Default: 1.
    """

    scale: Any = None

    def prepare(self, trajectories: Sequence[Trajectory]) -> MSE:
        k = trajectories[0].values.shape[1]
        if isinstance(self.scale, str):
            return MSE(_scale_of(self.scale, trajectories))
        return MSE(_per_component(1.0 if self.scale is None else self.scale, k, "scale"))

    def noise0(self, trajectories: Sequence[Trajectory]) -> Array:
        return np.zeros(0)

    def __call__(self, prediction: Tensor, data: Observed, noise: Tensor) -> Tensor:
        factor = data.weights / data.weights.sum() / self.scale[data.component] ** 2
        return (_tensor(factor) * (prediction - _tensor(data.values)) ** 2).sum()

    def information(self, prediction: Array, data: Observed, noise: Array, count: int) -> Array:
        """With the variance of a unit of weight estimated from the squares: sum / (M - count)."""
        weights = data.weights / self.scale[data.component] ** 2
        squares = float((weights * (prediction - data.values) ** 2).sum())
        if squares == 0.0:
            raise ValueError("the fit is exact: there is no scatter to take the variance from")
        return weights * ((prediction.size - count) / squares)


@dataclass(frozen=True)
class Gaussian:
    """Negative log-likelihood of normal noise of standard deviation sigma.

    sum w [(prediction - data)^2 / (2 sigma^2) + log sigma + log(2 pi)/2]

    Parameters
    ----------
    sigma : optional
        One number > 0 for each component. Default: fitted, one for each component.
    """

    sigma: Any = None

    def prepare(self, trajectories: Sequence[Trajectory]) -> Gaussian:
        return Gaussian(_sigma(self.sigma, trajectories))

    def noise0(self, trajectories: Sequence[Trajectory]) -> Array:
        return np.zeros(0) if self.sigma is not None else _spread(trajectories, lambda y: y)

    def __call__(self, prediction: Tensor, data: Observed, noise: Tensor) -> Tensor:
        sigma = self._each(data, noise)
        r = (prediction - _tensor(data.values)) / sigma
        return (_tensor(data.weights) * (0.5 * r**2 + sigma.log() + _HALF_LOG_2PI)).sum()

    def information(self, prediction: Array, data: Observed, noise: Array, count: int) -> Array:
        return data.weights / self._each(data, _tensor(noise)).numpy() ** 2

    def draw(self, prediction: Array, noise: Array, random: np.random.Generator) -> Array:
        """Observations, for predictions (..., k) and standard deviations (..., k) or ()."""
        sigma = noise if self.sigma is None else self.sigma
        return prediction + sigma * random.standard_normal(prediction.shape)

    def _each(self, data: Observed, noise: Tensor) -> Tensor:
        return (noise if self.sigma is None else _tensor(self.sigma))[data.component]


@dataclass(frozen=True)
class LogNormal:
    """Negative log-likelihood of log-normal noise: log data is normal about log prediction.

    sum w [(log prediction - log data)^2 / (2 sigma^2) + log(sigma data) + log(2 pi)/2]

    Parameters
    ----------
    sigma : optional
        Standard deviation of the logarithm, for each component. Default: fitted.
    """

    sigma: Any = None

    def prepare(self, trajectories: Sequence[Trajectory]) -> LogNormal:
        _require(trajectories, lambda y: y > 0.0, "LogNormal() must be given data > 0")
        return LogNormal(_sigma(self.sigma, trajectories))

    def noise0(self, trajectories: Sequence[Trajectory]) -> Array:
        return np.zeros(0) if self.sigma is not None else _spread(trajectories, np.log)

    def __call__(self, prediction: Tensor, data: Observed, noise: Tensor) -> Tensor:
        logs = np.log(data.values)
        sigma = self._each(data, noise)
        r = (prediction.log() - _tensor(logs)) / sigma
        terms = 0.5 * r**2 + sigma.log() + _tensor(logs + _HALF_LOG_2PI)
        return (_tensor(data.weights) * terms).sum()

    def information(self, prediction: Array, data: Observed, noise: Array, count: int) -> Array:
        sigma = self._each(data, _tensor(noise)).numpy()
        return data.weights / (sigma * prediction) ** 2

    def draw(self, prediction: Array, noise: Array, random: np.random.Generator) -> Array:
        """Observations, for predictions (..., k) and standard deviations (..., k) or ()."""
        sigma = noise if self.sigma is None else self.sigma
        return prediction * np.exp(sigma * random.standard_normal(prediction.shape))

    def _each(self, data: Observed, noise: Tensor) -> Tensor:
        return (noise if self.sigma is None else _tensor(self.sigma))[data.component]


@dataclass(frozen=True)
class Poisson:
    """Negative log-likelihood of counts: sum w [prediction - data log prediction + log data!]."""

    def prepare(self, trajectories: Sequence[Trajectory]) -> Poisson:
        _require(
            trajectories,
            lambda y: (y >= 0.0) & (y == np.round(y)),
            "Poisson() must be given counts, whole numbers >= 0",
        )
        return self

    def noise0(self, trajectories: Sequence[Trajectory]) -> Array:
        return np.zeros(0)

    def __call__(self, prediction: Tensor, data: Observed, noise: Tensor) -> Tensor:
        counts = _tensor(data.values)
        terms = prediction - counts * prediction.log() + (counts + 1.0).lgamma()
        return (_tensor(data.weights) * terms).sum()

    def information(self, prediction: Array, data: Observed, noise: Array, count: int) -> Array:
        return data.weights / prediction

    def draw(self, prediction: Array, noise: Array, random: np.random.Generator) -> Array:
        """Observations, for predictions (..., k)."""
        return random.poisson(np.maximum(prediction, 0.0)).astype(float)


@dataclass(frozen=True)
class FunctionLoss:
    """The user's own: function(prediction, data) or function(prediction, data, p) -> scalar.

    It is called for each trajectory, with tensors of shape (rows, *shape of an observation); the
    values are added. Where data are missing it is given the prediction in their place, so that
    there is no residual.
    """

    function: Callable[..., Any]
    takes_p: bool


@dataclass(frozen=True)
class _Norm:
    weight: float = 1e-4
    on: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        check.as_nonnegative(self.weight, "weight")


@dataclass(frozen=True)
class L1(_Norm):
    """weight * sum of |p_i|, which drives parameters to zero. `on`: names, default all."""


@dataclass(frozen=True)
class L2(_Norm):
    """weight * sum of p_i^2, which keeps parameters small. `on`: names, default all."""


@dataclass(frozen=True)
class Physics:
    """weight * mean of squares of what should be zero along each solution.

    Parameters
    ----------
    residual : callable
        `residual(u, p, t)`, in torch operations, of one state; a number or several.
    weight : float
    """

    residual: Callable[..., Any]
    weight: float = 1.0

    def __post_init__(self) -> None:
        check.require_callable(self.residual, "residual", "a function residual(u, p, t)")
        check.as_nonnegative(self.weight, "weight")


#: (flat parameters, parameters in the user's structure, states (m, *u0.shape) and times (m,) of
#: each trajectory) -> scalar
Penalty = Callable[["Tensor", Any, "Sequence[Tensor]", Sequence[Array]], "Tensor"]


def as_penalty(regulariser: Any, parameters: Parameters) -> Penalty:
    """What an L1, L2 or Physics, or a user's function of `p`, adds to the loss."""
    if isinstance(regulariser, (L1, L2)):
        chosen = select_all(regulariser.on, parameters, "on")
        size: Callable[[Tensor], Tensor] = (
            (lambda x: x.abs()) if isinstance(regulariser, L1) else (lambda x: x * x)
        )
        return lambda flat, p, states, times: regulariser.weight * size(flat[chosen]).sum()
    if isinstance(regulariser, Physics):
        return partial(_mean_square_along, regulariser)
    if isinstance(regulariser, type) or not callable(regulariser):
        raise TypeError(
            "regularise must be L1(...), L2(...), Physics(...), a torch function of p, or a list "
            f"of these; got {check.describe(regulariser)}"
        )
    return lambda flat, p, states, times: regulariser(p)


def _mean_square_along(
    physics: Physics, flat: Tensor, p: Any, states: Sequence[Tensor], times: Sequence[Array]
) -> Tensor:
    import torch

    residuals = [
        along(physics.residual, u, p, t).reshape(-1) for u, t in zip(states, times, strict=True)
    ]
    return physics.weight * (torch.cat(residuals) ** 2).mean()


_BY_NAME: dict[str, Callable[[], Any]] = {
    "mse": MSE,
    "gaussian": Gaussian,
    "lognormal": LogNormal,
    "poisson": Poisson,
}


def as_loss(value: Any) -> Any:
    """A loss by name, as an object, or a function of the user's."""
    choices = f"{', '.join(map(repr, _BY_NAME))}, a loss such as MSE(...), or a torch function"
    if isinstance(value, str):
        if value.lower() not in _BY_NAME:
            hint = check.did_you_mean(value, _BY_NAME)
            raise ValueError(f"loss must be {choices}; got {value!r}{hint}")
        return _BY_NAME[value.lower()]()
    if isinstance(value, type):
        raise TypeError(
            f"loss must be {choices}; got {check.describe(value)}: pass an instance, "
            f"{value.__name__}()"
        )
    if hasattr(value, "noise0"):
        return value
    if not callable(value):
        raise TypeError(f"loss must be {choices}; got {check.describe(value)}")
    return FunctionLoss(value, _takes_three(value))


def _takes_three(function: Callable[..., Any]) -> bool:
    signature = inspect.signature(function)
    for count in (3, 2):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count == 3
    raise TypeError(
        "loss must take (prediction, data) or (prediction, data, p); "
        f"got {getattr(function, '__name__', type(function).__name__)}{signature}"
    )


_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def _sigma(sigma: Any, trajectories: Sequence[Trajectory]) -> Any:
    k = trajectories[0].values.shape[1]
    return None if sigma is None else _per_component(sigma, k, "sigma")


def _per_component(value: Any, k: int, name: str) -> Array:
    given = check.as_observations(value, name, "a number > 0, or one for each component")
    if given.ndim and given.size != k:
        raise ValueError(
            f"{name} must be a number > 0, or one for each of the {k} components; "
            f"got {check.describe(given)}"
        )
    if not (given > 0.0).all():
        raise ValueError(f"{name} must be > 0; got {given[~(given > 0.0)].flat[0]}")
    return np.broadcast_to(given.reshape(-1), (k,)).copy()


def _scale_of(which: str, trajectories: Sequence[Trajectory]) -> Array:
    if which not in ("max", "std"):
        raise ValueError(
            f"scale must be 'max', 'std' or a number for each component; got {which!r}"
        )
    scale = by_component(trajectories, np.std if which == "std" else lambda y: np.abs(y).max())
    scale[~(scale > 0.0)] = 1.0  # nothing observed, or always the same
    return scale


def _spread(trajectories: Sequence[Trajectory], function: Callable[[Array], Array]) -> Array:
    spread = by_component(trajectories, lambda y: np.std(function(y)))
    spread[~(spread > 0.0)] = 1.0
    return spread


def _require(
    trajectories: Sequence[Trajectory], allowed: Callable[[Array], Any], message: str
) -> None:
    values = Observed.of(trajectories).values
    if not allowed(values).all():
        raise ValueError(f"{message}; got {values[~allowed(values)][0]}")
