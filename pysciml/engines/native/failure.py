"""How a solve ended, in SciML's words, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysciml.engines.native import common as c
from pysciml.engines.native.explicit.tableau import ExplicitTableau

if TYPE_CHECKING:
    from pysciml.engines.native.run import Drive

RETCODES = {
    c.DONE: "Success",
    c.TERMINATED: "Terminated",
    c.ZENO: "DtLessThanMin",
    c.BAD_AFFECT: "Unstable",
    c.MAXITERS: "MaxIters",
    c.DTMIN: "DtLessThanMin",
    c.UNSTABLE: "Unstable",
    c.BAD_START: "Unstable",
}


def why(run: Drive, code: int, reached: float) -> str:
    """Where it stopped, the likely cause, what to try."""
    fl, it = run.space.fl, run.space.it
    side = run.method.tableaus[run.side]
    stiff = isinstance(side, ExplicitTableau)
    start, end = run.problem.tspan
    where = (
        f"{run.method.name} stopped at t = {reached:.8g} of ({start:g}, {end:g}), after "
        f"{int(it[c.I_NACC])} steps, with step size {abs(fl.item(c.F_DT)):.3g}. "
    )
    if code == c.MAXITERS:
        advice = (
            f"It took the {int(it[c.I_MAXITERS])} attempts that maxiters allows. Try looser "
            "tolerances or a larger maxiters"
        )
        return where + advice + (', or a stiff method such as "Rodas5P".' if stiff else ".")
    if code == c.DTMIN:
        return where + (
            "The step that the tolerances ask for is below dtmin or lost in rounding against "
            "t: a singularity of the solution, a jump in f (name its time in tstops), or "
            "tolerances beyond what f is exact to. Look at the last states, or loosen abstol "
            "and reltol."
        )
    if code == c.ZENO or (
        code == c.DTMIN and run.events is not None and run.events.just_happened(reached)
    ):
        return where + (
            "Events follow each other ever faster, until rounding errors of the time are all "
            "that is between them (Zeno's paradox): end them with a terminal event, or let the "
            "affect come to rest."
        )
    if code == c.BAD_AFFECT:
        return where + "The affect of an event gave a state that is not finite: check it there."
    if code == c.BAD_START:
        return where + (
            "f(u0, p, t0) or its derivative is not finite: check u0, p and the domain of f."
        )
    return where + (
        "The state or f became infinite or NaN even with a tiny step: the solution blows up, "
        "or f left its domain (log or sqrt of a negative number). Check f and p at the last "
        "state, or use a smaller dt when the step is fixed."
    )
