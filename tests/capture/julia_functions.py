"""Generated Julia code as functions of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pysciml.capture import Program
from pysciml.codegen.julia import JuliaSource
from pysciml.engines.julia import session

_CALL = """
function (f, size, arguments...)
    out = fill(NaN, size)
    plain(x) = x isa Number ? Float64(x) : Vector{Float64}(x)
    Base.invokelatest(f, out, map(plain, arguments)...)
    return out
end
"""


def as_numpy_function(source: JuliaSource, program: Program) -> Callable[..., Any]:
    julia = session.module()
    function = julia.evaluate(source.text, source.name)
    call = session.main().seval(_CALL)

    def evaluate(*arguments: Any) -> Any:
        flat = [
            float(x) if np.ndim(x) == 0 and k == 2 else np.ravel(x) for k, x in enumerate(arguments)
        ]
        size = int(np.prod(program.shape, dtype=int))
        out = call(function, size, *flat, source.new_work())
        return np.array(out).reshape(program.shape)

    return evaluate
