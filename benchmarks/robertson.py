"""Robertson to t = 1e5 with Rodas5P, reltol 1e-6, abstol 1e-10: a small stiff solve.

`python -m benchmarks.robertson`. Julia gets the analytic Jacobian and time derivative by hand, and
its own automatic differentiation beside it; the faster of the two is the bar.
"""

from __future__ import annotations

import sys

import numpy as np

from .timing import Report, best, need_engine

U0 = np.array([1.0, 0.0, 0.0])
P = np.array([0.04, 3e7, 1e4])
T = 10.0 ** np.arange(-4.0, 6.0)
TSPAN = (0.0, 1e5)
RELTOL, ABSTOL = 1e-6, 1e-10

JULIA = """
function f!(du, u, p, t)
    a, b, c = u
    k1, k2, k3 = p
    du[1] = -k1 * a + k3 * b * c
    du[2] = k1 * a - k2 * b^2 - k3 * b * c
    du[3] = k2 * b^2
    nothing
end
function jac!(J, u, p, t)
    a, b, c = u
    k1, k2, k3 = p
    J[1, 1] = -k1; J[1, 2] = k3 * c; J[1, 3] = k3 * b
    J[2, 1] = k1; J[2, 2] = -2 * k2 * b - k3 * c; J[2, 3] = -k3 * b
    J[3, 1] = 0.0; J[3, 2] = 2 * k2 * b; J[3, 3] = 0.0
    nothing
end
tgrad!(dT, u, p, t) = (fill!(dT, 0.0); nothing)
const U0 = [1.0, 0.0, 0.0]
const P = [0.04, 3e7, 1e4]
const TIMES = 10.0 .^ (-4.0:5.0)
const FULL = SciMLBase.FullSpecialize
const analytic = ODEProblem{true, FULL}(
    ODEFunction{true, FULL}(f!; jac = jac!, tgrad = tgrad!), U0, (0.0, 1e5), P)
const automatic = ODEProblem{true, FULL}(f!, U0, (0.0, 1e5), P)
run(prob) = solve(prob, Rodas5P(); saveat = TIMES, abstol = 1e-10, reltol = 1e-6)
"""


def model(u, p, t):
    a, b, c = u
    k1, k2, k3 = p
    return [-k1 * a + k3 * b * c, k1 * a - k2 * b**2 - k3 * b * c, k2 * b**2]


def main() -> int:
    import numba
    from scipy.integrate import solve_ivp

    report = Report("robertson", "Robertson, t = 1e5, Rodas5P, reltol 1e-6, abstol 1e-10")

    @numba.njit
    def rhs(t, u):
        slow, fast, back = 0.04 * u[0], 3e7 * u[1] ** 2, 1e4 * u[1] * u[2]
        return np.array([back - slow, slow - back - fast, fast])

    @numba.njit
    def jac(t, u):
        b, c = u[1], u[2]
        return np.array(
            [[-0.04, 1e4 * c, 1e4 * b], [0.04, -1e4 * c - 6e7 * b, -1e4 * b], [0, 6e7 * b, 0]]
        )

    def scipy_solve(method, rtol=RELTOL, atol=ABSTOL):
        return solve_ivp(rhs, TSPAN, U0, method, t_eval=T, rtol=rtol, atol=atol, jac=jac)

    exact = scipy_solve("Radau", 1e-11, 1e-16).y.T

    def error(u) -> float:
        return float(np.max(np.abs(np.asarray(u) - exact) / (np.abs(exact) + 1e-7)))

    for engine in ("native", "julia"):
        with report.part(f"pysciml {engine}"):
            sml = need_engine(engine)
            prob = sml.ODEProblem(model, U0, TSPAN, P)

            def solve(prob=prob, engine=engine, sml=sml):
                return sml.solve(
                    prob, "Rodas5P", engine=engine, saveat=T, abstol=ABSTOL, reltol=RELTOL
                )

            report.add(f"pysciml {engine}", best(solve), "", error(solve().u))

    with report.part("Julia, called from Julia"):
        from .julia_side import timed

        figures = {}
        for name in ("analytic", "automatic"):
            seconds, states = timed(JULIA, f"run({name})", states=f"stack(run({name}).u)")
            figures[name] = seconds
            report.add(f"Julia, {name} Jacobian", seconds, "", error(states.T))
        faster = min(figures, key=figures.__getitem__)
        report.add("Julia, called from Julia", figures[faster], f"the {faster} one")

    for method in ("Radau", "LSODA"):
        with report.part(f"SciPy {method} + Numba"):
            seconds = best(lambda method=method: scipy_solve(method))
            report.add(f"SciPy {method} + Numba", seconds, "", error(scipy_solve(method).y.T))

    report.at_most("pysciml native", 3.0, "Julia, called from Julia")
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
