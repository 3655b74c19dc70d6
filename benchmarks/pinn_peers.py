"""Physics-informed networks in plain PyTorch and in DeepXDE, for `benchmarks.pinn`.

`python -m benchmarks.pinn_peers PEER PROBLEM POINTS ADAM LBFGS` prints seconds of the processor and
the solution at the points of `axes`. Both have the networks, points and numbers of iterations that
pysciml's have, values at the boundary built in the same way, and L-BFGS with 50 steps of memory.
Needs no pysciml, so that it runs in a Python that has DeepXDE.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .learning import adam, lbfgs

NU = 0.01 / math.pi
RATE, MEMORY = 0.005, 50


@dataclass(frozen=True)
class Problem:
    """An equation on a rectangle: x is (points, 2), u (points, 1).

    `residual(x, u, d)` is given derivatives: d(0) by the first coordinate, d(0, 0) twice by it.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    residual: Callable
    trial: Callable  # of x and what the network gives
    sizes: tuple[int, ...]
    features: Callable | None = None  # of x; None: scaled to (-1, 1)

    def inputs(self, x):
        if self.features is not None:
            return self.features(x)
        low, high = x.new_tensor(self.low), x.new_tensor(self.high)
        return (2.0 * x - low - high) / (high - low)

    def axes(self) -> list[np.ndarray]:
        first, second = zip(self.low, self.high, strict=True)
        return [np.linspace(*first, 257), np.linspace(*second, 101)]

    def grid(self) -> np.ndarray:
        """(101 x 257, 2): the second coordinate first."""
        return np.stack(np.meshgrid(*self.axes()), axis=-1).reshape(-1, 2)


def _sines(x):
    return torch.sin(math.pi * x[:, :1]) * torch.sin(math.pi * x[:, 1:])


def _waves(x):
    angles = math.pi * x[:, :1] * x.new_tensor([1.0, 2.0])
    return torch.cat([torch.cos(angles), torch.sin(angles), 2.0 * x[:, 1:] - 1.0], dim=1)


PROBLEMS = {
    "Poisson": Problem(
        (0.0, 0.0),
        (1.0, 1.0),
        lambda x, u, d: d(0, 0) + d(1, 1) + 2.0 * math.pi**2 * _sines(x),
        lambda x, n: (x * (1.0 - x)).prod(dim=1, keepdim=True) * n,
        (2, 20, 20, 1),
    ),
    "Burgers": Problem(
        (-1.0, 0.0),
        (1.0, 1.0),
        lambda x, u, d: d(1) + u * d(0) - NU * d(0, 0),
        lambda x, n: -torch.sin(math.pi * x[:, :1]) + x[:, 1:] * (1.0 - x[:, :1] ** 2) * n,
        (2, 20, 20, 20, 1),
    ),
    "Allen-Cahn": Problem(
        (-1.0, 0.0),
        (1.0, 1.0),
        lambda x, u, d: d(1) - 1e-4 * d(0, 0) - 5.0 * (u - u**3),
        lambda x, n: x[:, :1] ** 2 * torch.cos(math.pi * x[:, :1]) + x[:, 1:] * n,
        (5, 20, 20, 20, 1),
        _waves,
    ),
}


def by_torch(problem: Problem, points: int, adam_steps: int, lbfgs_steps: int):
    torch.manual_seed(0)
    layers = []
    for inputs, outputs in itertools.pairwise(problem.sizes):
        linear = torch.nn.Linear(inputs, outputs, dtype=torch.float64)
        torch.nn.init.xavier_uniform_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        layers += [linear, torch.nn.Tanh()]
    network = torch.nn.Sequential(*layers[:-1])
    unit = torch.quasirandom.SobolEngine(2, scramble=True, seed=0).draw(points, dtype=torch.float64)
    low, high = unit.new_tensor(problem.low), unit.new_tensor(problem.high)
    x = (low + (high - low) * unit).requires_grad_()

    def solution(x):
        return problem.trial(x, network(problem.inputs(x)))

    def loss():
        u = solution(x)
        (slopes,) = torch.autograd.grad(u.sum(), x, create_graph=True)

        def d(*which):
            first = slopes[:, which[0]]
            if len(which) == 1:
                return first[:, None]
            (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
            return second[:, which[1], None]

        return (problem.residual(x, u, d) ** 2).mean()

    loss().backward()  # what is set up once is not counted
    begin = time.process_time()
    adam(network.parameters(), loss, adam_steps, RATE)
    lbfgs(network.parameters(), loss, lbfgs_steps, MEMORY)
    seconds = time.process_time() - begin
    with torch.no_grad():
        return seconds, solution(torch.as_tensor(problem.grid())).numpy()


def by_deepxde(problem: Problem, points: int, adam_steps: int, lbfgs_steps: int):
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde as dde

    dde.config.set_default_float("float64")
    dde.config.set_random_seed(0)

    def residual(x, u):
        def d(*which):
            if len(which) == 1:
                return dde.grad.jacobian(u, x, i=0, j=which[0])
            return dde.grad.hessian(u, x, i=which[0], j=which[1])

        return problem.residual(x, u, d)

    domain = dde.geometry.Rectangle(problem.low, problem.high)
    data = dde.data.PDE(domain, residual, [], num_domain=points, train_distribution="Sobol")
    network = dde.nn.FNN(list(problem.sizes), "tanh", "Glorot uniform")
    network.apply_feature_transform(problem.inputs)
    network.apply_output_transform(problem.trial)
    model = dde.Model(data, network)
    quiet = {"display_every": 10**9, "verbose": 0}
    model.compile("adam", lr=RATE, verbose=0)
    model.train(iterations=1, **quiet)
    begin = time.process_time()
    model.train(iterations=adam_steps, **quiet)
    dde.optimizers.set_LBFGS_options(maxcor=MEMORY, ftol=0, gtol=0, maxiter=lbfgs_steps)
    model.compile("L-BFGS", verbose=0)
    model.train(**quiet)
    seconds = time.process_time() - begin
    return seconds, model.predict(problem.grid())


PEERS = {"PyTorch": by_torch, "DeepXDE": by_deepxde}

if __name__ == "__main__":
    peer, name, *counts = sys.argv[1:]
    torch.set_num_threads(1)
    taken, found = PEERS[peer](PROBLEMS[name], *map(int, counts))
    print(json.dumps([taken, found.ravel().tolist()]))
