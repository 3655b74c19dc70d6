"""Shared by all benchmarks: how time is taken, how bars are judged, how it is printed.

The figure of a call is the smallest of many: the machine can only make a run slower. Everything
that a bar compares is measured in the same run.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


class Skip(Exception):
    """A part cannot run here; the message says why."""


def best(call: Callable[[], Any], budget: float = 1.0, least: int = 5) -> float:
    """Seconds per call: the minimum over batches of at least 2 ms, for about `budget` seconds."""
    call()
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    inner = max(1, int(2e-3 / max(once, 1e-9)))
    smallest, runs = once, 0
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        deadline = time.perf_counter() + budget
        while runs < least or time.perf_counter() < deadline:
            start = time.perf_counter()
            for _ in range(inner):
                call()
            smallest = min(smallest, (time.perf_counter() - start) / inner)
            runs += 1
    finally:
        if was_enabled:
            gc.enable()
    return smallest


def human(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


@dataclass
class Row:
    name: str
    seconds: float | None  # None: skipped
    note: str = ""
    error: float | None = None  # largest relative error against a tight reference


@dataclass
class Bar:
    text: str
    measured: float | None
    limit: float
    passed: bool | None  # None: could not be judged
    note: str = ""


@dataclass
class Report:
    """One benchmark: rows are figures, bars are promises about their ratios."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    broken: int = 0  # parts that raised

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Run a part; what it lacks becomes a row that says so."""
        try:
            yield
        except Skip as reason:
            self.rows.append(Row(name, None, f"skipped: {reason}"))
        except Exception as error:  # a broken part costs its own row and the exit status
            self.broken += 1
            line = (str(error).splitlines() or [""])[0]
            self.rows.append(Row(name, None, f"ERROR: {type(error).__name__}: {line}"))

    def add(
        self, name: str, seconds: float | None, note: str = "", error: float | None = None
    ) -> None:
        taken = None if seconds is None else float(seconds)
        self.rows.append(Row(name, taken, note, None if error is None else float(error)))

    def seconds(self, name: str) -> float | None:
        return next((row.seconds for row in self.rows if row.name == name), None)

    def at_most(self, name: str, factor: float, peer: str, plus: float = 0.0) -> None:
        """The bar `name <= factor * peer + plus`."""
        mine, theirs = self.seconds(name), self.seconds(peer)
        text = f"{name} ≤ {factor:g} × {peer}" + (f" + {human(plus)}" if plus else "")
        if mine is None or theirs is None:
            missing = name if mine is None else peer
            self.bars.append(Bar(text, None, factor, None, f"skipped: no figure of {missing}"))
            return
        ratio = mine / theirs
        note = f"{human(mine)} / {human(theirs)} = {ratio:.3g}"
        self.bars.append(Bar(text, ratio, factor, mine <= factor * theirs + plus, note))

    def at_least(self, name: str, factor: float, peer: str) -> None:
        """The bar `name` is at least `factor` times as fast as `peer`."""
        mine, theirs = self.seconds(name), self.seconds(peer)
        text = f"{name} ≥ {factor:g} × as fast as {peer}"
        if mine is None or theirs is None:
            missing = name if mine is None else peer
            self.bars.append(Bar(text, None, factor, None, f"skipped: no figure of {missing}"))
            return
        ratio = theirs / mine
        note = f"{human(theirs)} / {human(mine)} = {ratio:.4g}"
        self.bars.append(Bar(text, ratio, factor, ratio >= factor, note))

    def within(self, name: str, limit: float) -> None:
        """The bar `name <= limit` seconds."""
        mine, text = self.seconds(name), f"{name} ≤ {human(limit)}"
        if mine is None:
            self.bars.append(Bar(text, None, limit, None, f"skipped: no figure of {name}"))
            return
        self.bars.append(Bar(text, mine, limit, mine <= limit, human(mine)))

    def holds(self, text: str, passed: bool, note: str = "") -> None:
        """A bar that is no ratio of times."""
        self.bars.append(Bar(text, None, 0.0, passed, note))

    def markdown(self) -> str:
        errors = any(row.error is not None for row in self.rows)
        lines = [f"### {self.title}", "", "| | time | " + ("error | |" if errors else "|")]
        lines.append("|---|---:|" + ("---:|---|" if errors else "---|"))
        for row in self.rows:
            shown = "" if row.seconds is None else human(row.seconds)
            error = "" if row.error is None else f"{row.error:.1e}"
            lines.append(
                f"| {row.name} | {shown} | " + (f"{error} | " if errors else "") + f"{row.note} |"
            )
        lines.append("")
        for bar in self.bars:
            verdict = {True: "PASS", False: "FAIL", None: "----"}[bar.passed]
            lines.append(f"- {verdict}  {bar.text}: {bar.note}")
        return "\n".join(lines) + "\n"

    def finish(self) -> int:
        """Print the table, write the JSON, return how many bars or parts failed."""
        print(self.markdown(), flush=True)
        RESULTS.mkdir(exist_ok=True)
        content = asdict(self) | {"environment": environment()}
        path = RESULTS / f"{self.name}.json"
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        return self.broken + sum(bar.passed is False for bar in self.bars)


def environment() -> dict[str, Any]:
    versions = {}
    for package in ("numpy", "scipy", "numba", "torch", "torchdiffeq", "juliacall"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
        "versions": versions,
    }


def in_process(
    *args: str, python: str = sys.executable, timeout: float = 600, **environ: str
) -> Any:
    """Run Python in a process of its own, in the project's root; its last line is JSON.

    A process that cannot run here exits with "skip: " and the reason.
    """
    done = subprocess.run(
        [python, *args],
        cwd=ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        if lines[-1].startswith("skip: "):
            raise Skip(lines[-1].removeprefix("skip: "))
        raise RuntimeError(lines[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def need_pysciml() -> Any:
    try:
        import pysciml

        _ = pysciml.ODEProblem, pysciml.solve
    except (ImportError, AttributeError) as error:
        raise Skip(f"pysciml: {error}") from error
    return pysciml


def need_engine(name: str) -> Any:
    """pysciml, with that engine ready; never downloads anything."""
    sml = need_pysciml()
    from pysciml import engines

    availability = engines.availability(name)
    if not availability.ready:
        raise Skip(f"engine {name}: {availability.reason}")
    return sml
