"""Delay differential equations by the method of steps, with the explicit methods.

The driver of the explicit methods solves them as it is: it is given a right-hand side that fills in
the delayed states itself, from the history before t0 and from the polynomials of the steps that are
done. Steps are no longer than the shortest lag, so the past is always there, and end where kinks of
the solution are: lags have to be constant for that (Bellen, Zennaro, Numerical Methods for Delay
Differential Equations (2003), chapters 3 and 4).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import carray, cfunc, types

from pysciml.codegen.numba import compile_program
from pysciml.engines.base import Array, RawSolution, SolveOptions
from pysciml.engines.native import common as c
from pysciml.engines.native import methods
from pysciml.engines.native.explicit.tableau import ExplicitTableau
from pysciml.engines.native.pointers import call_rhs_at, pointer
from pysciml.engines.native.run import Drive
from pysciml.engines.native.workspace import Compiled
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.capture.delays import CapturedDelays
    from pysciml.engines.native.methods import Method
    from pysciml.problems import DDEProblem

_MOST_KINKS = 10_000  # beyond, the solution has long become smooth

# What lies first in `work`, as integers: sizes; addresses of functions; where in `work` their
# scratch spaces, the states, the times and their orders are; addresses of the run's memory.
(
    _N,
    _K,
    _RHS,
    _TIMES,
    _HISTORY,
    _SLOPE,
    _RHS_WORK,
    _TIMES_WORK,
    _HISTORY_WORK,
    _SLOPE_WORK,
    _X,
    _ASKED,
    _FIRST,
    _ORDERS,
    _FL,
    _IT,
    _D_T,
    _D_C,
    _HEADER,
) = range(19)


def solve(problem: DDEProblem, alg: str | None, options: SolveOptions) -> RawSolution:
    """`alg`: an explicit method; None is Tsit5, for tolerances below 1e-8 Vern7."""
    method = _method(alg, options)
    delays = problem.delays
    problem.check_lags()
    if delays.dependent or problem.dependent_lags:
        raise UnsupportedError(
            'engine="native" takes constant lags only, and here some depend on u or t; '
            'engine="julia" takes all'
        )
    lags = delays.constant_lags(problem.p_flat)
    jumps = bool((_history_at_start(problem) != problem.u0_flat).any())
    levels = method.tableaus[0].order + jumps
    neutral = problem.neutral or delays.is_neutral
    kinks = _kinks({*lags, *problem.constant_lags}, problem.tspan, None if neutral else levels)
    stops = kinks if options.tstops is None else np.union1d(kinks, options.tstops)
    longest = min(lags.min(), np.inf if options.dtmax is None else options.dtmax)
    inside = replace(options, tstops=stops, dtmax=float(longest), dense=True)
    compiled = _compiled(delays)
    space = compiled.take(method)
    try:
        raw = _DelayDrive(problem, method, inside, space).solve()
    finally:
        compiled.give(space)
    raw.alg = f"MethodOfSteps({raw.alg})"
    if not options.dense:
        raw.interpolate = None
    return raw


def _method(alg: str | None, options: SolveOptions) -> Method:
    name = alg
    if name is None:
        name = "Vern7" if np.min(options.reltol) < 1e-8 else "Tsit5"
    plain = name.replace(" ", "")
    if plain.startswith("MethodOfSteps(") and plain.endswith(")"):
        plain = plain[len("MethodOfSteps(") : -1]
    method = methods.find(plain, options.algorithm)
    if len(method.tableaus) > 1 or not isinstance(method.tableaus[0], ExplicitTableau):
        raise UnsupportedError(
            f'{alg} is not explicit; for a DDEProblem engine="native" takes explicit methods, such '
            'as "Tsit5" and "Vern7", and engine="julia" takes all'
        )
    return method


def _history_at_start(problem: DDEProblem) -> Array:
    u0, t0 = problem.u0_flat, problem.tspan[0]
    found: Array = problem.delays.history.f(u0, problem.p_flat, t0).reshape(-1)
    return found


def _kinks(lags: set[float], tspan: tuple[float, float], levels: int | None) -> Array:
    """Times inside tspan to which the kink at t0 travels, over up to so many lags; None: all.

    After each lag the solution has one more derivative, but for a neutral equation.
    """
    t0, t1 = tspan
    found: set[float] = set()
    front = {t0}
    while front and levels != 0 and len(found) < _MOST_KINKS:
        front = {t + lag for t in front for lag in lags if t + lag < t1} - found
        found |= front
        levels = None if levels is None else levels - 1
    return np.array(sorted(found))


class _Delayed:
    """The right-hand side as the driver sees it: a model of u with one compiled function, f."""

    def __init__(self, delays: CapturedDelays) -> None:
        self.n = delays.times.n
        self.f = self  # with an address and a scratch space, as compiled functions have
        self.address = _filling_in().address
        self.orders = delays.orders
        self.functions = [
            compile_program(program)
            for program in (
                delays.rhs.f,
                delays.times.f,
                delays.history.f,
                *([delays.history.tgrad] if delays.is_neutral else ()),
            )
        ]

    def new_work(self) -> Array:
        """The header, the scratch spaces of the functions, and room for states and times."""
        n, k = self.n, len(self.orders)
        works = [function.new_work() for function in self.functions]
        rooms = [np.zeros(_HEADER), *works, np.zeros((1 + k) * n), *(np.zeros(k) for _ in range(3))]
        starts = np.concatenate([[0], np.cumsum([room.size for room in rooms])])
        work = np.concatenate(rooms)
        header = work.view(np.int64)
        header[_N], header[_K] = n, k
        for i, function in enumerate(self.functions):
            header[_RHS + i] = function.address
            header[_RHS_WORK + i] = starts[1 + i]
        header[[_X, _ASKED, _FIRST, _ORDERS]] = starts[1 + len(works) : -1]
        header[header[_ORDERS] : header[_ORDERS] + k] = self.orders
        return work


def _compiled(delays: CapturedDelays) -> Compiled:
    if delays.native is None:
        delays.native = Compiled(_Delayed(delays))
    found: Compiled = delays.native
    return found


class _DelayDrive(Drive):
    """A run whose right-hand side reads what the run has written."""

    __slots__ = ()

    def __init__(self, problem: Any, method: Method, options: SolveOptions, space: Any) -> None:
        super().__init__(problem, method, options, space)
        header = space.work.view(np.int64)
        header[_FL], header[_IT] = space.fl.ctypes.data, space.it.ctypes.data
        delays, first = problem.delays, header[_FIRST]
        # from these times on, exactly, a delayed state is one of the solution
        space.work[first : first + header[_K]] = problem.tspan[0] + delays.constant_lags(
            problem.p_flat
        )
        self._point()

    def more_rows(self) -> None:
        super().more_rows()
        self._point()

    def _point(self) -> None:
        """Tell the right-hand side where the polynomials are."""
        header = self.space.work.view(np.int64)
        header[_D_T], header[_D_C] = self.out.d_t.ctypes.data, self.out.d_c.ctypes.data


# -- compiled code ---------------------------------------------------------------------------------
@cache
def _filling_in() -> Any:
    """`f(out, u, p, t, work)` of every delayed model: what differs is in `work`."""
    double = types.CPointer(types.float64)

    @cfunc(types.void(double, double, double, types.float64, types.voidptr), cache=True)
    def filling_in(out, u, p, t, work):  # type: ignore[no-untyped-def]
        header = carray(work, _HEADER, np.int64)
        n, k = header[_N], header[_K]
        size = header[_ORDERS] + k
        own, orders = carray(work, size, np.float64), carray(work, size, np.int64)
        state, parameters, rates = carray(u, n), carray(p, 1), carray(out, n)
        fl = carray(pointer(header[_FL]), c.F_INDEX_COUNT, np.float64)
        it = carray(pointer(header[_IT]), c.I_INDEX_COUNT, np.int64)
        steps, degree = it[c.I_NDENSE], it[c.I_DENSE]
        starts = carray(pointer(header[_D_T]), steps + 1, np.float64)
        width = (degree + 1) * n
        polynomials = carray(pointer(header[_D_C]), (steps + 1) * width, np.float64)

        x, asked = header[_X], header[_ASKED]
        for i in range(n):
            own[x + i] = state[i]
        call_rhs_at(header[_TIMES], own, asked, state, 0, parameters, t, own, header[_TIMES_WORK])
        for j in range(k):
            row = x + (j + 1) * n
            s, order = own[asked + j], orders[header[_ORDERS] + j]
            if t < own[header[_FIRST] + j]:
                which = _SLOPE if order == 1 else _HISTORY
                at = _SLOPE_WORK if order == 1 else _HISTORY_WORK
                call_rhs_at(header[which], own, row, state, 0, parameters, s, own, header[at])
                continue
            # A step begins on a kink, and its first stage must see what comes behind the kink.
            behind = s + c.EPS * abs(t)
            low, high = 0, steps
            while high - low > 1:
                middle = (low + high) // 2
                if starts[middle] <= behind:
                    low = middle
                else:
                    high = middle
            end = starts[low + 1] if low + 1 < steps else fl[c.F_T]
            theta = (s - starts[low]) / (end - starts[low])
            for i in range(n):
                entry = low * width + i
                value = 0.0
                for m in range(degree, order - 1, -1):
                    factor = m / (end - starts[low]) if order == 1 else 1.0
                    value = value * theta + factor * polynomials[entry + m * n]
                own[row + i] = value
        call_rhs_at(header[_RHS], rates, 0, own, x, parameters, t, own, header[_RHS_WORK])

    return filling_in
