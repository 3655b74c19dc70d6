"""From 31 noisy points to the two unknown terms of Lotka and Volterra, on ten seeds.

`python -m benchmarks.discovery`. Growth and death are known; -0.9 x y and 0.8 x y are to be found
(Rackauckas et al., 2020: rates, times and noise). `discover` does it by a network and a refit to
the data. Beside it, without a network: sparse regression (STLSQ, quadratic library) of what is left
of the slopes of the data when the known terms are taken away, by pysciml and by pysindy; for them
the best of many thresholds counts, for each seed, and for pysindy the best of its differentiations:
finite differences, without two points at both ends. The error is the median, over the seeds, of the
larger relative error of both coefficients; a seed counts as found if exactly the two terms are
there, within 2 %.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from .timing import Report, Skip, need_engine

SEEDS = 10
U0 = [0.44249296, 4.6280594]
NOISE = 5e-3
TRUTH = np.array([-0.9, 0.8])
THRESHOLDS = np.geomspace(0.01, 1.0, 25)


def known(u):
    return np.stack([1.3 * u[:, 0], -1.8 * u[:, 1]], axis=1)


def observations(seed: int):
    from scipy.integrate import solve_ivp

    def f(t, u):
        return [1.3 * u[0] - 0.9 * u[0] * u[1], 0.8 * u[0] * u[1] - 1.8 * u[1]]

    t = np.linspace(0.0, 3.0, 31)
    clean = solve_ivp(f, (0, 3), U0, "DOP853", t_eval=t, rtol=1e-10, atol=1e-12).y.T
    noise = np.random.default_rng(seed).standard_normal(clean.shape)
    return t, clean + NOISE * clean.mean(axis=0) * noise


def error_of(coefficients: np.ndarray, product: int) -> float:
    """Of (terms, 2) coefficients, of which row `product` is x y; infinite for other terms."""
    others = np.delete(coefficients, product, axis=0)
    if (others != 0.0).any() or (coefficients[product] == 0.0).any():
        return np.inf
    return float(np.abs(coefficients[product] / TRUTH - 1.0).max())


def by_discover(engine: str):
    sml = need_engine(engine)

    def law(u, p, t, unknown):
        eaten, fed = unknown(u)
        return [1.3 * u[0] + eaten, fed - 1.8 * u[1]]

    def find(seed: int) -> float:
        found = sml.discover.discover(
            law,
            observations(seed),
            sml.nn.mlp([2, 32, 2], "tanh", seed=seed),
            u0=U0,
            names=["x", "y"],
            engine=engine,
            progress=False,
        ).equation
        return error_of(found.coefficients, [str(term) for term in found.terms].index("x*y"))

    return find


def by_slopes(weak: bool):
    from pysciml.discover import Samples, slopes, stlsq, weak_form

    def find(seed: int) -> float:
        data = observations(seed)
        if weak:
            source = _WithoutKnown(weak_form(data, names=["x", "y"]))
        else:
            both = slopes(data, names=["x", "y"])
            source = Samples(both.x, both.y - known(both.x), ("x", "y"))
        return min(
            error_of(stlsq(source, threshold=cut, normalise=False).equation.coefficients, 4)
            for cut in THRESHOLDS
        )

    return find


class _WithoutKnown:
    """A weak form whose right-hand side is what the known terms do not explain."""

    def __init__(self, form):
        self.form, self.inputs, self.outputs = form, form.inputs, form.outputs

    def system(self, library):
        terms, matrix, target = self.form.system(library)
        x, y = (matrix[:, [str(term) for term in terms].index(name)] for name in "xy")
        return terms, matrix, target - np.stack([1.3 * x, -1.8 * y], axis=1)


def by_pysindy():
    try:
        import pysindy
    except ImportError as error:
        raise Skip(f"pysindy: {error}") from error

    def find(seed: int) -> float:
        t, u = observations(seed)
        rates, u = pysindy.FiniteDifference()._differentiate(u, t)[2:-2], u[2:-2]
        matrix = np.asarray(pysindy.PolynomialLibrary(2).fit_transform(u))
        errors = []
        for cut in THRESHOLDS:
            fitted = pysindy.STLSQ(threshold=cut, alpha=0.0).fit(matrix, rates - known(u))
            errors.append(error_of(fitted.coef_.T, 4))
        return min(errors)

    return find


def main() -> int:
    report = Report("discovery", "Two unknown terms of Lotka-Volterra, 31 noisy points, ten seeds")
    parts = {
        "discover, native": lambda: by_discover("native"),
        "discover, julia": lambda: by_discover("julia"),
        "STLSQ of slopes": lambda: by_slopes(weak=False),
        "STLSQ of the weak form": lambda: by_slopes(weak=True),
        "STLSQ, pysindy": by_pysindy,
    }
    for name, make in parts.items():
        with report.part(name):
            find = make()
            find(0)  # compiles
            begin = time.perf_counter()
            errors = np.array([find(seed) for seed in range(SEEDS)])
            each = (time.perf_counter() - begin) / SEEDS
            found = int((errors <= 0.02).sum())
            report.add(name, each, f"{found} of {SEEDS} within 2 %", float(np.median(errors)))
            if name.startswith("discover"):
                report.holds(f"{name} finds them on at least 8 of 10 seeds", found >= 8, str(found))
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
