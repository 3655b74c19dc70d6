"""Brownian motion as a function of a seed: any increment of any path, in any order.

A path is a binary tree (a virtual Brownian tree). Its root is an interval of time of which W and
the space-time Lévy area H are known; a node halves an interval given two normal numbers, which are
hashed from (seed, trajectory, component, node). So a path is the same whatever steps are taken, in
whatever order, in whatever thread, and nothing of it is stored but the nodes above the present one.

For an interval of length h with increment w and H = (1/h) int (W(s) - W(a) - (s - a)/h w) ds, which
is N(0, h/12) and independent of w, the halves have, with z1 ~ N(0, h/16) and z2 ~ N(0, h/48),

    w = w/2 +- (3/2 H + z1),   H = H/4 - z1/2 +- z2

(A. Jelincic, J. Foster, P. Kidger, "Single-seed generation of Brownian paths and integrals for
adaptive and high order SDE solvers", arXiv:2405.06464, 2024, section 3). The generator is that of
`native.philox`, the normal quantile function is M. J. Wichura's AS 241 (Appl. Statist. 37 (1988)
477-484), which is exact to about 1e-16. Its loops, and those that draw, are written so that the
compiler makes vectors of them.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from pysciml.engines.base import Array
from pysciml.engines.native.common import HELPER, INLINED, add_to, clear
from pysciml.engines.native.philox import philox, unit
from pysciml.engines.native.pointers import load, store
from pysciml.engines.native.stochastic.common import (
    I_BLOCK,
    I_BLOCK_AT,
    I_BLOCK_POWER,
    I_DEEP,
    I_GRID,
    I_M,
    I_SCRATCH,
    I_SEED,
    I_SUM,
    I_TICK,
    I_TRAJECTORY,
)

# Time is counted in ticks: the root has 2**DEPTH of them.
DEPTH = 48
# In `tree` the square roots of the nodes' lengths come first, by level; then, from _ROOT on, two
# nodes for each level: those into which the present node above is divided, with w and H of all
# components of the left one, then of the right one (of level 0 there is the left one only). Behind
# them lie the nodes of a block, see `_cell`, a sum of nodes, and room to draw numbers.
_ROOT = DEPTH + 1
_BLOCK_FLOATS = 1024  # a block has about so many
# A component's number takes the lower bits of the counter's second half, a trajectory's the others.
_COMPONENT_BITS = 24
MAX_COMPONENTS = 2**_COMPONENT_BITS
MAX_TRAJECTORIES = 2 ** (63 - _COMPONENT_BITS)

_ROOT12, _ROOT48 = 12.0**-0.5, 48.0**-0.5


def new_tree(it: NDArray[np.int64], root: float, level: int) -> Array:
    """Room for trees whose roots have this length and that are descended to `level`.

    `it` gets the places in it; I_M and I_GRID are set.
    """
    m = int(it[I_M])
    power = 0
    if it[I_GRID]:
        depth_of_grid = DEPTH - int(it[I_GRID]).bit_length() + 1
        power = min(depth_of_grid, max(1, (_BLOCK_FLOATS // (2 * m)).bit_length() - 1))
    it[I_BLOCK_POWER] = power
    it[I_BLOCK_AT] = _ROOT + 4 * (level + 1) * m
    it[I_SUM] = it[I_BLOCK_AT] + (2 * m << power)
    it[I_SCRATCH] = it[I_SUM] + 2 * m
    tree = np.zeros(it[I_SCRATCH] + 8 * m * max(1, 1 << power >> 1))
    tree[:_ROOT] = np.sqrt(root * 0.5 ** np.arange(_ROOT))
    return tree


def _trailing_zeros(typingctx, x):  # type: ignore[no-untyped-def]
    """Number of zero bits below the lowest one; 64 for zero."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], ir.IntType(1)(0))

    return types.int64(types.int64), codegen


def _leading_zeros(typingctx, x):  # type: ignore[no-untyped-def]
    """Number of zero bits above the highest one; 64 for zero."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ctlz(args[0], ir.IntType(1)(0))

    return types.int64(types.int64), codegen


trailing_zeros = cast(Any, intrinsic(_trailing_zeros))
leading_zeros = cast(Any, intrinsic(_leading_zeros))


@njit(**INLINED)
def floor_log2(x):  # type: ignore[no-untyped-def]
    """The place of the highest bit of x > 0."""
    return 63 - leading_zeros(x)


# -- random numbers --------------------------------------------------------------------------------
# Numerators and denominators of AS 241, constant terms first: |q| <= 0.425, and the tails for
# r = sqrt(-log(0.5 - |q|)) up to and above 5.
_CENTRE = (
    (3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
     45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
    (1.0, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077,
     21213.794301586595867, 39307.89580009271061, 28729.085735721942674, 5226.495278852545925),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504,
     1.27045825245236838258, 0.24178072517745061177, 0.0227238449892691845833,
     7.7454501427834140764e-4),
    (1.0, 2.05319162663775882187, 1.6763848301838038494, 0.68976733498510000455,
     0.14810397642748007459, 0.0151986665636164571966, 5.475938084995344946e-4,
     1.05075007164441684324e-9),
)  # fmt: skip
_FAR_TAIL = (
    (6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358, 0.29656057182850489123,
     0.026532189526576123093, 0.0012426609473880784386, 2.71155556874348757815e-5,
     2.01033439929228813265e-7),
    (1.0, 0.59983220655588793769, 0.13692988092273580531, 0.0148753612908506148525,
     7.868691311456132591e-4, 1.8463183175100546818e-5, 1.4215117583164458887e-7,
     2.04426310338993978564e-15),
)  # fmt: skip


@njit(**INLINED)
def _degree7(r, a0, a1, a2, a3, a4, a5, a6, a7):  # type: ignore[no-untyped-def]
    return ((((((a7 * r + a6) * r + a5) * r + a4) * r + a3) * r + a2) * r + a1) * r + a0


@njit(**HELPER)
def normal_quantiles(z, at, count):  # type: ignore[no-untyped-def]
    """z[at:] = what a standard normal number is below with probability z[at:] + 1/2.

    The numbers given are between -1/2 and 1/2. As much room as they take is needed behind them
    three times. The tails, some 15 percent, are first listed, then computed.
    """
    listed, root, value = at + count, at + 2 * count, at + 3 * count
    tails = 0
    for i in range(count):
        store(z, listed + tails, float(i))
        tails += np.int64(abs(load(z, at + i)) > 0.425)
    for k in range(tails):
        q = load(z, at + np.int64(load(z, listed + k)))
        store(z, value + k, q)
        store(z, root + k, math.sqrt(-math.log(0.5 - abs(q))))
    for k in range(tails):
        r, q = load(z, root + k), load(z, value + k)
        x = _degree7(r - 1.6, *_TAIL[0]) / _degree7(r - 1.6, *_TAIL[1])
        store(z, value + k, math.copysign(x, q))
    for i in range(count):
        q = load(z, at + i)
        r = 0.180625 - q * q
        store(z, at + i, q * _degree7(r, *_CENTRE[0]) / _degree7(r, *_CENTRE[1]))
    for k in range(tails):
        r, x = load(z, root + k), load(z, value + k)
        if r > 5.0:
            far = _degree7(r - 5.0, *_FAR_TAIL[0]) / _degree7(r - 5.0, *_FAR_TAIL[1])
            x = math.copysign(far, x)
        store(z, at + np.int64(load(z, listed + k)), x)


@njit(**INLINED)
def _uniforms(it, z, first, second, number, j):  # type: ignore[no-untyped-def]
    """Two numbers between -1/2 and 1/2 that belong to component j of a node."""
    stream = (it[I_TRAJECTORY] << _COMPONENT_BITS) | j
    one, two = philox(np.uint64(number), np.uint64(stream), np.uint64(it[I_SEED]))
    store(z, second, unit(two) - 0.5)
    store(z, first, unit(one) - 0.5)


@njit(**HELPER)
def draw(it, z, at, number, count):  # type: ignore[no-untyped-def]
    """z[at:] = z1 of `count` nodes from `number` on, by node and component, then their z2.

    Three times the room of these is needed behind them.
    """
    m = it[I_M]
    behind = count * m
    if m < count:  # the long loop inside
        for j in range(m):
            for k in range(count):
                first = at + k * m + j
                _uniforms(it, z, first, first + behind, number + k, j)
    else:
        for k in range(count):
            for j in range(m):
                first = at + k * m + j
                _uniforms(it, z, first, first + behind, number + k, j)
    normal_quantiles(z, at, 2 * count * m)


# -- the tree --------------------------------------------------------------------------------------
@njit(**HELPER)
def plant(it, tree):  # type: ignore[no-untyped-def]
    """The root of the path of I_SEED and I_TRAJECTORY."""
    m, scratch = it[I_M], it[I_SCRATCH]
    draw(it, tree, scratch, 0, 1)
    for j in range(m):
        tree[_ROOT + j] = tree[0] * tree[scratch + j]
        tree[_ROOT + m + j] = tree[0] * _ROOT12 * tree[scratch + m + j]
    it[I_DEEP] = it[I_TICK] = 0
    it[I_BLOCK] = -1


@njit(**INLINED)
def _node(m, level, tick):  # type: ignore[no-untyped-def]
    """Where w of the node of `level` around a tick lies in the tree; H follows."""
    right = (tick >> (DEPTH - level)) & 1 if level > 0 else 0
    return _ROOT + (2 * level + right) * 2 * m


@njit(**INLINED)
def _halve_one(tree, z1, z2, s1, s2, node, left, m):  # type: ignore[no-untyped-def]
    """The halves of one component of a node."""
    w, h = load(tree, node), load(tree, node + m)
    shift, spread = s1 * load(tree, z1), s2 * load(tree, z2)
    lean, area = 1.5 * h + shift, 0.25 * h - 0.5 * shift
    store(tree, left + 2 * m, 0.5 * w - lean)
    store(tree, left + 3 * m, area - spread)
    store(tree, left, 0.5 * w + lean)
    store(tree, left + m, area + spread)


@njit(**HELPER)
def _halve(it, tree, level, number, count, nodes, halves):  # type: ignore[no-untyped-def]
    """The halves of `count` nodes of a level in order, from `number` on.

    The nodes' w and H lie at tree[nodes:], those of the halves come at tree[halves:], which may be
    the same place.
    """
    m, z = it[I_M], it[I_SCRATCH]
    s1, s2 = 0.25 * tree[level], _ROOT48 * tree[level]
    draw(it, tree, z, number, count)
    behind = count * m
    if m < count:  # the long loop inside
        for j in range(m):
            for k in range(count - 1, -1, -1):
                z1, node, left = z + k * m + j, nodes + 2 * m * k + j, halves + 4 * m * k + j
                _halve_one(tree, z1, z1 + behind, s1, s2, node, left, m)
    else:
        for k in range(count - 1, -1, -1):
            for j in range(m):
                z1, node, left = z + k * m + j, nodes + 2 * m * k + j, halves + 4 * m * k + j
                _halve_one(tree, z1, z1 + behind, s1, s2, node, left, m)


@njit(**INLINED)
def _cell(it, tree, level, tick):  # type: ignore[no-untyped-def]
    """Where w of the node of `level` that begins at a tick lies in the tree; H follows.

    Of the nodes above it those that are present are kept. The steps of a fixed grid are made by the
    block: all nodes that lie I_BLOCK_POWER levels below one of their ancestors.
    """
    m, rows, power = it[I_M], it[I_BLOCK_AT], 0
    number = tick >> (DEPTH - level)
    if 1 << (DEPTH - level) == it[I_GRID]:
        power = it[I_BLOCK_POWER]
    block, row = number >> power, rows + 2 * m * (number & ((1 << power) - 1))
    if power > 0 and block == it[I_BLOCK]:
        return row
    top = level - power
    differing, deep = it[I_TICK] ^ tick, it[I_DEEP]
    while deep > 0 and (differing >> (DEPTH - deep + 1)) != 0:
        deep -= 1
    it[I_DEEP], it[I_TICK] = max(deep, top), tick
    for above in range(min(deep, top), level):
        if above < top:  # one of the nodes on the way down
            first, count = (1 << above) + (tick >> (DEPTH - above)), 1
            halves = _ROOT + 4 * (above + 1) * m
        else:  # all of the block
            first, count = ((1 << top) + block) << (above - top), 1 << (above - top)
            halves = rows
        nodes = rows if above > top else _node(m, above, tick)
        _halve(it, tree, above, first, count, nodes, halves)
    if power == 0:
        return _node(m, level, tick)
    it[I_BLOCK] = block
    return row


@njit(**INLINED)
def increment(it, tree, first, last):  # type: ignore[no-untyped-def]
    """Where the increments w of all components from tick `first` to `last` lie; H follows."""
    m, total = it[I_M], it[I_SUM]
    tick, ticks = first, last - first
    while tick < last:
        power = min(trailing_zeros(tick), DEPTH, floor_log2(last - tick))
        at = _cell(it, tree, DEPTH - power, tick)
        if 1 << power == ticks:
            return at
        # the interval is no node: the sum of several, H coming from the integral of W - W(first)
        if tick == first:
            clear(tree, total, 2 * m)
        part = float(1 << power) / float(ticks)
        for j in range(m):
            w, before = load(tree, at + j), load(tree, total + j)
            integral = before + 0.5 * w + load(tree, at + m + j)
            store(tree, total + m + j, load(tree, total + m + j) + part * integral)
            store(tree, total + j, before + w)
        tick += 1 << power
    add_to(tree, total + m, -0.5, tree, total, m)
    return total
