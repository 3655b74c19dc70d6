"""A Program as a NumPy function, for what is evaluated often but is not worth a compiler's second.

`Program.__call__` is the yardstick; this computes the same numbers. What does not depend on the
inputs is computed once, and the structural operations become plain indexing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysciml.capture.program import ELEMENTWISE, REDUCTIONS, Node, Program, evaluate

Array = NDArray[np.float64]


def prepare(program: Program) -> Callable[..., Array]:
    """The function (u, p, t, ...) -> flat output of a Program, on flat float64 arrays.

    Floating-point warnings are the caller's to silence (`np.errstate`). The result may be a view of
    an input: it is to be read, not written to.
    """
    values: list[Any] = [None] * len(program.nodes)
    steps: list[tuple[int, Callable[..., Any], tuple[int, ...]]] = []
    for position, node in enumerate(program.nodes):
        if node.op == "input":
            continue
        if all(values[a] is not None for a in node.args):
            values[position] = evaluate(node, [values[a] for a in node.args])
        else:
            steps.append((position, _operation(node, program), node.args))
    inputs = program.inputs
    output = program.output

    def function(*arguments: Any) -> Array:
        found = values.copy()
        for position, argument in zip(inputs, arguments, strict=True):
            found[position] = argument
        for position, operation, args in steps:
            found[position] = operation(*[found[a] for a in args])
        result: Array = np.asarray(found[output], dtype=np.float64).reshape(-1)
        return result

    return function


def _operation(node: Node, program: Program) -> Callable[..., Any]:
    if node.op in ELEMENTWISE:
        return ELEMENTWISE[node.op]
    if node.op in REDUCTIONS:
        reduce, axes = REDUCTIONS[node.op], node.attr
        return lambda x: reduce(x, axis=axes)
    if node.op == "matmul":
        return np.matmul
    return _gather(node, [program.nodes[a].size for a in node.args])


def _gather(node: Node, sizes: list[int]) -> Callable[..., Any]:
    """Reshapes, runs and transposes of one operand are views; joined operands are laid end to end.

    The general case takes from all operands, with a zero after them that the index -1 meets.
    """
    index, shape = node.attr, node.shape
    flat = index.reshape(-1)
    if len(sizes) == 1 and flat.size:
        run = np.arange(flat[0], flat[0] + flat.size)
        if flat[0] >= 0 and np.array_equal(flat, run):
            start, end = int(flat[0]), int(flat[0]) + flat.size
            return lambda x: np.reshape(x, -1)[start:end].reshape(shape)
        if flat.min() >= 0:
            return lambda x: np.reshape(x, -1).take(index)
    if np.array_equal(flat, np.arange(sum(sizes))):
        return lambda *operands: np.concatenate([np.reshape(x, -1) for x in operands]).reshape(
            shape
        )
    is_bool = node.is_bool
    zero = np.zeros(1)

    def take(*operands: Any) -> Any:
        taken = np.concatenate([*(np.reshape(x, -1) for x in operands), zero])[index]
        return taken.astype(bool) if is_bool else taken

    return take
