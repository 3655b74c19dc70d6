"""How a user's function is called: in place or not, a module or not, with which parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pysciml.capture import numpy_style
from pysciml.capture.model import TorchFunction
from pysciml.capture.parameters import Parameters
from pysciml.errors import CaptureError

#: of a result; None stands for any number
Shape = tuple[int | None, ...]


# -- whose parameters are whose --------------------------------------------------------------------
def same(p: Any) -> Any:
    return p


def user_part(p: Any) -> Any:
    return p["p"]


def module_part(key: str, takes_p: bool) -> Callable[[Any], Any]:
    if takes_p:
        return lambda p: {"module": p[key], "p": p["p"]}
    return lambda p: p[key]


def own_parameters(f: Any, p: Any) -> tuple[Callable[..., Any], Any]:
    """`f` as a function of (u, p, t), and its parameters: for a module its own belong to them."""
    if not isinstance(f, torch.nn.Module):
        return f, p
    function, values, takes_p = module_function(f)
    if takes_p:
        return function, {"module": values, "p": p}
    if p is not None:
        layout = Parameters(values)
        values = layout.unflatten(layout.flatten(p))
    return function, values


def module_function(module: torch.nn.Module) -> tuple[Callable[..., Any], Any, bool]:
    """A module as a function of ``(u, parameters, t)``, the values of its own parameters, and
    whether `parameters` are ``{"module": its own, "p": the user's}`` or its own only.
    """
    names = _required_arguments(module.forward) or ["u"]
    values = {name: x.detach().double().numpy() for name, x in module.named_parameters()}
    buffers = {
        name: x.detach().double() if x.is_floating_point() else x.detach()
        for name, x in module.named_buffers()
    }
    takes_p = len(names) == 3
    time_first = len(names) == 2 and names[0] in ("t", "time", "_t", "_")

    def function(u: Any, parameters: Any, t: Any) -> Any:
        own = parameters["module"] if takes_p else parameters
        if len(names) == 1:
            arguments: tuple[Any, ...] = (u,)
        elif len(names) == 2:
            arguments = (t, u) if time_first else (u, t)
        else:
            arguments = (u, parameters["p"], t)
        return torch.func.functional_call(module, {**own, **buffers}, arguments)

    if len(names) > 3:
        raise CaptureError(
            f"{type(module).__name__}.forward takes {len(names)} arguments ({', '.join(names)}); "
            "expected forward(u), forward(t, u), forward(u, t) or forward(u, p, t)"
        )
    return function, values, takes_p


# -- calling conventions ---------------------------------------------------------------------------
def _required_arguments(f: Any) -> list[str] | None:
    """Names of the positional arguments without default, or None when they can't be known."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(q.kind is q.VAR_POSITIONAL for q in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [q.name for q in parameters if q.kind in positional and q.default is q.empty]


def calling_convention(
    f: Any, function: Callable[..., Any], unflatten: Callable[[Any], Any], shape: Shape | None
) -> Callable[[bool], TorchFunction]:
    """Returns ``make(numpy)``, the function of (u, p_flat, t) that calls the user's.

    With `numpy` the user's code is given NumPy arrays, otherwise tensors. `unflatten` makes of
    p_flat what the function takes, `shape` is its result's, None when it may have any.
    """
    arguments = None if isinstance(f, torch.nn.Module) else _required_arguments(function)
    count = 3 if arguments is None else len(arguments)
    if count not in (3, 4):
        hint = " For SciPy's f(t, u), wrap it: pysciml.from_scipy(f)." if count in (1, 2) else ""
        raise CaptureError(
            f"f must take (u, p, t), or (du, u, p, t) to write in place, but takes {count} "
            f"arguments ({', '.join(arguments or [])}).{hint}"
        )
    in_place = count == 4
    if in_place and (shape is None or None in shape):
        raise CaptureError(
            "f must take (u, p, t) here and return its result: what shape that has is not known, "
            "so there is no du to write in"
        )
    size: Any = shape
    function = numpy_style.with_traceable_math(function)

    def make(numpy: bool) -> TorchFunction:
        if numpy:

            def call(u: Any, p: Any, t: Any) -> Any:
                p = unflatten(p.numpy())
                if in_place:
                    du = np.zeros(size)
                    function(du, u.numpy(), p, t.numpy())
                    return torch.from_numpy(du)
                return torch.from_numpy(_as_numpy(function(u.numpy(), p, t.numpy())))

        else:

            def call(u: Any, p: Any, t: Any) -> Any:
                p = unflatten(p)
                if in_place:
                    du = u.new_zeros(size)
                    function(du, u, p, t)
                    return du
                return _as_tensor(function(u, p, t))

        return call

    return make


def _check_returned(x: Any) -> None:
    if x is None or isinstance(x, (str, bytes, dict, set)):
        raise CaptureError(
            f"f must return its result as a tensor, array, list or tuple, but returned "
            f"{'nothing' if x is None else type(x).__name__}. "
            "A right-hand side that writes in place takes (du, u, p, t)."
        )


def _as_tensor(x: Any) -> torch.Tensor:
    _check_returned(x)
    if isinstance(x, (list, tuple)):
        return torch.stack(list(torch.broadcast_tensors(*map(_as_tensor, x))))
    return torch.as_tensor(x, dtype=torch.float64)


def _as_numpy(x: Any) -> Any:
    _check_returned(x)
    if isinstance(x, (list, tuple)):
        return np.stack([_as_numpy(v) for v in x])
    return np.asarray(x)
