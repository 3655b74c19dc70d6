"""HIRES: the high irradiance response of photomorphogenesis, 8 unknowns, stiff."""

import numpy as np
import torch

from .base import Problem


def f(u, p, t):
    y1, y2, y3, y4, y5, y6, y7, y8 = u
    return [
        -1.71 * y1 + 0.43 * y2 + 8.32 * y3 + 0.0007,
        1.71 * y1 - 8.75 * y2,
        -10.03 * y3 + 0.43 * y4 + 0.035 * y5,
        8.32 * y2 + 1.71 * y3 - 1.12 * y4,
        -1.745 * y5 + 0.43 * y6 + 0.43 * y7,
        -280.0 * y6 * y8 + 0.69 * y4 + 1.71 * y5 - 0.43 * y6 + 0.69 * y7,
        280.0 * y6 * y8 - 1.81 * y7,
        -280.0 * y6 * y8 + 1.81 * y7,
    ]


def f_matrix(u, p, t):
    """The same in matrix form, on tensors."""
    linear = torch.tensor(_LINEAR)
    reaction = 280.0 * u[5] * u[7]
    direction = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    source = torch.zeros(8, dtype=torch.float64)
    source[0] = 0.0007
    return linear @ u + reaction * direction + source


_LINEAR = np.zeros((8, 8))
_LINEAR[0, :3] = -1.71, 0.43, 8.32
_LINEAR[1, :2] = 1.71, -8.75
_LINEAR[2, 2:5] = -10.03, 0.43, 0.035
_LINEAR[3, 1:4] = 8.32, 1.71, -1.12
_LINEAR[4, 4:7] = -1.745, 0.43, 0.43
_LINEAR[5, 3:7] = 0.69, 1.71, -0.43, 0.69
_LINEAR[6, 6] = -1.81
_LINEAR[7, 6] = 1.81


def f_scipy(t, y):
    out = _LINEAR @ y
    out[0] += 0.0007
    reaction = 280.0 * y[5] * y[7]
    out[5] -= reaction
    out[6] += reaction
    out[7] -= reaction
    return out


def jac(t, y):
    out = _LINEAR.astype(y.dtype)
    for row, sign in ((5, -1.0), (6, 1.0), (7, -1.0)):
        out[row, 5] += sign * 280.0 * y[7]
        out[row, 7] += sign * 280.0 * y[5]
    return out


PROBLEM = Problem(
    name="hires",
    f=f,
    f_scipy=f_scipy,
    jac=jac,
    u0=np.array([1.0, 0, 0, 0, 0, 0, 0, 0.0057]),
    tspan=(0.0, 321.8122),
    saveat=np.array([0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 150, 200, 250, 321.8122]),
    stiff=True,
    scale=1e-2,
    variants={"matrix": f_matrix},
    published=np.array(
        [
            0.7371312573325668e-3,
            0.1442485726316185e-3,
            0.5888729740967575e-4,
            0.1175651343283149e-2,
            0.2386356198831331e-2,
            0.6238968252742796e-2,
            0.2849998395185769e-2,
            0.2850001604814231e-2,
        ]
    ),
    published_rtol=1e-12,
    source="E. Schaefer (1975); Test Set for IVP Solvers, release 2.4 (Bari, 2008), HIRES: RADAU5, "
    "uround 1.01e-19, rtol = atol = 1.1e-18.",
)
