"""Koopman autoencoders: coordinates in which a nonlinear system is linear.

Two systems whose eigenvalues are known. A slow manifold, u1' = mu u1, u2' = lam (u2 - u1^2): linear
in u1, u2 and u1^2, which plain dynamic mode decomposition does not know, extended with quadratics
it does, and the autoencoder finds. And a pendulum, whose frequency falls with its amplitude: no
single matrix has all its eigenvalues, so the network gives them as functions of the radius.

Both are those of Lusch, Kutz and Brunton, Deep learning for universal linear embeddings of
nonlinear dynamics, Nature Communications 9 (2018) 4950.

Run: python examples/koopman.py [--short]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.special import ellipk

import pysciml as sml
from pysciml.models import KoopmanAutoencoder, dmd, edmd
from pysciml.train import LBFGS, Adam, GrowingHorizon

SETTINGS = {"engine": "native", "progress": False}
EXACT = {"engine": "native", "alg": "Vern7", "abstol": 1e-11, "reltol": 1e-11}
MU, LAM = -0.05, -1.0


def slow_manifold(u, p, t):
    return torch.stack([MU * u[..., 0], LAM * (u[..., 1] - u[..., 0] ** 2)], -1)


def pendulum(u, p, t):
    return torch.stack([u[..., 1], -torch.sin(u[..., 0])], -1)


def frequency(amplitude: np.ndarray) -> np.ndarray:
    """Of a pendulum with g/l = 1 (Landau and Lifshitz, Mechanics, section 11, problem 1)."""
    return np.pi / 2.0 / ellipk(np.sin(amplitude / 2.0) ** 2)


def learn_slow_manifold(short: bool) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Eigenvalues by each method, and the known ones that each is asked for."""
    starts = np.random.default_rng(0).uniform(-0.5, 0.5, (20 if short else 60, 2))
    problem = sml.ODEProblem(slow_manifold, starts, (0.0, 5.0))
    data = sml.solve(problem, saveat=0.2, **EXACT)
    width = 12 if short else 20
    model = KoopmanAutoencoder(
        sml.nn.mlp([2, width, 2], seed=1), sml.nn.mlp([2, width, 2], seed=2), latent=2
    )
    stages = [Adam(0.01, 200), LBFGS(300)] if short else [Adam(0.01, 300), LBFGS(1500)]
    result = sml.fit(model, (data.t, data.u), optimisers=stages, **SETTINGS)
    found = {
        "DMD": dmd(data.t, data.u),
        "EDMD, quadratics": edmd(data.t, data.u, sml.nn.Polynomial(2, 1, 2)),
        "autoencoder": model.fitted(result).eigenvalues(),
    }
    known = np.array([MU, LAM])
    print(f"Slow manifold, eigenvalues {MU:g} and {LAM:g}; the nearest that was found:")
    for name, values in found.items():
        near = [values[np.abs(values - value).argmin()].real for value in known]
        print(f"  {name:<18} {near[0]:9.5f} {near[1]:9.5f}")
    print(f"  trained in {result.history.seconds[-1]:.1f} s, loss {result.loss:.1e}")
    return found, known


def learn_pendulum(short: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, KoopmanAutoencoder]:
    """Amplitudes, learned eigenvalues there, and those of DMD."""
    amplitudes = np.linspace(0.3, 2.0, 5) if short else np.linspace(0.2, 2.6, 13)
    starts = np.stack([amplitudes, 0.0 * amplitudes], -1)
    end = 5.0 if short else 10.0
    data = sml.solve(sml.ODEProblem(pendulum, starts, (0.0, end)), saveat=0.25, **EXACT)
    width = 12 if short else 24
    spectrum = sml.nn.mlp([1, 16, 2], seed=3)
    with torch.no_grad():  # neither growing nor at rest to begin with
        spectrum[-1].bias.copy_(torch.tensor([0.0, 1.0]))
    model = KoopmanAutoencoder(
        sml.nn.mlp([2, width, width, 2], seed=1),
        sml.nn.mlp([2, width, width, 2], seed=2),
        latent=2,
        spectrum=spectrum,
    )
    adam = Adam(0.01, 60 if short else 250)
    result = sml.fit(
        model,
        (data.t, data.u),
        optimisers=[adam, LBFGS(100 if short else 800)],
        strategy=GrowingHorizon([0.25, 0.5], optimisers=adam),
        **SETTINGS,
    )
    model = model.fitted(result)
    asked = np.linspace(amplitudes[0], amplitudes[-1], 25)
    found = model.eigenvalues(np.stack([asked, 0.0 * asked], -1))[:, 0]
    single = dmd(data.t, data.u)
    errors = np.abs(np.abs(found.imag) / frequency(asked) - 1.0)
    print(f"Pendulum, amplitudes {asked[0]:g} to {asked[-1]:g}:")
    print(f"  DMD has one frequency, {np.abs(single.imag).max():.3f}")
    print(
        f"  autoencoder: frequencies wrong by {errors.mean():.2%} on average, {errors.max():.2%} at"
        f" most; largest growth {np.abs(found.real).max():.1e}"
    )
    print(f"  trained in {result.history.seconds[-1]:.1f} s, loss {result.loss:.1e}")
    return asked, found, single, model


def draw(slow, of_pendulum) -> plt.Figure:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    found, known = slow
    for i, (name, values) in enumerate(found.items()):
        left.plot(values.real, np.full(len(values), -i), "o", color=f"C{i}", markersize=7)
        left.text(-2.45, 0.15 - i, name, color=f"C{i}")
    for value in known:
        left.axvline(value, color="0.6", linestyle=":")
    left.set(xlim=(-2.5, 0.2), ylim=(-2.6, 0.6), yticks=[])
    left.set(xlabel="eigenvalue", title="Slow manifold (dotted: known)")
    asked, values, single, model = of_pendulum
    middle.plot(asked, frequency(asked), ":", color="black", label="exact")
    middle.plot(asked, np.abs(values.imag), "o", color="C2", markersize=4, label="autoencoder")
    middle.axhline(np.abs(single.imag).max(), color="C0", label="DMD")
    middle.set(xlabel="amplitude", ylabel="frequency", title="Pendulum")
    middle.legend()
    for amplitude in asked[::4]:
        start = np.array([amplitude, 0.0])
        t = np.linspace(0.0, 2.0 * np.pi / frequency(amplitude), 100)
        u = sml.solve(sml.ODEProblem(pendulum, start, (0.0, t[-1])), saveat=t, **EXACT).u
        with torch.no_grad():
            z = model.encoder(torch.as_tensor(u)).numpy()
        right.plot(*z.T, label=f"{amplitude:.1f}")
    right.set_aspect("equal")
    right.set(xlabel="$z_0$", ylabel="$z_1$", title="Its orbits, encoded (by amplitude)")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="less of all, for tests")
    short = parser.parse_args(arguments).short
    slow, of_pendulum = learn_slow_manifold(short), learn_pendulum(short)
    path = Path("output") / "koopman.png"
    path.parent.mkdir(exist_ok=True)
    draw(slow, of_pendulum).savefig(path, dpi=150)
    print("picture:", path)
    return slow, of_pendulum


if __name__ == "__main__":
    main()
