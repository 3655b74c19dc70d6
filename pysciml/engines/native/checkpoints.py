"""Logs of runs, and the checkpoints that a log can be made again from.

The log of a run, which its adjoint reads backwards, takes memory for each step. A long run keeps
only the log of its newest `stride` steps, and the complete state of the run after each `stride`
steps; from there the same steps can be taken again, bit for bit. When these states need more memory
than the log, every other one is dropped and the stride is doubled: both then grow with the square
root of the number of steps, which nobody has to know in advance (as in P. Stumm, A. Walther, "New
algorithms for optimal online checkpointing", SIAM J. Sci. Comput. 32 (2010) 836-854, with one level
of checkpoints).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import Array
from pysciml.engines.native import common as c
from pysciml.engines.native.explicit import loop as explicit
from pysciml.engines.native.explicit.tableau import ExplicitTableau
from pysciml.engines.native.methods import Method
from pysciml.engines.native.output import resized
from pysciml.engines.native.run import Drive

FIRST_STRIDE = 64


@dataclass(frozen=True)
class State:
    """All that a run between two steps consists of."""

    fl: Array
    it: NDArray[np.int64]
    u: Array
    k0: Array  # the next step's first stage when it is known, else empty
    side: int
    conditions: Array  # what is remembered of the events' conditions
    happened: int  # how often there were events

    @property
    def nbytes(self) -> int:
        arrays = (self.fl, self.it, self.u, self.k0, self.conditions)
        return sum(array.nbytes for array in arrays) + 640  # headers


@dataclass(frozen=True)
class Stretch:
    """Steps `first` to `last` - 1 of a log, taken with one of the method's tableaus.

    `happening`: the number of the events that follow, None when there are none.
    """

    first: int
    last: int
    side: int
    happening: int | None


def log_width(method: Method, n: int) -> int:
    """Floats of a step's row in the log."""
    return c.LOG_U + (1 + max(_stages(tableau) for tableau in method.tableaus)) * n


def _stages(tableau: object) -> int:
    return tableau.stages_total if isinstance(tableau, ExplicitTableau) else tableau.stages  # type: ignore[attr-defined]


class LoggedDrive(Drive):
    """A run that logs its steps. The log is `out.d_t`, `out.d_c`; `stretches`: what it consists of
    as far as the last change of tableau, or the last events.
    """

    __slots__ = ("stretches",)

    def make_log(self, room: int) -> None:
        """An empty log for this many steps."""
        it = self.space.it
        width = it[c.I_LOG] = log_width(self.method, self.space.n)
        self.out.d_t, self.out.d_c = np.empty(room + 1), np.empty(room * width)
        self.clear_log()

    def clear_log(self) -> None:
        self.space.it[c.I_NDENSE] = 0
        self.stretches: list[Stretch] = []

    @property
    def logged(self) -> int:
        """Steps in the log."""
        return int(self.space.it[c.I_NDENSE])

    def close_log(self) -> list[Stretch]:
        """What the log consists of, to its end."""
        self._close_stretch()
        return self.stretches

    def _close_stretch(self, happening: int | None = None) -> None:
        first = self.stretches[-1].last if self.stretches else 0
        if self.logged > first or happening is not None:
            self.stretches.append(Stretch(first, self.logged, self.side, happening))

    def checkpoint(self) -> State:
        """The state of the run at present."""
        space = self.space
        n = space.n
        k0 = np.empty(0)
        if self.implicit is None and space.it[c.I_K0]:
            at = self._first_stage()
            k0 = space.buf[at : at + n].copy()
        conditions, happened = np.empty(0), 0
        if self.events is not None:
            conditions, happened = self.events.memory(space).copy(), self.events.count
        return State(
            space.fl.copy(), space.it.copy(), self.state.copy(), k0, self.side, conditions, happened
        )

    def restore(self, state: State) -> None:
        """Go back to a state of this run."""
        space = self.space
        space.fl[:], space.it[:], space.buf[: space.n] = state.fl, state.it, state.u
        self.side = state.side
        tableau = self.method.tableaus[self.side]
        self.implicit = None
        if not isinstance(tableau, ExplicitTableau):
            self._enter_implicit(tableau)
        elif state.k0.size:
            at = self._first_stage()
            space.buf[at : at + space.n] = state.k0
        if self.events is not None:
            self.events.memory(space)[:] = state.conditions
            self.events.happened.clear()
            self.events.count = state.happened

    def _first_stage(self) -> int:
        return explicit.first_stage(self.method.tableaus[self.side].degree) * self.space.n

    def _switch(self) -> None:
        self._close_stretch()
        super()._switch()

    def _event(self) -> int:
        assert self.events is not None
        self._close_stretch(self.events.count)
        return super()._event()


class Recording(LoggedDrive):
    """A forward run: a log that grows up to `budget` bytes, from there on checkpoints."""

    __slots__ = ("budget", "states", "stride")

    def record(self, budget: float) -> None:
        """To be called before the run."""
        self.budget = budget
        self.stride = FIRST_STRIDE
        self.make_log(self.stride)
        self.states = [self.checkpoint()]

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return (len(self.states) - 1) * self.stride + self.logged

    def _grow(self) -> bool:
        if self.logged == self.stride:
            self._log_is_full()
        if self.space.it[c.I_EVERYSTEP] and self.space.it[c.I_NOUT] == self.out.t.size:
            self.more_rows()
        return True

    def _log_is_full(self) -> None:
        if len(self.states) == 1 and 2 * self.out.d_c.nbytes <= self.budget:
            self._double()
            return
        self.states.append(self.checkpoint())
        if len(self.states) * self.states[-1].nbytes > self.out.d_c.nbytes:
            open_ended = len(self.states) % 2 == 0  # the newest goes, too: its steps stay logged
            del self.states[1::2]
            self._double()
            if open_ended:
                return
        self.clear_log()

    def _double(self) -> None:
        self.stride *= 2
        out = self.out
        out.d_t = resized(out.d_t, self.stride + 1)
        out.d_c = resized(out.d_c, self.stride * int(self.space.it[c.I_LOG]))


class Replay(LoggedDrive):
    """The steps of a run taken once more, for their log."""

    __slots__ = ("_room",)

    def make_log(self, room: int) -> None:
        super().make_log(room)
        self._room = self.out.d_t

    def take(self, state: State, steps: int) -> list[Stretch]:
        """Log the `steps` steps that follow `state`; returns what the log consists of."""
        self.restore(state)
        self.space.it[c.I_EVERYSTEP] = 0
        self.out.d_t = self._room[: steps + 1]
        self.clear_log()
        self.run()
        if self.logged != steps:
            raise RuntimeError(
                f"the steps after t = {state.fl[c.F_T]:.17g} could not be repeated: f gives other "
                "values for the same arguments"
            )
        return self.close_log()

    def _grow(self) -> bool:
        return False
