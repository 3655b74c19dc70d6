"""Steady states: SteadyStateDiffEq's DynamicSS, and NonlinearSolve's root-finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pysciml.engines.base import SolveOptions
from pysciml.engines.julia import session
from pysciml.engines.julia.methods import check_algorithm, known_algorithms, refused
from pysciml.engines.julia.model import JuliaModel
from pysciml.errors import UnsupportedError
from pysciml.validation import did_you_mean

if TYPE_CHECKING:
    from pysciml.problems import SteadyStateProblem

_EXTENSION = "PySciMLSteadyExt"
#: of NonlinearSolve; the first is the default, as it uses the Jacobian and stays near its start
ROOT_FINDERS = (
    "TrustRegion",
    "NewtonRaphson",
    "RobustMultiNewton",
    "FastShortcutNonlinearPolyalg",
    "LevenbergMarquardt",
    "PseudoTransient",
    "GaussNewton",
    "Broyden",
    "Klement",
    "LimitedMemoryBroyden",
    "DFSane",
    "SimpleNewtonRaphson",
    "SimpleTrustRegion",
    "SimpleBroyden",
    "SimpleKlement",
    "SimpleLimitedMemoryBroyden",
    "SimpleDFSane",
)


class SteadyModel(JuliaModel):
    """The functions of a SteadyStateProblem; methods are "DynamicSS(...)" and "SSRootfind(...)"."""

    def __init__(self, problem: SteadyStateProblem) -> None:
        self._extension = session.extension(_EXTENSION)
        self._rate = JuliaModel(problem.model)
        handle = self._extension.SteadyModel(self._rate.handle)
        super().__init__(problem.model, handle=handle)

    @classmethod
    def of(cls, problem: Any) -> SteadyModel:
        return cls(problem)

    @staticmethod
    def key(problem: Any) -> Any:
        return None

    def compile_for(self, kind: str) -> None:
        self._rate.compile_for(kind)

    def _check_name(self, alg: str) -> None:
        outer, inner = _parts(alg)
        if outer == "DynamicSS":
            check_algorithm(inner, known_algorithms)
        elif inner not in ROOT_FINDERS:
            raise UnsupportedError(
                f"NonlinearSolve has no method {inner!r} here{did_you_mean(inner, ROOT_FINDERS)}; "
                f"it has {', '.join(ROOT_FINDERS)}"
            )

    def _method(self, alg: str | None, options: SolveOptions) -> Any:
        assert alg is not None  # `pysciml.steady` names one
        outer, inner = _parts(alg)
        try:
            if outer == "DynamicSS":
                return self._extension.follower(inner, options.reltol)
            return self._extension.root_finder(inner)
        except Exception as error:
            raise refused(error, alg) from None


def _parts(alg: str) -> tuple[str, str]:
    """A search and its method."""
    outer, _, inner = alg.partition("(")
    return outer, inner.removesuffix(")")
