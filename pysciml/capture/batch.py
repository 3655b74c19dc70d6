"""A Program evaluated at many values of one input at once: `vmap` on Programs.

A Jacobian is the vjp at all the unit vectors. Batching the Program, not the recorded function,
needs a rule for each of the six kinds of operation, where PyTorch's vmap needs one for each ATen
operation and brings in others (scatters, cumulative products) that nobody wrote.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pysciml.capture.builder import Builder
from pysciml.capture.program import REDUCTIONS, Node, Program

Array = NDArray[np.float64]


def batched(program: Program, name: str, over: str, values: Array) -> Program:
    """`program` with the input `over` replaced by the rows of the constant `values`, (rows, size).

    The output has the shape (rows, *program.shape).
    """
    return _Batch(program, over, values).build(name)


class _Batch:
    def __init__(self, program: Program, over: str, values: Array) -> None:
        self.program = program
        self.over = over
        self.values = values
        self.rows = len(values)
        self.b = Builder()
        self.at: list[int] = []  # the Builder's value of each node
        self.wide: list[bool] = []  # whether it has the leading axis of the batch

    def build(self, name: str) -> Program:
        for node in self.program.nodes:
            wide = node.attr == self.over if node.op == "input" else self._any_wide(node.args)
            self.at.append(self._translate(node, wide))
            self.wide.append(wide)
        output = self.program.output
        shape = (self.rows, *self.program.shape)
        return self.b.build(name, self.b.expand(self.at[output], shape))

    def _any_wide(self, args: Sequence[int]) -> bool:
        return any(self.wide[a] for a in args)

    def _translate(self, node: Node, wide: bool) -> int:
        b = self.b
        if node.op == "input":
            if wide:
                return b.const(self.values.reshape(self.rows, *node.shape))
            return b.input(node.attr, node.shape)
        if node.op == "const":
            return b.const(node.attr)
        args = [self.at[a] for a in node.args]
        if node.op == "gather":
            return b.gather(args, self._index(node) if wide else node.attr)
        if node.op in REDUCTIONS:
            return b.reduce(node.op, args[0], tuple(axis + wide for axis in node.attr))
        if node.op == "matmul":
            return self._matmul(node) if wide else b.matmul(*args)
        if node.op == "to_float":
            return b.to_float(args[0])
        return b.elementwise(node.op, *args)

    def _index(self, node: Node) -> NDArray[np.intp]:
        """Where each row finds the elements that `node` gathers, in the batch's own operands."""
        index = np.broadcast_to(node.attr, (self.rows, *node.attr.shape)).copy()
        row = np.arange(self.rows).reshape(-1, *[1] * node.attr.ndim)
        old = new = 0
        for a in node.args:
            size = self.program.nodes[a].size
            inside = (node.attr >= old) & (node.attr < old + size)
            moved = node.attr - old + new + (row * size if self.wide[a] else 0)
            index = np.where(inside, moved, index)
            old += size
            new += size * (self.rows if self.wide[a] else 1)
        return index

    def _matmul(self, node: Node) -> int:
        """One large product where only one factor has the batch's axis and there is no other."""
        b = self.b
        first, second = node.args
        x, y = self.at[first], self.at[second]
        *lead, m, n = node.shape
        k = self.program.nodes[second].shape[-2]
        if not lead and not self.wide[second]:
            product = b.matmul(b.reshape(x, (self.rows * m, k)), y)
            return b.reshape(product, (self.rows, m, n))
        if not lead and not self.wide[first]:
            columns = b.reshape(b.permute(y, (1, 0, 2)), (k, self.rows * n))
            product = b.reshape(b.matmul(x, columns), (m, self.rows, n))
            return b.permute(product, (1, 0, 2))
        x = b.expand(x, (self.rows, *lead, m, k))
        y = b.expand(y, (self.rows, *lead, k, n))
        return b.matmul(x, y)
