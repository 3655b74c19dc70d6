"""Scalar and array form as lines of text, in a language described by a `Dialect`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pysciml.capture.array import Access, Copy, Loop, MatMul, Operand, Statement
from pysciml.capture.scalar import ScalarForm
from pysciml.codegen.expressions import print_ssa
from pysciml.codegen.loops import Nest, depth_of, merge_axes, position

#: how an iteration may be reordered
Order = Literal["sequential", "independent", "sum"]


@dataclass(frozen=True)
class Dialect:
    """What differs between the target languages.

    Attributes
    ----------
    templates: text of every element-wise operation, with ``{0}``, ``{1}``, ... for operands.
    number: text of a float.
    origin: index of the first element.
    loop: header of a loop, from counter, count and the freedom to reorder it; counters start at 0.
    end: what closes a block, if anything does.
    infinity: text of infinity.
    blas: lines of a matrix product by BLAS; inside a batch the counter is ``s``.
    blas_from: number of multiplications from which BLAS beats plain loops.
    """

    templates: Mapping[str, str]
    number: Callable[[float], str]
    origin: int
    loop: Callable[[str, int, Order], str]
    end: str | None
    infinity: str
    blas: Callable[[MatMul], list[str]]
    blas_from: int

    def block(self, header: str, body: Sequence[str]) -> list[str]:
        lines = [header, *("    " + line for line in body)]
        return lines if self.end is None else [*lines, self.end]


def print_scalar_form(form: ScalarForm, dialect: Dialect) -> list[str]:
    def load(key: Any) -> str:
        name, k = key
        return "t" if name == "t" else f"{name}[{k + dialect.origin}]"

    printed = print_ssa(form.ssa, form.outputs, dialect.templates, dialect.number, load)
    stores = [f"out[{k + dialect.origin}] = {printed.names[x]}" for k, x in enumerate(form.outputs)]
    return [*printed.lines, *stores]


def print_statements(statements: Sequence[Statement], dialect: Dialect) -> list[str]:
    lines: list[str] = []
    for statement in statements:
        if isinstance(statement, Loop):
            lines += _loop_lines(statement, dialect)
        elif isinstance(statement, Copy):
            lines += _copy_lines(statement, dialect)
        else:
            lines += _matmul_lines(statement, dialect)
    return lines


# -- accesses -------------------------------------------------------------------------------------
def _element(access: Access, dialect: Dialect) -> str:
    buffer = access.buffer
    if buffer.name == "t":
        return "t"
    if access.table is None:
        return f"{buffer.name}[{position(access.affine, buffer.start, dialect.origin)}]"
    entry = f"table[{position(access.affine, access.table.start, dialect.origin)}]"
    return f"{buffer.name}[{buffer.start + dialect.origin} + {entry}]"


def _copy_lines(copy: Copy, dialect: Dialect) -> list[str]:
    def through(start: int) -> str:
        return f"table[{start + dialect.origin} + i0]"

    first = copy.source.start + dialect.origin
    source = (
        "t"
        if copy.source.name == "t"
        else (f"{copy.source.name}[{first} + {through(copy.take.start)}]")
    )
    target = f"{copy.target.name}[{copy.target.start + dialect.origin} + {through(copy.to.start)}]"
    return dialect.block(dialect.loop("i0", copy.count, "independent"), [f"{target} = {source}"])


# -- loops ----------------------------------------------------------------------------------------
def _loop_lines(loop: Loop, dialect: Dialect) -> list[str]:
    nest = merge_axes(loop)
    hoisted: dict[int, list[str]] = {}

    def load(key: Any) -> str:
        access = nest.loads[key]
        text = _element(access, dialect)
        level = depth_of(access)
        if level == len(nest.extent) or text == "t":
            return text
        # compilers don't move it out by themselves: the stores might alias
        hoisted.setdefault(level, []).append(f"h{key} = {text}")
        return f"h{key}"

    results = [value for value, _ in nest.stores]
    printed = print_ssa(loop.ssa, results, dialect.templates, dialect.number, load)
    if nest.reduced or loop.reduced:
        return _reduction_lines(loop, nest, printed.lines, printed.names, hoisted, dialect)
    stores = [
        f"{_element(access, dialect)} = {printed.names[value]}" for value, access in nest.stores
    ]
    return _nested(nest.extent, [*printed.lines, *stores], hoisted, dialect)


def _nested(
    extent: tuple[int, ...],
    inner: list[str],
    hoisted: dict[int, list[str]],
    dialect: Dialect,
    first: int = 0,
    order: Order = "independent",
) -> list[str]:
    """`inner` inside loops over `extent`; hoisted lines stand in front of the loop they precede."""
    lines = inner
    for k in reversed(range(len(extent))):
        innermost = k == len(extent) - 1
        header = dialect.loop(f"i{first + k}", extent[k], order if innermost else "sequential")
        lines = [*hoisted.get(first + k, []), *dialect.block(header, lines)]
    return lines if extent else [*hoisted.get(first, []), *lines]


def _reduction_lines(
    loop: Loop,
    nest: Nest,
    body: list[str],
    names: dict[int, str],
    hoisted: dict[int, list[str]],
    dialect: Dialect,
) -> list[str]:
    free = len(nest.extent) - nest.reduced
    operation, start = {
        "sum": ("add", "0.0"),
        "amax": ("maximum", f"(-{dialect.infinity})"),
        "amin": ("minimum", dialect.infinity),
    }[loop.combine]
    ((value, target),) = nest.stores
    accumulate = f"s = {dialect.templates[operation].format('s', 'y')}"
    inside = [*body, f"y = {names[value]}", accumulate]
    order: Order = "sum" if loop.combine == "sum" and nest.reduced == 1 else "sequential"
    summed = [
        f"s = {start}",
        *_nested(nest.extent[free:], inside, hoisted, dialect, free, order),
        f"{_element(target, dialect)} = s",
    ]
    outer = {level: lines for level, lines in hoisted.items() if level < free}
    return _nested_outside(nest.extent[:free], summed, outer, dialect)


def _nested_outside(
    extent: tuple[int, ...], inner: list[str], hoisted: dict[int, list[str]], dialect: Dialect
) -> list[str]:
    lines = inner
    for k in reversed(range(len(extent))):
        header = dialect.loop(f"i{k}", extent[k], "sequential")
        lines = [*hoisted.get(k, []), *dialect.block(header, lines)]
    return lines


# -- matrix products ------------------------------------------------------------------------------
def _matmul_lines(product: MatMul, dialect: Dialect) -> list[str]:
    small = product.m * product.k * product.n < dialect.blas_from
    lines = _small_matmul(product, dialect) if small else dialect.blas(product)
    if product.batch == 1:
        return lines
    return dialect.block(dialect.loop("s", product.batch, "sequential"), lines)


def _small_matmul(product: MatMul, dialect: Dialect) -> list[str]:
    m, k, n = product.m, product.k, product.n
    first = product.c.start + dialect.origin
    batch = f"s * {m * n} + " if product.batch > 1 else ""
    a = _entry(product.a, (m, k), ("i", "l"), product.batch, dialect)
    b = _entry(product.b, (k, n), ("l", "j"), product.batch, dialect)
    dot = dialect.block(dialect.loop("l", k, "sequential"), [f"y = y + {a} * {b}"])
    entry = ["y = 0.0", *dot, f"{product.c.name}[{first} + {batch}i * {n} + j] = y"]
    row = dialect.block(dialect.loop("j", n, "sequential"), entry)
    return dialect.block(dialect.loop("i", m, "sequential"), row)


def _entry(
    operand: Operand,
    shape: tuple[int, int],
    counters: tuple[str, str],
    batch: int,
    dialect: Dialect,
) -> str:
    (rows, columns), (i, j) = shape, counters
    row, column, width = (j, i, rows) if operand.transposed else (i, j, columns)
    along = f"s * {rows * columns} + " if batch > 1 else ""
    first = operand.buffer.start + dialect.origin
    return f"{operand.buffer.name}[{first} + {along}{row} * {width} + {column}]"
