"""torchdiffeq's own example, a neural ODE on a spiral, on every engine that is there.

The data are those of torchdiffeq's examples/ode_demo.py (Chen, 2018): du/dt = A u^3 on [0, 25], a
network of 50 units on u^3, trained on short windows of the trajectory that are solved together as
one batch. The same call trains it on each engine; how long an iteration takes is printed.

Run: python examples/spiral.py [--short]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml import engines
from pysciml.train import LBFGS, Adam

A = np.array([[-0.1, 2.0], [-2.0, -0.1]])  # rows multiply from the left, as in torchdiffeq
U0 = [2.0, 0.0]
POINTS, WINDOW = 1000, 10

network, weights = sml.nn.functional(sml.nn.mlp([2, 50, 2], "tanh"))


def spiral(u, p, t):
    return u**3 @ torch.as_tensor(A)


def model(u, p, t):
    """For one state, (2,), and for a batch of them, (batch, 2)."""
    return network(u**3, p)


def windows(truth: sml.Solution, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Times since the start of a window, (WINDOW,), and states, (WINDOW, batch, 2)."""
    starts = np.linspace(0, POINTS - WINDOW, batch).astype(int)
    return truth.t[:WINDOW], np.stack([truth.u[i : i + WINDOW] for i in starts], axis=1)


def train(data, engine: str, optimisers) -> sml.FitResult:
    return sml.fit(
        model, data, p=weights, optimisers=optimisers, engine=engine, abstol=1e-6, progress=False
    )


def time_engines(data, iterations: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of an iteration, and the loss after all of them, on each engine."""
    found = {}
    for name in engines.NAMES:
        state = engines.availability(name)
        if not state.ready:
            print(f"  {name:<7} not available: {state.reason}")
            continue
        seconds = train(data, name, Adam(0.01, iterations)).history
        each = np.median(np.diff(seconds.seconds)) * 1e3
        found[name] = (float(each), float(seconds.loss[-1]))
        print(f"  {name:<7} {each:8.2f} ms an iteration, loss {seconds.loss[-1]:.8f} after them")
    return found


def draw(truth: sml.Solution, learned: sml.Solution, result: sml.FitResult) -> plt.Figure:
    figure, (over_time, phase, loss) = plt.subplots(1, 3, figsize=(14, 4.3), layout="constrained")
    for i in range(2):
        over_time.plot(truth.t, truth.u[:, i], ":", color=f"C{i}", label=f"u[{i}], truth")
        over_time.plot(learned.t, learned.u[:, i], color=f"C{i}", label=f"u[{i}], network")
    over_time.set(xlabel="t", ylabel="u", title="One solve over all time")
    over_time.legend(loc="lower right")
    phase.plot(*truth.u.T, ":", color="C2", label="truth")
    phase.plot(*learned.u.T, color="C3", label="network")
    phase.set(xlabel="u[0]", ylabel="u[1]", title="Phase plane")
    phase.legend()
    loss.semilogy(result.history.loss, color="black")
    loss.set(xlabel="iteration", ylabel="mean square on the windows", title="Training")
    return figure


def main(arguments: list[str] | None = None) -> tuple[float, dict[str, tuple[float, float]]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few iterations, for tests")
    short = parser.parse_args(arguments).short
    torch.set_num_threads(1)  # more threads only slow a network of this size down
    problem = sml.ODEProblem(spiral, U0, (0.0, 25.0))
    t = np.linspace(0.0, 25.0, POINTS)
    truth = sml.solve(problem, engine="native", saveat=t, abstol=1e-10, reltol=1e-10)
    data = windows(truth, 20 if short else 100)

    print(f"A batch of {data[1].shape[1]} windows of {WINDOW} points:")
    timed = time_engines(data, 5 if short else 20)

    stages = [Adam(0.01, 100 if short else 400), LBFGS(100 if short else 600)]
    result = train(data, "native", stages)
    whole = sml.ODEProblem(model, U0, (0.0, 25.0), result.p)
    learned = sml.solve(whole, engine="native", saveat=t, abstol=1e-8, reltol=1e-8)
    error = float(np.sqrt(((learned.u - truth.u) ** 2).mean()))
    print(result)
    print(f"trained in {result.history.seconds[-1]:.2f} s; root mean square error {error:.3g}")
    path = Path("output") / "spiral.png"
    path.parent.mkdir(exist_ok=True)
    draw(truth, learned, result).savefig(path, dpi=150)
    print("picture:", path)
    return error, timed


if __name__ == "__main__":
    main()
