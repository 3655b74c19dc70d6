"""Tau-leaping: many reactions at a time, as often as a Poisson number says.

The length of a leap is Y. Cao's, D. T. Gillespie's and L. R. Petzold's (J. Chem. Phys. 124 (2006)
044109): no propensity may change by more than a part F_EPSILON of itself. Reactions that are near
to the end of a reactant happen one at a time, and where leaps would be about as short as the time
between two reactions, some are followed exactly. W. Hoermann's transformed rejection draws large
Poisson numbers (Insur. Math. Econ. 12 (1993) 39-45).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pysciml.engines.native.common import F_T, HELPER, I_N, copy_row
from pysciml.engines.native.jumps.common import (
    BLOCK,
    F_EPSILON,
    F_TAU,
    I_EXACT,
    I_M,
    I_REACTION,
    drawn,
    happen,
    pick,
    propensities,
)
from pysciml.engines.native.pointers import load, store

_FEW = 10.0  # reactions: of which a reactant lasts for fewer are critical, of which a leap is none
_EXACT_STEPS = 100  # steps that are followed exactly when leaps are short


@njit(**HELPER)
def poisson(it, buf, mean):  # type: ignore[no-untyped-def]
    """A Poisson number of this mean."""
    if mean < 10.0:
        uniform = load(buf, drawn(it, buf) + BLOCK)
        term = math.exp(-mean)
        count, below = 0.0, term
        while uniform > below and term > 0.0:
            count += 1.0
            term *= mean / count
            below += term
        return count
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    while True:
        at = drawn(it, buf)
        u, log_v = load(buf, at + BLOCK) - 0.5, -load(buf, at)
        us = 0.5 - abs(u)
        count = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and math.exp(log_v) <= 0.9277 - 3.6224 / (b - 2.0):
            return count
        if count < 0.0 or (us < 0.013 and math.exp(log_v) > us):
            continue
        bound = count * math.log(mean) - mean - math.lgamma(count + 1.0)
        if log_v + math.log(inverse_alpha / (a / (us * us) + b)) <= bound:
            return count


@njit(**HELPER)
def _mark_critical(it, buf, net):  # type: ignore[no-untyped-def]
    """Which reactions could use up a reactant soon; returns the sum of their propensities."""
    n, m = it[I_N], it[I_M]
    a, marks, total = 2 * n, 2 * n + m + 2 * BLOCK, 0.0
    for j in range(m):
        critical = 0.0
        for i in range(n):
            change = load(net, j * n + i)
            if change < 0.0 and load(buf, i) < -_FEW * change:
                critical = 1.0
        store(buf, marks + j, critical)
        total += critical * load(buf, a + j)
    return total


@njit(**HELPER)
def _highest(order, own, x):  # type: ignore[no-untyped-def]
    """g of Cao et al., eq. 27: by how much more than x the propensities change, at most.

    Of the reactions of highest order that x takes part in, with `own` of it.
    """
    if own < 2.0:
        return order
    if own < 3.0:
        return 0.5 * order * (2.0 + 1.0 / (x - 1.0))
    return 3.0 + 1.0 / (x - 1.0) + 2.0 / (x - 2.0)


@njit(**HELPER)
def _longest(fl, it, buf, net, orders):  # type: ignore[no-untyped-def]
    """The longest leap that changes the propensities little (eq. 33), critical ones apart."""
    n, m = it[I_N], it[I_M]
    a, marks, tau = 2 * n, 2 * n + m + 2 * BLOCK, math.inf
    for i in range(n):
        order = load(orders, i)
        if order == 0.0:
            continue
        mean, variance = 0.0, 0.0
        for j in range(m):
            if load(buf, marks + j) == 0.0:
                change, rate = load(net, j * n + i), load(buf, a + j)
                mean += change * rate
                variance += change * change * rate
        x = load(buf, i)
        bound = max(fl[F_EPSILON] * x / _highest(order, load(orders, n + i), x), 1.0)
        if variance > 0.0:
            tau = min(tau, bound / abs(mean), bound * bound / variance)
    return tau


@njit(**HELPER)
def _pick_critical(it, buf, total):  # type: ignore[no-untyped-def]
    """One of the critical reactions, by their propensities."""
    n, m = it[I_N], it[I_M]
    a, marks = 2 * n, 2 * n + m + 2 * BLOCK
    chosen, part, found = load(buf, drawn(it, buf) + BLOCK) * total, 0.0, 0
    for j in range(m):
        if load(buf, marks + j) == 1.0 and part <= chosen and load(buf, a + j) > 0.0:
            found = j
            part += load(buf, a + j)
    return found


@njit(**HELPER)
def next_leap(fl, it, buf, p, work, net, orders, limit):  # type: ignore[no-untyped-def]
    """Where the next leap leads, in `buf` behind the state, and its time, `limit` at the latest:
    between the ends of a leap the path is not known.

    Or, where it has to be so, the next jump, as I_REACTION.
    """
    n, m = it[I_N], it[I_M]
    whole = propensities(fl, it, buf, p, work)
    if whole == 0.0 or np.isnan(whole):
        return math.inf if whole == 0.0 else whole
    if it[I_EXACT] > 0:
        it[I_EXACT] -= 1
        return pick(fl, it, buf, whole)
    t, rare = fl[F_T], _mark_critical(it, buf, net)
    tau = fl[F_TAU]
    if tau == 0.0:
        tau = _longest(fl, it, buf, net, orders)
        if tau < _FEW / whole:
            it[I_EXACT] = _EXACT_STEPS
            return pick(fl, it, buf, whole)
    tnew = min(t + tau, limit)
    single = -1
    if rare > 0.0:
        happens = t + load(buf, drawn(it, buf)) / rare
        if happens <= tnew:
            tnew, single = happens, _pick_critical(it, buf, rare)
    it[I_REACTION] = -1
    while True:
        copy_row(buf, n, 0, n)
        if single >= 0:
            happen(n, buf, n, 1.0, single, net)
        for j in range(m):
            if load(buf, 2 * n + m + 2 * BLOCK + j) == 0.0:
                times = poisson(it, buf, load(buf, 2 * n + j) * (tnew - t))
                if times > 0.0:
                    happen(n, buf, n, times, j, net)
        least = 0.0
        for i in range(n):
            least = min(least, load(buf, n + i))
        if least == 0.0:
            return tnew
        tnew, single = t + 0.5 * (tnew - t), -1
