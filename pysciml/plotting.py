"""Drawing solutions with matplotlib, which is imported when something is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pysciml.solution import Solution

_SMOOTH = 20  # points per step, so that a curve through few steps looks like one
_MOST_POINTS = 20_000
LEGEND_LINES = 12  # more lines than this get no legend
_MARKED_POINTS = 60  # up to so many saved points are marked
_MARKED_EVENTS = 200  # and up to so many times of an event
_EVENT_MARKERS = "osD^v<>ph*"

Variable = int | str  # a flat index, or "t"


def plot_solution(
    solution: Solution, vars: Any, ax: Axes | None, denseplot: bool, style: dict[str, Any]
) -> Axes:
    """See `Solution.plot`."""
    import matplotlib.pyplot as plt

    curves = [curve_of(entry, solution.names) for entry in entries_of(vars, len(solution.names))]
    dimension = len(curves[0])
    if any(len(curve) != dimension for curve in curves):
        raise ValueError("vars must all be time series, all be pairs or all be triples")
    if ax is None:
        projection = "3d" if dimension == 3 else None
        _, ax = plt.subplots(layout="constrained", subplot_kw={"projection": projection})
    times, states = _samples(solution, denseplot)
    many = len(curves) > LEGEND_LINES
    if not (many or (denseplot and solution.has_dense)) and len(times) <= _MARKED_POINTS:
        style = {"marker": "o", "markersize": 4, **style}
    for i, curve in enumerate(curves):
        look = {"color": plt.get_cmap("viridis")(i / len(curves)), **style} if many else style
        data = [times if isinstance(part, str) else states[:, part] for part in curve]
        ax.plot(*data, **{"label": _label(curve, solution.names), **look})
    marked = not many and _mark_events(solution, curves, ax)
    label_axes(ax, curves, solution.names)
    if marked or (len(curves) > 1 and not many):
        ax.legend()
    return ax


def _mark_events(solution: Solution, curves: list[tuple[Variable, ...]], ax: Axes) -> bool:
    """A hollow marker where an event found the state, of another form for each event."""
    found = False
    for i, happened in enumerate(solution.events):
        if not 0 < len(happened.t) <= _MARKED_EVENTS:
            continue
        found = True
        states = happened.before.reshape(len(happened.t), -1)
        if solution.options.save_idxs is not None:
            states = states[:, solution.options.save_idxs]
        for k, curve in enumerate(curves):
            data = [happened.t if isinstance(part, str) else states[:, part] for part in curve]
            ax.plot(
                *data,
                linestyle="",
                marker=_EVENT_MARKERS[i % len(_EVENT_MARKERS)],
                fillstyle="none",
                color="black",
                label=f"event {i}" if k == 0 else None,
            )
    return found


def entries_of(vars: Any, n: int) -> list[Any]:
    if vars is None:
        return list(range(n))
    if not isinstance(vars, list):
        return [vars]
    if not vars:
        raise ValueError("vars must name at least one component; got an empty list")
    return vars


def curve_of(entry: Any, names: tuple[str, ...]) -> tuple[Variable, ...]:
    """The coordinates of one curve: ("t", i), (i, j) or (i, j, k)."""
    if not isinstance(entry, tuple):
        return ("t", _variable(entry, names))
    if len(entry) not in (2, 3):
        raise ValueError(f"vars must have tuples of two or three components; got {entry!r}")
    return tuple(_variable(part, names) for part in entry)


def _variable(entry: Any, names: tuple[str, ...]) -> Variable:
    if isinstance(entry, str):
        if entry in names:
            return names.index(entry)
        if entry == "t":
            return "t"
        known = ("t", *names)
        raise ValueError(
            f"vars must name components of the solution; got {entry!r}"
            f"{check.did_you_mean(entry, known)}"
        )
    return int(check.as_indices(entry, len(names), "vars")[0])


def _samples(solution: Solution, denseplot: bool) -> tuple[Array, Array]:
    """Times and flat states to draw: of the interpolant if there is one."""
    times = solution.t
    if denseplot and solution.has_dense and solution.problem.is_piecewise_constant:
        states = solution.u.reshape(len(times), -1)
        return np.repeat(times, 2)[1:], np.repeat(states, 2, axis=0)[:-1]
    if denseplot and solution.has_dense and len(times) > 1:
        per_step = max(2, min(_SMOOTH, _MOST_POINTS // len(times)))
        position = np.linspace(0.0, len(times) - 1, (len(times) - 1) * per_step + 1)
        times = np.interp(position, np.arange(len(times)), times)
        times[::per_step] = solution.t
        states = solution(times).reshape(len(times), -1)
        states[::per_step] = solution.u.reshape(len(solution.t), -1)  # both sides of an event
        return times, states
    return times, solution.u.reshape(len(times), -1)


def _label(curve: tuple[Variable, ...], names: tuple[str, ...]) -> str:
    texts = [text_of(variable, names) for variable in curve]
    return texts[1] if texts[0] == "t" and len(texts) == 2 else f"({', '.join(texts)})"


def text_of(variable: Variable, names: tuple[str, ...]) -> str:
    return variable if isinstance(variable, str) else names[variable]


def label_axes(ax: Any, curves: list[tuple[Variable, ...]], names: tuple[str, ...]) -> None:
    """Each axis is named by what runs along it, when that is one thing."""
    setters = [ax.set_xlabel, ax.set_ylabel] + ([ax.set_zlabel] if len(curves[0]) == 3 else [])
    for axis, setter in enumerate(setters):
        along = {text_of(curve[axis], names) for curve in curves}
        setter(along.pop() if len(along) == 1 else "state")
