"""Where the trajectories of an ensemble start, checked at the door."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array, Batch
from pysciml.problems import Problem

ProbFunc = Callable[[Problem, int], Problem]


@dataclass(frozen=True)
class Starts:
    """Initial states and parameters of n trajectories: rows, or the function that makes them."""

    problem: Problem
    n: int
    u0: Array  # (n, problem.u0.size)
    p: Array  # (n, number of parameters)
    prob_func: ProbFunc | None
    seed: int | None

    def batch(self, first: int, last: int) -> Batch:
        """Trajectories `first` to `last` - 1. It calls `prob_func`, in order."""
        if self.prob_func is None:
            return Batch(first, self.u0[first:last], self.p[first:last], self.seed)
        problems = [self.problem_at(i) for i in range(first, last)]
        u0 = np.array([each.u0_flat for each in problems])
        p = np.array([each.p_flat for each in problems])
        return Batch(first, u0, p, self.seed)

    def problem_at(self, i: int) -> Problem:
        """The problem of one trajectory."""
        if self.prob_func is None:
            return self.problem.at(self.u0[i].copy(), self.p[i].copy())
        return _checked(self.prob_func(self.problem, i), self.problem, i)


def starts(problem: Problem, n: Any, u0: Any, p: Any, prob_func: Any, seed: int | None) -> Starts:
    """The checked inputs of `solve_ensemble` that say where its trajectories start."""
    if prob_func is not None:
        check.require_callable(prob_func, "prob_func", "a function (prob, i) -> prob")
        for name, value in (("u0", u0), ("p", p)):
            if value is not None:
                raise ValueError(
                    f"{name} and prob_func must not be given together: let prob_func return "
                    f"prob.remake({name}={name}[i])"
                )
    states = None if u0 is None else check.as_rows(u0, "u0", problem.u0.shape, "initial state")
    parameters = None if p is None else _parameter_rows(problem, p)
    count = _count(n, states, parameters)
    if states is None:
        states = problem.u0_flat[None]
    if parameters is None:
        parameters = problem.p_flat[None]
    states, parameters = states.reshape(len(states), -1), parameters.reshape(len(parameters), -1)
    return Starts(
        problem,
        count,
        np.broadcast_to(states, (count, states.shape[1])),
        np.broadcast_to(parameters, (count, parameters.shape[1])),
        prob_func,
        seed,
    )


def _count(n: Any, states: Array | None, parameters: Array | None) -> int:
    """How many trajectories there are; everything that says so must say the same."""
    if n is None and states is None and parameters is None:
        raise TypeError(
            "n must be given, the number of trajectories, unless u0 or p has a row for each; got "
            "None"
        )
    found = {"n": None if n is None else check.as_count(n, "n")}
    found |= {
        name: None if rows is None else len(rows)
        for name, rows in (("the rows of u0", states), ("the rows of p", parameters))
    }
    counts = {name: count for name, count in found.items() if count is not None}
    if len(set(counts.values())) > 1:
        (one, first), (other, second) = list(counts.items())[:2]
        if first == second:
            (other, second) = list(counts.items())[2]
        raise ValueError(f"{one} and {other} must be equally many; got {first} and {second}")
    return next(iter(counts.values()))


def _parameter_rows(problem: Problem, p: Any) -> Array:
    """One flat parameter vector for each trajectory: (n, number of parameters)."""
    size = problem.p_flat.size
    if size == 0:
        raise ValueError(f"p must be None: the problem has no parameters; got {check.describe(p)}")
    if not isinstance(p, dict):
        if size == 1 and np.ndim(p) == 1:
            return check.as_rows(p, "p", (), "value of the parameter").reshape(-1, 1)
        return check.as_rows(p, "p", (size,), "parameter vector")
    places = _places(problem)
    if not isinstance(places, dict):
        raise ValueError(
            f"p must be an array of shape (n, {size}), as the problem's parameters are no dict; "
            f"got {check.describe(p)}"
        )
    if not p:
        raise ValueError("p must name at least one parameter; got an empty dict")
    given = _leaves(p, places, "p")
    count = len(given[0][1])
    rows = np.tile(problem.p_flat, (count, 1))
    for name, values, at in given:
        if len(values) != count:
            raise ValueError(
                f"{given[0][0]} and {name} must have equally many rows; got {count} and "
                f"{len(values)}"
            )
        rows[:, at.reshape(-1)] = values.reshape(count, -1)
    return rows


def _places(problem: Problem) -> Any:
    """The user's parameter structure, with the place of each number in the flat vector."""
    layout = problem.model.parameters
    places = layout.unflatten(np.arange(layout.size))
    if (
        isinstance(places, dict)
        and isinstance(problem.p, dict)
        and places.keys() != problem.p.keys()
    ):
        return places["p"]  # beside a module's own parameters
    return places


def _leaves(given: dict[str, Any], places: Any, name: str) -> list[tuple[str, Array, Any]]:
    """(name, rows, places in the flat vector) of each array that is given."""
    found: list[tuple[str, Array, Any]] = []
    for key, value in given.items():
        if key not in places:
            hint = check.did_you_mean(str(key), places)
            raise ValueError(f"{name} has no entry {key!r}{hint}; it has {sorted(places)}")
        label, at = f"{name}[{key!r}]", places[key]
        if isinstance(at, dict):
            if not isinstance(value, dict):
                raise ValueError(f"{label} must be a dict; got {check.describe(value)}")
            found += _leaves(value, at, label)
        elif isinstance(at, (list, tuple)):
            raise ValueError(
                f"{label} is a {type(at).__name__} of arrays: give p as an array of flat vectors, "
                "or use prob_func"
            )
        else:
            at = np.asarray(at)
            found.append((label, check.as_rows(value, label, at.shape, "value"), at))
    return found


def _checked(made: Any, problem: Problem, i: int) -> Problem:
    """What prob_func made, if it is the same problem with other values."""
    if not isinstance(made, type(problem)):
        raise TypeError(
            f"prob_func must return a problem, prob.remake(...); got {check.describe(made)} for "
            f"trajectory {i}"
        )
    if made.tspan != problem.tspan:
        raise ValueError(
            f"prob_func must keep tspan, as all trajectories are saved at the same times; got "
            f"{made.tspan} instead of {problem.tspan} for trajectory {i}"
        )
    if made.model is not problem.model:
        raise ValueError(
            "prob_func must return prob.remake(...), which shares the captured model; got a "
            f"problem with a model of its own for trajectory {i}"
        )
    return made
