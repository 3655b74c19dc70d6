"""Memory and time of a gradient over the number of steps, with and without checkpoints.

`python -m benchmarks.adjoint_memory`. Each figure comes from a fresh process: the largest resident
set, less what it was after a short gradient of the same model. The state has 16 numbers and only
the end is saved, so that neither the output nor the cotangent grows with the steps. The bar: with
checkpoints, a hundred times the steps take at most ten times the memory (and some for rounding up).
"""

from __future__ import annotations

import json
import resource
import sys
import time

from .timing import Bar, Report, in_process, need_engine

STEPS = (10_000, 100_000, 1_000_000)
ALG = "Tsit5"
_ROOM = 1.0  # MiB: below this the resident set says nothing


def measure(name: str, steps: int, checkpointing: bool) -> dict[str, float]:
    """Memory in MiB and seconds of one solve with its pullback, in this process."""
    import numpy as np

    need_engine(name)
    from pysciml import ODEProblem, engines
    from pysciml.engines.base import AdjointOptions, SolveOptions

    engine = engines.get(name)

    n = 16
    coupling = np.diag(np.ones(n - 1), 1) - np.diag(np.ones(n - 1), -1)
    problem = ODEProblem(lambda u, p, t: p @ u, np.ones(n), (0.0, 1.0), coupling)

    def gradient(steps: int) -> None:
        options = SolveOptions(
            dt=1.0 / steps,
            adaptive=False,
            save_everystep=False,
            dense=False,
            maxiters=2 * steps,
        )
        adjoint = AdjointOptions(checkpointing=checkpointing)
        raw, pullback = engine.solve_with_pullback(problem, ALG, options, adjoint)
        assert abs(raw.stats.naccept - steps) <= 1  # by rounding of the sum of all steps
        assert np.isfinite(pullback(np.ones_like(raw.u)).p).all()

    gradient(100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    gradient(steps)
    seconds = time.perf_counter() - start
    unit = 1024.0 if sys.platform != "darwin" else 1024.0**2  # KiB, or bytes on a Mac
    return {
        "mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit,
        "seconds": seconds,
    }


def main() -> int:
    report = Report("adjoint_memory", f"Memory of a gradient ({ALG}, 16 states)")
    for engine in ("native", "julia"):
        mib: dict[tuple[bool, int], float] = {}
        for checkpointing, counts in ((True, STEPS), (False, STEPS[:-1])):
            for steps in counts:
                kept = "checkpoints" if checkpointing else "every step kept"
                name = f"{engine}, {steps:_} steps, {kept}"
                with report.part(name):
                    arguments = (engine, str(steps), str(int(checkpointing)))
                    found = in_process("-m", "benchmarks.adjoint_memory", *arguments)
                    mib[checkpointing, steps] = found["mib"]
                    report.add(name, found["seconds"], f"{found['mib']:.1f} MiB")
        _compare(report, engine, mib.get((True, STEPS[0])), mib.get((True, STEPS[-1])))
    return report.finish()


def _compare(report: Report, engine: str, few: float | None, many: float | None) -> None:
    """The bar, where both were measured."""
    if few is None or many is None:
        return
    limit = 1.5 * (STEPS[-1] / STEPS[0]) ** 0.5
    least = max(few, _ROOM)
    text = (
        f"{engine}, with checkpoints: memory at {STEPS[-1]:_} steps ≤ {limit:g} × at {STEPS[0]:_}"
    )
    note = f"{many:.1f} MiB / {least:.1f} MiB"
    report.bars.append(Bar(text, many / least, limit, many <= limit * least, note))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1")))
    else:
        sys.exit(main())
