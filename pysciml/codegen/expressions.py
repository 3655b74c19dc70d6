"""Prints straight-line scalar code: what the two target languages share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from pysciml.capture.ssa import Ssa

#: operations spelled the same in Python and Julia
COMMON = {
    "neg": "(-{0})",
    "abs": "abs({0})",
    "add": "({0} + {1})",
    "accumulate": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "div": "({0} / {1})",
    "lt": "({0} < {1})",
    "le": "({0} <= {1})",
    "gt": "({0} > {1})",
    "ge": "({0} >= {1})",
    "eq": "({0} == {1})",
    "ne": "({0} != {1})",
}


@dataclass
class Printed:
    """Lines that compute the values, and what to write where each result is used."""

    lines: list[str]
    names: dict[int, str]


def print_ssa(
    ssa: Ssa,
    results: list[int],
    templates: Mapping[str, str],
    number: Callable[[float], str],
    load: Callable[[Hashable], str],
) -> Printed:
    """One assignment for each value that is used more than once; the others are written in place.

    Nesting is bounded, since compilers of both languages recurse over expressions.
    """
    needed = ssa.needed(results)
    uses: dict[int, int] = dict.fromkeys(needed, 0)
    for x in needed:
        for a in ssa.instructions[x].args:
            uses[a] += 1
    for x in results:
        uses[x] += 1
    lines: list[str] = []
    names: dict[int, str] = {}
    depth: dict[int, int] = {}
    for x in needed:
        instruction = ssa.instructions[x]
        depth[x] = 1 + max((depth[a] for a in instruction.args), default=0)
        if instruction.op == "const":
            names[x] = number(instruction.key)  # type: ignore[arg-type]
            continue
        if instruction.op == "load":
            text = load(instruction.key)
        else:
            text = templates[instruction.op].format(*(names[a] for a in instruction.args))
        repeats = templates.get(instruction.op, "").count("{0}") > 1
        if uses[x] == 1 and depth[x] < 8 and not repeats and len(text) < 200:
            names[x] = text
        else:
            names[x] = f"x{x}"
            depth[x] = 0
            lines.append(f"x{x} = {text}")
    return Printed(lines, names)
