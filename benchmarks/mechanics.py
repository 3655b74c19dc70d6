"""How well networks keep an energy: a pendulum and a double pendulum, seen for a time of 6.

`python -m benchmarks.mechanics`. The networks of `examples/mechanics_networks.py` by `fit`
(collocation, then the plain fit), followed to t = 300; and a Hamiltonian and a plain network in
PyTorch as their authors train them (Greydanus et al., 2019: slopes of the motion are given, 200
units, 2000 iterations of Adam, an L2 penalty), followed by torchdiffeq. Errors are the largest
relative change of the true energy; seconds are of the clock, with what has to be compiled.
"""

from __future__ import annotations

import runpy
import sys
import time

import numpy as np
import torch

from .learning import adam
from .timing import ROOT, Report, need_engine

ITERATIONS, RATE, PENALTY, WIDTH = 2000, 1e-3, 1e-4, 200
TOL = 1e-9


def by_authors(case, example, is_hamiltonian: bool):
    """Velocities and angles (m, n) each of the motion that was not seen, and seconds."""
    from torchdiffeq import odeint

    t = np.linspace(0.0, case.seen_until, 41)
    v, q = (x.reshape(-1, x.shape[-1]) for x in case.motion(case.starts, t))
    n = q.shape[-1]
    state = torch.as_tensor(np.concatenate([example["momenta"](v, q), q], -1))
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(2 * n, WIDTH),
        torch.nn.Tanh(),
        torch.nn.Linear(WIDTH, WIDTH),
        torch.nn.Tanh(),
        torch.nn.Linear(WIDTH, 1 if is_hamiltonian else 2 * n),
    ).double()

    def slope(x):
        if not is_hamiltonian:
            return network(x)
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_(True)
            (by,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
        return torch.cat([-by[..., n:], by[..., :n]], -1)

    target = true_slopes(case, example, v, q)

    def loss():
        penalty = sum((w**2).sum() for w in network.parameters())
        misfit = ((slope(state.detach().requires_grad_(True)) - target) ** 2).mean()
        return misfit + PENALTY / len(state) * penalty

    start = time.process_time()
    adam(network.parameters(), loss, ITERATIONS, RATE)
    seconds = time.process_time() - start
    first = torch.as_tensor(np.concatenate([0.0 * case.unseen, case.unseen]))
    times = torch.linspace(0.0, case.end, 1500, dtype=torch.float64)
    with torch.no_grad():
        u = odeint(lambda t, x: slope(x).detach(), first, times, rtol=TOL, atol=TOL).numpy()
    v, q = example["from_momenta"](np.stack([u[:, :n], u[:, n:]], 1))
    return v, q, seconds


def true_slopes(case, example, v, q):
    """Of momenta and angles: by a difference of the exact motion, to its rounding."""
    h = 1e-4
    ahead = motion_after(case, v, q, h)
    behind = motion_after(case, v, q, -h)
    sides = [np.concatenate([example["momenta"](*side), side[1]], -1) for side in (ahead, behind)]
    return torch.as_tensor((sides[0] - sides[1]) / (2.0 * h))


def motion_after(case, v, q, h: float):
    import pysciml as sml

    problem = sml.SecondOrderODEProblem(case.acceleration, v, q, (0.0, h))
    found = sml.solve(problem, "Vern7", "native", abstol=1e-13, reltol=1e-13).u[-1]
    return found[0], found[1]


def main() -> int:
    torch.set_num_threads(1)
    need_engine("native")
    example = runpy.run_path(str(ROOT / "examples" / "mechanics_networks.py"))
    report = Report("mechanics", "The energy of learned motions")
    for case in example["cases"](False):
        for kind in example["KINDS"]:
            for engine in ("native", "julia") if case.name == "pendulum" else ("native",):
                row = f"{case.name}, {kind.name}, {engine}"
                with report.part(row):
                    need_engine(engine)
                    example["SETTINGS"]["engine"] = engine
                    outcome = example["learn"](kind, case)
                    drift = np.abs(outcome.drift).max()
                    note = f"trend {outcome.trend:.1e}, early error {outcome.error:.1e}"
                    report.add(row, outcome.seconds, note, drift)
        for name, is_hamiltonian in (("neural ODE", False), ("Hamiltonian network", True)):
            row = f"{case.name}, {name}, PyTorch"
            with report.part(row):
                v, q, seconds = by_authors(case, example, is_hamiltonian)
                total = example["energy"](v, q)
                drift = total / total[0] - 1.0
                report.add(row, seconds, "slopes given", np.abs(drift).max())
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
