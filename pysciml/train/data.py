"""Observed trajectories: from arrays, data frames and lists of them to plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array

_FORMS = (
    "(t, u), a DataFrame with a column t, something with t and u (a Dataset, a Solution), or a "
    "list of these"
)
_TIME_COLUMNS = ("t", "time")


@dataclass(frozen=True)
class Table:
    """One trajectory as it came: times, numbers of any shape with rows first, names of columns."""

    t: Array
    u: Array
    columns: tuple[str, ...] | None


@dataclass(frozen=True)
class Trajectory:
    """Observations of one solution.

    Attributes
    ----------
    t : (rows,) array
        Times, in any order; a time may repeat.
    values : (rows, k) array
        What was observed; NaN where it is missing.
    weights : (rows, k) array
        Factor of each observation's term in the loss; zero where it is missing.
    """

    t: Array
    values: Array
    weights: Array

    @cached_property
    def times(self) -> Array:
        """The different times, increasing."""
        return np.unique(self.t)

    @cached_property
    def rows(self) -> Any:
        """Which of `times` each row belongs to."""
        return np.searchsorted(self.times, self.t)

    @cached_property
    def seen(self) -> Any:
        """(rows, k) booleans: where there is an observation."""
        return self.weights > 0.0

    def until(self, end: float) -> Trajectory:
        """What was observed up to a time."""
        kept = self.t <= end
        return Trajectory(self.t[kept], self.values[kept], self.weights[kept])


def as_tables(data: Any, name: str = "data") -> list[Table]:
    """One table for each trajectory."""
    if isinstance(data, list):
        if not data:
            raise ValueError(f"{name} must hold at least one trajectory; got an empty list")
        return [_as_table(entry, f"{name}[{i}]") for i, entry in enumerate(data)]
    return [_as_table(data, name)]


def _as_table(data: Any, name: str) -> Table:
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return _from_frame(data, name)
    if isinstance(data, tuple) and len(data) == 2:
        t, u, columns = *data, None
    elif hasattr(data, "t") and hasattr(data, "u"):
        t, u, columns = data.t, data.u, getattr(data, "names", None)
    else:
        raise TypeError(f"{name} must be {_FORMS}; got {check.describe(data)}")
    times = _times(t, name)
    values = check.as_observations(u, f"u of {name}", "real numbers, one row for each time")
    if values.ndim == 0 or len(values) != times.size:
        raise ValueError(
            f"u of {name} must have one row for each of the {times.size} times; "
            f"got {check.describe(values)}"
        )
    return Table(times, values, columns)


def _from_frame(frame: Any, name: str) -> Table:
    names = [str(column) for column in frame.columns]
    timed = [column for column in names if column.lower() in _TIME_COLUMNS]
    if timed:
        t = frame.iloc[:, names.index(timed[0])]
        names.remove(timed[0])
    elif str(frame.index.name).lower() in _TIME_COLUMNS:
        t = frame.index
    else:
        raise ValueError(
            f"{name} must have a column or an index named t or time; "
            f"got a DataFrame with the columns {names}"
        )
    columns = [frame.iloc[:, i] for i, c in enumerate(frame.columns) if str(c) in names]
    u = [
        check.as_observations(column.to_numpy(), f"column {c!r} of {name}", "real numbers")
        for c, column in zip(names, columns, strict=True)
    ]
    times = _times(t.to_numpy(), name)
    return Table(times, np.stack(u, axis=1) if u else np.zeros((len(times), 0)), tuple(names))


def _times(t: Any, name: str) -> Array:
    times = check.as_observations(t, f"t of {name}", "a vector of times")
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"t of {name} must be a vector of times; got {check.describe(t)}")
    if np.isnan(times).any():
        raise ValueError(f"t of {name} must be finite; got nan in row {np.isnan(times).argmax()}")
    return times


def as_trajectories(
    tables: Sequence[Table], shape: tuple[int, ...], weights: Any, name: str = "data"
) -> list[Trajectory]:
    """The tables as trajectories of k = prod(shape) components with weights.

    `weights`: None, a number, one for each component, of the data's shape, or a list of these.
    """
    labels = [name] if len(tables) == 1 else [f"{name}[{i}]" for i in range(len(tables))]
    each = weights if isinstance(weights, list) and len(tables) > 1 else [weights] * len(tables)
    if len(each) != len(tables):
        raise ValueError(
            f"weights must be one entry for each of the {len(tables)} trajectories; "
            f"got a list of {len(each)}"
        )
    return [
        _trajectory(table, shape, weight, label)
        for table, weight, label in zip(tables, each, labels, strict=True)
    ]


def _trajectory(table: Table, shape: tuple[int, ...], weights: Any, name: str) -> Trajectory:
    rows, k = len(table.t), int(np.prod(shape, dtype=np.int64))
    if table.u.shape[1:] != shape and table.u.shape != (rows, k) and not (k == table.u.ndim == 1):
        raise ValueError(
            f"u of {name} must have the shape {(rows, *shape)}, one row for each time; got "
            f"{check.describe(table.u)}"
        )
    values = table.u.reshape(rows, k)
    found = np.isnan(values)
    if found.all():
        raise ValueError(f"u of {name} must hold at least one number; all of it is NaN")
    factor = np.ones((rows, k)) if weights is None else _weights(weights, table.u, (rows, k))
    factor[found] = 0.0
    return Trajectory(table.t, values, factor)


def _weights(weights: Any, like: Array, shape: tuple[int, int]) -> Array:
    given = check.as_observations(weights, "weights", "numbers >= 0")
    if not (given >= 0.0).all():
        raise ValueError(f"weights must be >= 0; got {given[~(given >= 0.0)].flat[0]}")
    try:
        factor = np.broadcast_to(given, like.shape).reshape(shape).copy()
    except ValueError:
        raise ValueError(
            f"weights must be a number, one for each component, or of the data's shape "
            f"{like.shape}; got {check.describe(given)}"
        ) from None
    if not factor.any():
        raise ValueError("weights must not all be zero")
    return factor


def by_component(trajectories: Sequence[Trajectory], reduce: Callable[[Array], Any]) -> Array:
    """`reduce` of each component's observations, over all trajectories: (k,)."""
    k = trajectories[0].values.shape[1]
    columns = [
        np.concatenate([each.values[each.seen[:, i], i] for each in trajectories]) for i in range(k)
    ]
    return np.array([reduce(column) if column.size else np.nan for column in columns])
