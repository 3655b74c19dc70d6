"""The intermediate representation: a small typed list of operations on shaped float64 values.

Every operation is one of six kinds, so a reader of a Program has six cases to handle:

- ``input``   a flat float64 argument (``attr``: its name)
- ``const``   a literal array (``attr``: the array)
- element-wise operations, all operands of the same shape (`ELEMENTWISE`)
- ``gather``  every structural operation: slices, transposes, broadcasts, rolls, concatenations.
  ``attr`` is an integer array of the output's shape that indexes into the operands, flattened and
  laid end to end; -1 stands for zero
- ``sum``/``amax``/``amin``  reductions (``attr``: the axes, sorted)
- ``matmul``  ``(..., m, k) @ (..., k, n)`` with equal leading axes
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]


def _remainder(a: Any, b: Any) -> Any:
    return a - b * np.floor(a / b)


#: name -> NumPy implementation. Comparisons and logic give booleans, all else float64.
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": special.erf,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.round,
    "not": np.logical_not,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "atan2": np.arctan2,
    "remainder": _remainder,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "where": np.where,
    "to_float": lambda x: np.asarray(x, dtype=np.float64),
}
COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
LOGIC = frozenset({"not", "and", "or"})
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "amax": np.max,
    "amin": np.min,
}


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. ``args`` are positions of earlier nodes in the Program."""

    op: str
    args: tuple[int, ...]
    shape: tuple[int, ...]
    is_bool: bool = False
    attr: Any = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Program:
    """A pure function of flat float64 inputs with one output, as a topologically sorted list.

    Attributes
    ----------
    name: what it computes (``f``, ``jac``, ...), for messages and generated names.
    nodes: the operations; an argument always precedes its user.
    inputs: positions of the input nodes, in calling order; ``t`` and other scalars have shape ().
    output: position of the result.
    """

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    output: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return self.nodes[self.output].shape

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(self.nodes[i].attr for i in self.inputs)

    @property
    def is_zero(self) -> bool:
        """Whether it is known to be zero for all inputs, as derivatives often are."""
        node = self.nodes[self.output]
        if node.op == "gather" and all(self.nodes[a].op == "const" for a in node.args):
            return not evaluate(node, [self.nodes[a].attr for a in node.args]).any()
        return node.op == "const" and not node.attr.any()

    def input_shape(self, name: str) -> tuple[int, ...]:
        return self.nodes[self.inputs[self.input_names.index(name)]].shape

    def __call__(self, *arguments: Any) -> Array:
        """Evaluate with NumPy: slow, obvious, the yardstick of the generated code."""
        if len(arguments) != len(self.inputs):
            raise TypeError(
                f"{self.name} takes {len(self.inputs)} arguments {self.input_names}, "
                f"got {len(arguments)}"
            )
        values: dict[int, Any] = {}
        for position, argument in zip(self.inputs, arguments, strict=True):
            shape = self.nodes[position].shape
            values[position] = np.asarray(argument, dtype=np.float64).reshape(shape)
        with np.errstate(all="ignore"):
            for position, node in enumerate(self.nodes):
                if node.op != "input":
                    values[position] = evaluate(node, [values[a] for a in node.args])
        return np.asarray(values[self.output], dtype=np.float64)

    @cached_property
    def digest(self) -> str:
        """Content hash, equal for equal programs in any process."""
        h = hashlib.sha256()
        for node in self.nodes:
            h.update(repr((node.op, node.args, node.shape, node.is_bool)).encode())
            if isinstance(node.attr, np.ndarray):
                h.update(str(node.attr.dtype).encode() + node.attr.tobytes())
            else:
                h.update(repr(node.attr).encode())
        h.update(repr((self.inputs, self.output)).encode())
        return h.hexdigest()[:24]

    def __repr__(self) -> str:
        signature = ", ".join(
            f"{self.nodes[i].attr}{list(self.nodes[i].shape)}" for i in self.inputs
        )
        return f"Program({self.name}({signature}) -> {list(self.shape)}, {len(self.nodes)} ops)"


def evaluate(node: Node, operands: list[Any]) -> Any:
    """Value of one node, given those of its operands."""
    if node.op == "const":
        return node.attr
    if node.op == "gather":
        return gather(operands, node.attr, node.is_bool)
    if node.op == "matmul":
        return np.matmul(*operands)
    if node.op in REDUCTIONS:
        return REDUCTIONS[node.op](operands[0], axis=node.attr)
    return ELEMENTWISE[node.op](*operands)


def gather(operands: list[Any], index: NDArray[np.intp], is_bool: bool) -> Any:
    flat = np.concatenate([np.ravel(x) for x in operands] + [np.zeros(1)])
    taken = flat[index]  # -1 meets the appended zero
    return taken.astype(bool) if is_bool else taken
