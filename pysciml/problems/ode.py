"""Initial value problems of ordinary differential equations, with or without a mass matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pysciml import validation as check
from pysciml.events import Event, as_events
from pysciml.problems.base import Problem, Source, brief, check_function


class ODEProblem(Problem):
    """An initial value problem, M du/dt = f(u, p, t) with u(t0) = u0.

    Parameters
    ----------
    f : callable or torch.nn.Module
        `f(u, p, t)` returns du/dt, in the shape of `u0`; `f(du, u, p, t)` writes it into `du`.
        Plain Python with torch, NumPy or `math` functions. It is captured once, when the problem
        is first solved. A module's parameters become `p`.
    u0 : number, list, array or tensor
        State at t0, of any shape. It is kept as float64.
    tspan : (t0, t1)
        Two different times; t1 < t0 integrates backwards.
    p : None, number, vector, or dict, namedtuple or list of numbers and arrays
        Parameters, handed to `f` in the same structure. A copy is kept.
    mass_matrix : (n, n) array, optional
        M, with n = u0.size; singular for a differential-algebraic equation. Default: the identity.
    names : list of str, optional
        Names of the entries of u0, in row-major order, for plots and tables.
    events : list of events, optional
        What happens in every solve of the problem; see `pysciml.events`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ("is_algebraic", "mass_matrix")

    kind = "ODEProblem"

    def __init__(
        self,
        f: Callable[..., Any],
        u0: Any,
        tspan: Any,
        p: Any = None,
        *,
        mass_matrix: Any = None,
        names: Sequence[str] | None = None,
        events: Sequence[Event] | None = None,
    ) -> None:
        check_function(f)
        self._set(u0, tspan, p, names)
        self.mass_matrix = check.as_mass_matrix(mass_matrix, self.u0_flat.size)
        mass = self.mass_matrix
        self.is_algebraic = mass is not None and not mass.any(axis=1).all()
        self.events = as_events(events, self.u0_flat.size)
        self._source = Source(f, self.u0, self._p)

    def _like(self) -> ODEProblem:
        new = super()._like()
        new.mass_matrix = self.mass_matrix
        new.is_algebraic = self.is_algebraic
        return new

    def _extras(self) -> str:
        mass = "" if self.mass_matrix is None else f", mass_matrix={brief(self.mass_matrix)}"
        count = len(self.events)
        events = f", {count} event{'s' * (count > 1)}" if count else ""
        return mass + super()._extras() + events
