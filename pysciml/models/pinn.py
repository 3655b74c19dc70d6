"""Physics-informed networks: a network is the solution of an equation, in all of space and time.

M. Raissi, P. Perdikaris, G. E. Karniadakis, Physics-informed neural networks, J. Comput. Phys. 378
(2019) 686-707. Adaptive weights: Z. Xiang, W. Peng, X. Liu, W. Yao, Self-adaptive loss balanced
physics-informed neural networks, Neurocomputing 496 (2022) 11-34. Weights that respect causality:
S. Wang, S. Sankaran, P. Perdikaris, Comput. Methods Appl. Mech. Engrg. 421 (2024) 116813. Fourier
features: M. Tancik et al., NeurIPS 2020; S. Wang, H. Wang, P. Perdikaris, Comput. Methods Appl.
Mech. Engrg. 384 (2021) 113938 (`pysciml.nn.FourierFeatures`).

Derivatives are torch's reverse mode, twice: for networks of this size as quick as a hand-written
Taylor series through the layers, and more than twice as quick as nested `torch.func.jvp`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.models.base import Model, require_network
from pysciml.nn import mlp

if TYPE_CHECKING:
    from pysciml.train.own_loss import OwnLoss

_BINS = 32  # slices of time for causal weights
_Residual = Callable[["Field", Mapping[str, Tensor], Mapping[str, Tensor]], Any]


class Field:
    """A network's output at points, and its derivatives there.

    Attributes
    ----------
    value : (points,) tensor
    """

    def __init__(self, value: Tensor, at: Mapping[str, Tensor]) -> None:
        self.value = value
        self._at = at
        self._known: dict[tuple[str, ...], Tensor] = {(): value}

    def d(self, *names: str) -> Tensor:
        """A derivative, (points,): `u.d("x")` is the first, `u.d("x", "x")` the second."""
        for name in names:
            if name not in self._at:
                raise ValueError(
                    f"a derivative must be in {', '.join(map(repr, self._at))}; got {name!r}"
                )
        key = tuple(sorted(names))
        if key not in self._known:
            before = self.d(*key[:-1])
            slopes = torch.autograd.grad(
                before.sum(),
                list(self._at.values()),
                create_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for name, slope in zip(self._at, slopes, strict=True):
                self._known[tuple(sorted((*key[:-1], name)))] = slope
        return self._known[key]


class Condition:
    """What holds on a part of the domain: at an initial time, on a boundary.

    Parameters
    ----------
    residual : callable
        `residual(u, x, p)`, zero where the condition holds; as that of the equation.
    points : int
        How many points of that part are taken.
    weight : float
        Factor of its mean square in the loss.
    **where : float
        The coordinates that are fixed there, by name, such as ``t=0.0``; the others are anywhere.
    """

    def __init__(
        self, residual: _Residual, points: int = 100, weight: float = 1.0, **where: float
    ) -> None:
        check.require_callable(residual, "residual", "a torch function residual(u, x, p)")
        self.residual = residual
        self.points = check.as_count(points, "points")
        self.weight = check.as_positive(weight, "weight")
        if not where:
            raise ValueError("a condition must fix a coordinate, such as t=0.0")
        self.where = {
            name: check.as_real(x, name, "a coordinate, one number") for name, x in where.items()
        }


@dataclass(frozen=True)
class _Term:
    """A residual at its points, and their times where these count."""

    residual: Tensor
    weight: float = 1.0
    time: Tensor | None = None


class PINN(Model):
    """A network u(x, t, ...) that solves an equation: where its residual, and those of conditions,
    are zero.

    `fit(model)` minimises the sum of the mean squares of all residuals, at points that are new in
    each iteration of Adam; `fit(model, (x, u))` adds observations, rows of coordinates and values.
    An `LBFGS` stage, which keeps its points, is the usual finish.

    Parameters
    ----------
    residual : callable
        `residual(u, x, p)`, in torch operations: (points,) numbers, or a list of such for several
        equations. `u.value` and `u.d("x")`, `u.d("x", "x")`, ... are the solution and its
        derivatives, `u` a list of such where the network has several outputs; `x["t"]`, ... are the
        coordinates and `p["nu"]`, ... the parameters.
    domain : dict of (low, high)
        The range of each coordinate, by name.
    conditions : list of Condition
    network : nn.Module, optional
        From coordinates scaled to (-1, 1), (..., coordinates), to (..., outputs). Default: four
        layers of 32 tanh units and one output.
    trial : callable, optional
        `trial(n, x)`: the solution from what the network gives, n, (..., outputs), and coordinates
        x by name, (..., 1). What holds for every network, such as x^2 + t n at t = 0, needs no
        condition (I. E. Lagaris, A. Likas, D. I. Fotiadis, IEEE Trans. Neural Netw. 9 (1998) 987).
    p : dict of numbers, optional
        Parameters of the equation, fitted with the network unless they are `fixed`; `fit` knows
        them as "p.nu", ...
    points : int
        How many points of the domain the residual is taken at.
    adaptive : bool
        Whether the terms (each equation, each condition, the data) get weights of their own,
        1/(2 s) for a variance s that is fitted too, by Adam: mean square/(2 s) + log(s)/2.
        Otherwise they are added up.
    causal : float
        If above 0: points at a time only count as far as those before them are solved, by the
        factor exp(-causal * sum of the mean squares in earlier slices of time). For Adam; in
        stages that keep their points, all count alike.
    time : str
        Which coordinate is the time, for `causal`.
    seed : int
        Of the first weights of the default network.
    """

    def __init__(
        self,
        residual: _Residual,
        domain: Mapping[str, Any],
        conditions: Sequence[Condition] = (),
        network: nn.Module | None = None,
        trial: Callable[[Tensor, Mapping[str, Tensor]], Tensor] | None = None,
        p: Mapping[str, Any] | None = None,
        points: int = 1000,
        adaptive: bool = False,
        causal: float = 0.0,
        time: str = "t",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check.require_callable(residual, "residual", "a torch function residual(u, x, p)")
        self.residual = residual
        self.domain = _domain(domain)
        self.conditions = _conditions(conditions, self.domain)
        self.network = (
            _glorot([len(self.domain), 32, 32, 32, 32, 1], seed)
            if network is None
            else require_network(network)
        )
        if trial is not None:
            check.require_callable(trial, "trial", "a torch function trial(n, x)")
        self.trial = trial
        given = check.as_parameters(dict(p or {}))
        self.p = nn.ParameterDict(
            {
                name: nn.Parameter(torch.as_tensor(x, dtype=torch.float64))
                for name, x in given.items()
            }
        )
        self.points = check.as_count(points, "points")
        self.causal = check.as_nonnegative(causal, "causal")
        if self.causal and time not in self.domain:
            raise ValueError(f"time must be one of {', '.join(self.domain)}; got {time!r}")
        self.time = time
        low, high = np.array(list(self.domain.values())).T
        self.register_buffer("low", torch.as_tensor(low.copy()))
        self.register_buffer("high", torch.as_tensor(high.copy()))
        terms = len(self._residuals(torch.Generator().manual_seed(0)))
        self.log_variances = (
            nn.Parameter(torch.zeros(terms + 1, dtype=torch.float64))  # the last is of data
            if check.as_flag(adaptive, "adaptive")
            else None
        )

    low: Tensor
    high: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Coordinates (..., coordinates), in the order of the domain, to (..., outputs)."""
        u: Tensor = self.network((2.0 * x - (self.low + self.high)) / (self.high - self.low))
        if self.trial is None:
            return u
        return self.trial(u, {name: x[..., k : k + 1] for k, name in enumerate(self.domain)})

    def predict(self, **coordinates: Any) -> Array:
        """The solution at coordinates by name, arrays that broadcast: of their shape, with an axis
        more where the network has several outputs."""
        if coordinates.keys() != self.domain.keys():
            raise ValueError(
                f"coordinates must be {', '.join(self.domain)}; got {', '.join(coordinates)}"
            )
        columns = [check.as_state(coordinates[name], name) for name in self.domain]
        x = torch.as_tensor(np.stack(np.broadcast_arrays(*columns), axis=-1))
        with torch.no_grad():
            u: Array = self(x).numpy()
        return u[..., 0] if u.shape[-1] == 1 else u

    def fit_loss(self, data: Any = None) -> OwnLoss:
        """All residuals; data are (x, u), coordinates (m, coordinates) and values (m,) or
        (m, outputs), NaN where missing."""
        from pysciml.train.own_loss import OwnLoss

        misfit = None if data is None else self._misfit(data)

        def value(random: torch.Generator, causal: float = self.causal) -> Tensor:
            with torch.enable_grad():
                terms = self._residuals(random)
                squares = [term.weight * self._mean_square(term, causal) for term in terms]
            if misfit is not None:
                squares.append(misfit())
            return self._weighted(torch.stack(squares))

        held = () if self.log_variances is None else ("log_variances",)
        return OwnLoss(value, is_random=True, held=held, kept=partial(value, causal=0.0))

    def errors(self, seed: int = 0) -> Array:
        """Mean square of each residual, of the equations and then of the conditions."""
        random = torch.Generator().manual_seed(check.as_seed(seed, "seed"))
        with torch.enable_grad():
            return np.array([(t.residual**2).mean().item() for t in self._residuals(random)])

    def _residuals(self, random: torch.Generator) -> list[_Term]:
        """Of the equations, then of the conditions, at points that are drawn."""
        x = self._sample(self.points, {}, random)
        time = x[self.time].detach() if self.causal else None
        terms = [_Term(r, time=time) for r in self._evaluate(self.residual, x)]
        for each in self.conditions:
            x = self._sample(each.points, each.where, random)
            terms += [_Term(r, each.weight) for r in self._evaluate(each.residual, x)]
        return terms

    def _evaluate(self, residual: _Residual, x: Mapping[str, Tensor]) -> list[Tensor]:
        found = residual(self._fields(x), x, dict(self.p.items()))
        residuals = list(found) if isinstance(found, (list, tuple)) else [found]
        for r in residuals:
            count = next(iter(x.values())).shape
            if not isinstance(r, Tensor) or r.shape != count:
                raise ValueError(
                    "residual must return one number for each point, (points,), or a list of such; "
                    f"of {count[0]} points it returned {check.describe(r)}"
                )
        return residuals

    def _sample(
        self, count: int, fixed: Mapping[str, float], random: torch.Generator
    ) -> dict[str, Tensor]:
        """Points spread evenly over what is not fixed (Sobol's, scrambled)."""
        free = [name for name in self.domain if name not in fixed]
        seed = int(torch.randint(2**31, (), generator=random))
        unit = (
            torch.quasirandom.SobolEngine(len(free), scramble=True, seed=seed)
            .draw(count, dtype=torch.float64)
            .T
            if free
            else torch.zeros(0, count, dtype=torch.float64)
        )
        columns = dict(zip(free, unit, strict=True))
        x = {}
        for name, (low, high) in self.domain.items():
            column = (
                torch.full((count,), fixed[name], dtype=torch.float64)
                if name in fixed
                else low + (high - low) * columns[name]
            )
            x[name] = column.contiguous().requires_grad_()
        return x

    def _fields(self, x: Mapping[str, Tensor]) -> Any:
        u = self(torch.stack(list(x.values()), dim=-1))
        fields = [Field(u[:, k], x) for k in range(u.shape[-1])]
        return fields[0] if len(fields) == 1 else fields

    def _mean_square(self, term: _Term, causal: float) -> Tensor:
        if term.time is None or not causal:
            return (term.residual**2).mean()
        low, high = self.domain[self.time]
        edges = torch.linspace(low, high, _BINS + 1, dtype=torch.float64)[1:-1]
        slices = torch.bucketize(term.time, edges)
        counts = torch.bincount(slices, minlength=_BINS).clamp(min=1)
        sums = torch.zeros(_BINS, dtype=torch.float64).index_add(0, slices, term.residual**2)
        squares = sums / counts
        earlier = squares.detach().cumsum(0) - squares.detach()
        return (torch.exp(-causal * earlier) * squares).mean()

    def _misfit(self, data: Any) -> Callable[[], Tensor]:
        if not isinstance(data, (list, tuple)) or len(data) != 2:
            raise TypeError(
                "data must be (x, u), coordinates and values observed there; "
                f"got {check.describe(data)}"
            )
        x = check.as_state(data[0], "x of data")
        if x.ndim != 2 or x.shape[1] != len(self.domain):
            raise ValueError(
                f"x of data must be of shape (m, {len(self.domain)}), a column for each of "
                f"{', '.join(self.domain)}; got {check.describe(x)}"
            )
        points = torch.as_tensor(x)
        with torch.no_grad():
            outputs = self(points).shape[-1]
        u = check.as_observations(data[1], "u of data", "values of the solution")
        u = u[:, None] if u.ndim == 1 else u
        if u.shape != (len(x), outputs):
            raise ValueError(
                f"u of data must be of shape ({len(x)}, {outputs}), a row for each row of x; "
                f"got {check.describe(data[1])}"
            )
        seen = torch.as_tensor(~np.isnan(u))
        values = torch.as_tensor(u)[seen]

        def misfit() -> Tensor:
            return ((self(points)[seen] - values) ** 2).mean()

        return misfit

    def _weighted(self, squares: Tensor) -> Tensor:
        if self.log_variances is None:
            return squares.sum()
        logs = self.log_variances[: len(squares)]
        return 0.5 * (squares * torch.exp(-logs) + logs).sum()


def _domain(value: Any) -> dict[str, tuple[float, float]]:
    if not isinstance(value, Mapping) or not value:
        raise TypeError(
            'domain must be a dict of ranges by name, such as {"x": (-1.0, 1.0), "t": (0.0, 1.0)}; '
            f"got {check.describe(value)}"
        )
    ranges = {}
    for name, range_ in value.items():
        low, high = check.as_tspan(range_, f"domain[{name!r}]")
        if high < low:
            raise ValueError(f"domain[{name!r}] must be (low, high); got ({low}, {high})")
        ranges[name] = (low, high)
    return ranges


def _conditions(value: Any, domain: Mapping[str, tuple[float, float]]) -> tuple[Condition, ...]:
    given = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    for each in given:
        if not isinstance(each, Condition):
            raise TypeError(
                f"conditions must be a list of Condition(...); got {check.describe(each)}"
            )
        for name in each.where:
            if name not in domain:
                raise ValueError(
                    f"a condition must fix coordinates of the domain, {', '.join(domain)}; "
                    f"got {name!r}{check.did_you_mean(name, domain)}"
                )
    return given


def _glorot(sizes: Sequence[int], seed: int) -> nn.Sequential:
    """A perceptron whose first weights neither shrink nor grow what passes (Glorot, Bengio, 2010):
    its derivatives, too, have to be of order one."""
    network = mlp(sizes, "tanh", seed)
    random = torch.Generator().manual_seed(seed)
    for layer in itertools.islice(network, 0, None, 2):
        assert isinstance(layer, nn.Linear)
        nn.init.xavier_uniform_(layer.weight, generator=random)
        nn.init.zeros_(layer.bias)
    return network
