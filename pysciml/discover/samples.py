"""What is regressed on what: samples of a function, slopes of data, and the weak form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pysciml import validation as check
from pysciml.discover.library import Library, as_points, default_inputs, evaluate
from pysciml.engines.base import Array
from pysciml.train.data import Table, as_tables


class Regressand(Protocol):
    """Anything that gives linear equations for the coefficients of a library's terms."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def system(self, library: Library) -> tuple[tuple[Any, ...], Array, Array]:
        """Terms, their (rows, terms) matrix, and the (rows, outputs) right-hand side."""
        ...


@dataclass(frozen=True, eq=False)
class Samples:
    """Values of a function at points: a network's, or slopes.

    Parameters
    ----------
    x : (m, n) array, the inputs.
    y : (m, k) array, the values there.
    inputs, outputs : names. Default: x0, x1, ... and y0, y1, ....
    """

    x: Array
    y: Array
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        x, y = as_points(self.x, "x"), as_points(self.y, "y")
        if len(x) != len(y):
            raise ValueError(
                f"y must have one row for each of the {len(x)} of x; got {check.describe(self.y)}"
            )
        inputs = check.as_names(self.inputs or default_inputs(x.shape[1]), x.shape[1], "inputs")
        outputs = check.as_names(self.outputs or _outputs(y.shape[1]), y.shape[1], "outputs")
        for name, value in (("x", x), ("y", y), ("inputs", inputs), ("outputs", outputs)):
            object.__setattr__(self, name, value)

    def system(self, library: Library) -> tuple[tuple[Any, ...], Array, Array]:
        terms = library.terms(self.inputs)
        return terms, evaluate(terms, self.inputs, self.x), self.y


def _outputs(k: int) -> tuple[str, ...]:
    return ("y",) if k == 1 else tuple(f"y{i}" for i in range(k))


def slopes(
    data: Any, *, smoothing: float | None = None, names: Sequence[str] | None = None
) -> Samples:
    """Observed states with their slopes, from smoothing splines.

    Each component of each trajectory becomes a spline by generalised cross validation (SciPy's
    `make_smoothing_spline`); states and slopes are taken from it at the observed times, without the
    outermost twentieth at both ends, where slopes are least certain.

    Parameters
    ----------
    data : (t, u), DataFrame, Dataset, Solution, or list of these
        As for `fit`, with u of shape (len(t), n), without missing values.
    smoothing : float, optional
        The spline's penalty on curvature (SciPy's `lam`, for times with a mean distance of one); 0
        for exact data. Default: by cross validation.
    names : names of the n components. Default: the data's own, or x0, x1, ....

    Returns
    -------
    Samples
    """
    if smoothing is not None:
        check.as_nonnegative(smoothing, "smoothing")
    tables = [_complete(table) for table in as_tables(data)]
    inputs = _names(tables, names)
    parts = [_spline_slopes(table, smoothing) for table in tables]
    x, y = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Samples(x, y, inputs, _of_slopes(inputs))


@dataclass(frozen=True, eq=False)
class WeakForm:
    """du/dt = sum of terms, integrated against test functions: no slope of the data is needed.

    With a test function v that is zero at the ends of its window, integration by parts gives
    -integral v' u dt = sum of coefficients * integral v term(u) dt. Each row is divided by the norm
    of its v', so that all have equal noise. Made by `weak_form`.
    """

    tables: tuple[Table, ...]
    width: int
    order: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def system(self, library: Library) -> tuple[tuple[Any, ...], Array, Array]:
        terms = library.terms(self.inputs)
        parts = [self._rows(table, terms) for table in self.tables]
        matrix, target = (np.concatenate(each) for each in zip(*parts, strict=True))
        return terms, matrix, target

    def _rows(self, table: Table, terms: tuple[Any, ...]) -> tuple[Array, Array]:
        values, rates = _test_functions(table.t, self.width, self.order)
        size = np.linalg.norm(rates, axis=1, keepdims=True)
        return values @ evaluate(terms, self.inputs, table.u) / size, -rates @ table.u / size


def weak_form(
    data: Any, *, width: int | None = None, order: int = 8, names: Sequence[str] | None = None
) -> WeakForm:
    """The weak form of du/dt = f(u), for regression without slopes of noisy data.

    Test functions are (1 - s^2)^order on windows of observation times, s from -1 to 1 (Messenger
    and Bortz, Weak SINDy, Multiscale Model. Simul. 19 (2021) 1474-1497); integrals are by the
    trapezoidal rule, which is exact to a high order for these where the times are even.

    Parameters
    ----------
    data : as for `slopes`.
    width : observation times in a window, in which the solution should turn once or so. Default: a
        fortieth of the shortest trajectory's, and 11 at least.
    order : how smoothly the test functions end.
    names : names of the n components. Default: the data's own, or x0, x1, ....

    Returns
    -------
    WeakForm
    """
    tables = [_complete(table) for table in as_tables(data)]
    shortest = min(table.t.size for table in tables)
    chosen = (
        min(shortest, max(11, shortest // 40)) if width is None else check.as_count(width, "width")
    )
    if not 5 <= chosen <= shortest:
        raise ValueError(
            "width must be at least 5 observation times and at most those of the shortest "
            f"trajectory, {shortest}; got {chosen}"
        )
    inputs = _names(tables, names)
    return WeakForm(
        tuple(tables), chosen, check.as_count(order, "order"), inputs, _of_slopes(inputs)
    )


def _test_functions(t: Array, width: int, order: int) -> tuple[Array, Array]:
    """(windows, times) matrices that integrate v * and v' * over each window.

    Windows overlap by three quarters: closer ones would say the same again.
    """
    steps = np.gradient(t)
    steps[[0, -1]] /= 2.0
    starts = range(0, t.size - width + 1, max(1, width // 4))
    values = np.zeros((len(starts), t.size))
    rates = np.zeros_like(values)
    for row, start in enumerate(starts):
        window = slice(start, start + width)
        first, last = t[window][[0, -1]]
        half = (last - first) / 2.0
        s = (t[window] - first) / half - 1.0
        values[row, window] = (1.0 - s**2) ** order
        rates[row, window] = -2.0 * order * s * (1.0 - s**2) ** (order - 1) / half
    return values * steps, rates * steps


def _complete(table: Table) -> Table:
    """One trajectory in the order of time, nothing missing, as an (m, n) array."""
    u = table.u.reshape(len(table.u), -1)
    if np.isnan(u).any():
        raise ValueError("data must have no missing values for a regression; got NaN")
    order = np.argsort(table.t, kind="stable")
    t = table.t[order]
    if t.size < 5 or (np.diff(t) <= 0.0).any():
        raise ValueError(
            f"data must have at least 5 different times in each trajectory; got {t.size}"
            f"{'' if t.size < 5 else ', of which some are equal'}"
        )
    return Table(t, u[order], table.columns)


def _names(tables: Sequence[Table], names: Sequence[str] | None) -> tuple[str, ...]:
    n = tables[0].u.shape[1]
    for table in tables:
        if table.u.shape[1] != n:
            raise ValueError(
                f"data must have the same components in all trajectories; got {n} and "
                f"{table.u.shape[1]}"
            )
    found = check.as_names(names or tables[0].columns or default_inputs(n), n)
    assert found is not None
    return found


def _of_slopes(inputs: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"d{name}/dt" for name in inputs)


def _spline_slopes(table: Table, smoothing: float | None) -> tuple[Array, Array]:
    """States and slopes, (m, n) each."""
    from scipy.interpolate import make_smoothing_spline

    first, last = table.t[0], table.t[-1]
    distance = (last - first) / (table.t.size - 1)  # SciPy's cross validation expects about one
    margin = (last - first) / 20.0
    at = table.t[(table.t >= first + margin) & (table.t <= last - margin)] / distance
    splines = [
        make_smoothing_spline(table.t / distance, column, lam=smoothing) for column in table.u.T
    ]
    x = np.stack([spline(at) for spline in splines], axis=1)
    y = np.stack([spline.derivative()(at) for spline in splines], axis=1) / distance
    return x, y
