"""Dense output of random problems: straight lines between steps, and rest between jumps."""

from __future__ import annotations

import numpy as np

from pysciml.engines.base import Array


class Lines:
    """Times (m,) between the first and the last of `t` -> states (m, n)."""

    def __init__(self, t: Array, u: Array) -> None:
        self._t, self._u = t, u

    def __call__(self, times: Array) -> Array:
        t, u = self._t, self._u
        if len(t) == 1:
            return np.repeat(u, times.size, axis=0)
        left = np.clip(np.searchsorted(t, times, side="right") - 1, 0, len(t) - 2)
        theta = ((times - t[left]) / (t[left + 1] - t[left]))[:, None]
        states: Array = (1.0 - theta) * u[left] + theta * u[left + 1]
        return states


class Steps:
    """Constant from each time on, until the next: times (m,) -> states (m, n)."""

    def __init__(self, t: Array, u: Array) -> None:
        self._t, self._u = t, u

    def __call__(self, times: Array) -> Array:
        found: Array = self._u[np.searchsorted(self._t, times, side="right") - 1]
        return found
