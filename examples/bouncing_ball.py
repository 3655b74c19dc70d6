"""A bouncing ball: events found in compiled code, and a gradient that goes through them.

The ball falls, and at the floor its speed is reversed and multiplied by the restitution. When it
was let go, how high, and what the restitution is are then fitted to noisy pictures of the ball.

Run: python examples/bouncing_ball.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pysciml as sml

TRUTH = {"g": 9.81, "restitution": 0.8}


def falling(u, p, t):
    return [u[1], -p["g"]]


def bounced(u, p, t):
    height, speed = u
    return [height, -p["restitution"] * speed]


def ball(p, u0=(1.5, 0.0), tspan=(0.0, 3.0)):
    floor = sml.ContinuousEvent(lambda u, p, t: u[0], bounced, direction=-1)
    return sml.ODEProblem(falling, u0, tspan, p, names=["height", "speed"], events=[floor])


def bounce_times(height, p, count):
    """The exact times: the first fall, then flights that get shorter by the restitution."""
    fall = np.sqrt(2.0 * height / p["g"])
    return fall + 2.0 * fall * np.cumsum([0.0, *p["restitution"] ** np.arange(1, count)])


def fit_to_pictures(solution, seed=1):
    """Restitution and start from 40 heights with errors of 3 cm."""
    times = np.linspace(0.05, 2.95, 40)
    heights = solution(times)[:, 0] + 0.03 * np.random.default_rng(seed).normal(size=times.size)
    guess = ball({**TRUTH, "restitution": 0.7}, u0=(1.3, 0.3))
    fitted = sml.fit(
        guess, (times, heights[:, None]), observe=[0], fixed=["g"], fit_u0=True,
        strategy=sml.train.GrowingHorizon([0.3, 0.6]), optimisers=sml.train.LBFGS(60),
        engine="native", progress=False,
    )  # fmt: skip
    return times, heights, fitted


def draw(solution, times, heights, fitted):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    solution.plot(ax=left)
    left.legend(loc="lower right")
    left.set_title("height and speed, with the bounces")
    solution.plot(("height", "speed"), ax=middle)
    middle.set_title("phase plane")
    right.plot(times, heights, "k.", label="pictures")
    sml.solve(fitted.problem, abstol=1e-8, reltol=1e-8).plot(0, ax=right, label="fitted")
    right.set_title(f"restitution {fitted.p['restitution']:.3f}, in truth 0.8")
    right.legend()
    path = Path("output") / "bouncing_ball.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    print("picture:", path)


def main():
    problem = ball(TRUTH)
    solution = sml.solve(problem, abstol=1e-10, reltol=1e-10)
    bounces = solution.events[0]
    exact = bounce_times(1.5, TRUTH, len(bounces.t))
    print(f"{len(bounces.t)} bounces at", np.round(bounces.t, 4))
    print(f"largest error of their times: {np.abs(bounces.t - exact).max():.1e}")

    found = sml.gradient(problem, lambda u: u[-1, 0], saveat=[3.0], abstol=1e-10, reltol=1e-10)
    print("height at the end:", found.value, "its gradient:", found.p)

    times, heights, fitted = fit_to_pictures(solution)
    print("fitted:", fitted.p, "let go at", fitted.u0)
    draw(solution, times, heights, fitted)
    return solution, fitted


if __name__ == "__main__":
    main()
