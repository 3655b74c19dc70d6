"""Methods that treat two parts of a right-hand side differently, and the models that they take.

Symplectic and Nystrom methods are for the halves of a DynamicalODEProblem; IMEX and exponential
methods for the terms of a SplitODEProblem. Any other method takes these problems as ODEProblems.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.capture.sparsity import dependence
from pysciml.engines.base import SolveOptions
from pysciml.engines.julia import environment, session
from pysciml.engines.julia.methods import known_algorithms
from pysciml.engines.julia.model import JuliaModel
from pysciml.engines.partitioned import Halves, halves_of, require_separable
from pysciml.errors import UnsupportedError
from pysciml.problems import SecondOrderODEProblem, SplitODEProblem

if TYPE_CHECKING:
    from pysciml.problems import Problem

_SYMPLECTIC = ("symplectic", "autonomous")
_PARTITIONED = (*_SYMPLECTIC, "nystrom", "damped")
_NAME = re.compile(r"\s*(\w+)")


@lru_cache(maxsize=1)
def kinds() -> dict[str, str]:
    """By the method's name, what it is for; see the Julia package's table."""
    text = (environment.julia_package() / "two_part_algorithms.txt").read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return {name: kind for _library, _uuid, kind, *names in lines for name in names}


def kind_of(problem: Problem, alg: str | None) -> str | None:
    """What a method is for that takes this problem in parts; None for one that does not."""
    kind = kinds().get(_name(alg))
    if kind == "split" and _name(alg) in known_algorithms():
        return kind if isinstance(problem, SplitODEProblem) else None  # it takes ODEs, too
    return kind


def _name(alg: str | None) -> str:
    """Without its arguments."""
    found = _NAME.match(alg or "")
    return found[1] if found else ""


def check(problem: Problem, alg: str | None, options: SolveOptions) -> None:
    """Refuse what a method in two parts is not for. Needs no Julia."""
    kind = kind_of(problem, alg)
    if kind is None or alg is None:
        return
    if kind == "wrong":
        raise UnsupportedError(
            f'{alg} misses its order in OrdinaryDiffEq; of symplectic methods "CandyRoz4" has '
            'order 4 and "KahanLi8" 8, of IMEX methods "KenCarp4" 4'
        )
    if kind in _PARTITIONED:
        _check_halves(problem, alg, kind)
        if options.events:
            raise UnsupportedError(
                f'{alg} has no events; "Tsit5" and the other Runge-Kutta methods have them'
            )
        return
    if not isinstance(problem, SplitODEProblem):
        raise UnsupportedError(
            f"{alg} takes a SplitODEProblem, one part of which is implicit or linear; got an "
            f"{type(problem).__name__}"
        )
    if kind == "exponential":
        _require_linear(problem, alg)


def suited(model: JuliaModel, problem: Any, alg: str | None) -> JuliaModel:
    """The model as the method takes it, kept with it."""
    kind = kind_of(problem, alg)
    if kind is None or alg is None:
        return model
    if kind in _PARTITIONED:
        return model.kept("halves", lambda: PartitionedModel(model, halves_of(problem, alg)))
    linear = kind == "exponential"
    return model.kept(("split", linear), lambda: SplitModel(model, problem, linear))


def refuse_gradients(problem: Problem, alg: str | None) -> None:
    """Refuse to differentiate what an adjoint method does not know as an ODE."""
    kind = kind_of(problem, alg)
    if kind is None or (kind == "split" and _name(alg) in known_algorithms()):
        return
    native = "; the native engine has, of symplectic ones" if kind in _PARTITIONED else ""
    raise UnsupportedError(f'engine="julia" has no gradients of {alg}{native}')


def _check_halves(problem: Any, alg: str, kind: str) -> None:
    halves = halves_of(problem, alg)
    if kind in _SYMPLECTIC:
        require_separable(halves, alg, quadratic=False)
        if kind == "autonomous" and halves.take_t:
            raise UnsupportedError(
                f"{alg} of OrdinaryDiffEq has order 1 where f1 or f2 depends on t, as here; "
                "\"VerletLeapfrog\" has order 2, engine='native' has all of its symplectic methods"
            )
        if alg.startswith("VelocityVerlet") and not isinstance(problem, SecondOrderODEProblem):
            raise UnsupportedError(
                f"{alg} needs du/dt = v on engine='julia', a SecondOrderODEProblem; "
                '"VerletLeapfrog" is the same method without that'
            )
        return
    if not isinstance(problem, SecondOrderODEProblem):
        raise UnsupportedError(
            f"{alg} is a Nystrom method and takes a SecondOrderODEProblem; got a "
            f"{type(problem).__name__}"
        )
    if kind == "nystrom" and halves.f1_takes_v:
        raise UnsupportedError(
            f'{alg} needs an f that does not depend on u\'; here it does. "FineRKN5" takes that'
        )


def _require_linear(problem: SplitODEProblem, alg: str) -> None:
    term = problem.terms[0]
    if "constant Jacobian" not in term.compiled:
        changes = dependence(term.jvp, "u").nnz or dependence(term.f, "t").nnz
        term.compiled["constant Jacobian"] = not changes
    if not term.compiled["constant Jacobian"]:
        raise UnsupportedError(
            f"{alg} needs a linear f1, a matrix times u that does not change with time; here it is "
            'not. "KenCarp4" takes any f1'
        )
    rest = term.f(np.zeros(problem.u0.size), problem.p_flat, problem.tspan[0])
    if np.any(rest):
        raise ValueError(
            f"f1 must be linear for {alg}, zero where u is; here f1(0, p, t0) is "
            f"{np.asarray(rest).tolist()}: let f2 have that"
        )


class PartitionedModel(JuliaModel):
    """The halves of a right-hand side."""

    def __init__(self, model: JuliaModel, halves: Halves) -> None:
        functions = JuliaModel(model.captured)
        functions.compile_program("f1", halves.f1)
        functions.compile_program("f2", halves.f2)
        handle = session.module().PartitionedModel(functions.handle)
        super().__init__(model.captured, handle=handle)

    def compile_for(self, kind: str) -> None:
        """All is compiled."""

    def _check_name(self, alg: str) -> None:
        """It is in the table."""


class SplitModel(JuliaModel):
    """The terms of a right-hand side. `linear`: the first is a matrix times u."""

    def __init__(self, model: JuliaModel, problem: SplitODEProblem, linear: bool) -> None:
        self._first, self._second = (JuliaModel(term) for term in problem.terms)
        self._linear = linear
        handle = session.module().SplitModel(self._first.handle, self._second.handle, linear)
        super().__init__(model.captured, handle=handle)

    def compile_for(self, kind: str) -> None:
        self._first.compile_for("implicit" if self._linear else kind)
        self._second.compile("f")

    def _check_name(self, alg: str) -> None:
        """It is in the table."""

    def _method(self, alg: str | None, options: SolveOptions) -> Any:
        # They smooth their estimate of the error with f1's Jacobian, and with it what f2 does: at a
        # tolerance of 1e-8 KenCarp47 was off by 2e-4.
        if _name(alg).startswith("KenCarp"):
            options = replace(options, algorithm={"smooth_est": False, **options.algorithm})
        return super()._method(alg, options)
