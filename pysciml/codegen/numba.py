"""Program -> Numba source -> C function pointer, with a cache on disk.

The generated module defines one function of C signature
``void(double* out, double* u, double* p, double t, [double* v,] double* work)``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import math
import os
import sys
import tempfile
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysciml.capture.array import ArrayForm, Buffer, MatMul, lower_to_array
from pysciml.capture.program import Program
from pysciml.capture.scalar import lower_to_scalar
from pysciml.codegen import Form, choose_form, elementary, products
from pysciml.codegen.expressions import COMMON
from pysciml.codegen.statements import Dialect, print_scalar_form, print_statements

_TEMPLATES = COMMON | {
    name: f"math.{name}({{0}})"
    for name in (
        "sqrt exp expm1 log log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf"
    ).split()
}
_TEMPLATES |= {
    "sign": "(1.0 * ({0} > 0.0) - 1.0 * ({0} < 0.0))",
    "floor": "np.floor({0})",
    "ceil": "np.ceil({0})",
    "trunc": "np.trunc({0})",
    "round": "np.rint({0})",
    "not": "(not {0})",
    "pow": "({0} ** {1})",
    # like PyTorch's, these pass a NaN on
    "maximum": "({0} if ({0} > {1} or {0} != {0}) else {1})",
    "minimum": "({0} if ({0} < {1} or {0} != {0}) else {1})",
    "atan2": "math.atan2({0}, {1})",
    "remainder": "({0} - {1} * np.floor({0} / {1}))",
    "and": "({0} and {1})",
    "or": "({0} or {1})",
    "where": "({1} if {0} else {2})",
    "to_float": "(1.0 if {0} else 0.0)",
}
# in loops: what LLVM can compute several of at once
_VECTORISED = {
    name: f"elementary.{name}({{0}})" for name in ("exp", "expm1", "tanh", "log", "log1p")
}
_IN_LOOPS = _VECTORISED | {"accumulate": "elementary.accumulate({0}, {1})"}
_BLAS_FROM = 2**22  # multiplications from which BLAS beats the loops of `products`


@dataclass(frozen=True)
class NativeFunction:
    """Compiled code: `address` of the C function, and the scratch space it needs.

    `source` is what was compiled; `keep_alive` owns the machine code.
    """

    name: str
    address: int
    source: str
    form: str
    work: NDArray[np.float64]
    keep_alive: Any

    @property
    def work_size(self) -> int:
        return self.work.size

    def new_work(self) -> NDArray[np.float64]:
        """A scratch array with the constants in place. Each thread needs its own."""
        return self.work.copy()


def compile_program(program: Program, form: Form = "auto") -> NativeFunction:
    """Compile a Program, or load it from the disk cache.

    Parameters
    ----------
    program: what to compile.
    form: "scalar", "array", or "auto" (by the number of operations).
    """
    chosen = choose_form(program, form, _VECTORISED)
    source, work = generate(program, chosen)
    compiled = _load(source)
    return NativeFunction(program.name, compiled.address, source, chosen, work, compiled)


def generate(program: Program, form: Form = "auto") -> tuple[str, NDArray[np.float64]]:
    """Source of a module with one compiled ``function``, and the initial contents of `work`."""
    if choose_form(program, form, _VECTORISED) == "scalar":
        body, work = print_scalar_form(lower_to_scalar(program), _DIALECT), np.zeros(1)
    else:
        array_form = lower_to_array(program, _BLAS_FROM)
        work = array_form.work if array_form.work.size else np.zeros(1)
        body = _array_body(array_form, program, work.size)
    arguments = ["out", *program.input_names, "work"]
    types_ = ["float64" if name == "t" else "CPointer(float64)" for name in arguments]
    source = "\n".join(
        [
            "import math",
            "import numpy as np",
            "from numba import carray, cfunc",
            "from numba.types import CPointer, float64, void",
            "",
            "from pysciml.codegen import elementary, products",
            "",
            f"# with {_helpers_digest()}",
            "",
            f"@cfunc(void({', '.join(types_)}), cache=CACHE, error_model='numpy')",
            f"def function({', '.join(arguments)}):",
            textwrap.indent("\n".join(body) or "pass", "    "),
            "",
        ]
    )
    return source, work


@cache
def _helpers_digest() -> str:
    """Hash of the code that becomes part of every compiled function: its cache depends on it."""
    text = "".join(inspect.getsource(module) for module in (elementary, products))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _number(value: float) -> str:
    if math.isnan(value):
        return "np.nan"
    if math.isinf(value):
        return "np.inf" if value > 0 else "(-np.inf)"
    return repr(value) if value >= 0 and math.copysign(1, value) > 0 else f"({value!r})"


# -- what is Python's own -------------------------------------------------------------------------
def _array_body(form: ArrayForm, program: Program, work_size: int) -> list[str]:
    views = [
        f"{name} = carray({name}, ({max(math.prod(program.input_shape(name)), 1)},))"
        for name in program.input_names
        if name != "t"
    ]
    views.append(f"out = carray(out, ({max(math.prod(program.shape), 1)},))")
    views.append(f"work = carray(work, ({work_size},))")
    views.append("table = work.view(np.int64)")
    return views + print_statements(form.statements, _ARRAY_DIALECT)


def _matmul(product: MatMul) -> list[str]:
    m, k, n = product.m, product.k, product.n
    if product.multiplications >= _BLAS_FROM:
        return _blas(product)
    a = _run(product.a.buffer, m * k, product.batch)
    b = _run(product.b.buffer, k * n, product.batch)
    c = _run(product.c, m * n, product.batch)
    if product.rows_with_rows:
        return [f"products.by_rows({c}, {a}, {b}, {m}, {k}, {n})"]
    strides = (1, m) if product.a.transposed else (k, 1)
    return [f"products.general({c}, {a}, {strides[0]}, {strides[1]}, {b}, {m}, {k}, {n})"]


def _run(buffer: Buffer, size: int, batch: int) -> str:
    """An array and where a matrix of `size` numbers begins in it."""
    return f"{buffer.name}, {buffer.start}" + (f" + s * {size}" if batch > 1 else "")


def _blas(product: MatMul) -> list[str]:
    m, k, n = product.m, product.k, product.n
    lines = []
    for name, operand, rows, columns in (("a", product.a, m, k), ("b", product.b, k, n)):
        part = _slice(operand.buffer, rows * columns, product.batch)
        if operand.transposed and columns > 1:
            lines.append(f"{name} = {part}.reshape(({columns}, {rows})).T")
        else:
            lines.append(f"{name} = {part}.reshape(({rows}, {columns}))")
    lines.append(f"c = {_slice(product.c, m * n, product.batch)}.reshape(({m}, {n}))")
    return [*lines, "np.dot(a, b, c)"]


def _slice(buffer: Buffer, size: int, batch: int) -> str:
    first = f"{buffer.start}" + (f" + s * {size}" if batch > 1 else "")
    return f"{buffer.name}[{first}:{first} + {size}]"


_DIALECT = Dialect(
    templates=_TEMPLATES,
    number=_number,
    origin=0,
    loop=lambda counter, count, _: f"for {counter} in range({count}):",
    end=None,
    infinity="np.inf",
    matmul=_matmul,
)
_ARRAY_DIALECT = replace(_DIALECT, templates=_TEMPLATES | _IN_LOOPS)


# -- compilation and the disk cache ---------------------------------------------------------------
def cache_directory() -> Path:
    """Where compiled models are kept: `PYSCIML_CACHE_DIR`, or the user's cache directory."""
    chosen = os.environ.get("PYSCIML_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", str(Path.home()))
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(base) / "pysciml"


@cache
def _load(source: str) -> Any:
    digest = hashlib.sha256(source.encode()).hexdigest()[:24]
    name = f"pysciml_model_{digest}"
    try:
        path = _write_once(cache_directory() / "models" / f"{name}.py", f"CACHE = True\n{source}")
    except OSError:  # nowhere to write: compile in memory
        module = types.ModuleType(name)
        exec(compile(f"CACHE = False\n{source}", f"<{name}>", "exec"), vars(module))
        return module.function
    return _import_file(name, path).function


def _write_once(path: Path, text: str) -> Path:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(temporary, path)  # another process never sees half a file
    return path


def _import_file(name: str, path: Path) -> Any:
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # Numba looks it up when it stores code, and when it loads it
    specification.loader.exec_module(module)
    return module


def as_numpy_function(compiled: NativeFunction, program: Program) -> Callable[..., Any]:
    """The compiled code as a function of NumPy arrays, for tests and curious users."""
    import ctypes

    double_pointer = ctypes.POINTER(ctypes.c_double)
    kinds = [
        ctypes.c_double if name == "t" else double_pointer
        for name in ("out", *program.input_names, "work")
    ]
    function = ctypes.CFUNCTYPE(None, *kinds)(compiled.address)
    work = compiled.new_work()

    def pointer(array: NDArray[np.float64]) -> Any:
        return array.ctypes.data_as(double_pointer)

    def call(*arguments: Any) -> NDArray[np.float64]:
        out = np.full(program.shape, np.nan)
        given = [
            float(x) if name == "t" else np.ascontiguousarray(x, dtype=np.float64)
            for name, x in zip(program.input_names, arguments, strict=True)
        ]
        pointers = [x if isinstance(x, float) else pointer(x) for x in given]
        function(pointer(out), *pointers, pointer(work))
        return out

    return call
