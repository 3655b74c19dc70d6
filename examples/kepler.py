"""A planet's orbit over ten thousand years: what symplectic methods are for.

Kepler's problem with eccentricity 0.3, solved with about as many evaluations of the force by
Störmer and Verlet's method, by Kahan and Li's of order 8, and by the classical Runge-Kutta method.
The energy of the first two swings and returns, and the ellipses keep their size: Verlet's only
turns. That of the third is lost bit by bit, and the planet falls.

Run: python examples/kepler.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml

YEAR = 2.0 * np.pi
ECCENTRICITY = 0.3
EVALUATIONS = 340  # of the force in a year
STAGES = {"VelocityVerlet": 1, "RK4": 4, "KahanLi8": 17}


def attraction(du, u, p, t):
    x, y = u
    cubed = (x**2 + y**2) ** 1.5
    return [-p * x / cubed, -p * y / cubed]


def planet(years):
    """At perihelion, with semi-major axis one and a year of 2 pi."""
    e = ECCENTRICITY
    return sml.SecondOrderODEProblem(
        attraction, [0.0, np.sqrt((1 + e) / (1 - e))], [1 - e, 0.0], (0.0, years * YEAR), 1.0
    )


def energy(u):
    velocity, position = u[:, 0], u[:, 1]
    return 0.5 * (velocity**2).sum(axis=1) - 1.0 / np.hypot(*position.T)


def follow(alg, years, saveat):
    dt = STAGES[alg] * YEAR / EVALUATIONS
    return sml.solve(
        planet(years), alg, "native", saveat=saveat, dt=dt, adaptive=False, maxiters=10**8
    )


def draw(orbits, saved):
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for alg, solution in orbits.items():
        x, y = solution.u[:, 1].T
        left.plot(x, y, label=alg)
    left.plot(0.0, 0.0, "k*", markersize=10)
    left.set(aspect="equal", xlabel="x", ylabel="y", title="the last of ten thousand years")
    left.legend(loc="center", bbox_to_anchor=(0.5, 0.3))
    for alg, solution in saved.items():
        error = np.abs(energy(solution.u) + 0.5)
        right.loglog(solution.t[1:] / YEAR, error[1:], ".", markersize=3, label=alg)
    right.set(xlabel="years", ylabel="error of the energy", title="the energy, -1/2 in truth")
    right.grid(alpha=0.3)
    right.legend(markerscale=4, loc="lower right")
    path = Path("output") / "kepler.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    print("picture:", path)


def main(years=10_000):
    samples = np.geomspace(0.01, years, 2000) * YEAR
    saved = {alg: follow(alg, years, samples) for alg in STAGES}
    last = np.linspace(years - 1, years, 400) * YEAR
    orbits = {alg: follow(alg, years, last) for alg in STAGES}
    for alg, solution in saved.items():
        error = np.abs(energy(solution.u) + 0.5)
        early, late = error[samples < 10 * YEAR].max(), error[samples > 0.9 * years * YEAR].max()
        print(f"{alg:15s} error of the energy {early:.1e} in ten years, {late:.1e} at the end")
    draw(orbits, saved)
    return saved


if __name__ == "__main__":
    main()
