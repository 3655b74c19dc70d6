"""`pysciml bench`: Lotka-Volterra side by side with the other packages that are installed.

Each package solves the same problem as its own users would write it, and returns the same 101
states. The time is that of one warm solve, the fastest of several runs, called from Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from pysciml import engines
from pysciml.compare import columns, format_time, relative_error
from pysciml.engines.base import Array
from pysciml.problems import ODEProblem
from pysciml.solve import solve
from pysciml.timing import best_time

U0 = (1.0, 1.0)
P = (1.5, 1.0, 3.0, 1.0)
TSPAN = (0.0, 10.0)
STEP = 0.1
TOLERANCE = 1e-6

Run = Callable[[], Any]  # returns the (101, 2) states


class NotInstalled(Exception):
    """A competitor that is not here; the message says what is missing."""


def lotka_volterra(u: Any, p: Any, t: Any) -> Any:
    """Prey and predator (Lotka 1925, Volterra 1926)."""
    x, y = u[0], u[1]
    return [p[0] * x - p[1] * x * y, p[3] * x * y - p[2] * y]


def run(write: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Measure all that is installed, write a table, and return it."""
    write(f"Lotka-Volterra to t = {TSPAN[1]:g}, saved every {STEP:g}, tolerances {TOLERANCE:g}")
    exact = _exact()
    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    for name, make in _competitors():
        try:
            call = make()
        except NotInstalled as error:
            missing.append(f"{name}: {error}")
            continue
        states = np.asarray(call())  # compiles, where that is needed
        rows.append(
            {"name": name, "seconds": best_time(call), "error": relative_error(states, exact)}
        )
    rows.sort(key=lambda row: row["seconds"])
    fastest = rows[0]["seconds"]
    cells = [("", "time", "ratio", "error")]
    for row in rows:
        row["ratio"] = row["seconds"] / fastest
        cells.append(
            (
                row["name"],
                format_time(row["seconds"]),
                f"{row['ratio']:.4g}",
                f"{row['error']:.1e}",
            )
        )
    for line in columns(cells, left=1):
        write(line)
    for line in missing:
        write(f"not measured: {line}")
    return rows


def _competitors() -> Iterator[tuple[str, Callable[[], Run]]]:
    for engine in engines.NAMES:
        alg = "dopri5" if engine == "torch" else "Tsit5"
        yield f"pysciml {engine}, {alg}", partial(_pysciml, engine, alg)
    yield "SciPy RK45, plain Python", partial(_scipy, "RK45")
    yield "SciPy RK45, Numba", partial(_scipy, "RK45", compiled=True)
    yield "SciPy LSODA, Numba", partial(_scipy, "LSODA", compiled=True)
    yield "torchdiffeq dopri5", _torchdiffeq
    yield "diffrax Tsit5, jitted", _diffrax
    yield "diffeqpy Tsit5, Python function", _diffeqpy


def _times() -> Array:
    return np.linspace(*TSPAN, round((TSPAN[1] - TSPAN[0]) / STEP) + 1)


def _exact() -> Array:
    return np.asarray(_scipy("DOP853", tolerance=1e-13)())


def _require(*packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            raise NotInstalled(f"pip install {package}")


def _pysciml(engine: str, alg: str) -> Run:
    state = engines.availability(engine)
    if not state.ready:
        raise NotInstalled(f"{state.reason}. {state.remedy}".rstrip(". "))
    problem = ODEProblem(lotka_volterra, U0, TSPAN, P)
    return lambda: solve(problem, alg, engine, STEP, TOLERANCE, TOLERANCE).u


def _scipy(method: str, compiled: bool = False, tolerance: float = TOLERANCE) -> Run:
    from scipy.integrate import solve_ivp

    def rhs(t: float, u: Array, *p: float) -> Any:
        x, y = u
        a, b, c, d = p
        return [a * x - b * x * y, d * x * y - c * y]

    f = _numba_rhs() if compiled else rhs
    times = _times()

    def call() -> Any:
        return solve_ivp(f, TSPAN, U0, method, times, args=P, rtol=tolerance, atol=tolerance).y.T

    return call


def _numba_rhs() -> Any:
    _require("numba")
    import numba

    @numba.njit
    def f(t, u, a, b, c, d):  # type: ignore[no-untyped-def]
        du = np.empty(2)
        du[0] = a * u[0] - b * u[0] * u[1]
        du[1] = d * u[0] * u[1] - c * u[1]
        return du

    return f


def _torchdiffeq() -> Run:
    _require("torch", "torchdiffeq")
    import torch
    from torchdiffeq import odeint

    a, b, c, d = P

    def f(t: Any, u: Any) -> Any:
        x, y = u[0], u[1]
        return torch.stack([a * x - b * x * y, d * x * y - c * y])

    u0 = torch.tensor(U0, dtype=torch.float64)
    times = torch.as_tensor(_times())

    def call() -> Any:
        with torch.no_grad():
            return odeint(f, u0, times, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5").numpy()

    return call


def _diffrax() -> Run:
    _require("jax", "diffrax")
    import diffrax
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def f(t: Any, u: Any, p: Any) -> Any:
        x, y = u
        a, b, c, d = p
        return jnp.stack([a * x - b * x * y, d * x * y - c * y])

    term = diffrax.ODETerm(f)
    controller = diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE)
    saveat = diffrax.SaveAt(ts=jnp.asarray(_times()))

    @jax.jit
    def compiled(u0: Any, p: Any) -> Any:
        return diffrax.diffeqsolve(
            term,
            diffrax.Tsit5(),
            t0=TSPAN[0],
            t1=TSPAN[1],
            dt0=None,
            y0=u0,
            args=p,
            saveat=saveat,
            stepsize_controller=controller,
        ).ys

    u0, p = jnp.asarray(U0), jnp.asarray(P)
    return lambda: compiled(u0, p).block_until_ready()


def _diffeqpy() -> Run:
    _require("diffeqpy")
    if not engines.availability("julia").ready:  # importing diffeqpy would download Julia
        raise NotInstalled("Julia is not ready: pysciml julia install")
    from diffeqpy import de

    def f(du: Any, u: Any, p: Any, t: float) -> None:
        x, y = u
        a, b, c, d = p
        du[0] = a * x - b * x * y
        du[1] = d * x * y - c * y

    problem = de.ODEProblem(f, list(U0), TSPAN, list(P))

    def call() -> Any:
        found = de.solve(problem, de.Tsit5(), saveat=STEP, abstol=TOLERANCE, reltol=TOLERANCE)
        return np.array([np.asarray(u) for u in found.u])

    return call
