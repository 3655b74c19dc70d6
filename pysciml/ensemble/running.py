"""Batches of trajectories: who solves them, and how their results come back in order."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import (
    Array,
    Batch,
    Engine,
    EnsembleOptions,
    ManyEngine,
    RawBatch,
    SolveOptions,
)
from pysciml.engines.batches import solve_each
from pysciml.problems import Problem

Stop = NDArray[np.int64]  # one number; not 0: leave what is not done
Room = Callable[[Batch], Array]  # where a batch's states go


def solve_batch(
    runner: Engine,
    problem: Problem,
    alg: str | None,
    options: SolveOptions,
    batch: Batch,
    out: Array,
    stop: Stop,
    how: EnsembleOptions,
) -> RawBatch:
    """Solve a batch as its engine does: at once, or one trajectory after the other."""
    if isinstance(runner, ManyEngine):
        return runner.solve_many(problem, alg, options, batch, out, stop, how)
    return solve_each(runner, problem, alg, options, batch, out, stop)


class Runner(Protocol):
    """Solves batches. At most `window` of them are handed over and not yet received."""

    window: int

    def submit(self, batch: Batch) -> Future[Any]: ...

    def result(self, batch: Batch, future: Future[Any]) -> RawBatch: ...

    def abandon(self, future: Future[Any]) -> bool:
        """After the stop signal. False: its result will come soon and is worth having."""
        ...

    def close(self) -> None: ...


class Here:
    """Runs batches in this process: in threads when the engine can, else one after the other."""

    def __init__(
        self, solve: Callable[[Batch, Array], RawBatch], room: Room, threads: int | None
    ) -> None:
        self._solve = solve
        self._room = room
        self._pool: Executor = Inline() if threads is None else ThreadPoolExecutor(threads)
        self.window = 1 if threads is None else 4 * threads

    def submit(self, batch: Batch) -> Future[RawBatch]:
        return self._pool.submit(self._solve, batch, self._room(batch))

    def result(self, batch: Batch, future: Future[RawBatch]) -> RawBatch:
        return future.result()

    def abandon(self, future: Future[RawBatch]) -> bool:
        return future.cancel()

    def close(self) -> None:
        self._pool.shutdown()


class Inline(Executor):
    """Runs each job when it is submitted, in this very thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(
    runner: Runner,
    batches: Iterator[Batch],
    receive: Callable[[Batch, RawBatch], None],
    stop: Stop,
) -> None:
    """Solve all batches and receive their results in order.

    Ctrl-C sets `stop`: what is finished by then is received. The second Ctrl-C raises.
    """
    waiting: deque[tuple[Batch, Future[Any]]] = deque()

    def next_result() -> None:
        batch, future = waiting[0]
        raw = runner.result(batch, future)
        with _uninterrupted():
            waiting.popleft()
            receive(batch, raw)

    try:
        for batch in batches:
            waiting.append((batch, runner.submit(batch)))
            while len(waiting) >= runner.window:
                next_result()
            if stop[0]:
                break
        while waiting and not stop[0]:
            next_result()
    except KeyboardInterrupt:
        stop[0] = 1
    except BaseException:
        stop[0] = 1
        for _, future in waiting:
            future.cancel()
        raise
    left = [pair for pair in waiting if not runner.abandon(pair[1])]
    for batch, future in left:
        receive(batch, runner.result(batch, future))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C until the block is done."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
