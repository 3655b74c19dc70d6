"""A neural ODE, and its discrete relatives, on series with irregular times.

`python -m benchmarks.neural_ode`. The damped pendulums of `examples/recurrent_networks.py`, with
gaps between 0.02 and 0.8: a neural ODE, and the same network as a recurrent one that takes an Euler
step for each sample, by `fit` and in plain PyTorch (torchdiffeq and a loop), and a GRU that knows
the gaps. All see a fifth, a half and then all of the series, by Adam; errors are root mean squares
on a trajectory that none has seen.
"""

from __future__ import annotations

import runpy
import sys

import numpy as np
import torch

from .learning import adam, timed
from .timing import ROOT, Report, need_engine

FRACTIONS = (0.2, 0.5)
ITERATIONS, RATE, TOL = 150, 0.02, 1e-5  # iterations of each part


def network() -> torch.nn.Module:
    import pysciml as sml

    return sml.models.NeuralODE(sml.nn.mlp([2, 24, 2], seed=1))


def by_fit(engine: str, t, u, **method):
    sml = need_engine(engine)
    model = network()

    def train(iterations: int):
        result = sml.fit(
            model,
            (t, u),
            optimisers=sml.train.Adam(RATE, iterations),
            strategy=sml.train.GrowingHorizon(FRACTIONS),
            engine=engine,
            abstol=TOL,
            reltol=TOL,
            progress=False,
            **method,
        )
        return model.fitted(result)

    return timed(train, ITERATIONS)


def by_torch(make, states, t, u):
    """`states(model, u0, t)` are the model's at times t."""
    target = torch.as_tensor(u)

    def train(iterations: int):
        model = make()
        for fraction in (*FRACTIONS, 1.0):
            rows = int((t <= fraction * t[-1]).sum())

            def loss(rows: int = rows) -> torch.Tensor:
                found = states(model, target[0], t[:rows])
                return ((found - target[:rows]) ** 2).mean()

            adam(model.parameters(), loss, iterations, RATE)
        return model

    return timed(train, ITERATIONS)


def of_ode(model, u0, t):
    from torchdiffeq import odeint

    return odeint(lambda t, u: model(u, t), u0, torch.as_tensor(t), rtol=TOL, atol=TOL)


def of_recurrent(model, u0, t, gap: float):
    states = [u0]
    for _ in t[1:]:
        states.append(states[-1] + gap * model(states[-1], 0.0))
    return torch.stack(states)


class Gated(torch.nn.Module):
    """A GRU that is told each gap, and adds what it reads out to the state."""

    def __init__(self, hidden: int = 24) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.start = torch.nn.Linear(2, hidden)
        self.cell = torch.nn.GRUCell(3, hidden)
        self.out = torch.nn.Linear(hidden, 2)
        self.double()

    def forward(self, u0, t):
        states, hidden = [u0], torch.tanh(self.start(u0))
        for gap in np.diff(t):
            u = states[-1]
            told = torch.cat([u, torch.full((len(u), 1), gap, dtype=u.dtype)], -1)
            hidden = self.cell(told, hidden)
            states.append(u + gap * self.out(hidden))
        return torch.stack(states)


def main() -> int:
    torch.set_num_threads(1)
    need_engine("native")
    example = runpy.run_path(str(ROOT / "examples" / "recurrent_networks.py"))
    data, unseen = example["observed"](0, 40, 12), example["observed"](99, 40, 1)
    gap = float(np.diff(data.t).mean())
    counted = gap * np.arange(len(data.t))
    report = Report("neural_ode", "Pendulums at irregular times")
    start = torch.as_tensor(unseen.u[0])

    def add(row: str, found, states) -> None:
        model, seconds = found
        with torch.no_grad():
            u = states(model, start, unseen.t).numpy()
        report.add(row, seconds, "", np.sqrt(((u - unseen.u) ** 2).mean()))

    def stepped(model, u0, t):
        return of_recurrent(model, u0, t, gap)

    euler = {"alg": "Euler", "adaptive": False, "dt": gap}
    for engine in ("native", "julia"):
        with report.part(f"neural ODE, {engine}"):
            found = by_fit(engine, data.t, data.u, alg="Tsit5")
            add(f"neural ODE, {engine}", found, of_ode)
    with report.part("neural ODE, torchdiffeq"):
        add("neural ODE, torchdiffeq", by_torch(network, of_ode, data.t, data.u), of_ode)
    for engine in ("native", "julia"):
        with report.part(f"recurrent network, {engine}"):
            add(f"recurrent network, {engine}", by_fit(engine, counted, data.u, **euler), stepped)
    with report.part("recurrent network, PyTorch"):
        found = by_torch(network, stepped, data.t, data.u)
        add("recurrent network, PyTorch", found, stepped)
    with report.part("GRU, PyTorch"):
        found = by_torch(Gated, Gated.forward, data.t, data.u)
        add("GRU, PyTorch", found, Gated.forward)
    report.at_least("neural ODE, native", 10.0, "neural ODE, torchdiffeq")
    report.at_least("recurrent network, native", 1.0, "recurrent network, PyTorch")
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
