"""What only the Julia engine has to see to when it solves."""

from __future__ import annotations

import numpy as np
import pytest

import pysciml as sml
from pysciml.engines.julia import session

pytestmark = pytest.mark.julia


@pytest.mark.parametrize("alg", ("Tsit5", "Vern7", "Rodas5P", "FBDF"))
def test_what_is_saved_inside_a_first_step_that_is_cut_short(alg: str) -> None:
    problem = sml.ODEProblem(lambda u, p, t: -u, 1.0, (0.0, 0.2))
    sol = sml.solve(problem, alg, "julia", 0.005, 1e-3, 1e-3, dt=0.05, tstops=[0.02])
    assert sol.u == pytest.approx(np.exp(-sol.t), abs=1e-3 if alg == "FBDF" else 1e-5)


@pytest.mark.parametrize(
    "events", [(), (sml.ContinuousEvent(lambda u, p, t: u[0], lambda u, p, t: u),)]
)
def test_some_components(events):
    """The ones that are kept, at the steps and between them."""
    problem = sml.ODEProblem(lambda u, p, t: [u[1], -u[0]], [1.0, 0.0], (0.0, 3.0))
    tight = {"abstol": 1e-9, "reltol": 1e-9}
    sol = sml.solve(problem, "Tsit5", "julia", save_idxs=[1], events=events, **tight)
    np.testing.assert_allclose(sol.u[:, 0], -np.sin(sol.t), atol=1e-7)
    np.testing.assert_allclose(sol(2.5), [-np.sin(2.5)], atol=1e-7)


def test_a_package_that_is_missing_is_named_when_it_is_needed():
    """And only then: an environment without it is good for all else."""
    session.module()
    julia = session.main()
    path = list(julia.LOAD_PATH)
    julia.seval("empty!(LOAD_PATH)")
    try:
        with pytest.raises(sml.EngineUnavailableError, match="lacks JumpProcesses"):
            session.extension.__wrapped__("PySciMLJumpsExt")
        decay = sml.ODEProblem(lambda u, p, t: -u, 1.0, (0.0, 1.0))
        tight = {"abstol": 1e-9, "reltol": 1e-9}
        assert sml.solve(decay, "Tsit5", "julia", **tight).u[-1] == pytest.approx(np.exp(-1.0))
    finally:
        for entry in path:
            julia.push_b(julia.LOAD_PATH, entry)
