"""Models written by hand as C functions: these tests need no capture and no code generator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, cfunc, types

_RHS = types.void(
    types.CPointer(types.double),
    types.CPointer(types.double),
    types.CPointer(types.double),
    types.double,
    types.CPointer(types.double),
)
_JVP = types.void(
    types.CPointer(types.double),
    types.CPointer(types.double),
    types.CPointer(types.double),
    types.double,
    types.CPointer(types.double),
    types.CPointer(types.double),
)


class Native:
    """What the code generator returns: an address and its scratch space."""

    def __init__(self, function: Any, signature: Any = _RHS) -> None:
        self._keep = cfunc(signature)(function)
        self.address = self._keep.address

    def new_work(self) -> np.ndarray:
        return np.zeros(1)


class Model:
    """f, jac, tgrad, jvp as C functions; `sparsity` as a pattern."""

    def __init__(self, n, f, jac=None, tgrad=None, jvp=None, pattern=None):
        self.n = n
        self.compiled = {}
        self.pattern_calls = 0
        self._pattern = pattern
        self.f = Native(f)
        if jac is not None:
            self.jac = Native(jac)
        self.tgrad = Native(tgrad or _zeros(n))
        if jvp is not None:
            self.jvp = Native(jvp, _JVP)

    def sparsity(self):
        self.pattern_calls += 1
        return self._pattern


class Problem:
    """The attributes of ODEProblem that an engine reads."""

    def __init__(self, model, u0, tspan, p=(), mass_matrix=None):
        self.model = model
        self.u0_flat = np.array(u0, dtype=float)
        self.p_flat = np.array(p, dtype=float)
        self.tspan = (float(tspan[0]), float(tspan[1]))
        self.mass_matrix = mass_matrix


def _zeros(n):
    def tgrad(out, u, p, t, work):
        for i in range(n):
            out[i] = 0.0

    return tgrad


def lotka_volterra(tspan=(0.0, 10.0)):
    def f(out, u, p, t, work):
        out[0] = p[0] * u[0] - p[1] * u[0] * u[1]
        out[1] = -p[2] * u[1] + p[3] * u[0] * u[1]

    def jac(out, u, p, t, work):
        out[0] = p[0] - p[1] * u[1]
        out[1] = -p[1] * u[0]
        out[2] = p[3] * u[1]
        out[3] = -p[2] + p[3] * u[0]

    return Problem(Model(2, f, jac), [1.0, 1.0], tspan, [1.5, 1.0, 3.0, 1.0])


__all__ = ["Model", "Native", "Problem", "carray"]
