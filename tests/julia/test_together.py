"""Julia beside torch in one process, in both orders of loading, and called as diffeqpy does."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import pysciml as sml

pytestmark = pytest.mark.julia

TORCH_FIRST = "import torch, pysciml as sml; sml.julia.main()"
JULIA_FIRST = "import juliacall; import pysciml as sml; sml.julia.main(); import torch"
LOOP = """
def lotka_volterra(u, p, t):
    return [p[0] * u[0] - p[1] * u[0] * u[1], -p[2] * u[1] + p[3] * u[0] * u[1]]

problem = sml.ODEProblem(lotka_volterra, [1.0, 1.0], (0.0, 10.0), [1.5, 1.0, 3.0, 1.0])
layer = torch.nn.Linear(2, 1, dtype=torch.float64)
sums = set()
for _ in range(200):
    u = torch.from_numpy(sml.solve(problem, "Tsit5", "julia", 0.1, 1e-8, 1e-8).u)
    layer.zero_grad()
    (layer(u) ** 2).mean().backward()
    big = torch.randn(200, 200) @ torch.randn(200, 200)  # torch's threads, too
    sums.add((float(u.sum()), float(layer.weight.grad.sum())))
assert len(sums) == 1, sums
print("done")
"""


@pytest.mark.parametrize("start", (TORCH_FIRST, JULIA_FIRST), ids=("torch first", "julia first"))
def test_torch_and_julia_in_one_process(start: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import pysciml.julia\n{start}\n{LOOP}"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("done")


def test_the_compiled_function_goes_into_julias_own_problem() -> None:
    """diffeqpy's `de.ODEProblem` and `de.solve` are these Julia functions, called by juliacall."""

    def lotka_volterra(u, p, t):
        return [p[0] * u[0] - p[1] * u[0] * u[1], -p[2] * u[1] + p[3] * u[0] * u[1]]

    u0, p = np.array([1.0, 1.0]), np.array([1.5, 1.0, 3.0, 1.0])
    function = sml.julia.function(lotka_volterra, u0, p)
    de = sml.julia.main().seval(
        "import OrdinaryDiffEqRosenbrock, OrdinaryDiffEqTsit5, SciMLBase;"
        "(; ODEProblem = SciMLBase.ODEProblem, solve = SciMLBase.solve,"
        " Tsit5 = OrdinaryDiffEqTsit5.Tsit5, Rodas5P = OrdinaryDiffEqRosenbrock.Rodas5P)"
    )
    problem = de.ODEProblem(function, u0, (0.0, 10.0), p)
    expected = sml.solve(
        sml.ODEProblem(lotka_volterra, u0, (0.0, 10.0), p), "Vern7", "native", [10.0], 1e-12, 1e-12
    ).u[-1]
    for alg in (de.Tsit5(), de.Rodas5P()):
        solution = de.solve(problem, alg, abstol=1e-10, reltol=1e-10, saveat=10.0)
        np.testing.assert_allclose(np.asarray(solution.u[-1]), expected, rtol=1e-7)


def test_diffeqpy_solves_the_compiled_function() -> None:
    """`diffeqpy.ode` is the OrdinaryDiffEq part of `diffeqpy.de`."""
    pytest.importorskip("diffeqpy", reason="diffeqpy is not installed")
    from diffeqpy import ode
    from scipy.integrate import solve_ivp

    def lorenz(u, p, t):
        x, y, z = u
        return [p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z]

    u0, p = np.array([1.0, 0.0, 0.0]), np.array([10.0, 28.0, 8.0 / 3.0])
    function = sml.julia.function(lorenz, u0, p)
    problem = ode.ODEProblem(function, u0, (0.0, 5.0), p)
    exact = solve_ivp(
        lambda t, u: lorenz(u, p, t), (0.0, 5.0), u0, "DOP853", rtol=1e-13, atol=1e-13
    )
    for alg in (ode.Vern9(), ode.Rodas5P()):
        solution = ode.solve(problem, alg, abstol=1e-11, reltol=1e-11)
        np.testing.assert_allclose(np.asarray(solution.u[-1]), exact.y[:, -1], rtol=1e-6)
