"""Which elements go where: NumPy finds them, the Builder gathers them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pysciml.capture.aten.table import (
    TABLE,
    Ref,
    TracedIndexError,
    aten,
    indices_of,
    shape_of,
    value_of,
)
from pysciml.capture.builder import Builder


def _pick(b: Builder, x: Any, index: Any) -> int:
    return b.gather([value_of(b, x)], index)


@aten("view", "_unsafe_view", "reshape", "_reshape_alias")
def _view(b: Builder, x: Any, size: Sequence[int], *_: Any) -> int:
    return _pick(b, x, indices_of(b, x).reshape(tuple(size)))


@aten("unsqueeze")
def _unsqueeze(b: Builder, x: Any, dim: int) -> int:
    return _pick(b, x, np.expand_dims(indices_of(b, x), dim))


@aten("squeeze", "squeeze_")
def _squeeze(b: Builder, x: Any, dim: Any = None) -> int:
    index = indices_of(b, x)
    if index.ndim == 0:
        return value_of(b, x)
    axes = range(index.ndim) if dim is None else ([dim] if isinstance(dim, int) else dim)
    return _pick(b, x, np.squeeze(index, tuple(a for a in axes if index.shape[a] == 1)))


@aten("permute")
def _permute(b: Builder, x: Any, dims: Sequence[int]) -> int:
    return _pick(b, x, np.transpose(indices_of(b, x), dims))


@aten("t", "numpy_T")
def _t(b: Builder, x: Any) -> int:
    return _pick(b, x, indices_of(b, x).T)


@aten("transpose")
def _transpose(b: Builder, x: Any, dim0: int, dim1: int) -> int:
    index = indices_of(b, x)
    return value_of(b, x) if index.ndim == 0 else _pick(b, x, np.swapaxes(index, dim0, dim1))


@aten("expand")
def _expand(b: Builder, x: Any, size: Sequence[int], implicit: bool = False) -> int:
    have = shape_of(b, x)
    lead = len(size) - len(have)
    shape = tuple(have[i - lead] if s == -1 else s for i, s in enumerate(size))
    return b.expand(value_of(b, x), shape)


@aten("repeat")
def _repeat(b: Builder, x: Any, repeats: Sequence[int]) -> int:
    return _pick(b, x, np.tile(indices_of(b, x), tuple(repeats)))


@aten("select")
def _select(b: Builder, x: Any, dim: int, index: int) -> int:
    return _pick(b, x, np.take(indices_of(b, x), index, axis=dim))


def _slice_index(
    index: Any, dim: int, start: int | None, end: int | None, step: int
) -> tuple[slice, ...]:
    return (slice(None),) * (dim % index.ndim) + (slice(start, end, step),)


@aten("slice")
def _slice(
    b: Builder, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> int:
    index = indices_of(b, x)
    return _pick(b, x, index[_slice_index(index, dim, start, end, step)])


@aten("unbind")
def _unbind(b: Builder, x: Any, dim: int = 0) -> list[int]:
    index = np.moveaxis(indices_of(b, x), dim, 0)
    return [_pick(b, x, part) for part in index]


@aten("split")
def _split(b: Builder, x: Any, size: int, dim: int = 0) -> list[int]:
    index = indices_of(b, x)
    cuts = range(size, index.shape[dim], size)
    return [_pick(b, x, part) for part in np.split(index, list(cuts), axis=dim)]


@aten("split_with_sizes")
def _split_with_sizes(b: Builder, x: Any, sizes: Sequence[int], dim: int = 0) -> list[int]:
    cuts = np.cumsum(sizes)[:-1].tolist()
    return [_pick(b, x, part) for part in np.split(indices_of(b, x), cuts, axis=dim)]


@aten("cat", "concat")
def _cat(b: Builder, tensors: Sequence[Any], dim: int = 0) -> int:
    parts = [value_of(b, x) for x in tensors]
    parts = [x for x in parts if b.shape(x) != (0,)]  # torch ignores legacy empty operands
    return b.concatenate(parts, dim)


@aten("stack")
def _stack(b: Builder, tensors: Sequence[Any], dim: int = 0) -> int:
    return b.stack([value_of(b, x) for x in tensors], dim)


@aten("flip")
def _flip(b: Builder, x: Any, dims: Sequence[int]) -> int:
    return _pick(b, x, np.flip(indices_of(b, x), tuple(dims)))


@aten("roll")
def _roll(b: Builder, x: Any, shifts: Sequence[int], dims: Sequence[int] = ()) -> int:
    index = indices_of(b, x)
    if not dims:
        return _pick(b, x, np.roll(index, int(np.atleast_1d(shifts)[0])))
    return _pick(b, x, np.roll(index, tuple(shifts), tuple(dims)))


@aten("diagonal")
def _diagonal(b: Builder, x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> int:
    return _pick(b, x, np.diagonal(indices_of(b, x), offset, dim1, dim2))


@aten("unfold")
def _unfold(b: Builder, x: Any, dim: int, size: int, step: int) -> int:
    windows = np.lib.stride_tricks.sliding_window_view(indices_of(b, x), size, axis=dim)
    return _pick(b, x, windows[_slice_index(windows, dim % (windows.ndim - 1), None, None, step)])


@aten("as_strided")
def _as_strided(
    b: Builder, x: Any, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> int:
    flat = sum(
        (np.arange(n) * s).reshape([-1 if i == k else 1 for i in range(len(size))])
        for k, (n, s) in enumerate(zip(size, stride, strict=True))
    )
    return _pick(b, x, np.broadcast_to(np.asarray(flat) + (offset or 0), tuple(size)))


def _triangle(keep: Callable[..., Any]) -> Callable[..., int]:
    def translate_triangle(b: Builder, x: Any, diagonal: int = 0) -> int:
        index = indices_of(b, x)
        inside = keep(np.ones(index.shape[-2:], dtype=bool), diagonal)
        return _pick(b, x, np.where(inside, index, -1))

    return translate_triangle


TABLE["tril"] = _triangle(np.tril)
TABLE["triu"] = _triangle(np.triu)


@aten("constant_pad_nd")
def _constant_pad_nd(b: Builder, x: Any, pad: Sequence[int], value: float = 0) -> int:
    index = indices_of(b, x)
    widths = [(0, 0)] * (index.ndim - len(pad) // 2)
    widths += [(pad[2 * k], pad[2 * k + 1]) for k in reversed(range(len(pad) // 2))]
    cut = tuple(
        slice(max(-a, 0), n - max(-c, 0)) for (a, c), n in zip(widths, index.shape, strict=True)
    )
    grown = [(max(a, 0), max(c, 0)) for a, c in widths]
    if value == 0:
        return _pick(b, x, np.pad(index[cut], grown, constant_values=-1))
    filler = b.const(float(value))
    padded = np.pad(index[cut], grown, constant_values=index.size)
    return b.gather([value_of(b, x), filler], padded)


def _constant_index(index: Any) -> Any:
    if isinstance(index, Ref):
        raise TracedIndexError
    return index.numpy()


def _positions(b: Builder, shape: tuple[int, ...], indices: Sequence[Any]) -> Any:
    """Flat positions that an advanced index with constant tensors picks from `shape`."""
    index = tuple(slice(None) if i is None else _constant_index(i) for i in indices)
    return np.arange(math.prod(shape)).reshape(shape)[index]


@aten("index", "_unsafe_index")
def _index(b: Builder, x: Any, indices: Sequence[Any]) -> int:
    return _pick(b, x, _positions(b, shape_of(b, x), indices))


@aten("index_select")
def _index_select(b: Builder, x: Any, dim: int, index: Any) -> int:
    return _pick(b, x, np.take(indices_of(b, x), _constant_index(index), axis=dim))


@aten("gather")
def _gather(b: Builder, x: Any, dim: int, index: Any, sparse_grad: bool = False) -> int:
    return _pick(b, x, np.take_along_axis(indices_of(b, x), _constant_index(index), dim))


@aten("index_put", "_unsafe_index_put", "_index_put_impl")
def _index_put(
    b: Builder, x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False, *_: Any
) -> int:
    into = value_of(b, x)
    where = _positions(b, b.shape(into), indices)
    part = b.expand(value_of(b, values), where.shape)
    if accumulate:
        return b.elementwise("add", into, b.scatter_add(b.shape(into), part, where))
    return b.scatter(into, part, where)


@aten("scatter_add")
def _scatter_add(b: Builder, x: Any, dim: int, index: Any, source: Any) -> int:
    into = value_of(b, x)
    where = np.take_along_axis(b.indices(into), _constant_index(index), dim)
    part = value_of(b, source)
    if b.shape(part) != where.shape:
        part = b.gather([part], b.indices(part)[tuple(slice(n) for n in where.shape)])
    return b.elementwise("add", into, b.scatter_add(b.shape(into), part, where))


@aten("scatter")
def _scatter(b: Builder, x: Any, dim: int, index: Any, source: Any) -> int:
    where = np.take_along_axis(indices_of(b, x), _constant_index(index), dim)
    if shape_of(b, source) and shape_of(b, source) != where.shape:
        kept = indices_of(b, source)[tuple(slice(n) for n in where.shape)]
        return b.scatter(value_of(b, x), _pick(b, source, kept), where)
    return _scatter_view(b, x, source, where)


def _scatter_view(b: Builder, x: Any, part: Any, where: Any) -> int:
    return b.scatter(value_of(b, x), b.expand(value_of(b, part), where.shape), where)


@aten("select_scatter")
def _select_scatter(b: Builder, x: Any, src: Any, dim: int, index: int) -> int:
    return _scatter_view(b, x, src, np.take(indices_of(b, x), index, axis=dim))


@aten("slice_scatter")
def _slice_scatter(
    b: Builder, x: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> int:
    index = indices_of(b, x)
    return _scatter_view(b, x, src, index[_slice_index(index, dim, start, end, step)])


@aten("diagonal_scatter")
def _diagonal_scatter(
    b: Builder, x: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> int:
    return _scatter_view(b, x, src, np.diagonal(indices_of(b, x), offset, dim1, dim2))


@aten("as_strided_scatter")
def _as_strided_scatter(
    b: Builder, x: Any, src: Any, size: Any, stride: Any, offset: int | None = None
) -> int:
    where = np.lib.stride_tricks.as_strided(
        np.arange(b.size(value_of(b, x)))[(offset or 0) :], tuple(size), [8 * s for s in stride]
    )
    return _scatter_view(b, x, src, where)


def _zeros_with(b: Builder, shape: Sequence[int], part: Any, where: Any) -> int:
    return b.scatter(b.full(tuple(shape), 0.0), value_of(b, part), where)


def _numbered(shape: Sequence[int]) -> Any:
    return np.arange(math.prod(shape)).reshape(tuple(shape))


@aten("select_backward")
def _select_backward(b: Builder, grad: Any, sizes: Sequence[int], dim: int, index: int) -> int:
    return _zeros_with(b, sizes, grad, np.take(_numbered(sizes), index, axis=dim))


@aten("slice_backward")
def _slice_backward(
    b: Builder, grad: Any, sizes: Sequence[int], dim: int, start: int, end: int, step: int
) -> int:
    index = _numbered(sizes)
    return _zeros_with(b, sizes, grad, index[_slice_index(index, dim, start, end, step)])


@aten("diagonal_backward")
def _diagonal_backward(
    b: Builder, grad: Any, sizes: Sequence[int], offset: int, dim1: int, dim2: int
) -> int:
    return _zeros_with(b, sizes, grad, np.diagonal(_numbered(sizes), offset, dim1, dim2))


@aten("unfold_backward")
def _unfold_backward(
    b: Builder, grad: Any, sizes: Sequence[int], dim: int, size: int, step: int
) -> int:
    windows = np.lib.stride_tricks.sliding_window_view(_numbered(sizes), size, axis=dim)
    where = windows[_slice_index(windows, dim % (windows.ndim - 1), None, None, step)]
    return b.scatter_add(tuple(sizes), value_of(b, grad), where)
