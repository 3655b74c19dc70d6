"""Wrong calls of `fit`, each with its whole message. None may reach a solver."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import pysciml as sml
from pysciml import engines, train
from pysciml.train import MSE, Adam, Collocation, EarlyStopping, GrowingHorizon, MultipleShooting

NAN, INF = float("nan"), float("inf")
T = [0.5, 1.0, 1.5, 2.0]
Y = [[1.0, 2.0], [1.1, 2.1], [1.2, 2.2], [1.3, 2.3]]


def f(u, p, t):
    return -p["k"] * u + p["c"]


problem = sml.ODEProblem(f, [1.0, 2.0], (0.0, 2.0), {"k": 1.0, "c": [0.1, 0.2]}, names=["x", "y"])


def fit(data=(T, Y), the_problem=problem, **options):
    return sml.fit(the_problem, data, engine="native", progress=False, **options)


_DATA = (
    "(t, u), a DataFrame with a column t, something with t and u (a Dataset, a Solution), or a "
    "list of these"
)
_LOSSES = "'mse', 'gaussian', 'lognormal', 'poisson', a loss such as MSE(...), or a torch function"

WRONG_CALLS = [
    # the model
    (
        lambda: fit(the_problem="f"),
        TypeError,
        "problem must be an ODEProblem, a DDEProblem, a right-hand side f(u, p, t) or an "
        "nn.Module; got the string 'f'",
    ),
    (
        lambda: fit(p={"k": 1.0}),
        ValueError,
        "p must not be given with an ODEProblem: it has its own; use remake",
    ),
    (lambda: fit(alg=3), TypeError, 'alg must be the name of a method, such as "Tsit5"; got 3'),
    (
        lambda: fit(reltol=0.0),
        ValueError,
        "reltol must be finite and > 0; got 0.0",
    ),
    (
        lambda: fit(optimizers=Adam()),
        TypeError,
        "fit() has no option 'optimizers'; did you mean 'optimisers'?",
    ),
    (lambda: fit(saveat=0.1), TypeError, "fit() has no option 'saveat'"),
    # the data
    (
        lambda: fit(np.array(Y)),
        TypeError,
        f"data must be {_DATA}; got an array of shape (4, 2) and dtype float64",
    ),
    (lambda: fit([]), ValueError, "data must hold at least one trajectory; got an empty list"),
    (
        lambda: fit([(T, Y), 3]),
        TypeError,
        f"data[1] must be {_DATA}; got 3",
    ),
    (
        lambda: fit((T[:3], Y)),
        ValueError,
        "u of data must have one row for each of the 3 times; "
        "got an array of shape (4, 2) and dtype float64",
    ),
    (
        lambda: fit((T, np.ones((4, 3)))),
        ValueError,
        "u of data must have the shape (4, 2), one row for each time; "
        "got an array of shape (4, 3) and dtype float64",
    ),
    (
        lambda: fit([(T, Y), (T, [1.0, 2.0, 3.0, 4.0])]),
        ValueError,
        "u of data[1] must have the shape (4, 2), one row for each time; "
        "got an array of shape (4,) and dtype float64",
    ),
    (
        lambda: fit((T, [["a", "b"]] * 4)),
        TypeError,
        "u of data must be real numbers, one row for each time; got the list "
        "[['a', 'b'], ['a', 'b'], ['a', 'b'], ['a', 'b']]",
    ),
    (
        lambda: fit((T, [[1.0, INF]] * 4)),
        ValueError,
        "u of data must be finite, or NaN where missing; got inf in u of data[0, 1]",
    ),
    (
        lambda: fit((T, np.full((4, 2), NAN))),
        ValueError,
        "u of data must hold at least one number; all of it is NaN",
    ),
    (
        lambda: fit(([0.5, NAN, 1.5, 2.0], Y)),
        ValueError,
        "t of data must be finite; got nan in row 1",
    ),
    (
        lambda: fit((np.ones((4, 1)), Y)),
        ValueError,
        "t of data must be a vector of times; got an array of shape (4, 1) and dtype float64",
    ),
    (
        lambda: fit(([-0.5, 1.0, 1.5, 2.0], Y)),
        ValueError,
        "data must not lie before the problem's t0 = 0; got t = -0.5",
    ),
    (
        lambda: fit(([0.0], [[1.0, 2.0]])),
        ValueError,
        "data must hold an observation after t0 = 0; there is none",
    ),
    (
        lambda: fit(pd.DataFrame({"x": [1.0], "y": [2.0]})),
        ValueError,
        "data must have a column or an index named t or time; "
        "got a DataFrame with the columns ['x', 'y']",
    ),
    (
        lambda: fit(pd.DataFrame({"t": T, "x": np.array(["a", "b", "c", "d"], object)})),
        TypeError,
        "column 'x' of data must be real numbers; got an array of shape (4,) and dtype object",
    ),
    # what is observed, and its weights
    (
        lambda: fit(observe=["x", "z"]),
        ValueError,
        "observe must name entries of u0; got 'z'",
    ),
    (
        lambda: fit(observe=[0, 2]),
        ValueError,
        "observe must lie between 0 and 1, the entries of u0; got 2",
    ),
    (
        lambda: fit(observe="x"),
        TypeError,
        "observe must be a list of indices or names of entries of u0, or a torch function "
        "observe(u, p, t); got the string 'x'",
    ),
    (lambda: fit(weights=[1.0, -1.0]), ValueError, "weights must be >= 0; got -1.0"),
    (
        lambda: fit(weights=[1.0, 2.0, 3.0]),
        ValueError,
        "weights must be a number, one for each component, or of the data's shape (4, 2); "
        "got an array of shape (3,) and dtype float64",
    ),
    (
        lambda: fit([(T, Y), (T, Y)], weights=[1.0, 1.0, 2.0]),
        ValueError,
        "weights must be one entry for each of the 2 trajectories; got a list of 3",
    ),
    # initial states
    (
        lambda: fit(u0="first"),
        ValueError,
        "u0 must be \"data\", an array or a list of arrays; got 'first'",
    ),
    (
        lambda: fit(u0=[1.0]),
        ValueError,
        "u0 must be an array of shape (2,), as in the problem; got an array of shape (1,) and "
        "dtype float64; make a new ODEProblem for a state of another shape",
    ),
    (
        lambda: fit([(T, Y), (T, Y)], u0=[[1.0, 2.0]] * 3),
        ValueError,
        "u0 must be one state, or one for each of the 2 trajectories; got 3",
    ),
    (
        lambda: fit((T, np.array(Y)[:, 0]), observe=lambda u, p, t: u[:1], u0="data"),
        ValueError,
        'u0="data" needs data of entries of the state; here observe is a function',
    ),
    (
        lambda: fit((T, [[NAN, 2.0], *Y[1:]]), u0="data"),
        ValueError,
        'u0="data" needs a first row without NaN; got [nan, 2.0] at t = 0.5',
    ),
    (
        lambda: fit(u0=lambda p, k: p["c"], fit_u0=True),
        ValueError,
        "fit_u0 must be False where u0 is a function of the parameters",
    ),
    (
        lambda: fit(u0=lambda p, k: p["c"][:1]),
        ValueError,
        "u0(p, k) must return an array of shape (2,), as in the problem; got the shape (1,)",
    ),
    (
        lambda: fit(the_problem=f, p=problem.p, u0=lambda p, k: p["c"]),
        TypeError,
        "u0 as a function must be given with an ODEProblem, which has its shape",
    ),
    (lambda: fit(fit_u0="yes"), TypeError, "fit_u0 must be True or False; got the string 'yes'"),
    # loss and regularisers
    (
        lambda: fit(loss="gausian"),
        ValueError,
        f"loss must be {_LOSSES}; got 'gausian'; did you mean 'gaussian'?",
    ),
    (
        lambda: fit(loss=MSE),
        TypeError,
        f"loss must be {_LOSSES}; got the class MSE: pass an instance, MSE()",
    ),
    (
        lambda: fit(loss=lambda prediction: prediction),
        TypeError,
        "loss must take (prediction, data) or (prediction, data, p); got <lambda>(prediction)",
    ),
    (
        lambda: fit(loss=MSE([1.0, 2.0, 3.0])),
        ValueError,
        "scale must be a number > 0, or one for each of the 2 components; "
        "got an array of shape (3,) and dtype float64",
    ),
    (
        lambda: fit(loss=train.Gaussian(0.0)),
        ValueError,
        "sigma must be > 0; got 0.0",
    ),
    (
        lambda: fit((T, -np.array(Y)), loss="lognormal"),
        ValueError,
        "LogNormal() must be given data > 0; got -1.0",
    ),
    (
        lambda: fit(loss="poisson"),
        ValueError,
        "Poisson() must be given counts, whole numbers >= 0; got 1.1",
    ),
    (
        lambda: fit(regularise=0.1),
        TypeError,
        "regularise must be L1(...), L2(...), Physics(...), a torch function of p, or a list of "
        "these; got 0.1",
    ),
    (
        lambda: fit(regularise=train.L2(0.1, on="net")),
        ValueError,
        "on must name parameters; got 'net'; there are c, k",
    ),
    (lambda: train.L1(-1.0), ValueError, "weight must be a finite number >= 0; got -1.0"),
    # unknowns
    (
        lambda: fit(fixed=["kk"]),
        ValueError,
        "fixed must name parameters; got 'kk'; did you mean 'k'?",
    ),
    (
        lambda: fit(fixed=["k", "c"]),
        ValueError,
        "there is nothing to fit: the model has no free parameters",
    ),
    (
        lambda: fit(fixed=3),
        TypeError,
        "fixed must be a name or a list of names of parameters; got 3",
    ),
    (
        lambda: fit(transforms={"k": np.exp}),
        TypeError,
        "transforms['k'] must be a transform, such as positive or bounded(low, high); got an ufunc",
    ),
    (
        lambda: fit(transforms={"c": train.bounded(0.15, 1.0)}),
        ValueError,
        "c[0] must start inside what its transform allows, bounded(0.15, 1); got 0.1",
    ),
    (
        lambda: train.bounded(2.0, 1.0),
        ValueError,
        "low must be below high; got low=2.0 and high=1.0",
    ),
    # course
    (
        lambda: fit(optimisers=Adam),
        TypeError,
        "optimisers must be stages such as Adam(...), LBFGS(...) or BFGS(...), or a list of them; "
        "got the class Adam; pass an instance, Adam()",
    ),
    (
        lambda: fit(optimisers=[]),
        ValueError,
        "optimisers must be at least one stage; got an empty list",
    ),
    (lambda: Adam(lr=0.0), ValueError, "lr must be a finite number > 0; got 0.0"),
    (lambda: Adam(iterations=0), ValueError, "iterations must be a whole number >= 1; got 0"),
    (
        lambda: Adam(schedule="cosinus"),
        ValueError,
        "schedule must be None, 'cosine', 'exponential', 'linear' or a function of the iteration; "
        "got 'cosinus'; did you mean 'cosine'?",
    ),
    (
        lambda: fit(strategy="multiple shooting"),
        TypeError,
        "strategy must be MultipleShooting(...), Collocation(...), GrowingHorizon(...), or a list "
        "of these; got the string 'multiple shooting'",
    ),
    (
        lambda: fit(strategy=MultipleShooting(3)),
        ValueError,
        "segments must be at most half the number of observation times, 4; got 3",
    ),
    (
        lambda: fit(strategy=Collocation()),
        ValueError,
        "Collocation needs data at five different times at least; x has 4",
    ),
    (
        lambda: fit((T, np.array(Y)[:, 0]), observe=["x"], strategy=Collocation()),
        ValueError,
        "Collocation needs data of all entries of the state; with observe only some are seen. "
        "Use MultipleShooting or GrowingHorizon",
    ),
    (
        lambda: GrowingHorizon([0.5, 1.0]),
        ValueError,
        "fractions must be increasing and between 0 and 1, without both; got the list [0.5, 1.0]",
    ),
    (
        lambda: fit(early_stopping=10),
        TypeError,
        "early_stopping must be an EarlyStopping(...) or None; got 10",
    ),
    (lambda: EarlyStopping(0), ValueError, "patience must be a whole number >= 1; got 0"),
    (
        lambda: fit(validation=[(T, Y), (T, Y)]),
        ValueError,
        "validation must hold other observations of the same trajectories, one entry for each of "
        "the 1; got 2",
    ),
    (lambda: fit(multi_start=0), ValueError, "multi_start must be a whole number >= 1; got 0"),
    (
        lambda: fit(sensealg="GaussAdjoint"),
        ValueError,
        "sensealg must be a name that engine=\"native\" has, DiscreteAdjoint; got 'GaussAdjoint'",
    ),
]


@pytest.fixture(autouse=True)
def no_solver(monkeypatch):
    native = engines.get("native")

    class Refusing:
        name = "native"
        sensealgs = native.sensealgs

        def solve(self, *_):
            raise AssertionError("a wrong call reached the solver")

        solve_with_pullback = solve

    monkeypatch.setitem(engines._loaded, "native", Refusing())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [pytest.param(*entry, id=entry[2][:50]) for entry in WRONG_CALLS],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == message
