"""Physics-informed networks: a network is the solution of an equation, in all of space and time.

M. Raissi, P. Perdikaris, G. E. Karniadakis, Physics-informed neural networks, J. Comput. Phys. 378
(2019) 686-707. Adaptive weights: Z. Xiang, W. Peng, X. Liu, W. Yao, Self-adaptive loss balanced
physics-informed neural networks, Neurocomputing 496 (2022) 11-34; S. Wang, Y. Teng, P. Perdikaris,
Understanding and mitigating gradient flow pathologies in physics-informed neural networks, SIAM J.
Sci. Comput. 43 (2021) A3055-A3081. Weights that respect causality: S. Wang, S. Sankaran, P.
Perdikaris, Comput. Methods Appl. Mech. Engrg. 421 (2024) 116813. Fourier features: M. Tancik et
al., NeurIPS 2020; S. Wang, H. Wang, P. Perdikaris, Comput. Methods Appl. Mech. Engrg. 384 (2021)
113938 (`pysciml.nn.FourierFeatures`).

Derivatives are torch's reverse mode, twice: for networks of this size as quick as a hand-written
Taylor series through the layers, and more than twice as quick as nested `torch.func.jvp`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
_LOGS = {"variance": "log_variances", "gradient": "log_weights"}
_Points = list[dict[str, Tensor]]
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
class RAD:
    """Points drawn where the residual is large: residual-based adaptive distribution.

    C. Wu, M. Zhu, Q. Tan, Y. Kartha, L. Lu, A comprehensive study of non-adaptive and
    residual-based adaptive sampling for physics-informed neural networks, Comput. Methods Appl.
    Mech. Engrg. 403 (2023) 115671: the density is proportional to |r|^k/mean(|r|^k) + c.

    Parameters
    ----------
    k, c : float
        The larger k and the smaller c, the more points go where the residual is large.
    pool : int
        How many candidates there are for each point.
    """

    k: float = 1.0
    c: float = 1.0
    pool: int = 10

    def __post_init__(self) -> None:
        check.as_nonnegative(self.k, "k")
        check.as_nonnegative(self.c, "c")
        object.__setattr__(self, "pool", check.as_count(self.pool, "pool"))

    def choose(self, residuals: Tensor, count: int, random: torch.Generator) -> Tensor:
        """Which of the candidates are taken, of their residuals (equations, candidates)."""
        size = (residuals**2).sum(0) ** (self.k / 2.0)
        return torch.multinomial(size / size.mean() + self.c, count, generator=random)


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
    The finish is a stage that keeps its points: `SSBroyden` for networks of up to some thousand
    weights, which may draw new ones every few hundred iterations; `LBFGS` for larger ones.

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
    adaptive : False, "variance" (or True), "gradient"
        Weights of the terms: each equation, each condition, the data. Otherwise they are added up.
        "variance": 1/(2 s) for a variance s that is fitted too: mean square/(2 s) + log(s)/2.
        "gradient": such that the mean gradient of each term is as long as the largest entry of the
        first one's (Wang, Teng, Perdikaris, 2021). Both move in stages of Adam, by its step size in
        their logarithm, and rest in others.
    causal : float
        If above 0: points at a time only count as far as those before them are solved, by the
        factor exp(-causal * sum of the mean squares in earlier slices of time). For Adam; in
        stages that keep their points, all count alike.
    time : str
        Which coordinate is the time, for `causal`.
    sampling : RAD, optional
        How points of the domain are drawn in stages that keep them, such as `SSBroyden`: where the
        residual is large when they are drawn. Otherwise, and for Adam, spread evenly.
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
        adaptive: bool | str = False,
        causal: float = 0.0,
        time: str = "t",
        sampling: RAD | None = None,
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
        if sampling is not None and not isinstance(sampling, RAD):
            raise TypeError(f"sampling must be a RAD(...) or None; got {check.describe(sampling)}")
        self.sampling = sampling
        low, high = np.array(list(self.domain.values())).T
        self.register_buffer("low", torch.as_tensor(low.copy()))
        self.register_buffer("high", torch.as_tensor(high.copy()))
        terms = len(self._residuals(self._points(torch.Generator().manual_seed(0))))
        kind = _adaptive(adaptive)
        for name in ("variance", "gradient"):  # the last is of data
            logs = nn.Parameter(torch.zeros(terms + 1, dtype=torch.float64))
            self.register_parameter(_LOGS[name], logs if kind == name else None)

    low: Tensor
    high: Tensor
    log_variances: nn.Parameter | None
    log_weights: nn.Parameter | None

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

        def loss(terms: list[_Term], causal: float, moves: bool) -> Tensor:
            squares = [term.weight * self._mean_square(term, causal) for term in terms]
            if misfit is not None:
                squares.append(misfit())
            return self._weighted(torch.stack(squares), moves)

        def value(random: torch.Generator) -> Tensor:
            with torch.enable_grad():
                return loss(self._residuals(self._points(random)), self.causal, True)

        drawn: dict[int, _Points] = {}

        def kept(random: torch.Generator) -> Tensor:
            number = random.initial_seed()
            if number not in drawn:
                drawn.clear()
                drawn[number] = self._points(random, self.sampling)
            with torch.enable_grad():
                return loss(self._residuals(drawn[number]), 0.0, False)

        held = tuple(name for name in _LOGS.values() if getattr(self, name) is not None)
        return OwnLoss(value, is_random=True, held=held, kept=kept)

    def errors(self, seed: int = 0) -> Array:
        """Mean square of each residual, of the equations and then of the conditions."""
        random = torch.Generator().manual_seed(check.as_seed(seed, "seed"))
        with torch.enable_grad():
            terms = self._residuals(self._points(random))
        return np.array([(term.residual**2).mean().item() for term in terms])

    def _residuals(self, points: _Points) -> list[_Term]:
        """Of the equations, then of the conditions."""
        inside, *others = points
        time = inside[self.time].detach() if self.causal else None
        terms = [_Term(r, time=time) for r in self._evaluate(self.residual, inside)]
        for each, x in zip(self.conditions, others, strict=True):
            terms += [_Term(r, each.weight) for r in self._evaluate(each.residual, x)]
        return terms

    def _points(self, random: torch.Generator, sampling: RAD | None = None) -> _Points:
        """Points of the domain, then those of each condition."""
        if sampling is None:
            inside = self._sample(self.points, {}, random)
        else:
            pool = self._sample(sampling.pool * self.points, {}, random)
            with torch.enable_grad():
                residuals = torch.stack(self._evaluate(self.residual, pool)).detach()
            chosen = sampling.choose(residuals, self.points, random)
            inside = {name: x.detach()[chosen].requires_grad_() for name, x in pool.items()}
        return [inside, *(self._sample(c.points, c.where, random) for c in self.conditions)]

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

    def _weighted(self, squares: Tensor, moves: bool) -> Tensor:
        """The sum of the terms; `moves`: with what brings weights to where they should be."""
        if self.log_variances is not None:
            logs = self.log_variances[: len(squares)]
            return 0.5 * (squares * torch.exp(-logs) + logs).sum()
        if self.log_weights is None:
            return squares.sum()
        logs = self.log_weights[: len(squares)]
        total = (squares * torch.exp(logs.detach())).sum()
        return total + 0.5 * ((logs - self._balance(squares)) ** 2).sum() if moves else total

    def _balance(self, squares: Tensor) -> Tensor:
        """Logarithms of the weights with which gradients are equally long."""
        weights = list(self.network.parameters())
        slopes = [
            torch.autograd.grad(
                x, weights, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for x in squares
        ]
        sizes = [torch.cat([x.reshape(-1) for x in each]).abs() for each in slopes]
        ratios = sizes[0].max() / torch.stack([each.mean() for each in sizes])
        ratios[0] = 1.0
        return torch.where((ratios > 0.0) & ratios.isfinite(), ratios, 1.0).log()


def _adaptive(value: Any) -> str | None:
    if isinstance(value, str) and value in _LOGS:
        return value
    if not isinstance(value, (bool, np.bool_)):
        choices = ", ".join(map(repr, _LOGS))
        raise ValueError(
            f"adaptive must be False, True or one of {choices}; got {check.describe(value)}"
        )
    return "variance" if value else None


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
