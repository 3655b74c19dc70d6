"""Right-hand sides written for SciPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pysciml import validation as check


def from_scipy(fun: Callable[..., Any], args: Sequence[Any] = ()) -> Callable[..., Any]:
    """Wrap a `solve_ivp` right-hand side `fun(t, y, *args)` as `f(u, p, t)`.

    Parameters
    ----------
    fun : callable
        Returns dy/dt.
    args : tuple
        Extra arguments, which become constants of the model. Leave it out to pass the problem's
        `p` instead, which is what a gradient with respect to them needs: a vector or namedtuple
        is passed as `fun(t, y, *p)`, a dict as `fun(t, y, **p)`, a number as `fun(t, y, p)`.
    """
    check.require_callable(fun, "fun", "a function fun(t, y, *args)")
    if not isinstance(args, (tuple, list)):
        raise TypeError(f"args must be a tuple; got {check.describe(args)}")
    fixed = tuple(args)

    def f(u: Any, p: Any, t: Any) -> Any:
        if p is None or fixed:
            return fun(t, u, *fixed)
        if isinstance(p, dict):
            return fun(t, u, **p)
        scalar = not isinstance(p, tuple) and getattr(p, "ndim", 0) == 0
        return fun(t, u, p) if scalar else fun(t, u, *p)

    f.__name__ = getattr(fun, "__name__", "fun")
    return f
