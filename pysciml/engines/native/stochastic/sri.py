"""Rößler's stochastic Runge-Kutta methods of strong order 3/2: SRI, and SRA for additive noise.

With I_1 = dW, I_11 = (dW^2 - h)/2, I_111 = (dW^3 - 3 h dW)/6 and I_10 = int (W(s) - W(t)) ds, a
step is

    H0_i = u + h sum_j a0_ij f(H0_j) + sum_j b0_ij g(H1_j) I_10/h          at t + c0_i h
    H1_i = u + h sum_j a1_ij f(H0_j) + sqrt(h) sum_j b1_ij g(H1_j)         at t + c1_i h
    u + h sum_i alpha_i f(H0_i)
      + sum_i (beta1_i I_1 + beta2_i I_11/sqrt(h) + beta3_i I_10/h + beta4_i I_111/h) g(H1_i)

(A. Rößler, "Runge-Kutta methods for the strong approximation of solutions of stochastic
differential equations", SIAM J. Numer. Anal. 48 (2010) 922-952). The SRA methods have no a1, b1,
beta2 and beta4. SOSRI and SOSRA are the stability-optimised members of the families (C. Rackauckas,
Q. Nie, "Stability-optimized high order methods and stiffness detection for pathwise stiff
stochastic differential equations", arXiv:1804.04344). The error is estimated by the difference from
the method of order 1 that is embedded in them: u + h f(u) and the terms of beta1 and beta2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pysciml.engines.base import Array
from pysciml.engines.native.common import (
    I_F,
    I_N,
    I_NF,
    I_VJP,
    INLINED,
    ROW_U,
    ROW_UNEW,
    add_to,
    clear,
    copy_row,
)
from pysciml.engines.native.pointers import call_rhs, load, store
from pysciml.engines.native.stochastic.common import (
    I_G,
    I_G_VJP,
    I_GSIZE,
    I_M,
    ROW_ERR,
    ROW_OWN,
    SRI,
    TAB_OWN,
    TAB_STAGES,
    add_outer,
    add_product,
    pull_back,
)

ROW_H0, ROW_H1, ROW_F = ROW_OWN, ROW_OWN + 1, ROW_OWN + 2
MAX_STAGES = 4
# Places in the floats of a tableau: vectors of MAX_STAGES numbers, then matrices by row.
C0, C1, ALPHA, BETA1, BETA2, BETA3, BETA4, A0 = range(0, 8 * MAX_STAGES, MAX_STAGES)
B0, A1, B1 = (A0 + k * MAX_STAGES**2 for k in (1, 2, 3))
TAB_USES_F = TAB_OWN  # for each stage, whether f(H0_i) enters anywhere
# Parts of `chi`.
CHI_10, CHI_11, CHI_111, CHI_ALL, CHI_HIGH = range(5)


Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class SriTableau:
    """Coefficients of a method; matrices by their rows below the diagonal."""

    alpha: tuple[float, ...]
    a0: Rows
    b0: Rows
    c1: tuple[float, ...]
    beta1: tuple[float, ...]
    beta3: tuple[float, ...]
    a1: Rows = ()
    b1: Rows = ()
    beta2: tuple[float, ...] = ()
    beta4: tuple[float, ...] = ()

    @property
    def stages(self) -> int:
        return len(self.alpha)

    @property
    def is_additive(self) -> bool:
        """Whether it is meant for a g that does not depend on u."""
        return not self.b1

    @cached_property
    def floats(self) -> Array:
        packed = np.zeros(B1 + MAX_STAGES**2)
        c0 = tuple(sum(row) for row in self.a0)
        vectors = {C0: c0, C1: self.c1, ALPHA: self.alpha, BETA1: self.beta1, BETA2: self.beta2}
        vectors |= {BETA3: self.beta3, BETA4: self.beta4}
        for at, vector in vectors.items():
            packed[at : at + len(vector)] = vector
        for at, rows in {A0: self.a0, B0: self.b0, A1: self.a1, B1: self.b1}.items():
            for i, row in enumerate(rows):
                packed[at + i * MAX_STAGES :][: len(row)] = row
        return packed

    @cached_property
    def ints(self) -> NDArray[np.int64]:
        a0, a1 = (self.floats[at : at + MAX_STAGES**2].reshape(-1, MAX_STAGES) for at in (A0, A1))
        weights = [self.floats[ALPHA : ALPHA + MAX_STAGES], *a0, *a1]
        return np.array([SRI, self.stages, *(any(column) for column in zip(*weights, strict=True))])


SRIW1 = SriTableau(
    alpha=(1 / 3, 2 / 3, 0.0, 0.0),
    a0=((), (3 / 4,), (0.0, 0.0), (0.0, 0.0, 0.0)),
    b0=((), (3 / 2,), (0.0, 0.0), (0.0, 0.0, 0.0)),
    c1=(0.0, 1 / 4, 1.0, 1 / 4),
    a1=((), (1 / 4,), (1.0, 0.0), (0.0, 0.0, 1 / 4)),
    b1=((), (1 / 2,), (-1.0, 0.0), (-5.0, 3.0, 1 / 2)),
    beta1=(-1.0, 4 / 3, 2 / 3, 0.0),
    beta2=(-1.0, 4 / 3, -1 / 3, 0.0),
    beta3=(2.0, -4 / 3, -2 / 3, 0.0),
    beta4=(-2.0, 5 / 3, -2 / 3, 1.0),
)
SOSRI = SriTableau(
    alpha=(1.140099274172029, -0.6401334255743456, 0.4736296532772559, 0.026404498125060714),
    a0=(
        (),
        (-0.04199224421316468,),
        (2.842612915017106, -2.0527723684000727),
        (4.338237071435815, -2.8895936137439793, 2.3017575594644466),
    ),
    b0=(
        (),
        (-0.21641093549612528,),
        (1.5336352863679572, 0.26066223492647056),
        (-1.0536037558179159, 1.7015284721089472, -0.20725685784180017),
    ),
    c1=(0.0, 0.26204282091330466, 0.05879875232001766, 0.758661169101175),
    a1=(
        (),
        (0.26204282091330466,),
        (0.20903646383505375, -0.1502377115150361),
        (0.05836595312746999, 0.6149440396332373, 0.08535117634046772),
    ),
    b1=(
        (),
        (-0.5119011827621657,),
        (2.67767339866713, -4.9395031322250995),
        (0.15580956238299215, 3.2361551006624674, -1.4223118283355949),
    ),
    beta1=(-1.8453464565104432, 2.688764531100726, -0.2523866501071323, 0.40896857551684956),
    beta2=(0.4969658141589478, -0.5771202869753592, -0.12919702470322217, 0.2093514975196336),
    beta3=(2.8453464565104425, -2.688764531100725, 0.2523866501071322, -0.40896857551684945),
    beta4=(0.11522663875443433, -0.57877086147738, 0.2857851028163886, 0.17775911990655704),
)
SRA1 = SriTableau(
    alpha=(1 / 3, 2 / 3),
    a0=((), (3 / 4,)),
    b0=((), (3 / 2,)),
    c1=(1.0, 0.0),
    beta1=(1.0, 0.0),
    beta3=(-1.0, 1.0),
)
SOSRA = SriTableau(
    alpha=(0.2889874966892885, 0.6859880440839937, 0.025024459226717772),
    a0=((), (0.6923962376159507,), (-3.1609142252828395, 4.1609142252828395)),
    b0=((), (1.3371632704399763,), (1.442371048468624, 1.8632741501139225)),
    c1=(0.0, 0.041248171110700504, 1.0),
    beta1=(-16.792534242221663, 17.514995785380226, 0.27753845684143835),
    beta3=(0.4237535769069274, 0.6010381474428539, -1.0247917243497813),
)


def floats_needed(n: int, gsize: int, stages: int) -> int:
    """Floats of `buf`."""
    return (ROW_F + stages) * n + stages * gsize


def adjoint_floats(n: int, gsize: int, n_p: int, stages: int) -> int:
    """Floats of `buf` behind those, for `pull_back_sri`."""
    return stages * (3 * n + gsize) + 2 * n + n_p


@njit(**INLINED)
def integrals(it, tree, dw, chi, h):  # type: ignore[no-untyped-def]
    """chi = I_10/h, I_11/sqrt(h), I_111/h of each Wiener process."""
    m, root = it[I_M], math.sqrt(h)
    for j in range(m):
        w = load(tree, dw + j)
        store(chi, CHI_10 * m + j, 0.5 * w + load(tree, dw + m + j))
        store(chi, CHI_11 * m + j, 0.5 * (w * w - h) / root)
        store(chi, CHI_111 * m + j, w * (w * w - 3.0 * h) / (6.0 * h))


@njit(**INLINED)
def stage_noise(it, coef, tree, dw, chi, i):  # type: ignore[no-untyped-def]
    """What g(H1_i) is multiplied with in the new state, and the part of it of high order."""
    m = it[I_M]
    b1, b2, b3, b4 = coef[BETA1 + i], coef[BETA2 + i], coef[BETA3 + i], coef[BETA4 + i]
    for j in range(m):
        high = b3 * load(chi, CHI_10 * m + j) + b4 * load(chi, CHI_111 * m + j)
        low = b1 * load(tree, dw + j) + b2 * load(chi, CHI_11 * m + j)
        store(chi, CHI_ALL * m + j, low + high)
        store(chi, CHI_HIGH * m + j, high)


@njit(**INLINED)
def stage_arguments(it, tab, coef, buf, chi, h, i):  # type: ignore[no-untyped-def]
    """H0_i and H1_i, from the stages before."""
    n, gsize = it[I_N], it[I_GSIZE]
    h0, h1, first_g = ROW_H0 * n, ROW_H1 * n, (ROW_F + tab[TAB_STAGES]) * n
    copy_row(buf, h0, ROW_U * n, n)
    copy_row(buf, h1, ROW_U * n, n)
    for j in range(i):
        f, g, at = (ROW_F + j) * n, first_g + j * gsize, i * MAX_STAGES + j
        if coef[A0 + at] != 0.0:
            add_to(buf, h0, h * coef[A0 + at], buf, f, n)
        if coef[B0 + at] != 0.0:
            add_product(it, buf, h0, coef[B0 + at], g, chi, CHI_10 * it[I_M])
        if coef[A1 + at] != 0.0:
            add_to(buf, h1, h * coef[A1 + at], buf, f, n)
        if coef[B1 + at] != 0.0:
            add_to(buf, h1, math.sqrt(h) * coef[B1 + at], buf, g, n)


@njit(**INLINED)
def stage_time(c, t, h, tend):  # type: ignore[no-untyped-def]
    """Time of a stage; `tend` is that of the step's end."""
    return tend if c == 1.0 else t + c * h


@njit(**INLINED)
def sri_step(it, tab, coef, buf, p, work, work_g, tree, chi, dw, t, h, tend):  # type: ignore[no-untyped-def]
    """The state after a step of size h from t, and its error."""
    n, stages, gsize = it[I_N], tab[TAB_STAGES], it[I_GSIZE]
    new, err, first_g = ROW_UNEW * n, ROW_ERR * n, (ROW_F + stages) * n
    integrals(it, tree, dw, chi, h)
    copy_row(buf, new, ROW_U * n, n)
    clear(buf, err, n)
    for i in range(stages):
        f, g = (ROW_F + i) * n, first_g + i * gsize
        stage_arguments(it, tab, coef, buf, chi, h, i)
        if tab[TAB_USES_F + i] == 1:
            time = stage_time(coef[C0 + i], t, h, tend)
            call_rhs(it[I_F], buf, f, buf, ROW_H0 * n, p, time, work)
            it[I_NF] += 1
            add_to(buf, new, h * coef[ALPHA + i], buf, f, n)
            add_to(buf, err, h * (coef[ALPHA + i] - (1.0 if i == 0 else 0.0)), buf, f, n)
        time = stage_time(coef[C1 + i], t, h, tend)
        call_rhs(it[I_G], buf, g, buf, ROW_H1 * n, p, time, work_g)
        stage_noise(it, coef, tree, dw, chi, i)
        add_product(it, buf, new, 1.0, g, chi, CHI_ALL * it[I_M])
        add_product(it, buf, err, 1.0, g, chi, CHI_HIGH * it[I_M])


@njit(**INLINED)
def pull_back_sri(  # type: ignore[no-untyped-def]
    it, tab, coef, buf, own, bar, p, work, work_g, vjp, vjp_g, tree, chi, dw, t, h, tend
):
    """Pull `bar`, the cotangents of the new state and of p, back to the start of the step.

    The state there is in ROW_U; `own`: where the adjoint's part of `buf` begins. The stages are
    computed once more; then, last stage first, each hands on what its arguments get.
    """
    n, m, stages, gsize = it[I_N], it[I_M], tab[TAB_STAGES], it[I_GSIZE]
    first_g, root = (ROW_F + stages) * n, math.sqrt(h)
    args0, args1, to_f = own, own + stages * n, own + 2 * stages * n  # rows, one for each stage
    to_g = to_f + stages * n
    new = to_g + stages * gsize
    out = new + n
    integrals(it, tree, dw, chi, h)
    clear(buf, to_f, stages * (n + gsize) + n)
    add_to(buf, new, 1.0, bar, 0, n)
    for i in range(stages):
        stage_arguments(it, tab, coef, buf, chi, h, i)
        copy_row(buf, args0 + i * n, ROW_H0 * n, n)
        copy_row(buf, args1 + i * n, ROW_H1 * n, n)
        if tab[TAB_USES_F + i] == 1:
            time = stage_time(coef[C0 + i], t, h, tend)
            call_rhs(it[I_F], buf, (ROW_F + i) * n, buf, ROW_H0 * n, p, time, work)
            add_to(buf, to_f + i * n, h * coef[ALPHA + i], buf, new, n)
        time = stage_time(coef[C1 + i], t, h, tend)
        call_rhs(it[I_G], buf, first_g + i * gsize, buf, ROW_H1 * n, p, time, work_g)
        stage_noise(it, coef, tree, dw, chi, i)
        add_outer(it, buf, to_g + i * gsize, 1.0, new, chi, CHI_ALL * m)
    for i in range(stages - 1, -1, -1):
        if tab[TAB_USES_F + i] == 1:
            time = stage_time(coef[C0 + i], t, h, tend)
            pull_back(it, it[I_VJP], buf, out, args0 + i * n, to_f + i * n, p, time, vjp, bar)
            for j in range(i):
                at = i * MAX_STAGES + j
                add_to(buf, to_f + j * n, h * coef[A0 + at], buf, out, n)
                add_outer(it, buf, to_g + j * gsize, coef[B0 + at], out, chi, CHI_10 * m)
        time = stage_time(coef[C1 + i], t, h, tend)
        pull_back(it, it[I_G_VJP], buf, out, args1 + i * n, to_g + i * gsize, p, time, vjp_g, bar)
        for j in range(i):
            at = i * MAX_STAGES + j
            add_to(buf, to_f + j * n, h * coef[A1 + at], buf, out, n)
            if coef[B1 + at] != 0.0:
                add_to(buf, to_g + j * gsize, root * coef[B1 + at], buf, out, n)
