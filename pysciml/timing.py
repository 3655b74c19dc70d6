"""How long a call takes."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

_SHORT = 1e-3  # a call shorter than this is timed in batches
_BATCH = 100


def best_time(call: Callable[[], Any], budget: float = 0.5, least: int = 3) -> float:
    """Seconds of the fastest of several runs: the others measure what else the machine did.

    Runs go on for `budget` seconds, but at least `least` times unless that takes far longer. Call
    once beforehand to leave compilation out.
    """
    start = perf_counter()
    call()
    best = perf_counter() - start
    batch = _BATCH if best < _SHORT else 1
    runs, spent = 1, best
    while (spent < budget or runs < least) and spent < 10 * budget:
        start = perf_counter()
        for _ in range(batch):
            call()
        elapsed = perf_counter() - start
        best = min(best, elapsed / batch)
        runs += 1
        spent += elapsed
    return best
