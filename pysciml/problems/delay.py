"""Delay differential equations: the problem, checked when it is written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.problems.base import Problem, Source, check_takes, name_of
from pysciml.problems.joined import works_in_place

if TYPE_CHECKING:
    from pysciml.capture import Model
    from pysciml.capture.delays import CapturedDelays

Function = Callable[..., Any]


class DDEProblem(Problem):
    """An initial value problem with memory: du/dt = f(u, h, p, t), where h is the past of u.

    In f, `h(p, t - lag)` is the state at an earlier time, `h(p, t - lag, idxs=i)` one entry of it
    (counted row-major), and `h(p, t - lag, deriv=1)` its derivative, which makes the equation
    neutral. A lag may be a number, a parameter, or computed of u, p and t. Which lags there are is
    read off f when it is captured, so they need not be given.

    Parameters
    ----------
    f : callable
        `f(u, h, p, t)` returns du/dt, in the shape of `u0`; `f(du, u, h, p, t)` writes it in `du`.
    u0 : number, list, array or tensor
        State at t0, of any shape. It need not be h(p, t0): the solution may jump there.
    h : callable or array
        `h(p, t)`, the state at t <= t0; or that state, if it is always the same.
    tspan : (t0, t1)
        Two times, t0 < t1.
    p : None, number, vector, or dict, namedtuple or list of numbers and arrays
        Parameters, handed to `f` and `h` in the same structure. A copy is kept.
    constant_lags : list of numbers, optional
        The lags that depend on nothing. Kinks of the solution travel along them, and steps end at
        them. Default: those of f. Given ones must contain those of f.
    dependent_lags : list of callables, optional
        Lags that depend on the state, `lag(u, p, t)`: the kinks that they cause are looked for.
        Default: those of f.
    neutral : bool
        Whether kinks do not get smoother as they travel. Default: whether f asks for derivatives.
    names : list of str, optional
        Names of the entries of u0, in row-major order, for plots and tables.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ("constant_lags", "neutral")

    kind = "DDEProblem"
    mass_matrix = None
    has_memory = True
    _source: DelaySource

    def __init__(
        self,
        f: Function,
        u0: Any,
        h: Any,
        tspan: Any,
        p: Any = None,
        *,
        constant_lags: Sequence[float] = (),
        dependent_lags: Sequence[Function] = (),
        neutral: bool = False,
        names: Sequence[str] | None = None,
    ) -> None:
        in_place = works_in_place(f, "f", "u", "h", "p", "t")
        self._set(u0, tspan, p, names)
        history = _as_history(h, self.u0)
        lags = _as_lag_functions(dependent_lags)
        self.constant_lags = _as_lags(constant_lags)
        self.neutral = check.as_flag(neutral, "neutral")
        self._source = DelaySource(f, in_place, history, lags, self.tspan[0], self.u0, self._p)

    @property
    def h(self) -> Function | Array:
        """The user's own history."""
        return self._source.h

    @property
    def dependent_lags(self) -> tuple[Function, ...]:
        """The lags that were given as functions."""
        return self._source.lags

    @property
    def delays(self) -> CapturedDelays:
        """The captured functions. `model` is the right-hand side with delayed states."""
        if self._source.delays is None:
            self._source.capture()
        assert self._source.delays is not None
        return self._source.delays

    @property
    def lag_models(self) -> tuple[Model, ...]:
        """The captured `dependent_lags`."""
        if self._source.lag_models is None:
            self._source.lag_models = tuple(
                self.delays.lag_function(lag, f"dependent_lags[{i}]")
                for i, lag in enumerate(self.dependent_lags)
            )
        return self._source.lag_models

    def check_lags(self) -> None:
        """Refuse constant lags that are none, at these parameters, or that were not given."""
        given = np.array(self.constant_lags)
        for lag in self.delays.constant_lags(self.p_flat):
            if not lag > 0.0:
                raise ValueError(
                    f"f must ask h for the past, h(p, t - lag) with lag > 0; got the lag {lag:g}"
                )
            if given.size and not np.isclose(given, lag, rtol=1e-12, atol=0.0).any():
                raise ValueError(
                    f"constant_lags must contain the lags of f; got {list(self.constant_lags)}, "
                    f"and f asks for h(p, t - {lag:g})"
                )

    def _like(self) -> DDEProblem:
        new = super()._like()
        new.constant_lags = self.constant_lags
        new.neutral = self.neutral
        return new

    @staticmethod
    def _checked_tspan(tspan: Any) -> tuple[float, float]:
        t0, t1 = check.as_tspan(tspan)
        if t1 < t0:
            raise ValueError(f"tspan must be two times t0 < t1, as h is the past; got ({t0}, {t1})")
        return t0, t1

    def _functions(self) -> str:
        h = self.h
        return f"{name_of(self.f)}, h={name_of(h) if callable(h) else h.tolist()}"


class DelaySource(Source):
    """The functions with the values they are captured at."""

    __slots__ = ("delays", "h", "in_place", "lag_models", "lags", "t0")

    def __init__(
        self,
        f: Function,
        in_place: bool,
        h: Function | Array,
        lags: tuple[Function, ...],
        t0: float,
        u0: Array,
        p: Any,
    ) -> None:
        super().__init__(f, u0, p)
        self.in_place = in_place
        self.h = h
        self.lags = lags
        self.t0 = t0
        self.delays: CapturedDelays | None = None
        self.lag_models: tuple[Model, ...] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.f, self.in_place, self.h, self.lags, self.t0, self.u0, self.p)

    def capture(self) -> Model:
        from pysciml.capture.delays import CapturedDelays

        self.delays = CapturedDelays(self.f, self.in_place, self.h, self.u0, self.p, self.t0)
        self.model = self.delays.rhs
        return self.model


def _as_history(h: Any, u0: Array) -> Function | Array:
    if callable(h):
        check_takes(h, "h", "p", "t")
        return h
    state = check.as_state(h, "h")
    if state.shape != u0.shape:
        raise ValueError(
            f"h must be a function h(p, t), or {check.shape_words(u0.shape)} like u0; got "
            f"{check.describe(h)}"
        )
    return state


def _as_lags(value: Any) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise TypeError(f"constant_lags must be a list of numbers > 0; got {check.describe(value)}")
    lags = (check.as_positive(lag, f"constant_lags[{i}]") for i, lag in enumerate(value))
    return tuple(sorted(lags))


def _as_lag_functions(value: Any) -> tuple[Function, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            "dependent_lags must be a list of functions lag(u, p, t); got " + check.describe(value)
        )
    for i, lag in enumerate(value):
        check_takes(lag, f"dependent_lags[{i}]", "u", "p", "t")
    return tuple(value)
