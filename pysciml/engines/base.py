"""The protocol every engine keeps, and the plain data that crosses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pysciml.events import Event

Array = NDArray[np.float64]


@dataclass(slots=True)  # not frozen: that would take as long as a hundred right-hand sides
class SolveOptions:
    """Options of one solve, already checked and normalised by `pysciml.solve`.

    Times are float64 arrays inside `tspan`, sorted in the direction of integration.
    `abstol` and `reltol` are floats or flat arrays of length n.
    """

    saveat: Array | None = None  # None: every accepted step
    abstol: float | Array = 1e-6
    reltol: float | Array = 1e-3
    dt: float | None = None  # first step; the fixed step when adaptive is False
    dtmin: float = 0.0
    dtmax: float | None = None
    maxiters: int = 100_000
    adaptive: bool = True
    tstops: Array | None = None
    save_idxs: NDArray[np.intp] | None = None  # flat indices of the components that are kept
    save_everystep: bool = True
    dense: bool = True  # keep what sol(t) needs; default is `saveat is None`
    algorithm: Mapping[str, Any] = field(default_factory=dict)  # keyword options of the method
    seed: int | None = None  # of the noise of a stochastic problem, which always has one
    trajectory: int = 0  # which of the seed's streams of noise
    save_noise: bool = False  # keep the Wiener processes at the saved times
    events: tuple[Event, ...] = ()  # the problem's, then those of the solve


class Stats(NamedTuple):
    """Work counters of one solve."""

    nf: int = 0  # right-hand sides
    njacs: int = 0
    nw: int = 0  # factorisations of W = M/(gamma*dt) - J
    nsolve: int = 0
    naccept: int = 0
    nreject: int = 0


@dataclass
class RawSolution:
    """What an engine returns: flat states (the front door gives them their shape back)."""

    t: Array  # (len(t),)
    u: Array  # (len(t), n) or (len(t), len(save_idxs)), C-contiguous
    retcode: str  # SciMLBase's names: Success, Terminated, MaxIters, DtLessThanMin, Unstable, ...
    alg: str  # the method that ran, by its full name
    stats: Stats
    interpolate: Callable[[Array], Array] | None = None  # (m,) times -> (m, n) flat states
    message: str = ""  # where and why it stopped, when it did not succeed
    noise: Array | None = None  # (len(t), *noise_shape), the Wiener processes at t
    #: of each event: its times (m,), the states before it and those after it, (m, n)
    events: tuple[tuple[Array, Array, Array], ...] = ()

    @property
    def success(self) -> bool:
        return self.retcode in SUCCESSFUL


#: retcodes of a solve that got to its end, or to a terminal event
SUCCESSFUL = ("Success", "Terminated")


@dataclass(frozen=True)
class Cotangents:
    """The gradient of a scalar with respect to what a solve starts from."""

    u0: Array  # (n,)
    p: Array  # (n_p,)


#: (len(t), n) gradient of a scalar with respect to the saved states -> its `Cotangents`
Pullback = Callable[[Array], Cotangents]


@dataclass(frozen=True)
class AdjointOptions:
    """How a solve is differentiated backwards, already checked by `pysciml.sensitivity`.

    `sensealg`: a name out of the engine's `sensealgs()`; None: the engine's own choice.
    """

    sensealg: str | None = None
    checkpointing: bool | None = None  # recompute instead of keeping every step; None: when large
    abstol: float | None = None  # of a backward solve; None: as the forward one
    reltol: float | None = None


@dataclass(frozen=True)
class Batch:
    """Trajectories of one ensemble that are solved together.

    They are numbers `first` to `first + len(u0) - 1`. Rows that all trajectories share may be one
    row, broadcast. `seed` is the ensemble's; trajectory i draws its noise from (seed, i).
    """

    first: int
    u0: Array  # (m, n)
    p: Array  # (m, n_p)
    seed: int | None = None

    def part(self, rows: slice) -> Batch:
        """Some of the trajectories, one after the other."""
        first = self.first + rows.indices(len(self.u0))[0]
        return Batch(first, self.u0[rows], self.p[rows], self.seed)


@dataclass
class RawBatch:
    """What became of a batch: flat states; NaN from where a trajectory stopped."""

    u: Array  # (m, len(saveat), n) or (m, len(saveat), len(save_idxs))
    retcodes: NDArray[np.object_]  # (m,) of SciMLBase's names, or INTERRUPTED
    alg: str
    stats: Stats  # of all trajectories together


INTERRUPTED = "Interrupted"  # not solved, or not to the end, because of Ctrl-C


@dataclass(frozen=True)
class Availability:
    """Whether an engine can run now, and if not, what mends it."""

    ready: bool
    reason: str = ""
    remedy: str = ""


class Engine(Protocol):
    """One folder of `pysciml.engines` implements this."""

    name: str

    def availability(self) -> Availability: ...

    def algorithms(self, kind: str | None = None) -> tuple[str, ...]:
        """Names of the methods: of all, or of those for one `kind` of problem, "ODEProblem", ..."""
        ...

    def solve(self, problem: Any, alg: str | None, options: SolveOptions) -> RawSolution:
        """Solve a problem of one of the kinds that `pysciml.engines` says the engine has."""
        ...

    def sensealgs(self) -> tuple[str, ...]:
        """Names of the ways in which `solve_with_pullback` can differentiate."""
        ...

    def solve_with_pullback(
        self, problem: Any, alg: str | None, options: SolveOptions, adjoint: AdjointOptions
    ) -> tuple[RawSolution, Pullback]:
        """Solve, and keep what differentiating it backwards takes.

        The pullback may be called any number of times, until the next solve or much later; it is
        the transpose of d(saved states)/d(u0, p). `options.save_idxs` is None and `options.dense`
        False. After a failed solve the pullback is for the states that were saved.
        """
        ...


@dataclass(frozen=True)
class EnsembleOptions:
    """How a batch is spread, already checked by `pysciml.ensemble`."""

    ensemblealg: str = "EnsembleSerial"  # a name out of the engine's `ensemblealgs`
    threads: int | None = 1  # of the engine's own; None: all that it has


@runtime_checkable
class ManyEngine(Protocol):
    """An engine that solves a batch of trajectories by itself; for others it is a loop.

    `ensemblealgs`: SciMLBase's names of the ways in which an ensemble can be spread, the default
    first. `free_threaded`: whether "EnsembleThreads" are threads of the caller, in which several
    `solve_many` run at once; else they are the engine's own. `batched`: whether a batch is one
    solve, so that it should be as large as it can.
    """

    ensemblealgs: tuple[str, ...]
    free_threaded: bool
    batched: bool

    def solve_many(
        self,
        problem: Any,
        alg: str | None,
        options: SolveOptions,
        batch: Batch,
        out: Array,
        stop: NDArray[np.int64],
        how: EnsembleOptions,
    ) -> RawBatch:
        """Solve `problem` from each row of the batch; `out` becomes the result's `u`.

        `options.saveat` is given and `options.dense` False. As soon as stop[0] is not 0, the
        trajectories that are not done are left and become INTERRUPTED.
        """
        ...
