"""The heat equation on a 64 x 64 grid of the unit square: large, array form, solved exactly.

The semi-discrete system is linear and diagonal in the discrete Fourier (periodic) or sine
(Dirichlet) basis, so the reference is exact to rounding.
"""

import numpy as np
import scipy.sparse as sp
import torch
from scipy.fft import dstn

from .base import Problem

N = 64
T_END = 0.02
SAVEAT = np.array([0.001, 0.002, 0.005, 0.01, T_END])


def f_periodic(u, p, t):
    neighbours = (
        torch.roll(u, 1, 0) + torch.roll(u, -1, 0) + torch.roll(u, 1, 1) + torch.roll(u, -1, 1)
    )
    return p[0] * (neighbours - 4 * u)


def f_periodic_numpy(u, p, t):
    lap = np.roll(u, 1, axis=0) + np.roll(u, -1, axis=0) - 4 * u
    lap += np.roll(u, 1, axis=1) + np.roll(u, -1, axis=1)
    return p[0] * lap


def f_dirichlet(u, p, t):
    w = torch.nn.functional.pad(u, (1, 1, 1, 1))
    lap = w[:-2, 1:-1] + w[2:, 1:-1] + w[1:-1, :-2] + w[1:-1, 2:] - 4 * w[1:-1, 1:-1]
    return p[0] * lap


def f_dirichlet_inplace(du, u, p, t):
    du[:] = -4 * p[0] * u
    du[1:] += p[0] * u[:-1]
    du[:-1] += p[0] * u[1:]
    du[:, 1:] += p[0] * u[:, :-1]
    du[:, :-1] += p[0] * u[:, 1:]


def _make(name, f, variants, periodic):
    h = 1.0 / N if periodic else 1.0 / (N + 1)
    x = h * np.arange(N) if periodic else h * np.arange(1, N + 1)
    rate = 1.0 / h**2
    # A narrow bump off the centre excites all modes.
    u0 = np.exp(-40 * ((x[:, None] - 0.4) ** 2 + 2 * (x[None, :] - 0.55) ** 2))
    line = sp.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(N, N)).tolil()
    k = np.arange(N)
    if periodic:
        line[0, -1] = line[-1, 0] = 1.0
        decay = -4.0 * rate * np.sin(np.pi * k / N) ** 2
    else:
        decay = -4.0 * rate * np.sin(np.pi * (k + 1) / (2 * (N + 1))) ** 2
    eye = sp.eye_array(N)
    matrix = (rate * (sp.kron(line, eye) + sp.kron(eye, line))).tocsr()
    both = decay[:, None] + decay[None, :]

    def exact(times):
        if periodic:
            modes = np.fft.fft2(u0)
            return np.array([np.fft.ifft2(np.exp(both * t) * modes).real for t in times])
        modes = dstn(u0, type=1, norm="ortho")
        return np.array([dstn(np.exp(both * t) * modes, type=1, norm="ortho") for t in times])

    return Problem(
        name=name,
        f=f,
        f_scipy=lambda t, y: matrix @ y,
        jac=lambda t, y: matrix,
        u0=u0,
        tspan=(0.0, T_END),
        saveat=SAVEAT,
        p=np.array([rate]),
        variants=variants,
        exact=exact,
        source="Closed form: eigenvectors of the five-point Laplacian.",
    )


PERIODIC = _make("heat_periodic", f_periodic, {"numpy": f_periodic_numpy}, periodic=True)
DIRICHLET = _make("heat_dirichlet", f_dirichlet, {"inplace": f_dirichlet_inplace}, periodic=False)
