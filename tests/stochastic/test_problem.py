"""SDEProblem at the door: what it keeps, and wrong calls, each with its message."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from equations import PARAMETERS, correlated, geometric, ornstein_uhlenbeck, predator_prey

import pysciml as sml


def f(u, p, t):
    return -u


def g(u, p, t):
    return 0.1 * u


def columns(u, p, t):
    return torch.stack([u, 2 * u, u * u], -1)


given = (f, g, [1.0, 2.0], (0, 1))


def native(problem, alg=None, **options):
    return sml.solve(problem, alg, "native", **{"seed": 1, **options})


def test_what_it_keeps():
    problem = predator_prey("full", "stratonovich")
    assert (problem.noise, problem.interpretation) == ("general", "stratonovich")
    assert problem.noise_shape == (3,)
    assert problem.p == PARAMETERS
    assert "noise='general', interpretation='stratonovich'" in repr(problem)
    assert not problem.is_additive
    assert correlated().is_additive
    assert ornstein_uhlenbeck().is_additive
    assert geometric().noise_shape == (1,)
    assert geometric("scalar").noise_shape == ()
    named = sml.SDEProblem(*given, names=["x", "y"])
    assert named.names == ("x", "y")


def test_remake_shares_what_was_captured():
    problem = predator_prey("own")
    other = problem.remake(p={"a": 1.0, "s": 0.0}, u0=[2.0, 0.0], tspan=(0.0, 0.5))
    assert type(other) is sml.SDEProblem
    assert other.model is problem.model
    assert other.noise_model is problem.noise_model
    assert (other.noise, other.interpretation) == (problem.noise, problem.interpretation)
    np.testing.assert_array_equal(other.p_flat, [1.0, 0.0])
    np.testing.assert_allclose(other.model.f([2.0, 3.0], other.p_flat, 0.0), [0.2, -3.0])
    np.testing.assert_allclose(problem.noise_model.f([1.0, 0.0], [0.4, 0.3], 1.0), [0.36, 0.1])


def test_modules_and_plain_parameters_together():
    class Noise(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor([0.5, 0.25]))

        def forward(self, u, p, t):
            return self.scale * p["s"] * u

    problem = sml.SDEProblem(
        lambda u, p, t: p["a"] * u, Noise(), [1.0, 2.0], (0, 1), {"a": 2.0, "s": 3.0}
    )
    assert problem.model.parameters.names == ["p.a", "p.s", "g.scale[0]", "g.scale[1]"]
    np.testing.assert_allclose(problem.model.f([1.0, 2.0], problem.p_flat, 0.0), [2.0, 4.0])
    np.testing.assert_allclose(problem.noise_model.f([1.0, 2.0], problem.p_flat, 0.0), [1.5, 1.5])
    changed = problem.remake(p={"a": 1.0, "s": 1.0})
    np.testing.assert_allclose(changed.p_flat, [1.0, 1.0, 0.5, 0.25])


def test_the_default_method_fits_the_noise():
    for problem, alg in [
        (ornstein_uhlenbeck(), "SOSRA"),
        (correlated(), "SOSRA"),
        (geometric(), "SOSRI"),
        (geometric("scalar"), "SOSRI"),
        (predator_prey("full"), "LambaEM"),
        (geometric("diagonal", "stratonovich"), "LambaEulerHeun"),
        (predator_prey("full", "stratonovich"), "LambaEulerHeun"),
    ]:
        sol = native(problem, saveat=[0.1], abstol=0.1, reltol=0.1)
        assert sol.alg == alg
        assert sol.success


WRONG_CALLS = [
    (
        lambda: sml.SDEProblem(f, 1.0, [1.0], (0, 1)),
        TypeError,
        "g must be a function g(u, p, t) or g(du, u, p, t), or an nn.Module; got 1.0",
    ),
    (
        lambda: sml.SDEProblem(f, lambda u: u, [1.0], (0, 1)),
        TypeError,
        "g must be a function g(u, p, t) or g(du, u, p, t), or an nn.Module; got <lambda>(u)",
    ),
    (
        lambda: sml.SDEProblem("f", g, [1.0], (0, 1)),
        TypeError,
        "f must be a function f(u, p, t) or f(du, u, p, t), or an nn.Module; got the string 'f'",
    ),
    (
        lambda: sml.SDEProblem(f, g, [1.0], (1, 0)),
        ValueError,
        "tspan must be two times t0 < t1, as noise is added forwards in time; got (1.0, 0.0)",
    ),
    (
        lambda: sml.SDEProblem(*given).remake(tspan=(2, 1)),
        ValueError,
        "tspan must be two times t0 < t1, as noise is added forwards in time; got (2.0, 1.0)",
    ),
    (
        lambda: sml.SDEProblem(*given, noise="diag"),
        ValueError,
        "noise must be 'diagonal', 'scalar' or 'general'; got 'diag'; did you mean 'diagonal'?",
    ),
    (
        lambda: sml.SDEProblem(*given, noise=None),
        TypeError,
        "noise must be 'diagonal', 'scalar' or 'general'; got None",
    ),
    (
        lambda: sml.SDEProblem(*given, interpretation="Ito"),
        ValueError,
        "interpretation must be 'ito' or 'stratonovich'; got 'Ito'; did you mean 'ito'?",
    ),
    (
        lambda: sml.SDEProblem(f, g, [np.nan], (0, 1)),
        ValueError,
        "u0 must be finite; got nan in u0[0]",
    ),
    (
        lambda: sml.SDEProblem(*given).remake(u0=[1.0]),
        ValueError,
        "u0 must be an array of shape (2,), as in the problem; got an array of shape (1,) and "
        "dtype float64; make a new SDEProblem for a state of another shape",
    ),
    (
        lambda: native(sml.SDEProblem(f, lambda u, p, t: u[:1], [1.0, 2.0], (0, 1))),
        sml.CaptureError,
        "g must return an array of u's shape (2,), but returned shape (1,)",
    ),
    (
        lambda: native(sml.SDEProblem(*given, noise="general")),
        sml.CaptureError,
        "g must return the shape (2, m), a column for each Wiener process, but returned shape (2,)",
    ),
    (
        lambda: native(sml.SDEProblem(f, lambda du, u, p, t: None, [1.0], (0, 1), noise="general")),
        sml.CaptureError,
        "g must take (u, p, t) here and return its result: what shape that has is not known, so "
        "there is no du to write in",
    ),
    (
        lambda: native(sml.SDEProblem(*given), seed=-1),
        ValueError,
        "seed must be a whole number >= 0 and < 2**63; got -1",
    ),
    (
        lambda: native(sml.SDEProblem(*given), seed=1.5),
        TypeError,
        "seed must be a whole number >= 0; got 1.5",
    ),
    (
        lambda: native(sml.SDEProblem(*given), seed=(1, 2, 3)),
        ValueError,
        "seed must be a whole number >= 0, or two of them; got the tuple (1, 2, 3)",
    ),
    (
        lambda: native(sml.SDEProblem(*given), seed=(1, 2**39)),
        ValueError,
        "a seed has 549755813888 trajectories; got number 549755813888",
    ),
    (
        lambda: native(sml.SDEProblem(*given), save_noise="yes"),
        TypeError,
        "save_noise must be True or False; got the string 'yes'",
    ),
    (
        lambda: native(sml.ODEProblem(f, [1.0], (0, 1)), seed=3),
        TypeError,
        "seed has no meaning for an ODEProblem: nothing in it is random",
    ),
    (
        lambda: native(sml.ODEProblem(f, [1.0], (0, 1)), seed=None, save_noise=True),
        TypeError,
        "save_noise has no meaning for an ODEProblem: nothing in it is random",
    ),
    (
        lambda: native(sml.SDEProblem(*given), "EM"),
        ValueError,
        "dt must be given for EM: it steps by a fixed dt; got None. SOSRI, SOSRA, LambaEM and "
        "LambaEulerHeun choose their steps",
    ),
    (
        lambda: native(sml.SDEProblem(*given), "EM", dt=1e-14),
        ValueError,
        "dt must be at least 9.1e-13 of tspan's length; got 1e-14",
    ),
    (
        lambda: native(sml.SDEProblem(*given), "Tsit5"),
        ValueError,
        "alg='Tsit5' is not an SDE method of the native engine; there are SOSRI, SRIW1, SOSRA, "
        "SRA1, RKMil, EM, LambaEM, EulerHeun, LambaEulerHeun",
    ),
    (
        lambda: native(sml.SDEProblem(*given), "SOSRA"),
        sml.UnsupportedError,
        "SOSRA is not for a g that depends on u; SOSRI is, the default for this problem",
    ),
    (
        lambda: native(sml.SDEProblem(*given, interpretation="stratonovich"), "SOSRI"),
        sml.UnsupportedError,
        "SOSRI is not for interpretation='stratonovich'; LambaEulerHeun is, the default for this "
        "problem",
    ),
    (
        lambda: native(
            sml.SDEProblem(f, columns, [1.0, 2.0], (0, 1), noise="general"), "RKMil", dt=0.1
        ),
        sml.UnsupportedError,
        "RKMil is not for noise='general'; LambaEM is, the default for this problem",
    ),
    (
        lambda: native(sml.SDEProblem(f, lambda u, p, t: u.flip(0), *given[2:]), "RKMil", dt=0.1),
        sml.UnsupportedError,
        "RKMil is not for diagonal noise whose g_i depends on other entries of u; SOSRI is, the "
        "default for this problem",
    ),
    (
        lambda: native(sml.SDEProblem(*given), "EM", dt=0.1, alg_options={"gamma": 0.8}),
        ValueError,
        "unknown option 'gamma' for the native EM; known: ",
    ),
    (
        lambda: native(sml.SDEProblem(*given), random_state=3),
        TypeError,
        "there is no option 'random_state'; here it is called 'seed'",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    WRONG_CALLS,
    ids=[f"{i:02d} {message.split()[0]}" for i, (_, _, message) in enumerate(WRONG_CALLS)],
)
def test_the_error_names_what_came_and_what_was_expected(call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value).split("\n", maxsplit=1)[0] == message


def test_general_noise_in_place_takes_its_columns_from_the_prototype():
    def written(du, u, p, t):
        du[0, 0] = 0.3 * u[0]
        du[1, 1] = p * u[1]

    def returned(u, p, t):
        return [[0.3 * u[0], 0.0, 0.0], [0.0, p * u[1], 0.0]]

    given = [1.0, 2.0], (0.0, 1.0), 0.5
    in_place = sml.SDEProblem(f, written, *given, noise_rate_prototype=np.zeros((2, 3)))
    assert (in_place.noise, in_place.noise_shape) == ("general", (3,))
    other = sml.SDEProblem(f, returned, *given, noise="general")
    runs = [sml.solve(x, engine="native", seed=1, saveat=0.5).u for x in (in_place, other)]
    assert np.array_equal(*runs)


def test_a_prototype_of_another_shape():
    given = f, f, [1.0, 2.0], (0.0, 1.0)
    with pytest.raises(ValueError, match=r"\(2, m\); got shape \(3, 2\)"):
        sml.SDEProblem(*given, noise_rate_prototype=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="got noise='scalar'"):
        sml.SDEProblem(*given, noise="scalar", noise_rate_prototype=np.zeros((2, 1)))
