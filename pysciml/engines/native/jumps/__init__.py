"""Jump processes and maps on the native engine."""

from pysciml.engines.native.jumps.drive import solve, solve_many

__all__ = ["solve", "solve_many"]
