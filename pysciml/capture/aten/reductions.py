"""Sums, extremes, norms and matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pysciml.capture.aten.table import (
    TABLE,
    Ref,
    aten,
    ew,
    shape_of,
    value_of,
)
from pysciml.capture.builder import Builder


def _axes(b: Builder, x: Any, dim: Any) -> tuple[int, ...]:
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return tuple(range(len(shape_of(b, x))))
    return (dim,) if isinstance(dim, int) else tuple(dim)


@aten("sum")
def _sum(b: Builder, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> int:
    return b.reduce("sum", value_of(b, x), _axes(b, x, dim), keepdim)


@aten("mean")
def _mean(b: Builder, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> int:
    axes = _axes(b, x, dim)
    count = math.prod(shape_of(b, x)[a] for a in axes)
    return ew(b, "div", Ref(b.reduce("sum", value_of(b, x), axes, keepdim)), float(count))


@aten("amax")
def _amax(b: Builder, x: Any, dim: Any = (), keepdim: bool = False) -> int:
    return b.reduce("amax", value_of(b, x), _axes(b, x, dim), keepdim)


@aten("amin")
def _amin(b: Builder, x: Any, dim: Any = (), keepdim: bool = False) -> int:
    return b.reduce("amin", value_of(b, x), _axes(b, x, dim), keepdim)


@aten("linalg_vector_norm")
def _vector_norm(
    b: Builder, x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> int:
    axes = _axes(b, x, dim)
    size = Ref(ew(b, "abs", x))
    if ord in (math.inf, -math.inf):
        return b.reduce("amax" if ord > 0 else "amin", size, axes, keepdim)
    powers = b.reduce("sum", ew(b, "pow", size, float(ord)), axes, keepdim)
    return powers if ord == 1 else ew(b, "pow", Ref(powers), 1.0 / ord)


@aten("mm", "bmm")
def _mm(b: Builder, x: Any, y: Any) -> int:
    return b.matmul(value_of(b, x), value_of(b, y))


@aten("mv")
def _mv(b: Builder, x: Any, y: Any) -> int:
    column = b.reshape(value_of(b, y), (*shape_of(b, y), 1))
    return b.reshape(b.matmul(value_of(b, x), column), shape_of(b, x)[:1])


@aten("dot", "vdot")
def _dot(b: Builder, x: Any, y: Any) -> int:
    return b.reduce("sum", ew(b, "mul", x, y), (0,))


def _plus_product(product: Callable[..., int]) -> Callable[..., int]:
    def translate_product(
        b: Builder, bias: Any, x: Any, y: Any, beta: float = 1, alpha: float = 1
    ) -> int:
        scaled = Ref(ew(b, "mul", Ref(product(b, x, y)), alpha))
        return ew(b, "add", Ref(ew(b, "mul", bias, beta)), scaled)

    return translate_product


TABLE["addmm"] = _plus_product(_mm)
TABLE["baddbmm"] = _plus_product(_mm)
TABLE["addmv"] = _plus_product(_mv)
