"""The methods for jumps and maps by name."""

from __future__ import annotations

from pysciml.errors import UnsupportedError
from pysciml.jumps import DiscreteProblem, JumpProblem
from pysciml.validation import did_you_mean

_DIRECT, _MAP = "Direct", "FunctionMap"
NAMES = (_DIRECT, _MAP)
# Aggregators of JumpProcesses that a user may well ask for by name.
_ELSEWHERE = (
    "DirectFW FRM FRMFW NRM SortingDirect DirectCR RSSA RSSACR RDirect Coevolve SSAStepper "
    "TauLeaping SimpleTauLeaping CaoTauLeaping"
).split()


def find(problem: JumpProblem | DiscreteProblem, alg: str | None) -> str:
    """The name of the method; None: the one for this kind of problem."""
    own = _DIRECT if isinstance(problem, JumpProblem) else _MAP
    if alg is None or alg.replace("()", "").strip() == own:
        return own
    if own == _DIRECT and alg in _ELSEWHERE:
        raise UnsupportedError(
            f"alg={alg!r} is not in the native engine, whose method for a JumpProblem is {own!r}"
        )
    raise ValueError(
        f"alg={alg!r} is no method for a {problem.kind} of the native engine"
        f"{did_you_mean(alg, [own])}; there is {own!r}"
    )
