"""compare(): the same problem on every engine, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import engines as registry
from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.errors import PyscimlError, UnsupportedError
from pysciml.options import save_times
from pysciml.problems import ODEProblem
from pysciml.solution import Solution
from pysciml.solve import solve
from pysciml.timing import best_time

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_COMPARED_TIMES = 100
_REFERENCE_RTOL = 1e-13
_REFERENCE_ATOL = 1e-14
_EXPLICIT_CALLS = 30_000  # a problem that needs more for its reference is taken to be stiff


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    table : list of dict
        One entry for each run: engine, alg, abstol, reltol, seconds (the fastest of several runs),
        first_seconds (with compilation), error, nf, steps, retcode, note. `error` is the largest
        error of a component over the compared times, relative to that component's largest value.
    unavailable : dict
        Engines that did not run, with the reason.
    reference : str
        What the errors are measured against.
    """

    table: list[dict[str, Any]]
    unavailable: dict[str, str]
    reference: str

    def to_dataframe(self) -> pd.DataFrame:
        """The table as a pandas frame."""
        try:
            import pandas as pd
        except ImportError:
            raise ImportError(
                "to_dataframe() needs pandas: pip install 'pysciml[dataframe]'"
            ) from None
        return pd.DataFrame(self.table)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Work against precision: time over error, one line for each method. Returns the axes."""
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        for (engine, alg), rows in self._methods().items():
            errors = [row["error"] for row in rows]
            ax.loglog(errors, [row["seconds"] for row in rows], "o-", label=f"{engine}: {alg}")
        ax.set_xlabel("largest relative error")
        ax.set_ylabel("time of one solve [s]")
        ax.grid(True, which="major", alpha=0.3)
        if ax.lines:
            ax.legend()
        return ax

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def _methods(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """Successful rows with an error that can be drawn, by method, the loosest first."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self.table:
            if row["retcode"] == "Success" and row["error"] > 0.0:
                found.setdefault((row["engine"], row["alg"]), []).append(row)
        return {
            key: sorted(rows, key=lambda row: -float(np.max(row["reltol"])))
            for key, rows in found.items()
        }


def compare(
    problem: ODEProblem,
    engines: Sequence[str] = ("julia", "native", "torch"),
    algs: str | Sequence[str | None] | Mapping[str, Any] | None = None,
    *,
    abstol: Any = None,
    reltol: Any = (1e-3, 1e-6, 1e-9),
    saveat: Any = None,
    reference: Solution | Callable[[Array], Any] | None = None,
    show: bool = True,
    **options: Any,
) -> Comparison:
    """Solve a problem on every engine that is there, with several methods and tolerances.

    Parameters
    ----------
    problem : ODEProblem
    engines : list of str
        Those that are not available are listed with the reason.
    algs : str, list of str, or dict from engine to such a list, optional
        Methods to run. Default: the default of each engine.
    abstol, reltol : float or list of float
        Tolerances, taken in pairs. Default of `abstol`: the same as `reltol`.
    saveat : number or array, optional
        Times of comparison, as in `solve`. Default: 100 equal steps.
    reference : Solution with dense output, or callable of times, optional
        What to measure errors against. Default: SciPy's DOP853, or Radau for a stiff problem, at
        a relative tolerance of 1e-13, on a plain NumPy evaluation of the captured function.
    show : bool
        Print the table.
    **options
        Passed on to `solve`.

    Returns
    -------
    Comparison
    """
    if not isinstance(problem, ODEProblem):
        raise TypeError(f"problem must be an ODEProblem; got {check.describe(problem)}")
    names = _engine_names(engines)
    methods = _methods_of(names, algs)
    tolerances = _tolerance_pairs(abstol, reltol)
    times = save_times(_steps(problem) if saveat is None else saveat, problem.tspan)
    if reference is None and (problem.events or options.get("events")):
        raise ValueError(
            "reference must be given for a problem with events, which SciPy cannot let change the "
            "state; pass a solution with dense output"
        )
    exact, source = _reference(problem, times, reference)

    table: list[dict[str, Any]] = []
    unavailable: dict[str, str] = {}
    for name in names:
        state = registry.availability(name)
        if not state.ready:
            remedy = f" ({state.remedy})" if state.remedy else ""
            unavailable[name] = f"{state.reason}{remedy}"
            continue
        for alg in methods[name]:
            for tols in tolerances:
                keywords = {"saveat": times, "abstol": tols[0], "reltol": tols[1], **options}
                run: Callable[[], Any] = partial(
                    solve, problem, alg, name, raise_on_failure=False, **keywords
                )
                table.append({**_row(name, alg, tols), **_measure(run, exact)})
    comparison = Comparison(table, unavailable, source)
    if show:
        print(comparison)
    return comparison


def _row(name: str, alg: str | None, tols: tuple[float, float]) -> dict[str, Any]:
    return {"engine": name, "alg": alg or "default", "abstol": tols[0], "reltol": tols[1]}


def _measure(run: Callable[[], Solution], exact: Array) -> dict[str, Any]:
    """Time, error and work of one method at one tolerance."""
    start = perf_counter()
    try:
        solution = run()
    except UnsupportedError as error:
        return _nothing("Unsupported", str(error))
    except PyscimlError as error:
        return _nothing("Failure", str(error))
    first = perf_counter() - start
    if solution.retcode != "Success":
        return {**_nothing(solution.retcode, solution.message), "alg": solution.alg}
    return {
        "alg": solution.alg,
        "seconds": best_time(run),
        "first_seconds": first,
        "error": relative_error(solution.u, exact),
        "nf": solution.stats.nf,
        "steps": solution.stats.naccept,
        "retcode": solution.retcode,
        "note": "",
    }


def _nothing(retcode: str, note: str) -> dict[str, Any]:
    nan = float("nan")
    empty = {"seconds": nan, "first_seconds": nan, "error": nan, "nf": 0, "steps": 0}
    return {**empty, "retcode": retcode, "note": note}


def relative_error(u: Array, exact: Array) -> float:
    """Largest error of a component over time, relative to that component's largest value."""
    exact = exact.reshape(len(exact), -1)
    error = np.abs(u.reshape(len(u), -1) - exact).max(axis=0)
    scale = np.abs(exact).max(axis=0)
    return float((error / np.where(scale > 0.0, scale, 1.0)).max())


def reference_states(problem: ODEProblem, times: Array) -> tuple[Array, str]:
    """Flat states at times by SciPy at 1e-13, which shares no code with the engines."""
    from scipy.integrate import solve_ivp

    model, p = problem.model, problem.p_flat
    mass = _inverse_mass(problem)
    calls = 0

    def f(t: float, u: Array) -> Array:
        nonlocal calls
        calls += 1
        if limited and calls > _EXPLICIT_CALLS:
            raise _TooManyCalls
        du = model.f(u, p, t)
        return du if mass is None else mass @ du

    def jac(t: float, u: Array) -> Array:
        j = model.jac(u, p, t)
        return j if mass is None else mass @ j

    t0 = problem.tspan[0]
    end = float(times[-1])
    keywords = {"t_eval": times, "rtol": _REFERENCE_RTOL, "atol": _REFERENCE_ATOL}
    if end == t0:
        return problem.u0_flat[None].copy(), "u0"
    limited, method = True, "DOP853"
    try:
        result = solve_ivp(f, (t0, end), problem.u0_flat, method=method, **keywords)
    except _TooManyCalls:
        limited, method = False, "Radau"
        result = solve_ivp(f, (t0, end), problem.u0_flat, method=method, jac=jac, **keywords)
    if not result.success:
        raise ValueError(
            f"no reference: SciPy's {method} says {result.message!r}; pass reference=..., "
            "a solution with dense output that you trust"
        )
    return np.ascontiguousarray(result.y.T), f"SciPy {method} at rtol={_REFERENCE_RTOL:g}"


class _TooManyCalls(Exception):
    """The explicit reference method is not getting anywhere."""


def _inverse_mass(problem: ODEProblem) -> Array | None:
    matrix = problem.mass_matrix
    if matrix is None:
        return None
    if np.linalg.matrix_rank(matrix) < len(matrix):
        raise ValueError(
            "reference must be given for a differential-algebraic equation (the mass matrix is "
            "singular, which SciPy's solvers cannot treat); pass a solution with dense output"
        )
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _reference(problem: ODEProblem, times: Array, reference: Any) -> tuple[Array, str]:
    if reference is None:
        return reference_states(problem, times)
    if not callable(reference):
        raise TypeError(
            "reference must be a Solution with dense output or a function of the times; "
            f"got {check.describe(reference)}"
        )
    states = np.asarray(reference(times), dtype=np.float64)
    if states.shape != (len(times), *problem.u0.shape):
        raise ValueError(
            f"reference must give an array of shape {(len(times), *problem.u0.shape)}; got "
            f"{check.describe(states)}"
        )
    source = f"{reference!r}" if isinstance(reference, Solution) else "the reference given"
    return states, source


def _steps(problem: ODEProblem) -> float:
    t0, t1 = problem.tspan
    return abs(t1 - t0) / _COMPARED_TIMES


def _engine_names(engines: Any) -> list[str]:
    names = [engines] if isinstance(engines, str) else list(engines)
    if not names:
        raise ValueError("engines must name at least one engine; got none")
    for name in names:
        registry.check_name(name)
    return names


def _methods_of(names: list[str], algs: Any) -> dict[str, list[str | None]]:
    """The methods to run on each engine; None is the engine's default."""
    if isinstance(algs, Mapping):
        for name in algs:
            if name not in names:
                raise ValueError(
                    f"algs must have engines as keys ({', '.join(names)}); got {name!r}"
                    f"{check.did_you_mean(str(name), names)}"
                )
        return {name: _method_list(algs.get(name)) for name in names}
    return {name: _method_list(algs) for name in names}


def _method_list(algs: Any) -> list[str | None]:
    if algs is None or isinstance(algs, str):
        return [algs]
    methods = list(algs) if isinstance(algs, (list, tuple)) else []
    if not methods or not all(alg is None or isinstance(alg, str) for alg in methods):
        raise TypeError(
            "algs must be the name of a method, a list of names, or a dict from engine to list; "
            f"got {check.describe(algs)}"
        )
    return methods


def _tolerance_pairs(abstol: Any, reltol: Any) -> list[tuple[float, float]]:
    rel = [check.as_positive(tol, "reltol") for tol in np.atleast_1d(reltol)]
    if abstol is None:
        return [(tol, tol) for tol in rel]
    given = [check.as_positive(tol, "abstol") for tol in np.atleast_1d(abstol)]
    count = max(len(rel), len(given))
    if {len(rel), len(given)} - {1, count}:
        raise ValueError(
            f"abstol and reltol must have the same length; got {len(given)} and {len(rel)}"
        )
    return list(zip(given * (count // len(given)), rel * (count // len(rel)), strict=True))


def format_time(seconds: float) -> str:
    """A time with a unit that suits it."""
    if not np.isfinite(seconds):
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _lines(comparison: Comparison) -> Iterator[str]:
    head = ("engine", "algorithm", "abstol", "reltol", "time", "first", "error", "calls", "retcode")
    cells = [head]
    for row in comparison.table:
        cells.append(
            (
                row["engine"],
                row["alg"],
                f"{row['abstol']:.0e}",
                f"{row['reltol']:.0e}",
                format_time(row["seconds"]),
                format_time(row["first_seconds"]),
                f"{row['error']:.1e}" if np.isfinite(row["error"]) else "-",
                f"{row['nf']}" if row["nf"] else "-",
                row["retcode"],
            )
        )
    yield from columns(cells, left=2)
    for row in comparison.table:
        if row["note"]:
            yield f"{row['engine']} {row['alg']}: {row['note']}"
    for name, reason in comparison.unavailable.items():
        yield f"{name}: not available, {reason}"
    yield f"errors against {comparison.reference}; times are the fastest of several runs"


def columns(rows: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    """Rows as aligned text; the first `left` columns are flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
