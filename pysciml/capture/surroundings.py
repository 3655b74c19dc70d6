"""What a function reads besides its arguments: the numbers, arrays and tensors within its reach.

A trace holds for as long as these stay what they were. They are found by walking from the function
to its closure, its defaults, the globals that its code names and the functions it calls, and from
an object to those of its attributes that this code names (of PyTorch's own modules: to all). Like
the guards of a tracing compiler, except that tensors are listed and not compared, since a caller
may turn them into inputs.

Not found are values that the code gets by other ways: from files, from C, by `eval`.
"""

from __future__ import annotations

import dis
import functools
import operator
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, MutableMapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import torch

from pysciml.errors import CaptureError

Path = tuple[Hashable, ...]
Signature = tuple[tuple[Path, Any], ...]

_NUMBERS = (bool, int, float, complex, np.generic)
_NAMES = (str, bytes, range, Enum, type(None), type(...), torch.dtype, torch.device)
_PLAIN = (*_NUMBERS, *_NAMES, types.BuiltinFunctionType)
_PACKAGES = ("torch", "torchdiffeq", "numpy", "scipy", "numba")
_LIBRARIES = frozenset({*_PACKAGES, *sys.stdlib_module_names})
_MANY = 20_000  # leaves; a function that reaches more of them reaches for its whole program

_TABLES_OF_MODULES = ("_parameters", "_buffers", "_modules")
_OF_MODULES = ("training", *_TABLES_OF_MODULES, "_forward_hooks", "_forward_pre_hooks")
_PRIVATE_OF_MODULES = frozenset(vars(torch.nn.Module()))
_CALLED = frozenset({"forward", "__call__"})

_GONE = object()


@dataclass
class Surroundings:
    """The result of a walk.

    Attributes
    ----------
    signature: equal for functions whose code and plain values are equal.
    arrays: the tensors and NumPy arrays, in the order of the walk: functions of equal signature
        have as many, of equal shapes and dtypes, in the same places.
    """

    signature: Signature = ()
    arrays: dict[Path, Any] = field(default_factory=dict)
    _entries: list[tuple[Any, Any, Any]] = field(default_factory=list)
    _cells: list[tuple[types.CellType, Any]] = field(default_factory=list)
    _attributes: list[tuple[Callable[[], Any], str, Any]] = field(default_factory=list)
    _containers: list[tuple[Any, tuple[Any, ...]]] = field(default_factory=list)
    _empty: list[Any] = field(default_factory=list)
    _tensors: list[tuple[torch.Tensor, torch.Size, bool]] = field(default_factory=list)

    def unchanged(self) -> bool:
        """Whether a new walk would find the very same objects. Takes microseconds.

        What is in the arrays is not looked at.
        """
        for mapping, key, value in self._entries:
            if mapping.get(key, _GONE) is not value:
                return False
        for cell, value in self._cells:
            if cell.cell_contents is not value:
                return False
        for holder, name, value in self._attributes:
            if getattr(holder(), name, _GONE) is not value:
                return False
        if any(self._empty):
            return False
        for container, items in self._containers:
            if len(container) != len(items) or not all(map(operator.is_, container, items)):
                return False
        for tensor, shape, wants_grad in self._tensors:  # .data can have been replaced
            if tensor.requires_grad is not wants_grad or tensor.shape != shape:
                return False
        return True


def survey(function: Any) -> Surroundings:
    """The surroundings of a function, method, module or other callable.

    Raises CaptureError for a scripted module, and where there is no end to what is reached.
    """
    known = _known(function)
    while True:
        walk = _Walk(known.names, known.own)
        walk.visit((), function)
        if walk.names == known.names:
            return walk.finish()
        known.names = frozenset(walk.names)


def learn_own(function: Any, call: Callable[[], Any]) -> None:
    """Find what `function` itself changes when it is called, such as a counter of its calls.

    Such values are its own book-keeping: `survey` leaves them out from then on. `call` calls it;
    it must have been called before, for what is made on a first call to be there.
    """
    before = survey(function)
    call()
    after = survey(function)
    rebound = {p for p, array in before.arrays.items() if after.arrays.get(p) is not array}
    _known(function).own |= rebound | _changed(before.signature, after.signature)


def differences(before: Signature, after: Signature) -> list[str]:
    """Names of what differs between two signatures, such as "net.rate"."""
    return sorted(map(_label, _changed(before, after)))


def code_of(function: Any) -> Any:
    """The code object of a function or method, the class of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    return getattr(function, "__code__", None) or type(function)


def _changed(before: Signature, after: Signature) -> set[Path]:
    old, new = dict(before), dict(after)
    return {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}


def _label(path: Path) -> str:
    return ".".join(map(str, path)) or "the function itself"


# -- what is known of a function from earlier walks ------------------------------------------------
@dataclass
class _Known:
    names: frozenset[str] = frozenset()  # attributes named by any code within reach
    own: set[Path] = field(default_factory=set)


_all_known: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()


def _known(function: Any) -> _Known:
    return _all_known.setdefault(code_of(function), _Known())


# -- the walk --------------------------------------------------------------------------------------
class _Same:
    """Compares by identity what cannot be compared otherwise."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


class _Walk:
    def __init__(self, names: Iterable[str], own: set[Path]) -> None:
        self.names = set(names)
        self._own = own
        self._leaves: dict[Path, Any] = {}
        self._seen: dict[int, Path] = {}
        self._alive: list[Any] = []  # ids stay unique while their objects live
        self._found = Surroundings()

    def finish(self) -> Surroundings:
        self._found.signature = tuple(self._leaves.items())
        return self._found

    def visit(self, path: Path, value: Any) -> None:
        if path in self._own:
            return
        if isinstance(value, _PLAIN):
            self._leaves[path] = (type(value), value)
            return
        first = self._seen.setdefault(id(value), path)
        if first is not path:
            self._leaves[path] = ("as", first)
            return
        self._alive.append(value)
        if len(self._alive) > _MANY:
            raise CaptureError(
                f"f cannot be captured: it reaches more than {_MANY} objects, the latest of them "
                f"by way of {_label(path[:3])}. Hand it only what it needs"
            )
        self._object(path, value)

    def _object(self, path: Path, value: Any) -> None:
        if isinstance(value, (torch.Tensor, np.ndarray)):
            self._array(path, value)
        elif isinstance(value, types.FunctionType):
            self._function(path, value)
        elif isinstance(value, types.MethodType):
            self._leaves[path] = types.MethodType
            self.visit((*path, "self"), value.__self__)
            self.visit((*path, "function"), value.__func__)
        elif isinstance(value, functools.partial):
            self._leaves[path] = functools.partial
            for name in ("func", "args", "keywords"):
                self.visit((*path, name), getattr(value, name))
        elif isinstance(value, MutableMapping):
            self._mapping(path, value)
        elif isinstance(value, (list, tuple, set, frozenset, deque)):
            self._container(path, value)
        elif isinstance(value, types.ModuleType):
            self._python_module(path, value)
        elif isinstance(value, type):
            self._class(path, value)
        elif isinstance(value, (staticmethod, classmethod)):
            self.visit((*path, "wrapped"), value.__func__)
        elif isinstance(value, property):
            self.visit((*path, "getter"), value.fget)
        elif isinstance(value, torch.jit.ScriptModule):
            raise CaptureError(
                f"f cannot be captured: {_label(path)} is compiled by torch.jit.script. Use the "
                "module itself"
            )
        else:
            self._instance(path, value)

    def _array(self, path: Path, value: Any) -> None:
        found = self._found
        found.arrays[path] = value
        leaf: tuple[Any, ...] = (type(value), value.dtype, tuple(value.shape))
        if isinstance(value, torch.Tensor):
            leaf = (*leaf, value.device, value.requires_grad)
            found._tensors.append((value, value.shape, value.requires_grad))
        self._leaves[path] = leaf

    def _entry(self, path: Path, mapping: Any, key: Any) -> None:
        path = (*path, key)
        if path not in self._own:
            self._found._entries.append((mapping, key, mapping[key]))
            self.visit(path, mapping[key])

    def _attribute(self, path: Path, holder: Any, name: str) -> None:
        path = (*path, name)
        if path not in self._own:
            value = getattr(holder, name)
            self._found._attributes.append((_reference(holder), name, value))
            self.visit(path, value)

    def _function(self, path: Path, function: types.FunctionType) -> None:
        if _is_library(function.__module__):
            self._leaves[path] = function
            return
        code = function.__code__
        self._leaves[path] = code
        global_names, attribute_names = _names(code)
        self.names |= attribute_names
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._cell((*path, name), cell)
        for name in ("__defaults__", "__kwdefaults__"):
            self._attribute(path, function, name)
        for name in sorted(global_names & function.__globals__.keys()):
            self._entry(path, function.__globals__, name)

    def _cell(self, path: Path, cell: types.CellType) -> None:
        try:
            value = cell.cell_contents
        except ValueError:  # a name that is not assigned yet
            return
        if path not in self._own:
            self._found._cells.append((cell, value))
            self.visit(path, value)

    def _mapping(self, path: Path, value: Any) -> None:
        self._leaves[path] = (type(value), tuple(value))
        self._watch(value, tuple(value))
        for key in value:
            self._entry(path, value, key)

    def _container(self, path: Path, value: Any) -> None:
        self._leaves[path] = (type(value), len(value))
        items = tuple(value)
        if not isinstance(value, (tuple, frozenset)):
            self._watch(value, items)
        for i, item in enumerate(items):
            self.visit((*path, i), item)

    def _watch(self, container: Any, items: tuple[Any, ...]) -> None:
        if items:
            self._found._containers.append((container, items))
        else:
            self._found._empty.append(container)

    def _python_module(self, path: Path, module: types.ModuleType) -> None:
        self._leaves[path] = module.__name__
        if not _is_library(module.__name__):
            for name in sorted(self.names & vars(module).keys()):
                self._entry(path, vars(module), name)

    def _class(self, path: Path, cls: type) -> None:
        self._leaves[path] = cls
        for base in cls.__mro__:
            if not _is_library(base.__module__):
                for name in sorted((self.names | _CALLED) & vars(base).keys()):
                    self._entry((*path, base.__qualname__), vars(base), name)

    def _instance(self, path: Path, value: Any) -> None:
        cls = type(value)
        attributes: dict[str, Any] = getattr(value, "__dict__", {})
        slots = _slots(cls)
        if not hasattr(value, "__dict__") and not slots:
            self._leaves[path] = _Same(value)
            return
        self._class((*path, "class"), cls)
        for name in sorted(slots & self.names):
            if hasattr(value, name):
                self._attribute(path, value, name)
        if "__wrapped__" in attributes:  # by functools.cache and the like
            self.visit((*path, "wrapped"), attributes["__wrapped__"])
        for name in self._wanted(cls, attributes):
            if name in _TABLES_OF_MODULES:  # a parameter is net.weight, not net._parameters.weight
                self._table(path, name, attributes[name])
            else:
                self._entry(path, attributes, name)

    def _table(self, path: Path, name: str, table: Any) -> None:
        place: Path = (*path, name)
        self._leaves[place] = tuple(table)
        self._watch(table, tuple(table))
        for key in table:
            self._entry(path, table, key)

    def _wanted(self, cls: type, attributes: Iterable[str]) -> list[str]:
        if not issubclass(cls, torch.nn.Module):
            return [name for name in attributes if name in self.names]
        library = _is_library(cls.__module__)
        return [
            name
            for name in attributes
            if name in _OF_MODULES
            or (name not in _PRIVATE_OF_MODULES and (library or name in self.names))
        ]


def _is_library(module: str | None) -> bool:
    return (module or "builtins").partition(".")[0] in _LIBRARIES


def _reference(holder: Any) -> Callable[[], Any]:
    """The surroundings of a function must not keep it alive."""
    try:
        return weakref.ref(holder)
    except TypeError:  # a class with __slots__
        return lambda: holder


def _slots(cls: type) -> set[str]:
    found: set[str] = set()
    for base in cls.__mro__:
        slots = getattr(base, "__slots__", ())
        found |= {slots} if isinstance(slots, str) else set(slots)
    return found - {"__dict__", "__weakref__"}


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the globals and of the attributes in a code object and the functions inside it."""
    global_names, attribute_names = set(), set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            global_names.add(instruction.argval)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            attribute_names.add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = _names(constant)
            global_names |= inner[0]
            attribute_names |= inner[1]
        elif isinstance(constant, str) and constant.isidentifier():  # getattr(self, "name")
            attribute_names.add(constant)
    return frozenset(global_names), frozenset(attribute_names)
