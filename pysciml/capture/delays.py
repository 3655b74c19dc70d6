"""The functions of a delay differential equation as Programs, and the times that f asks h for.

`f(u, h, p, t)` is traced with an `h` that notes what it is asked. That is done twice: first to
learn how often, and for which times; then with a place of its own for each delayed state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pysciml.capture.capturing import capture, capture_beside
from pysciml.capture.model import Model
from pysciml.capture.program import Program
from pysciml.capture.scalar import lower_to_scalar
from pysciml.capture.sparsity import dependence, leaps
from pysciml.errors import CaptureError

Array = NDArray[np.float64]
Function = Callable[..., Any]


class CapturedDelays:
    """The functions of a delay differential equation, traced.

    With k different delayed states, `x` is the state and behind it the delayed ones, k + 1 rows.

    Attributes
    ----------
    rhs : Model of (x, p, t): the right-hand side; x has the shape (k + 1, *u0.shape).
    times : Model of (u, p, t): the k times that f asks h for.
    orders : of each, 0 where the state of that time is asked for, 1 where it is its derivative.
    constant : which of the k lags, t - times, depend on nothing but p.
    dependent : the others.
    history : Model of (u, p, t): the state before t0, which does not depend on u.

    Raises
    ------
    CaptureError: with the user's line, the reason, and what to write instead.
    """

    def __init__(
        self, f: Function, in_place: bool, h: Function | Array, u0: Array, p: Any, t0: float
    ) -> None:
        self.times, self.orders, places = _questions(f, in_place, u0, p, t0)
        with_past = _with_past_in_place(f, places) if in_place else _with_past(f, places)
        x0 = np.stack([u0] * (1 + len(self.orders)))
        self.rhs = capture(with_past, x0, p, t0, u0.shape)
        self.constant, self.dependent = _sorted_lags(self.times)
        self.history = _captured_history(h, self.times)
        self.native: Any = None  # what the native engine made of it

    @cached_property
    def jac(self) -> Program:
        """(x, p, t) -> df/du with the delayed states held fixed, (n, n)."""
        return self.rhs.jac_in(slice(0, self.times.n))

    @property
    def is_neutral(self) -> bool:
        """Whether f asks for derivatives of the past."""
        return any(self.orders)

    def constant_lags(self, p_flat: Array) -> Array:
        """The constant lags at these parameters, in the order of `constant`."""
        times = self.times.f(np.zeros(self.times.n), p_flat, 0.0)  # at 0, to round nothing
        lags: Array = -times[list(self.constant)]
        return lags

    def lag_function(self, function: Function, what: str) -> Model:
        """A function (u, p, t) that returns a lag. `what` it is, for messages."""
        found = capture_beside(function, self.times, what)
        if found.result_shape != ():
            raise CaptureError(
                f"{what} must return one number, a lag, but returned shape {found.result_shape}"
            )
        return found


class _Past:
    """The `h` that f is traced with: it notes the times, and `look(i)` is what it returns."""

    def __init__(self, look: Callable[[int], Any]) -> None:
        self.look = look
        self.times: list[Any] = []
        self.orders: list[int] = []

    def __call__(self, p: Any, t: Any, *, idxs: Any = None, deriv: int = 0) -> Any:
        if getattr(t, "shape", ()) != ():
            raise CaptureError(f"f must ask h for one time, h(p, t - lag); got shape {t.shape}")
        self.times.append(t)
        self.orders.append(deriv)
        state = self.look(len(self.times) - 1)
        return state if idxs is None else state.reshape(-1)[idxs]


def _questions(
    f: Function, in_place: bool, u0: Array, p: Any, t0: float
) -> tuple[Model, tuple[int, ...], list[int]]:
    """The different times that f asks for, the orders of the derivatives, and the place among
    them of each call of h, in the order of the calls.
    """
    orders: list[int] = []

    def times(x: Any, p: Any, t: Any) -> Any:
        past = _Past(lambda i: x[1])
        u = x[0]
        if in_place:
            f(u * 0.0, u, past, p, t)
        else:
            f(u, past, p, t)
        orders[:] = past.orders
        return past.times or [t]

    everything = capture(times, np.stack([u0, u0]), p, t0, (None,))
    _check_questions(everything, orders)
    values = lower_to_scalar(everything.f).outputs  # equal expressions are one value there
    asked = list(zip(values, orders, strict=True))
    different = list(dict.fromkeys(asked))
    rows = [asked.index(question) for question in different]

    def of_state(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return everything.flat_function(torch.stack([u, u]), p, t)[rows]

    places = [different.index(question) for question in asked]
    found = tuple(order for _, order in different)
    return everything.derived(of_state, u0.shape), found, places


def _check_questions(times: Model, orders: list[int]) -> None:
    if not orders:
        raise CaptureError("f never calls h(p, t - lag): without delays it is an ODEProblem")
    if not set(orders) <= {0, 1}:
        raise CaptureError(f"f must call h with deriv=0 or deriv=1, but called it with {orders}")
    n = times.n // 2
    if dependence(times.f, "u")[:, list(range(n, 2 * n))].nnz:
        raise CaptureError(
            "f asks h for a time that depends on a delayed state; it may depend on u, p and t only"
        )


def _with_past(f: Function, places: list[int]) -> Function:
    def rhs(x: Any, p: Any, t: Any) -> Any:
        return f(x[0], _Past(lambda i: x[1 + places[i]]), p, t)

    return rhs


def _with_past_in_place(f: Function, places: list[int]) -> Function:
    def rhs(du: Any, x: Any, p: Any, t: Any) -> None:
        f(du, x[0], _Past(lambda i: x[1 + places[i]]), p, t)

    return rhs


def _sorted_lags(times: Model) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which lags are constant: those whose time moves on with t, whatever u and t are."""
    slopes = lower_to_scalar(times.tgrad)
    moves_along = np.array([slopes.ssa.number(value) == 1.0 for value in slopes.outputs])
    by_u, by_leaps_of_t = (
        np.diff(found.indptr) > 0 for found in (dependence(times.f, "u"), leaps(times.f, "t"))
    )
    constant = moves_along & ~by_u & ~by_leaps_of_t
    lags = range(len(constant))
    return (
        tuple(i for i in lags if constant[i]),
        tuple(i for i in lags if not constant[i]),
    )


def _captured_history(h: Function | Array, times: Model) -> Model:
    def history(u: Any, p: Any, t: Any) -> Any:
        return h(p, t) if callable(h) else torch.from_numpy(h)

    found = capture_beside(history, times, "h")
    if found.result_shape != times.state_shape:
        raise CaptureError(
            f"h must return a state, of u0's shape {times.state_shape}, but returned shape "
            f"{found.result_shape}"
        )
    return found
