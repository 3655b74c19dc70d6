"""What engines with SciML's methods for SDEs share: which is taken for a problem, and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysciml.engines.base import SolveOptions
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.problems import SDEProblem


def default_method(problem: SDEProblem) -> str:
    """The method for alg=None. All of them choose their steps."""
    if problem.is_additive:
        return "SOSRA"
    if problem.interpretation == "stratonovich":
        return "LambaEulerHeun"
    return "LambaEM" if problem.noise == "general" else "SOSRI"


def check_interpretation(name: str, interpretations: tuple[str, ...], problem: SDEProblem) -> None:
    """Refuse a method that converges to the solution in another sense than the problem's."""
    meant = problem.interpretation
    if meant not in interpretations and not problem.is_additive:
        raise unsuited(name, f"interpretation={meant!r}", problem)


def check_step(name: str, adaptive: bool, options: SolveOptions) -> None:
    """Refuse a solve that nobody gave a step. `adaptive`: whether the method can choose them."""
    if options.dt is None and not (adaptive and options.adaptive):
        raise ValueError(
            f"dt must be given for {name}: it steps by a fixed dt; got None. "
            "SOSRI, SOSRA, LambaEM and LambaEulerHeun choose their steps"
        )


def unsuited(name: str, what: str, problem: SDEProblem) -> UnsupportedError:
    """The error for a method that would not converge, or not to what is meant."""
    return UnsupportedError(
        f"{name} is not for {what}; {default_method(problem)} is, the default for this problem"
    )
