"""Densities in one and two dimensions: continuous normalising flows, and a kernel estimate.

`python -m benchmarks.normalizing_flow`. The hills and the banana of
`examples/normalizing_flow.py` from 1000 samples: a flow with the exact trace by `fit` and by
torchdiffeq with the same weights to begin with, tolerances and iterations of Adam; `fit` with
L-BFGS after these; and SciPy's Gaussian kernels. Errors are the mean log-likelihood of 4000 new
samples, in nats, below that of the true density.
"""

from __future__ import annotations

import runpy
import sys

import numpy as np
import torch

from .learning import adam, timed
from .timing import ROOT, Report, best, need_engine

RATE, ITERATIONS, TOL, PENALTY = 0.03, 100, 1e-4, 1e-4
HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)


def flow(n: int):
    import pysciml as sml

    width = 16 if n == 1 else 32
    network = sml.nn.mlp([n + 1, width, n], seed=0)
    return sml.models.ContinuousNormalizingFlow(network, n)


def by_fit(engine: str, samples, finish: int = 0):
    sml = need_engine(engine)
    model = flow(samples.shape[1])

    def train(iterations: int):
        stages = [sml.train.Adam(RATE, iterations)]
        if finish:
            stages.append(sml.train.LBFGS(min(finish, iterations)))
        result = sml.fit(
            model,
            samples,
            alg="Tsit5",
            optimisers=stages,
            regularise=sml.train.L2(PENALTY, on="module"),
            engine=engine,
            abstol=TOL,
            reltol=TOL,
            progress=False,
        )
        return model.fitted(result)

    return timed(train, ITERATIONS)


def by_torch(samples):
    from torchdiffeq import odeint

    x0, n = torch.as_tensor(samples), samples.shape[1]
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)

    def train(iterations: int):
        model = flow(n)

        def slope(t, state):
            with torch.enable_grad():
                x = state[0].requires_grad_(True)
                dx = model.velocity(x, t)
                trace = sum(
                    torch.autograd.grad(dx[:, i].sum(), x, create_graph=True)[0][:, i]
                    for i in range(n)
                )
            return dx, trace

        def loss():
            x, integral = odeint(slope, (x0, torch.zeros(len(x0)).double()), t, rtol=TOL, atol=TOL)
            density = integral[-1] - 0.5 * (x[-1] ** 2).sum(-1) - n * HALF_LOG_2PI
            penalty = sum((w**2).sum() for w in model.parameters())
            return PENALTY * penalty - density.mean()

        adam(model.parameters(), loss, iterations, RATE)
        return model

    return timed(train, ITERATIONS)


def main() -> int:
    from scipy.stats import gaussian_kde

    torch.set_num_threads(1)
    need_engine("native")
    example = runpy.run_path(str(ROOT / "examples" / "normalizing_flow.py"))
    report = Report("normalizing_flow", "Densities of 1000 samples")
    for density in example["DENSITIES"][:2]:
        samples = density.sample(1000, np.random.default_rng(0))
        new = density.sample(4000, np.random.default_rng(1))
        true = density.log_prob(new).mean()
        kernels = gaussian_kde(samples.T)
        report.add(
            f"{density.name}, Gaussian kernels",
            best(lambda samples=samples: gaussian_kde(samples.T), 0.2),
            "SciPy's, Scott's width",
            true - np.log(kernels(new.T)).mean(),
        )
        cases = {
            "native": lambda samples=samples: by_fit("native", samples),
            "julia": lambda samples=samples: by_fit("julia", samples),
            "torchdiffeq": lambda samples=samples: by_torch(samples),
            "native, then L-BFGS": lambda samples=samples: by_fit("native", samples, ITERATIONS),
        }
        for name, train in cases.items():
            row = f"{density.name}, {name}"
            with report.part(row):
                model, seconds = train()
                found = model.log_prob(new, abstol=1e-6, reltol=1e-6).mean()
                report.add(row, seconds, "", true - found)
        report.at_least(f"{density.name}, native", 1.0, f"{density.name}, torchdiffeq")
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
