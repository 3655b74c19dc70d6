"""Problems: what is to be solved, checked when it is written down."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array

if TYPE_CHECKING:
    from pysciml.capture import Model

_RHS = "a function f(u, p, t) or f(du, u, p, t), or an nn.Module"
_UNSET: Any = object()


class ODEProblem:
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

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ("_p", "_p_flat", "_source", "mass_matrix", "names", "tspan", "u0", "u0_flat")

    def __init__(
        self,
        f: Callable[..., Any],
        u0: Any,
        tspan: Any,
        p: Any = None,
        *,
        mass_matrix: Any = None,
        names: Sequence[str] | None = None,
    ) -> None:
        _check_right_hand_side(f)
        self._set_u0(check.as_state(u0))
        self.tspan = check.as_tspan(tspan)
        self._p = check.as_parameters(p)
        self.mass_matrix = check.as_mass_matrix(mass_matrix, self.u0_flat.size)
        self.names = check.as_names(names, self.u0_flat.size)
        self._source = _Source(f, self.u0, self._p)
        self._p_flat: Array | None = None

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
        if self._p is _UNSET:
            self._p = self.model.parameters.unflatten(self._p_flat)
        return self._p

    @property
    def p_flat(self) -> Array:
        """The parameters as one float64 vector, in the order of `model.parameters`."""
        if self._p_flat is None:
            self._p_flat = self._source.flatten(self._p)
        return self._p_flat

    def remake(self, *, u0: Any = _UNSET, p: Any = _UNSET, tspan: Any = _UNSET) -> ODEProblem:
        """The same problem with other values. It shares the captured model: nothing is recompiled.

        `u0` and `p` keep their shapes and structure; for other ones, make a new ODEProblem. `p`
        may also be one flat vector, in the order of `model.parameters`.
        """
        new = object.__new__(ODEProblem)
        new._source = self._source
        new.mass_matrix = self.mass_matrix
        new.names = self.names
        new.tspan = self.tspan if tspan is _UNSET else check.as_tspan(tspan)
        if u0 is _UNSET:
            new.u0, new.u0_flat = self.u0, self.u0_flat
        else:
            new._set_u0(self._same_shape(u0))
        if p is _UNSET:
            new._p, new._p_flat = self._p, self._p_flat
        else:
            new._p, new._p_flat = self._source.new_parameters(p)
        return new

    def at(
        self, u0_flat: Array, p_flat: Array, tspan: tuple[float, float] | None = None
    ) -> ODEProblem:
        """`remake` for inner loops: flat float64 values, neither checked nor copied.

        The arrays have n and n_p entries and are not changed as long as the problem is used.
        """
        new = object.__new__(ODEProblem)
        new._source = self._source
        new.mass_matrix = self.mass_matrix
        new.names = self.names
        new.tspan = tspan or self.tspan
        new.u0 = u0_flat.reshape(self.u0.shape)
        new.u0_flat = u0_flat
        new._p, new._p_flat = _UNSET, p_flat
        return new

    def __repr__(self) -> str:
        return (
            f"ODEProblem({_name_of(self.f)}, u0={_brief(self.u0)}, tspan={self.tspan}, "
            f"p={_brief(self.p)}{self._extras()})"
        )

    def _extras(self) -> str:
        parts = ""
        if self.mass_matrix is not None:
            parts += f", mass_matrix={_brief(self.mass_matrix)}"
        if self.names is not None:
            parts += f", names={list(self.names)}"
        return parts

    def _set_u0(self, u0: Array) -> None:
        self.u0 = u0
        self.u0_flat = u0.reshape(-1)

    def _same_shape(self, u0: Any) -> Array:
        array = check.as_state(u0)
        if array.shape != self.u0.shape:
            raise ValueError(
                f"u0 must be {check.shape_words(self.u0.shape)}, as in the problem; got "
                f"{check.describe(array)}; make a new ODEProblem for a state of another shape"
            )
        return array


class _Source:
    """The function with the values it is captured at; shared by all that `remake` makes."""

    __slots__ = ("f", "is_module", "model", "p", "u0")

    def __init__(self, f: Callable[..., Any], u0: Array, p: Any) -> None:
        self.f = f
        self.u0 = u0
        self.p = p
        self.is_module = _is_module(f)
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


def _check_right_hand_side(f: Any) -> None:
    """f is callable with three or four positional arguments."""
    check.require_callable(f, "f", _RHS)
    if _is_module(f):
        return
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # some built-in functions have none
        return
    if _binds(signature, 3) or _binds(signature, 4):
        return
    hint = ""
    if _binds(signature, 2):
        hint = "; a SciPy-style f(t, u) goes through pysciml.from_scipy(f)"
    raise TypeError(f"f must be {_RHS}; got {_name_of(f)}{signature}{hint}")


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _is_module(f: Any) -> bool:
    return hasattr(f, "named_parameters") and hasattr(f, "forward")


def _name_of(f: Any) -> str:
    return getattr(f, "__name__", None) or type(f).__name__


def _brief(value: Any) -> str:
    """Small values in full, large ones by their shape."""
    if isinstance(value, np.ndarray):
        return str(value.tolist()) if value.size <= 6 else f"<{value.shape} array>"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_brief(leaf)}" for key, leaf in value.items()) + "}"
    return f"{float(value)}" if isinstance(value, float) else repr(value)
