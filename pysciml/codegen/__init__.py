"""Program -> source text: Numba for the native engine, Julia for the Julia engine."""

from __future__ import annotations

from typing import Literal

from pysciml.capture.program import Program
from pysciml.capture.scalar import scalar_cost

Form = Literal["auto", "scalar", "array"]

#: Above this many scalar operations, compiling straight-line code costs more than loops do.
SCALAR_LIMIT = 400


def choose_form(program: Program, form: Form = "auto") -> Literal["scalar", "array"]:
    """Scalar form for small programs, array form for large ones, unless one is asked for."""
    if form not in ("auto", "scalar", "array"):
        raise ValueError(f"form must be 'auto', 'scalar' or 'array', got {form!r}")
    if form != "auto":
        return form
    size = max(scalar_cost(program), program.nodes[program.output].size)
    return "scalar" if size <= SCALAR_LIMIT else "array"
