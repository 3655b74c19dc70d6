"""ATen operations written as simpler ones, before they are recorded, so that they differentiate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

_aten = torch.ops.aten


def _convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Any:
    """A convolution is a matrix product with the windows of the padded input."""
    if transposed:
        return NotImplemented
    batched = x.dim() == weight.dim()
    x = x if batched else x.unsqueeze(0)
    x = F.pad(x, [side for width in reversed(padding) for side in (width, width)])
    batch, channels, *extent = x.shape
    out_channels, _, *kernel = weight.shape
    windows, out_extent = _window_indices(extent, kernel, stride, dilation)
    columns = x.reshape(batch, groups, channels // groups, -1)[..., windows]
    columns = columns.reshape(batch, groups, -1, windows.shape[-1])
    rows = weight.reshape(1, groups, out_channels // groups, -1)
    rows = rows.expand(batch, groups, out_channels // groups, rows.shape[-1])
    y = torch.matmul(rows, columns).reshape(batch, out_channels, *out_extent)
    if bias is not None:
        y = y + bias.reshape(-1, *[1] * len(kernel))
    return y if batched else y.squeeze(0)


def _window_indices(
    extent: list[int], kernel: list[int], stride: list[int], dilation: list[int]
) -> tuple[torch.Tensor, list[int]]:
    """Flat positions (taps, windows) that each output point sees."""
    dims = len(extent)
    starts = [
        np.arange((n - d * (k - 1) - 1) // s + 1) * s
        for n, k, s, d in zip(extent, kernel, stride, dilation, strict=True)
    ]
    taps = [np.arange(k) * d for k, d in zip(kernel, dilation, strict=True)]
    flat = np.zeros((1,) * (2 * dims), dtype=np.int64)
    for axis, (start, tap) in enumerate(zip(starts, taps, strict=True)):
        tap_shape = [-1 if i == axis else 1 for i in range(2 * dims)]
        start_shape = [-1 if i == axis + dims else 1 for i in range(2 * dims)]
        flat = flat * extent[axis] + tap.reshape(tap_shape) + start.reshape(start_shape)
    out = [len(s) for s in starts]
    return torch.from_numpy(flat.reshape(int(np.prod(kernel)), int(np.prod(out)))), out


def pad_circular(x: torch.Tensor, pad: list[int]) -> torch.Tensor:
    """PyTorch's own writes in place, below the functionalisation."""
    for k in range(len(pad) // 2):
        dim = x.dim() - 1 - k
        size = x.shape[dim]
        wrapped = torch.arange(-pad[2 * k], size + pad[2 * k + 1]) % size
        x = x.index_select(dim, wrapped)
    return x


def _cumsum(x: torch.Tensor, dim: int, *, dtype: Any = None) -> torch.Tensor:
    lower = torch.ones(x.shape[dim], x.shape[dim], dtype=torch.float64).tril()
    summed = torch.movedim(torch.movedim(x, dim, -1) @ lower.T, -1, dim)
    return summed.contiguous()  # as PyTorch's own: a reshape of it is a view


def _prod(x: torch.Tensor, *, dtype: Any = None) -> torch.Tensor:
    return _prod_along(x.reshape(-1), 0)


def _prod_along(
    x: torch.Tensor, dim: int, keepdim: bool = False, *, dtype: Any = None
) -> torch.Tensor:
    """Halves multiplied until one is left: PyTorch's own derivative looks for zeros in the data."""
    x = torch.movedim(x, dim, 0)
    while len(x) > 1:
        half = len(x) // 2
        x = torch.cat([x[:half] * x[half : 2 * half], x[2 * half :]])
    product = x[0] if len(x) else torch.ones(x.shape[1:], dtype=torch.float64)
    return product.unsqueeze(dim) if keepdim else product


def _copy(into: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """PyTorch has no derivative for the functional copy."""
    return source.expand(into.shape).to(into.dtype).clone()


def _var_mean(
    x: torch.Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    dims = list(range(x.dim())) if dim is None else list(dim)
    mean = x.mean(dims, keepdim=True)
    count = math.prod(x.shape[d] for d in dims) - (1 if correction is None else correction)
    variance = ((x - mean) ** 2).sum(dims, keepdim=keepdim) / count
    return variance, mean if keepdim else x.mean(dims)


def _var(x: torch.Tensor, dim: Any = None, **options: Any) -> torch.Tensor:
    return _var_mean(x, dim, **options)[0]


def _native_layer_norm(
    x: torch.Tensor, shape: list[int], weight: Any, bias: Any, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    dims = list(range(x.dim() - len(shape), x.dim()))
    variance, mean = _var_mean(x, dims, correction=0, keepdim=True)
    scale = torch.rsqrt(variance + eps)
    y = (x - mean) * scale
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y, mean, scale


_MOST_ROWS = 16  # of a linear system: each step of its elimination is written out


def _solve_ex(
    a: torch.Tensor, b: torch.Tensor, *, left: bool = True, check_errors: bool = False
) -> Any:
    """Gaussian elimination. A singular matrix gives infinities instead of an error.

    PyTorch's derivative asks `linalg_lu_solve` with the factors; here these are the matrix itself.
    """
    if a.shape[-1] > _MOST_ROWS:
        return NotImplemented
    info = torch.zeros(a.shape[:-2], dtype=torch.int32)
    pivots = torch.zeros(a.shape[:-1], dtype=torch.int32)
    return _solved(a, b, left), a.clone(), pivots, info


def _lu_solve(
    a: torch.Tensor,
    pivots: torch.Tensor,
    b: torch.Tensor,
    *,
    left: bool = True,
    adjoint: bool = False,
) -> torch.Tensor:
    return _solved(a.mT if adjoint else a, b, left)


def _inv_ex(a: torch.Tensor, *, check_errors: bool = False) -> Any:
    if a.shape[-1] > _MOST_ROWS:
        return NotImplemented
    info = torch.zeros(a.shape[:-2], dtype=torch.int32)
    return _solved(a, torch.eye(a.shape[-1], dtype=a.dtype), True), info


def _solved(a: torch.Tensor, b: torch.Tensor, left: bool) -> torch.Tensor:
    """x of a x = b, or of x a = b; b may be a vector, or a batch of them."""
    if not left:
        return _solved(a.mT, b.mT, True).mT
    is_vector = b.dim() == 1 or b.shape == a.shape[:-1]
    x = _eliminated(a, b.unsqueeze(-1) if is_vector else b)
    return x.squeeze(-1) if is_vector else x


def _eliminated(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Partial pivoting without a branch: of two rows the one with the larger entry comes first."""
    n = a.shape[-1]
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    both = torch.cat([a.expand(*batch, n, n), b.expand(*batch, n, b.shape[-1])], -1)
    rows = list(both.unbind(-2))
    for k in range(n):
        for i in range(k + 1, n):
            larger = rows[i][..., k : k + 1].abs() > rows[k][..., k : k + 1].abs()
            rows[k], rows[i] = (
                torch.where(larger, rows[i], rows[k]),
                torch.where(larger, rows[k], rows[i]),
            )
        for i in range(k + 1, n):
            rows[i] = rows[i] - rows[k] * (rows[i][..., k : k + 1] / rows[k][..., k : k + 1])
    x: list[torch.Tensor] = []
    for k in reversed(range(n)):
        right = rows[k][..., n:]
        for j, known in enumerate(x, start=k + 1):
            right = right - rows[k][..., j : j + 1] * known
        x.insert(0, right / rows[k][..., k : k + 1])
    return torch.stack(x, -2)


_OWN: dict[Any, Callable[..., Any]] = {
    _aten._linalg_solve_ex.default: _solve_ex,
    _aten.linalg_lu_solve.default: _lu_solve,
    _aten.linalg_inv_ex.default: _inv_ex,
    _aten.convolution.default: _convolution,
    _aten.var.correction: _var,
    _aten.var_mean.correction: _var_mean,
    _aten.native_layer_norm.default: _native_layer_norm,
    _aten.copy.default: _copy,
    _aten.cumsum.default: _cumsum,
    _aten.prod.default: _prod,
    _aten.prod.dim_int: _prod_along,
}


def decompose(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run `func` as simpler operations, or return NotImplemented."""
    if func in _OWN:
        return _OWN[func](*args, **kwargs)
    simpler = func.decompose(*args, **kwargs)
    if simpler is not NotImplemented:
        return simpler
    from torch._decomp import core_aten_decompositions, decomposition_table

    for table in (core_aten_decompositions(), decomposition_table):
        if func in table:
            return table[func](*args, **kwargs)
    return NotImplemented
