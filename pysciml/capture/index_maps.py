"""Index arrays as affine functions of loop counters, piece by piece."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]

#: A loop nest is written out once per box: more pieces than this are looked up in a table.
MAX_BOXES = 16


@dataclass(frozen=True)
class Affine:
    """``offset + sum(strides[k] * i[k])`` for loop counters i that start at 0."""

    offset: int
    strides: tuple[int, ...]

    @staticmethod
    def row_major(extent: tuple[int, ...], start: tuple[int, ...]) -> Affine:
        """Position in a row-major array of `extent`, counted from `start`."""
        strides = [math.prod(extent[k + 1 :]) for k in range(len(extent))]
        offset = sum(s * b for s, b in zip(strides, start, strict=True))
        return Affine(offset, tuple(strides))


@dataclass(frozen=True)
class Box:
    """The points ``start <= i < stop`` of a loop nest."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))


@dataclass(frozen=True, eq=False)
class IndexMap:
    """Where each point finds its value: element `local` of ``sources[owner]``; owner -1 is zero."""

    sources: tuple[int, ...]
    owner: Index
    local: Index

    def transpose(self, axes: tuple[int, ...]) -> IndexMap:
        return IndexMap(self.sources, self.owner.transpose(axes), self.local.transpose(axes))

    def affine_in(self, box: Box) -> tuple[int, Affine]:
        """Owner and affine position of the map inside a box in which it is regular."""
        owner, local = self.owner[box.slices], self.local[box.slices]
        origin = (0,) * local.ndim
        strides = []
        for axis, size in enumerate(local.shape):
            next_point = tuple(1 if k == axis else 0 for k in range(local.ndim))
            strides.append(int(local[next_point] - local[origin]) if size > 1 else 0)
        return int(owner[origin]), Affine(int(local[origin]), tuple(strides))

    def is_regular_in(self, box: Box) -> bool:
        owner, local = self.owner[box.slices], self.local[box.slices]
        if not (owner == owner.flat[0]).all():
            return False
        _, affine = self.affine_in(box)
        expected = np.full(local.shape, affine.offset)
        for axis, (stride, size) in enumerate(zip(affine.strides, local.shape, strict=True)):
            expected += (np.arange(size) * stride).reshape(
                [-1 if k == axis else 1 for k in range(local.ndim)]
            )
        return bool((local == expected).all())

    def breaks(self, axis: int) -> list[int]:
        """Places along an axis where a new piece starts."""
        size = self.local.shape[axis]
        local = np.moveaxis(self.local, axis, 0).reshape(size, -1)
        owner = np.moveaxis(self.owner, axis, 0).reshape(size, -1)
        steps = np.diff(local, axis=0)
        same_owner = (owner[1:] == owner[:-1]).all(axis=1)
        found: list[int] = []
        i = 0
        while i < size - 1:
            if not same_owner[i]:
                found.append(i + 1)
                i += 1
                continue
            differs = (steps[i:] != steps[i]).any(axis=1) | ~same_owner[i:]
            run = int(np.argmax(differs)) if differs.any() else size - 1 - i
            if i + run >= size - 1:
                break
            found.append(i + run + 1)
            i += run + 1
            if len(found) > MAX_BOXES:
                break
        return found


def split_into_boxes(extent: tuple[int, ...], maps: list[IndexMap]) -> tuple[list[Box], list[bool]]:
    """Boxes in which the maps are affine, and for each map whether it is left out as irregular.

    Maps with few pieces are taken first; one that would make too many boxes is left out.
    """
    if math.prod(extent) == 0:
        return [], [False] * len(maps)
    cuts: list[set[int]] = [set() for _ in extent]
    irregular = [False] * len(maps)
    per_map = [[set(m.breaks(axis)) for axis in range(len(extent))] for m in maps]

    def pieces(sets: list[set[int]]) -> int:
        return math.prod(len(s) + 1 for s in sets)

    for number in sorted(range(len(maps)), key=lambda k: pieces(per_map[k])):
        merged = [a | b for a, b in zip(cuts, per_map[number], strict=True)]
        own = _grid(extent, per_map[number])
        regular = pieces(merged) <= MAX_BOXES and all(maps[number].is_regular_in(b) for b in own)
        if regular:
            cuts = merged
        else:
            irregular[number] = True
    return _grid(extent, cuts), irregular


def _grid(extent: tuple[int, ...], cuts: list[set[int]]) -> list[Box]:
    intervals = [
        list(itertools.pairwise([0, *sorted(c), n])) for n, c in zip(extent, cuts, strict=True)
    ]
    return [
        Box(tuple(a for a, _ in corner), tuple(b for _, b in corner))
        for corner in itertools.product(*intervals)
    ]
