"""Functions written with NumPy or `math`: what PyTorch's dispatcher cannot see, Dynamo can.

Dynamo reads the bytecode and replaces NumPy calls by PyTorch's own NumPy. It does not know
`math.sin` of a tensor, so functions that use `math` are first given a `math` that does.
"""

from __future__ import annotations

import itertools
import math
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

_NAMES = {name: name for name in "sin cos tan sinh cosh tanh asinh acosh atanh".split()}
_NAMES |= {name: name for name in "exp expm1 log1p log2 log10 sqrt floor ceil trunc".split()}
_NAMES |= {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "fabs": "abs"}
_NUMPY_OF_MATH = {getattr(math, m): getattr(np, n) for m, n in _NAMES.items()}
_TORCH_OF_MATH = {getattr(math, m): getattr(torch, n) for m, n in _NAMES.items()}
_TORCH_OF_MATH[math.erf] = torch.erf


def _tensor_aware(plain: Callable[..., Any]) -> Callable[..., Any]:
    """`math`'s function for plain numbers, NumPy's or PyTorch's for what is traced."""
    on_array = _NUMPY_OF_MATH.get(plain)
    on_tensor = _TORCH_OF_MATH.get(plain)

    def function(x: Any) -> Any:
        if isinstance(x, torch.Tensor) and on_tensor is not None:
            return on_tensor(x)
        if isinstance(x, np.ndarray) and on_array is not None:
            return on_array(x)
        return plain(x)

    return function


def _log(x: Any, base: Any = None) -> Any:
    if isinstance(x, torch.Tensor):
        return torch.log(x) if base is None else torch.log(x) / math.log(base)
    if isinstance(x, np.ndarray):
        return np.log(x) if base is None else np.log(x) / math.log(base)
    return math.log(x) if base is None else math.log(x, base)


def _pow(x: Any, y: Any) -> Any:
    return x**y


def _atan2(y: Any, x: Any) -> Any:
    if isinstance(x, torch.Tensor) or isinstance(y, torch.Tensor):
        return torch.atan2(torch.as_tensor(y), torch.as_tensor(x))
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return np.arctan2(y, x)
    return math.atan2(y, x)


def _hypot(x: Any, y: Any) -> Any:
    return (x * x + y * y) ** 0.5


_AWARE = {plain: _tensor_aware(plain) for plain in _TORCH_OF_MATH}
_AWARE |= {math.log: _log, math.pow: _pow, math.atan2: _atan2, math.hypot: _hypot}
_MATH = types.SimpleNamespace(
    **{
        name: _AWARE.get(value, value)
        for name, value in vars(math).items()
        if not name.startswith("_")
    }
)


def with_traceable_math(function: Any) -> Any:
    """A copy of `function`, and of the Python functions it calls, whose `math` takes tensors.

    The originals and their modules are left as they are.
    """
    return _rebind(function, {})


def _rebind(value: Any, done: dict[int, Any]) -> Any:
    if value is math:
        return _MATH
    if isinstance(value, types.BuiltinFunctionType):
        return _AWARE.get(value, value)
    if isinstance(value, types.MethodType):
        return types.MethodType(_rebind(value.__func__, done), value.__self__)
    if not isinstance(value, types.FunctionType) or not uses_math(value):
        return value
    if id(value) in done:
        return done[id(value)]
    namespace = _module_like(value.__globals__)
    copy = types.FunctionType(
        value.__code__, namespace, value.__name__, value.__defaults__, value.__closure__
    )
    copy.__kwdefaults__ = value.__kwdefaults__
    done[id(value)] = copy
    for name in _names(value.__code__) & namespace.keys():
        namespace[name] = _rebind(namespace[name], done)
    cells = tuple(_rebind_cell(cell, done) for cell in value.__closure__ or ())
    if any(new is not old for new, old in zip(cells, value.__closure__ or (), strict=True)):
        bound = types.FunctionType(
            value.__code__, namespace, value.__name__, value.__defaults__, cells
        )
        bound.__kwdefaults__ = value.__kwdefaults__
        done[id(value)] = bound
        return bound
    return copy


_TRACED = "pysciml_traced_"
_numbers = itertools.count()


def _module_like(variables: dict[str, Any]) -> dict[str, Any]:
    """A copy of a function's globals that Dynamo, which looks them up by module name, can find."""
    module = types.ModuleType(f"{_TRACED}{next(_numbers)}")
    sys.modules[module.__name__] = module
    vars(module).update(variables, __name__=module.__name__)
    return vars(module)


def forget_modules() -> None:
    """Take the copies of globals out of `sys.modules`; the functions keep them alive."""
    for name in [name for name in sys.modules if name.startswith(_TRACED)]:
        del sys.modules[name]


def _rebind_cell(cell: types.CellType, done: dict[int, Any]) -> types.CellType:
    try:
        value = cell.cell_contents
    except ValueError:  # an empty cell: a name that is not assigned yet
        return cell
    new = _rebind(value, done)
    return cell if new is value else types.CellType(new)


def uses_math(function: Any) -> bool:
    """Whether a Python function, or one that it names, reaches for the `math` module."""
    return _reaches(function, lambda v: v is math or _hashable_in(v, _AWARE), set())


def uses_numpy(function: Any) -> bool:
    """Whether a Python function, or one that it names, reaches for NumPy."""

    def is_numpy(v: Any) -> bool:
        if isinstance(v, types.ModuleType):
            return v.__name__.split(".")[0] == "numpy"
        return isinstance(v, (np.ndarray, np.generic, np.ufunc)) or (
            callable(v) and (getattr(v, "__module__", "") or "").split(".")[0] == "numpy"
        )

    return _reaches(function, is_numpy, set())


def _hashable_in(value: Any, table: dict[Any, Any]) -> bool:
    return isinstance(value, types.BuiltinFunctionType) and value in table


def _reaches(function: Any, wanted: Callable[[Any], bool], seen: set[int]) -> bool:
    function = getattr(function, "__func__", function)
    if not isinstance(function, types.FunctionType) or id(function) in seen:
        return False
    seen.add(id(function))
    values = [function.__globals__.get(name) for name in _names(function.__code__)]
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:
            continue
    return any(wanted(v) or _reaches(v, wanted, seen) for v in values)


def _names(code: types.CodeType) -> set[str]:
    """Global names in a code object and in the functions defined inside it."""
    names = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            names |= _names(const)
    return names


def trace_with_dynamo(
    function: Callable[..., torch.Tensor], examples: list[torch.Tensor]
) -> Callable[..., torch.Tensor]:
    """The torch function that Dynamo makes of `function`, which may use NumPy on its arguments.

    Raises what Dynamo raises when it cannot follow the code.
    """
    captured: list[Any] = []

    def backend(graph: Any, _: Any) -> Callable[..., Any]:
        def run(*inputs: torch.Tensor) -> Any:
            captured.append((graph, inputs))
            return graph(*inputs)

        return run

    # Dynamo counts recompilations by code object; a copy keeps captures apart from each other
    fresh = types.FunctionType(
        function.__code__.replace(), function.__globals__, "model", None, function.__closure__
    )
    with torch.no_grad():
        result = torch.compile(fresh, backend=backend, fullgraph=True, dynamic=False)(*examples)
    if not captured:  # nothing depends on the arguments: a constant
        return lambda *_: result
    graph, inputs = captured[0]
    position = {id(x): i for i, x in enumerate(examples)}

    def replay(*arguments: torch.Tensor) -> torch.Tensor:
        filled = [arguments[position[id(x)]] if id(x) in position else x for x in inputs]
        return graph(*filled)[0]

    return replay
