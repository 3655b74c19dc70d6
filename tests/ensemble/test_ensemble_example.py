"""The example in its short form, on a Dask cluster too."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
from matplotlib import image

import pysciml as sml

EXAMPLE = Path(__file__).parents[2] / "examples" / "ensemble.py"


def test_the_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = runpy.run_path(str(EXAMPLE))
    kept, many, there = example["main"](["--short", "--dask"])
    assert kept.success and many.success
    np.testing.assert_array_equal(there.u, kept.u)
    # the invariant of Lotka's and Volterra's equations
    rates = {**example["RATES"], **example["uncertain"](len(kept), seed=1)}
    a, b, d, c = (np.reshape(rates[name], (-1, 1)) for name in ("growth", "eaten", "fed", "death"))
    x, y = kept.u[..., 0], kept.u[..., 1]
    invariant = d * x - c * np.log(x) + b * y - a * np.log(y)
    np.testing.assert_allclose(invariant, invariant[:, :1] + 0.0 * x, rtol=1e-5)
    assert isinstance(many, sml.EnsembleSolution) and many.u is None
    assert np.abs(many.mean - kept.mean).max() < 5 * kept.std.max() / np.sqrt(len(kept))
    assert image.imread("output/ensemble.png").std() > 0.02
