"""Every engine's gradient against finite differences of solves at a tolerance of 1e-13."""

from __future__ import annotations

import numpy as np
import pytest
from sensitivity_cases import Case, cases

import pysciml as sml

NAMES = (
    "lotka_volterra",
    "lorenz",
    "universal",
    "robertson",
    "reaction_diffusion",
    "stiff_network",
)


def _gradient(case: Case, engine: str, **how) -> sml.Gradient:
    return sml.gradient(
        case.problem,
        case.loss,
        how.pop("alg", case.alg),
        engine,
        case.saveat,
        how.pop("sensealg", "adjoint"),
        how.pop("abstol", case.abstol * (case.scale if case.name == "robertson" else 1.0)),
        case.reltol,
        maxiters=1_000_000,
        **how,
    )


def _check(case: Case, gradient: sml.Gradient, bound: float = 1e-6) -> None:
    error = np.abs(case.along(gradient) - case.reference)
    assert (error <= bound * np.abs(case.reference).max()).all(), (error, case.reference)


@pytest.mark.parametrize("name", NAMES)
def test_native(name: str) -> None:
    _check(cases()[name], _gradient(cases()[name], "native"))


@pytest.mark.parametrize("name", ("lotka_volterra", "lorenz", "robertson"))
def test_forward_native(name: str) -> None:
    case = cases()[name]
    # the sensitivities are much larger than the states: one tolerance for all
    _check(case, _gradient(case, "native", sensealg="forward", abstol=1e-12))


@pytest.mark.parametrize("sensealg", ("backprop", "odeint_adjoint"))
@pytest.mark.parametrize("name", ("lotka_volterra", "universal"))
def test_torch(name: str, sensealg: str) -> None:
    case = cases()[name]
    _check(case, _gradient(case, "torch", alg="dopri5", sensealg=sensealg))


@pytest.mark.julia
@pytest.mark.parametrize("name", NAMES)
def test_julia(name: str) -> None:
    _check(cases()[name], _gradient(cases()[name], "julia"))
