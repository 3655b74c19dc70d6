"""Predator and prey: solve, look between the saved times, and draw.

Run: python examples/lotka_volterra.py
"""

from pathlib import Path

import matplotlib.pyplot as plt

import pysciml as sml


def lotka_volterra(u, p, t):
    prey, predator = u
    return [
        p["alpha"] * prey - p["beta"] * prey * predator,
        p["delta"] * prey * predator - p["gamma"] * predator,
    ]


rates = {"alpha": 1.5, "beta": 1.0, "gamma": 3.0, "delta": 1.0}
problem = sml.ODEProblem(lotka_volterra, [1.0, 1.0], (0.0, 10.0), rates, names=["prey", "predator"])
solution = sml.solve(problem, abstol=1e-8, reltol=1e-8)
print(solution)
print("at t = 3.7:", solution(3.7))

hungrier = problem.remake(p={**rates, "delta": 1.3})  # the captured model is used again
print("more food per prey:", sml.solve(hungrier, saveat=1.0).u[-1])

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
solution.plot(ax=left)
solution.plot(("prey", "predator"), ax=right)
path = Path("output") / "lotka_volterra.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=150)
print("picture:", path)
