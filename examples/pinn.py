"""Physics-informed networks beside the method of lines.

Four problems, each solved by a network and by a grid: Poisson's equation on a square, Burgers'
equation as it steepens to a shock (M. Raissi, P. Perdikaris, G. E. Karniadakis, J. Comput. Phys.
378 (2019) 686-707), Allen-Cahn's, and the viscosity in Burgers' equation from 500 noisy
observations. The grid is the faster solver of all of them; a network needs no grid, takes data and
unknown parameters in the same loss, and is the solution at every point at once.

Run: python examples/pinn.py [--short]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve

import pysciml as sml
from pysciml import nn
from pysciml.models import PINN, RAD
from pysciml.train import Adam, SSBroyden

NU = 0.01 / math.pi
NOISE = 0.02
RESAMPLE = 250  # iterations until points are drawn anew
DOMAIN = {"x": (-1.0, 1.0), "t": (0.0, 1.0)}
X, T = np.linspace(-1.0, 1.0, 257), np.linspace(0.0, 1.0, 101)


def cole_hopf(x, t, nu=NU):
    """Burgers' equation from -sin(pi x): C. Basdevant et al., Computers & Fluids 14 (1986) 23."""
    nodes, weights = np.polynomial.hermite.hermgauss(150)
    y = np.asarray(x)[..., None] - np.sqrt(4.0 * nu * np.asarray(t)[..., None]) * nodes
    kernel = weights * np.exp(-(1.0 + np.cos(np.pi * y)) / (2.0 * np.pi * nu))
    return -(kernel * np.sin(np.pi * y)).sum(-1) / kernel.sum(-1)


def poisson(**changes) -> PINN:
    def residual(u, x, p):
        source = 2.0 * math.pi**2 * torch.sin(math.pi * x["x"]) * torch.sin(math.pi * x["y"])
        return u.d("x", "x") + u.d("y", "y") + source

    return PINN(
        residual,
        {"x": (0.0, 1.0), "y": (0.0, 1.0)},
        trial=lambda n, x: x["x"] * (1.0 - x["x"]) * x["y"] * (1.0 - x["y"]) * n,
        network=nn.mlp([2, 20, 20, 1]),
        **{"points": 500, **changes},
    )


def burgers(**changes) -> PINN:
    """Initial and boundary values are built in; points gather where the shock is."""
    return PINN(
        lambda u, x, p: u.d("t") + u.value * u.d("x") - NU * u.d("x", "x"),
        DOMAIN,
        trial=lambda n, x: -torch.sin(math.pi * x["x"]) + x["t"] * (1.0 - x["x"] ** 2) * n,
        network=nn.mlp([2, 20, 20, 20, 1]),
        **{"points": 3000, "sampling": RAD(), **changes},
    )


def allen_cahn(**changes) -> PINN:
    """u_t = 0.0001 u_xx + 5 (u - u^3), periodic, from x^2 cos(pi x)."""
    features = nn.PeriodicFeatures(2, waves=2)
    return PINN(
        lambda u, x, p: u.d("t") - 1e-4 * u.d("x", "x") - 5.0 * (u.value - u.value**3),
        DOMAIN,
        network=torch.nn.Sequential(features, nn.mlp([5, 20, 20, 20, 1])),
        trial=lambda n, x: x["x"] ** 2 * torch.cos(math.pi * x["x"]) + x["t"] * n,
        **{"points": 2000, "sampling": RAD(), "causal": 10.0, **changes},
    )


def viscosity(**changes) -> PINN:
    """Burgers' equation with ten times the viscosity, which is unknown: p["nu"]."""
    return PINN(
        lambda u, x, p: u.d("t") + u.value * u.d("x") - p["nu"] * u.d("x", "x"),
        DOMAIN,
        trial=lambda n, x: -torch.sin(math.pi * x["x"]) + x["t"] * (1.0 - x["x"] ** 2) * n,
        network=nn.mlp([2, 20, 20, 20, 1]),
        p={"nu": 0.1},
        **{"points": 1000, **changes},
    )


def observations(seed: int = 0):
    random = np.random.default_rng(seed)
    at = np.stack([random.uniform(-1.0, 1.0, 500), random.uniform(0.0, 1.0, 500)], axis=1)
    u = cole_hopf(at[:, 0], at[:, 1], 10.0 * NU)
    return at, u + NOISE * random.standard_normal(500)


def burgers_by_lines(points: int = 1024):
    """Central differences of u^2/2 and of u, on the points within."""
    h = 2.0 / points
    x = -1.0 + h * np.arange(1, points)

    def f(u, p, t):
        wide = torch.cat([0.0 * u[:1], u, 0.0 * u[:1]])
        left, right = wide[:-2], wide[2:]
        return (left**2 - right**2) / (4.0 * h) + p["nu"] * (left - 2.0 * u + right) / h**2

    return x, sml.ODEProblem(f, -np.sin(np.pi * x), (0.0, 1.0), {"nu": NU})


def allen_cahn_by_lines(points: int = 512):
    """Differences of fourth order."""
    h = 2.0 / points
    x = -1.0 + h * np.arange(points)

    def f(u, p, t):
        near, far = torch.roll(u, 1) + torch.roll(u, -1), torch.roll(u, 2) + torch.roll(u, -2)
        return 1e-4 * (16.0 * near - far - 30.0 * u) / (12.0 * h**2) + 5.0 * (u - u**3)

    return x, sml.ODEProblem(f, x**2 * np.cos(np.pi * x), (0.0, 1.0))


def poisson_by_differences(points: int = 64):
    """Five-point differences and a sparse direct solve."""
    x = np.arange(1, points) / points
    second = sparse.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(x.size, x.size))
    one = sparse.eye_array(x.size)
    matrix = (sparse.kron(second, one) + sparse.kron(one, second)) * points**2
    source = -2.0 * np.pi**2 * np.outer(np.sin(np.pi * x), np.sin(np.pi * x))
    return x, spsolve(matrix.tocsc(), source.ravel()).reshape(source.shape)


def along_lines(x, problem, engine: str = "native"):
    """The solution at the times T: (times, points)."""
    return sml.solve(problem, "Tsit5", engine, saveat=T, abstol=1e-7, reltol=1e-7).u


@dataclass
class Outcome:
    name: str
    error: float  # relative, in the L2 norm; of nu for the viscosity
    seconds: float  # of the processor
    found: PINN
    picture: np.ndarray
    exact: np.ndarray


def relative(found, exact) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def on_square(model: PINN):
    x, y = np.meshgrid(X[128:], X[128:])
    return model.predict(x=x, y=y), np.sin(np.pi * x) * np.sin(np.pi * y)


def on_strip(nu: float):
    x, t = np.meshgrid(X, T)
    exact = cole_hopf(x, t, nu)
    return lambda model: (model.predict(x=x, t=t), exact)


def beside_lines(model: PINN):
    x, problem = allen_cahn_by_lines(1024)
    exact = along_lines(x, problem)
    return model.predict(x=x[::4], t=T[:, None]), exact[:, ::4]


@dataclass(frozen=True)
class Case:
    make: Callable[..., PINN]
    compare: Callable[[PINN], tuple[np.ndarray, np.ndarray]]
    adam: int
    broyden: int
    data: Callable[[], tuple] | None = None


CASES = {
    "Poisson": Case(poisson, on_square, 200, 1000),
    "Burgers": Case(burgers, on_strip(NU), 500, 4000),
    "Allen-Cahn": Case(allen_cahn, beside_lines, 500, 3000),
    "viscosity": Case(viscosity, on_strip(10.0 * NU), 500, 1000, observations),
}


def solve(name: str, share: float = 1.0, finish=None, **changes) -> Outcome:
    """With that share of the iterations, another last stage, and changes of the model."""
    case = CASES[name]
    model = case.make(**changes)
    last = finish or SSBroyden(int(share * case.broyden), resample=RESAMPLE)
    stages = [Adam(0.005, int(share * case.adam), "cosine"), last]
    data = None if case.data is None else case.data()
    start = time.process_time()
    found = model.fitted(sml.fit(model, data, optimisers=stages, progress=False))
    seconds = time.process_time() - start
    picture, exact = case.compare(found)
    error = relative(picture, exact)
    if case.data is not None:
        error = abs(found.p["nu"].item() / (10.0 * NU) - 1.0)
    return Outcome(name, error, seconds, found, picture, exact)


def draw(outcomes: list[Outcome]) -> plt.Figure:
    figure, axes = plt.subplots(2, len(outcomes), figsize=(13, 6), layout="constrained")
    for outcome, (above, below) in zip(outcomes, axes.T, strict=True):
        names = list(outcome.found.domain)
        extent = [*outcome.found.domain[names[1]], *outcome.found.domain[names[0]]]
        image = above.imshow(
            outcome.picture.T, origin="lower", extent=extent, aspect="auto", cmap="RdBu_r"
        )
        figure.colorbar(image, ax=above)
        above.set(title=f"{outcome.name}: {outcome.error:.1e} off", xlabel=names[1], ylabel="x")
        rows = [len(outcome.exact) // 4, len(outcome.exact) // 2, -1]
        x = np.linspace(*outcome.found.domain["x"], outcome.exact.shape[1])
        for k, row in enumerate(rows):
            below.plot(x, outcome.exact[row], color=f"C{k}", linewidth=3, alpha=0.35)
            below.plot(x, outcome.picture[row], color=f"C{k}", linewidth=1)
        below.set_xlabel("x")
    axes[0, 0].set_ylabel("x")
    axes[1, 0].set_ylabel("u: network thin, exact or grid wide")
    return figure


def main(arguments: list[str] | None = None) -> list[Outcome]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few points and iterations")
    short = parser.parse_args(arguments).short
    torch.set_num_threads(1)  # more only slow products of this size down
    outcomes = []
    for name in CASES:
        outcome = solve(name, 0.15, points=300) if short else solve(name)
        outcomes.append(outcome)
        print(f"{name:<12} {outcome.error:.1e} off, {outcome.seconds:.1f} s", flush=True)
    path = Path("output") / "pinn.png"
    path.parent.mkdir(exist_ok=True)
    draw(outcomes).savefig(path, dpi=150)
    print("picture:", path)
    return outcomes


if __name__ == "__main__":
    main()
