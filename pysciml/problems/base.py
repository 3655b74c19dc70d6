"""Problems: what is to be solved, checked when it is written down."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.events import Event

if TYPE_CHECKING:
    from pysciml.capture import Model

UNSET: Any = object()
_Kind = TypeVar("_Kind", bound="Problem")


class Problem:
    """What the kinds of problems share: u0, tspan, p, and the captured functions."""

    __slots__ = ("_p", "_p_flat", "_source", "events", "names", "tspan", "u0", "u0_flat")

    kind: ClassVar[str]  # what engines call it
    is_random: ClassVar[bool] = False  # whether a solve needs a seed
    is_piecewise_constant: ClassVar[bool] = False  # whether the state rests between its jumps
    is_algebraic: bool = False  # whether some of its equations have no derivative
    is_initial_value: ClassVar[bool] = True  # whether u0 is the state at t0
    has_memory: ClassVar[bool] = False  # whether what follows depends on more than the state
    has_derivatives: ClassVar[bool] = True  # whether engines differentiate its solution
    default_maxiters: ClassVar[int] = 100_000
    _source: Source

    def _set(self, u0: Any, tspan: Any, p: Any, names: Sequence[str] | None) -> None:
        """The checked values. `_source` is still to be set."""
        self._set_u0(check.as_state(u0))
        self.tspan = self._checked_tspan(tspan)
        self._p = check.as_parameters(p)
        self._p_flat: Array | None = None
        self.names = check.as_names(names, self.u0_flat.size)
        self.events: tuple[Event, ...] = ()

    @property
    def f(self) -> Callable[..., Any]:
        """The user's own function."""
        return self._source.f

    @property
    def model(self) -> Model:
        """The captured function. The first access captures it."""
        return self._source.model or self._source.capture()

    @property
    def p(self) -> Any:
        """The parameters in the user's own structure."""
        if self._p is UNSET:
            self._p = self.model.parameters.unflatten(self._p_flat)
        return self._p

    @property
    def p_flat(self) -> Array:
        """The parameters as one float64 vector, in the order of `model.parameters`."""
        if self._p_flat is None:
            self._p_flat = self._source.flatten(self._p)
        return self._p_flat

    def remake(self: _Kind, *, u0: Any = UNSET, p: Any = UNSET, tspan: Any = UNSET) -> _Kind:
        """The same problem with other values. It shares the captured model: nothing is recompiled.

        `u0` and `p` keep their shapes and structure; for other ones, make a new problem. `p` may
        also be one flat vector, in the order of `model.parameters`.
        """
        new = self._like()
        new.tspan = self.tspan if tspan is UNSET else self._checked_tspan(tspan)
        if u0 is UNSET:
            new.u0, new.u0_flat = self.u0, self.u0_flat
        else:
            new._set_u0(self._same_shape(u0))
        if p is UNSET:
            new._p, new._p_flat = self._p, self._p_flat
        else:
            new._p, new._p_flat = self._source.new_parameters(p)
        return new

    def at(
        self: _Kind, u0_flat: Array, p_flat: Array, tspan: tuple[float, float] | None = None
    ) -> _Kind:
        """`remake` for inner loops: flat float64 values, neither checked nor copied.

        The arrays have n and n_p entries and are not changed as long as the problem is used.
        """
        new = self._like()
        new.tspan = tspan or self.tspan
        new.u0 = u0_flat.reshape(self.u0.shape)
        new.u0_flat = u0_flat
        new._p, new._p_flat = UNSET, p_flat
        return new

    def _like(self: _Kind) -> _Kind:
        """A problem of the same functions and names, its values not yet set."""
        new = object.__new__(type(self))
        new._source = self._source
        new.names = self.names
        new.events = self.events
        return new

    @staticmethod
    def _checked_tspan(tspan: Any) -> tuple[float, float]:
        return check.as_tspan(tspan)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._functions()}, u0={brief(self.u0)}, "
            f"tspan={self.tspan}, p={brief(self.p)}{self._extras()})"
        )

    def _functions(self) -> str:
        return name_of(self.f)

    def _extras(self) -> str:
        return "" if self.names is None else f", names={list(self.names)}"

    def _set_u0(self, u0: Array) -> None:
        self.u0 = u0
        self.u0_flat = u0.reshape(-1)

    def _same_shape(self, u0: Any, name: str = "u0") -> Array:
        array = check.as_state(u0, name)
        if array.shape != self.u0.shape:
            raise ValueError(
                f"{name} must be {check.shape_words(self.u0.shape)}, as in the problem; got "
                f"{check.describe(array)}; make a new {type(self).__name__} for a state of "
                "another shape"
            )
        return array


class Source:
    """The function with the values it is captured at; shared by all that `remake` makes."""

    __slots__ = ("f", "is_module", "model", "p", "u0")

    def __init__(self, f: Callable[..., Any], u0: Array, p: Any) -> None:
        self.f = f
        self.u0 = u0
        self.p = p
        self.is_module = is_module(f)
        self.model: Model | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without the model: another process captures its own."""
        return type(self), (self.f, self.u0, self.p)

    def capture(self) -> Model:
        from pysciml.capture import capture

        self.model = capture(self.f, self.u0, self.p)
        return self.model

    def flatten(self, p: Any) -> Array:
        """Parameters in the user's structure as one vector."""
        model = self.model or self.capture()
        if p is self.p:  # a module's own parameters are part of this, but not of p
            return model.p_flat
        if self.is_module and self.p is not None:
            everything = model.parameters.unflatten(model.p_flat)
            return model.parameters.flatten({**everything, "p": p})
        return model.parameters.flatten(p)

    def new_parameters(self, p: Any) -> tuple[Any, Array | None]:
        """Other values for the parameters, checked: in the user's structure, and flat if known."""
        p = check.as_parameters(p)
        if isinstance(p, np.ndarray) and p.ndim == 1 and self._takes_flat(p.size):
            model = self.model or self.capture()
            return model.parameters.unflatten(p), p
        if self.is_module and self.p is None:  # only the model knows the module's own parameters
            return p, self.flatten(p)
        check.same_structure(p, self.p)
        return p, None

    def _takes_flat(self, size: int) -> bool:
        if self.is_module:
            return bool(size == (self.model or self.capture()).n_p)
        structured = isinstance(self.p, (dict, list, tuple))
        return structured and size == check.count_numbers(self.p)


def check_function(f: Any, name: str = "f") -> None:
    """f is callable with three or four positional arguments."""
    expected = f"a function {name}(u, p, t) or {name}(du, u, p, t), or an nn.Module"
    check.require_callable(f, name, expected)
    if is_module(f):
        return
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # some built-in functions have none
        return
    if binds(signature, 3) or binds(signature, 4):
        return
    hint = ""
    if binds(signature, 2):
        hint = f"; a SciPy-style {name}(t, u) goes through pysciml.from_scipy({name})"
    raise TypeError(f"{name} must be {expected}; got {name_of(f)}{signature}{hint}")


def check_takes(f: Any, name: str, *arguments: str) -> None:
    """f is a plain function of these positional arguments."""
    called = name.partition("[")[0]
    expected = f"a function {called}({', '.join(arguments)})"
    check.require_callable(f, name, expected)
    if is_module(f):
        raise TypeError(f"{name} must be {expected}; got the nn.Module {type(f).__name__}")
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # some built-in functions have none
        return
    if not binds(signature, len(arguments)):
        raise TypeError(f"{name} must be {expected}; got {name_of(f)}{signature}")


def binds(signature: inspect.Signature, count: int) -> bool:
    """Whether a function takes so many positional arguments."""
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def is_module(f: Any) -> bool:
    return hasattr(f, "named_parameters") and hasattr(f, "forward")


def name_of(f: Any) -> str:
    return getattr(f, "__name__", None) or type(f).__name__


def brief(value: Any) -> str:
    """Small values in full, large ones by their shape."""
    if isinstance(value, np.ndarray):
        return str(value.tolist()) if value.size <= 6 else f"<{value.shape} array>"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {brief(leaf)}" for key, leaf in value.items()) + "}"
    return f"{float(value)}" if isinstance(value, float) else repr(value)
