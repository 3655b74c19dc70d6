"""What known structure is worth, and what training costs: universal and neural ODEs.

`python -m benchmarks.ude`. The predators and prey of `examples/data_scarcity.py`: half of the law
known, or nothing, from 10 to 300 noisy points on [0, 6]. Half of it from 30 points also on Julia,
and by torchdiffeq with the same weights to begin with, tolerances and stages, Adam and then L-BFGS.
Errors are root mean squares over the spread of the truth on [6, 12], which was not seen.
"""

from __future__ import annotations

import runpy
import sys

import numpy as np
import torch

from .learning import adam, lbfgs, timed
from .timing import ROOT, Report, need_engine

ITERATIONS = 200  # of Adam, and as many of L-BFGS
RATE, PENALTY, TOL = 0.01, 1e-3, 1e-6


def observed(example, count: int) -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(0.0, example["SEEN"], count)
    u = example["exact"](example["U0"], example["SEEN"], t).u
    noise = np.random.default_rng(0).standard_normal(u.shape)
    return t, u + example["NOISE"] * u.mean(axis=0) * noise


def by_fit(example, name: str, data, engine: str):
    sml = need_engine(engine)
    model = example["models"](0)[name]

    def train(iterations: int):
        result = sml.fit(
            model,
            data,
            u0=example["U0"],
            alg="Tsit5",
            optimisers=[sml.train.Adam(RATE, iterations), sml.train.LBFGS(iterations)],
            regularise=sml.train.L2(PENALTY),
            engine=engine,
            abstol=TOL,
            reltol=TOL,
            progress=False,
        )
        return model.fitted(result)

    return timed(train, ITERATIONS)


def by_torch(example, data):
    """The universal ODE, by torchdiffeq's `odeint`."""
    from torchdiffeq import odeint

    t, target = map(torch.as_tensor, data)
    u0 = torch.tensor(example["U0"], dtype=torch.float64)

    def train(iterations: int):
        model = example["models"](0)["universal ODE"]

        def slope(t, u):
            eaten, fed = model.networks(u)
            met = u[0] * u[1]
            return torch.stack([1.3 * u[0] - eaten * met, fed * met - 1.8 * u[1]])

        def loss():
            found = odeint(slope, u0, t, rtol=TOL, atol=TOL)
            penalty = sum((x**2).sum() for x in model.parameters())
            return ((found - target) ** 2).mean() + PENALTY * penalty

        adam(model.parameters(), loss, iterations, RATE)
        lbfgs(model.parameters(), loss, iterations)
        return model

    return timed(train, ITERATIONS)


def main() -> int:
    torch.set_num_threads(1)
    need_engine("native")
    example = runpy.run_path(str(ROOT / "examples" / "data_scarcity.py"))
    clean = example["exact"](example["U0"], example["END"], 0.05)
    other = example["exact"](example["OTHER"], example["SEEN"], 0.05)
    report = Report("ude", "Universal and neural ODEs, from few points")

    def add(row: str, found) -> None:
        model, seconds = found
        seen, after, elsewhere = example["errors"](model, clean, other)
        report.add(row, seconds, f"seen {seen:.2g}, another beginning {elsewhere:.2g}", after)

    for name in example["models"](0):
        for count in (10, 30, 100, 300):
            row = f"{name}, {count} points, native"
            with report.part(row):
                add(row, by_fit(example, name, observed(example, count), "native"))
    data = observed(example, 30)
    with report.part("universal ODE, 30 points, julia"):
        found = by_fit(example, "universal ODE", data, "julia")
        add("universal ODE, 30 points, julia", found)
    with report.part("universal ODE, 30 points, torchdiffeq"):
        add("universal ODE, 30 points, torchdiffeq", by_torch(example, data))
    report.at_least(
        "universal ODE, 30 points, native", 10.0, "universal ODE, 30 points, torchdiffeq"
    )
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
