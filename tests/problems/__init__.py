"""Reference problems: models as a user writes them, with solutions known to about 1e-13."""

from . import (
    brusselator,
    heat,
    hires,
    lorenz,
    lotka_volterra,
    orego,
    pleiades,
    robertson,
    van_der_pol,
)
from .base import Problem

PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        lotka_volterra.PROBLEM,
        lorenz.PROBLEM,
        van_der_pol.MILD,
        van_der_pol.STIFF,
        robertson.ODE,
        robertson.DAE,
        pleiades.PROBLEM,
        hires.PROBLEM,
        orego.PROBLEM,
        brusselator.PROBLEM,
        heat.PERIODIC,
        heat.DIRICHLET,
    )
}

__all__ = ["PROBLEMS", "Problem"]
