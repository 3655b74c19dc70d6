"""Solving with a pullback: SciMLSensitivity's adjoint methods, fed with the captured vjp."""

from __future__ import annotations

from dataclasses import dataclass
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
    from pysciml.problems import ODEProblem

EXTENSION = "PySciMLSensitivityExt"

SENSEALGS = (
    "GaussAdjoint",
    "GaussKronrodAdjoint",
    "InterpolatingAdjoint",
    "QuadratureAdjoint",
    "BacksolveAdjoint",
)
DEFAULT = "GaussAdjoint"


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
    session.extension(EXTENSION)
    return model.kept(
        ("adjoint", adjoint, key(alg, options)),
        lambda: _new_recipe(model, alg, options, adjoint),
    )


def _new_recipe(
    model: JuliaModel, alg: str | None, options: SolveOptions, adjoint: AdjointOptions
) -> Recipe:
    sensealg = adjoint.sensealg or DEFAULT
    if sensealg not in SENSEALGS:
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
    model.compile("vjp", *(["vjp_p"] if model.n_p else []))
    handle = session.module().recipe(
        plan.handle, sensealg, adjoint.checkpointing, adjoint.abstol, adjoint.reltol
    )
    return Recipe(plan, handle)
