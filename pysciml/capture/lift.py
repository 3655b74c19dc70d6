"""A function `func(t, y)` and its surroundings as a right-hand side `f(u, p, t)`.

The tensors that `func` reads and did not make itself are found by running it twice under
PyTorch's dispatcher. In the trace those that are to be parameters are replaced, call by call,
by pieces of `p`, and the others by constants in float64.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from pysciml.capture.record import NeedsNumpyTracing, data_dependent, line_of, user_line
from pysciml.errors import CaptureError

if TYPE_CHECKING:
    from pysciml.problems import ODEProblem

Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Watch(TorchDispatchMode):
    """Notes the tensors that a function reads: operands of operations, but results of none.

    Parameters
    ----------
    given: the function's arguments.
    """

    def __init__(self, given: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self._made = {id(x): x for x in given}  # keeping them alive keeps their ids unique
        self._read: dict[int, torch.Tensor] = {}

    def run(self, call: Callable[[], Any]) -> None:
        """Call the function.

        Raises CaptureError before it changes a tensor in place that it did not make.
        """
        with torch.no_grad(), self:
            call()

    def lasting(self, earlier: Watch) -> list[torch.Tensor]:
        """The tensors read that were there at an earlier run: others are made anew each time."""
        there = earlier._read.keys() | earlier._made.keys()
        return [tensor for key, tensor in self._read.items() if key in there]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the default wraps __torch_dispatch__ in an import of Dynamo

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for x in pytree.tree_leaves((args, kwargs)):
            if isinstance(x, torch.Tensor) and id(x) not in self._made:
                self._read[id(x)] = x
        if func._schema.is_mutable:
            self._check_written(func, args)
        result = func(*args, **(kwargs or {}))
        for x in pytree.tree_leaves(result):
            if isinstance(x, torch.Tensor):
                self._made[id(x)] = x
        return result

    def _check_written(self, func: Any, args: tuple[Any, ...]) -> None:
        for argument, value in zip(func._schema.arguments, args, strict=False):
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and isinstance(value, torch.Tensor) and id(value) not in self._made:
                raise CaptureError(
                    f"f cannot be captured: it changes a tensor of shape {tuple(value.shape)} in "
                    "place, and a right-hand side must be a function of t and y alone.\n"
                    f"{user_line(sys._getframe()) or ''}"
                )


class Lifted:
    """`func(t, y)` as `f(u, p, t)`: see the module.

    Parameters
    ----------
    func: takes and returns tensors of u's shape.
    parameters: tensors whose values are taken from `p`, where they lie end to end.
    constants: other tensors that `func` reads.
    """

    def __init__(
        self, func: Function, parameters: Sequence[torch.Tensor], constants: Sequence[torch.Tensor]
    ) -> None:
        self._func = func
        self._parameters = parameters
        self._constants = {id(x): _in_float64(x) for x in constants}
        self._met: set[int] = set()

    def __call__(self, u: torch.Tensor, p: torch.Tensor | None, t: torch.Tensor) -> torch.Tensor:
        table = dict(self._constants)
        if p is not None:
            pieces = p.split([x.numel() for x in self._parameters])
            for x, piece in zip(self._parameters, pieces, strict=True):
                table[id(x)] = piece.reshape(x.shape)
        try:
            with _Substitute(table, self._met):
                return self._func(t, u)
        except NeedsNumpyTracing as error:
            what = "a number made by float(), int() or .item(), or a NumPy array,"
            raise data_dependent(line_of(error), what) from error

    def capture(self, problem: ODEProblem) -> None:
        """Capture the problem of this function. The model does not keep `func` and tensors alive.

        Raises CaptureError, also for a parameter that is read where PyTorch's functions are not
        seen to be called.
        """
        model = problem.model
        if any(id(x) not in self._met for x in self._parameters):
            raise CaptureError(
                "f cannot be captured: it reads its parameters inside compiled or scripted code. "
                "Use the plain Python function or module"
            )
        shape = model.state_shape
        model.torch_function = lambda u, p, t: model.flat_function(u, p, t).reshape(shape)
        self._func, self._parameters, self._constants = _released, (), {}


def _released(t: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("this function is captured; it is called no more")


def _in_float64(x: torch.Tensor) -> torch.Tensor:
    x = x.detach().cpu()
    return x.double() if x.is_floating_point() else x.clone()


class _Substitute(TorchFunctionMode):
    """Calls of PyTorch's functions get other tensors for those in `table`, which is by id."""

    def __init__(self, table: dict[int, torch.Tensor], met: set[int]) -> None:
        super().__init__()
        self._table = table
        self._met = met
        self._grad_enabled = False

    def _swap(self, x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or id(x) not in self._table:
            return x
        self._met.add(id(x))
        return self._table[id(x)]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled:
            self._switch_grad(*args)
        args, kwargs = pytree.tree_map(self._swap, (args, kwargs or {}))
        return func(*args, **kwargs)

    def _switch_grad(self, enabled: bool) -> None:
        """A trace runs without gradients: switching them off ends an enable_grad, or is wrong."""
        if not enabled and not self._grad_enabled:
            raise CaptureError(
                "f cannot be captured: it uses torch.no_grad(), which a trace does not keep. "
                "Use .detach() instead"
            )
        self._grad_enabled = enabled
