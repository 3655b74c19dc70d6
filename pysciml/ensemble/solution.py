"""EnsembleSolution: what an ensemble gives back."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pysciml import validation as check
from pysciml.engines.base import SUCCESSFUL, Array, SolveOptions, Stats
from pysciml.ensemble.statistics import Moments, moments_of, quantiles_of
from pysciml.solution import index_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pysciml.ensemble.inputs import Starts
    from pysciml.problems import Problem


@dataclass(frozen=True)
class Found:
    """What the batches of an ensemble have left behind; states are flat."""

    u: Array | None  # (n, len(t), width); None: only statistics were kept
    examples: Array  # (k, len(t), width), the first trajectories
    retcodes: NDArray[np.object_]
    moments: Moments | None  # None: from u, when they are asked for
    quantiles: Array | None  # (levels, len(t), width), likewise
    exact: bool  # whether the quantiles are
    stats: Stats
    alg: str


class EnsembleSolution:
    """Many trajectories of one problem at common times.

    Attributes
    ----------
    t : (len,) float64 array
        Times, in the direction of integration.
    u : (n, len, *u0.shape) float64 array, or None
        States; (n, len, k) when `save_idxs` kept k components. NaN from where a trajectory
        stopped. None when the ensemble was solved with keep="statistics".
    retcodes : (n,) array of str
        "Success", "Terminated" (by a terminal event), SciML's name of what stopped the trajectory
        ("MaxIters", "Unstable", ...), "Failure" when the workers that had it were lost, or
        "Interrupted" (Ctrl-C).
    count : int
        Trajectories that reached the end ("Success"): those the statistics are of.
    mean, var, std, min, max, median : (len, *u0.shape) arrays
        Over these trajectories, at each time. `var` and `std` are unbiased (ddof=1).
    levels, quantiles : (k,) and (k, len, *u0.shape) arrays
        Levels that were asked for, and the quantiles at them.
    exact_quantiles : bool
        Whether they are NumPy's quantiles of the states. Otherwise they come from t-digests (see
        `solve_ensemble`). The other statistics are always exact to rounding.
    examples : (k, len, *u0.shape) array
        The first trajectories, also when `u` is not kept.
    problem : ODEProblem or SDEProblem
        What the trajectories vary; `problem_at(i)` is the problem of one.
    alg, engine : str
    seed : int or None
        Of the noise; trajectory i is that of `solve(..., seed=(seed, i))`.
    stats : Stats
        Work of all trajectories together.

    `len(ens)` is n, `ens[i]` is `ens.u[i]`, and iterating gives the trajectories.
    """

    def __init__(
        self, starts: Starts, engine: str, options: SolveOptions, found: Found, levels: Array
    ) -> None:
        self._starts = starts
        self._found = found
        self.options = options
        self.problem: Problem = starts.problem
        self.engine = engine
        self.alg = found.alg
        self.seed = starts.seed
        self.stats: Stats = found.stats
        self.t: Array = options.saveat  # type: ignore[assignment]
        self.levels = levels
        self.exact_quantiles = found.exact
        self.retcodes = found.retcodes.astype(str)
        self.u = None if found.u is None else self._shaped(found.u)
        self.examples = self._shaped(found.examples)

    @property
    def success(self) -> bool:
        """Whether no trajectory failed."""
        return len(self.failed) == 0

    @property
    def failed(self) -> NDArray[np.intp]:
        """Numbers of the trajectories that failed, or were not solved."""
        return np.flatnonzero(~np.isin(self.retcodes, SUCCESSFUL))

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.retcodes == "Success"))

    @property
    def mean(self) -> Any:
        return self._shaped(self._moments.mean)

    @property
    def var(self) -> Any:
        return self._shaped(self._moments.var)

    @property
    def std(self) -> Any:
        return np.sqrt(self.var)

    @property
    def min(self) -> Any:
        return self._shaped(self._moments.smallest)

    @property
    def max(self) -> Any:
        return self._shaped(self._moments.largest)

    @property
    def median(self) -> Any:
        return self.quantile(0.5)

    @cached_property
    def quantiles(self) -> Any:
        if self._found.quantiles is not None:
            return self._shaped(self._found.quantiles)
        return self._shaped(quantiles_of(self._successes, self.levels))

    def quantile(self, level: float) -> Any:
        """The quantile at a level between 0 and 1: (len, *u0.shape).

        Raises ValueError when only statistics were kept, and this level is not one of `levels`.
        """
        wanted = check.as_real(level, "level", "a number between 0 and 1")
        if not 0.0 <= wanted <= 1.0:
            raise ValueError(f"level must be a number between 0 and 1; got {wanted}")
        known = np.flatnonzero(self.levels == wanted)
        if known.size:
            return self.quantiles[known[0]]
        if self.u is None:
            raise ValueError(
                f"level must be one of {self.levels.tolist()}, the quantiles that were asked for, "
                f'as keep="statistics" keeps no states; got {wanted}'
            )
        return self._shaped(quantiles_of(self._successes, np.array([wanted]))[0])

    def problem_at(self, i: int) -> Problem:
        """The problem of trajectory i, with its initial state and parameters.

        `prob_func`, if there was one, is called once more.
        """
        number = range(len(self))[i] if -len(self) <= i < len(self) else None
        if number is None:
            raise IndexError(f"i must lie between 0 and {len(self) - 1}, the trajectories; got {i}")
        return self._starts.problem_at(number)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One label for each kept component, in row-major order."""
        names = self.problem.names or index_names(self.problem.u0.shape)
        if self.options.save_idxs is not None:
            return tuple(names[i] for i in self.options.save_idxs)
        return tuple(names)

    def __len__(self) -> int:
        return len(self.retcodes)

    def __getitem__(self, index: Any) -> Any:
        return self._kept[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._kept)

    def plot(
        self,
        vars: Any = None,
        *,
        ax: Axes | None = None,
        center: str | None = None,
        trajectories: int = 5,
        **style: Any,
    ) -> Axes:
        """Draw a fan of the ensemble over time, or a phase portrait, and return matplotlib's axes.

        Parameters
        ----------
        vars : list, int, str or tuple, optional
            What to draw: components by flat index or by name, each as a fan: its center, a band
            between each pair of `levels` that lie on both sides of the median, and a few
            trajectories. A tuple `(0, 1)` draws one component against another: the trajectories
            from their start to their end, and the center. A list draws each of its entries.
            Default: every component over time.
        ax : matplotlib Axes, optional
            Where to draw. Default: new axes.
        center : "median" or "mean", optional
            Default: the median where there is one.
        trajectories : int
            How many trajectories are drawn, the first ones that succeeded. A phase portrait draws
            ten times as many.
        **style
            Passed on to matplotlib's `plot` for the center.
        """
        from pysciml.ensemble.plotting import plot_ensemble

        return plot_ensemble(self, vars, ax, center, trajectories, style)

    def __repr__(self) -> str:
        return (
            f"EnsembleSolution({len(self)} trajectories, {self._counts()}: {self._times()}, "
            f"{self._states()}, {self.alg} on {self.engine}, {self.stats.naccept} steps in all)"
        )

    def _repr_html_(self) -> str:
        rows = {
            "trajectories": f"{len(self)}: {self._counts()}",
            "engine, algorithm": f"{self.engine}, {self.alg}",
            "times": self._times(),
            "states": self._states(),
            "right-hand sides": f"{self.stats.nf}",
            "steps": f"{self.stats.naccept} accepted, {self.stats.nreject} rejected",
        }
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for key, value in rows.items()
        )
        return f"<table><caption>pysciml EnsembleSolution</caption>{cells}</table>"

    def _counts(self) -> str:
        return counted(self.retcodes)

    def _states(self) -> str:
        return "only statistics" if self.u is None else f"u {self.u.shape}"

    def _times(self) -> str:
        return f"{len(self.t)} time points from {self.t[0]:g} to {self.t[-1]:g}"

    @property
    def _kept(self) -> Any:
        if self.u is None:
            raise ValueError(
                'u was not kept: this ensemble was solved with keep="statistics". Its mean, var, '
                "quantiles and first trajectories (examples) are there"
            )
        return self.u

    @cached_property
    def _moments(self) -> Moments:
        return self._found.moments or moments_of(self._successes)

    @property
    def _successes(self) -> Array:
        """Flat states of the trajectories that succeeded."""
        assert self._found.u is not None
        good = self.retcodes == "Success"
        return self._found.u if good.all() else self._found.u[good]

    def _shaped(self, flat: Array) -> Any:
        """States in the shape of u0; flat when only some components were kept."""
        if self.options.save_idxs is not None:
            return flat
        return flat.reshape(*flat.shape[:-1], *self.problem.u0.shape)


def counted(retcodes: Any) -> str:
    """How many trajectories ended how, in words."""
    return ", ".join(f"{count} {name}" for name, count in Counter(retcodes.tolist()).most_common())
