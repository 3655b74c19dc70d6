"""Wrong calls of solve_ensemble, each with its whole message. None may reach a solver."""

from __future__ import annotations

import numpy as np
import pytest

import pysciml as sml
from pysciml import engines

SAVE = {"engine": "native", "saveat": 0.5}
NAN = float("nan")

two = sml.ODEProblem(lambda u, p, t: -u, [1.0, 2.0], (0.0, 1.0), [1.0, 2.0])
plain = sml.ODEProblem(lambda u, p, t: -u, [1.0], (0.0, 1.0))
named = sml.ODEProblem(
    lambda u, p, t: -p["a"] * u * p["b"][0], [1.0], (0.0, 1.0), {"a": 1.0, "b": [1.0, 2.0]}
)
nested = sml.ODEProblem(
    lambda u, p, t: -p["net"]["w"] * u * p["list"][0][0],
    [1.0],
    (0.0, 1.0),
    {"net": {"w": 1.0}, "list": [[1.0, 2.0], [3.0]]},
)
other = sml.ODEProblem(lambda u, p, t: -2.0 * u, [1.0, 2.0], (0.0, 1.0), [1.0, 2.0])


def ensemble(problem=two, n=3, **how):
    return lambda: sml.solve_ensemble(problem, n, **{**SAVE, **how})


WRONG_CALLS = [
    (
        ensemble(problem="two"),
        TypeError,
        "problem must be a problem, such as ODEProblem(f, u0, tspan); got the string 'two'",
    ),
    (
        ensemble(saveat=None),
        TypeError,
        "saveat must be given: a step > 0 or times inside tspan, at which all trajectories are "
        "saved; got None",
    ),
    (
        ensemble(n=None),
        TypeError,
        "n must be given, the number of trajectories, unless u0 or p has a row for each; got None",
    ),
    (ensemble(n=0), ValueError, "n must be a whole number >= 1; got 0"),
    (ensemble(n=2.5), ValueError, "n must be a whole number >= 1; got 2.5"),
    (ensemble(n="many"), TypeError, "n must be a whole number >= 1; got the string 'many'"),
    (
        ensemble(u0=[1.0, 2.0]),
        ValueError,
        "u0 must be an array of shape (n, 2), one initial state for each trajectory; got the list "
        "[1.0, 2.0]",
    ),
    (
        ensemble(u0=np.ones((3, 4))),
        ValueError,
        "u0 must be an array of shape (n, 2), one initial state for each trajectory; got an array "
        "of shape (3, 4) and dtype float64",
    ),
    (
        ensemble(u0=[[1.0, 2.0], [1.0, NAN]], n=None),
        ValueError,
        "u0 must be finite; got nan in u0[1, 1]",
    ),
    (
        ensemble(u0=np.ones((4, 2))),
        ValueError,
        "n and the rows of u0 must be equally many; got 3 and 4",
    ),
    (
        ensemble(u0=np.ones((4, 2)), p=np.ones((5, 2)), n=None),
        ValueError,
        "the rows of u0 and the rows of p must be equally many; got 4 and 5",
    ),
    (
        ensemble(u0=np.ones((3, 2)), p=np.ones((5, 2))),
        ValueError,
        "n and the rows of p must be equally many; got 3 and 5",
    ),
    (
        ensemble(p=[1.0, 2.0]),
        ValueError,
        "p must be an array of shape (n, 2), one parameter vector for each trajectory; got the "
        "list [1.0, 2.0]",
    ),
    (
        ensemble(p={"a": [1.0, 2.0]}),
        ValueError,
        "p must be an array of shape (n, 2), as the problem's parameters are no dict; got the dict "
        "{'a': [1.0, 2.0]}",
    ),
    (
        ensemble(plain, p=[[1.0]]),
        ValueError,
        "p must be None: the problem has no parameters; got the list [[1.0]]",
    ),
    (
        ensemble(named, p={}),
        ValueError,
        "p must name at least one parameter; got an empty dict",
    ),
    (
        ensemble(named, p={"A": [1.0, 2.0]}),
        ValueError,
        "p has no entry 'A'; did you mean 'a'?; it has ['a', 'b']",
    ),
    (
        ensemble(named, p={"b": [1.0, 2.0]}),
        ValueError,
        "p['b'] must be an array of shape (n, 2), one value for each trajectory; got the list "
        "[1.0, 2.0]",
    ),
    (
        ensemble(named, p={"a": [1.0, 2.0], "b": [[1.0, 2.0]]}),
        ValueError,
        "p['a'] and p['b'] must have equally many rows; got 2 and 1",
    ),
    (
        ensemble(nested, p={"net": [1.0]}),
        ValueError,
        "p['net'] must be a dict; got the list [1.0]",
    ),
    (
        ensemble(nested, p={"list": [1.0]}),
        ValueError,
        "p['list'] is a list of arrays: give p as an array of flat vectors, or use prob_func",
    ),
    (
        ensemble(prob_func="vary"),
        TypeError,
        "prob_func must be a function (prob, i) -> prob; got the string 'vary'",
    ),
    (
        ensemble(prob_func=lambda prob, i: prob, u0=np.ones((3, 2))),
        ValueError,
        "u0 and prob_func must not be given together: let prob_func return prob.remake(u0=u0[i])",
    ),
    (
        ensemble(prob_func=lambda prob, i: None),
        TypeError,
        "prob_func must return a problem, prob.remake(...); got None for trajectory 0",
    ),
    (
        ensemble(prob_func=lambda prob, i: other),
        ValueError,
        "prob_func must return prob.remake(...), which shares the captured model; got a problem "
        "with a model of its own for trajectory 0",
    ),
    (
        ensemble(prob_func=lambda prob, i: prob.remake(tspan=(0.0, 2.0))),
        ValueError,
        "prob_func must keep tspan, as all trajectories are saved at the same times; got "
        "(0.0, 2.0) instead of (0.0, 1.0) for trajectory 0",
    ),
    (ensemble(seed=-1), ValueError, "seed must be a whole number >= 0 and < 2**63; got -1"),
    (ensemble(seed=1.5), TypeError, "seed must be a whole number >= 0; got 1.5"),
    (ensemble(threads=0), ValueError, "threads must be a whole number >= 1; got 0"),
    (ensemble(batch_size=0), ValueError, "batch_size must be a whole number >= 1; got 0"),
    (
        ensemble(keep="mean"),
        ValueError,
        "keep must be 'all' or 'statistics'; got the string 'mean'",
    ),
    (
        ensemble(quantiles=0.5),
        TypeError,
        "quantiles must be a sequence of numbers between 0 and 1; got 0.5",
    ),
    (
        ensemble(quantiles=(0.5, 95)),
        ValueError,
        "quantiles must be a sequence of numbers between 0 and 1; got 95.0",
    ),
    (ensemble(progress="yes"), TypeError, "progress must be True or False; got the string 'yes'"),
    (
        ensemble(executor=4),
        TypeError,
        "executor must have a method submit, as a concurrent.futures.Executor has; got 4",
    ),
    (
        ensemble(executor=type("Pool", (), {"submit": print})(), threads=2),
        ValueError,
        "threads and executor must not be given together: the executor's workers are the threads; "
        "got threads=2",
    ),
    (
        ensemble(engine="torch", threads=2),
        sml.UnsupportedError,
        'engine="torch" has no threads; engine="native" has, and executor= runs any engine in '
        "several processes",
    ),
    (
        ensemble(ensemblealg="EnsembleThread"),
        ValueError,
        "ensemblealg must be one of 'EnsembleThreads', 'EnsembleSerial', 'EnsembleDistributed'; "
        "got 'EnsembleThread'; did you mean 'EnsembleThreads' or 'EnsembleSerial'?",
    ),
    (
        ensemble(ensemblealg=2),
        TypeError,
        "ensemblealg must be one of 'EnsembleThreads', 'EnsembleSerial', 'EnsembleDistributed'; "
        "got 2",
    ),
    (
        ensemble(ensemblealg="EnsembleDistributed"),
        sml.UnsupportedError,
        'engine="native" has no EnsembleDistributed; it has EnsembleThreads and EnsembleSerial, '
        "and executor= runs any engine in several processes",
    ),
    (
        ensemble(ensemblealg="EnsembleSerial", threads=2),
        ValueError,
        "threads must be left out with ensemblealg='EnsembleSerial', which has none; got 2",
    ),
    (
        ensemble(executor=type("Pool", (), {"submit": print})(), ensemblealg="EnsembleThreads"),
        ValueError,
        "ensemblealg and executor must not be given together: the executor's workers are the "
        "threads; got ensemblealg='EnsembleThreads'",
    ),
    (
        lambda: sml.julia.addprocs(0),
        ValueError,
        "processes must be a whole number >= 1; got 0",
    ),
    (
        lambda: sml.julia.addprocs(["host", 2]),
        TypeError,
        "processes must be a number of processes or a list of names of machines; got the list "
        "['host', 2]",
    ),
    (
        ensemble(dense=True),
        TypeError,
        "solve_ensemble has no option 'dense': trajectories are kept at the times of saveat only",
    ),
    (
        ensemble(raise_on_failure=True),
        TypeError,
        "solve_ensemble has no option 'raise_on_failure': a trajectory that fails is told by its "
        "retcode, and the rest is kept",
    ),
    (
        ensemble(trajectories=3),
        TypeError,
        "there is no option 'trajectories'; here it is called n",
    ),
    (ensemble(rtol=1e-3), TypeError, "there is no option 'rtol'; here it is called 'reltol'"),
    (ensemble(abstol=-1.0), ValueError, "abstol must be finite and > 0; got -1.0"),
]


@pytest.fixture
def no_solves(monkeypatch):
    """Solving is a failure of the test."""

    def solve(*arguments):
        raise AssertionError("a wrong call reached a solver")

    for name in ("native", "torch"):
        monkeypatch.setattr(type(engines.get(name)), "solve_many", solve)


@pytest.mark.parametrize(
    ("call", "error", "message"), WRONG_CALLS, ids=[case[2][:50] for case in WRONG_CALLS]
)
def test_the_message_is_exact(call, error, message, no_solves):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == message


def test_a_missing_package_is_told_before_anything_is_solved(no_solves, monkeypatch):
    import sys

    from pysciml.ensemble import statistics

    monkeypatch.setattr(statistics, "EXACT_BYTES", 8)
    monkeypatch.setitem(sys.modules, "fastdigest", None)
    with pytest.raises(ImportError) as raised:
        ensemble(keep="statistics")()
    assert str(raised.value) == (
        "quantiles of 18 numbers that are not kept need the package fastdigest: pip install "
        "'pysciml[ensemble]'; or leave them out: quantiles=()"
    )


def test_wrong_questions_to_a_solution():
    statistics = sml.solve_ensemble(two, 2, keep="statistics", progress=False, **SAVE)
    with pytest.raises(ValueError) as raised:
        statistics.quantile(0.3)
    assert str(raised.value) == (
        "level must be one of [0.05, 0.5, 0.95], the quantiles that were asked for, as "
        'keep="statistics" keeps no states; got 0.3'
    )
    with pytest.raises(ValueError, match=r"level must be a number between 0 and 1; got 30\.0"):
        statistics.quantile(30)
    with pytest.raises(IndexError) as missing:
        statistics.problem_at(2)
    assert str(missing.value) == "i must lie between 0 and 1, the trajectories; got 2"
