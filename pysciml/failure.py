"""What a failed solve says: where it stopped, why, and what to try."""

from __future__ import annotations

from pysciml.solution import Solution

_ADVICE = {
    "MaxIters": (
        "the tolerances are too tight or the problem is stiff: try {stiff}, looser tolerances, or "
        "a larger maxiters"
    ),
    "DtLessThanMin": (
        "the solution has a singularity here, or the problem is stiff, or events follow each other "
        "ever faster: look at the last states, try {stiff} or looser tolerances"
    ),
    "Unstable": (
        "the solution blows up, or the step is too large for the method: look at the last states, "
        "check f and p, try tighter tolerances or a smaller dt"
    ),
    "ConvergenceFailure": (
        "the implicit equations could not be solved: check that f is smooth near the last state, "
        "try tighter tolerances or a smaller dtmax"
    ),
    "InitialFailure": "the initial state is not consistent with the algebraic equations: check u0",
}
_ADVICE_ELSE = "the model or its input: look at the last states, check f, p and the tolerances"


def failure_message(solution: Solution) -> str:
    """Where the solve stopped, why, and what to try."""
    t1 = solution.problem.tspan[1]
    why = solution.message.rstrip(".")
    if not why:
        why = f"the last saved time is {solution.t[-1]:.6g}" if len(solution.t) else "at the start"
    kept = (
        f"The {len(solution.t)} saved states are in error.solution; raise_on_failure=False returns "
        "them instead of raising."
    )
    if not solution.problem.is_initial_value:
        return (
            f"{solution.alg} on the {solution.engine} engine found no solution "
            f"({solution.retcode}): {why}. Likely there is none, or the guess u0 is too far from "
            f"it: try a guess that depends on t, another method, or looser tolerances. {kept}"
        )
    stiff = 'a stiff method (alg="Rodas5P")'
    if solution.engine == "torch":
        stiff = 'a stiff method (engine="native", alg="Rodas5P")'
    advice = _ADVICE.get(solution.retcode, _ADVICE_ELSE).format(stiff=stiff)
    smooth = not (solution.problem.is_random or solution.problem.is_piecewise_constant)
    likely = f" Likely {advice}." if smooth else ""
    return (
        f"{solution.alg} on the {solution.engine} engine stopped before t = {t1:g} "
        f"({solution.retcode}): {why}.{likely} {kept}"
    )
