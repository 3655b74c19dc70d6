"""What one reference problem consists of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Problem:
    """One initial value problem: the model under test and everything to judge it by.

    `f` is what a user would write and what gets captured. `f_scipy(t, y)` and `jac(t, y)` are
    written independently in plain NumPy on the flat state; they work in any dtype (complex for the
    complex step, extended precision for the references).
    """

    name: str
    f: Callable[..., Any]  # f(u, p, t), u in the shape of u0
    f_scipy: Callable[[float, Any], Any]  # f(t, y), y flat
    jac: Callable[[float, Any], Any]  # (n, n), dense or SciPy sparse
    u0: np.ndarray
    tspan: tuple[float, float]
    saveat: np.ndarray  # inside (t0, t_end], the last one is t_end
    p: np.ndarray | None = None
    mass_matrix: np.ndarray | None = None
    stiff: bool = False
    scale: float | np.ndarray = 1.0  # tests ask for abstol = reltol * scale
    variants: Mapping[str, Callable[..., Any]] = field(default_factory=dict)  # f, written otherwise
    published: np.ndarray | None = None  # flat state at t_end, from the literature
    published_rtol: float = 0.0  # relative agreement of `reference` with it, checked by a test
    source: str = ""
    data: str = ""  # name of the file with the reference; default: name
    exact: Callable[[np.ndarray], np.ndarray] | None = None  # times -> states, when there is one

    @property
    def n(self) -> int:
        return self.u0.size

    @functools.cached_property
    def _stored(self) -> dict[str, np.ndarray]:
        with np.load(DATA / f"{self.data or self.name}.npz") as stored:
            return dict(stored)

    @functools.cached_property
    def reference(self) -> np.ndarray:
        """States at `saveat`, (len(saveat), *u0.shape)."""
        if self.exact is not None:
            return self.exact(self.saveat)
        if not np.array_equal(self._stored["t"], self.saveat):
            raise RuntimeError(
                f"{self.name}: saveat changed, run tests/problems/make_references.py"
            )
        return self._stored["u"].reshape(len(self.saveat), *self.u0.shape)

    @functools.cached_property
    def amplification(self) -> float:
        """How much the problem magnifies an error of one tolerance, see radau_extended.growth."""
        return 1.0 if self.exact is not None else float(self._stored["amplification"])

    def weights(self, reltol: float) -> np.ndarray:
        """The size of error that `reltol` and `abstol = reltol * scale` ask for, at `saveat`."""
        scale = np.broadcast_to(np.asarray(self.scale, dtype=float), self.u0.shape)
        return reltol * (scale + np.abs(self.reference))

    def error(self, u: np.ndarray, reltol: float) -> float:
        """Largest error of states at `saveat`, in units of the requested tolerance."""
        return float(np.max(np.abs(np.asarray(u) - self.reference) / self.weights(reltol)))

    def abstol(self, reltol: float) -> float | np.ndarray:
        return reltol * self.scale
