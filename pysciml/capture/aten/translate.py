"""A recorded tape as a Program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.utils import _pytree as pytree

from pysciml.capture.aten.table import TABLE, Ref, TracedIndexError, value_of
from pysciml.capture.builder import Builder
from pysciml.capture.program import Program
from pysciml.capture.record import Slot, Tape, data_dependent


def supported(func: Any) -> bool:
    """Whether an ATen overload has a translation here."""
    return func.namespace == "aten" and _name(func) in TABLE


def _name(func: Any) -> str:
    return func._schema.name.split("::")[1]


def translate(
    tape: Tape, name: str, inputs: Sequence[tuple[str, tuple[int, ...]]], shape: tuple[int, ...]
) -> Program:
    """The Program of a tape whose inputs have these names and shapes; `shape` is the output's."""
    b = Builder()
    values: dict[int, Any] = {}
    for position, (input_name, its_shape) in zip(tape.inputs, inputs, strict=True):
        flat = () if its_shape == () and input_name == "t" else (math.prod(its_shape),)
        values[position] = Ref(b.reshape(b.input(input_name, flat), its_shape))

    def fill(x: Any) -> Any:
        return values[x.index] if isinstance(x, Slot) else x

    for call in tape.calls:
        args, kwargs = pytree.tree_map(
            fill, (call.args, call.kwargs), is_leaf=lambda x: isinstance(x, Slot)
        )
        try:
            result = TABLE[_name(call.function)](b, *args, **kwargs)
        except TracedIndexError:
            raise data_dependent(call.line, "an index") from None
        results = result if call.is_sequence else (result,)
        for slot, value in zip(call.outputs, results, strict=True):
            if slot is not None:
                values[slot] = Ref(value)
    return b.build(name, b.reshape(value_of(b, fill(tape.output)), shape))
