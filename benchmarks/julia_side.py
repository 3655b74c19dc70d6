"""The peers that run inside Julia: code as a Julia user writes it, timed by a loop inside Julia."""

from __future__ import annotations

from typing import Any

import numpy as np

from .timing import need_engine

PREAMBLE = """
using SciMLBase, SparseArrays
using OrdinaryDiffEqTsit5, OrdinaryDiffEqRosenbrock

# Seconds per call: the minimum over batches of at least 2 ms, as `timing.best` takes it.
function best(call; budget = 1.0, least = 5)
    call()
    once = @elapsed call()
    inner = max(1, floor(Int, 2e-3 / max(once, 1e-9)))
    smallest, runs, deadline = once, 0, time() + budget
    while runs < least || time() < deadline
        elapsed = @elapsed for _ in 1:inner
            call()
        end
        smallest = min(smallest, elapsed / inner)
        runs += 1
    end
    return smallest
end
"""

_modules: dict[str, Any] = {}


def julia() -> Any:
    """juliacall's Main in this process, as pysciml's engine set it up."""
    return need_engine("julia").julia.main()


def module(code: str) -> Any:
    """A Julia module with the preamble and `code` evaluated in it, made once."""
    if code not in _modules:
        main = julia()
        name = f"PyscimlBench{len(_modules)}"
        main.seval(f"module {name}\n{PREAMBLE}\n{code}\nend")
        _modules[code] = main.seval(f"Main.{name}")
    return _modules[code]


def timed(code: str, expression: str, states: str = "nothing") -> tuple[float, Any]:
    """Seconds of `expression` after `code`, timed in Julia, and the value of `states`."""
    there = module(code)
    seconds = float(there.seval(f"best(() -> ({expression}))"))
    value = there.seval(states)
    return seconds, None if value is None else np.asarray(value, dtype=float)
