"""`FitResult`: what a fit found, how it got there, and what it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.problems import DDEProblem, ODEProblem
from pysciml.train.checkpoint import read, write
from pysciml.train.data import Trajectory
from pysciml.train.loop import Rows, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KIND = "fit result"
_DRAWN = 8  # components that a plot has room for


@dataclass(frozen=True)
class History:
    """The loss at each iteration, of all starts and phases one after another.

    Attributes
    ----------
    loss : (iterations,) of the phase's own objective; compare within a phase.
    validation : loss of the validation data; NaN where it was not looked at.
    start, phase, stage : number of the start, phase and optimiser of each iteration.
    seconds : since the fit began.
    phases : names of the phases; the last one is the plain fit.
    """

    loss: Array
    validation: Array
    start: Any
    phase: Any
    stage: Any
    seconds: Array
    phases: tuple[str, ...]

    @staticmethod
    def of(run: Run) -> History:
        """What a run did so far."""
        count = run.position.rows
        columns = {
            each.name: np.array(getattr(run.rows, each.name)[:count]) for each in fields(Rows)
        }
        return History(**columns, phases=tuple(phase.name for phase in run.phases))

    def __len__(self) -> int:
        return len(self.loss)


@dataclass(frozen=True)
class Curve:
    """The fitted observations of one trajectory, finely: times (m,) and (m, k) values."""

    t: Array
    y: Array


@dataclass
class FitResult:
    """What a fit found.

    Attributes
    ----------
    p : fitted parameters, in the structure of the problem's; a dict by name when the result was
        loaded without its problem.
    u0 : initial state of each trajectory, (trajectories, *u0.shape).
    noise : fitted standard deviations of the noise, one for each component; empty when none were.
    loss : its lowest value.
    history : see `History`.
    message : how it ended.
    data : the observed trajectories; empty, as all that follows of them, where the model brings a
        loss of its own.
    fitted : for each of them, (rows, k) predictions.
    curves : for each of them, the prediction over time.
    names : of the k observed components.
    quantities : fitted values by name, of parameters that were not fixed, then of fitted u0.
    seed, engine, alg, versions : what computed it.
    """

    p: Any
    p_flat: Array
    p_names: list[str]
    u0: Array
    noise: Array
    loss: float
    history: History
    message: str
    data: Sequence[Trajectory]
    fitted: Sequence[Array]
    curves: Sequence[Curve]
    names: tuple[str, ...]
    quantities: dict[str, float]
    seed: int
    engine: str
    alg: str
    versions: dict[str, str]
    _problems: tuple[ODEProblem, ...] = ()
    _covariance: Array | None = None
    _compute_covariance: Callable[[], Array] | None = field(default=None, repr=False)

    @property
    def problems(self) -> tuple[ODEProblem, ...]:
        """The fitted model, ready to solve, from the initial state of each trajectory."""
        if not self._problems:
            raise ValueError(
                f"a {self.alg} has a loss of its own and is no problem; see model.fitted(result)"
                if not len(self.u0)
                else "this result was loaded without its problem, whose function is not in the "
                "file: pass the problem, FitResult.load(path, problem)"
            )
        return self._problems

    @property
    def problem(self) -> ODEProblem:
        """The fitted model, ready to solve, from the (first) initial state."""
        return self.problems[0]

    @property
    def residuals(self) -> list[Array]:
        """Data minus prediction of each trajectory, (rows, k); NaN where data are missing."""
        return [each.values - y for each, y in zip(self.data, self.fitted, strict=True)]

    def covariance(self) -> Array:
        """Covariance of `quantities`, in their order, from the Fisher information.

        Raises
        ------
        ValueError
            The loss is no likelihood (MSE counts as Gaussian), the data are too few or leave
            something undetermined, or the result was loaded and had none.
        """
        if self._covariance is None:
            if self._compute_covariance is None:
                raise ValueError(
                    "this result was saved without its covariance: call covariance() before save()"
                )
            self._covariance = self._compute_covariance()
        return self._covariance

    def standard_errors(self) -> dict[str, float]:
        """Square roots of the variances of `quantities`, by name."""
        errors = np.sqrt(np.diag(self.covariance()))
        return dict(zip(self.quantities, errors.tolist(), strict=True))

    def plot(self) -> Figure:
        """Draw data with fit, residuals and the loss, and return matplotlib's figure."""
        import matplotlib.pyplot as plt

        from pysciml.train.progress import draw_losses

        if not self.data:  # of a model that is no problem
            figure, ax = plt.subplots(layout="constrained")
            draw_losses(ax, self.history.loss)
            ax.set_title(f"loss {self.loss:.4g}")
            return figure
        figure = plt.figure(figsize=(11, 6), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(1.6, 1.0))
        over_time, below = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
        self._draw_fit(over_time)
        self._draw_residuals(below)
        below.sharex(over_time)
        losses = figure.add_subplot(grid[:, 1])
        draw_losses(losses, self.history.loss)
        self._mark_phases(losses)
        losses.set_title(f"loss {self.loss:.4g}")
        return figure

    def _draw_fit(self, ax: Any) -> None:
        for i, name in enumerate(self.names[:_DRAWN]):
            for k, (each, curve) in enumerate(zip(self.data, self.curves, strict=True)):
                ax.plot(each.t, each.values[:, i], "o", color=f"C{i}", markersize=4, alpha=0.6)
                ax.plot(curve.t, curve.y[:, i], color=f"C{i}", label=None if k else name)
        ax.set_xlabel("t")
        ax.set_ylabel("data (points), fit (lines)")
        ax.legend()

    def _draw_residuals(self, ax: Any) -> None:
        ax.axhline(0.0, color="0.7", linewidth=1)
        for each, residual in zip(self.data, self.residuals, strict=True):
            for i in range(min(len(self.names), _DRAWN)):
                ax.plot(each.t, residual[:, i], "o", color=f"C{i}", markersize=4)
        ax.set_xlabel("t")
        ax.set_ylabel("data - fit")

    def _mark_phases(self, ax: Any) -> None:
        """A line where one phase ends and the next begins."""
        for end in np.flatnonzero(np.diff(self.history.phase) != 0):
            ax.axvline(end + 0.5, color="0.7", linewidth=1, linestyle="--")

    def save(self, path: str | Path) -> Path:
        """Write everything but the model's code to one npz file; returns its path.

        `FitResult.load(path, problem)` reads it. Nothing in it is pickled.
        """
        target = _npz(path)
        facts = {
            "kind": _KIND,
            "names": self.names,
            "p_names": self.p_names,
            "quantities": self.quantities,
            "phases": self.history.phases,
            **{name: getattr(self, name) for name in _FACTS},
        }
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ("p_flat", "u0", "noise")}
        if self._covariance is not None:
            arrays["covariance"] = self._covariance
        columns = asdict(self.history)
        del columns["phases"]
        arrays |= {f"history.{name}": column for name, column in columns.items()}
        for i, (each, y, curve) in enumerate(zip(self.data, self.fitted, self.curves, strict=True)):
            parts = (each.t, each.values, each.weights, y, curve.t, curve.y)
            arrays |= {f"{name}.{i}": x for name, x in zip(_PER_TRAJECTORY, parts, strict=True)}
        write(target, facts, arrays)
        return target

    @staticmethod
    def load(path: str | Path, problem: ODEProblem | None = None) -> FitResult:
        """Read what `save` wrote.

        Parameters
        ----------
        path : the file.
        problem : the model that was fitted, for `problem` and for the structure of `p`.

        Raises
        ------
        FileNotFoundError, ValueError
            There is no such file, it is something else, or its parameters are not the problem's.
        """
        facts, arrays = read(_npz(path), _KIND)
        parts = [
            [arrays[f"{name}.{i}"] for name in _PER_TRAJECTORY] for i in range(len(arrays["u0"]))
        ]
        history = {
            name.removeprefix("history."): column
            for name, column in arrays.items()
            if name.startswith("history.")
        }
        data, curves = (
            [Trajectory(*part[:3]) for part in parts],
            [Curve(*part[4:]) for part in parts],
        )
        p_flat, u0 = arrays["p_flat"], arrays["u0"]
        problems: tuple[ODEProblem, ...] = ()
        if problem is not None:
            _require_same_model(problem, facts["p_names"], u0.shape[1:])
            problems = fitted_problems(problem, p_flat, u0, curves)
        return FitResult(
            p=problems[0].p if problems else _by_name(facts["p_names"], p_flat),
            p_flat=p_flat,
            p_names=facts["p_names"],
            u0=u0,
            noise=arrays["noise"],
            history=History(**history, phases=tuple(facts["phases"])),
            data=data,
            fitted=[part[3] for part in parts],
            curves=curves,
            names=tuple(facts["names"]),
            quantities=facts["quantities"],
            _problems=problems,
            _covariance=arrays.get("covariance"),
            **{name: facts[name] for name in _FACTS},
        )

    def __repr__(self) -> str:
        return (
            f"FitResult(loss {self.loss:.6g}, {len(self.history)} iterations, {self.alg} on "
            f"{self.engine}: {self.message})"
        )


_FACTS = ("loss", "message", "seed", "engine", "alg", "versions")
_PER_TRAJECTORY = ("t", "values", "weights", "fitted", "curve.t", "curve.y")


def _npz(path: str | Path) -> Path:
    target = Path(path)
    return target if target.suffix == ".npz" else target.with_name(f"{target.name}.npz")


def _by_name(names: Sequence[str], flat: Array) -> dict[str, float]:
    return dict(zip(names, flat.tolist(), strict=True))


def _require_same_model(problem: Any, p_names: Sequence[str], shape: tuple[int, ...]) -> None:
    if not isinstance(problem, (ODEProblem, DDEProblem)):
        raise TypeError(
            f"problem must be an ODEProblem or a DDEProblem; got {check.describe(problem)}"
        )
    names = problem.model.parameters.names
    if names != p_names or problem.u0.shape != shape:
        raise ValueError(
            f"problem must have the parameters and the state of the fit, {len(p_names)} parameters "
            f"and u0 of shape {shape}; got {len(names)} parameters and u0 of shape "
            f"{problem.u0.shape}"
        )


def fitted_problems(
    problem: ODEProblem, p_flat: Array, u0: Array, curves: Sequence[Curve]
) -> tuple[ODEProblem, ...]:
    """The model at what was found, over the time of each trajectory."""
    return tuple(
        problem.remake(tspan=(float(curve.t[0]), float(curve.t[-1]))).at(
            start.reshape(-1).copy(), p_flat.copy()
        )
        for start, curve in zip(u0, curves, strict=True)
    )
