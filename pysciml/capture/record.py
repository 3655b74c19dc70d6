"""Records what a function does to its arguments, through PyTorch's own dispatcher.

The recorder is a `TorchDispatchMode` under `torch.func.functionalize`: it sees the ATen operations
that `make_fx` would see, without in-place updates, and spares the import of SymPy and Dynamo that
`make_fx` costs (over a second, more than compiling and solving a small model).
The result, a `Tape`, can be replayed on tensors, so `torch.func` differentiates it.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from pysciml.capture.decompositions import decompose, pad_circular
from pysciml.errors import CaptureError

_TORCH = os.path.dirname(torch.__file__)
_PYSCIML = os.path.dirname(os.path.dirname(__file__))
_aten = torch.ops.aten

#: What turns a tensor's value into something Python can branch on.
_READS_VALUE = frozenset(
    {
        _aten._local_scalar_dense.default,
        _aten.nonzero.default,
        _aten.masked_select.default,
        _aten.unique_consecutive.default,
        _aten._unique2.default,
    }
)

#: What forward-mode differentiation asks of a tensor's memory, not of its values.
_ASKS_LAYOUT = frozenset({_aten._has_same_storage_numel.default})


class NeedsNumpyTracing(Exception):
    """The function hands a tensor to NumPy, or to a plain Python float, which hides it from us."""


@dataclass(frozen=True)
class Slot:
    """Stands for a recorded value inside the arguments of a later call."""

    index: int


@dataclass(frozen=True)
class Line:
    """A line of the user's own code."""

    filename: str
    number: int
    function: str

    def __str__(self) -> str:
        source = linecache.getline(self.filename, self.number).strip()
        where = f'  File "{self.filename}", line {self.number}, in {self.function}'
        return f"{where}\n    {source}" if source else where


@dataclass(frozen=True)
class Call:
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int | None, ...]  # slots of the flattened result; None where no tensor stands
    is_sequence: bool
    line: Line | None


@dataclass
class Tape:
    """ATen calls in order. `inputs` and `output` are slots; `output` may be a constant tensor."""

    inputs: tuple[int, ...] = ()
    calls: list[Call] = field(default_factory=list)
    output: Any = None
    result_shape: tuple[int, ...] = ()

    def replay(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run the calls on other tensors (of `torch.func`'s transforms, for instance)."""
        values: dict[int, Any] = dict(zip(self.inputs, inputs, strict=True))

        def fill(x: Any) -> Any:
            return values[x.index] if isinstance(x, Slot) else x

        is_leaf = _is_slot
        for call in self.calls:
            args, kwargs = pytree.tree_map(fill, (call.args, call.kwargs), is_leaf=is_leaf)
            result = call.function(*args, **kwargs)
            results = tuple(result) if call.is_sequence else (result,)
            for slot, value in zip(call.outputs, results, strict=True):
                if slot is not None:
                    values[slot] = value
        return fill(self.output)


def _is_slot(x: Any) -> bool:
    return isinstance(x, Slot)


def user_line(frame: types.FrameType | None) -> Line | None:
    """The innermost frame that belongs neither to PyTorch nor to this package."""
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith((_TORCH, _PYSCIML, "<frozen", "<__array_function__")):
            return Line(filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return None


def line_of(error: BaseException) -> Line | None:
    """The user's line that raised `error`."""
    found = None
    traceback = error.__traceback__
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if not filename.startswith((_TORCH, _PYSCIML, "<frozen")):
            found = Line(filename, traceback.tb_lineno, traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return found


def line_of_stack(stack: Any) -> Line | None:
    """The user's innermost line in a `traceback.StackSummary`."""
    own = [s for s in stack if not s.filename.startswith((_TORCH, _PYSCIML, "<frozen"))]
    return Line(own[-1].filename, own[-1].lineno, own[-1].name) if own else None


def data_dependent(line: Line | None, what: str) -> CaptureError:
    """The error for a function whose course depends on the values of its arguments."""
    return CaptureError(
        f"f cannot be captured: {what} depends on the values of u, p or t, but f is traced once "
        f"for all values.\n{line or ''}\n"
        "Write the choice as data instead: torch.where(condition, a, b) (np.where), "
        "torch.maximum(a, b), torch.minimum(a, b), torch.clamp(x, low, high)."
    )


class _Guard(TorchFunctionMode):
    """Stops silent leaks: NumPy would read the raw memory of a traced tensor."""

    _leaks = frozenset({torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.tolist})
    _as_number = frozenset(
        {torch.Tensor.__float__, torch.Tensor.__int__, torch.Tensor.__index__, torch.Tensor.item}
    )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.pad and _pad_mode(args, kwargs) == "circular":
            return pad_circular(*args[:2])
        traced = bool(args) and isinstance(args[0], torch.Tensor) and _is_wrapped(args[0])
        if traced and func in self._leaks:
            raise NeedsNumpyTracing(func.__name__)
        if traced and func in self._as_number:
            try:
                return func(*args, **(kwargs or {}))
            except CaptureError as error:
                raise NeedsNumpyTracing("float") from error
        return func(*args, **(kwargs or {}))


def _pad_mode(args: Any, kwargs: Any) -> str:
    return args[2] if len(args) > 2 else (kwargs or {}).get("mode", "constant")


def _is_wrapped(x: torch.Tensor) -> bool:
    return torch._is_functional_tensor(x) or torch._C._functorch.is_functorch_wrapped_tensor(x)


class _Recorder(TorchDispatchMode):
    def __init__(self, supported: Callable[[Any], bool]) -> None:
        super().__init__()
        self.tape = Tape()
        self._supported = supported
        self._slots: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []  # ids stay unique while their tensors live
        self._count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the default wraps __torch_dispatch__ in an import of Dynamo

    def slot(self, tensor: torch.Tensor) -> int:
        self._slots[id(tensor)] = self._count
        self._alive.append(tensor)
        self._count += 1
        return self._count - 1

    def reference(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor) and id(x) in self._slots:
            return Slot(self._slots[id(x)])
        return x

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        references, named = pytree.tree_map(self.reference, (args, kwargs))
        leaves = pytree.tree_leaves((references, named), is_leaf=_is_slot)
        traced = any(_is_slot(x) for x in leaves)
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise CaptureError(
                "f cannot be captured: it draws random numbers, and a right-hand side must be a "
                f"function of u, p and t.\n{user_line(sys._getframe()) or ''}\n"
                "Call .eval() on modules with dropout; for noise, use an SDE."
            )
        if not traced:
            return func(*args, **kwargs)
        if func in _ASKS_LAYOUT:
            return func(*args, **kwargs)
        if func in _READS_VALUE:
            raise data_dependent(user_line(sys._getframe()), "this line")
        if not self._supported(func):
            with self:
                simpler = decompose(func, args, kwargs)
            if simpler is not NotImplemented:
                return simpler
            raise CaptureError(
                f"f cannot be captured: the operation {func} has no translation yet.\n"
                f"{user_line(sys._getframe()) or ''}\n"
                "Rewrite the line with element-wise operations, slices, sums or matrix products."
            )
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.is_meta:
            return result  # `functionalize` computes a shape with PyTorch's own Python code
        is_sequence = isinstance(result, (list, tuple))
        outputs = tuple(
            self.slot(x) if isinstance(x, torch.Tensor) else None
            for x in (result if is_sequence else (result,))
        )
        line = user_line(sys._getframe())
        self.tape.calls.append(Call(func, references, named, outputs, is_sequence, line))
        return result


class _Float64Default:
    """Makes float64 torch's default while anybody is inside: the setting is the process's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = torch.float32

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._before = torch.get_default_dtype()
                torch.set_default_dtype(torch.float64)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    torch.set_default_dtype(self._before)


float64_default = _Float64Default()  # new tensors are float64 inside, as all of a model is


def record(
    function: Callable[..., torch.Tensor],
    examples: Sequence[torch.Tensor],
    supported: Callable[[Any], bool],
) -> Tape:
    """Trace `function` on `examples`; `supported` tells which ATen operations need no splitting."""
    recorder = _Recorder(supported)
    examples = [torch.empty_like(x).copy_(x) for x in examples]
    recorder.tape.inputs = tuple(recorder.slot(x) for x in examples)
    with float64_default(), torch.no_grad(), recorder, _Guard():
        result = torch.func.functionalize(function)(*examples)
    recorder.tape.output = recorder.reference(result)
    recorder.tape.result_shape = tuple(result.shape)
    return recorder.tape
