"""Two-dimensional turbulence on a coarse grid, with what the grid cannot see learned.

The vorticity w of a decaying flow, w_t + u . grad w = nu Laplace w, on 64 x 64 points is the
reference. The same scheme on 16 x 16 points is sixteen times smaller and wrong: it lacks what
happens between its points. A small network of convolutions adds that, as the Laplacian of a field,
so that the total vorticity stays; it is trained through the solver, on coarse averages of a few
reference flows, and judged on flows that it has not seen, for twice the time (the idea of
D. Kochkov et al., Machine learning-accelerated computational fluid dynamics, PNAS 118 (2021)).

Run: python examples/navier_stokes_closure.py [--short]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import pysciml as sml
from pysciml.models import UDE, ConvolutionNetwork, Stencil
from pysciml.train import Adam

FINE, COARSE = 64, 16
NU = 0.005
TRAINED = 1.5  # time
LAPLACE = [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]
laplace = Stencil(3, 2, order=2, weights=LAPLACE)


def fourier_basis(n: int):
    """(n, n) orthogonal, cosines and sines, and the eigenvalues of [1, -2, 1] for each."""
    k, j = np.arange(n), np.arange(n)
    frequency = (k + 1) // 2
    angle = 2.0 * np.pi * np.outer(frequency, j) / n
    basis = np.where(k[:, None] % 2 == 1, np.cos(angle), np.sin(angle))
    basis[0], basis[-1] = 1.0, np.cos(np.pi * j)
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    return basis, -4.0 * np.sin(np.pi * frequency / n) ** 2


def vorticity_equation(n: int):
    """The right-hand side on n x n points of a periodic square of side 2 pi: central differences,
    and the streamfunction of the same by a transform."""
    h = 2.0 * np.pi / n
    basis, values = fourier_basis(n)
    both = (values[:, None] + values[None, :]) / h**2
    both[0, 0] = np.inf  # the mean of the streamfunction is free
    basis, inverse = torch.as_tensor(basis), torch.as_tensor(-1.0 / both)

    def along(u, axis):
        return (torch.roll(u, -1, axis) - torch.roll(u, 1, axis)) / (2.0 * h)

    def f(w, p, t):
        psi = basis.T @ (inverse * (basis @ w @ basis.T)) @ basis
        carried = along(along(psi, 1) * w, 0) - along(along(psi, 0) * w, 1)
        return NU * laplace(w) / h**2 - carried

    return f


def random_vorticity(seed: int, n: int = FINE):
    """Smooth, of wave numbers up to 4, of standard deviation 1."""
    random = np.random.default_rng(seed)
    x = 2.0 * np.pi * (np.arange(n) + 0.5) / n
    w = np.zeros((n, n))
    for k in range(-4, 5):
        for m in range(-4, 5):
            if 1 <= k * k + m * m <= 16:
                amplitude, phase = random.normal(), random.uniform(0.0, 2.0 * np.pi)
                w += amplitude * np.cos(k * x[:, None] + m * x[None, :] + phase)
    return w / w.std()


def averaged(w):
    """Means over squares of fine points."""
    side = FINE // COARSE
    return w.reshape(*w.shape[:-2], COARSE, side, COARSE, side).mean((-3, -1))


def run(f, w0, times, engine="native"):
    problem = sml.ODEProblem(f, w0, (0.0, float(times[-1])))
    return sml.solve(problem, "Tsit5", engine, saveat=times, abstol=1e-5, reltol=1e-5)


def closed(seed: int = 0) -> UDE:
    """The coarse equation with a network, which begins as nothing."""
    coarse = vorticity_equation(COARSE)
    network = ConvolutionNetwork([1, 8, 8, 1], seed=seed)
    with torch.no_grad():
        network.convolutions[-1].weight.mul_(1e-2)
        network.convolutions[-1].bias.zero_()
    return UDE(lambda w, p, t, nn: coarse(w, p, t) + laplace(nn(w)), network)


@dataclass
class Outcome:
    times: np.ndarray
    reference: np.ndarray  # (times, 16, 16) of the first unseen flow
    without: np.ndarray
    with_closure: np.ndarray
    error_without: np.ndarray  # (flows, times), relative
    error_with: np.ndarray


def errors(found, reference):
    return np.linalg.norm(found - reference, axis=(1, 2)) / np.linalg.norm(reference, axis=(1, 2))


def train(flows: int, iterations: int, engine: str = "native"):
    times = np.linspace(0.0, TRAINED, 7)
    fine = vorticity_equation(FINE)
    data = [(times, averaged(run(fine, random_vorticity(k), times).u)) for k in range(flows)]
    model = closed()
    result = sml.fit(
        model,
        data,
        u0="data",
        alg="Tsit5",
        engine=engine,
        optimisers=Adam(0.005, iterations, "cosine"),
        abstol=1e-4,
        reltol=1e-4,
        progress=False,
    )
    print(f"loss {result.history.loss[0]:.2e} -> {result.history.loss.min():.2e}")
    return model.fitted(result)


def judge(model, flows: int) -> Outcome:
    times = np.linspace(0.0, 2.0 * TRAINED, 13)
    fine, coarse = vorticity_equation(FINE), vorticity_equation(COARSE)
    runs = []
    for k in range(flows):
        reference = averaged(run(fine, random_vorticity(100 + k), times).u)
        pair = [run(f, reference[0], times).u for f in (coarse, model)]
        runs.append((reference, *pair))
    without = np.array([errors(a, reference) for reference, a, _ in runs])
    with_closure = np.array([errors(b, reference) for reference, _, b in runs])
    return Outcome(times, *runs[0], without, with_closure)


def draw(outcome: Outcome) -> plt.Figure:
    figure = plt.figure(figsize=(12, 6.5), layout="constrained")
    grid = figure.add_gridspec(2, 4)
    largest = np.abs(outcome.reference[0]).max()
    fields = {
        "averages of 64 x 64": outcome.reference,
        "16 x 16": outcome.without,
        "16 x 16, learned closure": outcome.with_closure,
    }
    for column, (name, field) in enumerate(fields.items()):
        for row, k in enumerate((len(outcome.times) // 2, -1)):
            axis = figure.add_subplot(grid[row, column])
            axis.imshow(field[k], cmap="RdBu_r", vmin=-largest, vmax=largest)
            axis.set(title=f"{name}, t = {outcome.times[k]:g}", xticks=[], yticks=[])
    axis = figure.add_subplot(grid[:, 3])
    for error, color, name in (
        (outcome.error_without, "C3", "without"),
        (outcome.error_with, "C0", "with closure"),
    ):
        axis.plot(outcome.times, error.T, color=color, linewidth=0.6, alpha=0.5)
        axis.plot(outcome.times, error.mean(0), color=color, label=name)
    axis.axvline(TRAINED, color="0.7", linestyle=":")
    axis.set(xlabel="t", title="relative error, unseen flows")
    axis.legend()
    return figure


def main(arguments: list[str] | None = None) -> Outcome:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="two flows and few iterations, for tests"
    )
    short = parser.parse_args(arguments).short
    model = train(2, 20) if short else train(4, 150)
    outcome = judge(model, 1 if short else 6)
    for k in (len(outcome.times) // 2, -1):
        without, found = outcome.error_without[:, k].mean(), outcome.error_with[:, k].mean()
        print(
            f"t = {outcome.times[k]:g}: {100 * without:.1f} % off without, {100 * found:.1f} % with"
        )
    path = Path("output") / "navier_stokes_closure.png"
    path.parent.mkdir(exist_ok=True)
    draw(outcome).savefig(path, dpi=150)
    print("picture:", path)
    return outcome


if __name__ == "__main__":
    main()
