"""Array form: a large Program as loops over buffers and matrix products.

Element-wise operations of one shape that can run together become one loop (`Kernel`); structural
operations become index arithmetic inside the loops; everything else reads and writes buffers that
are allocated once.

A value is *stored* when something other than its own loop reads it. A loop's level is one more
than the highest level that it reads from storage, so loops of one level are independent.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pysciml.capture.index_maps import Affine, Box, IndexMap, split_into_boxes
from pysciml.capture.program import ELEMENTWISE, REDUCTIONS, Node, Program
from pysciml.capture.ssa import Ssa

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Buffer:
    """A run of numbers: an argument (``u``, ``p``, ``t``, ``out``, ...), or a part of ``work``."""

    name: str
    start: int
    size: int


@dataclass(frozen=True)
class Access:
    """Where one load or store of a loop goes: an affine position, or one looked up in a table."""

    buffer: Buffer
    affine: Affine
    table: Buffer | None = None  # integers in `work`; then `affine` addresses the table


@dataclass
class Loop:
    """A nest over `extent`: evaluate `ssa` at each point, then store or accumulate the results.

    The last `reduced` axes are summed over (or multiplied, ...): `combine` says how, and the
    stores then address the outer axes only.
    """

    extent: tuple[int, ...]
    ssa: Ssa
    loads: dict[int, Access]  # key of a load instruction -> where
    stores: list[tuple[int, Access]]
    reduced: int = 0
    combine: str = ""


@dataclass(frozen=True)
class Copy:
    """``target[to[i]] = source[take[i]]`` for all i: what no loop nest can express."""

    target: Buffer
    source: Buffer
    to: Buffer
    take: Buffer
    count: int


@dataclass(frozen=True)
class Operand:
    """A row-major (rows, columns) matrix inside a buffer, read as its transpose when asked."""

    buffer: Buffer
    transposed: bool


@dataclass(frozen=True)
class MatMul:
    """``c[s] = a[s] @ b[s]`` for s < batch; c is (m, n) row-major, k is summed over."""

    a: Operand
    b: Operand
    c: Buffer
    batch: int
    m: int
    k: int
    n: int

    @property
    def multiplications(self) -> int:
        """How many, for one matrix of the batch."""
        return self.m * self.k * self.n

    @property
    def rows_with_rows(self) -> bool:
        """Whether both operands are contiguous along the axis that is summed over."""
        return (not self.a.transposed or self.m == 1) and (self.b.transposed or self.n == 1)


Statement = Loop | Copy | MatMul


@dataclass
class ArrayForm:
    """Statements in order, and the initial contents of `work` (constants, tables, scratch)."""

    statements: list[Statement]
    work: NDArray[np.float64]
    inputs: tuple[str, ...] = field(default_factory=tuple)


def lower_to_array(program: Program, loops_below: int = 0) -> ArrayForm:
    """Schedule the Program as loops, copies and matrix products.

    Products of fewer multiplications than `loops_below` get their right operand row by row where
    plain loops want it so, as a copy if need be; BLAS does not care.
    """
    return _Scheduler(program, loops_below).run()


class _Scheduler:
    def __init__(self, program: Program, loops_below: int) -> None:
        self.program = program
        self.loops_below = loops_below
        self.nodes = program.nodes
        self.work: list[NDArray[np.float64]] = []
        self.work_size = 0
        self.buffers: dict[int, Buffer] = {}
        self.tables: dict[bytes, Buffer] = {}
        self.users = self._users()
        self.inlined = self._inlined_reduction_operands()
        self.level = self._levels()
        self.placed = self._placed_in_output()

    # -- analysis -------------------------------------------------------------------------------
    def _users(self) -> list[set[int]]:
        users: list[set[int]] = [set() for _ in self.nodes]
        for position, node in enumerate(self.nodes):
            for a in node.args:
                users[a].add(position)
        return users

    def _inlined_reduction_operands(self) -> dict[int, int]:
        """Element-wise nodes that only one reduction needs are computed inside its loop."""
        inlined: dict[int, int] = {}
        for position in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[position]
            if node.op not in ELEMENTWISE or position == self.program.output:
                continue
            targets = {
                user if self.nodes[user].op in REDUCTIONS else inlined.get(user)
                for user in self.users[position]
            }
            if len(targets) == 1 and None not in targets:
                (target,) = targets
                inlined[position] = target  # type: ignore[assignment]
        return inlined

    def _levels(self) -> list[int]:
        level = [0] * len(self.nodes)
        for position, node in enumerate(self.nodes):
            if node.op in ("input", "const"):
                continue
            needs = [self._level_after(a, node, level) for a in node.args]
            level[position] = max(needs, default=1)
        self._move_to_users(level)
        return level

    def _move_to_users(self, level: list[int]) -> None:
        """Compute values in the loops that use them: fewer loops, and fewer values stored."""
        moving = [
            x for x, node in enumerate(self.nodes) if node.op in ELEMENTWISE or node.op == "gather"
        ]
        last = max(level)
        moved = True
        while moved:
            moved = False
            for x in reversed(moving):
                latest = min(
                    (self._latest_for(user, x, level) for user in self.users[x]), default=last
                )
                if latest > level[x] and self._may_wait(x, latest, level):
                    level[x] = latest
                    moved = True

    def _latest_for(self, user: int, position: int, level: list[int]) -> int:
        delay = self._level_after(position, self.nodes[user], level) - level[position]
        return level[user] - delay

    def _may_wait(self, position: int, latest: int, level: list[int]) -> bool:
        """Whether no more values are to be stored when one moves to a later level."""
        if self.nodes[position].op == "gather" or position in self.inlined:
            return True
        left_behind = [
            a
            for a in self.nodes[position].args
            if self.nodes[a].op in ELEMENTWISE
            and not self._is_used_outside(a, level[position], level)
            and any(level[user] < latest for user in self.users[a] - {position})
        ]
        return len(left_behind) <= (0 if self._is_used_outside(position, latest, level) else 1)

    def _is_used_outside(self, position: int, of: int, level: list[int]) -> bool:
        """Whether a value is needed by more than the loops of one level, and so is stored."""
        return position == self.program.output or any(
            self.nodes[user].op not in ELEMENTWISE or level[user] != of
            for user in self.users[position]
        )

    def _level_after(self, a: int, user: Node, level: list[int]) -> int:
        """Lowest level at which `user` can run, as far as its operand `a` is concerned."""
        operand = self.nodes[a]
        if operand.op in ("input", "const"):
            return 1
        if operand.op == "gather" and user.op != "matmul":
            return level[a]  # read in place: its own level already waits for its sources
        together = user.op in ELEMENTWISE and operand.op in ELEMENTWISE
        inside = user.op in REDUCTIONS and a in self.inlined
        return level[a] + (0 if together or inside else 1)

    def _placed_in_output(self) -> dict[int, Buffer]:
        """Values whose place is a part of the output; all but inputs are computed right there."""
        output = self.nodes[self.program.output]
        if output.op in ("input", "const"):
            return {}
        if output.op != "gather":
            return {self.program.output: Buffer("out", 0, output.size)}
        placed: dict[int, Buffer] = {}
        index = output.attr.reshape(-1)
        start = 0
        for a in output.args:
            size = self.nodes[a].size
            first = int(np.argmax(index == start)) if size else 0
            if not np.array_equal(index[first : first + size], np.arange(start, start + size)):
                return {}
            placed[a] = Buffer("out", first, size)
            start += size
        return placed if start == index.size else {}

    # -- storage --------------------------------------------------------------------------------
    def allocate(self, content: NDArray[np.float64]) -> Buffer:
        buffer = Buffer("work", self.work_size, content.size)
        padded = -content.size % 8  # keep buffers on cache lines
        self.work.append(np.concatenate([content.reshape(-1), np.zeros(padded)]))
        self.work_size += content.size + padded
        return buffer

    def scratch(self, size: int) -> Buffer:
        return self.allocate(np.zeros(size))

    def table(self, index: Index) -> Buffer:
        integers = np.ascontiguousarray(index.reshape(-1), dtype=np.int64)
        key = integers.tobytes()
        if key not in self.tables:
            self.tables[key] = self.allocate(integers.view(np.float64))
        return self.tables[key]

    def buffer(self, position: int) -> Buffer:
        """Where the value of a node lies."""
        if position not in self.buffers:
            node = self.nodes[position]
            if node.op == "input":
                self.buffers[position] = Buffer(node.attr, 0, node.size)
            elif node.op == "const":
                self.buffers[position] = self.allocate(node.attr.astype(np.float64))
            elif position in self.placed:
                self.buffers[position] = self.placed[position]
            else:
                self.buffers[position] = self.scratch(node.size)
        return self.buffers[position]

    def index_map(self, position: int) -> IndexMap:
        """How the elements of a node are found in stored values."""
        node = self.nodes[position]
        if node.op != "gather":
            index = np.arange(node.size, dtype=np.intp).reshape(node.shape)
            return IndexMap((position,), np.zeros(node.shape, dtype=np.intp), index)
        bounds = np.cumsum([0] + [self.nodes[a].size for a in node.args])
        owner = np.searchsorted(bounds, node.attr, side="right") - 1
        owner = np.where(node.attr < 0, -1, owner)
        start = np.append(bounds[:-1], 0)[owner]  # owner -1 meets the appended 0
        local = np.where(node.attr < 0, 0, node.attr - start)
        return IndexMap(node.args, owner, local)

    # -- scheduling -----------------------------------------------------------------------------
    def run(self) -> ArrayForm:
        groups: dict[tuple[int, int, tuple[int, ...]], list[int]] = defaultdict(list)
        singles: list[tuple[int, int]] = []
        for position, node in enumerate(self.nodes):
            if node.op in ELEMENTWISE and position not in self.inlined:
                groups[self.level[position], 0, node.shape].append(position)
            elif node.op in REDUCTIONS or node.op == "matmul":
                singles.append((self.level[position], position))
        order: list[tuple[int, int, tuple[int, ...], list[int]]] = [
            (level, kind, shape, members) for (level, kind, shape), members in groups.items()
        ]
        order += [(level, 1, (), [position]) for level, position in singles]
        statements: list[Statement] = []
        for _, _, _, members in sorted(order, key=lambda item: (item[0], item[1], item[3])):
            statements += self._statements(members)
        statements += self._write_output()
        work = np.concatenate(self.work) if self.work else np.zeros(0)
        return ArrayForm(statements, work, self.program.input_names)

    def _statements(self, members: list[int]) -> list[Statement]:
        node = self.nodes[members[0]]
        if node.op == "matmul":
            return self._matmul(members[0])
        if node.op in REDUCTIONS:
            return self._reduction(members[0])
        stored = [x for x in members if self._is_stored(x, set(members))]
        return self._loops(node.shape, stored, set(members))

    def _is_stored(self, position: int, together: set[int]) -> bool:
        return position == self.program.output or any(
            user not in together for user in self.users[position]
        )

    def _write_output(self) -> list[Statement]:
        output = self.nodes[self.program.output]
        if self.placed:
            given = [a for a in self.placed if self.nodes[a].op in ("input", "const")]
            copies = [
                self._loops(self.nodes[a].shape, [a], set(), targets=[self.placed[a]])
                for a in given
            ]
            return [statement for statements in copies for statement in statements]
        target = Buffer("out", 0, output.size)
        return self._loops(output.shape, [self.program.output], set(), targets=[target])

    # -- loops ----------------------------------------------------------------------------------
    def _loops(
        self,
        shape: tuple[int, ...],
        results: list[int],
        members: set[int],
        targets: list[Buffer] | None = None,
        reduced: int = 0,
        combine: str = "",
        axes: tuple[int, ...] = (),
    ) -> list[Statement]:
        """Loops that evaluate `results` over `shape`, computing `members` on the way.

        `axes` is the order in which the shape's axes are nested (the reduced ones innermost).
        """
        leaves = self._leaves(results, members)
        maps = {leaf: self.index_map(leaf) for leaf in leaves}
        order = axes or tuple(range(len(shape)))
        maps = {leaf: m.transpose(order) for leaf, m in maps.items()}
        extent = tuple(shape[a] for a in order)
        boxes, irregular = split_into_boxes(extent, list(maps.values()))
        targets = targets or [self.buffer(x) for x in results]
        if reduced and len(boxes) > 1:
            # partial sums of several boxes would need a second pass: gather the operands instead
            return self._reduce_materialised(
                shape, results, members, targets, reduced, combine, axes
            )
        statements: list[Statement] = []
        tabled: set[int] = set()
        for leaf in [leaf for leaf, chosen in zip(maps, irregular, strict=True) if chosen]:
            if len(maps[leaf].sources) == 1 and (maps[leaf].owner >= 0).all():
                tabled.add(leaf)
            else:
                copies, maps[leaf] = self._materialise(maps[leaf])
                statements += copies
        for box in boxes:
            statements.append(
                self._loop(box, extent, results, members, maps, tabled, targets, reduced, combine)
            )
        return statements

    def _leaves(self, results: list[int], members: set[int]) -> list[int]:
        """What the loop loads: operands that it does not compute itself."""
        leaves: dict[int, None] = {}

        def visit(x: int) -> None:
            if x in members:
                for a in self.nodes[x].args:
                    visit_once(a)
            elif not self._is_number(x):
                leaves[x] = None

        seen: set[int] = set()

        def visit_once(x: int) -> None:
            if x not in seen:
                seen.add(x)
                visit(x)

        for x in results:
            visit_once(x)
        return list(leaves)

    def _is_number(self, position: int) -> bool:
        return self._number(position) is not None

    def _number(self, position: int) -> float | None:
        """The number that fills a constant, which then needs no load."""
        node = self.nodes[position]
        if node.op == "const" and node.size and (node.attr == node.attr.flat[0]).all():
            return float(node.attr.flat[0])
        if node.op == "gather" and not node.args:
            return 0.0
        if node.op == "gather" and len(node.args) == 1 and (node.attr >= 0).all():
            return self._number(node.args[0]) if self.nodes[node.args[0]].op == "const" else None
        return None

    def _loop(
        self,
        box: Box,
        extent: tuple[int, ...],
        results: list[int],
        members: set[int],
        maps: dict[int, IndexMap],
        tabled: set[int],
        targets: list[Buffer],
        reduced: int,
        combine: str,
    ) -> Loop:
        ssa = Ssa()
        loads: dict[int, Access] = {}
        values: dict[int, int] = {}

        def value(x: int) -> int:
            if x not in values:
                values[x] = compute(x)
            return values[x]

        def compute(x: int) -> int:
            number = self._number(x)
            if number is not None:
                return ssa.const(number)
            if x in members:
                node = self.nodes[x]
                return ssa.apply(node.op, *(value(a) for a in node.args))
            access = self._access(maps[x], box, x in tabled)
            if access is None:
                loaded = ssa.const(0.0)
            else:
                key = len(loads)
                known = [k for k, other in loads.items() if other == access]
                if not known:
                    loads[key] = access
                loaded = ssa.load(known[0] if known else key)
            if self.nodes[x].is_bool:  # stored as 0.0 or 1.0
                return ssa.apply("ne", loaded, ssa.const(0.0))
            return loaded

        outer = len(extent) - reduced
        for x in sorted(members):
            if x in results or any(u in members for u in self.users[x]):
                value(x)
        stores = []
        for x, target in zip(results, targets, strict=True):
            result = value(x)
            if ssa.instructions[result].is_bool:
                result = ssa.apply("where", result, ssa.const(1.0), ssa.const(0.0))
            where = Affine.row_major(extent[:outer], box.start[:outer])
            stores.append((result, Access(target, where)))
        sizes = tuple(stop - start for start, stop in zip(box.start, box.stop, strict=True))
        return Loop(sizes, ssa, loads, stores, reduced, combine)

    def _access(self, index_map: IndexMap, box: Box, tabled: bool) -> Access | None:
        """None for structural zeros."""
        if tabled:
            table = self.table(index_map.local)
            where = Affine.row_major(index_map.local.shape, box.start)
            return Access(self.buffer(index_map.sources[0]), where, table)
        source, affine = index_map.affine_in(box)
        return None if source < 0 else Access(self.buffer(index_map.sources[source]), affine)

    def _materialise(self, index_map: IndexMap) -> tuple[list[Statement], IndexMap]:
        """Copy what a map picks into a buffer of its own."""
        target = self.scratch(index_map.local.size)  # zeros that are never written stay zeros
        statements: list[Statement] = []
        for number, source in enumerate(index_map.sources):
            to = np.flatnonzero(index_map.owner.reshape(-1) == number)
            take = index_map.local.reshape(-1)[to]
            if to.size:
                statements.append(
                    Copy(target, self.buffer(source), self.table(to), self.table(take), to.size)
                )
        return statements, self._plain_map(target, index_map.local.shape)

    def _plain_map(self, buffer: Buffer, shape: tuple[int, ...]) -> IndexMap:
        key = -1 - len(self.buffers)  # not a node: only a name for the buffer
        self.buffers[key] = buffer
        index = np.arange(math.prod(shape), dtype=np.intp).reshape(shape)
        return IndexMap((key,), np.zeros(shape, dtype=np.intp), index)

    # -- reductions and products ------------------------------------------------------------------
    def _reduction(self, position: int) -> list[Statement]:
        node = self.nodes[position]
        operand = node.args[0]
        shape = self.nodes[operand].shape
        kept = tuple(a for a in range(len(shape)) if a not in node.attr)
        members = {x for x, target in self.inlined.items() if target == position}
        return self._loops(
            shape,
            [operand],
            members,
            targets=[self.buffer(position)],
            reduced=len(node.attr),
            combine=node.op,
            axes=(*kept, *node.attr),
        )

    def _reduce_materialised(
        self,
        shape: tuple[int, ...],
        results: list[int],
        members: set[int],
        targets: list[Buffer],
        reduced: int,
        combine: str,
        axes: tuple[int, ...],
    ) -> list[Statement]:
        operand = results[0]
        buffer = self.scratch(math.prod(shape))
        statements = self._loops(shape, [operand], members, targets=[buffer])
        plain = self._plain_map(buffer, shape).transpose(axes)
        extent = tuple(shape[a] for a in axes)
        whole = Box((0,) * len(extent), extent)
        ssa = Ssa()
        access = self._access(plain, whole, False)
        assert access is not None
        where = Affine.row_major(extent[: len(extent) - reduced], (0,) * (len(extent) - reduced))
        stores = [(ssa.load(0), Access(targets[0], where))]
        return [*statements, Loop(extent, ssa, {0: access}, stores, reduced, combine)]

    def _matmul(self, position: int) -> list[Statement]:
        node = self.nodes[position]
        *lead, m, n = node.shape
        k = self.nodes[node.args[0]].shape[-1]
        before_a, a = self._operand(node.args[0])
        before_b, b = self._operand(node.args[1])
        product = MatMul(a, b, self.buffer(position), math.prod(lead), m, k, n)
        if b.transposed and self._wants_rows(product):
            before_b, b = self._copied_operand(node.args[1])
            product = replace(product, b=b)
        return [*before_a, *before_b, product]

    def _wants_rows(self, product: MatMul) -> bool:
        if product.multiplications >= self.loops_below or product.n == 1:
            return False
        # a few dot products are cheaper than the copy
        return not product.rows_with_rows or (product.m >= 4 and product.n >= 8)

    def _operand(self, position: int) -> tuple[list[Statement], Operand]:
        """A matrix operand in place where it lies contiguously (or transposed), else a copy."""
        node = self.nodes[position]
        if node.op != "gather":
            return [], Operand(self.buffer(position), False)
        if len(node.args) == 1:
            source = self.buffer(node.args[0])
            for transposed in (False, True):
                index = np.swapaxes(node.attr, -1, -2) if transposed else node.attr
                first = int(index.flat[0])
                run = np.arange(first, first + index.size).reshape(index.shape)
                if first >= 0 and np.array_equal(index, run):
                    inside = Buffer(source.name, source.start + first, index.size)
                    return [], Operand(inside, transposed)
        return self._copied_operand(position)

    def _copied_operand(self, position: int) -> tuple[list[Statement], Operand]:
        node = self.nodes[position]
        buffer = self.scratch(node.size)
        return self._loops(node.shape, [position], set(), targets=[buffer]), Operand(buffer, False)
