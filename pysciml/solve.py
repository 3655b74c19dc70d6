"""solve(): pick an engine, run it, wrap the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from pysciml import engines
from pysciml import validation as check
from pysciml.engines.base import SolveOptions
from pysciml.errors import SolveError
from pysciml.events import Event
from pysciml.failure import failure_message
from pysciml.options import solve_options, unknown_options
from pysciml.problems import Problem, SteadyStateProblem
from pysciml.solution import Solution
from pysciml.steady import SteadyStateSolution, refuse_times, solve_steady


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
            raise TypeError(unknown_options(unknown))
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
