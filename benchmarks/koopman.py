"""Eigenvalues of nonlinear systems: a Koopman autoencoder, and dynamic mode decompositions.

`python -m benchmarks.koopman`. The slow manifold of `examples/koopman.py`, whose eigenvalues are
-0.05 and -1: by DMD, by EDMD with quadratics, and by the same autoencoder with the same loss,
weights to begin with and stages, by `fit` and in plain PyTorch, which has its states from
`torch.linalg.matrix_exp`. Errors are the larger of the two. Then the pendulum, whose frequency
falls with its amplitude; there the error is the mean of the relative ones.
"""

from __future__ import annotations

import runpy
import sys
import time

import numpy as np
import torch

from .learning import adam, lbfgs, timed
from .timing import ROOT, Report, best, need_engine

RATE, ITERATIONS = 0.01, 500  # of Adam, and as many of L-BFGS


def autoencoder():
    import pysciml as sml

    return sml.models.KoopmanAutoencoder(
        sml.nn.mlp([2, 20, 2], seed=1), sml.nn.mlp([2, 20, 2], seed=2), latent=2
    )


def by_fit(engine: str, data):
    sml = need_engine(engine)
    model = autoencoder()

    def train(iterations: int):
        stages = [sml.train.Adam(RATE, iterations), sml.train.LBFGS(iterations)]
        result = sml.fit(
            model, (data.t, data.u), alg="Tsit5", optimisers=stages, engine=engine, progress=False
        )
        return model.fitted(result)

    return timed(train, ITERATIONS)


def by_torch(data):
    t, u = torch.as_tensor(data.t), torch.as_tensor(data.u)

    def train(iterations: int):
        model = autoencoder()

        def loss():
            encoded = model.encoder(u)
            moved = torch.linalg.matrix_exp(t[:, None, None] * model.generator)
            z = encoded[0] @ moved.mT
            return (
                ((model.decoder(z) - u) ** 2).mean()
                + ((model.decoder(encoded) - u) ** 2).mean()
                + ((z - encoded) ** 2).mean()
            )

        adam(model.parameters(), loss, iterations, RATE)
        lbfgs(model.parameters(), loss, iterations)
        return model

    return timed(train, ITERATIONS)


def main() -> int:
    torch.set_num_threads(1)
    sml = need_engine("native")
    example = runpy.run_path(str(ROOT / "examples" / "koopman.py"))
    known = np.array([example["MU"], example["LAM"]])
    starts = np.random.default_rng(0).uniform(-0.5, 0.5, (60, 2))
    problem = sml.ODEProblem(example["slow_manifold"], starts, (0.0, 5.0))
    data = sml.solve(problem, saveat=0.2, **example["EXACT"])
    report = Report("koopman", "Eigenvalues of a slow manifold and of a pendulum")

    def off(values) -> float:
        return max(np.abs(values - value).min() for value in known)

    linear = {
        "slow manifold, DMD": lambda: sml.models.dmd(data.t, data.u),
        "slow manifold, EDMD, quadratics": lambda: sml.models.edmd(
            data.t, data.u, sml.nn.Polynomial(2, 1, 2)
        ),
    }
    for row, call in linear.items():
        report.add(row, best(call, 0.2), "least squares", off(call()))
    trained = {f"slow manifold, {engine}": (by_fit, engine, data) for engine in ("native", "julia")}
    trained["slow manifold, PyTorch"] = (by_torch, data)
    for row, (train, *arguments) in trained.items():
        with report.part(row):
            model, seconds = train(*arguments)
            report.add(row, seconds, f"{2 * ITERATIONS} iterations", off(model.eigenvalues()))
    with report.part("pendulum, native"):
        start = time.process_time()
        asked, found, single, _ = example["learn_pendulum"](False)
        seconds = time.process_time() - start
        exact = example["frequency"](asked)
        one = np.abs(single.imag).max()
        report.add("pendulum, DMD", None, "one frequency for all", np.abs(one / exact - 1).mean())
        wrong = np.abs(np.abs(found.imag) / exact - 1.0)
        note = f"at most {wrong.max():.2g}; amplitudes {asked[0]:g} to {asked[-1]:g}"
        report.add("pendulum, native", seconds, note, wrong.mean())
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
