"""Solution: what a solve gives back."""

from __future__ import annotations

import html
import platform
from collections.abc import Iterator
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import SUCCESSFUL, Array, RawSolution, SolveOptions, Stats
from pysciml.events import Happened

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from pysciml.problems import Problem

_NO_DENSE = (
    "this solution can only be read at the times in sol.t: it was solved with saveat or without "
    "dense output. Solve again with dense=True to evaluate sol(t) anywhere in tspan"
)


class Solution:
    """States over time, with how they were computed.

    Attributes
    ----------
    t : (len,) float64 array
        Times, in the direction of integration.
    u : (len, *u0.shape) float64 array
        States, time first; (len, k) when `save_idxs` kept k components.
    retcode : str
        "Success", "Terminated" (by a terminal event), or SciML's name of what stopped the solve:
        "MaxIters", "DtLessThanMin", ...
    alg, engine : str
        The method and the engine that ran.
    stats : Stats
        Work counters.
    problem : ODEProblem or SDEProblem
        What was solved.
    seed : int, (int, int) or None
        Of the noise of an SDEProblem; solving again with it gives the same path.
    W : (len, *noise_shape) array or None
        The Wiener processes at `t`, when `save_noise` asked for them.
    events : tuple of Happened
        What happened, for each event in the order given, the problem's first: `sol.events[0].t`
        are the times, `.before` and `.after` the states there.
    message : str
        Where and why it stopped; empty after success.

    `sol(t)` evaluates between the saved times, `sol[i]` is the state at `sol.t[i]`, and iterating
    gives `(t, u)` pairs. Between the solver's steps the path of an SDEProblem is not known: there
    `sol(t)` is on the straight line from one to the next, as in SciML.
    """

    def __init__(
        self, problem: Problem, engine: str, options: SolveOptions, raw: RawSolution
    ) -> None:
        shape = problem.u0.shape
        u = raw.u
        if len(shape) != 1 and options.save_idxs is None:
            u = u.reshape(-1, *shape)
        self.t = raw.t
        self.u = u
        self.retcode = raw.retcode
        self.alg = raw.alg
        self.engine = engine
        self.stats: Stats = raw.stats
        self.message = raw.message
        self.problem = problem
        self.options = options
        self.seed = (options.seed, options.trajectory) if options.trajectory else options.seed
        self.W = raw.noise
        self._interpolate = raw.interpolate
        self.events = tuple(
            Happened(times, before.reshape(-1, *shape), after.reshape(-1, *shape))
            for times, before, after in raw.events
        )

    @property
    def success(self) -> bool:
        """Whether the whole of tspan was solved, or all of it before a terminal event."""
        return self.retcode in SUCCESSFUL

    @property
    def has_dense(self) -> bool:
        """Whether `sol(t)` can be evaluated between the saved times."""
        return self._interpolate is not None

    @cached_property
    def versions(self) -> dict[str, str]:
        """Versions of what computed this, for the record."""
        of_torch = "torchsde" if self.problem.is_random else "torchdiffeq"
        packages = {"native": ("numba",), "torch": (of_torch,), "julia": ("juliacall",)}
        return installed_versions(*packages.get(self.engine, ()))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One label for each kept component, in row-major order."""
        names = self.problem.names or index_names(self.problem.u0.shape)
        if self.options.save_idxs is not None:
            return tuple(names[i] for i in self.options.save_idxs)
        return tuple(names)

    def __call__(self, t: Any) -> Any:
        """The state at a time (shape of u0), or at a vector of m times ((m, *shape of u0)).

        Raises
        ------
        ValueError
            A time lies outside the solved span, or dense output was not kept.
        """
        if self._interpolate is None:
            raise ValueError(_NO_DENSE)
        times = np.asarray(t, dtype=np.float64) if type(t) is float else _as_query(t)
        low, high = self._span
        if not ((times >= low) & (times <= high)).all():  # written so that NaN is refused as well
            bad = times[~((times >= low) & (times <= high))].flat[0]
            raise ValueError(f"t must lie in the solved span [{low}, {high}]; got {bad}")
        flat = self._interpolate(times.reshape(-1))
        kept = self.options.save_idxs
        if kept is not None:
            return flat[:, kept].reshape((*times.shape, len(kept)))
        return flat.reshape((*times.shape, *self.problem.u0.shape))[()]

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, index: Any) -> Any:
        return self.u[index]

    def __iter__(self) -> Iterator[tuple[float, Any]]:
        return zip(self.t.tolist(), self.u, strict=True)

    def plot(
        self, vars: Any = None, *, ax: Axes | None = None, denseplot: bool = True, **style: Any
    ) -> Axes:
        """Draw time series, or a phase plane, and return matplotlib's axes.

        Parameters
        ----------
        vars : list, int, str or tuple, optional
            What to draw: components by flat index or by name. A tuple draws one against another:
            `(0, 1)` is a phase plane, `(0, 1, 2)` a curve in space, `("t", 0)` a time series.
            A list draws each of its entries. Default: every component over time.
        ax : matplotlib Axes, optional
            Where to draw. Default: new axes.
        denseplot : bool
            Draw the interpolant where the solution has one; else straight lines between points.
        **style
            Passed on to matplotlib's `plot`.
        """
        from pysciml.plotting import plot_solution

        return plot_solution(self, vars, ax, denseplot, style)

    def to_dataframe(self) -> pd.DataFrame:
        """A pandas frame with a column `t` and one column for each component."""
        try:
            import pandas as pd
        except ImportError:
            raise ImportError(
                "to_dataframe() needs pandas: pip install 'pysciml[dataframe]'"
            ) from None
        frame = pd.DataFrame(self.u.reshape(len(self.t), -1), columns=list(self.names))
        frame.insert(0, "t", self.t)
        return frame

    def __repr__(self) -> str:
        return f"Solution({self.retcode}: {self._summary()})"

    def _repr_html_(self) -> str:
        rows = {
            "retcode": self.retcode,
            "engine, algorithm": f"{self.engine}, {self.alg}",
            "times": self._times(),
            "u": f"{self.u.shape} float64",
            "dense output": "yes" if self.has_dense else "no",
            **({} if self.seed is None else {"seed": f"{self.seed}"}),
            "right-hand sides": f"{self.stats.nf}",
            "steps": f"{self.stats.naccept} accepted, {self.stats.nreject} rejected",
        }
        if self.message:
            rows["message"] = self.message
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for key, value in rows.items()
        )
        return f"<table><caption>pysciml Solution</caption>{cells}</table>"

    def _summary(self) -> str:
        stats = self.stats
        return (
            f"{self._times()}, u {self.u.shape}, {self.alg} on {self.engine}, "
            f"{stats.naccept} steps (+{stats.nreject} rejected), {stats.nf} right-hand sides"
        )

    def _times(self) -> str:
        if not len(self.t):
            return "no time points"
        return f"{len(self.t)} time points from {self.t[0]:g} to {self.t[-1]:g}"

    @property
    def _span(self) -> tuple[float, float]:
        """The solved times as (low, high)."""
        t0, t1 = self.problem.tspan
        if self.retcode != "Success":
            t1 = float(self.t[-1]) if len(self.t) else t0
        return min(t0, t1), max(t0, t1)


def _as_query(t: Any) -> Array:
    """Times to evaluate at, as float64; of any shape."""
    times = np.asarray(t.detach().cpu() if hasattr(t, "detach") else t)
    if times.dtype.kind not in "iuf":
        raise TypeError(f"t must be a time or an array of times; got {check.describe(t)}")
    return times.astype(np.float64)


def index_names(shape: tuple[int, ...]) -> tuple[str, ...]:
    """u, or u[0], u[1], ..., or u[0, 0], u[0, 1], ..."""
    if not shape:
        return ("u",)
    return tuple(f"u[{', '.join(map(str, index))}]" for index in np.ndindex(shape))


def installed_versions(*packages: str) -> dict[str, str]:
    """Versions of Python, this package, its foundations, and the packages named."""
    found = {"python": platform.python_version()}
    for package in ("pysciml", "numpy", "torch", *packages):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "source tree"
    return found
