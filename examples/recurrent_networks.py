"""A neural ODE and the recurrent networks that it becomes when it is stepped.

One Euler step, u + dt f(u), is a residual block, and the same block again and again is a recurrent
network; a step of RK4 is a recurrent network of four stages. So `alg="Euler"` and `alg="RK4"` train
them, and the field that they learn differs from the ODE's by dt and by dt^4. At irregular times an
ODE goes as far as each gap is long; a recurrent network takes one step for each sample.

After Chen et al., Neural Ordinary Differential Equations, NeurIPS 2018, section 1.

Run: python examples/recurrent_networks.py [--short]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml.models import NeuralODE
from pysciml.train import LBFGS, Adam, GrowingHorizon

SETTINGS = {"engine": "native", "progress": False}
EXACT = {"engine": "native", "alg": "Vern7", "abstol": 1e-11, "reltol": 1e-11}
WINDOW = 0.8
LONGER = 1.0  # than all gaps: steps of this length end at the samples, where they have to stop


def oscillator(u, p, t):
    """Van der Pol's, of states (..., 2)."""
    x, y = u[..., 0], u[..., 1]
    return torch.stack([y, 0.5 * (1.0 - x**2) * y - x], -1)


def pendulum(u, p, t):
    """Damped, of angles and velocities (..., 2)."""
    return torch.stack([u[..., 1], -0.15 * u[..., 1] - torch.sin(u[..., 0])], -1)


# -- what a stepped network learns -----------------------------------------------------------------
def field_error(alg: str, dt: float, batch: int) -> float:
    """Root mean square of (learned field - true one), relative, when trained with steps of dt.

    The network is a cubic polynomial, which can be the true field, so all that is left is the step.
    """
    start = np.random.default_rng(0).uniform(-2.0, 2.0, (batch, 2))
    problem = sml.ODEProblem(oscillator, start, (0.0, WINDOW))
    data = sml.solve(problem, saveat=dt, **EXACT)
    model = NeuralODE(sml.nn.Polynomial(2, 2, 3))
    steps = {} if alg == "Tsit5" else {"dt": dt, "adaptive": False}
    result = sml.fit(
        model,
        (data.t, data.u),
        alg=alg,
        abstol=1e-9,
        reltol=1e-9,
        optimisers=LBFGS(1000, tolerance=1e-14),
        **steps,
        **SETTINGS,
    )
    points = torch.as_tensor(data.u.reshape(-1, 2))
    with torch.no_grad():
        learned, true = model.fitted(result)(points, 0.0), oscillator(points, None, 0.0)
    return float(((learned - true) ** 2).mean().sqrt() / (true**2).mean().sqrt())


def orders(steps: list[float], batch: int) -> dict[str, list[float]]:
    errors = {alg: [field_error(alg, dt, batch) for dt in steps] for alg in ("Euler", "RK4")}
    errors["ODE"] = [field_error("Tsit5", dt, batch) for dt in steps]
    for alg, found in errors.items():
        order = np.polyfit(np.log(steps), np.log(found), 1)[0]
        shown = ", ".join(f"{error:.2e}" for error in found)
        print(f"  {alg:<6} {shown}" + ("" if alg == "ODE" else f"   order {order:.2f}"))
    return errors


# -- irregular sampling ----------------------------------------------------------------------------
@dataclass
class Outcome:
    name: str
    t: np.ndarray
    u: np.ndarray
    error: float  # root mean square on a trajectory that was not trained on


def observed(seed: int, rows: int, pendulums: int) -> sml.Solution:
    """Pendulums at times with gaps between 0.02 and 0.8, (rows, pendulums, 2)."""
    random = np.random.default_rng(seed)
    t = np.concatenate([[0.0], np.cumsum(random.uniform(0.02, LONGER - 0.2, rows - 1))])
    start = random.uniform([-2.2, -0.5], [2.2, 0.5], (pendulums, 2))
    return sml.solve(sml.ODEProblem(pendulum, start, (0.0, t[-1])), saveat=t, **EXACT)


def irregular(pendulums: int, rows: int, iterations: int) -> tuple[sml.Solution, list[Outcome]]:
    """The same network, trained as a recurrent one, as one that knows the gaps, and as an ODE."""
    data, unseen = observed(0, rows, pendulums), observed(99, rows, 1)
    model = NeuralODE(sml.nn.mlp([2, 24, 2], seed=1))
    gap = float(np.diff(data.t).mean())

    def counted(t: np.ndarray) -> np.ndarray:
        return gap * np.arange(len(t))

    one_step = {"alg": "Euler", "adaptive": False}
    cases = {
        "recurrent network, a step for each sample": (counted, {**one_step, "dt": gap}),
        "recurrent network, a step as long as the gap": (np.asarray, {**one_step, "dt": LONGER}),
        "neural ODE": (np.asarray, {"alg": "Tsit5"}),
    }
    outcomes = []
    for name, (times, method) in cases.items():

        def options(t: np.ndarray, method: dict = method) -> dict:
            return {**method, "tstops": t[1:-1]} if method.get("dt") == LONGER else method

        t = times(data.t)
        result = sml.fit(
            model,
            (t, data.u),
            optimisers=[Adam(0.01, iterations), LBFGS(iterations)],
            strategy=GrowingHorizon([0.2, 0.5]),
            **options(t),
            **SETTINGS,
        )
        t = times(unseen.t)
        problem = sml.ODEProblem(model.fitted(result), unseen.u[0], (0.0, t[-1]))
        solved = sml.solve(problem, engine="native", saveat=t, **options(t))
        error = float(np.sqrt(((solved.u - unseen.u) ** 2).mean()))
        outcomes.append(Outcome(name, unseen.t, solved.u, error))
        print(f"  {name:<46} error {error:.3f}")
    return unseen, outcomes


def draw(
    steps: list[float],
    errors: dict[str, list[float]],
    unseen: sml.Solution,
    outcomes: list[Outcome],
) -> plt.Figure:
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(13, 4.6), width_ratios=(1.0, 1.7), layout="constrained"
    )
    for (alg, found), marker in zip(errors.items(), "os^", strict=True):
        left.loglog(steps, found, marker + "-", label=alg)
    for alg, power in (("Euler", 1), ("RK4", 4)):
        guide = 2.5 * errors[alg][0] * (np.array(steps) / steps[0]) ** power
        left.loglog(steps, guide, ":", color="0.5")
        name = "$dt$" if power == 1 else f"$dt^{power}$"
        left.annotate(name, (steps[-1], 2.0 * guide[-1]), color="0.4")
    left.set(xlabel="dt of the trained network", ylabel="error of the field that it learned")
    left.set_xticks(steps, [f"{dt:g}" for dt in steps])
    left.minorticks_off()
    left.set_title("A stepped network comes to the ODE as dt falls")
    left.legend()
    right.plot(
        unseen.t, unseen.u[:, 0, 0], "o", color="black", markersize=4, label="truth, not seen"
    )
    for outcome in outcomes:
        right.plot(
            outcome.t, outcome.u[:, 0, 0], label=f"{outcome.name}: error {outcome.error:.2g}"
        )
    right.set(xlabel="t", ylabel="angle", title="The same network at irregular times")
    right.set_ylim(-2.4, 4.4)
    right.legend(loc="upper right", fontsize=9)
    return figure


def main(arguments: list[str] | None = None) -> tuple[dict[str, list[float]], list[Outcome]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="less of all, for tests")
    short = parser.parse_args(arguments).short
    steps = [0.2, 0.1] if short else [0.4, 0.2, 0.1, 0.05, 0.025]
    print("Error of the field that was learned, at dt =", ", ".join(map(str, steps)))
    errors = orders(steps, 10 if short else 40)
    print("Root mean square on a trajectory that was not trained on, at irregular times:")
    unseen, outcomes = irregular(*((6, 25, 60) if short else (12, 40, 300)))
    path = Path("output") / "recurrent_networks.png"
    path.parent.mkdir(exist_ok=True)
    draw(steps, errors, unseen, outcomes).savefig(path, dpi=150)
    print("picture:", path)
    return errors, outcomes


if __name__ == "__main__":
    main()
