"""Operations on each element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pysciml.capture.aten.table import (
    TABLE,
    Ref,
    aten,
    ew,
    value_of,
)
from pysciml.capture.builder import Builder


def _register_elementwise(aten_name: str, op: str) -> None:
    TABLE[aten_name] = lambda b, *args, **_: ew(b, op, *args)


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


@aten("pow")
def _pow(b: Builder, x: Any, y: Any) -> int:
    return ew(b, "pow", x, y)


def _sum_of(op: str) -> Callable[..., int]:
    def translate_sum(b: Builder, x: Any, y: Any, alpha: float = 1) -> int:
        return ew(b, op, x, y if alpha == 1 else Ref(ew(b, "mul", y, alpha)))

    return translate_sum


TABLE["add"] = _sum_of("add")
TABLE["sub"] = _sum_of("sub")


@aten("rsub")
def _rsub(b: Builder, x: Any, y: Any, alpha: float = 1) -> int:
    return ew(b, "sub", y, x if alpha == 1 else Ref(ew(b, "mul", x, alpha)))


@aten("div", "true_divide")
def _div(b: Builder, x: Any, y: Any, rounding_mode: str | None = None) -> int:
    quotient = ew(b, "div", x, y)
    if rounding_mode is None:
        return quotient
    return b.elementwise("floor" if rounding_mode == "floor" else "trunc", quotient)


@aten("floor_divide")
def _floor_divide(b: Builder, x: Any, y: Any) -> int:
    return _div(b, x, y, "floor")


@aten("fmod")
def _fmod(b: Builder, x: Any, y: Any) -> int:
    whole = b.elementwise("trunc", ew(b, "div", x, y))
    return ew(b, "sub", x, Ref(ew(b, "mul", y, Ref(whole))))


@aten("reciprocal")
def _reciprocal(b: Builder, x: Any) -> int:
    return ew(b, "div", 1.0, x)


@aten("rsqrt")
def _rsqrt(b: Builder, x: Any) -> int:
    return ew(b, "div", 1.0, Ref(ew(b, "sqrt", x)))


@aten("square")
def _square(b: Builder, x: Any) -> int:
    return ew(b, "mul", x, x)


@aten("log2")
def _log2(b: Builder, x: Any) -> int:
    return ew(b, "div", Ref(ew(b, "log", x)), math.log(2.0))


@aten("log10")
def _log10(b: Builder, x: Any) -> int:
    return ew(b, "div", Ref(ew(b, "log", x)), math.log(10.0))


@aten("exp2")
def _exp2(b: Builder, x: Any) -> int:
    return ew(b, "exp", Ref(ew(b, "mul", x, math.log(2.0))))


@aten("hypot")
def _hypot(b: Builder, x: Any, y: Any) -> int:
    return ew(b, "sqrt", Ref(ew(b, "add", Ref(_square(b, x)), Ref(_square(b, y)))))


@aten("isnan")
def _isnan(b: Builder, x: Any) -> int:
    return ew(b, "ne", x, x)


@aten("sigmoid")
def _sigmoid(b: Builder, x: Any) -> int:
    e = Ref(ew(b, "exp", Ref(ew(b, "neg", x))))
    return ew(b, "div", 1.0, Ref(ew(b, "add", 1.0, e)))


@aten("relu")
def _relu(b: Builder, x: Any) -> int:
    return ew(b, "maximum", x, 0.0)


@aten("tanh_backward")
def _tanh_backward(b: Builder, grad: Any, y: Any) -> int:
    return ew(b, "mul", grad, Ref(ew(b, "sub", 1.0, Ref(_square(b, y)))))


@aten("sigmoid_backward")
def _sigmoid_backward(b: Builder, grad: Any, y: Any) -> int:
    return ew(b, "mul", grad, Ref(ew(b, "mul", y, Ref(ew(b, "sub", 1.0, y)))))


@aten("threshold_backward")
def _threshold_backward(b: Builder, grad: Any, x: Any, threshold: float) -> int:
    return ew(b, "where", Ref(ew(b, "gt", x, threshold)), grad, 0.0)


def _clamp(b: Builder, x: Any, min: Any = None, max: Any = None) -> int:
    if min is not None:
        x = Ref(ew(b, "maximum", x, min))
    if max is not None:
        x = Ref(ew(b, "minimum", x, max))
    return value_of(b, x)


TABLE["clamp"] = _clamp
TABLE["clamp_min"] = lambda b, x, min: _clamp(b, x, min=min)
TABLE["clamp_max"] = lambda b, x, max: _clamp(b, x, max=max)


@aten("masked_fill")
def _masked_fill(b: Builder, x: Any, mask: Any, value: Any) -> int:
    return ew(b, "where", mask, value, x)


@aten("addcmul")
def _addcmul(b: Builder, x: Any, y: Any, z: Any, value: float = 1) -> int:
    product = Ref(ew(b, "mul", y, z))
    return _sum_of("add")(b, x, product, value)


@aten("addcdiv")
def _addcdiv(b: Builder, x: Any, y: Any, z: Any, value: float = 1) -> int:
    return _sum_of("add")(b, x, Ref(ew(b, "div", y, z)), value)


@aten("lerp")
def _lerp(b: Builder, x: Any, y: Any, weight: Any) -> int:
    return ew(b, "add", x, Ref(ew(b, "mul", weight, Ref(ew(b, "sub", y, x)))))
