"""A function of tensors, recorded; and what is said when that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pysciml.capture import aten, numpy_style
from pysciml.capture.calling import Shape
from pysciml.capture.model import TorchFunction
from pysciml.capture.record import (
    NeedsNumpyTracing,
    Tape,
    data_dependent,
    float64_default,
    line_of,
    record,
)
from pysciml.errors import CaptureError


def trace(
    f: Any, make: Callable[[bool], TorchFunction], examples: list[torch.Tensor], shape: Shape | None
) -> tuple[Tape, TorchFunction]:
    in_torch = make(False)
    try:
        tape = record(in_torch, examples, aten.supported)
    except CaptureError:
        raise
    except Exception as error:
        if not isinstance(error, NeedsNumpyTracing) and not numpy_style.uses_numpy(f):
            raise _user_error(error) from error
        return _trace_numpy(make(True), examples, shape, error)
    _check_result(tape, shape)
    return tape, _in_float64(in_torch)


def _trace_numpy(
    function: TorchFunction,
    examples: list[torch.Tensor],
    shape: Shape | None,
    first: Exception,
) -> tuple[Tape, TorchFunction]:
    try:
        with float64_default():
            in_torch = numpy_style.trace_with_dynamo(function, examples)
    except Exception as error:
        raise _dynamo_error(error, first) from error
    try:
        tape = record(in_torch, examples, aten.supported)
    except NeedsNumpyTracing:
        raise data_dependent(line_of(first), "a number made by float(), int() or .item()") from None
    _check_result(tape, shape)
    return tape, _in_float64(in_torch)


def _in_float64(function: TorchFunction) -> TorchFunction:
    def torch_function(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        with float64_default():
            return function(u, p, t)

    return torch_function


def _check_result(tape: Tape, shape: Shape | None) -> None:
    result = tape.result_shape
    if shape is None or (
        len(result) == len(shape)
        and all(want in (None, got) for got, want in zip(result, shape, strict=True))
        and 0 not in result
    ):
        return
    what = f"an array of u's shape {shape}"
    if None in shape:
        what = f"the shape {_words(shape)}, a column for each Wiener process"
    raise CaptureError(f"f must return {what}, but returned shape {result}")


def _words(shape: Shape) -> str:
    return f"({', '.join('m' if size is None else str(size) for size in shape)})"


def _user_error(error: Exception) -> CaptureError:
    if isinstance(error, NeedsNumpyTracing):
        return CaptureError(
            "f cannot be captured: it hands a tensor to NumPy, to `math` or to float(), where it "
            f"cannot be followed.\n{line_of(error) or ''}\n"
            "Write the line with torch's functions and arithmetic."
        )
    return CaptureError(
        f"f raised {type(error).__name__} while it was traced: {error}\n{line_of(error) or ''}"
    )


def _dynamo_error(error: Exception, first: Exception) -> CaptureError:
    text = str(error)
    line = _dynamo_line(error)
    if "ata-dependent" in text:
        return data_dependent(line, "this line")
    if "Observed exception" in text or "raised exception" in text or line is None:
        return _user_error(first)
    reason = text.split("\n", maxsplit=1)[0]
    return CaptureError(
        f"f cannot be captured: {reason}\n{line}\n"
        "Use NumPy or torch operations on whole arrays, or plain arithmetic on their entries."
    )


def _dynamo_line(error: Exception) -> Any:
    from pysciml.capture.record import line_of_stack

    return line_of_stack(getattr(error, "real_stack", None) or ())
