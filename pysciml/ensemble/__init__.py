"""solve_ensemble(): many trajectories of one problem, on all cores or on a cluster."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pysciml import engines
from pysciml import validation as check
from pysciml.engines.base import (
    Array,
    Batch,
    Engine,
    EnsembleOptions,
    ManyEngine,
    RawBatch,
    SolveOptions,
)
from pysciml.ensemble.cluster import Elsewhere, Job, packed
from pysciml.ensemble.inputs import ProbFunc, Starts, starts
from pysciml.ensemble.running import Here, Runner, Stop, cores, run, solve_batch
from pysciml.ensemble.solution import EnsembleSolution, counted
from pysciml.ensemble.store import Store
from pysciml.errors import UnsupportedError
from pysciml.options import solve_options
from pysciml.problems import Problem
from pysciml.solve import check_problem

__all__ = ["EnsembleSolution", "solve_ensemble"]

_KEEP = ("all", "statistics")
_THREADS, _SERIAL = "EnsembleThreads", "EnsembleSerial"
_ENSEMBLEALGS = (_THREADS, _SERIAL, "EnsembleDistributed")
_BATCHES = 32  # an ensemble is cut into about so many batches at least ...
_MOST_IN_BATCH = 1024  # ... of at most so many trajectories ...
_FOR_THREADS = 64  # ... and of so many at least, where an engine's own threads share a batch ...
_BATCH_BYTES = 2**26  # ... and of states that are not larger than this
_QUIET_SECONDS = 0.5  # an ensemble that is done by then shows no bar

# options of solve that have no meaning for an ensemble, and why
_NOT_HERE = {
    "dense": "trajectories are kept at the times of saveat only",
    "save_everystep": "trajectories are kept at the times of saveat only",
    "save_noise": "solve(result.problem_at(i), seed=(result.seed, i), save_noise=True) has it",
    "raise_on_failure": "a trajectory that fails is told by its retcode, and the rest is kept",
}
# what the arguments are called elsewhere
_ELSEWHERE = {
    "trajectories": "n",
    "num_trajectories": "n",
    "max_workers": "threads",
    "n_jobs": "threads",
    "output_func": "prob_func, or use the trajectories in the result's u",
}


def solve_ensemble(
    problem: Problem,
    n: int | None = None,
    alg: str | None = None,
    engine: str = "auto",
    saveat: Any = None,
    abstol: Any = 1e-6,
    reltol: Any = 1e-3,
    *,
    u0: Any = None,
    p: Any = None,
    prob_func: ProbFunc | None = None,
    seed: int | None = None,
    threads: int | None = None,
    ensemblealg: str | None = None,
    keep: str = "all",
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    executor: Any = None,
    batch_size: int | None = None,
    progress: bool = True,
    **options: Any,
) -> EnsembleSolution:
    """Solve a problem many times: from other initial states, with other parameters or noise.

    Trajectories are solved in batches: on the native engine and on Julia in threads of compiled
    code, each to the last bit as `solve` gives it; on torch a batch is one solve of torchdiffeq,
    whose steps all its trajectories share.

    Parameters
    ----------
    problem : ODEProblem or SDEProblem
    n : int, optional
        Number of trajectories. It may be left out when `u0` or `p` has a row for each.
    alg, engine, abstol, reltol
        As in `solve`.
    saveat : number or array
        The common times of all trajectories: a step, or the times themselves.
    u0 : (n, *u0.shape) array, optional
        Initial states. Default: the problem's.
    p : (n, number of parameters) array, or dict, optional
        Parameters, each row flat, in the order of `problem.model.parameters`; or, for parameters
        in a dict, a dict of those that vary, each with a leading axis of length n.
    prob_func : function (prob, i) -> prob, optional
        Makes the problem of trajectory i, with `prob.remake(u0=..., p=...)`, instead of `u0` and
        `p`. It is called in this process, in the order of i; `problem_at(i)` calls it again, so
        let it depend on i alone (`np.random.default_rng((seed, i))`).
    seed : int, optional
        Of the noise of an SDEProblem: trajectory i is the one that `solve` gives for the seed
        (seed, i), whatever the batches and threads (on torch, where a batch shares its noise, the
        same seed and `batch_size` give the same). Default: a new one, which is on the result.
    threads : int, optional
        Threads of the native engine or of Julia. Default: the cores this process may use, and all
        the threads that Julia was started with. The result does not depend on it.
    ensemblealg : str, optional
        How the trajectories are spread, by SciML's name: "EnsembleThreads" (the default on native
        and Julia) or "EnsembleSerial". For several processes or machines there is `executor`.
    keep : "all" or "statistics"
        "statistics" keeps no states but the first few trajectories: mean, variance and quantiles
        are computed as the batches come.
    quantiles : sequence of numbers between 0 and 1
        Levels of the quantiles. With keep="statistics" they are exact as long as all states fit
        into 256 MiB; beyond that each is approximated by a t-digest of 500 centroids (its rank is
        off by less than 1e-3), which needs the package fastdigest. `exact_quantiles` of the result
        tells which. Mean, variance, smallest and largest values are exact to rounding.
    executor : concurrent.futures.Executor, optional
        Where to solve instead of here: a `ProcessPoolExecutor`, Dask's `client.get_executor()`, or
        anything else that has `submit`. The function is pickled (by cloudpickle where that is
        installed) and captured anew by each worker. A batch whose worker is lost is sent again, up
        to three times; lost once more, its trajectories have the retcode "Failure".
    batch_size : int, optional
        Trajectories in a batch. Default: n/32, at most 1024, and all of them on torch.
    progress : bool
        Show a progress bar when it takes longer than half a second.
    **options
        Those of `solve`, but `dense`, `save_everystep`, `save_noise` and `raise_on_failure`.

    Returns
    -------
    EnsembleSolution
        Ctrl-C returns it too: what was finished, and the retcode "Interrupted" for the rest.

    Warns
    -----
    RuntimeWarning
        Some trajectories failed; how many, and how. Statistics are of those with the retcode
        "Success"; those that a terminal event has ended are no failures, but left out, too.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong. Nothing was solved.
    UnsupportedError
        The engine lacks what was asked for.
    """
    check_problem(problem, alg)
    if seed is not None:
        seed = check.as_seed(seed, "seed")
    checked = _options(problem, saveat, abstol, reltol, seed, options)
    levels = _levels(quantiles)
    if keep not in _KEEP:
        raise ValueError(f"keep must be 'all' or 'statistics'; got {check.describe(keep)}")
    show = check.as_flag(progress, "progress")
    size = None if batch_size is None else check.as_count(batch_size, "batch_size")
    solver = engines.for_problem(engine, problem, checked.events, alg)
    how = _spread(ensemblealg, threads, executor, solver)
    begin = starts(problem, n, u0, p, prob_func, checked.seed if problem.is_random else seed)
    store = Store(begin, checked, keep, levels)
    stop = np.zeros(1, dtype=np.int64)
    runner = _runner(solver, alg, checked, begin, executor, how, store, stop)
    batches = _batches(begin, size or _batch_size(begin.n, store, solver))
    with _bar(begin.n, show) as bar:

        def receive(batch: Batch, raw: RawBatch) -> None:
            store.add(batch, raw)
            bar.update(len(raw.retcodes))

        try:
            run(runner, batches, receive, stop)
        finally:
            runner.close()
    solution = EnsembleSolution(begin, solver.name, checked, store.found(), levels)
    _tell_failures(solution, runner)
    return solution


def _options(
    problem: Problem,
    saveat: Any,
    abstol: Any,
    reltol: Any,
    seed: int | None,
    options: dict[str, Any],
) -> SolveOptions:
    """The options of each solve."""
    for name in options:
        if name in _NOT_HERE:
            raise TypeError(f"solve_ensemble has no option {name!r}: {_NOT_HERE[name]}")
        if name in _ELSEWHERE:
            raise TypeError(f"there is no option {name!r}; here it is called {_ELSEWHERE[name]}")
    if saveat is None:
        raise TypeError(
            "saveat must be given: a step > 0 or times inside tspan, at which all trajectories are "
            "saved; got None"
        )
    if problem.is_random:
        options = {**options, "seed": seed}
    return solve_options(problem, saveat, abstol, reltol, **options, dense=False)


def _levels(quantiles: Any) -> Array:
    expected = "a sequence of numbers between 0 and 1"
    if isinstance(quantiles, (str, bytes)) or np.ndim(quantiles) != 1:
        raise TypeError(f"quantiles must be {expected}; got {check.describe(quantiles)}")
    levels = np.array([check.as_real(level, "quantiles", expected) for level in quantiles])
    for level in levels:
        if not 0.0 <= level <= 1.0:
            raise ValueError(f"quantiles must be {expected}; got {level}")
    return levels


def _spread(ensemblealg: Any, threads: Any, executor: Any, solver: Engine) -> EnsembleOptions:
    """How the batches are spread, if the engine can do that."""
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(
            "executor must have a method submit, as a concurrent.futures.Executor has; got "
            f"{check.describe(executor)}"
        )
    known = solver.ensemblealgs if isinstance(solver, ManyEngine) else (_SERIAL,)
    count = None if threads is None else check.as_count(threads, "threads")
    for name, given in (("threads", count), ("ensemblealg", ensemblealg)):
        if executor is not None and given is not None:
            raise ValueError(
                f"{name} and executor must not be given together: the executor's workers are the "
                f"threads; got {name}={given!r}"
            )
    if executor is not None:
        return EnsembleOptions()
    if count is not None and _THREADS not in known:
        raise UnsupportedError(
            f'engine="{solver.name}" has no threads; engine="native" has, and executor= runs any '
            "engine in several processes"
        )
    chosen = known[0] if ensemblealg is None else _ensemblealg(ensemblealg, known, solver.name)
    if chosen == _THREADS:
        return EnsembleOptions(chosen, count)
    if count is not None:
        raise ValueError(
            f"threads must be left out with ensemblealg={chosen!r}, which has none; got {count}"
        )
    return EnsembleOptions(chosen)


def _ensemblealg(given: Any, known: tuple[str, ...], engine: str) -> str:
    choices = ", ".join(map(repr, _ENSEMBLEALGS))
    if not isinstance(given, str):
        raise TypeError(f"ensemblealg must be one of {choices}; got {check.describe(given)}")
    if given not in _ENSEMBLEALGS:
        hint = check.did_you_mean(given, _ENSEMBLEALGS)
        raise ValueError(f"ensemblealg must be one of {choices}; got {given!r}{hint}")
    if given not in known:
        raise UnsupportedError(
            f'engine="{engine}" has no {given}; it has {" and ".join(known)}, and executor= runs '
            "any engine in several processes"
        )
    return given


def _callers_threads(solver: Engine, how: EnsembleOptions) -> int | None:
    """In how many threads of this process batches run; None: in the caller's own."""
    if how.ensemblealg != _THREADS or not (isinstance(solver, ManyEngine) and solver.free_threaded):
        return None
    return how.threads or cores()


def _runner(
    solver: Engine,
    alg: str | None,
    options: SolveOptions,
    begin: Starts,
    executor: Any,
    how: EnsembleOptions,
    store: Store,
    stop: Stop,
) -> Runner:
    """Who solves the batches."""
    if executor is None:

        def solve(batch: Batch, out: Array) -> RawBatch:
            return solve_batch(solver, begin.problem, alg, options, batch, out, stop, how)

        return Here(solve, store.room, _callers_threads(solver, how))
    job = Job(packed(begin.problem), solver.name, alg, options, store.times, store.width)
    return Elsewhere(executor, job)


def _batch_size(n: int, store: Store, solver: Engine) -> int:
    """Trajectories in a batch; whatever the threads, as statistics are merged by batch."""
    fitting = max(1, _BATCH_BYTES // (8 * store.times * store.width))
    if isinstance(solver, ManyEngine) and solver.batched:
        return min(n, fitting)
    own_threads = isinstance(solver, ManyEngine) and not solver.free_threaded
    fewest = _FOR_THREADS if own_threads else 1
    return min(max(math.ceil(n / _BATCHES), fewest), _MOST_IN_BATCH, fitting)


def _batches(begin: Starts, size: int) -> Any:
    return (begin.batch(first, min(first + size, begin.n)) for first in range(0, begin.n, size))


def _bar(n: int, show: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=n, desc="ensemble", unit="traj", disable=not show, delay=_QUIET_SECONDS)


def _tell_failures(solution: EnsembleSolution, runner: Runner) -> None:
    """One warning for all trajectories that did not succeed."""
    if solution.success:
        return
    failed = solution.failed
    lost = runner.lost if isinstance(runner, Elsewhere) else []
    lines = [f" Lost with their workers: {'; '.join(lost)}."] if lost else []
    warnings.warn(
        f"{len(failed)} of {len(solution)} trajectories did not succeed: "
        f"{counted(solution.retcodes[failed])}. Their states are NaN from where they stopped, and "
        f"the statistics leave them out. The first is number {failed[0]}; "
        f"solve(result.problem_at({failed[0]})) tells more.{''.join(lines)}",
        RuntimeWarning,
        stacklevel=3,
    )
