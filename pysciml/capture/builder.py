"""Builds Programs: shares equal nodes, folds constants and merges chains of gathers on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysciml.capture.program import (
    COMPARISONS,
    ELEMENTWISE,
    LOGIC,
    Node,
    Program,
    evaluate,
)


class Builder:
    """Appends nodes; every method returns the position of the value it stands for."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[Any, int] = {}
        self.inputs: list[int] = []

    def shape(self, x: int) -> tuple[int, ...]:
        return self.nodes[x].shape

    def size(self, x: int) -> int:
        return self.nodes[x].size

    # -- leaves ---------------------------------------------------------------------------------
    def input(self, name: str, shape: tuple[int, ...]) -> int:
        position = self._append(Node("input", (), shape, attr=name))
        self.inputs.append(position)
        return position

    def const(self, value: Any) -> int:
        array = np.asarray(value)
        is_bool = array.dtype == bool
        # not ascontiguousarray: it would give a scalar one axis
        array = np.array(array, dtype=bool if is_bool else np.float64, order="C", copy=True)
        array.setflags(write=False)
        return self._append(Node("const", (), array.shape, is_bool, array))

    def full(self, shape: tuple[int, ...], value: float) -> int:
        return self.expand(self.const(float(value)), shape)

    # -- element-wise ---------------------------------------------------------------------------
    def elementwise(self, op: str, *args: int) -> int:
        """Apply `op` with NumPy's broadcasting."""
        shape = np.broadcast_shapes(*(self.shape(a) for a in args))
        args = tuple(self.expand(a, shape) for a in args)
        if op not in LOGIC:
            first = 1 if op == "where" else 0
            args = args[:first] + tuple(self.to_float(a) for a in args[first:])
        else:
            args = tuple(self.to_bool(a) for a in args)
        if op == "where":
            args = (self.to_bool(args[0]), *args[1:])
        simpler = self._simplify(op, args)
        if simpler is not None:
            return simpler
        return self._append(Node(op, args, shape, op in COMPARISONS or op in LOGIC))

    def to_float(self, x: int) -> int:
        if not self.nodes[x].is_bool:
            return x
        return self._append(Node("to_float", (x,), self.shape(x)))

    def to_bool(self, x: int) -> int:
        if self.nodes[x].is_bool:
            return x
        return self._append(Node("ne", (x, self.full(self.shape(x), 0.0)), self.shape(x), True))

    def _uniform(self, x: int) -> float | None:
        """The number that fills `x`, when it is a constant with one value."""
        node = self.nodes[x]
        if node.op == "gather" and len(node.args) == 1:
            source = self.nodes[node.args[0]]
            if source.op == "const" and source.size == 1 and node.attr.size and not node.attr.any():
                return float(source.attr.reshape(-1)[0])
        if node.op == "gather" and not node.args:
            return 0.0
        if node.op == "const" and node.size and np.all(node.attr == node.attr.flat[0]):
            return float(node.attr.flat[0])
        return None

    def _simplify(self, op: str, args: tuple[int, ...]) -> int | None:
        """Exact identities only, plus 0*x = 0, which every derivative graph is full of."""
        if op in ("add", "sub", "mul", "div", "pow"):
            a, b = (self._uniform(x) for x in args)
            if op == "add" and a == 0.0:
                return args[1]
            if op in ("add", "sub") and b == 0.0:
                return args[0]
            if op == "sub" and a == 0.0:
                return self.elementwise("neg", args[1])
            if op == "mul" and (a == 0.0 or b == 0.0):
                return self.full(self.shape(args[0]), 0.0)
            if op == "mul" and a == 1.0:
                return args[1]
            if op in ("mul", "div", "pow") and b == 1.0:
                return args[0]
            if op == "mul" and a == -1.0:
                return self.elementwise("neg", args[1])
            if op == "mul" and b == -1.0:
                return self.elementwise("neg", args[0])
            if op == "pow" and b == 2.0:
                return self.elementwise("mul", args[0], args[0])
            if op == "pow" and b == 3.0:
                square = self.elementwise("mul", args[0], args[0])
                return self.elementwise("mul", square, args[0])
            if op == "pow" and b == 0.5:
                return self.elementwise("sqrt", args[0])
            if op == "pow" and b == -1.0:
                return self.elementwise("div", self.full(self.shape(args[0]), 1.0), args[0])
            if op == "pow" and b == 0.0:
                return self.full(self.shape(args[0]), 1.0)
        if op == "neg" and self.nodes[args[0]].op == "neg":
            return self.nodes[args[0]].args[0]
        if op == "where" and args[1] == args[2]:
            return args[1]
        if op == "add":
            return self._joined(*args)
        return None

    def _joined(self, x: int, y: int) -> int | None:
        """x + y as a gather, when one of them is zero wherever the other is not.

        What the derivative of a split is made of: every part padded with zeros, and all added up.
        """
        a, b = self.nodes[x], self.nodes[y]
        if a.op != "gather" or b.op != "gather" or ((a.attr >= 0) & (b.attr >= 0)).any():
            return None
        start = sum(self.size(source) for source in a.args)
        index = np.where(a.attr >= 0, a.attr, np.where(b.attr >= 0, b.attr + start, -1))
        return self.gather((*a.args, *b.args), index)

    # -- structure ------------------------------------------------------------------------------
    def gather(self, sources: Sequence[int], index: NDArray[Any]) -> int:
        """Value of `index`'s shape that picks elements of the flattened, joined `sources`."""
        index = np.asarray(index, dtype=np.intp)
        sources, index = self._through_gathers(list(sources), index)
        sources, index = self._without_zeros(sources, index)
        if len(sources) == 1:
            size, shape = self.size(sources[0]), self.shape(sources[0])
            if index.shape == shape and np.array_equal(index.reshape(-1), np.arange(size)):
                return sources[0]
        is_bool = bool(sources) and all(self.nodes[s].is_bool for s in sources)
        if not is_bool:
            sources = [self.to_float(s) for s in sources]
        index.setflags(write=False)
        return self._append(Node("gather", tuple(sources), index.shape, is_bool, index))

    def _through_gathers(
        self, sources: list[int], index: NDArray[np.intp]
    ) -> tuple[list[int], NDArray[np.intp]]:
        """Express the pick in terms of what the sources' own gathers pick; drop unused sources."""
        leaves: list[int] = []
        start: dict[int, int] = {}
        total = 0

        def place(leaf: int) -> int:
            nonlocal total
            if leaf not in start:
                start[leaf] = total
                leaves.append(leaf)
                total += self.size(leaf)
            return start[leaf]

        maps = []
        for s in sources:
            node = self.nodes[s]
            if node.op == "gather":
                lengths = np.cumsum([0] + [self.size(a) for a in node.args])
                flat = node.attr.reshape(-1)
                mapped = np.full(flat.shape, -1, dtype=np.intp)
                for a, low, high in zip(node.args, lengths[:-1], lengths[1:], strict=True):
                    inside = (flat >= low) & (flat < high)
                    mapped[inside] = flat[inside] - low + place(a)
                maps.append(mapped)
            else:
                maps.append(np.arange(self.size(s), dtype=np.intp) + place(s))
        table = np.concatenate([*maps, np.array([-1], dtype=np.intp)])
        return self._compact(leaves, np.asarray(table[index]))

    def _without_zeros(
        self, sources: list[int], index: NDArray[np.intp]
    ) -> tuple[list[int], NDArray[np.intp]]:
        """Zeros of constants are marked as such."""
        zeros = [
            self.nodes[s].op == "const" and not self.nodes[s].attr.any() and self.size(s) > 0
            for s in sources
        ]
        if not any(zeros):
            return sources, index
        sizes = [self.size(s) for s in sources]
        is_zero = np.append(np.repeat(zeros, sizes), True)  # -1 meets the last one
        return self._compact(sources, np.where(is_zero[index], -1, index))

    def _compact(
        self, leaves: list[int], index: NDArray[np.intp]
    ) -> tuple[list[int], NDArray[np.intp]]:
        bounds = np.cumsum([0] + [self.size(x) for x in leaves])
        used = np.zeros(len(leaves), dtype=bool)
        owner = np.searchsorted(bounds, index[index >= 0], side="right") - 1
        used[np.unique(owner)] = True
        if used.all():
            return leaves, index
        shift = np.cumsum(
            [0] + [0 if u else self.size(x) for x, u in zip(leaves, used, strict=True)]
        )[:-1]
        compacted = np.array(index)
        compacted[index >= 0] -= shift[owner]
        return [x for x, u in zip(leaves, used, strict=True) if u], compacted

    def indices(self, x: int) -> NDArray[np.intp]:
        """Positions of the elements of `x` in its flattened self: reshape these to re-view `x`."""
        return np.arange(self.size(x), dtype=np.intp).reshape(self.shape(x))

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        return x if shape == self.shape(x) else self.gather([x], self.indices(x).reshape(shape))

    def expand(self, x: int, shape: tuple[int, ...]) -> int:
        if shape == self.shape(x):
            return x
        return self.gather([x], np.broadcast_to(self.indices(x), shape))

    def permute(self, x: int, axes: Sequence[int]) -> int:
        return self.gather([x], np.transpose(self.indices(x), axes))

    def concatenate(self, parts: Sequence[int], axis: int) -> int:
        return self.gather(parts, np.concatenate(self.joined_indices(parts), axis=axis))

    def stack(self, parts: Sequence[int], axis: int) -> int:
        return self.gather(parts, np.stack(self.joined_indices(parts), axis=axis))

    def joined_indices(self, parts: Sequence[int]) -> list[NDArray[np.intp]]:
        starts = np.cumsum([0] + [self.size(x) for x in parts])
        return [self.indices(x) + s for x, s in zip(parts, starts[:-1], strict=True)]

    def scatter(self, into: int, part: int, where: NDArray[np.intp]) -> int:
        """`into` with the elements at flat positions `where` (shape of `part`) replaced."""
        index = self.indices(into).reshape(-1).copy()
        index[np.ravel(where)] = self.size(into) + np.arange(self.size(part))
        return self.gather([into, part], index.reshape(self.shape(into)))

    def scatter_add(self, shape: tuple[int, ...], part: int, where: NDArray[np.intp]) -> int:
        """Zeros of `shape` plus the elements of `part` added at flat positions `where`.

        Repeated positions are gathered into the rows of a padded table that is then summed.
        """
        size = int(np.prod(shape, dtype=np.int64))
        where = np.broadcast_to(where, self.shape(part)).reshape(-1)
        order = np.argsort(where, kind="stable")
        counts = np.bincount(where, minlength=size)
        depth = int(counts.max(initial=0))
        if depth == 0:
            return self.full(shape, 0.0)
        table = np.full((depth, size), -1, dtype=np.intp)
        rank = np.arange(where.size) - np.repeat(np.cumsum(counts) - counts, counts)
        table[rank, where[order]] = order
        if depth == 1:
            return self.gather([part], table.reshape(shape))
        return self.reshape(self.reduce("sum", self.gather([part], table), (0,)), shape)

    # -- contractions ---------------------------------------------------------------------------
    def reduce(self, op: str, x: int, axes: Sequence[int], keepdims: bool = False) -> int:
        ndim = len(self.shape(x))
        axes = tuple(sorted(a % ndim for a in axes)) if ndim else ()
        shape = tuple(s for i, s in enumerate(self.shape(x)) if i not in axes)
        x = self.to_float(x)
        trivial = all(self.shape(x)[a] == 1 for a in axes)
        if trivial:
            y = self.reshape(x, shape)
        elif op == "sum" and self._uniform(x) == 0.0:
            y = self.full(shape, 0.0)
        else:
            y = self._append(Node(op, (x,), shape, attr=axes))
        if keepdims:
            kept = tuple(1 if i in axes else s for i, s in enumerate(self.shape(x)))
            y = self.reshape(y, kept)
        return y

    def matmul(self, a: int, b: int) -> int:
        """`(..., m, k) @ (..., k, n)`, leading axes equal."""
        a, b = self.to_float(a), self.to_float(b)
        (*lead, m, k), n = self.shape(a), self.shape(b)[-1]
        if self._uniform(a) == 0.0 or self._uniform(b) == 0.0 or k == 0:
            return self.full((*lead, m, n), 0.0)
        if k == 1:  # an outer product is a broadcast multiplication
            return self.elementwise("mul", a, b)
        return self._append(Node("matmul", (a, b), (*lead, m, n)))

    # -- the end --------------------------------------------------------------------------------
    def _append(self, node: Node) -> int:
        foldable = node.args and all(self.nodes[a].op == "const" for a in node.args)
        if foldable and not (node.op == "gather" and node.size > self.size(node.args[0])):
            with np.errstate(all="ignore"):
                return self.const(evaluate(node, [self.nodes[a].attr for a in node.args]))
        key = _identity(node)
        if key not in self._known or node.op == "input":
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
        return self._known[key]

    def build(self, name: str, output: int) -> Program:
        """The Program of `output`, without what it does not need (inputs always stay)."""
        output = self.to_float(output)
        needed = set(self.inputs)
        stack = [output]
        while stack:
            x = stack.pop()
            if x not in needed or x == output:
                needed.add(x)
                stack.extend(a for a in self.nodes[x].args if a not in needed)
        order = sorted(needed)
        position = {old: new for new, old in enumerate(order)}
        nodes = tuple(
            Node(n.op, tuple(position[a] for a in n.args), n.shape, n.is_bool, n.attr)
            for n in (self.nodes[x] for x in order)
        )
        return Program(name, nodes, tuple(position[i] for i in self.inputs), position[output])


def _identity(node: Node) -> Any:
    attr = node.attr
    if isinstance(attr, np.ndarray):
        attr = (attr.dtype.str, attr.shape, attr.tobytes())
    args = node.args
    if node.op in ("add", "mul", "maximum", "minimum", "and", "or", "eq", "ne"):
        args = tuple(sorted(args))
    return node.op, args, node.shape, attr


assert set(COMPARISONS | LOGIC) <= set(ELEMENTWISE)
