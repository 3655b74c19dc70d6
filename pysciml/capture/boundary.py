"""Boundary conditions as Programs, and the times at which they look at the solution.

`bc(u, p, t)` is traced with a `u` that notes the times that it is asked for; twice, as `delays` is:
first for the times, then with a place for the state at each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pysciml.capture.capturing import capture_beside
from pysciml.capture.model import Model
from pysciml.errors import CaptureError

Function = Callable[..., Any]
Span = tuple[float, float]


class CapturedConditions:
    """The boundary conditions of a problem with n states.

    Attributes
    ----------
    times : the m different times that they look at, in order.
    model : Model of (x, p, t): the n residuals; x is the states at these times, (m, *u0.shape).
    ends : for conditions at either end, the Models of (u, p, t) of both; else None.

    Raises
    ------
    CaptureError: with the user's line, the reason, and what to write instead.
    """

    def __init__(self, bc: Function, in_place: bool, rhs: Model, span: Span) -> None:
        self.times, places = _times(bc, in_place, rhs, span)
        shape = (len(self.times), *rhs.state_shape)

        def conditions(x: Any, p: Any, t: Any) -> Any:
            return _residual(bc, in_place, _Curve(span, lambda i: x[places[i]]), x[0], p, span)

        self.model = capture_beside(conditions, rhs, "bc", shape)
        self.ends: tuple[Model, Model] | None = None
        _check_count(self.model.n_out, rhs)

    @classmethod
    def at_ends(cls, bca: Function, bcb: Function, rhs: Model, span: Span) -> CapturedConditions:
        """Of a two-point problem: bca(u, p) at t0 and bcb(u, p) at t1."""
        found = cls.__new__(cls)
        first, last = (
            capture_beside(lambda u, p, t, bc=bc: bc(u, p), rhs, f"bc[{i}]")
            for i, bc in enumerate((bca, bcb))
        )
        _check_count(first.n_out + last.n_out, rhs)

        def conditions(x: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return torch.cat([first.flat_function(x[0], p, t), last.flat_function(x[1], p, t)])

        found.times = span
        found.model = rhs.derived(conditions, (2, *rhs.state_shape))
        found.ends = first, last
        return found


class _Curve:
    """The `u` that bc is traced with: it notes the times, and `look(i)` is what it returns."""

    def __init__(self, span: Span, look: Callable[[int], Any]) -> None:
        self.span = span
        self.look = look
        self.times: list[float] = []

    def __call__(self, t: Any) -> Any:
        if hasattr(t, "detach"):
            raise CaptureError("bc must ask u(t) for numbers t; they cannot depend on u or p")
        self.times.append(float(t))
        return self.look(len(self.times) - 1)

    def __getitem__(self, index: int) -> Any:
        if index not in (0, -1):
            raise CaptureError(
                f"bc can ask for u[0], at t0, u[-1], at t1, and u(t); got u[{index}]: how many "
                "points a solution has is not known"
            )
        return self(self.span[index])


def _residual(bc: Function, in_place: bool, curve: _Curve, like: Any, p: Any, span: Span) -> Any:
    if not in_place:
        return bc(curve, p, span)
    residual = like * 0.0
    bc(residual, curve, p, span)
    return residual


def _times(
    bc: Function, in_place: bool, rhs: Model, span: Span
) -> tuple[tuple[float, ...], list[int]]:
    """The different times, and the place among them of each time that bc asks for."""
    asked: list[float] = []

    def conditions(u: Any, p: Any, t: Any) -> Any:
        curve = _Curve(span, lambda i: u * 1.0)
        residual = _residual(bc, in_place, curve, u, p, span)
        asked[:] = curve.times
        return residual

    capture_beside(conditions, rhs, "bc")
    if not asked:
        raise CaptureError("bc never asks for the solution, as u(t), u[0] or u[-1]")
    low, high = min(span), max(span)
    for t in asked:
        if not low <= t <= high:
            raise CaptureError(f"bc must ask for times inside tspan {span}; got u({t:g})")
    times = tuple(sorted(set(asked), reverse=span[1] < span[0]))
    return times, [times.index(t) for t in asked]


def _check_count(count: int, rhs: Model) -> None:
    if count != rhs.n:
        raise CaptureError(
            f"bc must return {rhs.n} residuals, as many as the state has entries, but returned "
            f"{count}"
        )
