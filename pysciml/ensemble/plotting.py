"""Fans and phase portraits of ensembles, drawn with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.plotting import LEGEND_LINES, curve_of, entries_of, label_axes, text_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pysciml.ensemble.solution import EnsembleSolution

_CENTERS = ("median", "mean")
_BAND = 0.35  # how much colour the innermost band has
_PORTRAIT = 10  # a phase portrait draws so many times more trajectories


def plot_ensemble(
    ensemble: EnsembleSolution,
    vars: Any,
    ax: Axes | None,
    center: str | None,
    trajectories: int,
    style: dict[str, Any],
) -> Axes:
    """See `EnsembleSolution.plot`."""
    import matplotlib.pyplot as plt

    if center is None:
        center = "median" if ensemble.u is not None or 0.5 in ensemble.levels else "mean"
    if center not in _CENTERS:
        raise ValueError(f"center must be one of {', '.join(map(repr, _CENTERS))}; got {center!r}")
    if trajectories != 0:
        trajectories = check.as_count(trajectories, "trajectories")
    names = ensemble.names
    curves = [curve_of(entry, names) for entry in entries_of(vars, len(names))]
    if any(len(curve) != 2 for curve in curves):
        raise ValueError("vars must be components over time or pairs of them for an ensemble")
    if len({curve[0] == "t" for curve in curves}) > 1:
        raise ValueError("vars must all be time series or all be pairs")
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    many = len(curves) > LEGEND_LINES
    for i, curve in enumerate(curves):
        color = plt.get_cmap("viridis")(i / len(curves)) if many else f"C{i}"
        draw = _fan if curve[0] == "t" else _portrait
        draw(ax, ensemble, curve, center, trajectories, color, style)
    label_axes(ax, curves, names)
    if not many:
        ax.legend()
    return ax


def _fan(
    ax: Any,
    ensemble: EnsembleSolution,
    curve: Any,
    center: str,
    count: int,
    color: Any,
    style: dict[str, Any],
) -> None:
    """Bands of quantiles, a few trajectories, the center."""
    t, name = ensemble.t, text_of(curve[1], ensemble.names)
    pairs = _bands(ensemble.levels)
    for k, (low, high) in enumerate(pairs):
        below, above = (_component(ensemble.quantile(q), ensemble, curve[1]) for q in (low, high))
        label = f"{name}, {100 * low:g} to {100 * high:g} %"
        alpha = _BAND * (k + 1) / len(pairs)
        ax.fill_between(t, below, above, color=color, alpha=alpha, linewidth=0, label=label)
    for u in _shown(ensemble, count):
        ax.plot(t, u[:, curve[1]], color=color, linewidth=0.6, alpha=0.5)
    middle = _component(getattr(ensemble, center), ensemble, curve[1])
    ax.plot(t, middle, **{"color": color, "linewidth": 2, "label": f"{name}, {center}", **style})


def _portrait(
    ax: Any,
    ensemble: EnsembleSolution,
    curve: Any,
    center: str,
    count: int,
    color: Any,
    style: dict[str, Any],
) -> None:
    """Trajectories in a plane, with a circle at their start and a dot at their end; the center."""
    i, j = curve
    shown = _shown(ensemble, _PORTRAIT * count)
    for u in shown:
        ax.plot(u[:, i], u[:, j], color=color, linewidth=0.5, alpha=0.35)
    label = f"({text_of(i, ensemble.names)}, {text_of(j, ensemble.names)})"
    if len(shown):
        ax.scatter(
            shown[:, 0, i], shown[:, 0, j], s=14, facecolors="white", edgecolors=color, zorder=3,
            label=f"{label} at t = {ensemble.t[0]:g}",
        )  # fmt: skip
        ax.scatter(
            shown[:, -1, i], shown[:, -1, j], s=14, color=color, zorder=3,
            label=f"{label} at t = {ensemble.t[-1]:g}",
        )  # fmt: skip
    middle = getattr(ensemble, center)
    x, y = _component(middle, ensemble, i), _component(middle, ensemble, j)
    ax.plot(x, y, **{"color": "black", "linewidth": 2, "label": center, **style})


def _bands(levels: Array) -> list[tuple[float, float]]:
    """Pairs of levels, the outermost first; a median without a partner is left out."""
    ordered = np.sort(levels).tolist()
    return [(ordered[k], ordered[-1 - k]) for k in range(len(ordered) // 2)]


def _shown(ensemble: EnsembleSolution, count: int) -> Array:
    """The first trajectories that succeeded, (k, len(t), components)."""
    kept = ensemble.examples if ensemble.u is None else ensemble.u
    good = np.flatnonzero(ensemble.retcodes[: len(kept)] == "Success")[:count]
    states: Array = kept[good]
    return states.reshape(*states.shape[:2], len(ensemble.names))


def _component(states: Any, ensemble: EnsembleSolution, index: Any) -> Array:
    column: Array = states.reshape(len(ensemble.t), -1)[:, index]
    return column
