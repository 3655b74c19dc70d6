"""The example in its short form."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import image

matplotlib.use("Agg")

EXAMPLE = Path(__file__).parents[2] / "examples" / "mackey_glass.py"


def test_the_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs, pair = runpy.run_path(str(EXAMPLE))["main"](["--short", "--engine", "native"])
    late = {name: run(np.linspace(600.0, 1000.0, 1000)) for name, run in runs.items()}
    # beta u / (1 + u^n) = gamma u at u = 1
    assert np.abs(late["at rest"] - 1.0).max() < 1e-3
    assert np.ptp(late["a rhythm"]) > 0.4
    assert np.ptp(late["chaos"]) > 0.8
    apart = np.abs(pair[1] - pair[0])
    assert apart[0] < 2e-3
    assert apart.max() > 0.1
    assert image.imread("output/mackey_glass.png").std() > 0.02
    matplotlib.pyplot.close("all")
