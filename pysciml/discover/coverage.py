"""Phase-space coverage: how far is a state from those that a network was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.discover.library import as_points
from pysciml.engines.base import Array
from pysciml.solution import Solution, index_names
from pysciml.solve import solve
from pysciml.train.result import FitResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STATES = "a FitResult, a Solution, an (m, n) array of states, or a list of these"
_GRID = 120  # points of a side of the map that is drawn


@dataclass(frozen=True, eq=False)
class Coverage:
    """Where training states were. Made by `coverage`; call it with states for their distances.

    Attributes
    ----------
    states : (m, n) array, the training states.
    method, level : see `coverage`.
    unit : the distance, in the method's own terms, that counts as 1.
    names : of the n components.
    """

    states: Array
    method: str
    level: float
    unit: float
    names: tuple[str, ...]
    _measure: Callable[[Array], Array]

    def __call__(self, u: Any) -> Any:
        """Distances of states u, (..., n), as an array (...). Up to 1 is as near as training."""
        n = self.states.shape[1]
        given = check.as_observations(u, "u", f"an array of states, (..., {n})")
        if not given.ndim or given.shape[-1] != n:
            raise ValueError(f"u must be states of {n} numbers; got {check.describe(u)}")
        return (self._measure(given.reshape(-1, n)) / self.unit).reshape(given.shape[:-1])

    def along(self, solution: Solution) -> Reach:
        """The distance at each saved time of a solution."""
        if not isinstance(solution, Solution):
            raise TypeError(f"solution must be a Solution; got {check.describe(solution)}")
        states = solution.u.reshape(len(solution.t), -1)
        return Reach(self, solution.t, states, self(states))

    def __repr__(self) -> str:
        m, n = self.states.shape
        return f"Coverage({m} states of {n} numbers, {self.method}, level {self.level:g})"


@dataclass(frozen=True, eq=False)
class Reach:
    """How far a trajectory is from the training states.

    Attributes
    ----------
    t : (m,) times
    states : (m, n)
    distance : (m,) array; up to 1 is as near as training states are.
    """

    coverage: Coverage
    t: Array
    states: Array
    distance: Array

    @property
    def fraction(self) -> float:
        """The part of the saved times at which the distance is at most 1."""
        return float((self.distance <= 1.0).mean())

    @property
    def leaves(self) -> float | None:
        """The first saved time at which the distance is above 1; None if it never is."""
        outside = np.flatnonzero(self.distance > 1.0)
        return float(self.t[outside[0]]) if outside.size else None

    def plot(self, vars: tuple[int, int] = (0, 1)) -> Figure:
        """Two components with the training states, and the distance over time."""
        import matplotlib.pyplot as plt
        from matplotlib.colors import LogNorm

        figure, (plane, over_time) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
        i, j = check.as_indices(list(vars), self.states.shape[1], "vars").tolist()
        colours = LogNorm(0.1, max(10.0, float(self.distance.max())), clip=True)
        if self.states.shape[1] == 2:
            self._draw_map(plane, i, j, colours)
        trained = self.coverage.states
        plane.plot(trained[:, i], trained[:, j], "k.", markersize=5, label="training states")
        drawn = plane.scatter(
            self.states[:, i], self.states[:, j], c=self.distance, norm=colours, cmap="viridis", s=9
        )
        figure.colorbar(drawn, ax=plane, label="distance")
        plane.set(xlabel=self.coverage.names[i], ylabel=self.coverage.names[j])
        plane.legend()
        over_time.plot(self.t, self.distance, color="black")
        over_time.axhline(1.0, color="C3", linestyle="--", label="as far as training states")
        over_time.set(xlabel="t", ylabel="distance", yscale="log")
        over_time.set_title(f"{self.fraction:.0%} of the times are inside")
        over_time.legend()
        return figure

    def _draw_map(self, ax: Any, i: int, j: int, colours: Any) -> None:
        """The line of distance 1, where there are no other components."""
        both = np.concatenate([self.states, self.coverage.states])
        low, high = both.min(axis=0), both.max(axis=0)
        margin = 0.1 * (high - low)
        axes = [np.linspace(a, b, _GRID) for a, b in zip(low - margin, high + margin, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        distance = self.coverage(grid)
        x, y, z = grid[..., i], grid[..., j], distance
        ax.contourf(x, y, z, levels=[0.0, 1.0], colors=["0.85"])
        ax.contour(x, y, z, levels=[1.0], colors=["C3"], linestyles="--")


def coverage(
    trained: Any,
    method: str = "nearest",
    *,
    level: float = 0.95,
    names: Sequence[str] | None = None,
) -> Coverage:
    """Where in state space a model was trained, as a distance from there.

    A network knows nothing of what lies far from its training states. The distance is 1 where only
    the part 1 - `level` of the training states themselves are as far from the others:

    - "nearest": to the nearest training state, each component over its standard deviation;
    - "mahalanobis": from the mean, in units of the covariance (P. C. Mahalanobis, 1936);
    - "density": sqrt(2 log(highest density / density)) of a Gaussian kernel density with Scott's
      width (SciPy's `gaussian_kde`), which for one normal distribution is Mahalanobis' distance.

    "nearest" and "density" follow the form of a trajectory, "mahalanobis" is the ellipsoid around
    it.

    Parameters
    ----------
    trained : FitResult, Solution, (m, n) array of states, or list of these
        For a FitResult, the fitted solutions at the observed times.
    method : "nearest", "mahalanobis" or "density"
    level : between 0 and 1
    names : of the n components.

    Returns
    -------
    Coverage

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, or the states do not span the space, which "mahalanobis" and "density"
        need.
    """
    measure_of = _METHODS[check.as_choice(method, "method", tuple(_METHODS))]
    if not 0.0 < check.as_positive(level, "level") < 1.0:
        raise ValueError(f"level must be between 0 and 1; got {level}")
    parts = trained if isinstance(trained, list) and _is_list_of_parts(trained) else [trained]
    found = [_states(part) for part in parts]
    states = np.concatenate([states for states, _ in found])
    n = states.shape[1]
    if len(states) <= n:
        raise ValueError(f"trained must be more than {n} states of {n} numbers; got {len(states)}")
    labels = check.as_names(names, n) or found[0][1] or index_names((n,))
    measure, of_themselves = measure_of(states)
    unit = float(np.quantile(of_themselves, level))
    if unit == 0.0:
        raise ValueError("trained must be states that differ; most of them are the same")
    return Coverage(states, method, float(level), unit, labels, measure)


def _is_list_of_parts(trained: list[Any]) -> bool:
    return any(isinstance(part, (FitResult, Solution)) or np.ndim(part) == 2 for part in trained)


def _states(part: Any) -> tuple[Array, tuple[str, ...] | None]:
    """States, (m, n), and the names of their components where they have any."""
    if isinstance(part, FitResult):
        return _fitted_states(part)
    if isinstance(part, Solution):
        return part.u.reshape(len(part.t), -1), part.names
    if isinstance(part, (str, bytes)) or np.ndim(part) != 2:
        raise TypeError(f"trained must be {_STATES}; got {check.describe(part)}")
    return as_points(part, "trained"), None


def _fitted_states(result: FitResult) -> tuple[Array, tuple[str, ...] | None]:
    states = []
    for problem, data in zip(result.problems, result.data, strict=True):
        solution = solve(problem, result.alg, result.engine, data.times, abstol=1e-8, reltol=1e-6)
        states.append(solution.u.reshape(len(solution.t), -1))
    return np.concatenate(states), result.problem.names


#: of the training states: a function of (m, n) states, and its values at themselves without them
Measure = tuple[Callable[[Array], Array], Array]


def _nearest(states: Array) -> Measure:
    from scipy.spatial import KDTree

    spread = states.std(axis=0)
    scale = np.where(spread > 0.0, spread, 1.0)
    tree = KDTree(states / scale)

    def measure(u: Array) -> Array:
        found: Array = tree.query(u / scale)[0]
        return found

    return measure, tree.query(states / scale, k=2)[0][:, 1]


def _mahalanobis(states: Array) -> Measure:
    mean, covariance = states.mean(axis=0), np.atleast_2d(np.cov(states.T))
    _require_spanning(covariance)
    inverse = np.linalg.inv(covariance)

    def measure(u: Array) -> Array:
        found: Array = np.sqrt(np.einsum("ij,jk,ik->i", u - mean, inverse, u - mean))
        return found

    return measure, measure(states)


def _density(states: Array) -> Measure:
    from scipy.stats import gaussian_kde

    _require_spanning(np.atleast_2d(np.cov(states.T)))
    kernel = gaussian_kde(states.T)
    m = len(states)
    of_one = 1.0 / np.sqrt(np.linalg.det(2.0 * np.pi * kernel.covariance))
    own = kernel(states.T)
    highest = np.log(own.max())
    without = np.maximum((m * own - of_one) / (m - 1), np.finfo(float).tiny)

    def measure(u: Array) -> Array:
        found: Array = np.sqrt(2.0 * np.maximum(highest - kernel.logpdf(u.T), 0.0))
        return found

    return measure, np.sqrt(2.0 * np.maximum(highest - np.log(without), 0.0))


def _require_spanning(covariance: Array) -> None:
    if np.linalg.matrix_rank(covariance, hermitian=True) < len(covariance):
        raise ValueError(
            'trained must be states that span the space, for this method; use method="nearest"'
        )


_METHODS = {"nearest": _nearest, "mahalanobis": _mahalanobis, "density": _density}
