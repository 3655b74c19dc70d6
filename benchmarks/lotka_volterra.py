"""Lotka-Volterra to t = 10, saveat = 0.1, tolerances 1e-6: the overhead of a small solve.

`python -m benchmarks.lotka_volterra`. diffrax runs in a process of its own, by the Python that
PYSCIML_BENCH_PYTHON names (default: this one), so that JAX and torch do not share threads.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

from .timing import Report, Skip, best, in_process, need_engine

U0 = np.array([1.0, 1.0])
P = np.array([1.5, 1.0, 3.0, 1.0])
T = np.linspace(0.0, 10.0, 101)
TOL = 1e-6

JULIA = """
f!(du, u, p, t) = begin
    du[1] = p[1] * u[1] - p[2] * u[1] * u[2]
    du[2] = -p[3] * u[2] + p[4] * u[1] * u[2]
    nothing
end
const inplace = ODEProblem{true, SciMLBase.FullSpecialize}(
    f!, [1.0, 1.0], (0.0, 10.0), [1.5, 1.0, 3.0, 1.0])
run(prob) = solve(prob, Tsit5(); saveat = 0.1, abstol = 1e-6, reltol = 1e-6)
"""

STATIC = """
const StaticArrays = Base.require(
    Base.PkgId(Base.UUID("90137ffa-7385-5640-81b9-e52037218182"), "StaticArrays"))
using .StaticArrays
f(u, p, t) = SVector(p[1] * u[1] - p[2] * u[1] * u[2], -p[3] * u[2] + p[4] * u[1] * u[2])
const static = ODEProblem{false, SciMLBase.FullSpecialize}(
    f, SVector(1.0, 1.0), (0.0, 10.0), SVector(1.5, 1.0, 3.0, 1.0))
run(prob) = solve(prob, Tsit5(); saveat = 0.1, abstol = 1e-6, reltol = 1e-6)
"""


def model(u, p, t):
    x, y = u
    a, b, c, d = p
    return [a * x - b * x * y, -c * y + d * x * y]


def reference() -> np.ndarray:
    from scipy.integrate import solve_ivp

    solution = solve_ivp(_plain, (0, 10), U0, "DOP853", t_eval=T, rtol=1e-12, atol=1e-13)
    return solution.y.T


def _plain(t, u):
    return [P[0] * u[0] - P[1] * u[0] * u[1], -P[2] * u[1] + P[3] * u[0] * u[1]]


def main() -> int:
    report = Report("lotka_volterra", "Lotka–Volterra, t = 10, saveat = 0.1, tolerances 1e-6")
    exact = reference()

    def error(u) -> float:
        return float(np.max(np.abs(np.asarray(u) - exact) / (1 + np.abs(exact))))

    for engine in ("native", "julia"):
        with report.part(f"pysciml {engine}"):
            sml = need_engine(engine)
            prob = sml.ODEProblem(model, U0, (0.0, 10.0), P)

            def solve(prob=prob, engine=engine, sml=sml):
                return sml.solve(prob, "Tsit5", engine=engine, saveat=0.1, abstol=TOL, reltol=TOL)

            report.add(f"pysciml {engine}", best(solve), "Tsit5", error(solve().u))

    with report.part("Julia, called from Julia"):
        from .julia_side import timed

        seconds, states = timed(JULIA, "run(inplace)", states="stack(run(inplace).u)")
        report.add("Julia, called from Julia", seconds, "Tsit5, in place", error(states.T))

    with report.part("Julia, StaticArrays"):
        from .julia_side import timed

        seconds, _ = timed(STATIC, "run(static)")
        report.add("Julia, StaticArrays", seconds, "Tsit5, out of place, for information")

    with report.part("diffrax"):
        python = os.environ.get("PYSCIML_BENCH_PYTHON", sys.executable)
        figure = in_process("-m", "benchmarks.lotka_volterra", "diffrax", python=python)
        report.add("diffrax", figure["seconds"], figure["note"], error(figure["u"]))

    with report.part("SciPy RK45 + Numba"):
        import numba
        from scipy.integrate import solve_ivp

        @numba.njit
        def rhs(t, u):
            return np.array([1.5 * u[0] - u[0] * u[1], -3.0 * u[1] + u[0] * u[1]])

        for name, function in (("SciPy RK45 + Numba", rhs), ("SciPy RK45", _plain)):

            def solve(function=function):
                return solve_ivp(function, (0, 10), U0, "RK45", t_eval=T, rtol=TOL, atol=TOL)

            report.add(name, best(solve), "", error(solve().y.T))

    with report.part("torchdiffeq"):
        import torch
        from torchdiffeq import odeint

        torch.set_num_threads(1)
        p = torch.from_numpy(P)
        u0, t = torch.from_numpy(U0), torch.from_numpy(T)

        def rhs(t, u):
            x, y = u[0], u[1]
            return torch.stack([p[0] * x - p[1] * x * y, -p[2] * y + p[3] * x * y])

        def solve():
            with torch.no_grad():
                return odeint(rhs, u0, t, rtol=TOL, atol=TOL, method="dopri5")

        report.add("torchdiffeq", best(solve), "dopri5, no gradient", error(solve().numpy()))

    own = "Julia, called from Julia"
    report.at_most("pysciml native", 1.5, own)
    report.at_most("pysciml julia", 2.0, own, plus=100e-6)
    for engine in ("native", "julia"):
        report.at_least(f"pysciml {engine}", 1.0, "diffrax")
        report.at_least(f"pysciml {engine}", 1000.0, "torchdiffeq")
    return report.finish()


def diffrax_figure() -> dict:
    try:
        import diffrax
        import jax
        import jax.numpy as jnp
    except ImportError as error:
        raise Skip(f"diffrax is not installed ({error})") from error

    jax.config.update("jax_enable_x64", True)

    def rhs(t, u, p):
        return jnp.stack([p[0] * u[0] - p[1] * u[0] * u[1], -p[2] * u[1] + p[3] * u[0] * u[1]])

    @jax.jit
    def solve(u0, p, times):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(rhs),
            diffrax.Tsit5(),
            0.0,
            10.0,
            None,
            u0,
            p,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=TOL, atol=TOL),
        ).ys

    args = jnp.asarray(U0), jnp.asarray(P), jnp.asarray(T)
    seconds = best(lambda: solve(*args).block_until_ready())
    note = f"Tsit5, jitted, JAX {jax.__version__}, diffrax {diffrax.__version__}"
    return {"seconds": seconds, "note": note, "u": np.asarray(solve(*args)).tolist()}


if __name__ == "__main__":
    if sys.argv[1:] == ["diffrax"]:
        try:
            print(json.dumps(diffrax_figure()))
        except Skip as reason:
            sys.exit(f"skip: {reason}")
    else:
        sys.exit(1 if main() else 0)
