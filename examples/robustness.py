"""Under attack: a universal equation, a neural ODE, and one that was trained against attacks.

All are fitted to the same 31 noisy points. Then the initial state is moved, within a ball, to where
the model's error is worst: the largest distance between its solution and the true one from the same
start. The structure that the universal equation knows is worth more than training against attacks.

Run: python examples/robustness.py [--short] [--engine native]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml.discover import Ball, Robustness, robustness
from pysciml.train import L2, LBFGS, Adam

U0 = np.array([1.0, 1.5])
SPAN = (0.0, 4.0)
RADII = (0.02, 0.05, 0.1, 0.2, 0.3)
network, weights = sml.nn.functional(sml.nn.mlp([2, 32, 2], "tanh"))


def truth(u, p, t):
    x, y = u
    return [1.3 * x - 0.9 * x * y, 0.8 * x * y - 1.8 * y]


def universal(u, p, t):
    """Growth and death are known, and that nothing happens where nobody meets."""
    x, y = u
    eaten, fed = torch.nn.functional.softplus(network(u, p))
    return [1.3 * x - eaten * x * y, fed * x * y - 1.8 * y]


def neural(u, p, t):
    return network(u, p)


@dataclass
class Model:
    """A fitted model, and what attacks do to it."""

    name: str
    fit: sml.FitResult
    report: Robustness
    errors: np.ndarray  # for each radius, the worst error found


def beside_truth(f):
    """Model and truth side by side, from a common start that the parameters move."""

    def both(u, p, t):
        return torch.stack([as_tensor(f(u[0], p, t)), as_tensor(truth(u[1], p, t))])

    return both


def as_tensor(values):
    return values if torch.is_tensor(values) else torch.stack(list(values))


def worst_error(f, p, ball: Ball, engine: str) -> float:
    """By projected gradient ascent in the common start of model and truth."""
    problem = sml.ODEProblem(beside_truth(f), np.stack([U0, U0]), SPAN, p)
    random = np.random.default_rng(0)
    worst = 0.0
    for start in ball.random((4, 2), random):
        z = start
        for _ in range(ball.steps):
            try:
                found = sml.gradient(
                    problem.remake(u0=U0 + np.stack([z, z])),
                    lambda u: ((u[:, 0] - u[:, 1]) ** 2).sum(dim=1).mean(),
                    engine=engine,
                    saveat=0.1,
                    sensealg="adjoint",
                )
            except sml.SolveError:
                return np.inf
            worst = max(worst, float(np.sqrt(found.value)))
            z = ball.uphill(z, found.u0.sum(axis=0))
    return worst


def train(f, data, engine: str, short: bool, ball: Ball | None = None) -> sml.FitResult:
    problem = sml.ODEProblem(f, U0, SPAN, weights, names=["prey", "predator"])
    stages = [Adam(0.01, 100 if short else 300), LBFGS(100 if short else 500)]
    result = sml.fit(
        problem, data, optimisers=stages, regularise=L2(1e-5), engine=engine, progress=False
    )
    if ball is None:
        return result
    return sml.fit(
        result.problem,
        data,
        optimisers=Adam(0.002, 50 if short else 500, "cosine"),
        regularise=L2(1e-5),
        adversarial=ball,
        engine=engine,
        progress=False,
    )


def main(arguments: list[str] | None = None) -> list[Model]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few iterations, for tests")
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args(arguments)
    engine, short = options.engine, options.short
    exact = sml.ODEProblem(truth, U0, SPAN)
    clean = sml.solve(exact, engine=engine, saveat=4.0 / 30, abstol=1e-10, reltol=1e-10)
    noise = 5e-3 * clean.u.mean(axis=0) * np.random.default_rng(0).standard_normal(clean.u.shape)
    data = clean.t, clean.u + noise
    fits = {
        "universal equation": (universal, train(universal, data, engine, short)),
        "neural ODE": (neural, train(neural, data, engine, short)),
        "neural ODE, adversarial": (neural, train(neural, data, engine, short, Ball(0.1, 5))),
    }
    radii = RADII[2:3] if short else RADII
    models = []
    for name, (f, result) in fits.items():
        report = robustness(result.problem, Ball(0.1), engine=engine, samples=50)
        errors = [worst_error(f, result.p, Ball(r, 10), engine) for r in radii]
        models.append(Model(name, result, report, np.array(errors)))
    print("worst error (root mean square over time) for starts within", radii)
    for model in models:
        text = "  ".join(f"{error:7.3f}" for error in model.errors)
        print(f"  {model.name:<24} {text}    {model.report}")
    true = robustness(exact, Ball(0.1), engine=engine, samples=50)
    print(f"  {'truth':<24} {'':{9 * len(radii) - 2}}    {true}")
    path = Path("output") / "robustness.png"
    path.parent.mkdir(exist_ok=True)
    draw(models, true, radii).savefig(path, dpi=150)
    print("picture:", path)
    return models


def draw(models: list[Model], true: Robustness, radii) -> plt.Figure:
    figure, (attack, growth) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for model in models:
        attack.plot(radii, model.errors, "o-", label=model.name)
        growth.plot(model.report.t, model.report.growth, label=model.name)
    attack.set(xlabel="radius of the ball around u0", ylabel="worst error", yscale="log")
    attack.set_title("Distance from the truth, where it is worst")
    attack.legend()
    growth.plot(true.t, true.growth, "k:", label="truth")
    growth.set(xlabel="t", ylabel="largest singular value of du(t)/du0", yscale="log")
    growth.set_title("Growth of small perturbations")
    growth.legend()
    return figure


if __name__ == "__main__":
    main()
