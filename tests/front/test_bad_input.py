"""Wrong calls, each with its whole message. None may reach a compiler or a solver."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml import engines

NAN, INF = float("nan"), float("inf")
Pair = namedtuple("Pair", "a b")


class Identity(torch.nn.Module):
    def forward(self, u):
        return u


def f(u, p, t):
    return u


def Tsit5():
    """Stands for an algorithm given as an object, the way Julia has it."""


problem = sml.ODEProblem(f, [1.0, 2.0], (0, 1), [1.0, 2.0])
named_parameters = sml.ODEProblem(f, [1.0], (0, 1), {"a": 1.0, "b": [1.0, 2.0]})
tuple_parameters = sml.ODEProblem(f, [1.0], (0, 1), Pair(1.0, 2.0))

WRONG_CALLS = [
    (
        lambda: sml.ODEProblem("f", [1.0], (0, 1)),
        TypeError,
        ("f must be a function f(u, p, t) or f(du, u, p, t), or an nn.Module; got the string 'f'"),
    ),
    (
        lambda: sml.ODEProblem(None, [1.0], (0, 1)),
        TypeError,
        ("f must be a function f(u, p, t) or f(du, u, p, t), or an nn.Module; got None"),
    ),
    (
        lambda: sml.ODEProblem(Identity, [1.0], (0, 1)),
        TypeError,
        (
            "f must be a function f(u, p, t) or f(du, u, p, t), or an nn.Module; got the "
            "class Identity: pass an instance, Identity(...)"
        ),
    ),
    (
        lambda: sml.ODEProblem(lambda t, u: u, [1.0], (0, 1)),
        TypeError,
        (
            "f must be a function f(u, p, t) or f(du, u, p, t), or an nn.Module; got "
            "<lambda>(t, u); a SciPy-style f(t, u) goes through pysciml.from_scipy(f)"
        ),
    ),
    (
        lambda: sml.ODEProblem(lambda u: u, [1.0], (0, 1)),
        TypeError,
        ("f must be a function f(u, p, t) or f(du, u, p, t), or an nn.Module; got <lambda>(u)"),
    ),
    (
        lambda: sml.ODEProblem(f, None, (0, 1)),
        TypeError,
        ("u0 must be real numbers: a scalar, a list, an array or a tensor, of any shape; got None"),
    ),
    (
        lambda: sml.ODEProblem(f, "1, 2", (0, 1)),
        TypeError,
        (
            "u0 must be real numbers: a scalar, a list, an array or a tensor, of any "
            "shape; got the string '1, 2'"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, [], (0, 1)),
        ValueError,
        ("u0 must have at least one entry; got the list []"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0, NAN], (0, 1)),
        ValueError,
        ("u0 must be finite; got nan in u0[1]"),
    ),
    (
        lambda: sml.ODEProblem(f, np.array([[1.0, 2.0], [np.inf, 0.0]]), (0, 1)),
        ValueError,
        ("u0 must be finite; got inf in u0[1, 0]"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0, 2j], (0, 1)),
        TypeError,
        (
            "u0 must be real numbers: a scalar, a list, an array or a tensor, of any "
            "shape; got the list [1.0, 2j], which is complex: solve for real and imaginary "
            "parts"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, [[1.0, 2.0], [3.0]], (0, 1)),
        TypeError,
        (
            "u0 must be real numbers: a scalar, a list, an array or a tensor, of any "
            "shape; got the list [[1.0, 2.0], [3.0]], whose rows differ in length"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0, None], (0, 1)),
        TypeError,
        (
            "u0 must be real numbers: a scalar, a list, an array or a tensor, of any "
            "shape; got the list [1.0, None]"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, [True, False], (0, 1)),
        TypeError,
        (
            "u0 must be real numbers: a scalar, a list, an array or a tensor, of any "
            "shape; got the list [True, False]"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, {"x": 1.0}, (0, 1)),
        TypeError,
        (
            "u0 must be real numbers: a scalar, a list, an array or a tensor, of any "
            "shape; got the dict {'x': 1.0}"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, torch.tensor([1.0 + 1j]), (0, 1)),
        TypeError,
        (
            "u0 must be real numbers: a scalar, a list, an array or a tensor, of any "
            "shape; got a tensor of shape (1,) and dtype complex64, which is complex: "
            "solve for real and imaginary parts"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, f, (0, 1)),
        TypeError,
        (
            "u0 must be real numbers: a scalar, a list, an array or a tensor, of any "
            "shape; got a function"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], 1.0),
        ValueError,
        ("tspan must be two times (t0, t1); got 1.0"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], (0, 1, 2)),
        ValueError,
        ("tspan must be two times (t0, t1); got the tuple (0, 1, 2)"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], (0, INF)),
        ValueError,
        ("tspan must be two finite times; got (0.0, inf)"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], (1, 1)),
        ValueError,
        ("tspan must be two different times; got (1.0, 1.0)"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], "0-1"),
        TypeError,
        ("tspan must be two times (t0, t1); got the string '0-1'"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], None),
        TypeError,
        ("tspan must be two times (t0, t1); got None"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], (0, 1), "a=1"),
        TypeError,
        (
            "p must be real numbers: None, a number, a vector, or a dict, namedtuple or "
            "list of them; got the string 'a=1'"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], (0, 1), [1.0, NAN]),
        ValueError,
        ("p must be finite; got nan in p[1]"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], (0, 1), {"a": 1.0, "b": "two"}),
        TypeError,
        (
            "p['b'] must be real numbers: None, a number, a vector, or a dict, namedtuple "
            "or list of them; got the string 'two'"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], (0, 1), {1: 2.0}),
        TypeError,
        ("p must have strings as keys; got the key 1"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], (0, 1), Pair(1.0, INF)),
        ValueError,
        ("p.b must be finite; got inf"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0], (0, 1), {"net": {"w": 1j}}),
        TypeError,
        (
            "p['net']['w'] must be real numbers: None, a number, a vector, or a dict, "
            "namedtuple or list of them; got 1j, which is complex: solve for real and "
            "imaginary parts"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0, 2.0], (0, 1), mass_matrix=np.eye(3)),
        ValueError,
        (
            "mass_matrix must have the shape (2, 2), one row and one column per entry of "
            "u0; got an array of shape (3, 3) and dtype float64"
        ),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0, 2.0], (0, 1), mass_matrix=[[1.0, 0.0], [0.0, NAN]]),
        ValueError,
        ("mass_matrix must be finite; got nan in mass_matrix[1, 1]"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0, 2.0], (0, 1), names="xy"),
        TypeError,
        ("names must be a list of 2 strings; got the string 'xy'"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0, 2.0], (0, 1), names=["x"]),
        ValueError,
        ("names must be a list of 2 strings, one per entry of u0; got the list ['x']"),
    ),
    (
        lambda: sml.ODEProblem(f, [1.0, 2.0], (0, 1), names=["x", "x"]),
        ValueError,
        ("names must be different from each other; got the list ['x', 'x']"),
    ),
    (
        lambda: problem.remake(u0=[1.0, 2.0, 3.0]),
        ValueError,
        (
            "u0 must be an array of shape (2,), as in the problem; got an array of shape "
            "(3,) and dtype float64; make a new ODEProblem for a state of another shape"
        ),
    ),
    (
        lambda: problem.remake(p=[1.0, 2.0, 3.0]),
        ValueError,
        (
            "p must be an array of shape (2,), as in the problem; got an array of shape "
            "(3,) and dtype float64; make a new problem for parameters of another "
            "structure"
        ),
    ),
    (
        lambda: problem.remake(p=None),
        ValueError,
        (
            "p must be an array of shape (2,), as in the problem; got None; make a new "
            "problem for parameters of another structure"
        ),
    ),
    (
        lambda: named_parameters.remake(p={"a": 1.0}),
        ValueError,
        (
            "p must have the keys ['a', 'b']; got the keys ['a']; make a new problem "
            "for parameters of another structure"
        ),
    ),
    (
        lambda: named_parameters.remake(p={"a": 1.0, "b": 3.0}),
        ValueError,
        (
            "p['b'] must be an array of shape (2,), as in the problem; got 3.0; make a new "
            "problem for parameters of another structure"
        ),
    ),
    (
        lambda: tuple_parameters.remake(p=Pair(1.0, [2.0, 3.0])),
        ValueError,
        (
            "p.b must be one number, as in the problem; got an array of shape (2,) and "
            "dtype float64; make a new problem for parameters of another structure"
        ),
    ),
    (
        lambda: tuple_parameters.remake(p={"a": 1.0, "b": 2.0}),
        ValueError,
        (
            "p must be a namedtuple with the fields ['a', 'b']; got the dict {'a': 1.0, "
            "'b': 2.0}; make a new problem for parameters of another structure"
        ),
    ),
    (
        lambda: sml.solve(f),
        TypeError,
        ("problem must be a problem, such as ODEProblem(f, u0, tspan); got a function"),
    ),
    (
        lambda: sml.solve(problem, Tsit5),
        TypeError,
        (
            'alg must be the name of a method, such as "Tsit5"; got a function; pass its '
            "name, 'Tsit5'"
        ),
    ),
    (
        lambda: sml.solve(problem, 5),
        TypeError,
        ('alg must be the name of a method, such as "Tsit5"; got 5'),
    ),
    (
        lambda: sml.solve(problem, engine="jula"),
        ValueError,
        (
            "engine must be one of 'auto', 'julia', 'native', 'torch'; got 'jula'; did you "
            "mean 'julia'?"
        ),
    ),
    (
        lambda: sml.solve(problem, engine="fortran"),
        ValueError,
        ("engine must be one of 'auto', 'julia', 'native', 'torch'; got 'fortran'"),
    ),
    (
        lambda: sml.solve(problem, engine=3),
        TypeError,
        ("engine must be one of 'auto', 'julia', 'native', 'torch'; got 3"),
    ),
    (
        lambda: sml.solve(problem, abstol=0.0),
        ValueError,
        ("abstol must be finite and > 0; got 0.0"),
    ),
    (
        lambda: sml.solve(problem, reltol=-1e-3),
        ValueError,
        ("reltol must be finite and > 0; got -0.001"),
    ),
    (
        lambda: sml.solve(problem, abstol="tight"),
        TypeError,
        ("abstol must be a number > 0, or one for each entry of u0; got the string 'tight'"),
    ),
    (
        lambda: sml.solve(problem, abstol=[1e-6, 1e-6, 1e-6]),
        ValueError,
        (
            "abstol must be a number > 0, or one for each entry of u0 (an array of shape "
            "(2,)); got the list [1e-06, 1e-06, 1e-06]"
        ),
    ),
    (
        lambda: sml.solve(problem, reltol=[1e-6, 0.0]),
        ValueError,
        ("reltol must be finite and > 0; got 0.0 in reltol[1]"),
    ),
    (
        lambda: sml.solve(problem, abstol=NAN),
        ValueError,
        ("abstol must be finite and > 0; got nan"),
    ),
    (
        lambda: sml.solve(problem, saveat=0.0),
        ValueError,
        ("saveat must be a finite step > 0 or times inside tspan; got 0.0"),
    ),
    (
        lambda: sml.solve(problem, saveat=-0.1),
        ValueError,
        ("saveat must be a finite step > 0 or times inside tspan; got -0.1"),
    ),
    (
        lambda: sml.solve(problem, saveat=1e-12),
        ValueError,
        ("saveat must be a step that fits at most 100000000 times into tspan; got 1e-12"),
    ),
    (
        lambda: sml.solve(problem, saveat=[]),
        ValueError,
        ("saveat must be a step > 0 or a vector of times inside tspan; got the list []"),
    ),
    (
        lambda: sml.solve(problem, saveat=[0.0, 0.5, 2.0]),
        ValueError,
        ("saveat must lie inside tspan (0.0, 1.0); got 2.0 in saveat[2]"),
    ),
    (
        lambda: sml.solve(problem, saveat=[0.0, 0.5, 0.4]),
        ValueError,
        (
            "saveat must be strictly increasing, the direction of tspan (0.0, 1.0); got "
            "0.5 and then 0.4"
        ),
    ),
    (
        lambda: sml.solve(problem, saveat=[0.0, NAN]),
        ValueError,
        ("saveat must be finite; got nan in saveat[1]"),
    ),
    (
        lambda: sml.solve(problem, saveat="0.1"),
        TypeError,
        ("saveat must be a step > 0 or a vector of times inside tspan; got the string '0.1'"),
    ),
    (
        lambda: sml.solve(problem, saveat=np.zeros((2, 2))),
        ValueError,
        (
            "saveat must be a step > 0 or a vector of times inside tspan; got an array of "
            "shape (2, 2) and dtype float64"
        ),
    ),
    (lambda: sml.solve(problem, dt=0.0), ValueError, ("dt must be a finite number > 0; got 0.0")),
    (
        lambda: sml.solve(problem, dt=[0.1]),
        TypeError,
        ("dt must be a number > 0; got the list [0.1]"),
    ),
    (
        lambda: sml.solve(problem, dtmin=-1.0),
        ValueError,
        ("dtmin must be a finite number >= 0; got -1.0"),
    ),
    (
        lambda: sml.solve(problem, dtmax=INF),
        ValueError,
        ("dtmax must be a finite number > 0; got inf"),
    ),
    (
        lambda: sml.solve(problem, dtmin=0.1, dtmax=0.01),
        ValueError,
        ("dtmax must be at least dtmin (0.1); got 0.01"),
    ),
    (
        lambda: sml.solve(problem, maxiters=0),
        ValueError,
        ("maxiters must be a whole number >= 1; got 0"),
    ),
    (
        lambda: sml.solve(problem, maxiters=1.5),
        ValueError,
        ("maxiters must be a whole number >= 1; got 1.5"),
    ),
    (
        lambda: sml.solve(problem, maxiters="many"),
        TypeError,
        ("maxiters must be a whole number >= 1; got the string 'many'"),
    ),
    (
        lambda: sml.solve(problem, adaptive=False),
        ValueError,
        ("dt must be given when adaptive=False: it is the fixed step; got None"),
    ),
    (
        lambda: sml.solve(problem, adaptive="no"),
        TypeError,
        ("adaptive must be True or False; got the string 'no'"),
    ),
    (
        lambda: sml.solve(problem, tstops=[2.0]),
        ValueError,
        ("tstops must lie inside tspan (0.0, 1.0); got 2.0 in tstops[0]"),
    ),
    (
        lambda: sml.solve(problem, save_idxs=[2]),
        ValueError,
        ("save_idxs must lie between 0 and 1, the entries of u0; got 2"),
    ),
    (
        lambda: sml.solve(problem, save_idxs=[0, 0]),
        ValueError,
        ("save_idxs must not repeat an entry; got the list [0, 0]"),
    ),
    (
        lambda: sml.solve(problem, save_idxs=[0.5]),
        TypeError,
        ("save_idxs must be whole numbers, flat indices of entries of u0; got the list [0.5]"),
    ),
    (
        lambda: sml.solve(problem, save_idxs="x"),
        TypeError,
        ("save_idxs must be whole numbers, flat indices of entries of u0; got the string 'x'"),
    ),
    (
        lambda: sml.solve(problem, save_everystep=0),
        TypeError,
        ("save_everystep must be True or False; got 0"),
    ),
    (
        lambda: sml.solve(problem, dense="yes"),
        TypeError,
        ("dense must be True or False; got the string 'yes'"),
    ),
    (
        lambda: sml.solve(problem, raise_on_failure=1),
        TypeError,
        ("raise_on_failure must be True or False; got 1"),
    ),
    (
        lambda: sml.solve(problem, alg_options=["autodiff"]),
        TypeError,
        (
            "alg_options must be a dict with the names of the method's own options; got "
            "the list ['autodiff']"
        ),
    ),
    (
        lambda: sml.solve(problem, rtol=1e-6),
        TypeError,
        ("there is no option 'rtol'; here it is called 'reltol'"),
    ),
    (
        lambda: sml.solve(problem, method="RK45"),
        TypeError,
        ("there is no option 'method'; here it is called 'alg'"),
    ),
    (
        lambda: sml.solve(problem, save_at=0.1),
        TypeError,
        ("there is no option 'save_at'; did you mean 'saveat' or 'save_idxs'?"),
    ),
    (
        lambda: sml.solve(problem, autodiff=False),
        TypeError,
        (
            "there is no option 'autodiff'; an option of the method itself goes into "
            "alg_options={...}"
        ),
    ),
    (lambda: sml.from_scipy(3), TypeError, ("fun must be a function fun(t, y, *args); got 3")),
    (lambda: sml.from_scipy(f, args=3), TypeError, ("args must be a tuple; got 3")),
    (lambda: sml.compare(f), TypeError, ("problem must be an ODEProblem; got a function")),
    (
        lambda: sml.compare(problem, engines=["julia", "nativ"]),
        ValueError,
        (
            "engine must be one of 'auto', 'julia', 'native', 'torch'; got 'nativ'; did "
            "you mean 'native'?"
        ),
    ),
    (
        lambda: sml.compare(problem, engines=[]),
        ValueError,
        ("engines must name at least one engine; got none"),
    ),
    (
        lambda: sml.compare(problem, algs={"native": ["Tsit5"], "julie": ["Tsit5"]}),
        ValueError,
        (
            "algs must have engines as keys (julia, native, torch); got 'julie'; did you "
            "mean 'julia'?"
        ),
    ),
    (
        lambda: sml.compare(problem, algs=[1]),
        TypeError,
        (
            "algs must be the name of a method, a list of names, or a dict from engine to "
            "list; got the list [1]"
        ),
    ),
    (
        lambda: sml.compare(problem, abstol=[1e-3, 1e-6], reltol=[1e-3, 1e-6, 1e-9]),
        ValueError,
        ("abstol and reltol must have the same length; got 2 and 3"),
    ),
    (
        lambda: sml.compare(problem, reltol=0.0),
        ValueError,
        ("reltol must be a finite number > 0; got 0.0"),
    ),
]


class Unreachable:
    """An engine that must not be asked anything."""

    def __getattr__(self, name):
        raise AssertionError(f"the engine was asked for its {name}")


@pytest.fixture(autouse=True)
def nothing_behind_the_door(monkeypatch):
    def capture(*_):
        raise AssertionError("the function was captured")

    monkeypatch.setattr("pysciml.capture.capture", capture)
    monkeypatch.setattr(engines, "_auto", None)
    for name in engines.NAMES:
        monkeypatch.setitem(engines._loaded, name, Unreachable())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    WRONG_CALLS,
    ids=[f"{i:02d} {message.split()[0]}" for i, (_, _, message) in enumerate(WRONG_CALLS)],
)
def test_the_error_names_what_came_and_what_was_expected(call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == message
    assert type(raised.value) is error


def test_the_table_is_long_enough():
    assert len(WRONG_CALLS) >= 40


def test_a_right_call_gets_through_the_door():
    with pytest.raises(AssertionError, match="the engine was asked for its solve"):
        sml.solve(problem, engine="native")
