"""Scalar form: a small Program as straight-line code on single numbers, with no arrays at all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysciml.capture.program import ELEMENTWISE, REDUCTIONS, Node, Program
from pysciml.capture.ssa import Ssa


@dataclass(frozen=True)
class ScalarForm:
    """`ssa` computes everything; `outputs[k]` is the value of flat output k.

    The key of a load is ``(input name, flat index)``.
    """

    ssa: Ssa
    outputs: list[int]


def scalar_cost(program: Program) -> int:
    """How many scalar operations the scalar form would have, before simplification."""
    return sum(_cost(node, program) for node in program.nodes)


def _cost(node: Node, program: Program) -> int:
    if node.op in ELEMENTWISE:
        return node.size
    if node.op == "matmul":
        return 2 * node.size * program.nodes[node.args[0]].shape[-1]
    if node.op in REDUCTIONS:
        return program.nodes[node.args[0]].size
    return 0


def lower_to_scalar(program: Program) -> ScalarForm:
    """Expand every array operation into operations on its entries."""
    ssa = Ssa()
    values: list[NDArray[Any]] = []
    for node in program.nodes:
        values.append(_expand(ssa, node, [values[a] for a in node.args]))
    return ScalarForm(ssa, [int(x) for x in values[program.output].reshape(-1)])


def _expand(ssa: Ssa, node: Node, operands: list[NDArray[Any]]) -> NDArray[Any]:
    """Array of `node`'s shape with the positions of its entries' values."""
    if node.op == "input":
        flat = [ssa.load((node.attr, k)) for k in range(node.size)]
    elif node.op == "const":
        flat = [ssa.const(x) for x in node.attr.reshape(-1)]
    elif node.op == "gather":
        joined = [x for operand in operands for x in operand.reshape(-1)]
        flat = [joined[k] if k >= 0 else ssa.const(0.0) for k in node.attr.reshape(-1)]
    elif node.op == "matmul":
        return _expand_matmul(ssa, *operands)
    elif node.op in _COMBINE:
        return _expand_reduction(ssa, node, operands[0])
    else:
        columns = [operand.reshape(-1) for operand in operands]
        flat = [ssa.apply(node.op, *map(int, entries)) for entries in zip(*columns, strict=True)]
    return np.array(flat, dtype=np.intp).reshape(node.shape)


_COMBINE = {"sum": "add", "amax": "maximum", "amin": "minimum"}


def _expand_reduction(ssa: Ssa, node: Node, operand: NDArray[Any]) -> NDArray[Any]:
    kept = [a for a in range(operand.ndim) if a not in node.attr]
    rows = np.transpose(operand, (*kept, *node.attr)).reshape(max(node.size, 1), -1)
    combine: Callable[[int, int], int] = lambda x, y: ssa.apply(_COMBINE[node.op], x, y)  # noqa: E731
    flat = [_fold(combine, [int(x) for x in row], ssa.const(0.0)) for row in rows]
    return np.array(flat, dtype=np.intp).reshape(node.shape)


def _fold(combine: Callable[[int, int], int], values: list[int], empty: int) -> int:
    if not values:
        return empty
    return list(itertools.accumulate(values, combine))[-1]


def _expand_matmul(ssa: Ssa, a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    *lead, m, k = a.shape
    n = b.shape[-1]
    batch = math.prod(lead)
    out = np.empty((batch, m, n), dtype=np.intp)
    left, right = a.reshape(batch, m, k), b.reshape(batch, k, n)
    add: Callable[[int, int], int] = lambda x, y: ssa.apply("add", x, y)  # noqa: E731
    for s, i, j in np.ndindex(batch, m, n):
        products = [
            ssa.apply("mul", int(x), int(y))
            for x, y in zip(left[s, i], right[s, :, j], strict=True)
        ]
        out[s, i, j] = _fold(add, products, ssa.const(0.0))
    return out.reshape(*lead, m, n)
