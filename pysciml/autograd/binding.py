"""Right-hand sides written for torchdiffeq: `func(t, y)`, which reads its parameters around itself.

`bind` gives the captured model of a function together with the tensors that are its parameters now.
A model is captured once for all functions of the same code, plain values and shapes of tensors, so
that neither a new lambda at each call nor another copy of a module is traced and compiled again.
"""

from __future__ import annotations

import types
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from pysciml.capture.lift import Lifted, Watch
from pysciml.capture.numpy_style import with_traceable_math
from pysciml.capture.surroundings import (
    Signature,
    Surroundings,
    code_of,
    differences,
    learn_own,
    survey,
)
from pysciml.errors import CaptureError
from pysciml.problems import ODEProblem

_MODELS_KEPT = 128
_BINDINGS_KEPT = 128
_MANY_CAPTURES = 10
_VARIANTS = 4  # of a model, for different contents of its constants


class Layout(NamedTuple):
    """How a state lies in one tensor: as it is, or the tensors of a tuple end to end."""

    shape: tuple[int, ...]
    parts: tuple[torch.Size, ...] | None = None

    def join(self, y: Any) -> torch.Tensor:
        """The one tensor of a state."""
        if self.parts is None:
            return y
        return torch.cat([part.reshape(-1) for part in y])

    def split(self, flat: torch.Tensor) -> Any:
        """The state of one tensor, whose leading axes are kept."""
        if self.parts is None:
            return flat
        pieces = flat.split([part.numel() for part in self.parts], -1)
        leading = flat.shape[:-1]
        return tuple(
            piece.reshape(leading + part) for piece, part in zip(pieces, self.parts, strict=True)
        )

    def of_joined(self, func: Callable[..., Any]) -> Callable[..., torch.Tensor]:
        """`func(t, y)` as a function of t and the one tensor."""
        if self.parts is None:
            return func
        return lambda t, y: self.join(func(t, self.split(y)))


@dataclass(frozen=True, eq=False)
class Captured:
    """A captured function.

    Attributes
    ----------
    problem: the captured model, at values of no meaning.
    parameters: which of the function's arrays lie end to end in `p`.
    constants: which of them are part of the model, and copies of what they held then.
    """

    problem: ODEProblem
    parameters: tuple[int, ...]
    constants: tuple[tuple[int, Any], ...]

    def bind(self, surroundings: Surroundings) -> Bound:
        """The model with the arrays that one function has in these places."""
        arrays = list(surroundings.arrays.values())
        return Bound(
            self.problem,
            surroundings,
            [arrays[i] for i in self.parameters],
            [(arrays[i], held) for i, held in self.constants],
        )


@dataclass(eq=False)
class Bound:
    """A captured function with its own parameters, read whenever they are asked for."""

    problem: ODEProblem
    surroundings: Surroundings
    parameters: list[torch.Tensor]
    constants: list[tuple[Any, Any]]
    _unread: list[torch.Tensor] | None = None

    def unread(self, module: torch.nn.Module) -> list[torch.Tensor]:
        """Parameters of the module that it does not use."""
        if self._unread is None:
            read = {id(x) for x in self.parameters}
            self._unread = [x for x in module.parameters() if x.requires_grad and id(x) not in read]
        return self._unread

    def constants_hold(self) -> bool:
        """Whether what was taken for constant has not changed."""
        return all(_equal(array, held) for array, held in self.constants)


def bind(func: Callable[..., Any], layout: Layout, y0: torch.Tensor, t: torch.Tensor) -> Bound:
    """The captured model of `func` with its parameters.

    Tensors that require a gradient are parameters. Other tensors and NumPy arrays are constants
    until one is found to have changed; from then on it is a parameter too, if it is a
    floating-point tensor, so that the next change costs nothing.

    Parameters
    ----------
    func: `func(t, y)` on states of this layout.
    y0, t: a state, joined, and times; `func` can be called with it at the first of them.

    Raises
    ------
    CaptureError: with the reason. Errors of the function itself are raised as they are.
    """
    key = _identity(func, layout)
    found = _bindings.get(key)
    if found is not None and found.surroundings.unchanged() and found.constants_hold():
        return found
    surroundings = survey(func)
    found = _known_model(surroundings, layout)
    if found is None:
        found = _new_model(func, layout, y0, t[0].to(y0.dtype))
    _bindings.put(key, func, found)
    return found


# -- models, by what a function reads --------------------------------------------------------------
@dataclass
class _Models:
    """Captured models of one signature, the latest first; or why there is none."""

    variants: list[Captured]
    changing: set[int]  # arrays that turned out not to be constant
    error: str = ""


_models: OrderedDict[Hashable, _Models] = OrderedDict()


def _entry(surroundings: Surroundings, layout: Layout) -> _Models:
    key = (surroundings.signature, layout)
    found = _models.setdefault(key, _Models([], set()))
    _models.move_to_end(key)
    if len(_models) > _MODELS_KEPT:
        _models.popitem(last=False)
    return found


def _known_model(surroundings: Surroundings, layout: Layout) -> Bound | None:
    models = _entry(surroundings, layout)
    if models.error:
        raise CaptureError(models.error)
    for captured in models.variants:
        bound = captured.bind(surroundings)
        if bound.constants_hold():
            return bound
    return None


def _new_model(
    func: Callable[..., Any], layout: Layout, y0: torch.Tensor, t0: torch.Tensor
) -> Bound:
    try:
        read = _tensors_read(func, layout, y0, t0)
        surroundings = survey(func)
        found = _known_model(surroundings, layout)  # its own book-keeping is left out now
        if found is not None:
            return found
        models = _entry(surroundings, layout)
        _note_changes(models, surroundings)
        captured = _capture(func, layout, surroundings, read, models.changing)
    except CaptureError as error:
        _entry(survey(func), layout).error = str(error)
        raise
    _note_capture(func, surroundings, layout)
    models.variants = [captured, *models.variants][:_VARIANTS]
    return captured.bind(surroundings)


def _tensors_read(
    func: Callable[..., Any], layout: Layout, y0: torch.Tensor, t0: torch.Tensor
) -> list[torch.Tensor]:
    given = (t0.detach().clone(), y0.detach().clone())
    first, second = Watch(given), Watch(given)

    def call() -> None:
        layout.of_joined(func)(*given)

    first.run(call)
    learn_own(func, lambda: second.run(call))
    return second.lasting(first)


def _note_changes(models: _Models, surroundings: Surroundings) -> None:
    if not models.variants:
        return
    arrays = list(surroundings.arrays.values())
    models.changing |= {
        i
        for i, held in models.variants[0].constants
        if _is_float_tensor(arrays[i]) and not _equal(arrays[i], held)
    }


def _capture(
    func: Callable[..., Any],
    layout: Layout,
    surroundings: Surroundings,
    read: Sequence[torch.Tensor],
    changing: set[int],
) -> Captured:
    arrays = list(surroundings.arrays.values())
    places = {id(array): i for i, array in enumerate(arrays)}
    _check_reachable(read, places)
    parameters: list[int] = []
    constants = [i for i, x in enumerate(arrays) if isinstance(x, np.ndarray)]
    for place in sorted(places[id(x)] for x in read):
        wanted = arrays[place].requires_grad or place in changing
        (parameters if wanted else constants).append(place)
    lifted = Lifted(
        layout.of_joined(with_traceable_math(func)),
        [arrays[i] for i in parameters],
        [arrays[i] for i in constants if isinstance(arrays[i], torch.Tensor)],
    )
    n_p = sum(arrays[i].numel() for i in parameters)
    problem = ODEProblem(lifted, np.zeros(layout.shape), (0.0, 1.0), np.zeros(n_p) if n_p else None)
    lifted.capture(problem)
    held = tuple((i, _copy(arrays[i])) for i in constants)
    return Captured(problem, tuple(parameters), held)


def _check_reachable(read: Sequence[torch.Tensor], places: dict[int, int]) -> None:
    for x in read:
        if id(x) not in places:
            raise CaptureError(
                f"f cannot be captured: it reads a tensor of shape {tuple(x.shape)} that is "
                "neither in its closure nor a global, nor an attribute of an object within reach"
            )


def _is_float_tensor(array: Any) -> bool:
    return isinstance(array, torch.Tensor) and array.is_floating_point()


def _copy(array: Any) -> Any:
    return array.copy() if isinstance(array, np.ndarray) else array.detach().clone()


def _equal(array: Any, held: Any) -> bool:
    """To the last bit, so that NaN is equal to itself."""
    if isinstance(array, np.ndarray):
        return bool(array.tobytes() == held.tobytes())
    if array.dtype != held.dtype or array.device != held.device:
        return False
    return torch.equal(array, held) or torch.equal(_bits(array), _bits(held))


def _bits(array: torch.Tensor) -> torch.Tensor:
    return array.detach().reshape(-1).contiguous().view(torch.uint8)


# -- captures that do not end ----------------------------------------------------------------------
@dataclass
class _History:
    """The captures of one function's code."""

    count: int = 0
    signature: Signature = ()
    layout: Layout | None = None


_histories: weakref.WeakKeyDictionary[Any, _History] = weakref.WeakKeyDictionary()


def _note_capture(func: Callable[..., Any], surroundings: Surroundings, layout: Layout) -> None:
    """Warn when a function is captured again and again: each time it is compiled, too."""
    history = _histories.setdefault(code_of(func), _History())
    before, history.signature = history.signature, surroundings.signature
    reshaped, history.layout = layout != history.layout, layout
    history.count += 1
    if history.count == _MANY_CAPTURES:
        changed = differences(before, surroundings.signature)
        what = "the shape of y0" if reshaped or not changed else ", ".join(changed)
        warnings.warn(
            f"pysciml: {getattr(func, '__name__', type(func).__name__)} has been captured "
            f"{history.count} times, because {what} keeps changing, and each time it is compiled. "
            "A number that changes should be a tensor",
            stacklevel=7,
        )


# -- bindings, by function -------------------------------------------------------------------------
class _Bindings:
    """The latest bindings by function and layout. A function that dies takes its own along."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[weakref.ref[Any], Bound]] = OrderedDict()

    def get(self, key: Hashable) -> Bound | None:
        found = self._kept.get(key)
        return found[1] if found else None

    def put(self, key: Hashable, func: Any, bound: Bound) -> None:
        holder = func.__self__ if type(func) is types.MethodType else func
        try:
            alive = weakref.ref(holder, lambda _: self._kept.pop(key, None))
        except TypeError:  # an object of a class with __slots__: found anew by its surroundings
            return
        self._kept[key] = (alive, bound)
        self._kept.move_to_end(key)
        if len(self._kept) > _BINDINGS_KEPT:
            self._kept.popitem(last=False)


_bindings = _Bindings()


def _identity(func: Any, layout: Layout) -> Hashable:
    """A method is a new object each time it is asked for: its parts are not."""
    if type(func) is types.MethodType:
        return (id(func.__self__), id(func.__func__), layout)
    return (id(func), layout)
