"""Scalar and array form as lines of text, in a language described by a `Dialect`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pysciml.capture.array import Access, Copy, Loop, MatMul, Statement
from pysciml.capture.scalar import ScalarForm
from pysciml.codegen.expressions import Printed, print_ssa
from pysciml.codegen.loops import Nest, depth_of, merge_axes, position, reduced_outside

#: how an iteration may be reordered
Order = Literal["sequential", "independent", "sum"]

_SHORTEST_ROW = 4  # results of a reduction that are worth a loop of their own


@dataclass(frozen=True)
class Dialect:
    """What differs between the target languages.

    Attributes
    ----------
    templates: text of every element-wise operation, with ``{0}``, ``{1}``, ... for operands, and
        of ``accumulate``, an addition whose order does not matter.
    number: text of a float.
    origin: index of the first element.
    loop: header of a loop, from counter, count and the freedom to reorder it; counters start at 0.
    end: what closes a block, if anything does.
    infinity: text of infinity.
    matmul: lines of a matrix product; inside a batch the counter is ``s``.
    """

    templates: Mapping[str, str]
    number: Callable[[float], str]
    origin: int
    loop: Callable[[str, int, Order], str]
    end: str | None
    infinity: str
    matmul: Callable[[MatMul], list[str]]

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
            lines += _batched(statement, dialect)
    return lines


def _batched(product: MatMul, dialect: Dialect) -> list[str]:
    lines = dialect.matmul(product)
    if product.batch == 1:
        return lines
    return dialect.block(dialect.loop("s", product.batch, "sequential"), lines)


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
    across = _runs_across(nest)
    if across:
        nest = reduced_outside(nest)
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
    if across:
        return _across_lines(loop, nest, printed, hoisted, dialect)
    if nest.reduced or loop.reduced:
        return _reduction_lines(loop, nest, printed, hoisted, dialect)
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
    loop: Loop, nest: Nest, printed: Printed, hoisted: dict[int, list[str]], dialect: Dialect
) -> list[str]:
    free = len(nest.extent) - nest.reduced
    operation, start = _combination(loop.combine, dialect)
    ((value, target),) = nest.stores
    combined = dialect.templates[operation].format("s", "y")
    inside = [*printed.lines, f"y = {printed.names[value]}", f"s = {combined}"]
    order: Order = "sum" if loop.combine == "sum" and nest.reduced == 1 else "sequential"
    summed = [
        f"s = {start}",
        *_nested(nest.extent[free:], inside, hoisted, dialect, free, order),
        f"{_element(target, dialect)} = s",
    ]
    outer = {level: lines for level, lines in hoisted.items() if level < free}
    return _nested_outside(nest.extent[:free], summed, outer, dialect)


def _combination(name: str, dialect: Dialect) -> tuple[str, str]:
    """The operation that a reduction repeats, and what it starts from."""
    return {
        "sum": ("accumulate", "0.0"),
        "amax": ("maximum", f"(-{dialect.infinity})"),
        "amin": ("minimum", dialect.infinity),
    }[name]


def _runs_across(nest: Nest) -> bool:
    """Whether neighbouring numbers belong to different results of a reduction."""
    free = len(nest.extent) - nest.reduced
    if not 0 < free < len(nest.extent) or nest.extent[free - 1] < _SHORTEST_ROW:
        return False
    strides = [access.affine.strides for access in nest.loads.values()]
    return any(s[free - 1] == 1 for s in strides) and not any(s[-1] == 1 for s in strides)


def _across_lines(
    loop: Loop, nest: Nest, printed: Printed, hoisted: dict[int, list[str]], dialect: Dialect
) -> list[str]:
    """Rows are combined with a row of results, which lies in the innermost loop."""
    operation, start = _combination(loop.combine, dialect)
    ((value, target),) = nest.stores
    result = _element(target, dialect)
    combined = dialect.templates[operation].format(result, "y")
    body = [*printed.lines, f"y = {printed.names[value]}", f"{result} = {combined}"]
    first = target.buffer.start + dialect.origin
    size = math.prod(loop.extent[: len(loop.extent) - loop.reduced])
    clear = f"{target.buffer.name}[{first} + i0] = {start}"
    return [
        *dialect.block(dialect.loop("i0", size, "independent"), [clear]),
        *_nested(nest.extent, body, hoisted, dialect),
    ]


def _nested_outside(
    extent: tuple[int, ...], inner: list[str], hoisted: dict[int, list[str]], dialect: Dialect
) -> list[str]:
    lines = inner
    for k in reversed(range(len(extent))):
        header = dialect.loop(f"i{k}", extent[k], "sequential")
        lines = [*hoisted.get(k, []), *dialect.block(header, lines)]
    return lines
