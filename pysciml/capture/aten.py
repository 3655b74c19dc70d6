"""ATen operations as Program operations: one short function for each family."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from pysciml.capture.builder import Builder
from pysciml.capture.program import Program
from pysciml.capture.record import Slot, Tape, data_dependent

_TABLE: dict[str, Callable[..., Any]] = {}


class TracedIndexError(Exception):
    """An index is computed from u, p or t."""


class Ref(int):
    """Position of a value in the Builder, told apart from a plain integer argument."""


def supported(func: Any) -> bool:
    """Whether an ATen overload has a translation here."""
    return func.namespace == "aten" and _name(func) in _TABLE


def _name(func: Any) -> str:
    return func._schema.name.split("::")[1]


def translate(
    tape: Tape, name: str, inputs: Sequence[tuple[str, tuple[int, ...]]], shape: tuple[int, ...]
) -> Program:
    """The Program of a tape whose inputs have these names and shapes; `shape` is the output's."""
    b = Builder()
    values: dict[int, Any] = {}
    for position, (input_name, its_shape) in zip(tape.inputs, inputs, strict=True):
        flat = () if its_shape == () and input_name == "t" else (math.prod(its_shape),)
        values[position] = Ref(b.reshape(b.input(input_name, flat), its_shape))

    def fill(x: Any) -> Any:
        return values[x.index] if isinstance(x, Slot) else x

    for call in tape.calls:
        args, kwargs = pytree.tree_map(
            fill, (call.args, call.kwargs), is_leaf=lambda x: isinstance(x, Slot)
        )
        try:
            result = _TABLE[_name(call.function)](b, *args, **kwargs)
        except TracedIndexError:
            raise data_dependent(call.line, "an index") from None
        results = result if call.is_sequence else (result,)
        for slot, value in zip(call.outputs, results, strict=True):
            if slot is not None:
                values[slot] = Ref(value)
    return b.build(name, b.reshape(_value(b, fill(tape.output)), shape))


def _value(b: Builder, x: Any) -> int:
    """A Builder value from a recorded value, a constant tensor or a Python number."""
    if isinstance(x, Ref):
        return int(x)
    if isinstance(x, torch.Tensor):
        x = x.detach().resolve_conj().resolve_neg()
        return b.const(x.numpy() if x.dtype == torch.bool else x.to(torch.float64).numpy())
    return b.const(x)


def _shape(b: Builder, x: Any) -> tuple[int, ...]:
    return b.shape(x) if isinstance(x, Ref) else tuple(np.shape(x))


def _indices(b: Builder, x: Any) -> Any:
    return b.indices(_value(b, x))


def _aten(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            _TABLE[name] = function
        return function

    return register


# -- element-wise ----------------------------------------------------------------------------------
def _ew(b: Builder, op: str, *args: Any) -> int:
    return b.elementwise(op, *(_value(b, a) for a in args))


def _register_elementwise(aten_name: str, op: str) -> None:
    _TABLE[aten_name] = lambda b, *args, **_: _ew(b, op, *args)


for _op in (
    "neg abs sign sqrt exp expm1 log log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh "
    "atanh erf floor ceil trunc round maximum minimum atan2 remainder mul lt le gt ge eq ne where"
).split():
    _register_elementwise(_op, _op)
for _alias, _op in {
    "sgn": "sign",
    "logical_not": "not",
    "bitwise_not": "not",
    "logical_and": "and",
    "bitwise_and": "and",
    "__and__": "and",
    "logical_or": "or",
    "bitwise_or": "or",
    "__or__": "or",
    "logical_xor": "ne",
    "fmax": "maximum",
    "fmin": "minimum",
}.items():
    _register_elementwise(_alias, _op)


@_aten("pow")
def _pow(b: Builder, x: Any, y: Any) -> int:
    return _ew(b, "pow", x, y)


def _sum_of(op: str) -> Callable[..., int]:
    def translate_sum(b: Builder, x: Any, y: Any, alpha: float = 1) -> int:
        return _ew(b, op, x, y if alpha == 1 else Ref(_ew(b, "mul", y, alpha)))

    return translate_sum


_TABLE["add"] = _sum_of("add")
_TABLE["sub"] = _sum_of("sub")


@_aten("rsub")
def _rsub(b: Builder, x: Any, y: Any, alpha: float = 1) -> int:
    return _ew(b, "sub", y, x if alpha == 1 else Ref(_ew(b, "mul", x, alpha)))


@_aten("div", "true_divide")
def _div(b: Builder, x: Any, y: Any, rounding_mode: str | None = None) -> int:
    quotient = _ew(b, "div", x, y)
    if rounding_mode is None:
        return quotient
    return b.elementwise("floor" if rounding_mode == "floor" else "trunc", quotient)


@_aten("floor_divide")
def _floor_divide(b: Builder, x: Any, y: Any) -> int:
    return _div(b, x, y, "floor")


@_aten("fmod")
def _fmod(b: Builder, x: Any, y: Any) -> int:
    whole = b.elementwise("trunc", _ew(b, "div", x, y))
    return _ew(b, "sub", x, Ref(_ew(b, "mul", y, Ref(whole))))


@_aten("reciprocal")
def _reciprocal(b: Builder, x: Any) -> int:
    return _ew(b, "div", 1.0, x)


@_aten("rsqrt")
def _rsqrt(b: Builder, x: Any) -> int:
    return _ew(b, "div", 1.0, Ref(_ew(b, "sqrt", x)))


@_aten("square")
def _square(b: Builder, x: Any) -> int:
    return _ew(b, "mul", x, x)


@_aten("log2")
def _log2(b: Builder, x: Any) -> int:
    return _ew(b, "div", Ref(_ew(b, "log", x)), math.log(2.0))


@_aten("log10")
def _log10(b: Builder, x: Any) -> int:
    return _ew(b, "div", Ref(_ew(b, "log", x)), math.log(10.0))


@_aten("exp2")
def _exp2(b: Builder, x: Any) -> int:
    return _ew(b, "exp", Ref(_ew(b, "mul", x, math.log(2.0))))


@_aten("hypot")
def _hypot(b: Builder, x: Any, y: Any) -> int:
    return _ew(b, "sqrt", Ref(_ew(b, "add", Ref(_square(b, x)), Ref(_square(b, y)))))


@_aten("isnan")
def _isnan(b: Builder, x: Any) -> int:
    return _ew(b, "ne", x, x)


@_aten("sigmoid")
def _sigmoid(b: Builder, x: Any) -> int:
    e = Ref(_ew(b, "exp", Ref(_ew(b, "neg", x))))
    return _ew(b, "div", 1.0, Ref(_ew(b, "add", 1.0, e)))


@_aten("relu")
def _relu(b: Builder, x: Any) -> int:
    return _ew(b, "maximum", x, 0.0)


@_aten("tanh_backward")
def _tanh_backward(b: Builder, grad: Any, y: Any) -> int:
    return _ew(b, "mul", grad, Ref(_ew(b, "sub", 1.0, Ref(_square(b, y)))))


@_aten("sigmoid_backward")
def _sigmoid_backward(b: Builder, grad: Any, y: Any) -> int:
    return _ew(b, "mul", grad, Ref(_ew(b, "mul", y, Ref(_ew(b, "sub", 1.0, y)))))


@_aten("threshold_backward")
def _threshold_backward(b: Builder, grad: Any, x: Any, threshold: float) -> int:
    return _ew(b, "where", Ref(_ew(b, "gt", x, threshold)), grad, 0.0)


def _clamp(b: Builder, x: Any, min: Any = None, max: Any = None) -> int:
    if min is not None:
        x = Ref(_ew(b, "maximum", x, min))
    if max is not None:
        x = Ref(_ew(b, "minimum", x, max))
    return _value(b, x)


_TABLE["clamp"] = _clamp
_TABLE["clamp_min"] = lambda b, x, min: _clamp(b, x, min=min)
_TABLE["clamp_max"] = lambda b, x, max: _clamp(b, x, max=max)


@_aten("masked_fill")
def _masked_fill(b: Builder, x: Any, mask: Any, value: Any) -> int:
    return _ew(b, "where", mask, value, x)


@_aten("addcmul")
def _addcmul(b: Builder, x: Any, y: Any, z: Any, value: float = 1) -> int:
    product = Ref(_ew(b, "mul", y, z))
    return _sum_of("add")(b, x, product, value)


@_aten("addcdiv")
def _addcdiv(b: Builder, x: Any, y: Any, z: Any, value: float = 1) -> int:
    return _sum_of("add")(b, x, Ref(_ew(b, "div", y, z)), value)


@_aten("lerp")
def _lerp(b: Builder, x: Any, y: Any, weight: Any) -> int:
    return _ew(b, "add", x, Ref(_ew(b, "mul", weight, Ref(_ew(b, "sub", y, x)))))


# -- copies and fillers ----------------------------------------------------------------------------
@_aten("clone", "detach", "alias", "contiguous", "lift_fresh", "lift_fresh_copy", "view_copy_")
def _same(b: Builder, x: Any, *_: Any, **__: Any) -> int:
    return _value(b, x)


@_aten("_to_copy", "to")
def _to_copy(b: Builder, x: Any, *_: Any, dtype: Any = None, **__: Any) -> int:
    value = _value(b, x)
    if dtype == torch.bool:
        return b.to_bool(value)
    if dtype is not None and not dtype.is_floating_point and not b.nodes[value].is_bool:
        return b.elementwise("trunc", value)
    return b.to_float(value)


@_aten("zeros_like", "empty_like")
def _zeros_like(b: Builder, x: Any, **_: Any) -> int:
    return b.full(_shape(b, x), 0.0)


@_aten("ones_like")
def _ones_like(b: Builder, x: Any, **_: Any) -> int:
    return b.full(_shape(b, x), 1.0)


@_aten("full_like", "fill")
def _full_like(b: Builder, x: Any, value: Any, **_: Any) -> int:
    return b.expand(_value(b, value), _shape(b, x))


@_aten("new_zeros", "new_empty", "new_empty_strided")
def _new_zeros(b: Builder, x: Any, size: Sequence[int], *_: Any, **__: Any) -> int:
    return b.full(tuple(size), 0.0)


@_aten("new_ones")
def _new_ones(b: Builder, x: Any, size: Sequence[int], **_: Any) -> int:
    return b.full(tuple(size), 1.0)


@_aten("new_full")
def _new_full(b: Builder, x: Any, size: Sequence[int], value: Any, **_: Any) -> int:
    return b.expand(_value(b, value), tuple(size))


# -- structure: NumPy finds the elements, the Builder gathers them ---------------------------------
def _pick(b: Builder, x: Any, index: Any) -> int:
    return b.gather([_value(b, x)], index)


@_aten("view", "_unsafe_view", "reshape", "_reshape_alias")
def _view(b: Builder, x: Any, size: Sequence[int], *_: Any) -> int:
    return _pick(b, x, _indices(b, x).reshape(tuple(size)))


@_aten("unsqueeze")
def _unsqueeze(b: Builder, x: Any, dim: int) -> int:
    return _pick(b, x, np.expand_dims(_indices(b, x), dim))


@_aten("squeeze", "squeeze_")
def _squeeze(b: Builder, x: Any, dim: Any = None) -> int:
    index = _indices(b, x)
    if index.ndim == 0:
        return _value(b, x)
    axes = range(index.ndim) if dim is None else ([dim] if isinstance(dim, int) else dim)
    return _pick(b, x, np.squeeze(index, tuple(a for a in axes if index.shape[a] == 1)))


@_aten("permute")
def _permute(b: Builder, x: Any, dims: Sequence[int]) -> int:
    return _pick(b, x, np.transpose(_indices(b, x), dims))


@_aten("t", "numpy_T")
def _t(b: Builder, x: Any) -> int:
    return _pick(b, x, _indices(b, x).T)


@_aten("transpose")
def _transpose(b: Builder, x: Any, dim0: int, dim1: int) -> int:
    index = _indices(b, x)
    return _value(b, x) if index.ndim == 0 else _pick(b, x, np.swapaxes(index, dim0, dim1))


@_aten("expand")
def _expand(b: Builder, x: Any, size: Sequence[int], implicit: bool = False) -> int:
    have = _shape(b, x)
    lead = len(size) - len(have)
    shape = tuple(have[i - lead] if s == -1 else s for i, s in enumerate(size))
    return b.expand(_value(b, x), shape)


@_aten("repeat")
def _repeat(b: Builder, x: Any, repeats: Sequence[int]) -> int:
    return _pick(b, x, np.tile(_indices(b, x), tuple(repeats)))


@_aten("select")
def _select(b: Builder, x: Any, dim: int, index: int) -> int:
    return _pick(b, x, np.take(_indices(b, x), index, axis=dim))


def _slice_index(
    index: Any, dim: int, start: int | None, end: int | None, step: int
) -> tuple[slice, ...]:
    return (slice(None),) * (dim % index.ndim) + (slice(start, end, step),)


@_aten("slice")
def _slice(
    b: Builder, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> int:
    index = _indices(b, x)
    return _pick(b, x, index[_slice_index(index, dim, start, end, step)])


@_aten("unbind")
def _unbind(b: Builder, x: Any, dim: int = 0) -> list[int]:
    index = np.moveaxis(_indices(b, x), dim, 0)
    return [_pick(b, x, part) for part in index]


@_aten("split")
def _split(b: Builder, x: Any, size: int, dim: int = 0) -> list[int]:
    index = _indices(b, x)
    cuts = range(size, index.shape[dim], size)
    return [_pick(b, x, part) for part in np.split(index, list(cuts), axis=dim)]


@_aten("split_with_sizes")
def _split_with_sizes(b: Builder, x: Any, sizes: Sequence[int], dim: int = 0) -> list[int]:
    cuts = np.cumsum(sizes)[:-1].tolist()
    return [_pick(b, x, part) for part in np.split(_indices(b, x), cuts, axis=dim)]


@_aten("cat", "concat")
def _cat(b: Builder, tensors: Sequence[Any], dim: int = 0) -> int:
    parts = [_value(b, x) for x in tensors]
    parts = [x for x in parts if b.shape(x) != (0,)]  # torch ignores legacy empty operands
    return b.concatenate(parts, dim)


@_aten("stack")
def _stack(b: Builder, tensors: Sequence[Any], dim: int = 0) -> int:
    return b.stack([_value(b, x) for x in tensors], dim)


@_aten("flip")
def _flip(b: Builder, x: Any, dims: Sequence[int]) -> int:
    return _pick(b, x, np.flip(_indices(b, x), tuple(dims)))


@_aten("roll")
def _roll(b: Builder, x: Any, shifts: Sequence[int], dims: Sequence[int] = ()) -> int:
    index = _indices(b, x)
    if not dims:
        return _pick(b, x, np.roll(index, int(np.atleast_1d(shifts)[0])))
    return _pick(b, x, np.roll(index, tuple(shifts), tuple(dims)))


@_aten("diagonal")
def _diagonal(b: Builder, x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> int:
    return _pick(b, x, np.diagonal(_indices(b, x), offset, dim1, dim2))


@_aten("unfold")
def _unfold(b: Builder, x: Any, dim: int, size: int, step: int) -> int:
    windows = np.lib.stride_tricks.sliding_window_view(_indices(b, x), size, axis=dim)
    return _pick(b, x, windows[_slice_index(windows, dim % (windows.ndim - 1), None, None, step)])


@_aten("as_strided")
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
        index = _indices(b, x)
        inside = keep(np.ones(index.shape[-2:], dtype=bool), diagonal)
        return _pick(b, x, np.where(inside, index, -1))

    return translate_triangle


_TABLE["tril"] = _triangle(np.tril)
_TABLE["triu"] = _triangle(np.triu)


@_aten("constant_pad_nd")
def _constant_pad_nd(b: Builder, x: Any, pad: Sequence[int], value: float = 0) -> int:
    index = _indices(b, x)
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
    return b.gather([_value(b, x), filler], padded)


def _constant_index(index: Any) -> Any:
    if isinstance(index, Ref):
        raise TracedIndexError
    return index.numpy()


def _positions(b: Builder, shape: tuple[int, ...], indices: Sequence[Any]) -> Any:
    """Flat positions that an advanced index with constant tensors picks from `shape`."""
    index = tuple(slice(None) if i is None else _constant_index(i) for i in indices)
    return np.arange(math.prod(shape)).reshape(shape)[index]


@_aten("index", "_unsafe_index")
def _index(b: Builder, x: Any, indices: Sequence[Any]) -> int:
    return _pick(b, x, _positions(b, _shape(b, x), indices))


@_aten("index_select")
def _index_select(b: Builder, x: Any, dim: int, index: Any) -> int:
    return _pick(b, x, np.take(_indices(b, x), _constant_index(index), axis=dim))


@_aten("gather")
def _gather(b: Builder, x: Any, dim: int, index: Any, sparse_grad: bool = False) -> int:
    return _pick(b, x, np.take_along_axis(_indices(b, x), _constant_index(index), dim))


@_aten("index_put", "_unsafe_index_put", "_index_put_impl")
def _index_put(
    b: Builder, x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False, *_: Any
) -> int:
    into = _value(b, x)
    where = _positions(b, b.shape(into), indices)
    part = b.expand(_value(b, values), where.shape)
    if accumulate:
        return b.elementwise("add", into, b.scatter_add(b.shape(into), part, where))
    return b.scatter(into, part, where)


@_aten("scatter_add")
def _scatter_add(b: Builder, x: Any, dim: int, index: Any, source: Any) -> int:
    into = _value(b, x)
    where = np.take_along_axis(b.indices(into), _constant_index(index), dim)
    part = _value(b, source)
    if b.shape(part) != where.shape:
        part = b.gather([part], b.indices(part)[tuple(slice(n) for n in where.shape)])
    return b.elementwise("add", into, b.scatter_add(b.shape(into), part, where))


@_aten("scatter")
def _scatter(b: Builder, x: Any, dim: int, index: Any, source: Any) -> int:
    where = np.take_along_axis(_indices(b, x), _constant_index(index), dim)
    if _shape(b, source) and _shape(b, source) != where.shape:
        kept = _indices(b, source)[tuple(slice(n) for n in where.shape)]
        return b.scatter(_value(b, x), _pick(b, source, kept), where)
    return _scatter_view(b, x, source, where)


def _scatter_view(b: Builder, x: Any, part: Any, where: Any) -> int:
    return b.scatter(_value(b, x), b.expand(_value(b, part), where.shape), where)


@_aten("select_scatter")
def _select_scatter(b: Builder, x: Any, src: Any, dim: int, index: int) -> int:
    return _scatter_view(b, x, src, np.take(_indices(b, x), index, axis=dim))


@_aten("slice_scatter")
def _slice_scatter(
    b: Builder, x: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> int:
    index = _indices(b, x)
    return _scatter_view(b, x, src, index[_slice_index(index, dim, start, end, step)])


@_aten("diagonal_scatter")
def _diagonal_scatter(
    b: Builder, x: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> int:
    return _scatter_view(b, x, src, np.diagonal(_indices(b, x), offset, dim1, dim2))


@_aten("as_strided_scatter")
def _as_strided_scatter(
    b: Builder, x: Any, src: Any, size: Any, stride: Any, offset: int | None = None
) -> int:
    where = np.lib.stride_tricks.as_strided(
        np.arange(b.size(_value(b, x)))[(offset or 0) :], tuple(size), [8 * s for s in stride]
    )
    return _scatter_view(b, x, src, where)


def _zeros_with(b: Builder, shape: Sequence[int], part: Any, where: Any) -> int:
    return b.scatter(b.full(tuple(shape), 0.0), _value(b, part), where)


def _numbered(shape: Sequence[int]) -> Any:
    return np.arange(math.prod(shape)).reshape(tuple(shape))


@_aten("select_backward")
def _select_backward(b: Builder, grad: Any, sizes: Sequence[int], dim: int, index: int) -> int:
    return _zeros_with(b, sizes, grad, np.take(_numbered(sizes), index, axis=dim))


@_aten("slice_backward")
def _slice_backward(
    b: Builder, grad: Any, sizes: Sequence[int], dim: int, start: int, end: int, step: int
) -> int:
    index = _numbered(sizes)
    return _zeros_with(b, sizes, grad, index[_slice_index(index, dim, start, end, step)])


@_aten("diagonal_backward")
def _diagonal_backward(
    b: Builder, grad: Any, sizes: Sequence[int], offset: int, dim1: int, dim2: int
) -> int:
    return _zeros_with(b, sizes, grad, np.diagonal(_numbered(sizes), offset, dim1, dim2))


@_aten("unfold_backward")
def _unfold_backward(
    b: Builder, grad: Any, sizes: Sequence[int], dim: int, size: int, step: int
) -> int:
    windows = np.lib.stride_tricks.sliding_window_view(_numbered(sizes), size, axis=dim)
    where = windows[_slice_index(windows, dim % (windows.ndim - 1), None, None, step)]
    return b.scatter_add(tuple(sizes), _value(b, grad), where)


# -- reductions and products -----------------------------------------------------------------------
def _axes(b: Builder, x: Any, dim: Any) -> tuple[int, ...]:
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return tuple(range(len(_shape(b, x))))
    return (dim,) if isinstance(dim, int) else tuple(dim)


@_aten("sum")
def _sum(b: Builder, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> int:
    return b.reduce("sum", _value(b, x), _axes(b, x, dim), keepdim)


@_aten("mean")
def _mean(b: Builder, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> int:
    axes = _axes(b, x, dim)
    count = math.prod(_shape(b, x)[a] for a in axes)
    return _ew(b, "div", Ref(b.reduce("sum", _value(b, x), axes, keepdim)), float(count))


@_aten("amax")
def _amax(b: Builder, x: Any, dim: Any = (), keepdim: bool = False) -> int:
    return b.reduce("amax", _value(b, x), _axes(b, x, dim), keepdim)


@_aten("amin")
def _amin(b: Builder, x: Any, dim: Any = (), keepdim: bool = False) -> int:
    return b.reduce("amin", _value(b, x), _axes(b, x, dim), keepdim)


@_aten("linalg_vector_norm")
def _vector_norm(
    b: Builder, x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> int:
    axes = _axes(b, x, dim)
    size = Ref(_ew(b, "abs", x))
    if ord in (math.inf, -math.inf):
        return b.reduce("amax" if ord > 0 else "amin", size, axes, keepdim)
    powers = b.reduce("sum", _ew(b, "pow", size, float(ord)), axes, keepdim)
    return powers if ord == 1 else _ew(b, "pow", Ref(powers), 1.0 / ord)


@_aten("mm", "bmm")
def _mm(b: Builder, x: Any, y: Any) -> int:
    return b.matmul(_value(b, x), _value(b, y))


@_aten("mv")
def _mv(b: Builder, x: Any, y: Any) -> int:
    column = b.reshape(_value(b, y), (*_shape(b, y), 1))
    return b.reshape(b.matmul(_value(b, x), column), _shape(b, x)[:1])


@_aten("dot", "vdot")
def _dot(b: Builder, x: Any, y: Any) -> int:
    return b.reduce("sum", _ew(b, "mul", x, y), (0,))


def _plus_product(product: Callable[..., int]) -> Callable[..., int]:
    def translate_product(
        b: Builder, bias: Any, x: Any, y: Any, beta: float = 1, alpha: float = 1
    ) -> int:
        scaled = Ref(_ew(b, "mul", Ref(product(b, x, y)), alpha))
        return _ew(b, "add", Ref(_ew(b, "mul", bias, beta)), scaled)

    return translate_product


_TABLE["addmm"] = _plus_product(_mm)
_TABLE["baddbmm"] = _plus_product(_mm)
_TABLE["addmv"] = _plus_product(_mv)
