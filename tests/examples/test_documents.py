"""README, guide and some pages of models: every block of Python runs, one page after the other."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import matplotlib
import matplotlib.pyplot
import numpy as np
import pytest

from pysciml import engines

matplotlib.use("Agg")

ROOT = Path(__file__).parents[2]
#: pages of models whose code brings its own data, and takes seconds
MODELS = ("ude", "neural_ode", "mechanics", "normalizing_flow", "koopman", "expansions")
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "guide").glob("*.md")),
    *(ROOT / "docs" / "models" / f"{name}.md" for name in MODELS),
]
BLOCK = re.compile(r"(?:<!-- needs: (\w+) -->\n)?```python\n(.*?)```", re.DOTALL)


def is_there(need: str) -> bool:
    if need == "julia":
        return engines.availability("julia").ready
    return importlib.util.find_spec(need) is not None and is_there("julia")


def observe(path: Path) -> None:
    """Data for the README's fit."""
    rng = np.random.default_rng(0)
    t = np.linspace(0.0, 3.0, 31)
    u = np.stack([0.44 * np.exp(t), 4.6 * np.exp(-t)], axis=1)
    np.savetxt(path, u * (1 + 0.005 * rng.normal(size=u.shape)), delimiter=",")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    observe(tmp_path / "observed.csv")
    text = page.read_text()
    module = ModuleType("page")  # torch looks up the module of what it traces
    monkeypatch.setitem(sys.modules, "page", module)
    blocks = list(BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        need, code = block.groups()
        if need is None or is_there(need):
            line = text.count("\n", 0, block.start(2))
            exec(compile("\n" * line + code, str(page), "exec"), vars(module))
    matplotlib.pyplot.close("all")
