"""The methods for jumps and maps by name, and the options that they take."""

from __future__ import annotations

from pysciml.engines.base import SolveOptions
from pysciml.engines.native.methods import refuse_unknown
from pysciml.errors import UnsupportedError
from pysciml.problems import DiscreteProblem, JumpProblem
from pysciml.validation import as_real, did_you_mean

DIRECT, LEAPING, _MAP = "Direct", "TauLeaping", "FunctionMap"
NAMES = (DIRECT, LEAPING, _MAP)
# Methods of JumpProcesses that a user may well ask for by name.
_ELSEWHERE = (
    "DirectFW FRM FRMFW NRM SortingDirect DirectCR RSSA RSSACR RDirect Coevolve SSAStepper "
    "SimpleTauLeaping CaoTauLeaping"
).split()
_EPSILON = 0.03  # what Cao et al. advise


def find(problem: JumpProblem | DiscreteProblem, alg: str | None) -> str:
    """The name of the method; None: the one for this kind of problem."""
    own = (DIRECT, LEAPING) if isinstance(problem, JumpProblem) else (_MAP,)
    name = own[0] if alg is None else alg.replace("()", "").strip()
    if name in own:
        return name
    listed = " and ".join(map(repr, own))
    if isinstance(problem, JumpProblem) and name in _ELSEWHERE:
        raise UnsupportedError(
            f"alg={alg!r} is not in the native engine, whose methods for a JumpProblem are {listed}"
        )
    raise ValueError(
        f"alg={alg!r} is no method for a {problem.kind} of the native engine"
        f"{did_you_mean(name, own)}; there {'are' if len(own) > 1 else 'is'} {listed}"
    )


def epsilon_of(name: str, options: SolveOptions) -> float:
    """By which part of itself a propensity may change in a leap; 0 for other methods."""
    refuse_unknown(name, options.algorithm, ("epsilon",) if name == LEAPING else ())
    if name != LEAPING:
        return 0.0
    expected = "a number between 0 and 1"
    epsilon = as_real(options.algorithm.get("epsilon", _EPSILON), "epsilon", expected)
    if not 0.0 < epsilon < 1.0:
        raise ValueError(f"epsilon must be {expected}; got {epsilon}")
    return epsilon
