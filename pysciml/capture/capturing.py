"""`capture`: a user's Python function, traced once."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pysciml.capture import numpy_style
from pysciml.capture.calling import (
    Shape,
    calling_convention,
    module_function,
    module_part,
    own_parameters,
    same,
    user_part,
)
from pysciml.capture.model import Array, Model
from pysciml.capture.parameters import Parameters
from pysciml.capture.tracing import trace
from pysciml.errors import CaptureError

_tracing = threading.RLock()  # one at a time: Dynamo's state is the process's


def capture(f: Any, u0: Array, p: Any = None, t0: float = 0.0, shape: Shape | None = None) -> Model:
    """Trace `f` once and return it as a `Model`.

    Parameters
    ----------
    f: ``f(u, p, t)`` returning an array, tensor, list or tuple of u0's shape; in place
        ``f(du, u, p, t)``; or a `torch.nn.Module` with ``forward(u)``, ``forward(t, u)``,
        ``forward(u, t)`` or ``forward(u, p, t)``, whose parameters become `p`.
    u0: float64 array of the state's shape, () for a scalar.
    p: None, a number, an array, or a dict/named tuple of these.
    t0: time of the trace (it has no influence on the result).
    shape: of f's result, None as an entry for any number. Default: u0's.

    Raises
    ------
    CaptureError: with the user's line, the reason, and what to write instead.
    """
    u0 = np.asarray(u0, dtype=np.float64)
    function, p = own_parameters(f, p)
    return _capture(f, function, same, p, u0, u0.shape if shape is None else shape, t0)


def capture_pair(f: Any, g: Any, u0: Array, p: Any, shape: Shape) -> tuple[Model, Model]:
    """Trace two functions of the same state and parameters: an SDE's drift and noise.

    Parameters
    ----------
    f, u0, p: as for `capture`.
    g: like `f`, with a result of another shape.
    shape: of g's result; None as its last entry stands for any number.

    Both models have the same parameters: those of `p`, or, when a module is among them,
    ``{"f": f's own, "g": g's own, "p": p}``.

    Raises
    ------
    CaptureError: with the user's line, the reason, and what to write instead.
    """
    functions = {"f": f, "g": g}
    picks: dict[str, Callable[[Any], Any]] = dict.fromkeys(functions, same)
    modules = [key for key, value in functions.items() if isinstance(value, torch.nn.Module)]
    if modules:
        picks = dict.fromkeys(functions, user_part)
        p = {"p": p}
    for key in modules:
        functions[key], values, takes_p = module_function(functions[key])
        p[key] = values
        picks[key] = module_part(key, takes_p)
    u0 = np.asarray(u0, dtype=np.float64)
    drift = _capture(f, functions["f"], picks["f"], p, u0, u0.shape)
    try:
        noise = _capture(g, functions["g"], picks["g"], p, u0, shape)
    except CaptureError as error:
        raise CaptureError(str(error).replace("f ", "g ", 1)) from error
    return drift, noise


def capture_beside(
    function: Any,
    model: Model,
    what: str,
    state_shape: tuple[int, ...] | None = None,
    extra: Array | None = None,
) -> Model:
    """Trace another function (u, p, t) of a model's state and parameters, with any result.

    `what` is what the function is, for messages. `state_shape` is its u's, if not the model's.
    With `extra`, an example of more numbers, the function is one of (u, p, t, extra), and these
    numbers are the last ones of its flat parameters.

    Raises
    ------
    CaptureError: with the user's line, the reason, and what to write instead.
    """
    p = model.parameters.unflatten(model.p_flat)
    if extra is not None:
        p = {"p": p, "extra": extra}

    def with_copy(u: Any, p: Any, t: Any) -> Any:  # the function may write into its u
        u = u.clone() if isinstance(u, torch.Tensor) else u.copy()
        return function(u, p, t) if extra is None else function(u, p["p"], t, p["extra"])

    try:
        u = np.zeros(model.state_shape if state_shape is None else state_shape)
        return _capture(with_copy, with_copy, same, p, u, None)
    except CaptureError as error:
        raise CaptureError(re.sub(r"\bf ", f"{what} ", str(error), count=1)) from error


def _capture(
    f: Any,
    function: Callable[..., Any],
    pick: Callable[[Any], Any],
    p: Any,
    u0: Array,
    shape: Shape | None,
    t0: float = 0.0,
) -> Model:
    """`function` calls `f` with the part of the parameters that `pick` takes."""
    parameters = Parameters(p)
    p_flat = parameters.flatten(p)
    examples = [
        torch.from_numpy(u0.copy()),
        torch.from_numpy(p_flat.copy()),
        torch.tensor(float(t0), dtype=torch.float64),
    ]
    with _tracing:
        try:
            call = calling_convention(f, function, lambda p: pick(parameters.unflatten(p)), shape)
            tape, torch_function = trace(f, call, examples, shape)
        finally:
            numpy_style.forget_modules()
    model = Model(tape, torch_function, u0.shape, parameters, p_flat)
    _ = model.f  # what can't be translated is told here, not at the first solve
    return model
