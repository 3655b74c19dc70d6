"""Functions of plain vectors as Programs with their gradients: losses, and what feeds a solve.

Their Programs take the inputs (u, p, t) of a right-hand side, so that whatever compiles one of
those compiles these too; `t` is not used, and `p` is empty where there is nothing to put in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pysciml.capture import aten
from pysciml.capture.program import Program
from pysciml.capture.record import NeedsNumpyTracing, Tape, line_of, record
from pysciml.errors import CaptureError


def capture_value_and_grad(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    n_u: int,
    n_p: int,
    what: str = "the loss",
) -> Program:
    """The Program (u, p, t) -> [value, d value/du, d value/dp] of a scalar function of two vectors.

    Parameters
    ----------
    function : ``(u, p) -> scalar`` on float64 tensors of shapes (n_u,) and (n_p,), written with
        torch.
    what : what the function is, for messages.

    Raises
    ------
    CaptureError: with the user's line, the reason, and what to write instead.
    """
    tape = _trace(lambda u, p, t: function(u, p), (n_u, n_p), what)
    if tape.result_shape != ():
        raise CaptureError(
            f"{what} must return one number, but returned a tensor of shape {tape.result_shape}"
        )

    def value_and_grad(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        primal_and_pullback: Any = torch.func.vjp(lambda u, p: tape.replay(u, p, t), u, p)
        value, pullback = primal_and_pullback
        return torch.cat([value.reshape(1), *pullback(torch.ones_like(value))])

    return _program(value_and_grad, (n_u, n_p), "value_and_grad", what)


def capture_map(
    function: Callable[[torch.Tensor], torch.Tensor], n: int, what: str = "the function"
) -> tuple[Program, Program]:
    """A function of one vector, and its transpose, as Programs.

    Returns
    -------
    (u, p, t) -> function(u), where p is empty, and (u, p, t) -> p^T d function/du, where p has the
    length of the result.
    """
    tape = _trace(lambda u, p, t: function(u), (n, 0), what)
    value = aten.translate(tape, "value", _inputs(n, 0), tape.result_shape)

    def pull(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        nothing = torch.zeros(0, dtype=torch.float64)
        pullback = torch.func.vjp(lambda u: tape.replay(u, nothing, t), u)[1]
        return pullback(p)[0]

    return value, _program(pull, (n, tape.result_shape[0]), "vjp", what)


def _inputs(n_u: int, n_p: int) -> list[tuple[str, tuple[int, ...]]]:
    return [("u", (n_u,)), ("p", (n_p,)), ("t", ())]


def _program(
    function: Callable[..., torch.Tensor], sizes: tuple[int, int], name: str, what: str
) -> Program:
    tape = _trace(function, sizes, what)
    return aten.translate(tape, name, _inputs(*sizes), tape.result_shape)


def _trace(function: Callable[..., Any], sizes: tuple[int, int], what: str) -> Tape:
    examples = [torch.zeros(shape, dtype=torch.float64) for _, shape in _inputs(*sizes)]
    try:
        return record(function, examples, aten.supported)
    except CaptureError as error:  # worded for a right-hand side
        text = str(error).replace("f cannot be captured", f"{what} cannot be captured", 1)
        raise CaptureError(text) from error
    except NeedsNumpyTracing as error:
        raise CaptureError(
            f"{what} cannot be captured: it hands a tensor to NumPy or to float(). Write it with "
            f"torch functions and arithmetic.\n{line_of(error) or ''}"
        ) from error
    except Exception as error:
        raise CaptureError(
            f"{what} raised {type(error).__name__} while it was traced: {error}\n"
            f"{line_of(error) or ''}"
        ) from error
