"""Which outputs of a Program can depend on which entries of one of its inputs."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from pysciml.capture.program import REDUCTIONS, Node, Program

#: their derivative is zero wherever it exists
_FLAT = frozenset(
    {"floor", "ceil", "trunc", "round", "sign", "lt", "le", "gt", "ge", "eq", "ne"}
    | {"not", "and", "or"}
)


def pattern(program: Program, wrt: str) -> sp.csr_array:
    """Boolean (outputs, size of `wrt`) matrix: which derivatives can be other than zero."""
    return _passed(program, wrt)[0]


def leaps(program: Program, wrt: str) -> sp.csr_array:
    """Boolean (outputs, size of `wrt`) matrix: which outputs can change by leaps."""
    return _passed(program, wrt)[1]


def dependence(program: Program, wrt: str) -> sp.csr_array:
    """Boolean (outputs, size of `wrt`) matrix: which outputs can change, if only by leaps."""
    smooth, by_leaps = _passed(program, wrt)
    return smooth + by_leaps


def _passed(program: Program, wrt: str) -> tuple[sp.csr_array, sp.csr_array]:
    """Dependencies passed through the nodes: those through no flat one, and those through some."""
    count = int(np.prod(program.input_shape(wrt), dtype=np.int64))
    width = 2 * count
    known: list[sp.csr_array] = []
    for node in program.nodes:
        if node.op == "input" and node.attr == wrt:
            known.append(sp.csr_array(sp.eye_array(count, width, dtype=np.int64)))
        elif node.op in ("input", "const"):
            known.append(sp.csr_array((node.size, width), dtype=np.int64))
        else:
            found = _clean(_depends(node, [known[a] for a in node.args], program, width))
            if node.op in _FLAT:
                found = _leaping(found)
            elif node.op == "remainder":
                found = _clean(found + _leaping(found))
            known.append(found)
    found = known[program.output].astype(bool)
    return found[:, :count], found[:, count:]


def _leaping(matrix: sp.csr_array) -> sp.csr_array:
    """With what was smooth, the left half, moved to the right."""
    count = matrix.shape[1] // 2
    either = _clean(matrix[:, :count] + matrix[:, count:])
    return sp.hstack([sp.csr_array(either.shape, dtype=np.int64), either], format="csr")


def _clean(matrix: sp.csr_array) -> sp.csr_array:
    matrix = sp.csr_array(matrix)
    matrix.data[:] = 1  # counts would grow without bound
    return matrix


def _depends(
    node: Node, operands: list[sp.csr_array], program: Program, width: int
) -> sp.csr_array:
    if node.op == "gather":
        nothing = sp.csr_array((1, width), dtype=np.int64)
        joined = sp.vstack([*operands, nothing], format="csr")
        rows = np.where(node.attr.reshape(-1) < 0, joined.shape[0] - 1, node.attr.reshape(-1))
        return joined[rows]
    if node.op in REDUCTIONS:
        source = program.nodes[node.args[0]]
        owner = np.expand_dims(np.arange(node.size).reshape(node.shape), node.attr)
        return _sum_rows(operands[0], np.broadcast_to(owner, source.shape), node.size)
    if node.op == "matmul":
        a, b = (program.nodes[x] for x in node.args)
        out = np.arange(node.size).reshape(node.shape)
        owners_a = [np.broadcast_to(out[..., j, None], a.shape) for j in range(node.shape[-1])]
        owners_b = [
            np.broadcast_to(out[..., i, :][..., None, :], b.shape) for i in range(node.shape[-2])
        ]
        parts = [_sum_rows(operands[0], o, node.size) for o in owners_a if operands[0].nnz]
        parts += [_sum_rows(operands[1], o, node.size) for o in owners_b if operands[1].nnz]
        empty = sp.csr_array((node.size, width), dtype=np.int64)
        return sum(parts, empty)
    return sum(operands[1:], operands[0])


def _sum_rows(matrix: sp.csr_array, owner: np.ndarray, size: int) -> sp.csr_array:
    columns = np.arange(owner.size)
    add = sp.csr_array(
        (np.ones(owner.size, dtype=np.int64), (owner.reshape(-1), columns)),
        shape=(size, owner.size),
    )
    return add @ matrix
