"""`pysciml demo`: a predator-prey model fitted to a hundred-year-old data set.

The four rates of the Lotka-Volterra equations and the two populations of 1900 are fitted to the
pelts of lynx and hare by least squares on the logarithms, the scale on which counts of animals
scatter evenly. The solver also integrates the exact derivatives of the solution with respect to
all six quantities (forward sensitivities; Hairer, Norsett, Wanner, Solving ODEs I, section I.14).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import engines
from pysciml.compare import columns, format_time
from pysciml.datasets import Dataset, lynx_hare
from pysciml.engines.base import Array
from pysciml.problems import ODEProblem
from pysciml.solution import Solution
from pysciml.solve import solve
from pysciml.timing import best_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = ("alpha", "beta", "gamma", "delta", "hare(1900)", "lynx(1900)")
UNITS = ("1/year", "1/(year · 1000 lynx)", "1/year", "1/(year · 1000 hare)", "1000", "1000")
# posterior means of a Bayesian fit of the same model to the same data:
# B. Carpenter, Predator-Prey Population Dynamics, Stan case study (2018)
PUBLISHED = (0.55, 0.028, 0.80, 0.024, None, None)
_N_RATES = 4
_TOLERANCE = 1e-8


def lotka_volterra(u: Any, p: Any, t: Any) -> Any:
    """Hares grow at the rate alpha and are eaten; lynx die at the rate gamma and eat."""
    import torch

    hare, lynx = u[0], u[1]
    alpha, beta, gamma, delta = p[0], p[1], p[2], p[3]
    return torch.stack([(alpha - beta * lynx) * hare, (delta * hare - gamma) * lynx])


def with_sensitivities(z: Any, p: Any, t: Any) -> Any:
    """The model and its derivatives: z[0] is the state u, z[k] is du/d(k-th fitted quantity).

    With J = df/du and the parameter derivatives F = df/dp, each derivative s obeys
    ds/dt = J s + F_k, where F_k is zero for the initial state.
    """
    import torch

    u = z[0]
    jacobian = torch.func.jacrev(lambda u: lotka_volterra(u, p, t))(u)
    by_rates = torch.func.jacrev(lambda p: lotka_volterra(u, p, t))(p)
    by_start = torch.zeros(2, 2, dtype=z.dtype)
    forcing = torch.cat([by_rates, by_start], dim=1)
    change = jacobian @ z[1:].T + forcing
    return torch.cat([lotka_volterra(u, p, t).reshape(1, 2), change.T])


@dataclass(frozen=True)
class Fit:
    """Estimates of the six quantities in `NAMES`, with standard errors."""

    estimates: Array
    errors: Array
    scatter: float  # standard deviation of the logarithms about the fit
    engine: str
    alg: str
    solves: int
    problem: ODEProblem  # the plain model at the estimates, in years since 1900


def fit(data: Dataset, engine: str = "auto") -> Fit:
    """Least squares on the logarithms of the data."""
    from scipy.optimize import least_squares

    t = data.t - data.t[0]
    log_data = np.log(data.u)
    tspan = (0.0, float(t[-1]))
    template = ODEProblem(with_sensitivities, np.zeros((7, 2)), tspan, np.ones(_N_RATES))
    solutions: list[Solution] = []
    solved_at = np.empty(0)

    def run(theta: Array) -> Solution:
        nonlocal solved_at
        if np.array_equal(theta, solved_at):  # derivatives at the point of the last residuals
            return solutions[-1]
        problem = _at(template, np.exp(theta))
        solution = solve(problem, None, engine, t, abstol=_TOLERANCE, reltol=_TOLERANCE)
        solutions.append(solution)
        solved_at = theta.copy()
        return solution

    def residuals(theta: Array) -> Array:
        return (np.log(run(theta).u[:, 0]) - log_data).ravel()

    def jacobian(theta: Array) -> Array:
        u = run(theta).u
        by_quantity = u[:, 1:] / u[:, :1]  # d log u / d quantity
        by_log = by_quantity * np.exp(theta)[:, None]
        return np.moveaxis(by_log, 1, 2).reshape(-1, len(theta))

    best = least_squares(residuals, np.log(first_guess(data)), jac=jacobian, method="lm")
    estimates = np.exp(best.x)
    variance = 2.0 * best.cost / (best.fun.size - best.x.size)
    covariance = variance * np.linalg.inv(best.jac.T @ best.jac)
    last = solutions[-1]
    return Fit(
        estimates=estimates,
        errors=estimates * np.sqrt(np.diag(covariance)),
        scatter=float(np.sqrt(variance)),
        engine=last.engine,
        alg=last.alg,
        solves=len(solutions),
        problem=ODEProblem(
            lotka_volterra,
            estimates[_N_RATES:],
            tspan,
            estimates[:_N_RATES],
            names=data.names,
        ),
    )


def first_guess(data: Dataset) -> Array:
    """Rates by linear regression: d log(hare)/dt = alpha - beta lynx, and the like for lynx."""
    slopes = np.gradient(np.log(data.u), data.t, axis=0)
    minus_beta, alpha = np.polyfit(data.u[:, 1], slopes[:, 0], 1)
    delta, minus_gamma = np.polyfit(data.u[:, 0], slopes[:, 1], 1)
    return np.array([alpha, -minus_beta, -minus_gamma, delta, *data.u[0]])


def _at(template: ODEProblem, quantities: Array) -> ODEProblem:
    """The augmented problem at given rates and initial populations."""
    z0 = np.zeros((7, 2))
    z0[0] = quantities[_N_RATES:]
    z0[1 + _N_RATES :] = np.eye(2)  # du(0)/du(0)
    return template.remake(u0=z0, p=quantities[:_N_RATES])


def run(
    output: str | Path = "output", engine: str = "auto", write: Callable[[str], None] = print
) -> Fit:
    """Fit, print the table and the times, and write the picture to `output`/lynx_hare.png."""
    data = lynx_hare()
    write("Lynx and hare pelts of the Hudson's Bay Company, 1900-1920, in thousands")
    write(f"Source: {data.source}\n")
    result = fit(data, engine)
    for line in table(result):
        write(line)
    write(
        f"\nResidual scatter {result.scatter:.2f} (natural log); {result.solves} solves with exact "
        f"derivatives by {result.alg} on the {result.engine} engine."
    )
    write("\nThe same solve of the fitted model on each engine:")
    for line in engine_times(result.problem):
        write(line)
    path = Path(output) / "lynx_hare.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(data, result, engine).savefig(path, dpi=150)
    write(f"\nPicture: {path}")
    return result


def table(result: Fit) -> list[str]:
    """The estimates beside the published ones."""
    rows = [("", "estimate", "std. error", "published", "unit")]
    for name, estimate, error, published, unit in zip(
        NAMES, result.estimates, result.errors, PUBLISHED, UNITS, strict=True
    ):
        known = "" if published is None else f"{published:g}"
        rows.append((name, f"{estimate:.3g}", f"{error:.1g}", known, unit))
    lines = list(columns(rows, left=1))
    return [*lines, "published: posterior means, Carpenter, Stan case study (2018)"]


def engine_times(problem: ODEProblem) -> list[str]:
    """How long each engine takes, or why it is not there."""
    lines = []
    for name in engines.NAMES:
        state = engines.availability(name)
        if not state.ready:
            remedy = f". To get it: {state.remedy}" if state.remedy else ""
            lines.append(f"  {name:<7} not available: {state.reason}{remedy}")
            continue

        def call(name: str = name) -> Solution:
            return solve(problem, None, name, 1.0, _TOLERANCE, _TOLERANCE)

        alg = call().alg
        lines.append(f"  {name:<7} {format_time(best_time(call)):>8}  {alg}")
    return lines


def draw(data: Dataset, result: Fit, engine: str = "auto") -> Any:
    """Data and fit over time, and in the phase plane. Returns matplotlib's figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)  # draws to files anywhere, and leaves pyplot's windows alone
    over_time, phase = figure.subplots(1, 2, width_ratios=(1.6, 1.0))
    t = np.linspace(*result.problem.tspan, 400)
    u = solve(result.problem, None, engine, t, _TOLERANCE, _TOLERANCE).u
    for k, (name, colour) in enumerate(zip(data.names, ("tab:blue", "tab:red"), strict=True)):
        over_time.plot(data.t[0] + t, u[:, k], color=colour, label=f"{name}, fit")
        over_time.plot(data.t, data.u[:, k], "o", color=colour, label=f"{name}, data")
    over_time.set_xlabel(data.units[0])
    over_time.set_ylabel(data.units[1])
    over_time.set_xticks(np.arange(1900, 1921, 4))
    over_time.set_title("Hudson's Bay Company pelts")
    over_time.set_ylim(0.0, 1.25 * data.u.max())  # room for the legend above the data
    over_time.legend(ncols=2, loc="upper center")
    _draw_phase_plane(phase, data, u)
    return figure


def _draw_phase_plane(ax: Axes, data: Dataset, u: Array) -> None:
    ax.plot(data.u[:, 0], data.u[:, 1], ":", color="0.6", linewidth=1)
    points = ax.scatter(data.u[:, 0], data.u[:, 1], c=data.t, cmap="viridis", zorder=3)
    ax.plot(u[:, 0], u[:, 1], color="black", label="fit")
    bar = ax.figure.colorbar(points, ax=ax, label=data.units[0])
    bar.set_ticks([1900, 1905, 1910, 1915, 1920])
    ax.set_xlabel(f"{data.names[0]} [{data.units[1]}]")
    ax.set_ylabel(f"{data.names[1]} [{data.units[1]}]")
    ax.set_title("Phase plane")
    ax.legend()
