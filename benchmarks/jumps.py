"""Gillespie's direct method on the SIR model of SciML's tutorial, in one thread.

`python -m benchmarks.jumps`. A thousand people, infection 0.1/1000, recovery 0.01, ten ill at
first, to t = 250: 1000 paths, each saved at 101 points; and one path among a million people. The
peers run in a process of their own, by the Python that PYSCIML_BENCH_PYTHON names (default: this
one): rebop (compiled from Rust) and gillespy2 (its SSACSolver makes and compiles C++; that is not
counted; and its NumPySSASolver). "Numba by hand" is what one would write without a package. The
error is that of the mean number of recovered people at the end, relative to the mean of a larger
ensemble: all of them are exact, so it is chance.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time

import numpy as np

from .timing import Report, best, in_process, need_engine

BETA, GAMMA, SPAN = 0.1, 0.01, 250.0
TIMES = np.linspace(0.0, SPAN, 101)
PATHS, MANY = 1000, 1_000_000
NUMPY_PATHS = 10  # that gillespy2's NumPySSASolver is timed with
BUDGET = 5.0


PEERS = ("rebop", "gillespy2", "gillespy2 NumPy")


def ill(n: int) -> int:
    return n // 100


def sir(sml, n: int):
    reactions = [
        sml.Reaction(BETA / n, {"S": 1, "I": 1}, {"I": 2}),
        sml.Reaction(GAMMA, {"I": 1}, {"R": 1}),
    ]
    start = [n - ill(n), ill(n), 0]
    return sml.JumpProblem(reactions, start, (0.0, SPAN), names=["S", "I", "R"])


def by_hand():
    """The same in Numba, with its own random numbers."""
    from numba import njit

    @njit
    def path(n, ill, out):
        s, i, r = float(n - ill), float(ill), 0.0
        t, k, end = 0.0, 0, len(out) - 1
        while True:
            infection, recovery = BETA / n * s * i, GAMMA * i
            whole = infection + recovery
            t = t - math.log(1.0 - np.random.random()) / whole if whole > 0.0 else math.inf  # noqa: NPY002
            while k <= end and k * SPAN / end < t:
                out[k, 0], out[k, 1], out[k, 2] = s, i, r
                k += 1
            if k > end:
                return
            if np.random.random() * whole < infection:  # noqa: NPY002
                s, i = s - 1.0, i + 1.0
            else:
                i, r = i - 1.0, r + 1.0

    @njit
    def paths(n, ill, out):
        for k in range(len(out)):
            path(n, ill, out[k])

    return paths


def peer(name: str, n: int, paths: int) -> tuple[float, float]:
    """Seconds for so many paths with a package, and the mean number of recovered at the end."""
    try:
        run = _rebop(n, paths) if name == "rebop" else _gillespy2(n, paths, name)
    except ImportError as error:
        sys.exit(f"skip: {error}")
    mean = run()
    deadline, taken = time.perf_counter() + BUDGET, []
    while not taken or time.perf_counter() < deadline:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken), mean


def _rebop(n: int, paths: int):
    import rebop

    system = rebop.Gillespie()
    system.add_reaction(BETA / n, ["S", "I"], ["I", "I"])
    system.add_reaction(GAMMA, ["I"], ["R"])
    start = {"S": n - ill(n), "I": ill(n), "R": 0}

    def run() -> float:
        steps = len(TIMES) - 1
        ends = [int(system.run(start, SPAN, steps, rng=k)["R"][-1]) for k in range(paths)]
        return float(np.mean(ends))

    return run


def _gillespy2(n: int, paths: int, name: str):
    import gillespy2

    model = gillespy2.Model(name="sir")
    model.add_parameter(
        [
            gillespy2.Parameter(name="beta", expression=str(BETA / n)),
            gillespy2.Parameter(name="gamma", expression=str(GAMMA)),
        ]
    )
    start = {"S": n - ill(n), "I": ill(n), "R": 0}
    model.add_species(
        [gillespy2.Species(name=key, initial_value=value) for key, value in start.items()]
    )
    infection, recovery = (
        gillespy2.Reaction(name=name, reactants=a, products=b, propensity_function=rate)
        for name, a, b, rate in (
            ("infection", {"S": 1, "I": 1}, {"I": 2}, "beta * S * I"),
            ("recovery", {"I": 1}, {"R": 1}, "gamma * I"),
        )
    )
    model.add_reaction([infection, recovery])
    model.timespan(gillespy2.TimeSpan(TIMES))
    kind = gillespy2.NumPySSASolver if name.endswith("NumPy") else gillespy2.SSACSolver
    solver = kind(model=model)

    def run() -> float:
        results = solver.run(number_of_trajectories=paths, seed=1)
        return float(np.mean([results[k]["R"][-1] for k in range(paths)]))

    return run


def measure(report: Report, setting: str, n: int, paths: int) -> None:
    """Rows and bars of so many paths among n people."""
    reference = None
    ours = f"{setting}, pysciml native"
    with report.part(ours):
        sml = need_engine("native")
        problem = sir(sml, n)
        how = {"engine": "native", "saveat": TIMES}
        many = how | {"progress": False, "threads": 1}
        if paths > 1:
            large = sml.solve_ensemble(problem, 20_000, seed=2, keep="statistics", **many)
            reference = float(large.mean[-1, 2])

        def run():
            if paths == 1:
                return sml.solve(problem, seed=1, **how)
            return sml.solve_ensemble(problem, paths, seed=1, **many)

        found = run()
        note = f"{found.stats.naccept / paths:.4g} jumps a path"
        report.add(ours, best(run, BUDGET), note, _off(found.u[..., -1, 2].mean(), reference))
    with report.part(f"{setting}, Numba by hand"):
        loop, out = by_hand(), np.zeros((paths, len(TIMES), 3))
        seconds = best(lambda: loop(n, ill(n), out), BUDGET)
        off = _off(out[:, -1, 2].mean(), reference)
        report.add(f"{setting}, Numba by hand", seconds, "", off)
    for name in PEERS:
        if name == "gillespy2 NumPy" and n == MANY:
            continue  # hours
        with report.part(f"{setting}, {name}"):
            some = min(paths, NUMPY_PATHS) if name == "gillespy2 NumPy" else paths
            python = os.environ.get("PYSCIML_BENCH_PYTHON", sys.executable)
            arguments = ("-m", "benchmarks.jumps", name, str(n), str(some))
            seconds, mean = in_process(*arguments, python=python)
            note = "" if some == paths else f"{some} paths, scaled up"
            seconds *= paths / some
            report.add(f"{setting}, {name}", seconds, note, _off(mean, reference))
    for name in PEERS[:2]:
        report.at_least(ours, 1.0, f"{setting}, {name}")


def main() -> int:
    report = Report("jumps", "SIR by Gillespie's direct method, to t = 250, one thread")
    measure(report, "1000 paths of 1000 people", 1000, PATHS)
    measure(report, "one path of 1e6 people", MANY, 1)
    return report.finish()


def _off(mean: float, reference: float | None) -> float | None:
    return None if reference is None else abs(float(mean) - reference) / reference


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(peer(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
    else:
        sys.exit(main())
