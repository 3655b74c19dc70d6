"""Loss and gradient of a universal differential equation, and of a batch neural ODE.

`python -m benchmarks.gradients`. The first: Lotka-Volterra's growth and death known, a 2-32-2
network beside them, 31 saved points on [0, 3], tolerances 1e-6. The second: 256 trajectories at
once through a 2-64-64-2 network, 10 saved points. torchdiffeq is called as its own README does, on
one thread and, for the batch, on all. diffrax runs in a process of its own, by the Python that
PYSCIML_BENCH_PYTHON names (default: this one).
"""

from __future__ import annotations

import itertools
import json
import os
import sys

import numpy as np

from .timing import Report, Skip, best, in_process, need_engine

TOL = 1e-6
U0 = np.array([0.44249296, 4.6280594])
T = np.linspace(0.0, 3.0, 31)
RATES = np.array([1.3, -1.8])
BATCH_T = np.linspace(0.0, 1.0, 10)


def weights(sizes: tuple[int, ...], seed: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        (0.5 * rng.standard_normal((n, m)) / np.sqrt(m), 0.1 * rng.standard_normal(n))
        for m, n in itertools.pairwise(sizes)
    ]


def batch_start() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((256, 2))


def torch_network(sizes: tuple[int, ...]):
    import torch

    layers = []
    for w, b in weights(sizes):
        linear = torch.nn.Linear(w.shape[1], w.shape[0], dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def torch_models():
    """The two right-hand sides as modules: torchdiffeq's users write them so."""
    import torch

    class Universal(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch_network((2, 32, 2))
            self.register_buffer("rates", torch.from_numpy(RATES))

        def forward(self, t, u):
            return self.rates * u + self.net(u)

    class Batch(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch_network((2, 64, 64, 2))

        def forward(self, t, u):
            return self.net(u)

    return Universal(), Batch()


def by_torchdiffeq(module, u0, t, adjoint: bool):
    """(call, gradient) of loss and gradient with respect to the module's parameters."""
    import torch
    from torchdiffeq import odeint, odeint_adjoint

    solver = odeint_adjoint if adjoint else odeint
    start, times = torch.from_numpy(u0), torch.from_numpy(t)

    def call():
        module.zero_grad()
        loss = (solver(module, start, times, rtol=TOL, atol=TOL) ** 2).mean()
        loss.backward()
        return loss

    def gradient():
        call()
        return np.concatenate([q.grad.numpy().ravel() for q in module.parameters()])

    return call, gradient


def mean_square(u):
    return (u**2).mean()


def study(report: Report, title: str, module, u0, t, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    reference = None
    for engine in ("native", "julia"):
        with report.part(f"{title}, pysciml {engine}"):
            sml = need_engine(engine)
            problem = sml.ODEProblem(module, u0, (float(t[0]), float(t[-1])))
            how = {"engine": engine, "saveat": t, "sensealg": "adjoint"}

            def call(problem=problem, how=how, sml=sml):
                return sml.gradient(problem, mean_square, "Tsit5", **how, abstol=TOL, reltol=TOL)

            if reference is None:
                tight = sml.gradient(
                    problem, mean_square, "Vern7", "native", t, "adjoint", 1e-11, 1e-11
                )
                reference = tight.p_flat
            found = call()
            error = np.abs(found.p_flat - reference).max() / np.abs(reference).max()
            note = f"{found.sensealg}, {found.solution.alg}"
            report.add(f"{title}, pysciml {engine}", best(call), note, error)
    for name, adjoint in (("odeint_adjoint", True), ("odeint", False)):
        with report.part(f"{title}, torchdiffeq {name}"):
            call, gradient = by_torchdiffeq(module, u0, t, adjoint)
            error = None
            if reference is not None:
                error = np.abs(gradient() - reference).max() / np.abs(reference).max()
            note = f"dopri5, {threads} thread{'s' * (threads > 1)}"
            report.add(f"{title}, torchdiffeq {name}", best(call), note, error)
    with report.part(f"{title}, diffrax"):
        python = os.environ.get("PYSCIML_BENCH_PYTHON", sys.executable)
        figure = in_process("-m", "benchmarks.gradients", "diffrax", title, python=python)
        report.add(f"{title}, diffrax", figure["seconds"], figure["note"])


def main() -> int:
    report = Report("gradients", "Loss and gradient: UDE 2-32-2, and 256 trajectories 2-64-64-2")
    universal, batch = torch_models()
    study(report, "UDE", universal, U0, T, threads=1)
    study(report, "batch", batch, batch_start(), BATCH_T, threads=os.cpu_count() or 1)
    for engine in ("native", "julia"):
        report.at_least(f"UDE, pysciml {engine}", 100.0, "UDE, torchdiffeq odeint_adjoint")
        report.at_least(f"UDE, pysciml {engine}", 1.0, "UDE, diffrax")
        report.at_least(f"batch, pysciml {engine}", 1.0, "batch, torchdiffeq odeint_adjoint")
    return report.finish()


def diffrax_figure(title: str) -> dict:
    try:
        import diffrax
        import jax
        import jax.numpy as jnp
    except ImportError as error:
        raise Skip(f"diffrax is not installed ({error})") from error

    jax.config.update("jax_enable_x64", True)
    sizes, u0, t, known = {
        "UDE": ((2, 32, 2), U0, T, RATES),
        "batch": ((2, 64, 64, 2), batch_start(), BATCH_T, np.zeros(2)),
    }[title]

    def network(params, u):
        for w, b in params[:-1]:
            u = jnp.tanh(u @ w.T + b)
        w, b = params[-1]
        return u @ w.T + b

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        states = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda time, u, params: jnp.asarray(known) * u + network(params, u)),
            diffrax.Tsit5(),
            t[0],
            t[-1],
            None,
            jnp.asarray(u0),
            params,
            saveat=diffrax.SaveAt(ts=jnp.asarray(t)),
            stepsize_controller=diffrax.PIDController(rtol=TOL, atol=TOL),
        ).ys
        return (states**2).mean()

    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in weights(sizes)]
    seconds = best(lambda: jax.block_until_ready(loss(params)))
    note = f"Tsit5, default adjoint, jitted, JAX {jax.__version__}, diffrax {diffrax.__version__}"
    return {"seconds": seconds, "note": note}


if __name__ == "__main__":
    if sys.argv[1:2] == ["diffrax"]:
        try:
            print(json.dumps(diffrax_figure(sys.argv[2])))
        except Skip as reason:
            sys.exit(f"skip: {reason}")
    else:
        sys.exit(1 if main() else 0)
