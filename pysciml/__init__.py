"""Differential equations and machine learning on one captured model."""

from pysciml.compare import Comparison, compare
from pysciml.errors import (
    CaptureError,
    EngineUnavailableError,
    PyscimlError,
    SolveError,
    UnsupportedError,
)
from pysciml.problems import ODEProblem
from pysciml.scipy_style import from_scipy
from pysciml.solution import Solution
from pysciml.solve import solve

__version__ = "0.1.0"

__all__ = [
    "CaptureError",
    "Comparison",
    "EngineUnavailableError",
    "ODEProblem",
    "PyscimlError",
    "Solution",
    "SolveError",
    "UnsupportedError",
    "compare",
    "from_scipy",
    "solve",
]
