"""The SDE methods by name, and which problems each of them is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import Array, SolveOptions
from pysciml.engines.native.methods import CONTROL, controller, refuse_unknown
from pysciml.engines.native.stochastic import euler, milstein, sri
from pysciml.engines.native.stochastic.common import EULER, F_SDE_COUNT, MILSTEIN, TAB_KIND
from pysciml.engines.stochastic import check_interpretation, check_step, default_method, unsuited
from pysciml.validation import did_you_mean

if TYPE_CHECKING:
    from pysciml.problems import SDEProblem

_QMAX = 1.125  # errors are random: a step that grows fast is often rejected (SciML's choice)


@dataclass(frozen=True)
class Scheme:
    """What a method is, and what it is for.

    `order`: of the step size in the error estimate; None when there is none and the step is fixed.
    """

    name: str
    ints: NDArray[np.int64]
    noises: tuple[str, ...]
    interpretations: tuple[str, ...]
    order: float | None = None
    tableau: sri.SriTableau | None = None

    @property
    def adaptive(self) -> bool:
        return self.order is not None

    @cached_property
    def floats(self) -> Array:
        return np.zeros(1) if self.tableau is None else self.tableau.floats

    @property
    def is_milstein(self) -> bool:
        return bool(self.ints[TAB_KIND] == MILSTEIN)

    def floats_needed(self, n: int, gsize: int) -> int:
        """Floats of `buf`."""
        if self.tableau is not None:
            return sri.floats_needed(n, gsize, self.tableau.stages)
        return milstein.floats_needed(n) if self.is_milstein else euler.floats_needed(n, gsize)

    def adjoint_floats(self, n: int, gsize: int, n_p: int) -> int:
        """Floats of `buf` behind those, for the adjoint."""
        if self.tableau is not None:
            return sri.adjoint_floats(n, gsize, n_p, self.tableau.stages)
        if self.is_milstein:
            return milstein.adjoint_floats(n, n_p)
        return euler.adjoint_floats(n, gsize, n_p)


def _euler(name: str, interpretation: str, order: float | None) -> Scheme:
    heun = int(interpretation == "stratonovich")
    return Scheme(name, np.array([EULER, 1, heun]), _ALL, (interpretation,), order)


def _sri(name: str, tableau: sri.SriTableau) -> Scheme:
    noises = _ALL if tableau.is_additive else _ALL[:2]
    return Scheme(name, tableau.ints, noises, ("ito",), 1.5, tableau)


_ALL = ("diagonal", "scalar", "general")
_BOTH = ("ito", "stratonovich")
_SCHEMES = {
    scheme.name: scheme
    for scheme in (
        _sri("SOSRI", sri.SOSRI),
        _sri("SRIW1", sri.SRIW1),
        _sri("SOSRA", sri.SOSRA),
        _sri("SRA1", sri.SRA1),
        Scheme("RKMil", np.array([MILSTEIN, 1]), _ALL[:2], _BOTH),
        _euler("EM", "ito", None),
        _euler("LambaEM", "ito", 1.0),
        _euler("EulerHeun", "stratonovich", None),
        _euler("LambaEulerHeun", "stratonovich", 1.0),
    )
}
NAMES = tuple(_SCHEMES)


@dataclass(frozen=True)
class Method:
    """A scheme with the floats that its step control starts with."""

    scheme: Scheme
    control: Array


def find(alg: str | None, problem: SDEProblem, options: SolveOptions) -> Method:
    """The method of that name, in SciML's spelling; None: the one for this kind of noise.

    Raises ValueError for an unknown name or option, UnsupportedError for a method that is not for
    the problem's noise or its interpretation.
    """
    name = default_method(problem) if alg is None else alg.replace("()", "").strip()
    scheme = _SCHEMES.get(name)
    if scheme is None:
        raise ValueError(
            f"alg={alg!r} is not an SDE method of the native engine"
            f"{did_you_mean(name, NAMES)}; there are {', '.join(NAMES)}"
        )
    _check_fits(scheme, problem)
    check_step(scheme.name, scheme.adaptive, options)
    return Method(scheme, _control(scheme, options.algorithm))


def _control(scheme: Scheme, options: Mapping[str, Any]) -> Array:
    refuse_unknown(scheme.name, options, CONTROL if scheme.adaptive else ())
    floats = np.zeros(F_SDE_COUNT)
    control = controller(scheme.order or 1.0, options, qmax=_QMAX)
    floats[: control.size] = control
    return floats


def _check_fits(scheme: Scheme, problem: SDEProblem) -> None:
    """Refuse a method that would not converge, or not to what is meant."""
    name, noise = scheme.name, problem.noise
    if noise not in scheme.noises:
        raise unsuited(name, f"noise={noise!r}", problem)
    check_interpretation(name, scheme.interpretations, problem)
    if scheme.tableau is not None and scheme.tableau.is_additive and not problem.is_additive:
        raise unsuited(name, "a g that depends on u", problem)
    if scheme.is_milstein and noise == "diagonal" and not problem.is_uncoupled:
        raise unsuited(name, "diagonal noise whose g_i depends on other entries of u", problem)
