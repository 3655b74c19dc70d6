"""Radau IIA collocation with any number of stages, in extended precision: for references only.

The stage residual is evaluated in `np.longdouble` (64-bit mantissa on x86), the Newton correction
in float64, so that the solution is good to more digits than any float64 solver can reach. Where
`longdouble` is float64 (Windows, Apple silicon) it still runs, with fewer digits.

Method: Hairer, Wanner, Solving Ordinary Differential Equations II, IV.5 and IV.8. The step size
follows the last Legendre coefficient of the stage derivatives. That measures the polynomial of
degree s, while the end of a step is of order 2s - 1: with `tol = 1e-11` and nine stages the error
is below rounding.
"""

from __future__ import annotations

import functools

import mpmath as mp
import numpy as np
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg

LD = np.longdouble


def _ld(x):
    return LD(mp.nstr(x, 30))


@functools.cache
def tableau(s):
    """(c, A, A^-1, last), `last @ k` being the highest Legendre coefficient of the values k."""
    with mp.workdps(60):
        shifted = [mp.taylor(lambda x, m=m: mp.legendre(m, 2 * x - 1), 0, m) for m in range(s + 1)]
        poly = list(shifted[s])
        for i, value in enumerate(shifted[s - 1]):
            poly[i] -= value
        c = sorted(mp.re(r) for r in mp.polyroots(poly[::-1], maxsteps=500, extraprec=400))
        powers = mp.matrix(s, s)
        integrals = mp.matrix(s, s)
        for i in range(s):
            for j in range(s):
                powers[i, j] = c[i] ** j
                integrals[i, j] = c[i] ** (j + 1) / (j + 1)
        a = integrals * powers**-1
        a_inv = a**-1
        # The interpolating polynomial's leading monomial coefficient over that of P_{s-1}.
        last = (powers**-1)[s - 1, :] / shifted[s - 1][s - 1]
        as_ld = lambda m: np.array([[_ld(m[i, j]) for j in range(m.cols)] for i in range(m.rows)])  # noqa: E731
        return np.array([_ld(x) for x in c]), as_ld(a), as_ld(a_inv), as_ld(last)[0]


def integrate(f, jac, u0, t0, saveat, *, stages=9, tol=1e-11, scale=1.0, h0=1e-6):
    """States at `saveat` in extended precision, and the number of steps."""
    c, a, a_inv, last = tableau(stages)
    n = len(u0)
    u, t = np.array(u0, dtype=LD), LD(t0)
    scale = np.asarray(scale, dtype=LD)
    a64 = a.astype(float)
    h, out, steps = LD(h0), [], 0
    for target in map(LD, saveat):
        while t < target:
            clipped = t + h * LD("1.000001") >= target
            step = target - t if clipped else h
            weight = scale + np.abs(u)
            z = _stages(f, jac, u, t, step, c, a, a64, weight, n)
            if z is None:
                h = step / 4
                continue
            k = a_inv @ z / step
            error = float(np.max(np.abs(step * (last @ k)) / weight))
            factor = 0.8 * (tol / max(error, 1e-300)) ** (1.0 / stages)
            if error > tol:
                h = step * LD(min(0.9, max(0.1, factor)))
                continue
            u, steps = u + z[-1], steps + 1
            t = target if clipped else t + step
            grown = step * LD(min(4.0, max(0.3, factor)))
            h = max(h, grown) if clipped else grown
        out.append(u.copy())
    return np.array(out), steps


def _stages(f, jac, u, t, h, c, a, a64, weight, n):
    """Solve z = h A f(u + z) by Newton's method; None if it does not converge."""
    s = len(c)
    z = np.zeros((s, n), dtype=LD)
    solve, previous = None, np.inf
    for iteration in range(25):
        rates = np.array([f(t + c[i] * h, u + z[i]) for i in range(s)])
        if not np.all(np.isfinite(rates)):
            return None
        residual = z - h * (a @ rates)
        if solve is None or iteration < 4:
            solve = _factor(jac, u, z, t, h, c, a64, n)
        dz = solve(residual.astype(float))
        z = z - dz
        size = float(np.max(np.abs(dz) / weight))
        if size < 1e-21 or (size < 1e-17 and size > 0.3 * previous):
            return z
        if iteration > 5 and size > 2 * previous and size > 1e-15:
            return None
        previous = size
    return z if size < 1e-17 else None


def _factor(jac, u, z, t, h, c, a64, n):
    s, h = len(c), float(h)
    blocks = [jac(float(t + c[j] * h), (u + z[j]).astype(float)) for j in range(s)]
    if not sp.issparse(blocks[0]):
        matrix = np.eye(s * n)
        for j in range(s):
            matrix[:, j * n : (j + 1) * n] -= h * np.kron(a64[:, j : j + 1], blocks[j])
        lu = scipy.linalg.lu_factor(matrix, check_finite=False)
        return lambda r: scipy.linalg.lu_solve(lu, r.ravel(), check_finite=False).reshape(s, n)
    rows = [[-h * a64[i, j] * blocks[j] for j in range(s)] for i in range(s)]
    matrix = sp.eye_array(s * n) + sp.block_array(rows)
    lu = scipy.sparse.linalg.splu(matrix.tocsc())
    return lambda r: lu.solve(r.ravel()).reshape(s, n)


def growth(f, jac, t0, u0, saveat, states, scale):
    """How much the problem magnifies a small error: max over s <= t of ||W(t)^-1 dphi W(s)||.

    dphi is the derivative of the flow from time s to time t, W = diag(scale + |u|), both times from
    `saveat` and the start, the norm is the maximum norm. An integrator that keeps each local error
    at one tolerance cannot be asked for a global error below about this many tolerances.
    """
    times = np.concatenate([[t0], saveat])
    u = np.vstack([np.asarray(u0, dtype=LD), states])
    w = np.asarray(scale, dtype=LD) + np.abs(u)
    n = u.shape[1]
    worst = 1.0
    products = np.zeros((0, n, n))  # derivatives of the flow from each earlier time to now
    for k in range(len(times) - 1):
        step = np.empty((n, n))
        span = {"stages": 5, "tol": 1e-7, "scale": scale, "h0": (times[k + 1] - times[k]) / 5}
        fixed, _ = integrate(f, jac, u[k], times[k], times[k + 1 : k + 2], **span)
        for j in range(n):
            moved = u[k].copy()
            delta = LD(1e-9) * w[k, j]
            moved[j] += delta
            moved, _ = integrate(f, jac, moved, times[k], times[k + 1 : k + 2], **span)
            step[:, j] = ((moved[0] - fixed[0]) / delta / w[k + 1] * w[k, j]).astype(float)
        products = np.concatenate([step @ products, step[None]])
        worst = max(worst, float(np.abs(products).sum(axis=2).max()))
    return worst
