"""First-use latency: what a user waits for before the second solve.

`python -m benchmarks.latency`. Each figure is taken in fresh processes. The disk cache is pointed
at an empty folder by the variables in CACHE_VARIABLES.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile

from .timing import Report, in_process, need_engine, need_pysciml

CACHE_VARIABLES = ("PYSCIML_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")

IMPORT = """
import json, time
start = time.perf_counter()
import torch
middle = time.perf_counter()
import pysciml
end = time.perf_counter()
print(json.dumps([middle - start, end - middle]))
"""

# `{number}` makes the model a new one: it enters the generated code as a constant.
NATIVE = """
import json, time
import numpy as np
import torch
import pysciml as sml

def model(u, p, t):
    x, y = u
    return [p[0] * x - {number} * x * y, -p[1] * y + {number} * x * y]

start = time.perf_counter()
prob = sml.ODEProblem(model, np.array([1.0, 1.0]), (0.0, 10.0), np.array([1.5, 3.0]))
solution = sml.solve(prob{alg}, engine="native", saveat=0.1)
end = time.perf_counter()
assert solution.retcode == "Success"
print(json.dumps(end - start))
"""

JULIA = """
import json, time
import numpy as np
import pysciml as sml

def first(number):
    def model(u, p, t):
        x, y = u
        return [p[0] * x - number * x * y, -p[1] * y + number * x * y]
    start = time.perf_counter()
    prob = sml.ODEProblem(model, np.array([1.0, 1.0]), (0.0, 10.0), np.array([1.5, 3.0]))
    solution = sml.solve(prob{alg}, engine="julia", saveat=0.1)
    assert solution.retcode == "Success"
    return time.perf_counter() - start

session = first(1.0)
print(json.dumps([session, min(first(1.0 + k / 8) for k in range(1, 4))]))
"""


def native(report: Report, label: str, alg: str) -> None:
    need_engine("native")
    figures: dict[str, list[float]] = {"empty cache": [], "new model": [], "second process": []}
    notes = ("integrator and model compiled", "integrator in the cache", "everything in the cache")
    with contextlib.ExitStack() as folders:
        caches = []
        for _ in range(2):
            folder = folders.enter_context(tempfile.TemporaryDirectory())
            caches.append({name: os.path.join(folder, name) for name in CACHE_VARIABLES})
            for path in caches[-1].values():
                os.mkdir(path)
        # The order matters: the first fills the cache with all that the others find there.
        for (kind, times), note in zip(figures.items(), notes, strict=True):
            with report.part(f"native{label}, {kind}"):
                for repeat, cache in enumerate(caches):
                    number = (1.5 if kind == "new model" else 1.0) + repeat / 16
                    for _ in range(2 if kind == "second process" else 1):
                        code = NATIVE.format(number=number, alg=alg)
                        times.append(in_process("-c", code, **cache))
                report.add(f"native{label}, {kind}", min(times), note)


def main() -> int:
    report = Report("latency", "First-use latency")
    with report.part("import pysciml"):
        need_pysciml()
        times = [in_process("-c", IMPORT) for _ in range(4)]
        report.add("import torch", min(torch for torch, _ in times), "for information")
        report.add("import pysciml", min(ours for _, ours in times), "after torch")
    with report.part("native"):
        native(report, "", "")
        native(report, " Tsit5", ', "Tsit5"')
    with report.part("julia, new model"):
        need_engine("julia")
        sessions = [in_process("-c", JULIA.format(alg="")) for _ in range(2)]
        report.add("julia, session", min(s for s, _ in sessions), "start of Julia, first solve")
        report.add("julia, new model", min(m for _, m in sessions), "in a running session")
    report.within("import pysciml", 1.0)
    for label in ("", " Tsit5"):
        report.within(f"native{label}, empty cache", 5.0)
        report.within(f"native{label}, new model", 5.0)
        report.within(f"native{label}, second process", 1.0)
    report.within("julia, new model", 2.0)
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
