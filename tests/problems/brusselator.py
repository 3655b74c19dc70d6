"""The Brusselator with diffusion in one dimension, by the method of lines: stiff and sparse.

u_t = A + u^2 v - (B + 1) u + alpha u_xx,  v_t = B u - u^2 v + alpha v_xx on 0 < x < 1, with
A = 1, B = 3, alpha = 1/50, u = 1 and v = 3 at both ends, u(x, 0) = 1 + sin(2 pi x), v(x, 0) = 3.
"""

import numpy as np
import scipy.sparse as sp
import torch

from .base import Problem

N = 128
X = np.arange(1, N + 1) / (N + 1)
D = (N + 1) ** 2 / 50


def f(w, p, t):
    A, B, d = p
    u, v = w[0], w[1]
    u_left, u_right = torch.roll(u, 1), torch.roll(u, -1)
    v_left, v_right = torch.roll(v, 1), torch.roll(v, -1)
    u_left[0] = u_right[-1] = 1.0
    v_left[0] = v_right[-1] = 3.0
    du = A + u**2 * v - (B + 1) * u + d * (u_left - 2 * u + u_right)
    dv = B * u - u**2 * v + d * (v_left - 2 * v + v_right)
    return torch.stack([du, dv])


def f_inplace(dw, w, p, t):
    """Slices written into the output."""
    u, v = w[0], w[1]
    reaction = u**2 * v
    dw[0] = p[0] + reaction - (p[1] + 1.0) * u
    dw[1] = p[1] * u - reaction
    dw[:, 1:-1] += p[2] * (w[:, :-2] - 2 * w[:, 1:-1] + w[:, 2:])
    dw[0, 0] += p[2] * (1.0 - 2 * u[0] + u[1])
    dw[0, -1] += p[2] * (u[-2] - 2 * u[-1] + 1.0)
    dw[1, 0] += p[2] * (3.0 - 2 * v[0] + v[1])
    dw[1, -1] += p[2] * (v[-2] - 2 * v[-1] + 3.0)


def f_numpy(w, p, t):
    u = np.concatenate([np.array([1.0]), w[0], np.array([1.0])])
    v = np.concatenate([np.array([3.0]), w[1], np.array([3.0])])
    reaction = w[0] * w[0] * w[1]
    du = p[0] + reaction - (p[1] + 1) * w[0] + p[2] * (u[:-2] - 2 * u[1:-1] + u[2:])
    dv = p[1] * w[0] - reaction + p[2] * (v[:-2] - 2 * v[1:-1] + v[2:])
    return np.stack([du, dv])


_LAPLACE = D * sp.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(N, N))


def f_scipy(t, y):
    u, v = y[:N], y[N:]
    out = np.zeros_like(y)
    for i in range(N):
        left = (u[i - 1], v[i - 1]) if i else (1.0, 3.0)
        right = (u[i + 1], v[i + 1]) if i < N - 1 else (1.0, 3.0)
        autocatalysis = u[i] ** 2 * v[i]
        out[i] = 1 + autocatalysis - 4 * u[i] + D * (left[0] - 2 * u[i] + right[0])
        out[N + i] = 3 * u[i] - autocatalysis + D * (left[1] - 2 * v[i] + right[1])
    return out


def jac(t, y):
    u, v = y[:N], y[N:]
    uu, uv = u * u, 2 * u * v
    blocks = [
        [_LAPLACE + sp.diags_array(uv - 4.0), sp.diags_array(uu)],
        [sp.diags_array(3.0 - uv), _LAPLACE - sp.diags_array(uu)],
    ]
    return sp.block_array(blocks, format="csc")


PROBLEM = Problem(
    name="brusselator",
    f=f,
    f_scipy=f_scipy,
    jac=jac,
    u0=np.stack([1 + np.sin(2 * np.pi * X), np.full(N, 3.0)]),
    tspan=(0.0, 10.0),
    saveat=np.linspace(0.0, 10.0, 21)[1:],
    p=np.array([1.0, 3.0, D]),
    stiff=True,
    variants={"inplace": f_inplace, "numpy": f_numpy},
    source="Hairer, Wanner, Solving ODEs II, IV.10 (BRUSS), with N = 128 interior points.",
)
