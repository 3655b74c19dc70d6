"""Ordinary differential equations whose right-hand side is a sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pysciml import validation as check
from pysciml.events import Event
from pysciml.problems.joined import JoinedODEProblem, both_in_place

if TYPE_CHECKING:
    from pysciml.capture import Model


class SplitODEProblem(JoinedODEProblem):
    """An initial value problem of two terms, du/dt = f1(u, p, t) + f2(u, p, t) with u(t0) = u0.

    Every engine solves it by any of its methods as the `ODEProblem` of the sum. On Julia there are
    methods that treat the terms differently: implicit f1 and explicit f2 by "KenCarp3", "KenCarp4",
    "KenCarp47", "KenCarp5", "KenCarp58", "ARS343", ..., and with a fixed step `dt` by "IMEXEuler",
    "SBDF2", "CNAB2", "CNLF2"; where f1 is a matrix times u, its exponential by
    "ETDRK4", "HochOst4", "LawsonEuler", ... (fixed step). Gradients are those of the sum, by
    methods that take it, "KenCarp4" among them.

    Parameters
    ----------
    f1, f2 : callable
        The terms, both as `f(u, p, t)` or both as `f(du, u, p, t)`, which sets du to the term. In
        SciML's order: f1 is the stiff one.
    u0, tspan, p, names, events
        As for `ODEProblem`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ()

    def __init__(
        self,
        f1: Callable[..., Any],
        f2: Callable[..., Any],
        u0: Any,
        tspan: Any,
        p: Any = None,
        *,
        names: Sequence[str] | None = None,
        events: Sequence[Event] | None = None,
    ) -> None:
        join = _sum_in_place if both_in_place(f1, f2, "u", "p", "t") else _sum
        self._join(join, (f1, f2), check.as_state(u0), tspan, p, names, events)

    @property
    def terms(self) -> tuple[Model, Model]:
        """f1 and f2, captured each on its own."""
        from pysciml.capture import capture

        source, kept = self._source, self.model.compiled
        if "terms" not in kept:
            kept["terms"] = tuple(capture(f, source.u0, source.p) for f in source.functions)
        found: tuple[Model, Model] = kept["terms"]
        return found


def _sum(f1: Callable[..., Any], f2: Callable[..., Any]) -> Callable[..., Any]:
    def f(u: Any, p: Any, t: Any) -> Any:
        return _added(f1(u, p, t), f2(u, p, t))

    return f


def _sum_in_place(f1: Callable[..., Any], f2: Callable[..., Any]) -> Callable[..., Any]:
    def f(du: Any, u: Any, p: Any, t: Any) -> None:
        f2(du, u, p, t)
        second = du * 1.0  # a copy, of an array as of a tensor
        du[...] = 0.0
        f1(du, u, p, t)
        du += second

    return f


def _added(a: Any, b: Any) -> Any:
    """a + b of numbers, tensors and arrays, and entry by entry of lists and tuples of them."""
    if isinstance(a, (list, tuple)) or isinstance(b, (list, tuple)):
        if len(a) != len(b):
            raise ValueError(f"f1 returned {len(a)} entries and f2 {len(b)}")
        return [_added(x, y) for x, y in zip(a, b, strict=True)]
    return a + b
