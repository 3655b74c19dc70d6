"""Compiled models outlive the process that compiled them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODEL = """
import pysciml as sml
prob = sml.ODEProblem(lambda u, p, t: -p[0] * u * 0.731, [1.0], (0.0, 1.0), [2.0])
print(repr(float(sml.solve(prob, "Rodas5P", engine="native", saveat=1.0).u[-1, 0])))
"""


def _solve(cache: Path) -> str:
    environ = {**os.environ, "PYSCIML_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", MODEL], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_second_process_loads_what_the_first_compiled(tmp_path: Path) -> None:
    first = _solve(tmp_path)
    compiled = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
    assert compiled
    assert _solve(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")} == compiled
