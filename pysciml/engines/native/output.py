"""Where compiled loops write to: rows of what is saved, and polynomials between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import Array
from pysciml.engines.native import common as c


class Output:
    """Arrays that the integrators write results to."""

    __slots__ = ("d_c", "d_t", "t", "u")

    def __init__(self, t: Array, u: Array, d_t: Array, d_c: Array) -> None:
        self.t, self.u, self.d_t, self.d_c = t, u, d_t, d_c

    def grow(self, it: NDArray[np.int64], width: int, poly: int) -> None:
        """Twice the room for steps. `width`, `poly`: floats of a saved row, of a polynomial."""
        if it[c.I_EVERYSTEP]:
            rows = 2 * self.t.size
            self.t = resized(self.t, rows)
            self.u = resized(self.u, rows * width)
        if it[c.I_DENSE]:
            rows = 2 * (self.d_t.size - 1)
            self.d_t = resized(self.d_t, rows + 1)
            self.d_c = resized(self.d_c, rows * poly)


def resized(array: Array, size: int) -> Array:
    new = np.empty(size)
    new[: array.size] = array
    return new


class Dense:
    """Dense output: times (m,) inside the integrated interval -> states (m, n)."""

    __slots__ = ("coefficients", "degree", "last", "n", "steps", "t")

    def __init__(
        self, degree: int, n: int, out: Output, steps: int, reached: float, last: Array
    ) -> None:
        self.degree, self.n, self.steps, self.last = degree, n, steps, last
        self.t = out.d_t[: steps + 1]
        self.t[steps] = reached
        self.coefficients = out.d_c

    def __call__(self, ts: Array) -> Array:
        ts = np.array(ts, dtype=float, ndmin=1).reshape(-1)
        start, end = self.t[0], self.t[-1]
        low, high = min(start, end), max(start, end)
        outside = ~((ts >= low) & (ts <= high))
        if outside.any():
            raise ValueError(
                f"t = {ts[outside][0]:.17g} is outside the integrated interval "
                f"[{low:.17g}, {high:.17g}]"
            )
        u = np.empty(ts.size * self.n)
        if self.steps:
            tdir = 1.0 if end > start else -1.0
            c.eval_dense(ts, self.t, self.coefficients, self.degree, self.n, tdir, u)
        states = u.reshape(ts.size, self.n)
        states[ts == end] = self.last
        return states
