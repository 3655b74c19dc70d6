"""diffeqpy's README: Robertson's equations as an implicit differential-algebraic equation.

The residual is compiled, with its Jacobians, where `de.jit` has no way for DAEs. `mass_matrix.py`
has the same on every engine. Needs Julia.

Run: python examples/from_diffeqpy/dae.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

import pysciml as sml


def f(du, u, p, t):
    return [
        -0.04 * u[0] + 1e4 * u[1] * u[2] - du[0],
        0.04 * u[0] - 3e7 * u[1] ** 2 - 1e4 * u[1] * u[2] - du[1],
        u[0] + u[1] + u[2] - 1.0,
    ]


def f_in_place(resid, du, u, p, t):
    resid[0] = -0.04 * u[0] + 1e4 * u[1] * u[2] - du[0]
    resid[1] = 0.04 * u[0] - 3e7 * u[1] ** 2 - 1e4 * u[1] * u[2] - du[1]
    resid[2] = u[0] + u[1] + u[2] - 1.0


u0 = [1.0, 0.0, 0.0]
du0 = [-0.04, 0.04, 0.0]
tspan = (0.0, 1e5)
kinds = {"differential_vars": [True, True, False], "names": ["y1", "y2", "y3"]}
prob = sml.DAEProblem(f, du0, u0, tspan, **kinds)
same = sml.DAEProblem(f_in_place, du0, u0, tspan, **kinds)


def main(arguments: list[str] | None = None) -> tuple[sml.Solution, sml.Solution]:
    how = {"abstol": 1e-10, "reltol": 1e-8}
    sol, other = sml.solve(prob, **how), sml.solve(same, **how)
    figure, axes = plt.subplots(layout="constrained")
    axes.semilogx(sol.t[1:], sol.u[1:] * [1.0, 1e4, 1.0], label=["y1", "10⁴ y2", "y3"])
    axes.set(xlabel="t")
    axes.legend()
    path = Path("output", "diffeqpy_dae.png")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    return sol, other


if __name__ == "__main__":
    main()
