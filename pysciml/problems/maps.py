"""Maps: states that follow each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pysciml import validation as check
from pysciml.problems.base import Problem, Source, check_function


class DiscreteProblem(Problem):
    """A map, u[k+1] = f(u[k], p, k), iterated from k = tspan[0] to tspan[1].

    k is the number of the state that f is given, on all engines;
    SciML's own FunctionMap hands f the number of the state that it is to return, k + 1.

    Parameters
    ----------
    f : callable or torch.nn.Module
        `f(u, p, k)` returns the next state, in the shape of `u0`; `f(new, u, p, k)` writes it into
        `new`. It is captured like the right-hand side of an `ODEProblem`.
    u0 : number, list, array or tensor
        State at k = tspan[0], of any shape. It is kept as float64.
    tspan : (k0, k1)
        Two whole numbers, k0 < k1.
    p, names
        As for `ODEProblem`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ()

    kind = "DiscreteProblem"
    is_piecewise_constant = True
    has_derivatives = False
    default_maxiters = 10**9

    def __init__(
        self,
        f: Callable[..., Any],
        u0: Any,
        tspan: Any,
        p: Any = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        check_function(f)
        self._set(u0, tspan, p, names)
        self._source = Source(f, self.u0, self._p)

    @staticmethod
    def _checked_tspan(tspan: Any) -> tuple[float, float]:
        k0, k1 = check.as_tspan(tspan)
        if not (k0 < k1 and k0.is_integer() and k1.is_integer()):
            raise ValueError(f"tspan must be two whole numbers k0 < k1; got ({k0}, {k1})")
        return k0, k1
