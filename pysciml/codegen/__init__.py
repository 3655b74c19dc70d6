"""Program -> source text: Numba for the native engine, Julia for the Julia engine."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pysciml.capture.program import Program
from pysciml.capture.scalar import scalar_cost

Form = Literal["auto", "scalar", "array"]

#: Above this many scalar operations, compiling straight-line code costs more than loops do.
SCALAR_LIMIT = 400


#: A row of so many numbers is worth a loop for a function that loops compute several at once.
_ROW = 8


def choose_form(
    program: Program, form: Form = "auto", fast_in_loops: Collection[str] = ()
) -> Literal["scalar", "array"]:
    """Scalar form for small programs, array form for large ones, unless one is asked for.

    `fast_in_loops`: operations that the target computes several at once in a loop, and in a loop
    only; programs that apply them to whole rows get array form, small as they may be.
    """
    if form not in ("auto", "scalar", "array"):
        raise ValueError(f"form must be 'auto', 'scalar' or 'array', got {form!r}")
    if form != "auto":
        return form
    if any(node.op in fast_in_loops and node.size >= _ROW for node in program.nodes):
        return "array"
    size = max(scalar_cost(program), program.nodes[program.output].size)
    return "scalar" if size <= SCALAR_LIMIT else "array"
