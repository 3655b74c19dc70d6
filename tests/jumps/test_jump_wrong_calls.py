"""Wrong calls, each with its whole message."""

from __future__ import annotations

import pytest

import pysciml as sml
from pysciml import CaptureError, DiscreteProblem, JumpProblem, Reaction, UnsupportedError

NATIVE = {"engine": "native"}
DECAY = Reaction(1.0, {"A": 1})
problem = JumpProblem([DECAY], [5], (0.0, 1.0), names=["A"])
walk = DiscreteProblem(lambda u, p, k: u + 1.0, [0.0], (0, 10))
diffusion = sml.SDEProblem(lambda u, p, t: -u, lambda u, p, t: u, [1.0], (0.0, 1.0))


def jumps(reactions=(DECAY,), u0=(5,), tspan=(0.0, 1.0), p=None, names=("A",)):
    return lambda: JumpProblem(list(reactions), list(u0), tspan, p, names=names)


def rated(rate, **reaction):
    """A solve with one reaction of this rate."""
    made = JumpProblem([Reaction(rate, **({"products": {0: 1}} | reaction))], [5], (0.0, 1.0))
    return lambda: sml.solve(made, seed=1, **NATIVE)


def solved(what=problem, alg=None, **how):
    return lambda: sml.solve(what, alg, **{**NATIVE, **how})


WRONG_CALLS = [
    # reactions
    (
        lambda: Reaction(-1.0, {"A": 1}),
        ValueError,
        "rate must be a number >= 0, the name of a parameter, or a function rate(u, p, t); got "
        "-1.0",
    ),
    (
        lambda: Reaction(None, {"A": 1}),
        TypeError,
        "rate must be a number >= 0, the name of a parameter, or a function rate(u, p, t); got "
        "None",
    ),
    (
        lambda: Reaction(lambda u: u, {"A": 1}),
        TypeError,
        "rate must be a number >= 0, the name of a parameter, or a function rate(u, p, t); got a "
        "function, which does not take three arguments",
    ),
    (
        lambda: Reaction(1.0, ["A", "B"]),
        TypeError,
        'reactants must be a dict of species and how many of each, such as {"S": 1, "I": 1}; got '
        "the list ['A', 'B']",
    ),
    (
        lambda: Reaction(1.0, {1.5: 1}),
        TypeError,
        "reactants must name species by name or by index; got 1.5",
    ),
    (
        lambda: Reaction(1.0, None, {"A": 0.5}),
        ValueError,
        "products['A'] must be a whole number >= 1; got 0.5",
    ),
    (
        lambda: Reaction(1.0, {"A": 2}, {"A": 2}),
        ValueError,
        "reactants and products must differ, or the reaction changes nothing; got 2 A for both",
    ),
    # problems
    (
        lambda: JumpProblem(DECAY, [5], (0.0, 1.0)),
        TypeError,
        "reactions must be a list of Reaction(rate, reactants, products); got a Reaction",
    ),
    (
        jumps(()),
        ValueError,
        "reactions must be a list of Reaction(rate, reactants, products), with at least one; got "
        "an empty list",
    ),
    (
        jumps([(1.0, {"A": 1}, {})]),
        TypeError,
        "reactions[0] must be a Reaction; got the tuple (1.0, {'A': 1}, {})",
    ),
    (
        lambda: sml.solve(JumpProblem(diffusion, [Reaction(1.0, {0: 1})]), engine="native"),
        UnsupportedError,
        'engine="native" has no JumpProblem of an SDEProblem; engine="julia" has',
    ),
    (jumps(u0=[2.5]), ValueError, "u0 must be whole numbers >= 0; got 2.5"),
    (jumps(u0=[-1]), ValueError, "u0 must be whole numbers >= 0; got -1.0"),
    (
        lambda: problem.remake(u0=[1e-3]),
        ValueError,
        "u0 must be whole numbers >= 0; got 0.001",
    ),
    (
        jumps(tspan=(1.0, 0.0)),
        ValueError,
        "tspan must be two times t0 < t1, as jumps happen forwards in time; got (1.0, 0.0)",
    ),
    (
        jumps(names=None),
        ValueError,
        "names must be given when reactions name their species, here 'A'; got None",
    ),
    (
        jumps(names=["Alpha"]),
        ValueError,
        "reactants must be species out of names ['Alpha']; got 'A'",
    ),
    (
        jumps([Reaction(1.0, None, {1: 1})]),
        ValueError,
        "products must be species between 0 and 0, the entries of u0; got 1",
    ),
    (
        jumps([Reaction("beta", {"A": 1})], p={"betta": 1.0}),
        ValueError,
        "reactions[0].rate must be the name of a parameter; got 'beta': p has ['betta']; did you "
        "mean 'betta'?",
    ),
    (
        jumps([Reaction("beta", {"A": 1})], p=[1.0]),
        ValueError,
        "reactions[0].rate must be the name of a parameter; got 'beta': p must be a dict or "
        "namedtuple that has it",
    ),
    (
        jumps([Reaction("beta", {"A": 1})], p={"beta": [1.0, 2.0]}),
        ValueError,
        "p['beta'] must be one number, as it is the rate of reactions[0]; got an array of shape "
        "(2,) and dtype float64",
    ),
    # rates
    (
        rated(lambda u, p, t: u),
        CaptureError,
        "the rate of reactions[0] must return one number, but returned shape (1,)",
    ),
    (
        rated(lambda u, p, t: 1.0 + t),
        UnsupportedError,
        "a rate depends on t, and Direct takes the propensities to be constant from one jump to "
        "the next. Rates that vary in between are those of jumps in the solution of an equation: "
        "JumpProblem(ODEProblem(...), [...])",
    ),
    (
        rated(lambda u, p, t: 100.0 * (6.0 - u[0]), products={0: 2}),
        sml.SolveError,
        "Direct on the native engine stopped before t = 1 (Unstable): Direct stopped at t = "
        "0.001112839 of (0, 1), after 1 steps. The propensity of reactions[0] (nothing -> 2 "
        "u[0]) is -100, and should be a finite number >= 0: check its rate and p at the last "
        "state. The 2 saved states are in error.solution; raise_on_failure=False returns them "
        "instead of raising.",
    ),
    # solves
    (
        solved(alg="Tsit5"),
        ValueError,
        "alg='Tsit5' is no method for a JumpProblem of the native engine; there are 'Direct' and "
        "'TauLeaping'",
    ),
    (
        solved(alg="NRM"),
        UnsupportedError,
        "alg='NRM' is not in the native engine, whose methods for a JumpProblem are 'Direct' and "
        "'TauLeaping'",
    ),
    (
        solved(engine="torch"),
        UnsupportedError,
        'engine="torch" has no JumpProblem; engine="native" and engine="julia" have',
    ),
    (
        solved(alg="TauLeaping", alg_options={"epsilon": 2}),
        ValueError,
        "epsilon must be a number between 0 and 1; got 2.0",
    ),
    (
        solved(alg="TauLeaping", alg_options={"eps": 0.1}),
        ValueError,
        "unknown option 'eps' for the native TauLeaping; known: epsilon",
    ),
    (solved(dt=0.1), ValueError, "dt has no meaning for Direct, which makes no time steps"),
    (
        solved(save_noise=True),
        ValueError,
        "save_noise has no meaning for Direct, which makes no time steps",
    ),
    (
        solved(events=[sml.PresetTimes([0.5], lambda u, p, t: u)]),
        UnsupportedError,
        "there are no events for a JumpProblem, only for ODEProblem",
    ),
    (
        lambda: sml.gradient(problem, lambda u: u.sum(), saveat=1.0, **NATIVE),
        UnsupportedError,
        "there are no derivatives of the solution of a JumpProblem yet",
    ),
    # maps
    (
        lambda: DiscreteProblem(lambda u, p, k: u, [1.0], (0.0, 2.5)),
        ValueError,
        "tspan must be two whole numbers k0 < k1; got (0.0, 2.5)",
    ),
    (
        lambda: DiscreteProblem(lambda u, p, k: u, [1.0], (3, 0)),
        ValueError,
        "tspan must be two whole numbers k0 < k1; got (3.0, 0.0)",
    ),
    (
        solved(walk, saveat=0.5),
        ValueError,
        "saveat must be whole numbers for a DiscreteProblem; got 0.5",
    ),
    (
        solved(walk, seed=1),
        TypeError,
        "seed has no meaning for a DiscreteProblem: nothing in it is random",
    ),
    (
        solved(walk, engine="torch"),
        UnsupportedError,
        'engine="torch" has no DiscreteProblem; engine="native" and engine="julia" have',
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS)
def test_the_error_names_what_came_and_what_was_expected(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert str(caught.value) == message
