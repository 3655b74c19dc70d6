"""Learning mechanics: what an energy or a Lagrangian as a network is worth over long times.

A pendulum and a double pendulum are seen for a few swings and followed for many. All four networks
fit what they saw. A plain neural ODE, of first or second order, then gains or loses energy; one
whose energy (Greydanus et al., Hamiltonian Neural Networks, 2019) or Lagrangian (Cranmer et al.,
Lagrangian Neural Networks, 2020) is the network keeps it.

Run: python examples/mechanics_networks.py [--short]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml.models import HamiltonianNN, LagrangianNN, NeuralODE, SecondOrderNeuralODE
from pysciml.train import LBFGS, Adam, Collocation

SETTINGS = {"engine": "native", "progress": False}
EXACT = {"engine": "native", "alg": "Vern7", "abstol": 1e-11, "reltol": 1e-11}


def pendulum(v, q, p, t):
    return -torch.sin(q)


def double_pendulum(v, q, p, t):
    """Unit masses on unit rods, g = 1, angles from below."""
    v1, v2, q1, q2 = v[..., 0], v[..., 1], q[..., 0], q[..., 1]
    cosine, sine = torch.cos(q1 - q2), torch.sin(q1 - q2)
    one = -(v2**2) * sine - 2.0 * torch.sin(q1)
    two = v1**2 * sine - torch.sin(q2)
    first = (one - cosine * two) / (2.0 - cosine**2)
    return torch.stack([first, two - cosine * first], -1)


def mass_matrix(q: np.ndarray) -> np.ndarray:
    """Momenta are this times velocities: (..., n, n)."""
    if q.shape[-1] == 1:
        return np.ones((*q.shape, 1))
    coupling = np.cos(q[..., 0] - q[..., 1])
    rows = [
        np.stack([np.full_like(coupling, 2.0), coupling], -1),
        np.stack([coupling, np.ones_like(coupling)], -1),
    ]
    return np.stack(rows, -2)


def momenta(v: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.einsum("...ij,...j->...i", mass_matrix(q), v)


def energy(v: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Above rest: (..., n) -> (...)."""
    weight = np.array([2.0, 1.0]) if q.shape[-1] == 2 else np.ones(1)
    return 0.5 * (v * momenta(v, q)).sum(-1) + (weight * (1.0 - np.cos(q))).sum(-1)


# -- the same motion as each network wants to see it -----------------------------------------------
def as_pairs(v: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.stack([v, q], axis=1)


def with_momenta(v: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.stack([momenta(v, q), q], axis=1)


def side_by_side(v: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.concatenate([v, q], axis=-1)


def from_pairs(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return u[:, 0], u[:, 1]


def from_momenta(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    v = np.linalg.solve(mass_matrix(u[:, 1]), u[:, 0][..., None])[..., 0]
    return v, u[:, 1]


def from_side_by_side(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = u.shape[-1] // 2
    return u[..., :n], u[..., n:]


@dataclass(frozen=True)
class Kind:
    name: str
    model: Callable[[int, int], torch.nn.Module]  # of the degrees of freedom and the width
    form: Callable[[np.ndarray, np.ndarray], np.ndarray]
    back: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def network(n: int, width: int, outputs: int) -> torch.nn.Module:
    layers = [width] if n == 1 else [width, width]
    return sml.nn.mlp([2 * n, *layers, outputs], "tanh", seed=1)


KINDS = (
    Kind(
        "neural ODE",
        lambda n, width: NeuralODE(network(n, width, 2 * n)),
        side_by_side,
        from_side_by_side,
    ),
    Kind(
        "second-order neural ODE",
        lambda n, width: SecondOrderNeuralODE(network(n, width, n)),
        as_pairs,
        from_pairs,
    ),
    Kind(
        "Hamiltonian network",
        lambda n, width: HamiltonianNN(network(n, width, 1)),
        with_momenta,
        from_momenta,
    ),
    Kind(
        "Lagrangian network",
        lambda n, width: LagrangianNN(network(n, width, 1)),
        as_pairs,
        from_pairs,
    ),
)


@dataclass
class Case:
    """Motions that are seen, one that is not, and how long that one is followed."""

    name: str
    acceleration: Callable
    starts: np.ndarray  # angles at rest, (motions, n)
    unseen: np.ndarray  # (n,)
    seen_until: float
    end: float
    width: int
    stages: list

    def motion(self, angles: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        problem = sml.SecondOrderODEProblem(self.acceleration, 0.0 * angles, angles, (0.0, t[-1]))
        return from_pairs(sml.solve(problem, saveat=t, **EXACT).u)


@dataclass
class Outcome:
    name: str
    t: np.ndarray
    q: np.ndarray
    drift: np.ndarray  # (energy - first) / first, over time
    error: float  # root mean square of the angles while motions were seen
    seconds: float

    @property
    def trend(self) -> float:
        """From the mean of the first tenth to that of the last: without what comes and goes."""
        tenth = len(self.drift) // 10
        return float(self.drift[-tenth:].mean() - self.drift[:tenth].mean())


def learn(kind: Kind, case: Case) -> Outcome:
    t = np.linspace(0.0, case.seen_until, 41)
    model = kind.model(case.starts.shape[1], case.width)
    result = sml.fit(
        model,
        (t, kind.form(*case.motion(case.starts, t))),
        strategy=Collocation(nodes=60),
        optimisers=case.stages,
        abstol=1e-7,
        reltol=1e-7,
        **SETTINGS,
    )
    rest = np.zeros((1, len(case.unseen)))
    start = kind.form(rest, case.unseen[None])[0]
    t = np.linspace(0.0, case.end, 1500)
    problem = sml.ODEProblem(model.fitted(result), start, (0.0, case.end))
    followed = sml.solve(problem, engine="native", saveat=t, abstol=1e-9, reltol=1e-9)
    v, q = kind.back(followed.u)
    total = energy(v, q)
    early = t <= case.seen_until
    true = case.motion(case.unseen, t[early])[1]
    return Outcome(
        kind.name,
        t,
        q,
        total / total[0] - 1.0,
        float(np.sqrt(((q[early] - true) ** 2).mean())),
        float(result.history.seconds[-1]),
    )


def cases(short: bool) -> list[Case]:
    random = np.random.default_rng(0)
    single = Case(
        "pendulum",
        pendulum,
        np.array([[0.4], [0.9], [1.4]]),
        np.array([1.0]),
        6.0,
        60.0 if short else 300.0,
        12,
        [Adam(0.02, 100), LBFGS(200 if short else 500)],
    )
    if short:
        return [single]
    double = Case(
        "double pendulum",
        double_pendulum,
        random.uniform(-0.9, 0.9, (16, 2)),
        np.array([0.7, 0.4]),
        6.0,
        300.0,
        32,
        [Adam(0.005, 200, "cosine"), LBFGS(600)],
    )
    return [single, double]


def draw(found: dict[str, list[Outcome]]) -> plt.Figure:
    figure, axes = plt.subplots(
        2, len(found), figsize=(6.5 * len(found), 6.5), squeeze=False, layout="constrained"
    )
    for (upper, lower), (name, outcomes) in zip(axes.T, found.items(), strict=True):
        for i, outcome in enumerate(outcomes):
            upper.plot(outcome.t, outcome.drift, color=f"C{i}", label=outcome.name)
            lower.semilogy(outcome.t[1:], np.abs(outcome.drift[1:]) + 1e-12, color=f"C{i}")
        upper.set_title(f"{name}: energy along the learned motion")
        upper.set_ylabel("relative change of the true energy")
        upper.legend(loc="best")
        lower.set(xlabel="t", ylabel="its absolute value")
    return figure


def main(arguments: list[str] | None = None) -> dict[str, list[Outcome]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the pendulum only, for tests")
    short = parser.parse_args(arguments).short
    found: dict[str, list[Outcome]] = {}
    for case in cases(short):
        print(f"{case.name}, seen to t = {case.seen_until:g}, followed to t = {case.end:g}:")
        print(f"  {'':<25} angle error, early   largest energy error     trend   training")
        found[case.name] = []
        for kind in KINDS:
            outcome = learn(kind, case)
            found[case.name].append(outcome)
            print(
                f"  {kind.name:<25} {outcome.error:18.1e} {np.abs(outcome.drift).max():22.1e}"
                f" {outcome.trend:9.1e} {outcome.seconds:8.1f} s"
            )
    path = Path("output") / "mechanics_networks.png"
    path.parent.mkdir(exist_ok=True)
    draw(found).savefig(path, dpi=150)
    print("picture:", path)
    return found


if __name__ == "__main__":
    main()
