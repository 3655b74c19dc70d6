"""Solve with a pullback: the discrete adjoint of the very steps that were taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import AdjointOptions, Array, Cotangents, RawSolution, SolveOptions
from pysciml.engines.event_adjoint import EventBackward, Outputs, refuse_corrections
from pysciml.engines.native import common as c
from pysciml.engines.native.checkpoints import Recording, Replay, Stretch, log_width
from pysciml.engines.native.explicit.adjoint import ExplicitBackward
from pysciml.engines.native.explicit.tableau import ExplicitTableau
from pysciml.engines.native.loop import first_chunk
from pysciml.engines.native.workspace import Workspace, compiled_of

if TYPE_CHECKING:
    from pysciml.engines.native.methods import Method
    from pysciml.engines.native.rosenbrock.adjoint import RosenbrockBackward
    from pysciml.problems import ODEProblem

_LOG_BUDGET = 64 * 2**20  # bytes of a log above which checkpoints are kept instead


def solve_with_pullback(
    problem: ODEProblem, method: Method, options: SolveOptions, adjoint: AdjointOptions
) -> tuple[RawSolution, DiscreteAdjoint]:
    """See `NativeEngine.solve_with_pullback`."""
    if options.dense or options.save_idxs is not None:
        raise ValueError(
            "a solve with a pullback saves whole states and no dense output; got "
            f"dense={options.dense}, save_idxs={options.save_idxs}"
        )
    budget = {None: _LOG_BUDGET, True: 0, False: np.inf}[adjoint.checkpointing]
    refuse_corrections(options.events)
    compiled = compiled_of(problem.model)
    space = compiled.take(method, options.events)
    try:
        recording = Recording(problem, method, options, space)
        recording.record(budget)
        raw = recording.solve()
        return raw, DiscreteAdjoint(recording, raw)
    finally:
        compiled.give(space)


@dataclass(frozen=True)
class Log:
    """The steps of a run, or of a part of it, as the compiled loops read them."""

    t: Array
    rows: Array
    stretches: list[Stretch]


class DiscreteAdjoint:
    """The pullback of one run: (len(t), n) cotangents of the saved states -> `Cotangents`.

    It owns all that it needs: the log of a short run, the checkpoints of a long one.
    """

    def __init__(self, recording: Recording, raw: RawSolution) -> None:
        self._problem, self._method = recording.problem, recording.method
        self._options = recording.options
        self._p = recording.p.copy()
        self._shape = raw.t.size, recording.space.n
        self._tdir = recording.space.fl.item(c.F_TDIR)
        happened = [] if recording.events is None else recording.events.happened
        self._outputs = Outputs(raw.t, happened, self._tdir)
        self._states, self._stride = recording.states, recording.stride
        self._steps = recording.steps
        stretches = recording.close_log()
        out = recording.out
        self._log = Log(out.d_t, out.d_c, stretches) if len(self._states) == 1 else None

    def __call__(self, ubar: Array) -> Cotangents:
        ubar = np.ascontiguousarray(ubar, dtype=float)
        if ubar.shape != self._shape:
            raise ValueError(
                "the cotangent must have the shape of the saved states, "
                f"{self._shape}; got {ubar.shape}"
            )
        compiled = compiled_of(self._problem.model)
        space = compiled.take(self._method, self._options.events)
        try:
            return self._pull_back(ubar, space)
        finally:
            compiled.give(space)

    def _pull_back(self, ubar: Array, space: Workspace) -> Cotangents:
        if space.adjoint is None:
            space.adjoint = Memory(space)
        memory: Memory = space.adjoint
        times, of_rows = self._outputs.times, ubar
        ubar = self._outputs.cotangents(of_rows).ravel()
        memory.start(times.size, self._tdir)
        n, bar = space.n, memory.bar
        backward = None
        for log in [self._log] if self._log else self._replayed(space):
            for stretch in reversed(log.stretches):
                if stretch.happening is not None:
                    if backward is not None:
                        backward.finish(self._p)
                        backward = None
                    self._through_events(memory, stretch.happening, of_rows, ubar)
                before = memory.backward(stretch.side, self._problem.mass_matrix)
                if backward is not None and backward is not before:
                    backward.finish(self._p)
                backward = before
                for first, last in _chunks(stretch, n):
                    backward.run(self._p, log.t, log.rows, times, ubar, first, last)
        if backward is not None:
            backward.finish(self._p)
        for m in range(int(memory.it[c.I_SAVE])):  # outputs at the start
            bar[:n] += ubar[m * n : (m + 1) * n]
        return Cotangents(bar[:n].copy(), bar[n : n + memory.n_p].copy())

    def _through_events(self, memory: Memory, number: int, of_rows: Array, ubar: Array) -> None:
        """Pull `memory.bar` back through what happened at one time.

        What the state before it gets is then the cotangent of an output at that time.
        """
        n, bar = memory.space.n, memory.bar
        output = self._outputs.of_happenings[number]
        for m in range(output + 1, int(memory.it[c.I_SAVE])):  # outputs at the same time
            bar[:n] += ubar[m * n : (m + 1) * n]
        memory.it[c.I_SAVE] = output + 1
        happening = self._outputs.happened[number]
        if memory.events is None:
            watched = memory.space.watched
            assert watched is not None
            memory.events = EventBackward(
                watched.captured, watched.events, self._problem.mass_matrix, watched.function
            )
        by_state, by_p = memory.events(happening, bar[:n], of_rows, self._p)
        ubar[output * n : (output + 1) * n] = by_state
        bar[:n] = 0.0
        bar[n : n + memory.n_p] += by_p

    def _replayed(self, space: Workspace) -> Iterator[Log]:
        """The logs of the run's parts, last first."""
        replay = Replay(self._problem, self._method, self._options, space)
        replay.p = self._p
        replay.make_log(self._stride)
        for k in range(len(self._states) - 1, -1, -1):
            steps = min(self._stride, self._steps - k * self._stride)
            stretches = replay.take(self._states[k], steps)
            yield Log(replay.out.d_t, replay.out.d_c, stretches)


def _chunks(stretch: Stretch, n: int) -> Iterator[tuple[int, int]]:
    """Ranges of steps, last first, that are short enough not to look for Ctrl-C in between."""
    size = first_chunk(n)
    for last in range(stretch.last, stretch.first, -size):
        yield max(last - size, stretch.first), last


class Memory:
    """Arrays of a pullback, kept with the work space for the next one.

    `fl`, `it`: as in a run; `bar`: the cotangents of the state and of the parameters.
    """

    def __init__(self, space: Workspace) -> None:
        self.space = space
        self.n_p = space.compiled.model.n_p
        self.fl = np.zeros(c.F_INDEX_COUNT)
        self.it = np.zeros(c.I_INDEX_COUNT, dtype=np.int64)
        self.bar = np.zeros(space.n + self.n_p)
        self.events: EventBackward | None = None
        self._backward: dict[int, Any] = {}
        vjp = space.compiled.function("vjp_up")
        self.work = vjp.new_work()
        self.it[c.I_N], self.it[c.I_NP] = space.n, self.n_p
        self.it[c.I_LOG] = log_width(space.method, space.n)
        self.it[c.I_VJP] = vjp.address

    def start(self, outputs: int, tdir: float) -> None:
        """Begin a pullback from the end of a run that saved so many states."""
        self.it[c.I_SAVE], self.it[c.I_K0] = outputs, 0
        self.fl[c.F_TDIR] = tdir
        self.bar[:] = 0.0

    def backward(self, side: int, mass: Any) -> ExplicitBackward | RosenbrockBackward:
        """What pulls back through the steps of one of the method's tableaus."""
        tableau = self.space.method.tableaus[side]
        found = self._backward.get(side)
        if isinstance(tableau, ExplicitTableau):
            if found is None:
                found = self._backward[side] = ExplicitBackward(self, tableau)
            return found
        implicit = self.space.implicit(tableau, mass)
        if found is None or found.implicit is not implicit:
            from pysciml.engines.native.rosenbrock.adjoint import RosenbrockBackward

            found = self._backward[side] = RosenbrockBackward(self, implicit)
        return found
