"""Geometric Brownian motion: 100 000 paths of 1 000 fixed Euler-Maruyama steps.

`python -m benchmarks.stochastic`. What is wanted is the final state of each path. torchsde and
NumPy advance all paths at once; diffrax runs `vmap` under `jit`, with its two Brownian motions, in
a process of its own, by the Python that PYSCIML_BENCH_PYTHON names (default: this one). All in
float64, on all cores. The error is that of the mean against Euler's own, (1 + mu dt)^1000, in
standard errors.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from .timing import Report, Skip, in_process, need_engine

MU, SIGMA = 0.05, 0.2
PATHS, STEPS = 100_000, 1_000
DT = 1.0 / STEPS


def fastest(call: Callable[[], Any], runs: int = 3) -> float:
    """Seconds of the fastest of a few runs, each of a second or more."""
    times = []
    for _ in range(runs):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)


def deviation(final) -> float:
    final = np.asarray(final).ravel()
    exact = (1.0 + MU * DT) ** STEPS
    return abs(final.mean() - exact) / (final.std() / np.sqrt(final.size))


def by_pysciml(report: Report, engine: str, threads: int) -> str:
    name = f"pysciml {engine}, {threads} thread{'s' * (threads > 1)}"
    with report.part(name):
        sml = need_engine(engine)
        problem = sml.SDEProblem(
            lambda u, p, t: p[0] * u, lambda u, p, t: p[1] * u, [1.0], (0.0, 1.0), [MU, SIGMA]
        )
        how = {"saveat": [1.0], "dt": DT, "seed": 1, "threads": threads, "progress": False}

        def call(n=PATHS):
            return sml.solve_ensemble(problem, n, "EM", engine, **how)

        call(100)
        error = deviation(call().u)
        report.add(name, fastest(call, 5), "EM, path of (seed, trajectory), any order", error)
    return name


def by_torchsde(report: Report) -> None:
    with report.part("torchsde"):
        try:
            import torch
            import torchsde
        except ImportError as error:
            raise Skip(f"torchsde is not installed ({error})") from error

        class Geometric(torch.nn.Module):
            noise_type, sde_type = "diagonal", "ito"

            def f(self, t, y):
                return MU * y

            def g(self, t, y):
                return SIGMA * y

        start = torch.ones(PATHS, 1, dtype=torch.float64)
        times = torch.tensor([0.0, 1.0], dtype=torch.float64)

        def call(noise=None):
            with torch.no_grad():
                return torchsde.sdeint(Geometric(), start, times, noise, "euler", dt=DT)[-1]

        def path():
            return torchsde.BrownianPath(t0=0.0, w0=torch.zeros_like(start))

        begin = perf_counter()
        error = deviation(call())
        seconds = perf_counter() - begin
        report.add("torchsde", seconds, "euler, its default BrownianInterval, one run", error)
        error = deviation(call(path()))
        seconds = fastest(lambda: call(path()))
        report.add("torchsde, BrownianPath", seconds, "euler", error)


def by_numpy(report: Report) -> None:
    def call():
        rng = np.random.default_rng(1)
        u, root = np.ones(PATHS), np.sqrt(DT)
        for _ in range(STEPS):
            u += MU * DT * u + SIGMA * root * u * rng.standard_normal(PATHS)
        return u

    report.add(
        "NumPy, one thread", fastest(call), "a loop over the steps, PCG64", deviation(call())
    )


def main() -> int:
    report = Report("stochastic", f"Geometric Brownian motion: {PATHS} paths, {STEPS} steps")
    cores = os.cpu_count() or 1
    by_pysciml(report, "native", 1)
    mine = [by_pysciml(report, engine, cores) for engine in ("native", "julia")]
    by_numpy(report)
    python = os.environ.get("PYSCIML_BENCH_PYTHON", sys.executable)
    for kind in ("UnsafeBrownianPath", "VirtualBrownianTree"):
        with report.part(f"diffrax, {kind}"):
            figure = in_process("-m", "benchmarks.stochastic", "diffrax", kind, python=python)
            report.add(f"diffrax, {kind}", figure["seconds"], figure["note"], figure["error"])
    by_torchsde(report)
    peers = ["torchsde", "torchsde, BrownianPath"]
    peers += [f"diffrax, {kind}" for kind in ("UnsafeBrownianPath", "VirtualBrownianTree")]
    for name in mine:
        for peer in peers:
            report.at_least(name, 1.0, peer)
    return report.finish()


def diffrax_figure(kind: str) -> dict:
    try:
        import diffrax
        import jax
        import jax.numpy as jnp
    except ImportError as error:
        raise Skip(f"diffrax is not installed ({error})") from error

    jax.config.update("jax_enable_x64", True)

    unsafe = kind == "UnsafeBrownianPath"

    def path(key):
        if unsafe:
            noise = diffrax.UnsafeBrownianPath((), key)
        else:
            noise = diffrax.VirtualBrownianTree(0.0, 1.0, DT / 2, (), key)
        return diffrax.diffeqsolve(
            diffrax.MultiTerm(
                diffrax.ODETerm(lambda t, y, args: MU * y),
                diffrax.ControlTerm(lambda t, y, args: SIGMA * y, noise),
            ),
            diffrax.Euler(),
            0.0,
            1.0,
            DT,
            jnp.asarray(1.0),
            saveat=diffrax.SaveAt(t1=True),
            max_steps=STEPS + 1,
            adjoint=diffrax.ForwardMode(),  # UnsafeBrownianPath does not go with the default
        ).ys[0]

    keys = jax.random.split(jax.random.PRNGKey(0), PATHS)
    run = jax.jit(jax.vmap(path))
    error = deviation(jax.block_until_ready(run(keys)))
    seconds = fastest(lambda: jax.block_until_ready(run(keys)), 3 if unsafe else 1)
    note = f"Euler, jitted vmap, JAX {jax.__version__}, diffrax {diffrax.__version__}"
    return {"seconds": seconds, "note": note, "error": float(error)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["diffrax"]:
        try:
            print(json.dumps(diffrax_figure(sys.argv[2])))
        except Skip as reason:
            sys.exit(f"skip: {reason}")
    else:
        sys.exit(1 if main() else 0)
