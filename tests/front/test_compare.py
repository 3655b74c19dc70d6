"""compare(): errors against references that were not made by the engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml import engines
from pysciml.compare import format_time, reference_states, relative_error
from pysciml.engines.base import Availability


def decay(u, p, t):
    return -p * u


@pytest.fixture
def problem():
    return sml.ODEProblem(decay, [1.0, 3.0], (0, 2), 0.5)


@pytest.fixture
def no_julia(monkeypatch):
    class Julia:
        name = "julia"

        def availability(self):
            return Availability(False, "Julia is not installed", "pysciml julia install")

    monkeypatch.setitem(engines._loaded, "julia", Julia())


def test_the_reference_is_exact(problem):
    times = np.linspace(0, 2, 11)
    states, source = reference_states(problem, times)
    np.testing.assert_allclose(states, problem.u0 * np.exp(-0.5 * times)[:, None], rtol=1e-12)
    assert source == "SciPy DOP853 at rtol=1e-13"


def test_the_reference_of_a_stiff_problem_is_implicit():
    stiff = sml.ODEProblem(lambda u, p, t: -1e6 * (u - torch.cos(t)), [0.0], (0, 1))
    states, source = reference_states(stiff, np.array([0.5, 1.0]))
    assert source.startswith("SciPy Radau")
    # u = (a^2 cos t + a sin t) / (a^2 + 1) after the transient
    a, t = 1e6, np.array([0.5, 1.0])
    np.testing.assert_allclose(
        states[:, 0], (a**2 * np.cos(t) + a * np.sin(t)) / (a**2 + 1), rtol=1e-9
    )


def test_a_mass_matrix_is_used_by_the_reference():
    problem = sml.ODEProblem(decay, [1.0, 3.0], (0, 2), 0.5, mass_matrix=[[2.0, 0.0], [0.0, 4.0]])
    states, _ = reference_states(problem, np.array([0.0, 2.0]))
    np.testing.assert_allclose(states[-1], [np.exp(-0.5), 3 * np.exp(-0.25)], rtol=1e-12)


def test_relative_error_is_judged_component_by_component():
    exact = np.array([[1.0, 1e-6], [2.0, 2e-6]])
    assert relative_error(exact + np.array([[0.0, 1e-7], [0.0, 0.0]]), exact) == pytest.approx(0.05)


def test_the_table(problem, no_julia, capsys):
    result = sml.compare(
        problem, ("julia", "torch"), {"torch": ["dopri5", "Tsit5"]}, reltol=[1e-4, 1e-8]
    )
    ran = [row for row in result.table if row["retcode"] == "Success"]
    assert [(row["alg"], row["reltol"], row["abstol"]) for row in ran] == [
        ("dopri5", 1e-4, 1e-4),
        ("dopri5", 1e-8, 1e-8),
    ]
    assert ran[1]["error"] < 1e-6 < 1e-4 * 10
    assert ran[1]["error"] < ran[0]["error"]
    assert ran[1]["nf"] > ran[0]["nf"] > 0
    assert 0.0 < ran[0]["seconds"] <= ran[0]["first_seconds"] * 1.5
    assert result.unavailable == {"julia": "Julia is not installed (pysciml julia install)"}
    unsupported = [row for row in result.table if row["alg"] == "Tsit5"]
    assert {row["retcode"] for row in unsupported} == {"Unsupported"}
    printed = capsys.readouterr().out
    assert "julia: not available, Julia is not installed" in printed
    assert "torchdiffeq has dopri5" in printed
    assert "errors against SciPy DOP853 at rtol=1e-13" in printed
    assert len(result.to_dataframe()) == 4


def test_the_native_engine_is_compared(problem, no_julia):
    result = sml.compare(problem, ["native"], ["Tsit5"], reltol=1e-8, show=False)
    assert result.table[0]["retcode"] == "Success"
    assert result.table[0]["error"] < 1e-6


def test_the_work_precision_plot(problem):
    result = sml.compare(problem, "torch", "dopri5", reltol=[1e-4, 1e-6], show=False)
    ax = result.plot()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "largest relative error"
    assert ax.get_ylabel() == "time of one solve [s]"
    errors, seconds = ax.lines[0].get_data()
    assert list(errors) == [row["error"] for row in result.table]
    assert list(seconds) == [row["seconds"] for row in result.table]
    assert ax.get_legend().get_texts()[0].get_text() == "torch: dopri5"


def test_a_failing_method_is_a_row(problem):
    result = sml.compare(problem, "torch", reltol=1e-8, maxiters=2, show=False)
    assert result.table[0]["retcode"] == "MaxIters"
    assert np.isnan(result.table[0]["error"])
    assert "2 steps were not enough" in str(result)


def test_a_reference_of_the_users_own(problem):
    def solution(t):
        return problem.u0 * np.exp(-0.5 * t)[:, None]

    result = sml.compare(problem, "torch", reltol=1e-8, reference=solution, show=False)
    assert result.table[0]["error"] < 1e-6
    assert result.reference == "the reference given"


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ([1.0], TypeError, r"reference must be a Solution with dense output or a function of"),
        (np.sin, ValueError, r"reference must give an array of shape \(101, 2\); got an array of"),
    ],
)
def test_a_wrong_reference(problem, reference, error, message):
    with pytest.raises(error, match=f"^{message}"):
        sml.compare(problem, "torch", reference=reference, show=False)


def test_a_singular_mass_matrix_needs_a_reference():
    problem = sml.ODEProblem(decay, [1.0, 0.0], (0, 1), 0.5, mass_matrix=np.diag([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"^reference must be given for a differential-algebraic"):
        sml.compare(problem, "torch")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.0, "2 s"), (0.0123, "12.3 ms"), (5.2e-5, "52 µs"), (4e-8, "40 ns"), (np.nan, "-")],
)
def test_times_have_units(seconds, text):
    assert format_time(seconds) == text
