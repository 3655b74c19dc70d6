"""The loop around compiled code."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from pysciml.engines.base import RawSolution
from pysciml.engines.native import common as c

_CHUNK_SECONDS = 0.1  # compiled code runs about this long before Ctrl-C is looked at


def first_chunk(n: int) -> int:
    """How many steps of a problem of this size are surely short enough not to look for Ctrl-C."""
    return 1000 if n <= 64 else max(1, 64_000 // n)


class Loop:
    """The loop around compiled code: more room, Ctrl-C, and what else is asked for in between."""

    __slots__ = ("space",)

    space: Any

    def solve(self) -> RawSolution:
        """Run to the end. A KeyboardInterrupt carries what there is as `partial`."""
        try:
            code = self.run()
        except KeyboardInterrupt as stop:
            said = f"interrupted at t = {self.space.fl.item(c.F_T):.8g}"
            stop.partial = self.result(c.UNSTABLE, said)  # type: ignore[attr-defined]
            stop.partial.retcode = "Failure"  # type: ignore[attr-defined]
            raise
        return self.result(code)

    def run(self) -> int:
        """Integrate to the end; returns the code of `common` that says how it ended."""
        began = perf_counter()
        while True:
            code = self._advance()
            if code == c.DONE:
                return code
            if code == c.GROW:
                if not self._grow():
                    return code
            elif code == c.AGAIN:
                now = perf_counter()
                self._next_chunk(now - began)
                began = now
            else:
                code = self._serve(code)
                if code != c.AGAIN:
                    return code

    def _advance(self) -> int:
        """Integrate until something is to be done here; returns a code of `common`."""
        raise NotImplementedError

    def _grow(self) -> bool:
        """Make room: an array of the output is full. False: go no further."""
        raise NotImplementedError

    def _serve(self, code: int) -> int:
        """Do what another code asks for. Returns AGAIN to go on, or the code to end with."""
        return code

    def result(self, code: int, message: str = "") -> RawSolution:
        """What was computed, wrapped. Ends the use of the output arrays."""
        raise NotImplementedError

    def _next_chunk(self, seconds: float) -> None:
        """Choose how many steps to take before Python looks for Ctrl-C again."""
        it = self.space.it
        done = max(int(it[c.I_ITER]), 1)
        chunk = int(done * min(_CHUNK_SECONDS / max(seconds, 1e-6), 4.0))
        it[c.I_CHUNK] = it[c.I_ITER] + max(1, min(chunk, 1_000_000))
