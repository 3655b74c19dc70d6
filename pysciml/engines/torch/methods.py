"""torchdiffeq's methods: their names, and what they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysciml.engines.base import AdjointOptions, SolveOptions
from pysciml.errors import UnsupportedError
from pysciml.validation import did_you_mean

if TYPE_CHECKING:
    from pysciml.problems import ODEProblem

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams")
SCIPY = "scipy_solver"
METHODS = (*ADAPTIVE, *FIXED, SCIPY)

# SciML's names of the same methods
ALIASES = {
    "DP5": "dopri5",
    "DP8": "dopri8",
    "BS3": "bosh3",
    "Euler": "euler",
    "Midpoint": "midpoint",
    "RK4": "rk4",
}

SENSEALGS = ("backprop", "odeint_adjoint")


def method_of(alg: str | None) -> str:
    if alg is None:
        return "dopri5"
    method = ALIASES.get(alg, alg)
    if method not in METHODS:
        hint = did_you_mean(alg, (*METHODS, *ALIASES))
        raise UnsupportedError(
            f'engine="torch" has no algorithm {alg!r}{hint}. torchdiffeq has '
            f'{", ".join(METHODS)}. SciML\'s methods need engine="julia"; '
            'Tsit5, Vern7 and Rodas5P are also in engine="native"'
        )
    return method


def check_supported(problem: ODEProblem, method: str, options: SolveOptions) -> None:
    if problem.mass_matrix is not None:
        raise UnsupportedError(
            'engine="torch" cannot use a mass_matrix; engine="native" (Rodas5P) and '
            'engine="julia" can'
        )
    if options.events:
        raise UnsupportedError('engine="torch" has no events; engine="native" has')
    if options.tstops is not None:
        raise UnsupportedError(
            'engine="torch" has no tstops; engine="native" and engine="julia" have. '
            'torchdiffeq\'s own alg_options={"step_t": tensor} is passed on'
        )
    if options.dtmin > 0.0:
        raise UnsupportedError(
            'engine="torch" has no dtmin: torchdiffeq\'s min_step accepts a step of that size '
            'whatever its error. engine="native" and engine="julia" have it'
        )
    if method in FIXED and options.dt is None and options.saveat is None:
        raise UnsupportedError(
            f'"{method}" has a fixed step in engine="torch": give dt, or saveat to step from one '
            "of its times to the next"
        )
    if method in FIXED and options.dtmax is not None:
        raise UnsupportedError(f'"{method}" has a fixed step in engine="torch": it has no dtmax')
    if method not in FIXED and not options.adaptive:
        raise UnsupportedError(
            f'"{method}" has no fixed step in engine="torch"; {", ".join(FIXED)} have'
        )
    if method == SCIPY and options.dt is not None:
        raise UnsupportedError('"scipy_solver" has no dt in engine="torch"')


def check_sensealg(sensealg: str, method: str, adjoint: AdjointOptions) -> None:
    if sensealg not in SENSEALGS:
        raise UnsupportedError(
            f'engine="torch" has no sensealg {sensealg!r}, only {" and ".join(SENSEALGS)}'
            f"{did_you_mean(sensealg, SENSEALGS)}"
        )
    if sensealg == "backprop" and method == SCIPY:
        raise UnsupportedError(
            'sensealg="backprop" cannot go through "scipy_solver" in engine="torch"; '
            '"odeint_adjoint" can'
        )
    if adjoint.checkpointing:
        raise UnsupportedError(
            'engine="torch" has no checkpointing; its sensealg="odeint_adjoint" keeps no steps at '
            'all, and engine="native" and engine="julia" have it'
        )
