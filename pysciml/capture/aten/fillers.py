"""Copies, and tensors of one value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pysciml.capture.aten.table import (
    aten,
    shape_of,
    value_of,
)
from pysciml.capture.builder import Builder


@aten("clone", "detach", "alias", "contiguous", "lift_fresh", "lift_fresh_copy", "view_copy_")
def _same(b: Builder, x: Any, *_: Any, **__: Any) -> int:
    return value_of(b, x)


@aten("_to_copy", "to")
def _to_copy(b: Builder, x: Any, *_: Any, dtype: Any = None, **__: Any) -> int:
    value = value_of(b, x)
    if dtype == torch.bool:
        return b.to_bool(value)
    if dtype is not None and not dtype.is_floating_point and not b.nodes[value].is_bool:
        return b.elementwise("trunc", value)
    return b.to_float(value)


@aten("zeros_like", "empty_like")
def _zeros_like(b: Builder, x: Any, **_: Any) -> int:
    return b.full(shape_of(b, x), 0.0)


@aten("ones_like")
def _ones_like(b: Builder, x: Any, **_: Any) -> int:
    return b.full(shape_of(b, x), 1.0)


@aten("full_like", "fill")
def _full_like(b: Builder, x: Any, value: Any, **_: Any) -> int:
    return b.expand(value_of(b, value), shape_of(b, x))


@aten("new_zeros", "new_empty", "new_empty_strided")
def _new_zeros(b: Builder, x: Any, size: Sequence[int], *_: Any, **__: Any) -> int:
    return b.full(tuple(size), 0.0)


@aten("new_ones")
def _new_ones(b: Builder, x: Any, size: Sequence[int], **_: Any) -> int:
    return b.full(tuple(size), 1.0)


@aten("new_full")
def _new_full(b: Builder, x: Any, size: Sequence[int], value: Any, **_: Any) -> int:
    return b.expand(value_of(b, value), tuple(size))
