"""The errors pysciml raises on purpose. Everything else is a bug."""

from __future__ import annotations

from typing import Any


class PyscimlError(Exception):
    """Base of the package's own errors."""


class CaptureError(PyscimlError):
    """A Python function could not be turned into a `Program`.

    The message shows the user's own line, the reason and what to write instead.
    """


class EngineUnavailableError(PyscimlError):
    """An engine, or something it needs, is not installed. The message names the mending command."""


class UnsupportedError(PyscimlError, ValueError):
    """An engine lacks what was asked for. The message names the engine that has it."""


class SolveError(PyscimlError, RuntimeError):
    """A solve stopped early. What was computed until then is `error.solution`, of the type that
    the solve would have returned."""

    def __init__(self, message: str, solution: Any) -> None:
        super().__init__(message)
        self.solution = solution
