"""The methods by name, and the options each of them takes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.native import common as c
from pysciml.engines.native.explicit.classic import (
    BS3,
    DP5,
    EULER,
    HEUN,
    HEUN3,
    KUTTA38,
    MIDPOINT,
    RK4,
)
from pysciml.engines.native.explicit.tableau import ExplicitTableau
from pysciml.engines.native.explicit.tsit5 import TSIT5
from pysciml.engines.native.explicit.verner import VERN6, VERN7
from pysciml.engines.native.rosenbrock.tableau import (
    RODAS4,
    RODAS5P,
    ROSENBROCK23,
    RosenbrockTableau,
)
from pysciml.engines.native.symplectic.tableau import SYMPLECTIC, SymplecticTableau
from pysciml.errors import UnsupportedError

Tableau = ExplicitTableau | RosenbrockTableau

_EXPLICIT = {
    t.name: t for t in (TSIT5, VERN7, VERN6, DP5, BS3, RK4, KUTTA38, HEUN3, MIDPOINT, HEUN, EULER)
}
_IMPLICIT = {t.name: t for t in (RODAS5P, RODAS4, ROSENBROCK23)}
_AUTO = {
    f"Auto{stem}({stiff})": (_EXPLICIT[stem], _IMPLICIT[stiff])
    for stem in ("Tsit5", "Vern7", "Vern6", "DP5")
    for stiff in _IMPLICIT
}
# Any: a symplectic method has a driver of its own, and nothing else sees its tableau
_SYMPLECTIC: Mapping[str, Any] = SYMPLECTIC
EXPLICIT_NAMES = tuple(_EXPLICIT)
NAMES = (*EXPLICIT_NAMES, *_IMPLICIT, *_AUTO, *_SYMPLECTIC)

# Methods of OrdinaryDiffEq and its sisters that a user may well ask for by name.
_ELSEWHERE = frozenset(
    """
    Alshina2 Alshina3 Alshina6 Anas5 BS5 DP8 Feagin10 Feagin12 Feagin14 FRK65 MSRK5 MSRK6
    OwrenZen3 OwrenZen4 OwrenZen5 PFRK87 RKM RKO65 Ralston SIR54 Stepanov5 TanYam7 TsitPap8
    Vern8 Vern9 RKV76IIa ABDF2 FBDF QBDF QBDF1 QBDF2 QNDF QNDF1 QNDF2 DFBDF DABDF2 MEBDF2 SBDF2
    ImplicitEuler ImplicitMidpoint Trapezoid TRBDF2 SDIRK2 SDIRK22 Kvaerno3 Kvaerno4 Kvaerno5
    KenCarp3 KenCarp4 KenCarp47 KenCarp5 KenCarp58 ESDIRK54I8L2SA Cash4 Hairer4 Hairer42 SSPSDIRK2
    RadauIIA3 RadauIIA5 RadauIIA9 AdaptiveRadau ROS2 ROS2PR ROS2S ROS3 ROS3P ROS3PR ROS3PRL
    ROS3PRL2 ROS34PW1a ROS34PW1b ROS34PW2 ROS34PW3 ROS34PRw Rodas3 Rodas3P Rodas23W Rodas42 Rodas4P
    Rodas4P2 Rodas5 Rodas5Pe Rodas5Pr Rodas6P RosShamp4 Rosenbrock32 GRK4A GRK4T Veldd4 Velds4
    Ros4LStab Scholz4_7 ROCK2 ROCK4 RKC ESERK4 ESERK5 SERK2 AB3 AB4 AB5 ABM32 ABM43 ABM54 VCAB3
    VCAB4 VCAB5 VCABM VCABM3 VCABM4 VCABM5 AN5 JVODE SSPRK22 SSPRK33 SSPRK43 SSPRK53 SSPRK54
    SSPRK63 SSPRK73 SSPRK83 SSPRK104 SSPRK432 SSPRK932 CarpenterKennedy2N54 RDPK3Sp35 RDPK3Sp49
    RDPK3Sp510 RDPK3SpFSAL35 RDPK3SpFSAL49 RDPK3SpFSAL510 ETDRK2 ETDRK3 ETDRK4 Exp4 EPIRK4s3A
    EXPRB53s3 LawsonEuler NorsettEuler LinearExponential Magnus4 MagnusGL6 McAte2
    McAte3 McAte42 McAte5 McAte8 PseudoVerletLeapfrog LeapfrogDriftKickDrift CalvoSanz4 SofSpa10
    Nystrom4 DPRKN6 DPRKN12 FunctionMap IMEXEuler IMEXEulerARK CNAB2 CNLF2 SBDF SBDF3 SBDF4 ARS343
    AitkenNeville ExtrapolationMidpointDeuflhard
    ImplicitEulerExtrapolation CompositeAlgorithm AutoVern9 AutoVern8 CVODE_BDF CVODE_Adams ARKODE
    IDA lsoda radau rodas dopri5 dop853 DefaultODEAlgorithm
    """.split()
)

# Option -> where it goes. Those of the automatic methods bear SciML's AutoSwitch names.
CONTROL = {
    "gamma": c.F_SAFETY,
    "safety": c.F_SAFETY,
    "qmin": c.F_QMIN,
    "qmax": c.F_QMAX,
    "beta1": c.F_BETA1,
    "beta2": c.F_BETA2,
    "qsteady_min": c.F_STEADY_LO,
    "qsteady_max": c.F_STEADY_HI,
}
_SWITCH = {
    "maxstiffstep": 10,
    "maxnonstiffstep": 3,
    "nonstifftol": 0.9,
    "stifftol": 0.9,
    "dtfac": 2.0,
}
LINSOLVE = ("auto", "dense", "banded", "sparse")


@dataclass(frozen=True, eq=False)
class Method:
    """A method, or a non-stiff and a stiff one with automatic switching, ready to run.

    `control[k]`: the floats that tableau k puts into the run's state; `maxcount[k]`: after how many
    consecutive steps it asks for the other one, 0 for never.
    """

    name: str
    tableaus: tuple[Tableau, ...]
    control: tuple[NDArray[np.float64], ...]
    maxcount: tuple[int, ...]
    linsolve: str = "auto"

    @property
    def degree(self) -> int:
        """Degree of the dense output's polynomials."""
        return max(tableau.degree for tableau in self.tableaus)

    @property
    def has_implicit(self) -> bool:
        return any(isinstance(tableau, RosenbrockTableau) for tableau in self.tableaus)

    @property
    def is_symplectic(self) -> bool:
        return isinstance(self.tableaus[0], SymplecticTableau)


def find(name: str, options: Mapping[str, Any]) -> Method:
    """The method called `name`, in SciML's spelling ("Tsit5", "Tsit5()", "AutoTsit5(Rodas5P())").

    Raises ValueError for an unknown name or option, UnsupportedError for a method of
    OrdinaryDiffEq that this engine lacks.
    """
    key = name.replace("()", "").replace(" ", "")
    tableaus: tuple[Tableau, ...]
    if key in _AUTO:
        tableaus = _AUTO[key]
    elif key in _EXPLICIT:
        tableaus = (_EXPLICIT[key],)
    elif key in _IMPLICIT:
        tableaus = (_IMPLICIT[key],)
    elif key in _SYMPLECTIC:
        refuse_unknown(key, options, ())
        tableaus = (_SYMPLECTIC[key],)
    else:
        raise _unknown(name, key)
    return _configure(key, tableaus, options)


def _unknown(name: str, key: str) -> ValueError:
    near = difflib.get_close_matches(key, NAMES, n=3, cutoff=0.5)
    known = f"Nearest names here: {', '.join(near)}." if near else f"Known: {', '.join(NAMES)}."
    parts = re.findall(r"\w+", key)
    if parts and all(
        part in _ELSEWHERE or part in NAMES or (part.startswith("Auto") and part[4:] in NAMES)
        for part in parts
    ):
        return UnsupportedError(
            f'alg={name!r} is not in the native engine; it needs engine="julia", which has every '
            f"algorithm of OrdinaryDiffEq. {known}"
        )
    return ValueError(
        f"alg={name!r} is not an algorithm of the native engine. {known} Every algorithm of "
        f'OrdinaryDiffEq is available with engine="julia".'
    )


def _configure(name: str, tableaus: tuple[Tableau, ...], options: Mapping[str, Any]) -> Method:
    known = list(CONTROL)
    implicit = any(isinstance(tableau, RosenbrockTableau) for tableau in tableaus)
    if len(tableaus) == 2:
        known += list(_SWITCH)
    if implicit:
        known.append("linsolve")
    refuse_unknown(name, options, known)
    linsolve = options.get("linsolve", "auto")
    if linsolve not in LINSOLVE:
        raise ValueError(f"linsolve must be one of {', '.join(LINSOLVE)}; got {linsolve!r}")
    switch = {key: _number(key, options.get(key, default)) for key, default in _SWITCH.items()}
    control = [
        controller(tableau.order, options, 1.2 if isinstance(tableau, RosenbrockTableau) else 1.0)
        for tableau in tableaus
    ]
    maxcount = [0] * len(tableaus)
    if len(tableaus) == 2:
        radius = tableaus[0].stability_radius  # type: ignore[union-attr]
        control[0][c.F_STIFF_BOUND] = switch["nonstifftol"] * radius
        control[1][c.F_STIFF_BOUND] = switch["stifftol"] * radius
        control[0][c.F_DT_SWITCH] = switch["dtfac"]
        control[1][c.F_DT_SWITCH] = 1.0 / switch["dtfac"]
        maxcount = [int(switch["maxstiffstep"]), int(switch["maxnonstiffstep"])]
    return Method(name, tableaus, tuple(control), tuple(maxcount), linsolve)


def refuse_unknown(name: str, options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise for an option that the method of this name does not have."""
    for key in options:
        if key not in known:
            raise ValueError(
                f"unknown option {key!r} for the native {name}; known: {', '.join(sorted(known))}"
            )


def controller(
    order: float, options: Mapping[str, Any], steady: float = 1.0, qmax: float = 10.0
) -> NDArray[np.float64]:
    """The floats of a fresh run, with SciML's defaults of the PI controller.

    `order`: of the step size in the local error. `steady`: up to which growth dt is kept.
    """
    fl = np.zeros(c.F_INDEX_COUNT)
    fl[c.F_SAFETY], fl[c.F_QMIN], fl[c.F_QMAX] = 0.9, 0.2, qmax
    fl[c.F_BETA1], fl[c.F_BETA2] = 7.0 / (10.0 * order), 2.0 / (5.0 * order)
    fl[c.F_STEADY_LO], fl[c.F_STEADY_HI] = 1.0, steady
    fl[c.F_ERROLD], fl[c.F_DT_SWITCH] = 1e-4, 1.0
    for key, value in options.items():
        if key in CONTROL:
            fl[CONTROL[key]] = _number(key, value)
    if not (0 < fl[c.F_SAFETY] <= 1 and 0 < fl[c.F_QMIN] < 1 < fl[c.F_QMAX]):
        raise ValueError(
            "the step controller needs 0 < gamma <= 1 and 0 < qmin < 1 < qmax; got gamma="
            f"{fl[c.F_SAFETY]}, qmin={fl[c.F_QMIN]}, qmax={fl[c.F_QMAX]}"
        )
    return fl


_AS_FLOAT: Callable[[Any], float] = float


def _number(key: str, value: Any) -> float:
    try:
        number = _AS_FLOAT(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not (np.isfinite(number) and number >= 0.0):
        raise ValueError(f"option {key!r} must be a number >= 0; got {value!r}")
    return number
