"""Make the stored reference solutions: `python tests/problems/make_references.py [name ...]`.

Each problem is solved in extended precision (radau_extended) with two numbers of stages and
tolerances, and checked against SciPy's solvers and, where there are some, published values. The
table that is printed says how far they agree; it is stored with the states.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.integrate import solve_ivp

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from problems import PROBLEMS
from problems.base import DATA
from problems.radau_extended import growth, integrate


def difference(problem, u, v):
    scale = np.broadcast_to(np.asarray(problem.scale, dtype=float), problem.u0.shape).ravel()
    return float(np.max(np.abs(u - v) / (scale + np.abs(v))))


def scipy_solution(problem, method):
    kwargs = {"jac": problem.jac} if method in ("Radau", "LSODA", "BDF") else {}
    if method == "LSODA" and sp.issparse(problem.jac(0.0, problem.u0.ravel())):
        kwargs = {}
    scale = np.broadcast_to(np.asarray(problem.scale, dtype=float), problem.u0.shape).ravel()
    rtol = 1e-13 if method != "Radau" else 1e-12
    solution = solve_ivp(
        problem.f_scipy,
        problem.tspan,
        problem.u0.ravel(),
        method=method,
        t_eval=problem.saveat,
        rtol=rtol,
        atol=1e-13 * scale,
        **kwargs,
    )
    return solution.y.T if solution.success else None


def sampled_growth(problem, states, scale):
    """`growth` of a large problem: a lower bound, from a few perturbations instead of all.

    From each saved time an error of one tolerance in all components, with four patterns of signs,
    is followed to the end.
    """
    times = np.concatenate([problem.tspan[:1], problem.saveat])
    u = np.vstack([problem.u0.ravel(), states])
    half = np.repeat([1.0, -1.0], problem.n // 2)
    waves = np.sign(np.sin(np.linspace(0, 8 * np.pi, problem.n) + 0.1))
    worst, delta = 1.0, 1e-5
    for k in range(len(times) - 1):
        for signs in (np.ones(problem.n), half, waves, waves * half):
            moved = solve_ivp(
                problem.f_scipy,
                (times[k], times[-1]),
                u[k] + delta * signs * (scale + np.abs(u[k])),
                method="Radau",
                t_eval=times[k + 1 :],
                rtol=1e-7,
                atol=1e-8 * scale,
                jac=problem.jac,
            ).y.T
            change = np.abs(moved - u[k + 1 :]) / (delta * (scale + np.abs(u[k + 1 :])))
            worst = max(worst, float(change.max()))
    return worst


def make(problem):
    start = time.perf_counter()
    args = (problem.f_scipy, problem.jac, problem.u0.ravel(), problem.tspan[0], problem.saveat)
    large = problem.n > 100
    fine = {"stages": 7 if large else 9, "tol": 1e-10 if large else 1e-11}
    coarse = {"stages": 5 if large else 7, "tol": 1e-9 if large else 1e-10}
    scale = np.broadcast_to(np.asarray(problem.scale, dtype=float), problem.u0.shape).ravel()
    extended, steps = integrate(*args, scale=1e-3 * scale, **fine)
    other, _ = integrate(*args, scale=1e-3 * scale, **coarse)
    states = extended.astype(float)
    report = {"two runs": difference(problem, other.astype(float), states)}
    if large:
        amplification = sampled_growth(problem, states, scale)
    else:
        amplification = growth(
            problem.f_scipy, problem.jac, problem.tspan[0], problem.u0.ravel(), problem.saveat,
            extended, scale,
        )  # fmt: skip
    for method in ("Radau", "LSODA") if problem.stiff else ("DOP853", "LSODA"):
        u = scipy_solution(problem, method)
        report[method] = np.inf if u is None else difference(problem, u, states)
    if problem.published is not None:
        relative = np.abs(states[-1] / problem.published - 1)
        report["published"] = float(relative.max())
    DATA.mkdir(exist_ok=True)
    np.savez_compressed(
        DATA / f"{problem.name}.npz",
        t=problem.saveat,
        u=states.reshape(len(problem.saveat), -1),
        amplification=amplification,
        **{f"agreement_{key.replace(' ', '_')}": value for key, value in report.items()},
    )
    line = ", ".join(f"{key} {value:.1e}" for key, value in report.items())
    seconds = time.perf_counter() - start
    name = problem.name
    print(f"{name}: {steps} steps, amplification {amplification:.3g}, {line} ({seconds:.0f} s)")


def main(names):
    for problem in PROBLEMS.values():
        if problem.exact is None and not problem.data and (not names or problem.name in names):
            make(problem)


if __name__ == "__main__":
    main(sys.argv[1:])
