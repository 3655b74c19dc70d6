"""torchsde behind the engine protocol: closed forms along its own path, and what it lacks."""

from __future__ import annotations

import numpy as np
import pytest
from equations import MIXING, MU, correlated, geometric, geometric_exact, predator_prey

import pysciml as sml


def solve(problem, alg=None, saveat=None, **options):
    return sml.solve(problem, alg, "torch", saveat, **{"dt": 1 / 16, "seed": 4, **options})


@pytest.mark.parametrize(
    ("alg", "interpretation", "noise", "name", "error"),
    [
        (None, "ito", "diagonal", "srk", 2e-3),
        ("RKMil", "ito", "scalar", "milstein", 3e-2),
        ("EM", "ito", "diagonal", "euler", 0.3),
        (None, "stratonovich", "diagonal", "midpoint", 5e-2),
        ("heun", "stratonovich", "scalar", "heun", 5e-2),
    ],
)
def test_along_its_own_path(alg, interpretation, noise, name, error):
    problem = geometric(noise, interpretation)
    sol = solve(problem, alg, save_noise=True)
    assert sol.alg == name
    assert sol.t.size == 17
    np.testing.assert_allclose(sol.u, geometric_exact(problem, sol.t, sol.W), rtol=error)


def test_general_noise():
    for alg in ("euler", "srk"):  # srk takes it, as g does not depend on u
        sol = solve(correlated(), alg, [0.25, 1.0], dt=0.25, save_noise=True)
        np.testing.assert_allclose(sol.u, sol.W @ MIXING.T, atol=1e-12)


def test_the_seed_decides_and_torchsde_agrees():
    import torch
    import torchsde

    problem = geometric()
    one, two, other = (solve(problem, "euler", [1.0], seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.u, two.u)
    assert one.u != other.u

    class Sde:
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            return problem.p[0] * y

        def g(self, t, y):
            return problem.p[1] * y

    noise = torchsde.BrownianInterval(0.0, 1.0, (1, 1), dtype=torch.float64, entropy=1)
    start = torch.ones(1, 1, dtype=torch.float64)
    own = torchsde.sdeint(Sde(), start, torch.tensor([0.0, 1.0]), noise, "euler", dt=1 / 16)
    np.testing.assert_allclose(one.u, own[-1].numpy(), rtol=1e-14)


def test_output():
    problem = geometric(n=2)
    steps = solve(problem, "euler")
    some = solve(problem, "euler", [0.25, 0.5], save_idxs=[1], dense=True)
    np.testing.assert_allclose(some.u, steps.u[[4, 8], 1:], rtol=1e-14)
    np.testing.assert_allclose(some(0.47), steps(0.47)[1:], rtol=1e-13)
    ends = solve(problem, "euler", save_everystep=False)
    np.testing.assert_array_equal(ends.t, [0.0, 1.0])
    few = solve(problem, "euler", maxiters=5, raise_on_failure=False)
    assert few.retcode == "MaxIters"
    np.testing.assert_allclose(few.u, steps.u[:6], rtol=1e-14)
    blown = sml.SDEProblem(lambda u, p, t: u**3, lambda u, p, t: 0.1 * u, [9.0], (0.0, 1.0))
    kept = solve(blown, "euler", raise_on_failure=False)
    assert kept.retcode == "Unstable"
    assert np.isfinite(kept.u).all()
    adaptive = solve(problem, "milstein", [1.0], alg_options={"adaptive": True}, reltol=1e-2)
    assert adaptive.success


def test_an_ensemble_is_one_batch():
    many = sml.solve_ensemble(
        geometric(), 4000, "euler", "torch", [0.5, 1.0], dt=1 / 8, seed=3, progress=False
    )
    u = many.u[:, -1, 0]
    assert abs(u.mean() - (1 + MU / 8) ** 8) < 3.3 * u.std() / np.sqrt(len(u))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: solve(p, "euler", dt=None), ValueError, "dt must be given for euler"),
        (lambda p: solve(p, "Tsit5"), sml.UnsupportedError, "no SDE method 'Tsit5'"),
        (lambda p: solve(p, "heun"), sml.UnsupportedError, "heun is not for interpretation='ito'"),
        (lambda p: solve(p, "euler", tstops=[0.5]), sml.UnsupportedError, "no tstops for SDEs"),
        (lambda p: solve(p, "euler", dtmin=1e-3), sml.UnsupportedError, "no dtmin for SDEs"),
        (
            lambda p: solve(p, "euler", alg_options={"adaptive": True}),
            sml.UnsupportedError,
            "give saveat",
        ),
        (
            lambda p: solve(predator_prey("full"), "milstein"),
            sml.UnsupportedError,
            "milstein is not for noise='general'",
        ),
    ],
)
def test_what_it_lacks(call, error, message):
    with pytest.raises(error, match=message):
        call(predator_prey("own"))
