"""Loop nests as text: what the two target languages share."""

from __future__ import annotations

from dataclasses import dataclass

from pysciml.capture.array import Access, Loop
from pysciml.capture.index_maps import Affine


@dataclass(frozen=True)
class Nest:
    """A loop whose neighbouring axes are merged where every access allows it.

    `extent` leads with the free axes; the last `reduced` ones are accumulated over.
    """

    extent: tuple[int, ...]
    reduced: int
    loads: dict[int, Access]
    stores: list[tuple[int, Access]]


def merge_axes(loop: Loop) -> Nest:
    """Fewer, longer loops: axes that all accesses cross in one stride become one."""
    free = len(loop.extent) - loop.reduced
    keys = list(loop.loads)
    loads = [loop.loads[k].affine for k in keys]
    stores = [access.affine for _, access in loop.stores]
    # a store has no strides along the reduced axes
    padded = [Affine(a.offset, a.strides + (0,) * loop.reduced) for a in stores]
    groups = _groups(loop.extent, free, loads + padded)
    extent = tuple(_size(loop.extent, g) for g in groups)
    kept_free = sum(1 for g in groups if g[0] < free)
    merged_loads = {
        k: Access(loop.loads[k].buffer, _merged(loop.loads[k].affine, groups), loop.loads[k].table)
        for k in keys
    }
    merged_stores = [
        (value, Access(access.buffer, _merged(affine, groups[:kept_free]), access.table))
        for (value, access), affine in zip(loop.stores, padded, strict=True)
    ]
    return Nest(extent, len(extent) - kept_free, merged_loads, merged_stores)


def reduced_outside(nest: Nest) -> Nest:
    """The same loops with the last free axis innermost, inside the reduced ones."""
    axes = len(nest.extent)
    free = axes - nest.reduced
    order = [*range(free - 1), *range(free, axes), free - 1]

    def moved(access: Access, strides: tuple[int, ...]) -> Access:
        affine = Affine(access.affine.offset, tuple(strides[k] for k in order))
        return Access(access.buffer, affine, access.table)

    loads = {key: moved(access, access.affine.strides) for key, access in nest.loads.items()}
    stores = [
        (value, moved(access, access.affine.strides + (0,) * nest.reduced))
        for value, access in nest.stores
    ]
    return Nest(tuple(nest.extent[k] for k in order), nest.reduced, loads, stores)


def _groups(extent: tuple[int, ...], free: int, accesses: list[Affine]) -> list[list[int]]:
    groups: list[list[int]] = []
    for axis, size in enumerate(extent):
        if size == 1:
            continue
        if groups and (groups[-1][0] < free) == (axis < free):
            previous = groups[-1][-1]
            if all(a.strides[previous] == a.strides[axis] * size for a in accesses):
                groups[-1].append(axis)
                continue
        groups.append([axis])
    return groups


def _size(extent: tuple[int, ...], group: list[int]) -> int:
    size = 1
    for axis in group:
        size *= extent[axis]
    return size


def _merged(affine: Affine, groups: list[list[int]]) -> Affine:
    return Affine(affine.offset, tuple(affine.strides[g[-1]] for g in groups))


def position(affine: Affine, start: int, first: int = 0) -> str:
    """Text of an affine position for counters ``i0, i1, ...``; `first` is the language's origin."""
    terms = [
        f"i{k}" if stride == 1 else f"{stride} * i{k}"
        for k, stride in enumerate(affine.strides)
        if stride != 0
    ]
    offset = start + affine.offset + first
    if offset or not terms:
        terms.append(str(offset))
    return " + ".join(terms)


def depth_of(access: Access) -> int:
    """Number of enclosing loops after which a load no longer changes."""
    return max((k + 1 for k, s in enumerate(access.affine.strides) if s != 0), default=0)
