"""The functions with torchdiffeq's signatures: checks at the door, and the way back to it."""

from __future__ import annotations

import math
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pysciml import engines
from pysciml import validation as check
from pysciml.autograd import methods
from pysciml.autograd.binding import Bound, Layout, bind
from pysciml.autograd.events import until_event
from pysciml.autograd.solving import Call
from pysciml.engines.base import AdjointOptions, Array, Engine
from pysciml.errors import CaptureError, EngineUnavailableError, UnsupportedError

_CALLBACKS = ("callback_step", "callback_accept_step", "callback_reject_step")


def odeint(
    func: Callable[..., Any],
    y0: Any,
    t: torch.Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Callable[..., torch.Tensor] | None = None,
    engine: str = "auto",
) -> Any:
    """Integrate dy/dt = func(t, y), y(t[0]) = y0.

    Parameters
    ----------
    func : callable or torch.nn.Module
        `func(t, y)` returns dy/dt in the shape of `y0`.
    y0 : tensor or tuple of tensors
        State at t[0], of any shapes.
    t : (m,) tensor
        Times to solve for, strictly increasing or decreasing.
    rtol, atol : float or tensor, or tuple of these for a tuple `y0`
        Tolerances on the local error.
    method : str, optional
        A method of torchdiffeq ("dopri5", "rk4", ...), for which its equivalent stands, or one of
        the engine by name ("Tsit5", "Rodas5P", ...). Default: the engine's own choice, which
        detects stiffness.
    options : dict, optional
        torchdiffeq's options of the method. `dtype` is of no effect.
    event_fn : callable, optional
        Stop where `event_fn(t, y)` (any entry of it) changes its sign; then `t` has two entries,
        the start and a direction.
    engine : "auto", "native", "julia" or "torch"
        "auto" is native, or Julia if it runs already; "torch" is torchdiffeq itself.

    Returns
    -------
    (m, *y0.shape) tensor, or a tuple of such. With `event_fn`: the time of the event, and the
    states at the start and at the event.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong.
    SolveError
        The solve stopped early; `error.solution` holds what was computed.
    CaptureError, UnsupportedError
        For an engine asked for by name; see the module.
    """
    request = _Request(func, y0, t, rtol, atol, method, options, event_fn, engine)
    return _answer(request)


def odeint_adjoint(
    func: Callable[..., Any],
    y0: Any,
    t: torch.Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Callable[..., torch.Tensor] | None = None,
    adjoint_rtol: Any = None,
    adjoint_atol: Any = None,
    adjoint_method: str | None = None,
    adjoint_options: Mapping[str, Any] | None = None,
    adjoint_params: Iterable[torch.Tensor] | None = None,
    engine: str = "auto",
) -> Any:
    """`odeint` with torchdiffeq's arguments of the backward solve.

    Parameters
    ----------
    func, y0, t, rtol, atol, method, options, event_fn, engine
        As for `odeint`.
    adjoint_rtol, adjoint_atol : float, optional
        Tolerances of the backward solve, where an engine has one: the native engine differentiates
        the forward steps instead.
    adjoint_method, adjoint_options
        Checked, and used by torchdiffeq only.
    adjoint_params : iterable of tensors, optional
        What receives gradients, besides `y0` and `t`. Default: all that `func` reads. A tensor that
        it does not read gets zeros.

    Returns, Raises
    ---------------
    As `odeint`.
    """
    if adjoint_params is None and not isinstance(func, torch.nn.Module):
        raise ValueError(
            "func must be an instance of nn.Module to specify the adjoint parameters; "
            "alternatively they can be specified explicitly via the `adjoint_params` argument. If "
            "there are no parameters then it is allowable to set `adjoint_params=()`"
        )
    if adjoint_method not in (None, method) and options is not None and adjoint_options is None:
        raise ValueError(
            "adjoint_options must be given when adjoint_method is not method and options are given"
        )
    params = None if adjoint_params is None else tuple(adjoint_params)
    for i, param in enumerate(params or ()):
        if not isinstance(param, torch.Tensor):
            raise TypeError(f"adjoint_params must be tensors; got {check.describe(param)} at {i}")
    backward = _Backward(adjoint_rtol, adjoint_atol, adjoint_method, adjoint_options, params)
    request = _Request(func, y0, t, rtol, atol, method, options, event_fn, engine, backward)
    return _answer(request)


def odeint_event(
    func: Callable[..., Any],
    y0: Any,
    t0: torch.Tensor,
    *,
    event_fn: Callable[..., torch.Tensor],
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,
) -> tuple[torch.Tensor, Any]:
    """Integrate from t0 until `event_fn(t, y)` changes its sign.

    The time of the event has gradients, by the implicit function theorem (R. T. Q. Chen, B. Amos,
    M. Nickel, "Learning neural event functions for ordinary differential equations", ICLR 2021).

    Parameters
    ----------
    func, y0 : as for `odeint`
    t0 : tensor of one time
    event_fn : callable
        `event_fn(t, y)`, a tensor; with several entries the first to change its sign counts.
    reverse_time : bool
        Integrate backwards in time.
    odeint_interface : `odeint` or `odeint_adjoint`
    **kwargs
        Handed to it.

    Returns
    -------
    The time of the event, and the states at t0 and at the event, as (2, *y0.shape).
    """
    from torchdiffeq import odeint_event

    if not isinstance(t0, torch.Tensor) or t0.numel() != 1 or not t0.is_floating_point():
        raise TypeError(f"t0 must be a floating-point tensor of one time; got {check.describe(t0)}")
    check.require_callable(event_fn, "event_fn", "a function event_fn(t, y)")
    found: tuple[torch.Tensor, Any] = odeint_event(
        func,
        y0,
        t0,
        event_fn=event_fn,
        reverse_time=reverse_time,
        odeint_interface=odeint_interface,
        **kwargs,
    )
    return found


# -- a call, as it came ----------------------------------------------------------------------------
@dataclass(slots=True)
class _Backward:
    """odeint_adjoint's own arguments."""

    rtol: Any
    atol: Any
    method: str | None
    options: Mapping[str, Any] | None
    params: tuple[torch.Tensor, ...] | None

    def for_torchdiffeq(self) -> dict[str, Any]:
        return {
            "adjoint_rtol": self.rtol,
            "adjoint_atol": self.atol,
            "adjoint_method": methods.on_torchdiffeq(self.method),
            "adjoint_options": self.options,
            "adjoint_params": self.params,
        }

    def for_engine(self) -> AdjointOptions:
        return AdjointOptions(
            abstol=_smallest(self.atol, "adjoint_atol"), reltol=_smallest(self.rtol, "adjoint_rtol")
        )


_NO_ADJOINT = AdjointOptions()


def _smallest(tolerance: Any, name: str) -> float | None:
    """A backward solve has one tolerance for all components."""
    if tolerance is None:
        return None
    if isinstance(tolerance, tuple):
        return min(check.as_positive(torch.as_tensor(x).min(), name) for x in tolerance)
    return check.as_positive(torch.as_tensor(tolerance).min(), name)


@dataclass(slots=True)
class _Request:
    """The arguments of one call."""

    func: Any
    y0: Any
    t: torch.Tensor
    rtol: Any
    atol: Any
    method: str | None
    options: Mapping[str, Any] | None
    event_fn: Any
    engine: str
    backward: _Backward | None = None

    def by_torchdiffeq(self) -> Any:
        import torchdiffeq

        arguments = {
            "rtol": self.rtol,
            "atol": self.atol,
            "method": methods.on_torchdiffeq(self.method),
            "options": self.options,
            "event_fn": self.event_fn,
        }
        if self.backward is None:
            return torchdiffeq.odeint(self.func, self.y0, self.t, **arguments)
        arguments |= self.backward.for_torchdiffeq()
        return torchdiffeq.odeint_adjoint(self.func, self.y0, self.t, **arguments)


def _answer(request: _Request) -> Any:
    layout = _layout(request.y0)
    times = _times(request.t)
    check.require_callable(request.func, "func", "a function func(t, y) or an nn.Module")
    if request.event_fn is not None:
        check.require_callable(request.event_fn, "event_fn", "a function event_fn(t, y)")
        if len(times) != 2:
            raise ValueError(
                f"t must be two times, the start and a direction, with event_fn; got {len(times)}"
            )
    if request.engine == "torch":
        return request.by_torchdiffeq()
    try:
        return _by_engine(request, layout, times)
    except (CaptureError, UnsupportedError, EngineUnavailableError) as error:
        if request.engine != "auto":
            raise
        reason = error
    _warn_once(request.func, reason)
    return request.by_torchdiffeq()


def _by_engine(request: _Request, layout: Layout, times: Array) -> Any:
    engine = _engine(request.engine)
    backward = request.backward
    if request.method is not None:
        methods.check_name(request.method, "method", engine)
    if backward is not None and backward.method is not None:
        methods.check_name(backward.method, "adjoint_method", engine)
    method = methods.find(request.method, request.options, engine.name)
    rtol = methods.tolerance(request.rtol, "rtol", layout)
    atol = methods.tolerance(request.atol, "atol", layout)
    adjoint = _NO_ADJOINT if backward is None else backward.for_engine()
    y0 = layout.join(request.y0)
    func = _uncompiled(request.func)
    _check_solvable(func, y0)
    bound = bind(func, layout, y0, request.t)
    call = Call(
        func=func,
        engine=engine,
        layout=layout,
        problem=bound.problem,
        parameters=bound.parameters,
        receivers=_receivers(func, bound, backward),
        method=method,
        rtol=rtol,
        atol=atol,
        adjoint=adjoint,
    )
    if request.event_fn is not None:
        return until_event(call, request.event_fn, y0, request.t, times)
    return layout.split(call.solve(y0, request.t, times))


def _uncompiled(func: Any) -> Any:
    """What torch.compile was given: the engines compile it themselves."""
    attributes = getattr(func, "__dict__", {})
    plain = attributes.get("_torchdynamo_orig_callable")
    return plain or attributes.get("_modules", {}).get("_orig_mod") or func


def _receivers(func: Any, bound: Bound, backward: _Backward | None) -> list[torch.Tensor]:
    """What can receive gradients: the parameters that func reads, then those it does not."""
    parameters = bound.parameters
    if backward is None:
        return parameters
    if backward.params is None:
        return parameters + bound.unread(func)
    wanted, read = {id(x) for x in backward.params}, {id(x) for x in parameters}
    ignored = [x for x in backward.params if id(x) not in read and x.requires_grad]
    return [x if id(x) in wanted else x.detach() for x in parameters] + ignored


def _check_solvable(func: Any, y0: torch.Tensor) -> None:
    if y0.is_complex():
        raise UnsupportedError("the engines compute with real numbers, and y0 is complex")
    attributes = getattr(func, "__dict__", ())
    for name in _CALLBACKS:
        if name in attributes or hasattr(type(func), name):
            raise UnsupportedError(f"the engines do not call func.{name}")


def _engine(name: str) -> Engine:
    if name != "auto":
        return engines.get(name)
    julia = sys.modules.get("pysciml.engines.julia.session")
    return engines.get("julia" if julia is not None and julia.started() else "native")


def _layout(y0: Any) -> Layout:
    if isinstance(y0, torch.Tensor):
        _check_state(y0, "y0")
        return Layout(y0.shape)
    if not isinstance(y0, tuple) or not y0:
        raise TypeError(f"y0 must be a tensor or a tuple of tensors; got {check.describe(y0)}")
    for i, part in enumerate(y0):
        _check_state(part, f"y0[{i}]")
    return Layout((sum(part.numel() for part in y0),), tuple(part.shape for part in y0))


def _check_state(y: Any, name: str) -> None:
    if (
        not isinstance(y, torch.Tensor)
        or not (y.is_floating_point() or y.is_complex())
        or y.numel() == 0
    ):
        raise TypeError(
            f"{name} must be a floating-point tensor with at least one entry; "
            f"got {check.describe(y)}"
        )


def _times(t: Any) -> Array:
    expected = "t must be a 1-D floating-point tensor of strictly increasing or decreasing times"
    if not isinstance(t, torch.Tensor) or not t.is_floating_point() or t.ndim != 1 or not len(t):
        raise TypeError(f"{expected}; got {check.describe(t)}")
    times = methods.as_times(t)
    before, after = times[:-1], times[1:]
    if not ((after > before).all() or (after < before).all()):
        raise ValueError(f"{expected}; got {check.describe(times.tolist())}")
    if not (math.isfinite(times[0]) and math.isfinite(times[-1])):
        raise ValueError(f"t must be finite; got {check.describe(times.tolist())}")
    return times


# -- falling back ----------------------------------------------------------------------------------
_warned: weakref.WeakSet[Any] = weakref.WeakSet()


def _warn_once(func: Any, reason: Exception) -> None:
    func = getattr(func, "__func__", func)
    key = getattr(func, "__code__", func)  # a lambda is a new function in every iteration
    if key in _warned:
        return
    _warned.add(key)
    name = getattr(func, "__name__", type(func).__name__)
    warnings.warn(
        f"pysciml: {name} is solved by torchdiffeq itself, not by an engine: {reason}",
        stacklevel=4,
    )
