"""Calls from compiled code to C functions known by their address only.

The address is a runtime value, so the caller is compiled once for all models and can be cached on
disk. Offsets count float64 elements from the start of the array: an integrator keeps its vectors
as rows of one flat buffer and hands over a row without making a view of it.
"""

from __future__ import annotations

from typing import Any, cast

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_DOUBLE = ir.DoubleType()
_DOUBLE_P = _DOUBLE.as_pointer()
_INT_P = ir.IntType(32).as_pointer()
_VOID = ir.VoidType()


def _row(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    """Pointer to element `offset` of a contiguous array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [offset])


def _function(builder: Any, address: Any, argument_types: list[Any]) -> Any:
    function_type = ir.FunctionType(_VOID, argument_types)
    return builder.inttoptr(address, function_type.as_pointer())


def _model_call(context, builder, signature, args, slots):  # type: ignore[no-untyped-def]
    """Call of a compiled Program. `slots`: where its arguments are among `args`, each an array and
    the place of its offset, None for no offset; the time is a plain number.
    """
    kinds, values = [], []
    for slot in slots:
        if isinstance(slot, int):
            kinds.append(_DOUBLE)
            values.append(args[slot])
        else:
            at, offset = slot
            start = context.get_constant(types.intp, 0) if offset is None else args[offset]
            kinds.append(_DOUBLE_P)
            values.append(_row(context, builder, signature.args[at], args[at], start))
    builder.call(_function(builder, args[0], kinds), values)
    return context.get_dummy_value()


def _call_rhs(typingctx, address, out, out_at, u, u_at, p, t, work):  # type: ignore[no-untyped-def]
    """`f(out[out_at:], u[u_at:], p, t, work)`: the signature of rhs, tgrad and jac.

    C type: `void(double* out, double* u, double* p, double t, double* work)`.
    """

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        slots = [(1, 2), (3, 4), (5, None), 6, (7, None)]
        return _model_call(context, builder, signature, args, slots)

    i, x = types.intp, types.float64
    return types.void(i, out, i, u, i, p, x, work), codegen


def _call_rhs_at(typingctx, address, out, out_at, u, u_at, p, t, work, work_at):  # type: ignore[no-untyped-def]
    """As `call_rhs`, with a scratch space that begins at work[work_at:]."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        slots = [(1, 2), (3, 4), (5, None), 6, (7, 8)]
        return _model_call(context, builder, signature, args, slots)

    i, x = types.intp, types.float64
    return types.void(i, out, i, u, i, p, x, work, i), codegen


def _call_jvp(typingctx, address, out, out_at, u, u_at, p, t, v, v_at, work):  # type: ignore[no-untyped-def]
    """`f(out[out_at:], u[u_at:], p, t, v[v_at:], work)`: the signature of jvp.

    C type: `void(double* out, double* u, double* p, double t, double* v, double* work)`.
    """

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        slots = [(1, 2), (3, 4), (5, None), 6, (7, 8), (9, None)]
        return _model_call(context, builder, signature, args, slots)

    i, x = types.intp, types.float64
    return types.void(i, out, i, u, i, p, x, v, i, work), codegen


def _call_jvp_at(typingctx, address, out, out_at, u, u_at, p, t, v, v_at, work, work_at):  # type: ignore[no-untyped-def]
    """As `call_jvp`, with a scratch space that begins at work[work_at:]."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        slots = [(1, 2), (3, 4), (5, None), 6, (7, 8), (9, 10)]
        return _model_call(context, builder, signature, args, slots)

    i, x = types.intp, types.float64
    return types.void(i, out, i, u, i, p, x, v, i, work, i), codegen


def _load(typingctx, array, at):  # type: ignore[no-untyped-def]
    """`array[at]`, at >= 0, without the test for a negative index, which keeps loops scalar."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.load(_row(context, builder, signature.args[0], args[0], args[1]))

    return types.float64(array, types.intp), codegen


def _store(typingctx, array, at, value):  # type: ignore[no-untyped-def]
    """`array[at] = value`, at >= 0, likewise."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        builder.store(args[2], _row(context, builder, signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.float64), codegen


def _int_row(context, builder, array_type, array, at):  # type: ignore[no-untyped-def]
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [context.get_constant(types.intp, at)])


def _lapack(context, builder, address, arguments):  # type: ignore[no-untyped-def]
    """Fortran routine: every argument is a pointer."""
    function_type = ir.FunctionType(_VOID, [argument.type for argument in arguments])
    builder.call(builder.inttoptr(address, function_type.as_pointer()), arguments)
    return context.get_dummy_value()


# Places in the int32 array that LAPACK's integers are taken from.
LAPACK_N, LAPACK_KL, LAPACK_KU, LAPACK_LD, LAPACK_NRHS, LAPACK_INFO, LAPACK_TRANS = range(7)


def _call_getrf(typingctx, address, sizes, a, a_at, pivots):  # type: ignore[no-untyped-def]
    """dgetrf of the matrix at a[a_at:]."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kinds = signature.args
        n, ld, info = (
            _int_row(context, builder, kinds[1], args[1], at)
            for at in (LAPACK_N, LAPACK_LD, LAPACK_INFO)
        )
        matrix = _row(context, builder, kinds[2], args[2], args[3])
        ipiv = _int_row(context, builder, kinds[4], args[4], 0)
        return _lapack(context, builder, args[0], [n, n, matrix, ld, ipiv, info])

    return types.void(types.intp, sizes, a, types.intp, pivots), codegen


def _call_getrs(typingctx, address, sizes, a, a_at, pivots, b, b_at):  # type: ignore[no-untyped-def]
    """dgetrs: b[b_at:] becomes the solution."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kinds = signature.args
        n, ld, nrhs, info, trans = (
            _int_row(context, builder, kinds[1], args[1], at)
            for at in (LAPACK_N, LAPACK_LD, LAPACK_NRHS, LAPACK_INFO, LAPACK_TRANS)
        )
        matrix = _row(context, builder, kinds[2], args[2], args[3])
        ipiv = _int_row(context, builder, kinds[4], args[4], 0)
        rhs = _row(context, builder, kinds[5], args[5], args[6])
        return _lapack(context, builder, args[0], [trans, n, nrhs, matrix, ld, ipiv, rhs, n, info])

    return types.void(types.intp, sizes, a, types.intp, pivots, b, types.intp), codegen


def _call_gbtrf(typingctx, address, sizes, a, a_at, pivots):  # type: ignore[no-untyped-def]
    """dgbtrf of the band matrix at a[a_at:]."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kinds = signature.args
        n, kl, ku, ld, info = (
            _int_row(context, builder, kinds[1], args[1], at)
            for at in (LAPACK_N, LAPACK_KL, LAPACK_KU, LAPACK_LD, LAPACK_INFO)
        )
        matrix = _row(context, builder, kinds[2], args[2], args[3])
        ipiv = _int_row(context, builder, kinds[4], args[4], 0)
        return _lapack(context, builder, args[0], [n, n, kl, ku, matrix, ld, ipiv, info])

    return types.void(types.intp, sizes, a, types.intp, pivots), codegen


def _call_gbtrs(typingctx, address, sizes, a, a_at, pivots, b, b_at):  # type: ignore[no-untyped-def]
    """dgbtrs: b[b_at:] becomes the solution."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kinds = signature.args
        n, kl, ku, ld, nrhs, info, trans = (
            _int_row(context, builder, kinds[1], args[1], at)
            for at in (
                LAPACK_N,
                LAPACK_KL,
                LAPACK_KU,
                LAPACK_LD,
                LAPACK_NRHS,
                LAPACK_INFO,
                LAPACK_TRANS,
            )
        )
        matrix = _row(context, builder, kinds[2], args[2], args[3])
        ipiv = _int_row(context, builder, kinds[4], args[4], 0)
        rhs = _row(context, builder, kinds[5], args[5], args[6])
        return _lapack(
            context, builder, args[0], [trans, n, kl, ku, nrhs, matrix, ld, ipiv, rhs, n, info]
        )

    return types.void(types.intp, sizes, a, types.intp, pivots, b, types.intp), codegen


def _pointer(typingctx, address):  # type: ignore[no-untyped-def]
    """The address as a pointer, for `numba.carray`."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen


# mypy takes the typing context for an argument of the caller.
call_rhs = cast(Any, intrinsic(_call_rhs))
call_rhs_at = cast(Any, intrinsic(_call_rhs_at))
call_jvp = cast(Any, intrinsic(_call_jvp))
call_jvp_at = cast(Any, intrinsic(_call_jvp_at))
pointer = cast(Any, intrinsic(_pointer))
load = cast(Any, intrinsic(_load))
store = cast(Any, intrinsic(_store))
call_getrf = cast(Any, intrinsic(_call_getrf))
call_getrs = cast(Any, intrinsic(_call_getrs))
call_gbtrf = cast(Any, intrinsic(_call_gbtrf))
call_gbtrs = cast(Any, intrinsic(_call_gbtrs))
