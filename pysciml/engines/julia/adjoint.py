"""Solving with a pullback: a discrete adjoint, and SciMLSensitivity's methods, on captured vjps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import (
    AdjointOptions,
    Array,
    Cotangents,
    Pullback,
    RawSolution,
    SolveOptions,
)
from pysciml.engines.julia import session
from pysciml.engines.julia.model import JuliaModel, Plan, key
from pysciml.errors import UnsupportedError
from pysciml.validation import did_you_mean

if TYPE_CHECKING:
    from pysciml.engines.native.explicit.tableau import ExplicitTableau
    from pysciml.problems import ODEProblem

EXTENSION = "PySciMLSensitivityExt"

DISCRETE = "DiscreteAdjoint"
SENSEALGS = (
    DISCRETE,
    "GaussAdjoint",
    "GaussKronrodAdjoint",
    "InterpolatingAdjoint",
    "QuadratureAdjoint",
    "BacksolveAdjoint",
)
_ELSE = "GaussAdjoint"  # where there is no discrete one


@dataclass
class Recipe:
    """A plan with a way to differentiate it, ready to run."""

    plan: Plan
    handle: Any  # Julia's Recipe


def solve_with_pullback(
    model: JuliaModel,
    problem: ODEProblem,
    alg: str | None,
    options: SolveOptions,
    adjoint: AdjointOptions,
    full: bool,
) -> tuple[RawSolution, Pullback]:
    """See `pysciml.engines.base.Engine.solve_with_pullback`."""
    how = recipe(model, alg, options, adjoint)
    raw, tape = model.run(how.handle, problem, how.plan, full)
    shape, n_p = (len(raw.t), model.n), problem.p_flat.size
    return raw, lambda gradient: pulled(tape, checked(gradient, shape), n_p)


def checked(gradient: Array, shape: tuple[int, int]) -> Array:
    """The gradient with respect to the saved states, whose shape is given."""
    w = np.ascontiguousarray(gradient, dtype=np.float64)
    if w.shape != shape:
        raise ValueError(
            f"gradient must have the shape of the saved states, {shape}; got {w.shape}"
        )
    return w


def pulled(tape: Any, w: Array, n_p: int) -> Cotangents:
    """From the gradient with respect to a tape's states to those of u0 and p."""
    u0, p = np.empty(w.shape[1]), np.empty(n_p)
    code = session.module().pull_b(tape, w.ctypes.data, u0.ctypes.data, p.ctypes.data)
    if code < 0:
        session.fail(int(code))
    return Cotangents(u0, p)


def recipe(
    model: JuliaModel, alg: str | None, options: SolveOptions, adjoint: AdjointOptions
) -> Recipe:
    """The prepared differentiable solve, kept with the model."""
    return model.kept(
        ("adjoint", adjoint, key(alg, options)),
        lambda: _new_recipe(model, alg, options, adjoint),
    )


def _new_recipe(
    model: JuliaModel, alg: str | None, options: SolveOptions, adjoint: AdjointOptions
) -> Recipe:
    sensealg = adjoint.sensealg
    if sensealg is not None and sensealg not in SENSEALGS:
        raise UnsupportedError(
            f"sensealg must be one of {', '.join(SENSEALGS)} on engine='julia'; got "
            f"{sensealg!r}{did_you_mean(sensealg, SENSEALGS)}"
        )
    plan = model.plan(alg, options)
    if "DefaultODEAlgorithm" in (alg or ""):
        raise UnsupportedError(
            "DefaultODEAlgorithm lacks the dense output that adjoints need; leave alg out, or use "
            "AutoTsit5(Rodas5P)"
        )
    how: Any = _method(model, plan, sensealg)
    handle = session.module().recipe(
        plan.handle, how, adjoint.checkpointing, adjoint.abstol, adjoint.reltol
    )
    return Recipe(plan, handle)


def _method(model: JuliaModel, plan: Plan, sensealg: str | None) -> Any:
    """Julia's DiscreteAdjoint, or the name of a method of SciMLSensitivity; with what it needs."""
    explicit, *implicit = plan.title.removeprefix("Auto(").removesuffix(")").split(", ")
    tableau = _tableau(explicit) if sensealg in (None, DISCRETE) else None
    if tableau is None and sensealg == DISCRETE:
        raise UnsupportedError(
            f"the discrete adjoint on engine='julia' is for {', '.join(_tableaus())}, and for "
            f"automatic switching from them; for {plan.title} there is {_ELSE!r}"
        )
    products = ["vjp", *(["vjp_p"] if model.n_p else [])]
    if tableau is None:
        session.extension(EXTENSION)
        model.compile(*products)
        return sensealg or _ELSE
    model.compile("vjp_up", *(products if implicit else ()))
    a, b, c, r = tableau.coefficients()
    return session.module().DiscreteAdjoint(a.T, b, c, r.T, tableau.stages)


def _tableau(name: str) -> ExplicitTableau | None:
    return _tableaus().get(name)


@cache
def _tableaus() -> dict[str, ExplicitTableau]:
    """Methods whose interpolants are the same on both engines."""
    from pysciml.engines.native.explicit.tsit5 import TSIT5
    from pysciml.engines.native.explicit.verner import VERN6, VERN7

    return {tableau.name: tableau for tableau in (TSIT5, VERN6, VERN7)}
