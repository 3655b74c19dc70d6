"""Program -> Julia source of one function on flat vectors."""

from __future__ import annotations

import hashlib
import math
import textwrap
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pysciml.capture.array import Buffer, MatMul, lower_to_array
from pysciml.capture.program import Program
from pysciml.capture.scalar import lower_to_scalar
from pysciml.codegen import Form, choose_form
from pysciml.codegen.expressions import COMMON
from pysciml.codegen.statements import Dialect, Order, print_scalar_form, print_statements

# Julia's own throw a DomainError where others give NaN; PySciML.Elementary has the latter
_TEMPLATES = COMMON | {
    name: f"{name}_({{0}})" for name in ("sqrt log log1p sin cos tan asin acos acosh atanh").split()
}
_TEMPLATES |= {
    name: f"{name}({{0}})" for name in ("exp expm1 sinh cosh tanh atan asinh floor ceil").split()
}
_TEMPLATES |= {
    "erf": "erf_({0})",
    "sign": "sign({0})",
    "trunc": "trunc({0})",
    "round": "round({0})",
    "not": "(!{0})",
    "pow": "pow_({0}, {1})",
    "maximum": "max({0}, {1})",
    "minimum": "min({0}, {1})",
    "atan2": "atan({0}, {1})",
    "remainder": "({0} - {1} * floor({0} / {1}))",
    "and": "({0} & {1})",
    "or": "({0} | {1})",
    "where": "ifelse({0}, {1}, {2})",
    "to_float": "ifelse({0}, 1.0, 0.0)",
}

# in loops: what LLVM can compute several of at once
_VECTORISED = {name: f"v{name}({{0}})" for name in ("exp", "expm1", "tanh", "log", "log1p")}
_BLAS_FROM = 2**22  # multiplications from which BLAS beats the loops of PySciML.Products


@dataclass(frozen=True)
class JuliaSource:
    """Text of ``function NAME(out, u, p, t, [v,] work)``; the name comes from the text's hash.

    All arguments but `t` are flat ``Vector{Float64}``; `work` is scratch space of the function's
    own, made by `new_work`. Matrices in `out` are row-major.
    """

    name: str
    text: str
    form: str
    work: NDArray[np.float64]

    @property
    def work_size(self) -> int:
        return self.work.size

    def new_work(self) -> NDArray[np.float64]:
        """A scratch array with the constants in place. Each thread needs its own."""
        return self.work.copy()


def generate(program: Program, name: str | None = None, form: Form = "auto") -> JuliaSource:
    """Julia source of a Program.

    Parameters
    ----------
    program: what to write out.
    name: prefix of the function's name; the Program's by default.
    form: "scalar", "array", or "auto" (by the number of operations).
    """
    chosen = choose_form(program, form, _VECTORISED)
    if chosen == "scalar":
        body, work = print_scalar_form(lower_to_scalar(program), _DIALECT), np.zeros(0)
    else:
        array_form = lower_to_array(program, _BLAS_FROM)
        work = array_form.work
        body = ["table = reinterpret(Int64, work)"]
        body += print_statements(array_form.statements, _ARRAY_DIALECT)
    arguments = ", ".join(["out", *program.input_names, "work"])
    inside = textwrap.indent("\n".join(body), "        ")
    rest = f"({arguments})\n    @inbounds begin\n{inside}\n    end\n    return nothing\nend\n"
    digest = hashlib.sha256(rest.encode()).hexdigest()[:16]
    full_name = f"{name or program.name}_{digest}"
    return JuliaSource(full_name, f"function {full_name}{rest}", chosen, work)


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "(-Inf)"
    return repr(value) if math.copysign(1, value) > 0 else f"({value!r})"


def _loop(counter: str, count: int, order: Order) -> str:
    prefix = {"sequential": "", "independent": "@simd ivdep ", "sum": "@simd "}[order]
    return f"{prefix}for {counter} in 0:{count - 1}"


def _matmul(product: MatMul) -> list[str]:
    m, k, n = product.m, product.k, product.n
    if product.multiplications >= _BLAS_FROM:
        return _blas(product)
    a = _first(product.a.buffer, m * k, product.batch)
    b = _first(product.b.buffer, k * n, product.batch)
    c = _first(product.c, m * n, product.batch)
    if product.rows_with_rows:
        return [f"by_rows!({c}, {a}, {b}, {m}, {k}, {n})"]
    strides = (1, m) if product.a.transposed else (k, 1)
    return [f"general!({c}, {a}, {strides[0]}, {strides[1]}, {b}, {m}, {k}, {n})"]


def _first(buffer: Buffer, size: int, batch: int) -> str:
    """An array and where a matrix of `size` numbers begins in it."""
    return f"{buffer.name}, {buffer.start + 1}" + (f" + s * {size}" if batch > 1 else "")


def _blas(product: MatMul) -> list[str]:
    """Row-major ``c = a b`` is column-major ``c' = b' a'``."""
    m, k, n = product.m, product.k, product.n
    a = _run(product.a.buffer.name, product.a.buffer.start, m * k, product.batch)
    b = _run(product.b.buffer.name, product.b.buffer.start, k * n, product.batch)
    c = _run(product.c.name, product.c.start, m * n, product.batch)
    if n == 1:
        matrix = f"reshape({a}, {m}, {k})"
        rows = matrix if product.a.transposed else f"transpose(reshape({a}, {k}, {m}))"
        return [f"mul!({c}, {rows}, {b})"]
    left = _transpose(b, (k, n), product.b.transposed)
    right = _transpose(a, (m, k), product.a.transposed)
    return [f"mul!(reshape({c}, {n}, {m}), {left}, {right})"]


def _transpose(run: str, shape: tuple[int, int], stored_transposed: bool) -> str:
    """The transpose of the (rows, columns) operand that lies row-major in a run of numbers."""
    rows, columns = shape
    if stored_transposed:
        return f"transpose(reshape({run}, {rows}, {columns}))"
    return f"reshape({run}, {columns}, {rows})"


def _run(name: str, start: int, size: int, batch: int) -> str:
    if batch == 1:
        return f"view({name}, {start + 1}:{start + size})"
    return f"view({name}, {start + 1} + s * {size}:{start} + s * {size} + {size})"


_DIALECT = Dialect(
    templates=_TEMPLATES,
    number=_number,
    origin=1,
    loop=_loop,
    end="end",
    infinity="Inf",
    matmul=_matmul,
)
_ARRAY_DIALECT = replace(_DIALECT, templates=_TEMPLATES | _VECTORISED)
