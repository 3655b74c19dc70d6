"""The example in its short form."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
from matplotlib import image

EXAMPLE = Path(__file__).parents[2] / "examples" / "sir_gillespie.py"


def test_the_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = runpy.run_path(str(EXAMPLE))
    groups, at_once = example["main"](["--short"])
    chance = 0.3
    assert abs(at_once - chance) < 4.0 * np.sqrt(chance * (1.0 - chance) / 2000)
    spread = {n: (paths.u[:, :, 1] / n).std(axis=0).max() for n, paths in groups.items()}
    assert 8.0 < spread[1_000] / spread[100_000] < 12.5  # the square root of 100, within a quarter
    assert image.imread("output/sir_gillespie.png").std() > 0.02
