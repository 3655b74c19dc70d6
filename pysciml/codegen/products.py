"""Matrix products of moderate size, for generated Numba code.

BLAS earns its overhead (and its threads) only on large matrices; these loops, with their sizes
known to the compiler, are faster below. Matrices are runs of a flat array, from element `*_at` on.
"""

from __future__ import annotations

from typing import Any, cast

from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

_OPTIONS: dict[str, Any] = {
    "cache": True,
    "_nrt": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
    "forceinline": True,
}
_LANES = 8  # numbers that a dot product sums side by side
_ROWS_TOGETHER = 16384  # numbers of the result that stay in a near cache


def _dot(typingctx, a, a_at, b, b_at, k):  # type: ignore[no-untyped-def]
    """Sum of a[a_at + l] * b[b_at + l], l < k."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        double = ir.DoubleType()
        vector = ir.VectorType(double, _LANES)
        left, right = (
            builder.gep(
                context.make_array(signature.args[i])(context, builder, args[i]).data,
                [args[i + 1]],
            )
            for i in (0, 2)
        )
        count = args[4]
        whole = builder.and_(count, ir.Constant(count.type, -_LANES))
        contract = ("contract",)

        def accumulate(kind, into, first, last, step):  # type: ignore[no-untyped-def]
            bounds = (first, last, ir.Constant(count.type, step))
            with cgutils.for_range_slice(builder, *bounds, intp=count.type) as (at, _):
                x, y = (
                    builder.load(
                        builder.bitcast(builder.gep(row, [at]), kind.as_pointer()), align=8
                    )
                    for row in (left, right)
                )
                product = builder.fmul(x, y, flags=contract)
                builder.store(builder.fadd(builder.load(into), product, flags=contract), into)

        sums = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * _LANES))
        accumulate(vector, sums, ir.Constant(count.type, 0), whole, _LANES)
        add_up = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(double, [double, vector]),
            f"llvm.vector.reduce.fadd.v{_LANES}f64",
        )
        zero = ir.Constant(double, 0.0)
        together = builder.call(add_up, [zero, builder.load(sums)], fastmath=("reassoc",))
        result = cgutils.alloca_once_value(builder, together)
        accumulate(double, result, whole, count, 1)
        return builder.load(result)

    return types.float64(a, types.intp, b, types.intp, types.intp), codegen


dot = cast(Any, intrinsic(_dot))


@njit(**_OPTIONS)
def by_rows(c, c_at, a, a_at, b, b_at, m, k, n):  # type: ignore[no-untyped-def]
    """c = a b^T for row-major a (m, k), b (n, k) and c (m, n)."""
    for i in range(m):
        for j in range(n):
            c[c_at + i * n + j] = dot(a, a_at + i * k, b, b_at + j * k, k)


@njit(**_OPTIONS)
def general(c, c_at, a, a_at, row, column, b, b_at, m, k, n):  # type: ignore[no-untyped-def]
    """c = a b for row-major b (k, n) and c (m, n); a (m, k) has its entries `row` and `column`
    apart. Four terms at a time are added to the whole of c, or to what of it stays in the cache.
    """
    for x in range(m * n):
        c[c_at + x] = 0.0
    together = max(1, _ROWS_TOGETHER // n)
    whole = k - k % 4
    for first in range(0, m, together):
        last = min(m, first + together)
        for l in range(0, whole, 4):
            b0 = b_at + l * n
            b1, b2, b3 = b0 + n, b0 + 2 * n, b0 + 3 * n
            for i in range(first, last):
                at = a_at + i * row + l * column
                x0, x1 = a[at], a[at + column]
                x2, x3 = a[at + 2 * column], a[at + 3 * column]
                ci = c_at + i * n
                for j in range(n):
                    low = c[ci + j] + x0 * b[b0 + j] + x1 * b[b1 + j]
                    c[ci + j] = low + x2 * b[b2 + j] + x3 * b[b3 + j]
        for l in range(whole, k):
            for i in range(first, last):
                x0 = a[a_at + i * row + l * column]
                for j in range(n):
                    c[c_at + i * n + j] += x0 * b[b_at + l * n + j]
