"""Batches on any `concurrent.futures.Executor`: of processes, of Dask, of what has `submit`.

The problem travels once per batch as bytes: the user's function and plain arrays, never the
captured model. A worker captures it anew and keeps it for the batches that follow.
"""

from __future__ import annotations

import pickle
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pysciml import engines
from pysciml.engines.base import Array, Batch, EnsembleOptions, RawBatch, SolveOptions, Stats
from pysciml.engines.batches import once
from pysciml.ensemble.running import solve_batch
from pysciml.problems import Problem

_RETRIES = 3
_WINDOW = 1024  # batches on their way at most


@dataclass(frozen=True)
class Job:
    """What a worker is sent beside the numbers that a batch starts from."""

    problem: bytes
    engine: str
    alg: str | None
    options: SolveOptions
    times: int
    width: int  # numbers of a saved state

    def __call__(
        self, first: int, count: int, u0: Array, p: Array, seed: int | None
    ) -> RawBatch | Exception:
        """In the worker. An error of the solve is returned: what is raised is the cluster's own.

        `u0`, `p`: `count` rows, or one that all trajectories share.
        """
        try:
            out = np.empty((count, self.times, self.width))
            return solve_batch(
                engines.get(self.engine),
                _loaded(self.problem),
                self.alg,
                self.options,
                Batch(first, _repeated(u0, count), _repeated(p, count), seed),
                out,
                np.zeros(1, dtype=np.int64),
                EnsembleOptions(),
            )
        except Exception as error:
            return error


@lru_cache(maxsize=16)
def _loaded(problem: bytes) -> Any:
    return pickle.loads(problem)


def packed(problem: Problem) -> bytes:
    """The problem for another process.

    cloudpickle also takes functions that plain pickle does not: those of a notebook, of a
    function, lambdas. Raises TypeError when neither takes it.
    """
    _ = problem.p  # in the user's structure, which needs no model
    try:
        from cloudpickle import dumps
    except ImportError:
        dumps = pickle.dumps
    try:
        return bytes(dumps(problem))
    except Exception as error:
        hint = "" if dumps is not pickle.dumps else "; pip install cloudpickle may help"
        raise TypeError(
            f"the problem must be one that can be pickled, for executor to send it to its workers; "
            f"got {problem!r}, for which pickle says: {error}{hint}"
        ) from error


class Elsewhere:
    """Runs batches on the user's executor; one that is lost with its worker is sent again."""

    window = _WINDOW

    def __init__(self, executor: Any, job: Job) -> None:
        self._executor = executor
        self._job = job
        self.lost: list[str] = []  # what became of batches that were lost too often

    def submit(self, batch: Batch) -> Future[Any]:
        future: Future[Any] = self._executor.submit(
            self._job, batch.first, len(batch.u0), once(batch.u0), once(batch.p), batch.seed
        )
        return future

    def result(self, batch: Batch, future: Future[Any]) -> RawBatch:
        for retry in range(_RETRIES + 1):
            try:
                if retry:
                    future = self.submit(batch)
                found = future.result()
                break
            except Exception as error:
                failure = error
        else:
            return self._failed(batch, failure)
        if isinstance(found, Exception):
            raise found
        raw: RawBatch = found
        return raw

    def _failed(self, batch: Batch, error: Exception) -> RawBatch:
        count = len(batch.u0)
        last = batch.first + count - 1
        self.lost.append(f"trajectories {batch.first} to {last}: {type(error).__name__}: {error}")
        u = np.full((count, self._job.times, self._job.width), np.nan)
        return RawBatch(u, np.full(count, "Failure", dtype=object), "", Stats())

    def abandon(self, future: Future[Any]) -> bool:
        if future.done() and not future.cancelled() and future.exception() is None:
            return False
        future.cancel()
        return True

    def close(self) -> None:
        """The executor is the user's."""


def _repeated(rows: Array, count: int) -> Array:
    return np.broadcast_to(rows, (count, rows.shape[1]))
