"""Differential equations and machine learning on one captured model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pysciml.compare import Comparison, compare
from pysciml.ensemble import EnsembleSolution, solve_ensemble
from pysciml.errors import (
    CaptureError,
    EngineUnavailableError,
    PyscimlError,
    SolveError,
    UnsupportedError,
)
from pysciml.events import (
    ContinuousEvent,
    DiscreteEvent,
    ManifoldProjection,
    PeriodicEvent,
    Positive,
    PresetTimes,
)
from pysciml.problems import (
    BVProblem,
    DAEProblem,
    DDEProblem,
    DiscreteProblem,
    DynamicalODEProblem,
    Jump,
    JumpDiffusionProblem,
    JumpProblem,
    ODEProblem,
    Reaction,
    SDEProblem,
    SecondOrderODEProblem,
    SplitODEProblem,
    SteadyStateProblem,
    TwoPointBVProblem,
)
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
from pysciml.steady import SteadyStateSolution

if TYPE_CHECKING:
    from pysciml import discover, julia, models, nn, train
    from pysciml.autograd import odeint, odeint_adjoint, odeint_event
    from pysciml.train.fitting import fit
    from pysciml.train.result import FitResult

__version__ = "0.1.0"

__all__ = [
    "BVProblem",
    "CaptureError",
    "Comparison",
    "ContinuousEvent",
    "DAEProblem",
    "DDEProblem",
    "DiscreteEvent",
    "DiscreteProblem",
    "DynamicalODEProblem",
    "EngineUnavailableError",
    "EnsembleSolution",
    "FitResult",
    "Gradient",
    "Jump",
    "JumpDiffusionProblem",
    "JumpProblem",
    "ManifoldProjection",
    "ODEProblem",
    "PeriodicEvent",
    "Positive",
    "PresetTimes",
    "PyscimlError",
    "Reaction",
    "SDEProblem",
    "SecondOrderODEProblem",
    "Sensitivities",
    "Solution",
    "SolveError",
    "SplitODEProblem",
    "SteadyStateProblem",
    "SteadyStateSolution",
    "TwoPointBVProblem",
    "UnsupportedError",
    "compare",
    "discover",
    "fit",
    "from_scipy",
    "gradient",
    "hessian_vector",
    "julia",
    "models",
    "nn",
    "odeint",
    "odeint_adjoint",
    "odeint_event",
    "sensitivities",
    "solve",
    "solve_ensemble",
    "train",
]

#: What needs torch, or Julia, is imported when it is first used.
_LATER = {
    "FitResult": "pysciml.train",
    "discover": "pysciml.discover",
    "fit": "pysciml.train",
    "julia": "pysciml.julia",
    "models": "pysciml.models",
    "nn": "pysciml.nn",
    "odeint": "pysciml.autograd",
    "odeint_adjoint": "pysciml.autograd",
    "odeint_event": "pysciml.autograd",
    "train": "pysciml.train",
}


def __getattr__(name: str) -> Any:
    home = _LATER.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(home)
    found = module if home.endswith(f".{name}") else getattr(module, name)
    globals()[name] = found
    return found
