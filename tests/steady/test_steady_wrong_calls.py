"""Wrong calls, each with its whole message."""

from __future__ import annotations

import pytest
from steady_cases import brusselator

import pysciml as sml


def solve(*arguments, **options):
    return sml.solve(brusselator(), *arguments, **options)


def gradient(**options):
    return sml.gradient(brusselator(), lambda u: u.sum(), **options)


NO_TIME = " has no meaning for a SteadyStateProblem: there is no time in it"
WRONG_CALLS = [
    (
        lambda: sml.SteadyStateProblem(3.0, [1.0]),
        TypeError,
        "f must be a function f(u, p, t) or f(du, u, p, t), or an nn.Module; got 3.0",
    ),
    (
        lambda: sml.SteadyStateProblem(lambda u, p, t: u, []),
        ValueError,
        "u0 must have at least one entry; got the list []",
    ),
    (
        lambda: sml.SteadyStateProblem(lambda u, p, t: u, [1.0], p="k"),
        TypeError,
        "p must be real numbers: None, a number, a vector, or a dict, namedtuple or list of them; "
        "got the string 'k'",
    ),
    (
        lambda: brusselator().remake(tspan=(0.0, 1.0)),
        TypeError,
        "a SteadyStateProblem has no tspan: there is no time in it",
    ),
    (
        lambda: solve("Tsit5"),
        ValueError,
        'alg must be "SSRootfind", "DynamicSS" or "DynamicSS(method)" for a SteadyStateProblem; '
        "got 'Tsit5'",
    ),
    (
        lambda: solve("SSRootFnd"),
        ValueError,
        'alg must be "SSRootfind", "DynamicSS" or "DynamicSS(method)" for a SteadyStateProblem; '
        "got 'SSRootFnd'; did you mean 'SSRootfind'?",
    ),
    (
        lambda: solve("SSRootfind(TrustRegion)"),
        sml.UnsupportedError,
        '"SSRootfind(TrustRegion)" is not in the native engine, whose "SSRootfind" is SciPy\'s '
        'hybrid Powell method; the methods of NonlinearSolve need engine="julia"',
    ),
    (
        lambda: solve(engine="torch"),
        sml.UnsupportedError,
        'engine="torch" has no SteadyStateProblem; engine="native" and engine="julia" have',
    ),
    (
        lambda: solve(engine="nativ"),
        ValueError,
        "engine must be one of 'auto', 'julia', 'native', 'torch'; got 'nativ'; "
        "did you mean 'native'?",
    ),
    (
        lambda: solve(rtol=1e-3),
        TypeError,
        "there is no option 'rtol'; here it is called 'reltol'",
    ),
    (lambda: solve(saveat=0.1), TypeError, f"saveat{NO_TIME}"),
    (lambda: solve(dt=0.1), TypeError, f"dt{NO_TIME}"),
    (lambda: solve(adaptive=False), TypeError, f"adaptive{NO_TIME}"),
    (lambda: solve(seed=1), TypeError, f"seed{NO_TIME}"),
    (lambda: gradient(times=True), TypeError, f"times{NO_TIME}"),
    (lambda: gradient(sensealg="adjoint"), TypeError, f"sensealg{NO_TIME}"),
    (
        lambda: gradient(raise_on_failure=False),
        TypeError,
        "raise_on_failure has no meaning for derivatives of a solution",
    ),
    (
        lambda: solve(abstol=-1.0),
        ValueError,
        "abstol must be a finite number > 0; got -1.0",
    ),
    (
        lambda: solve(reltol=[1e-3, 1e-3]),
        TypeError,
        "reltol must be a number > 0; got the list [0.001, 0.001]",
    ),
    (
        lambda: solve(maxiters=0),
        ValueError,
        "maxiters must be a whole number >= 1; got 0",
    ),
    (
        lambda: sml.solve(sml.SteadyStateProblem(lambda u, p, t: t - u, [1.0])),
        ValueError,
        "f of a SteadyStateProblem must not depend on t: there would be no steady state",
    ),
    (
        lambda: sml.solve_ensemble(brusselator(), n=3, saveat=[1.0]),
        TypeError,
        "a SteadyStateProblem has no solution over time; solve and gradient take it",
    ),
    (
        lambda: sml.sensitivities(brusselator()),
        TypeError,
        "a SteadyStateProblem has no solution over time; solve and gradient take it",
    ),
]


@pytest.mark.parametrize(
    ("call", "kind", "message"), WRONG_CALLS, ids=[message[:60] for *_, message in WRONG_CALLS]
)
def test_wrong_calls(call, kind, message):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message
