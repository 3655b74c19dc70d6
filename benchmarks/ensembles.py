"""Ten thousand Lorenz trajectories to t = 10, saved at the end and at 101 points.

`python -m benchmarks.ensembles`. Tolerances 1e-6, initial states around (1, 1, 20), all cores.
diffrax solves them in one jitted `vmap`, as its documentation advises, in a process of its own, by
the Python that PYSCIML_BENCH_PYTHON names (default: this one). SciPy's RK45 runs in a process pool;
a part of the trajectories is timed and scaled up. The error is the median one at the end, relative
to the largest state, against a solve with tolerances 1e-12: the system is chaotic.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from .timing import Report, Skip, best, in_process, need_engine

N = 10_000
TOL = 1e-6
TSPAN = (0.0, 10.0)
GRIDS = {"end": np.array([10.0]), "101 points": np.linspace(0.0, 10.0, 101)}
CHECKED = 200  # trajectories that the error is taken from
BUDGET = 4.0  # seconds for the fastest of many runs: a call is so long that others disturb it
SCIPY = 400  # trajectories that SciPy is timed with


def starts() -> np.ndarray:
    return np.random.default_rng(1).normal([1.0, 1.0, 20.0], 1.0, size=(N, 3))


def lorenz(u, p, t):
    x, y, z = u[0], u[1], u[2]
    return [p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z]


P = (10.0, 28.0, 8.0 / 3.0)


def scipy_end(u0: np.ndarray) -> np.ndarray:
    from scipy.integrate import solve_ivp

    return solve_ivp(
        lambda t, u: lorenz(u, P, t), TSPAN, u0, "RK45", GRIDS["end"], rtol=TOL, atol=TOL
    ).y[:, -1]


def one_thread() -> None:
    """torch's threads cost more than they bring on arrays as short as these."""
    import torch

    torch.set_num_threads(1)


def error_of(states, reference) -> float | None:
    if reference is None:
        return None
    error = np.abs(np.asarray(states) - reference).max(axis=1) / np.abs(reference).max()
    return float(np.median(error))


def main() -> int:
    report = Report("ensembles", f"{N} Lorenz trajectories to t = 10, tolerances {TOL:g}")
    u0, cores = starts(), len(os.sched_getaffinity(0))
    reference = None
    for grid, times in GRIDS.items():
        for engine in ("native", "julia", "torch"):
            name = f"{grid}, pysciml {engine}"
            with report.part(name):
                sml = need_engine(engine)
                if engine == "torch":
                    one_thread()
                problem = sml.ODEProblem(lorenz, u0[0], TSPAN, P)
                alg = "dopri5" if engine == "torch" else "Tsit5"
                how = {"saveat": times, "abstol": TOL, "reltol": TOL, "progress": False}

                def call(u0=u0, problem=problem, alg=alg, engine=engine, how=how, sml=sml):
                    return sml.solve_ensemble(problem, None, alg, engine, u0=u0, **how)

                if reference is None:
                    tight = {**how, "abstol": 1e-12, "reltol": 1e-12}
                    found = sml.solve_ensemble(
                        problem, alg="Vern7", engine="native", u0=u0[:CHECKED], **tight
                    )
                    reference = found.u[:, -1]
                error = error_of(call(u0[:CHECKED]).u[:, -1], reference)
                if engine == "torch":
                    begin = time.perf_counter()
                    call()
                    seconds, note = time.perf_counter() - begin, "one batch, 1 thread, one run"
                else:
                    seconds, note = best(call, BUDGET, 1), f"{cores} threads"
                report.add(name, seconds, f"{alg}, {note}", error)
        with report.part(f"{grid}, diffrax"):
            python = os.environ.get("PYSCIML_BENCH_PYTHON", sys.executable)
            figure = in_process("-m", "benchmarks.ensembles", "diffrax", grid, python=python)
            error = error_of(figure["states"], reference)
            report.add(f"{grid}, diffrax", figure["seconds"], figure["note"], error)
    with report.part("end, SciPy"):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(cores, context) as pool:
            list(pool.map(scipy_end, u0[: 2 * cores]))  # the processes start
            begin = time.perf_counter()
            states = np.array(list(pool.map(scipy_end, u0[:SCIPY], chunksize=10)))
            seconds = (time.perf_counter() - begin) * N / SCIPY
        note = f"RK45, {cores} processes; {SCIPY} trajectories timed, scaled by {N // SCIPY}"
        report.add("end, SciPy", seconds, note, error_of(states[:CHECKED], reference))
    for engine in ("native", "julia"):
        for grid in GRIDS:
            report.at_least(f"{grid}, pysciml {engine}", 1.0, f"{grid}, diffrax")
        report.at_least(f"end, pysciml {engine}", 100.0, "end, SciPy")
    return report.finish()


def diffrax_figure(grid: str) -> dict:
    try:
        import diffrax
        import jax
        import jax.numpy as jnp
    except ImportError as error:
        raise Skip(f"diffrax is not installed ({error})") from error

    jax.config.update("jax_enable_x64", True)
    term = diffrax.ODETerm(lambda t, u, p: jnp.stack(lorenz(u, p, t)))
    times = GRIDS[grid]
    saveat = diffrax.SaveAt(t1=True) if len(times) == 1 else diffrax.SaveAt(ts=jnp.asarray(times))

    @jax.jit
    @jax.vmap
    def solve(u0):
        return diffrax.diffeqsolve(
            term,
            diffrax.Tsit5(),
            *TSPAN,
            None,
            u0,
            jnp.asarray(P),
            saveat=saveat,
            stepsize_controller=diffrax.PIDController(rtol=TOL, atol=TOL),
        ).ys

    u0 = jnp.asarray(starts())
    states = np.asarray(solve(u0))[:CHECKED, -1]
    seconds = best(lambda: solve(u0).block_until_ready(), BUDGET)
    note = f"Tsit5, jitted vmap, JAX {jax.__version__}, diffrax {diffrax.__version__}"
    return {"seconds": seconds, "note": note, "states": states.tolist()}


if __name__ == "__main__":
    if sys.argv[1:2] == ["diffrax"]:
        try:
            print(json.dumps(diffrax_figure(sys.argv[2])))
        except Skip as reason:
            sys.exit(f"skip: {reason}")
    else:
        sys.exit(1 if main() else 0)
