"""Seven stars in a plane: 28 unknowns, not stiff, with close encounters."""

import numpy as np
import torch

from .base import Problem

# Positions x, y, then velocities x', y'; star i has mass i.
U0 = np.concatenate(
    [
        [3, 3, -1, -3, 2, -2, 2],
        [3, -3, 2, 0, 0, -4, 4],
        [0, 0, 0, 0, 0, 1.75, -1.5],
        [0, 0, 0, -1.25, 1, 0, 0],
    ]
)


def f(u, p, t):
    x, y, vx, vy = u.reshape(4, 7)
    mass = torch.arange(1.0, 8.0, dtype=torch.float64)
    dx = x[None, :] - x[:, None]
    dy = y[None, :] - y[:, None]
    r3 = (dx**2 + dy**2 + torch.eye(7, dtype=torch.float64)) ** 1.5
    return torch.cat([vx, vy, (dx / r3) @ mass, (dy / r3) @ mass])


def f_loops(du, u, p, t):
    """As in the test set's Fortran: two loops over the stars."""
    for i in range(7):
        sumx = sumy = 0.0
        for j in range(7):
            if j != i:
                r2 = (u[i] - u[j]) ** 2 + (u[i + 7] - u[j + 7]) ** 2
                r3 = r2 * r2**0.5
                sumx = sumx + (j + 1) * (u[j] - u[i]) / r3
                sumy = sumy + (j + 1) * (u[j + 7] - u[i + 7]) / r3
        du[i] = u[i + 14]
        du[i + 7] = u[i + 21]
        du[i + 14] = sumx
        du[i + 21] = sumy


_OTHER = ~np.eye(7, dtype=bool)


def f_scipy(t, y):
    d = y[:14].reshape(2, 1, 7) - y[:14].reshape(2, 7, 1)  # (xy, i, j)
    r2 = np.where(_OTHER, (d * d).sum(axis=0), 1.0)
    pull = np.arange(1, 8) * d / (r2 * np.sqrt(r2))
    return np.concatenate([y[14:], pull.sum(axis=2).ravel()])


def jac(t, y):
    d = y[:14].reshape(2, 1, 7) - y[:14].reshape(2, 7, 1)
    r2 = np.where(_OTHER, (d * d).sum(axis=0), 1.0)
    out = np.zeros((28, 28), dtype=y.dtype)
    out[:14, 14:] = np.eye(14)
    for a in range(2):
        for b in range(2):
            block = np.arange(1, 8) * ((a == b) / r2**1.5 - 3 * d[a] * d[b] / r2**2.5)
            block = np.where(_OTHER, block, 0.0)
            block = block - np.diag(block.sum(axis=1))
            out[14 + 7 * a : 21 + 7 * a, 7 * b : 7 * b + 7] = block
    return out


PROBLEM = Problem(
    name="pleiades",
    f=f,
    f_scipy=f_scipy,
    jac=jac,
    u0=U0,
    tspan=(0.0, 3.0),
    saveat=np.linspace(0.0, 3.0, 31)[1:],
    variants={"loops": f_loops},
    published=np.array(
        [
            0.3706139143970502e0,
            0.3237284092057233e1,
            -0.3222559032418324e1,
            0.6597091455775310e0,
            0.3425581707156584e0,
            0.1562172101400631e1,
            -0.7003092922212495e0,
            -0.3943437585517392e1,
            -0.3271380973972550e1,
            0.5225081843456543e1,
            -0.2590612434977470e1,
            0.1198213693392275e1,
            -0.2429682344935824e0,
            0.1091449240428980e1,
            0.3417003806314313e1,
            0.1354584501625501e1,
            -0.2590065597810775e1,
            0.2025053734714242e1,
            -0.1155815100160448e1,
            -0.8072988170223021e0,
            0.5952396354208710e0,
            -0.3741244961234010e1,
            0.3773459685750630e0,
            0.9386858869551073e0,
            0.3667922227200571e0,
            -0.3474046353808490e0,
            0.2344915448180937e1,
            -0.1947020434263292e1,
        ]
    ),
    published_rtol=1e-12,
    source="Hairer, Norsett, Wanner, Solving ODEs I, II.10; Test Set for IVP Solvers, release 2.4 "
    "(Bari, 2008), PLEI.",
)
