"""Models written by hand as C functions: these tests need no capture and no code generator."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import cfunc, types

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

    is_random = False

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


@cache
def _lotka_volterra():
    def f(out, u, p, t, work):
        out[0] = p[0] * u[0] - p[1] * u[0] * u[1]
        out[1] = -p[2] * u[1] + p[3] * u[0] * u[1]

    def jac(out, u, p, t, work):
        out[0] = p[0] - p[1] * u[1]
        out[1] = -p[1] * u[0]
        out[2] = p[3] * u[1]
        out[3] = -p[2] + p[3] * u[0]

    return Model(2, f, jac)


def lotka_volterra(tspan=(0.0, 10.0)):
    return Problem(_lotka_volterra(), [1.0, 1.0], tspan, [1.5, 1.0, 3.0, 1.0])


@cache
def _closed_form():
    def f(out, u, p, t, work):
        out[0] = -2.0 * t * u[0] * u[0]
        out[1] = u[1] * np.cos(t) + u[0] - 1.0 / (1.0 + t * t)

    def jac(out, u, p, t, work):
        out[0] = -4.0 * t * u[0]
        out[1] = 0.0
        out[2] = 1.0
        out[3] = np.cos(t)

    def tgrad(out, u, p, t, work):
        out[0] = -2.0 * u[0] * u[0]
        out[1] = -u[1] * np.sin(t) + 2.0 * t / ((1.0 + t * t) * (1.0 + t * t))

    return Model(2, f, jac, tgrad)


def closed_form(tspan=(0.0, 2.0)):
    """u = (1/(1 + t^2), exp(sin t)): nonlinear, coupled, depends on t."""
    problem = Problem(_closed_form(), [1.0, 1.0], tspan)
    problem.u0_flat = exact(np.array([problem.tspan[0]]))[0]
    return problem


def exact(t):
    """Solution of `closed_form` at times (m,): (m, 2)."""
    t = np.asarray(t)
    return np.stack([1.0 / (1.0 + t * t), np.exp(np.sin(t))], axis=1)


@cache
def _robertson():
    def f(out, u, p, t, work):
        out[0] = -p[0] * u[0] + p[1] * u[1] * u[2]
        out[1] = p[0] * u[0] - p[1] * u[1] * u[2] - p[2] * u[1] * u[1]
        out[2] = p[2] * u[1] * u[1]

    def jac(out, u, p, t, work):
        out[0], out[1], out[2] = -p[0], p[1] * u[2], p[1] * u[1]
        out[3], out[4], out[5] = p[0], -p[1] * u[2] - 2.0 * p[2] * u[1], -p[1] * u[1]
        out[6], out[7], out[8] = 0.0, 2.0 * p[2] * u[1], 0.0

    return Model(3, f, jac)


def robertson(tspan=(0.0, 1e11)):
    return Problem(_robertson(), [1.0, 0.0, 0.0], tspan, [0.04, 1e4, 3e7])


@cache
def _robertson_dae():
    def f(out, u, p, t, work):
        out[0] = -p[0] * u[0] + p[1] * u[1] * u[2]
        out[1] = p[0] * u[0] - p[1] * u[1] * u[2] - p[2] * u[1] * u[1]
        out[2] = u[0] + u[1] + u[2] - 1.0

    def jac(out, u, p, t, work):
        out[0], out[1], out[2] = -p[0], p[1] * u[2], p[1] * u[1]
        out[3], out[4], out[5] = p[0], -p[1] * u[2] - 2.0 * p[2] * u[1], -p[1] * u[1]
        out[6], out[7], out[8] = 1.0, 1.0, 1.0

    def jvp(out, u, p, t, v, work):
        out[0] = -p[0] * v[0] + p[1] * (v[1] * u[2] + u[1] * v[2])
        out[1] = p[0] * v[0] - p[1] * (v[1] * u[2] + u[1] * v[2]) - 2.0 * p[2] * u[1] * v[1]
        out[2] = v[0] + v[1] + v[2]

    return Model(3, f, jac, jvp=jvp, pattern=sp.csr_matrix(np.ones((3, 3), dtype=bool)))


def robertson_dae(tspan=(0.0, 1e11)):
    """The conservation law in the place of the third equation."""
    mass = np.diag([1.0, 1.0, 0.0])
    return Problem(_robertson_dae(), [1.0, 0.0, 0.0], tspan, [0.04, 1e4, 3e7], mass)


@cache
def _van_der_pol():
    def f(out, u, p, t, work):
        out[0] = u[1]
        out[1] = p[0] * ((1.0 - u[0] * u[0]) * u[1] - p[1] * u[0])

    def jac(out, u, p, t, work):
        out[0], out[1] = 0.0, 1.0
        out[2] = p[0] * (-2.0 * u[0] * u[1] - p[1])
        out[3] = p[0] * (1.0 - u[0] * u[0])

    return Model(2, f, jac)


def van_der_pol(mu, t_end):
    return Problem(_van_der_pol(), [2.0, 0.0], (0.0, t_end), [mu, 1.0 / mu])


def van_der_pol_scaled():
    """The test set's form, with epsilon = 1e-6."""
    return Problem(_van_der_pol(), [2.0, 0.0], (0.0, 2.0), [1e6, 1.0])


@cache
def _hires():
    def f(out, y, p, t, work):
        out[0] = -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007
        out[1] = 1.71 * y[0] - 8.75 * y[1]
        out[2] = -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4]
        out[3] = 8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3]
        out[4] = -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6]
        out[5] = -280.0 * y[5] * y[7] + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6]
        out[6] = 280.0 * y[5] * y[7] - 1.81 * y[6]
        out[7] = -280.0 * y[5] * y[7] + 1.81 * y[6]

    def jac(out, y, p, t, work):
        for i in range(64):
            out[i] = 0.0
        out[0], out[1], out[2] = -1.71, 0.43, 8.32
        out[8], out[9] = 1.71, -8.75
        out[18], out[19], out[20] = -10.03, 0.43, 0.035
        out[25], out[26], out[27] = 8.32, 1.71, -1.12
        out[36], out[37], out[38] = -1.745, 0.43, 0.43
        out[43], out[44], out[46] = 0.69, 1.71, 0.69
        out[45], out[47] = -280.0 * y[7] - 0.43, -280.0 * y[5]
        out[53], out[54], out[55] = 280.0 * y[7], -1.81, 280.0 * y[5]
        out[61], out[62], out[63] = -280.0 * y[7], 1.81, -280.0 * y[5]

    return Model(8, f, jac)


def hires():
    return Problem(_hires(), [1.0, 0, 0, 0, 0, 0, 0, 0.0057], (0.0, 321.8122))


@cache
def _orego():
    def f(out, y, p, t, work):
        out[0] = 77.27 * (y[1] + y[0] * (1.0 - 8.375e-6 * y[0] - y[1]))
        out[1] = (y[2] - (1.0 + y[0]) * y[1]) / 77.27
        out[2] = 0.161 * (y[0] - y[2])

    def jac(out, y, p, t, work):
        out[0] = 77.27 * (1.0 - 2.0 * 8.375e-6 * y[0] - y[1])
        out[1], out[2] = 77.27 * (1.0 - y[0]), 0.0
        out[3], out[4], out[5] = -y[1] / 77.27, -(1.0 + y[0]) / 77.27, 1.0 / 77.27
        out[6], out[7], out[8] = 0.161, 0.0, -0.161

    return Model(3, f, jac)


def orego():
    return Problem(_orego(), [1.0, 2.0, 3.0], (0.0, 360.0))


@cache
def _brusselator(cells):
    n = 2 * cells

    def f(out, u, p, t, work):
        for i in range(cells):
            a, b = u[2 * i], u[2 * i + 1]
            al = u[2 * i - 2] if i > 0 else 1.0
            ar = u[2 * i + 2] if i < cells - 1 else 1.0
            bl = u[2 * i - 1] if i > 0 else 3.0
            br = u[2 * i + 3] if i < cells - 1 else 3.0
            out[2 * i] = p[0] + a * a * b - (p[1] + 1.0) * a + p[2] * (al - 2.0 * a + ar)
            out[2 * i + 1] = p[1] * a - a * a * b + p[2] * (bl - 2.0 * b + br)

    def jvp(out, u, p, t, v, work):
        for i in range(cells):
            a, b, c, d = u[2 * i], u[2 * i + 1], v[2 * i], v[2 * i + 1]
            al = v[2 * i - 2] if i > 0 else 0.0
            ar = v[2 * i + 2] if i < cells - 1 else 0.0
            bl = v[2 * i - 1] if i > 0 else 0.0
            br = v[2 * i + 3] if i < cells - 1 else 0.0
            reaction = 2.0 * a * b * c + a * a * d
            out[2 * i] = reaction - (p[1] + 1.0) * c + p[2] * (al - 2.0 * c + ar)
            out[2 * i + 1] = p[1] * c - reaction + p[2] * (bl - 2.0 * d + br)

    def jac(out, u, p, t, work):
        for i in range(n * n):
            out[i] = 0.0
        for i in range(cells):
            a, b = u[2 * i], u[2 * i + 1]
            row, low = 2 * i * n, (2 * i + 1) * n
            out[row + 2 * i] = 2.0 * a * b - (p[1] + 1.0) - 2.0 * p[2]
            out[row + 2 * i + 1] = a * a
            out[low + 2 * i] = p[1] - 2.0 * a * b
            out[low + 2 * i + 1] = -a * a - 2.0 * p[2]
            if i > 0:
                out[row + 2 * i - 2] = p[2]
                out[low + 2 * i - 1] = p[2]
            if i < cells - 1:
                out[row + 2 * i + 2] = p[2]
                out[low + 2 * i + 3] = p[2]

    ones = [np.ones(n - abs(k)) for k in range(-2, 3)]
    pattern = sp.csr_matrix(sp.diags(ones, [-2, -1, 0, 1, 2])).astype(bool)
    return Model(n, f, jac, jvp=jvp, pattern=pattern)


def brusselator(cells=128, t_end=10.0):
    """One dimension, method of lines, unknowns interleaved; A=1, B=3, alpha=1/50."""
    x = np.arange(1, cells + 1) / (cells + 1)
    u0 = np.stack([1.0 + np.sin(2.0 * np.pi * x), np.full(cells, 3.0)], axis=1).ravel()
    return Problem(_brusselator(cells), u0, (0.0, t_end), [1.0, 3.0, (cells + 1) ** 2 / 50.0])


def brusselator_numpy(t, u):
    """The same right-hand side, for SciPy."""
    cells = u.size // 2
    a, b = u[0::2], u[1::2]
    alpha = (cells + 1) ** 2 / 50.0
    lap = [
        np.convolve(np.pad(w, 1, constant_values=k), [1, -2, 1], "valid")
        for w, k in ((a, 1), (b, 3))
    ]
    out = np.empty_like(u)
    out[0::2] = 1.0 + a * a * b - 4.0 * a + alpha * lap[0]
    out[1::2] = 3.0 * a - a * a * b + alpha * lap[1]
    return out


@cache
def _heat(side):
    def f(out, u, p, t, work):
        for i in range(side):
            for j in range(side):
                k = i * side + j
                s = -4.0 * u[k]
                if i > 0:
                    s += u[k - side]
                if i < side - 1:
                    s += u[k + side]
                if j > 0:
                    s += u[k - 1]
                if j < side - 1:
                    s += u[k + 1]
                out[k] = p[0] * s

    def jvp(out, u, p, t, v, work):
        for i in range(side):
            for j in range(side):
                k = i * side + j
                s = -4.0 * v[k]
                if i > 0:
                    s += v[k - side]
                if i < side - 1:
                    s += v[k + side]
                if j > 0:
                    s += v[k - 1]
                if j < side - 1:
                    s += v[k + 1]
                out[k] = p[0] * s

    second = sp.diags([np.ones(side - 1), np.ones(side), np.ones(side - 1)], [-1, 0, 1])
    eye = sp.identity(side)
    pattern = sp.csr_matrix(sp.kron(second, eye) + sp.kron(eye, second)).astype(bool)
    return Model(side * side, f, jvp=jvp, pattern=pattern)


def heat(side=64, t_end=0.1):
    """Two dimensions, five-point stencil, from an eigenvector: the problem and its exact end."""
    x = np.arange(1, side + 1) / (side + 1)
    mode = np.outer(np.sin(np.pi * x), np.sin(2.0 * np.pi * x)).ravel()
    scale = (side + 1.0) ** 2
    rate = scale * (2 * np.cos(np.pi / (side + 1)) + 2 * np.cos(2 * np.pi / (side + 1)) - 4)
    return Problem(_heat(side), mode, (0.0, t_end), [scale]), mode * np.exp(rate * t_end)


@cache
def _blow_up():
    def f(out, u, p, t, work):
        out[0] = u[0] * u[0]

    def jac(out, u, p, t, work):
        out[0] = 2.0 * u[0]

    return Model(1, f, jac)


def blow_up(t_end=2.0):
    """u = 1/(1 - t): infinite at t = 1."""
    return Problem(_blow_up(), [1.0], (0.0, t_end))


@cache
def _root():
    def f(out, u, p, t, work):
        out[0] = -np.sqrt(u[0])

    return Model(1, f)


def nan_at_start():
    return Problem(_root(), [-1.0], (0.0, 1.0))


@cache
def _square_wave():
    def f(out, u, p, t, work):
        out[0] = 1.0 if t < 0.5 else -1.0

    def jac(out, u, p, t, work):
        out[0] = 0.0

    return Model(1, f, jac)


def square_wave():
    return Problem(_square_wave(), [0.0], (0.0, 1.0))


@cache
def _oscillator():
    def f(out, u, p, t, work):
        out[0], out[1] = u[1], -u[0]

    return Model(2, f)


def oscillator():
    """u = (sin t, cos t) over (0, 5)."""
    return Problem(_oscillator(), [0.0, 1.0], (0.0, 5.0))


def oscillator_exact(t):
    """Solution of `oscillator` at times (m,): (m, 2)."""
    return np.stack([np.sin(t), np.cos(t)], axis=1)
