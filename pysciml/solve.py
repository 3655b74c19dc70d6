"""solve(): check the options, pick an engine, run it, wrap the result."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, overload

import numpy as np

from pysciml import engines
from pysciml import validation as check
from pysciml.engines.base import Array, SolveOptions
from pysciml.errors import SolveError, UnsupportedError
from pysciml.events import Event, as_events
from pysciml.problems import Problem, SteadyStateProblem
from pysciml.solution import Solution
from pysciml.steady import SteadyStateSolution, refuse_times, solve_steady

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

_ADVICE = {
    "MaxIters": (
        "the tolerances are too tight or the problem is stiff: try {stiff}, looser tolerances, or "
        "a larger maxiters"
    ),
    "DtLessThanMin": (
        "the solution has a singularity here, or the problem is stiff, or events follow each other "
        "ever faster: look at the last states, try {stiff} or looser tolerances"
    ),
    "Unstable": (
        "the solution blows up, or the step is too large for the method: look at the last states, "
        "check f and p, try tighter tolerances or a smaller dt"
    ),
    "ConvergenceFailure": (
        "the implicit equations could not be solved: check that f is smooth near the last state, "
        "try tighter tolerances or a smaller dtmax"
    ),
    "InitialFailure": "the initial state is not consistent with the algebraic equations: check u0",
}
_ADVICE_ELSE = "the model or its input: look at the last states, check f, p and the tolerances"


@overload
def solve(  # type: ignore[overload-overlap]
    problem: SteadyStateProblem,
    alg: str | None = None,
    engine: str = "auto",
    *,
    abstol: Any = 1e-6,
    reltol: Any = 1e-3,
    maxiters: int | None = None,
    raise_on_failure: bool = True,
) -> SteadyStateSolution: ...


@overload
def solve(
    problem: Problem,
    alg: str | None = None,
    engine: str = "auto",
    saveat: Any = None,
    abstol: Any = 1e-6,
    reltol: Any = 1e-3,
    **options: Any,
) -> Solution: ...


def solve(
    problem: Problem,
    alg: str | None = None,
    engine: str = "auto",
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
    raise_on_failure: bool = True,
    seed: Any = None,
    save_noise: bool = False,
    events: Sequence[Event] | None = None,
    initialize: str | None = None,
    **unknown: Any,
) -> Solution | SteadyStateSolution:
    """Solve a problem.

    Parameters
    ----------
    problem : ODEProblem, SDEProblem, DDEProblem, BVProblem, SteadyStateProblem, ...
    alg : str, optional
        Method, by its SciML name ("Tsit5", "Rodas5P", "SOSRI", ...); on the torch engine also by
        torchdiffeq's and torchsde's. Default: a good one of the engine's, with automatic stiffness
        detection where it has that.
    engine : "auto", "julia", "native" or "torch"
        "auto" is Julia when its environment is ready, else native. It never downloads.
    saveat : number or array, optional
        A step, which saves at t0, t0 + step, ... and at t1; or the times themselves. Default:
        every step of the solver.
    abstol, reltol : float or array
        Tolerances on the local error of each component, both > 0.
    dt : float, optional
        First step; the fixed step when `adaptive` is False.
    dtmin, dtmax : float, optional
        Bounds of the step size.
    maxiters : int
        Most steps to try. Default: 100 000; for a JumpProblem and a DiscreteProblem 10**9.
    adaptive : bool
        Whether the step follows the error. False needs `dt`.
    tstops : array, optional
        Times that a step must end at, where f has a jump.
    save_idxs : list of int, optional
        Flat indices of the components to keep.
    save_everystep : bool
        False keeps only t0 and t1 when there is no `saveat`.
    dense : bool, optional
        Keep what `sol(t)` needs. Default: when there is no `saveat`.
    alg_options : dict, optional
        Keyword options of the method itself, as its engine names them.
    raise_on_failure : bool
        False returns a failed solve, to be judged by its `retcode`, instead of raising.
    seed : int, or (int, int), optional
        Of the noise of an SDEProblem: the same seed on the same engine gives the same path. A pair
        (seed, i) is trajectory i of `solve_ensemble(..., seed=seed)`. Default: a new one, which is
        found in `sol.seed`.
    save_noise : bool
        Keep the Wiener processes of an SDEProblem at the saved times, in `sol.W`.
    events : list of events, optional
        What happens in this solve, after the problem's own events; see `pysciml.events`. What has
        happened is in `sol.events`.
    initialize : "CheckInit" or "BrownFullBasicInit", optional
        What is done with initial values at which algebraic equations do not hold: of a DAEProblem,
        and of an ODEProblem whose mass_matrix has a row of zeros. The first, which is the default,
        refuses them; the second finds consistent ones and keeps the differential entries of u0.

    Returns
    -------
    Solution
        For a SteadyStateProblem, which takes of the options abstol, reltol, maxiters and
        raise_on_failure, a SteadyStateSolution.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong. Nothing was compiled or solved.
    UnsupportedError
        The engine lacks what was asked for; the message names one that has it.
    SolveError
        The solve stopped early; `error.solution` holds what was computed.
    KeyboardInterrupt
        Ctrl-C. On the native engine its `solution` holds what was computed.
    """
    check_problem(problem, alg)
    if isinstance(problem, SteadyStateProblem):
        if unknown:
            raise TypeError(_unknown_options(unknown))
        refuse_times(
            saveat=saveat,
            dt=dt,
            dtmin=dtmin or None,
            dtmax=dtmax,
            adaptive=None if adaptive is True else adaptive,
            tstops=tstops,
            save_idxs=save_idxs,
            save_everystep=None if save_everystep is True else save_everystep,
            dense=dense,
            alg_options=alg_options,
            seed=seed,
            save_noise=save_noise or None,
            events=events,
            initialize=initialize,
        )
        return solve_steady(problem, alg, engine, abstol, reltol, maxiters, raise_on_failure)
    options = solve_options(
        problem,
        saveat,
        abstol,
        reltol,
        dt=dt,
        dtmin=dtmin,
        dtmax=dtmax,
        maxiters=maxiters,
        adaptive=adaptive,
        tstops=tstops,
        save_idxs=save_idxs,
        save_everystep=save_everystep,
        dense=dense,
        alg_options=alg_options,
        seed=seed,
        save_noise=save_noise,
        events=events,
        **unknown,
    )
    if raise_on_failure is not True:
        raise_on_failure = check.as_flag(raise_on_failure, "raise_on_failure")
    runner = engines.for_problem(engine, problem, options.events, alg)
    if problem.is_algebraic or initialize is not None:
        from pysciml.consistent import consistent

        problem = consistent(problem, initialize, options.abstol)
    try:
        raw = runner.solve(problem, alg, options)
    except KeyboardInterrupt as interrupt:
        _keep_partial(interrupt, problem, runner.name, options)
        raise
    solution = Solution(problem, runner.name, options, raw)
    if raise_on_failure and not raw.success:
        raise SolveError(failure_message(solution), solution)
    return solution


def check_problem(problem: Any, alg: Any) -> None:
    """Refuse what is no problem, or no name of a method."""
    if not isinstance(problem, Problem):
        raise TypeError(
            "problem must be a problem, such as ODEProblem(f, u0, tspan); got "
            f"{check.describe(problem)}"
        )
    if alg is not None and type(alg) is not str:
        raise TypeError(_not_an_algorithm(alg))


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
        raise TypeError(_unknown_options(unknown))
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


def _unknown_options(unknown: dict[str, Any]) -> str:
    name = next(iter(unknown))
    if name in _ELSEWHERE:
        hint = f"; here it is called {_ELSEWHERE[name]!r}"
    else:
        hint = check.did_you_mean(name, ("alg", "engine", *_OPTIONS))
        hint = hint or "; an option of the method itself goes into alg_options={...}"
    return f"there is no option {name!r}{hint}"


def _not_an_algorithm(alg: Any) -> str:
    hint = ""
    if callable(alg) and hasattr(alg, "__name__"):
        hint = f"; pass its name, {alg.__name__!r}"
    return f'alg must be the name of a method, such as "Tsit5"; got {check.describe(alg)}{hint}'


def _keep_partial(
    interrupt: KeyboardInterrupt, problem: Problem, engine: str, options: SolveOptions
) -> None:
    """What an interrupted engine had computed goes along as `interrupt.solution`."""
    raw = getattr(interrupt, "partial", None)
    if raw is not None:
        interrupt.solution = Solution(problem, engine, options, raw)  # type: ignore[attr-defined]


def failure_message(solution: Solution) -> str:
    """Where the solve stopped, why, and what to try."""
    t1 = solution.problem.tspan[1]
    why = solution.message.rstrip(".")
    if not why:
        why = f"the last saved time is {solution.t[-1]:.6g}" if len(solution.t) else "at the start"
    kept = (
        f"The {len(solution.t)} saved states are in error.solution; raise_on_failure=False returns "
        "them instead of raising."
    )
    if not solution.problem.is_initial_value:
        return (
            f"{solution.alg} on the {solution.engine} engine found no solution "
            f"({solution.retcode}): {why}. Likely there is none, or the guess u0 is too far from "
            f"it: try a guess that depends on t, another method, or looser tolerances. {kept}"
        )
    stiff = 'a stiff method (alg="Rodas5P")'
    if solution.engine == "torch":
        stiff = 'a stiff method (engine="native", alg="Rodas5P")'
    advice = _ADVICE.get(solution.retcode, _ADVICE_ELSE).format(stiff=stiff)
    smooth = not (solution.problem.is_random or solution.problem.is_piecewise_constant)
    likely = f" Likely {advice}." if smooth else ""
    return (
        f"{solution.alg} on the {solution.engine} engine stopped before t = {t1:g} "
        f"({solution.retcode}): {why}.{likely} {kept}"
    )
