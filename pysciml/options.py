"""The options of a solve: checked, and normalised for an engine."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array, SolveOptions
from pysciml.errors import UnsupportedError
from pysciml.events import Event, as_events
from pysciml.problems import Problem, SteadyStateProblem

_MAX_SAVED = 100_000_000  # a smaller step in saveat than this allows is a slip

_OPTIONS = (
    "saveat",
    "abstol",
    "reltol",
    "dt",
    "dtmin",
    "dtmax",
    "maxiters",
    "adaptive",
    "tstops",
    "save_idxs",
    "save_everystep",
    "dense",
    "alg_options",
    "raise_on_failure",
    "seed",
    "save_noise",
    "events",
    "initialize",
)

# what the options are called elsewhere
_ELSEWHERE = {
    "rtol": "reltol",
    "atol": "abstol",
    "method": "alg",
    "solver": "alg",
    "t_eval": "saveat",
    "max_step": "dtmax",
    "first_step": "dt",
    "step_size": "dt",
    "dt0": "dt",
    "max_steps": "maxiters",
    "max_num_steps": "maxiters",
    "dense_output": "dense",
    "options": "alg_options",
    "check": "raise_on_failure",
    "callback": "events",
    "callbacks": "events",
    "event_fn": "events",
    "rng": "seed",
    "random_state": "seed",
    "entropy": "seed",
    "initializealg": "initialize",
}


def solve_options(
    problem: Problem,
    saveat: Any = None,
    abstol: Any = 1e-6,
    reltol: Any = 1e-3,
    *,
    dt: float | None = None,
    dtmin: float = 0.0,
    dtmax: float | None = None,
    maxiters: int | None = None,
    adaptive: bool = True,
    tstops: Any = None,
    save_idxs: Any = None,
    save_everystep: bool = True,
    dense: bool | None = None,
    alg_options: Mapping[str, Any] | None = None,
    seed: Any = None,
    save_noise: bool = False,
    events: Sequence[Event] | None = None,
    **unknown: Any,
) -> SolveOptions:
    """The options of `solve`, checked and normalised for an engine."""
    if unknown:
        raise TypeError(unknown_options(unknown))
    if isinstance(problem, SteadyStateProblem):
        raise TypeError(
            "a SteadyStateProblem has no solution over time; solve and gradient take it"
        )
    tspan = problem.tspan

    # The plain values of a plain call pass by type alone; everything else goes through `check`.
    if not (type(abstol) is float and 0.0 < abstol < math.inf):
        abstol = check.as_tolerance(abstol, "abstol", problem.u0.shape)
    if not (type(reltol) is float and 0.0 < reltol < math.inf):
        reltol = check.as_tolerance(reltol, "reltol", problem.u0.shape)
    if saveat is not None:
        saveat = save_times(saveat, tspan)
    if dt is not None:
        dt = check.as_positive(dt, "dt")
    if dtmin != 0.0 or type(dtmin) is not float:
        dtmin = check.as_nonnegative(dtmin, "dtmin")
    if dtmax is not None:
        dtmax = check.as_positive(dtmax, "dtmax")
        if dtmax < dtmin:
            raise ValueError(f"dtmax must be at least dtmin ({dtmin}); got {dtmax}")
    if maxiters is None:
        maxiters = problem.default_maxiters
    elif type(maxiters) is not int or maxiters < 1:
        maxiters = check.as_count(maxiters, "maxiters")
    if adaptive is not True:
        adaptive = check.as_flag(adaptive, "adaptive")
        if not adaptive and dt is None:
            raise ValueError("dt must be given when adaptive=False: it is the fixed step; got None")
    if tstops is not None:
        tstops = check.as_times(tstops, "tstops", tspan, ordered=False)
    if save_idxs is not None:
        save_idxs = check.as_indices(save_idxs, problem.u0.size, "save_idxs")
    if save_everystep is not True:
        save_everystep = check.as_flag(save_everystep, "save_everystep")
    if dense is None:
        dense = saveat is None and save_everystep
    elif type(dense) is not bool:
        dense = check.as_flag(dense, "dense")
    method_options = {} if alg_options is None else _method_options(alg_options)
    trajectory = 0
    if problem.is_random:
        seed, trajectory = _stream(seed)
        save_noise = check.as_flag(save_noise, "save_noise")
    elif seed is not None or save_noise is not False:
        name = "save_noise" if seed is None else "seed"
        kind = check.with_article(problem.kind)
        raise TypeError(f"{name} has no meaning for {kind}: nothing in it is random")
    happening = problem.events
    if events is not None:
        happening += as_events(events, problem.u0.size)
        if problem.kind != "ODEProblem" and happening:
            raise UnsupportedError(
                f"there are no events for {check.with_article(problem.kind)}, only for ODEProblem"
            )

    return SolveOptions(
        saveat,
        abstol,
        reltol,
        dt,
        dtmin,
        dtmax,
        maxiters,
        adaptive,
        tstops,
        save_idxs,
        save_everystep,
        dense,
        method_options,
        seed,
        trajectory,
        save_noise,
        happening,
    )


def _stream(seed: Any) -> tuple[int, int]:
    """The seed, a new one for None, and the trajectory whose noise is wanted."""
    if seed is None:
        return secrets.randbits(63), 0
    if isinstance(seed, tuple):
        if len(seed) != 2:
            raise ValueError(
                f"seed must be a whole number >= 0, or two of them; got {check.describe(seed)}"
            )
        return check.as_seed(seed[0], "seed"), check.as_seed(seed[1], "seed[1]")
    return check.as_seed(seed, "seed"), 0


def save_times(saveat: Any, tspan: tuple[float, float]) -> Array:
    """The times to save at: a step, from t0 on and with t1, or the times themselves."""
    if type(saveat) is not float:
        if np.ndim(saveat) or isinstance(saveat, (str, bytes)) or not np.isscalar(saveat):
            return check.as_times(saveat, "saveat", tspan, ordered=True, or_="a step > 0 or ")
        saveat = check.as_real(saveat, "saveat", "a step > 0 or times inside tspan")
    # a copy: the array becomes sol.t, which is the user's to change
    return _stepped(saveat, *tspan).copy()


@lru_cache(maxsize=64)
def _stepped(step: float, t0: float, t1: float) -> Array:
    if not 0.0 < step < math.inf:
        raise ValueError(f"saveat must be a finite step > 0 or times inside tspan; got {step}")
    span = abs(t1 - t0)
    count = span / step
    if count > _MAX_SAVED:
        raise ValueError(
            f"saveat must be a step that fits at most {_MAX_SAVED} times into tspan; got {step}"
        )
    whole = round(count)
    if whole and abs(whole * step - span) <= 1e-9 * step:
        return np.linspace(t0, t1, whole + 1)  # ends on t1 exactly
    times = t0 + math.copysign(step, t1 - t0) * np.arange(math.floor(count) + 1)
    return np.append(times, t1)


def _method_options(options: Any) -> dict[str, Any]:
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise TypeError(
            "alg_options must be a dict with the names of the method's own options; "
            f"got {check.describe(options)}"
        )
    return dict(options)


def unknown_options(unknown: dict[str, Any]) -> str:
    name = next(iter(unknown))
    if name in _ELSEWHERE:
        hint = f"; here it is called {_ELSEWHERE[name]!r}"
    else:
        hint = check.did_you_mean(name, ("alg", "engine", *_OPTIONS))
        hint = hint or "; an option of the method itself goes into alg_options={...}"
    return f"there is no option {name!r}{hint}"
