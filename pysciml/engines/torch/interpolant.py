"""Solutions between their saved times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pysciml.engines.base import Array

if TYPE_CHECKING:
    from pysciml.engines.torch.run import Run


class Interpolant:
    """torchdiffeq's own interpolant over the whole span.

    On each step it is a polynomial of degree four at most, so its values at five points of the
    step are all of it. One solve that asks for these points, made on the first call, gives them:
    output times do not change torchdiffeq's steps.
    """

    _NODES = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 5))  # Chebyshev points of a step, 0 to 1

    def __init__(self, run: Run, knots: Array) -> None:
        self._run = run
        self._knots = knots
        self._values: Array | None = None  # (steps, 5, n)

    def __call__(self, times: Array) -> Array:
        if len(self._knots) < 2:
            return self._by_solving(times)
        if self._values is None:
            self._values = self._sample()
        sign = np.sign(self._knots[-1] - self._knots[0])
        last = len(self._knots) - 2
        step = np.searchsorted(sign * self._knots, sign * times, side="right") - 1
        step = np.clip(step, 0, last)
        start = self._knots[step]
        theta = (times - start) / (self._knots[step + 1] - start)
        weights = _lagrange(self._NODES, theta)
        found: Array = np.einsum("mk,mkn->mn", weights, self._values[step])
        return found

    def _sample(self) -> Array:
        start, end = self._knots[:-1, None], self._knots[1:, None]
        inner = start + (end - start) * self._NODES[:-1]
        flat = self._run.at(np.append(inner.ravel(), self._knots[-1]))
        begun = flat[:-1].reshape(*inner.shape, -1)
        return np.concatenate((begun, flat[4::4, None]), axis=1)

    def _by_solving(self, times: Array) -> Array:
        """For a method that does not tell its steps: a solve that asks for these times."""
        t0, t1 = self._run.problem.tspan
        wanted = np.unique(np.append(times, t0))
        if t1 < t0:
            wanted = wanted[::-1].copy()
        flat = self._run.at(wanted)
        sign = np.sign(t1 - t0)
        found: Array = flat[np.searchsorted(sign * wanted, sign * times)]
        return found


def _lagrange(nodes: Array, theta: Array) -> Array:
    """Values of the Lagrange polynomials of `nodes` at `theta`: (len(theta), len(nodes))."""
    difference = theta[:, None] - nodes
    weights = np.empty_like(difference)
    for k, node in enumerate(nodes):
        others = np.delete(nodes, k)
        weights[:, k] = np.delete(difference, k, axis=1).prod(axis=1) / (node - others).prod()
    return weights
