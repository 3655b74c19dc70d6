"""ODE problems whose right-hand side is made of two functions of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.events import Event
from pysciml.problems.base import Source, binds, is_module, name_of
from pysciml.problems.ode import ODEProblem

Function = Callable[..., Any]
#: makes one right-hand side of the functions; known by its place in a module, to be pickled
Join = Callable[..., Function]


class JoinedODEProblem(ODEProblem):
    """An ODEProblem of a right-hand side that is joined of other functions."""

    __slots__ = ()

    _source: JoinedSource

    def _join(
        self,
        join: Join,
        functions: tuple[Function, ...],
        state: Array,
        tspan: Any,
        p: Any,
        names: Sequence[str] | None,
        events: Sequence[Event] | None,
    ) -> None:
        """`ODEProblem.__init__` with functions that are joined."""
        super().__init__(join(*functions), state, tspan, p, names=names, events=events)
        self._source = JoinedSource(join, functions, self.u0, self._p)

    def _functions(self) -> str:
        return ", ".join(map(name_of, self._source.functions))


class JoinedSource(Source):
    """The functions with how they are joined."""

    __slots__ = ("functions", "join")

    def __init__(self, join: Join, functions: tuple[Function, ...], u0: Array, p: Any) -> None:
        super().__init__(join(*functions), u0, p)
        self.join = join
        self.functions = functions

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.join, self.functions, self.u0, self.p)


def works_in_place(f: Any, name: str, *arguments: str) -> bool:
    """Whether f takes its result before the arguments, to write in it. Refuses what f may not be.

    `arguments`: their names, for messages.
    """
    listed = ", ".join(arguments)
    expected = f"a function {name}({listed}) or {name}(d{arguments[0]}, {listed})"
    check.require_callable(f, name, expected)
    if is_module(f):
        raise TypeError(
            f"{name} must be {expected}; got the nn.Module {type(f).__name__}: call it in a "
            "function, with its weights in p (see pysciml.nn.functional)"
        )
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # some built-in functions have none
        return False
    count = len(arguments)
    if binds(signature, count):
        return False
    if binds(signature, count + 1):
        return True
    raise TypeError(f"{name} must be {expected}; got {name_of(f)}{signature}")


def both_in_place(f1: Any, f2: Any, *arguments: str) -> bool:
    """Whether both write their results in place; refuses a pair of which only one does."""
    first, second = works_in_place(f1, "f1", *arguments), works_in_place(f2, "f2", *arguments)
    if first != second:
        returns, writes = ("f2", "f1") if first else ("f1", "f2")
        raise TypeError(
            f"f1 and f2 must both return their results or both write them in place; here {returns} "
            f"returns its result and {writes} writes it"
        )
    return first
