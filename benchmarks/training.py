"""Training a universal differential equation to the same loss: `fit` and torchdiffeq.

`python -m benchmarks.training`. Lotka-Volterra's growth and death known, a 2-32-2 network beside
them, 31 noisy points on [0, 3], tolerances 1e-6. torchdiffeq's loop is the one of its README:
`odeint_adjoint`, `torch.optim.Adam` with the same step size, one thread. Both start from the same
weights, so both losses fall alike; the time of each is that until the loss first reaches the goal.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from .gradients import TOL, U0, T, torch_models
from .timing import Report, need_engine

GOAL = 0.02  # mean square; the noise is far below
ITERATIONS = 400
LEARNING_RATE = 0.01


def data() -> np.ndarray:
    """The published example: u' = 1.3 u - 0.9 u v, v' = 0.8 u v - 1.8 v, with noise."""
    from scipy.integrate import solve_ivp

    def f(t, u):
        return [1.3 * u[0] - 0.9 * u[0] * u[1], 0.8 * u[0] * u[1] - 1.8 * u[1]]

    clean = solve_ivp(f, (0, 3), U0, "DOP853", t_eval=T, rtol=1e-10, atol=1e-12).y.T
    noise = np.random.default_rng(3).standard_normal(clean.shape)
    return clean + 5e-3 * clean.mean(axis=0) * noise


def reached(seconds: np.ndarray, losses: np.ndarray) -> float:
    """When the loss first reached the goal."""
    below = np.flatnonzero(np.asarray(losses) <= GOAL)
    if not below.size:
        raise RuntimeError(f"the loss only reached {np.min(losses):.3g}")
    return float(seconds[below[0]])


def by_fit(engine: str, observed: np.ndarray) -> tuple[float, str]:
    sml = need_engine(engine)
    model, _ = torch_models()
    problem = sml.ODEProblem(model, U0, (0.0, 3.0))

    def run():
        return sml.fit(
            problem,
            (T, observed),
            alg="Tsit5",
            engine=engine,
            abstol=TOL,
            reltol=TOL,
            optimisers=sml.train.Adam(LEARNING_RATE, ITERATIONS),
            progress=False,
        )

    run()  # compiles
    history = run().history
    count = int(np.argmax(history.loss <= GOAL))
    return reached(history.seconds, history.loss), f"goal after {count} iterations"


def by_torchdiffeq(observed: np.ndarray) -> tuple[float, str]:
    import torch
    from torchdiffeq import odeint_adjoint

    torch.set_num_threads(1)
    model, _ = torch_models()
    u0, t, target = torch.from_numpy(U0), torch.from_numpy(T), torch.from_numpy(observed)
    optimiser = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    start = time.perf_counter()
    for count in range(ITERATIONS):
        optimiser.zero_grad()
        loss = ((odeint_adjoint(model, u0, t, rtol=TOL, atol=TOL) - target) ** 2).mean()
        if loss.item() <= GOAL:
            return time.perf_counter() - start, f"goal after {count} iterations"
        loss.backward()
        optimiser.step()
    raise RuntimeError(f"the loss only reached {loss.item():.3g}")


def main() -> int:
    report = Report("training", f"Training a UDE 2-32-2 by Adam until the loss is {GOAL:g}")
    observed = data()
    for engine in ("native", "julia"):
        with report.part(f"fit, {engine}"):
            report.add(f"fit, {engine}", *by_fit(engine, observed))
    with report.part("torchdiffeq odeint_adjoint"):
        report.add("torchdiffeq odeint_adjoint", *by_torchdiffeq(observed))
    for engine in ("native", "julia"):
        report.at_least(f"fit, {engine}", 30.0, "torchdiffeq odeint_adjoint")
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
