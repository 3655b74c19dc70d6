"""README, guide and some pages of models: every block of Python runs, one page after the other."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import matplotlib
import matplotlib.pyplot
import numpy as np
import pytest

import pysciml
from pysciml import engines
from pysciml.train import Adam

matplotlib.use("Agg")

ROOT = Path(__file__).parents[2]
#: pages of models whose code brings its own data, and takes seconds
MODELS = ("ude", "neural_ode", "mechanics", "normalizing_flow", "koopman", "expansions")
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "guide").glob("*.md")),
    *(ROOT / "docs" / "models" / f"{name}.md" for name in MODELS),
]
ITERATIONS = 5  # of each stage of a fit that would take minutes
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


def spirals():
    random = np.random.default_rng(0)
    t = np.linspace(0.0, 2.0, 9)
    series = [(t[1 + k % 3 :], random.standard_normal((8 - k % 3, 2))) for k in range(20)]
    return {"series": series, "t": t}


def noisy_paths():
    random = np.random.default_rng(0)
    t = np.linspace(0.0, 1.0, 9)
    u = 1.0 + 0.2 * random.standard_normal((9, 50, 2)).cumsum(0)
    return {"t": t, "u": u, "series": [(t, u[:, k, :1]) for k in range(20)]}


def points_of_burgers():
    points = np.random.default_rng(0).uniform([-1.0, 0.0], 1.0, (50, 2))
    return {"points": points, "values": -np.sin(np.pi * points[:, :1])}


def field():
    t, x = np.linspace(0.0, 1.0, 6), np.arange(32) / 32.0
    u = 0.5 + 0.1 * np.exp(-t)[:, None] * np.sin(2.0 * np.pi * x)
    return {"t": t, "u": u, "h": 1.0 / 32.0}


def fitted_spring():
    """A fit of a network inside an equation, as the pages of `discover` begin with."""
    t = np.linspace(0.0, 3.0, 31)
    u = np.stack([np.cos(t), -np.sin(t)], axis=1)
    network, weights = pysciml.nn.functional(pysciml.nn.mlp([2, 8, 1], "tanh"))

    def law(u, p, t):
        return [u[1], network(u, p["net"])[0]]

    problem = pysciml.ODEProblem(law, u[0], (0.0, 3.0), {"net": weights})
    result = pysciml.fit(problem, (t, u), optimisers=Adam(0.01, ITERATIONS))
    names = {"problem": problem, "data": (t, u), "result": result, "sml": pysciml}
    return names | {"network": pysciml.nn.mlp([2, 8, 1], "tanh")}


def lorenz():
    def law(u, p, t):
        x, y, z = u
        return [10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z]

    t = np.linspace(0.0, 10.0, 2001)
    problem = pysciml.ODEProblem(law, [-8.0, 7.0, 27.0], (0.0, 10.0))
    u = pysciml.solve(problem, saveat=t, abstol=1e-9, reltol=1e-9).u
    return {"t": t, "u": u + np.random.default_rng(0).normal(0.0, 0.1, u.shape), "sml": pysciml}


#: pages whose code takes the reader's data, by these stand-ins for them
WITH_DATA = {
    "models/latent_ode": spirals,
    "models/neural_sde": noisy_paths,
    "models/pinn": points_of_burgers,
    "models/learned_pde": field,
    "models/deep_bsde": dict,
    "discover/coverage": fitted_spring,
    "discover/robustness": fitted_spring,
    "discover/sparse_regression": lorenz,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    observe(tmp_path / "observed.csv")
    run_blocks(page, monkeypatch)


@pytest.mark.parametrize("name", WITH_DATA)
def test_every_block_runs_for_some_iterations(name, monkeypatch):
    def short_fit(*args, optimisers=None, **options):
        stages = optimisers if isinstance(optimisers, list) else [optimisers or Adam(0.01)]
        few = [dataclasses.replace(stage, iterations=ITERATIONS) for stage in stages]
        return fit(*args, optimisers=few, **options)

    fit = pysciml.fit
    monkeypatch.setattr(pysciml, "fit", short_fit)
    run_blocks(ROOT / "docs" / f"{name}.md", monkeypatch, WITH_DATA[name]())


def run_blocks(page, monkeypatch, names=()):
    """Execute the blocks of a page one after the other, in a module that has these names."""
    text = page.read_text()
    module = ModuleType("page")  # torch looks up the module of what it traces
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, "page", module)
    blocks = list(BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        need, code = block.groups()
        if need is None or is_there(need):
            line = text.count("\n", 0, block.start(2))
            exec(compile("\n" * line + code, str(page), "exec"), vars(module))
    matplotlib.pyplot.close("all")
