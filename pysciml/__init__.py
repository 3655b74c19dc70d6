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
from pysciml.sensitivity import (
    Gradient,
    Sensitivities,
    gradient,
    hessian_vector,
    sensitivities,
)
from pysciml.solution import Solution
from pysciml.solve import solve

__version__ = "0.1.0"

__all__ = [
    "CaptureError",
    "Comparison",
    "EngineUnavailableError",
    "Gradient",
    "ODEProblem",
    "PyscimlError",
    "Sensitivities",
    "Solution",
    "SolveError",
    "UnsupportedError",
    "compare",
    "from_scipy",
    "gradient",
    "hessian_vector",
    "sensitivities",
    "solve",
]
