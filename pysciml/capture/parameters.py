"""How a user's parameters (a number, a vector, a dict, a named tuple) lie in one flat vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Leaf:
    """One array of the parameters: where it starts in the flat vector, and its label."""

    label: str
    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Parameters:
    """Layout of parameters: `flatten` and `unflatten` between the user's form and a flat vector.

    Parameters
    ----------
    example: None, a number, an array-like, or a dict/named tuple/list of these, nested at will.
        A list or tuple of plain numbers is one vector.

    Attributes
    ----------
    leaves: the arrays in order.
    names: one label for each flat entry, such as ``alpha``, ``k[2]`` or ``net.0.weight[3, 1]``.
    """

    def __init__(self, example: Any) -> None:
        self.leaves: list[Leaf] = []
        self._structure = self._describe(example, "")
        self.size = sum(leaf.size for leaf in self.leaves)

    def _describe(self, x: Any, label: str) -> Any:
        """A tree like the example's with Leaf objects where arrays stand."""
        if x is None:
            return None
        if isinstance(x, Mapping):
            return {k: self._describe(v, _join(label, str(k))) for k, v in x.items()}
        if _is_namedtuple(x):
            fields = x._fields
            children = [self._describe(v, _join(label, k)) for k, v in zip(fields, x, strict=True)]
            return type(x)(*children)
        if _is_ragged(x):
            return [self._describe(v, f"{label or 'p'}[{i}]") for i, v in enumerate(x)]
        array = _as_array(x, label)
        start = sum(leaf.size for leaf in self.leaves)
        self.leaves.append(Leaf(label or "p", start, array.shape))
        return self.leaves[-1]

    @cached_property
    def names(self) -> list[str]:
        labels: list[str] = []
        for leaf in self.leaves:
            if leaf.shape == ():
                labels.append(leaf.label)
            else:
                for index in np.ndindex(leaf.shape):
                    labels.append(f"{leaf.label}[{', '.join(map(str, index))}]")
        return labels

    def flatten(self, p: Any) -> Array:
        """The flat float64 vector of `p`, which must have the example's structure and shapes.

        A flat vector of the right length is taken as it is. Raises ValueError otherwise.
        """
        if isinstance(p, np.ndarray) and p.shape == (self.size,) and p.dtype == np.float64:
            flat = p.copy()
        else:
            parts: list[Array] = []
            self._collect(self._structure, p, "p", parts)
            flat = np.concatenate(parts) if parts else np.zeros(0)
        if not np.isfinite(flat).all():
            bad = self.names[int(np.flatnonzero(~np.isfinite(flat))[0])]
            raise ValueError(f"p must be finite, but {bad} is {flat[~np.isfinite(flat)][0]}")
        return flat

    def _collect(self, structure: Any, p: Any, label: str, parts: list[Array]) -> None:
        if structure is None:
            if p is not None:
                raise ValueError(f"{label} must be None, as in the problem, got {p!r}")
        elif isinstance(structure, Leaf):
            array = _as_array(p, label)
            if array.shape != structure.shape:
                raise ValueError(
                    f"{label} must have shape {structure.shape}, got shape {array.shape}"
                )
            parts.append(array.reshape(-1))
        elif isinstance(structure, dict):
            if not isinstance(p, Mapping) or set(p) != set(structure):
                given = sorted(p) if isinstance(p, Mapping) else type(p).__name__
                raise ValueError(f"{label} must have the keys {list(structure)}, got {given}")
            for key, child in structure.items():
                self._collect(child, p[key], f"{label}[{key!r}]", parts)
        else:
            children = list(structure)
            if not isinstance(p, (list, tuple)) or len(p) != len(children):
                raise ValueError(f"{label} must have {len(children)} entries, got {p!r}")
            for i, (child, value) in enumerate(zip(children, p, strict=True)):
                self._collect(child, value, f"{label}[{i}]", parts)

    def unflatten(self, flat: Any, convert: Callable[[Any], Any] = lambda x: x) -> Any:
        """The user's structure with views of `flat` (NumPy or torch) for its arrays.

        `convert` is applied to each array.
        """
        return self._fill(self._structure, flat, convert)

    def _fill(self, structure: Any, flat: Any, convert: Callable[[Any], Any]) -> Any:
        if structure is None:
            return None
        if isinstance(structure, Leaf):
            if structure.shape == ():
                return convert(flat[structure.start])
            part = flat[structure.start : structure.start + structure.size]
            return convert(part if len(structure.shape) == 1 else part.reshape(structure.shape))
        if isinstance(structure, dict):
            return {k: self._fill(v, flat, convert) for k, v in structure.items()}
        children = [self._fill(v, flat, convert) for v in structure]
        return type(structure)(*children) if _is_namedtuple(structure) else children


def _join(label: str, key: str) -> str:
    return f"{label}.{key}" if label else key


def _is_namedtuple(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def _is_ragged(x: Any) -> bool:
    """A list whose entries are themselves structures or arrays, not plain numbers."""
    return isinstance(x, (list, tuple)) and any(
        isinstance(v, (Mapping, list, tuple)) or getattr(v, "ndim", 0) > 0 for v in x
    )


def _as_array(x: Any, label: str) -> Array:
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    elif isinstance(x, (list, tuple)):
        x = [v.item() if hasattr(v, "detach") else v for v in x]
    try:
        array = np.asarray(x)
        if array.dtype.kind not in "biuf":
            raise TypeError
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        kind = getattr(getattr(x, "dtype", None), "name", type(x).__name__)
        raise ValueError(f"{label or 'p'} must hold real numbers, got {kind}: {x!r}") from None
