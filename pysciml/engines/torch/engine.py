"""torchdiffeq, called the way its own users call it: the honest baseline.

The user's own Python function runs on float64 tensors with torchdiffeq's `odeint`, under
`torch.no_grad` unless the solve is to be differentiated. No speed trick goes in, and none is kept
out. Reference: Chen, torchdiffeq (2018), https://github.com/rtqichen/torchdiffeq.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import (
    AdjointOptions,
    Array,
    Availability,
    Batch,
    EnsembleOptions,
    Pullback,
    RawBatch,
    RawSolution,
    SolveOptions,
)
from pysciml.engines.batches import added, solve_each
from pysciml.engines.torch import stochastic
from pysciml.engines.torch.methods import (
    ADAPTIVE,
    ALIASES,
    METHODS,
    SCIPY,
    SENSEALGS,
    check_sensealg,
    check_supported,
    method_of,
)
from pysciml.engines.torch.run import DifferentiableRun, Run
from pysciml.problems import SDEProblem

if TYPE_CHECKING:
    from pysciml.problems import ODEProblem


class TorchEngine:
    """torchdiffeq behind the engine protocol.

    Without `saveat` an adaptive method returns its own steps. `sol(t)` is torchdiffeq's own
    interpolant; it is made by a second solve on the first call. `maxiters` counts all steps of a
    solve, where torchdiffeq's own limit starts anew at each output time. `alg_options` are
    torchdiffeq's `options`.

    An SDE goes to torchsde with its fixed step `dt`, by its default method when `alg` is None (srk,
    euler for general noise, midpoint in the sense of Stratonovich). `alg_options` are torchsde's
    `options`, and {"adaptive": True} is its adaptive stepping.
    """

    name = "torch"
    ensemblealgs: tuple[str, ...] = ("EnsembleSerial",)
    free_threaded = False
    batched = True

    def availability(self) -> Availability:
        from importlib.util import find_spec

        for package in ("torch", "torchdiffeq"):
            if find_spec(package) is None:
                return Availability(False, f"{package} is not installed", f"pip install {package}")
        return Availability(True)

    def algorithms(self, kind: str | None = None) -> tuple[str, ...]:
        of_odes = (*METHODS, *ALIASES)
        if kind is None:
            return (*of_odes, *stochastic.NAMES)
        return stochastic.NAMES if kind == "SDEProblem" else of_odes

    def solve(
        self, problem: ODEProblem | SDEProblem, alg: str | None, options: SolveOptions
    ) -> RawSolution:
        if isinstance(problem, SDEProblem):
            return stochastic.solve(problem, alg, options)
        method = method_of(alg)
        check_supported(problem, method, options)
        run = Run(problem, method, options)
        raw = run.solve()
        if options.save_idxs is not None:
            raw.u = np.ascontiguousarray(raw.u[:, options.save_idxs])
        return raw

    def solve_many(
        self,
        problem: ODEProblem | SDEProblem,
        alg: str | None,
        options: SolveOptions,
        batch: Batch,
        out: Array,
        stop: NDArray[np.int64],
        how: EnsembleOptions,
    ) -> RawBatch:
        """One solve for a whole batch; see `ensemble` beside this file, and `ManyEngine`.

        A batch that fails is solved in halves, down to the trajectories that make it fail.
        """
        from pysciml.engines.torch import ensemble

        if isinstance(problem, SDEProblem):
            if not ensemble.can_be_batched(problem, batch):
                return solve_each(self, problem, alg, options, batch, out, stop)
            return stochastic.solve_many(problem, alg, options, batch, out)
        method = method_of(alg)
        check_supported(problem, method, options)
        if method == SCIPY or not ensemble.can_be_batched(problem, batch):
            return solve_each(self, problem, alg, options, batch, out, stop)
        return self._solve_batched(problem, method, options, batch, out)

    def _solve_batched(
        self, problem: ODEProblem, method: str, options: SolveOptions, batch: Batch, out: Array
    ) -> RawBatch:
        from pysciml.engines.torch import ensemble

        run = Run(ensemble.BatchedProblem(problem, batch), method, options)
        if method in ADAPTIVE:
            run.use_norm(ensemble.largest_norm)
        raw = run.solve()
        count = len(out)
        if raw.retcode != "Success" and count > 1:
            half = count // 2
            parts = [
                self._solve_batched(problem, method, options, batch.part(rows), out[rows])
                for rows in (slice(0, half), slice(half, count))
            ]
            retcodes = np.concatenate([part.retcodes for part in parts])
            return RawBatch(out, retcodes, method, added(parts[0].stats, parts[1].stats))
        u = raw.u.reshape(len(raw.t), count, -1).transpose(1, 0, 2)
        out.fill(np.nan)
        out[:, : len(raw.t)] = u if options.save_idxs is None else u[:, :, options.save_idxs]
        return RawBatch(out, np.full(count, raw.retcode, dtype=object), method, raw.stats)

    def sensealgs(self) -> tuple[str, ...]:
        return SENSEALGS

    def solve_with_pullback(
        self,
        problem: ODEProblem | SDEProblem,
        alg: str | None,
        options: SolveOptions,
        adjoint: AdjointOptions,
    ) -> tuple[RawSolution, Pullback]:
        """Solve with `odeint` and backpropagate through it, or with `odeint_adjoint`.

        "backprop", the default, differentiates the very steps taken and keeps all of them in
        memory; "odeint_adjoint" solves the adjoint equation backwards, with `adjoint`'s tolerances.
        """
        if isinstance(problem, SDEProblem):
            return stochastic.solve_with_pullback(problem, alg, options, adjoint)
        sensealg = adjoint.sensealg or "backprop"
        method = method_of(alg)
        check_supported(problem, method, options)
        check_sensealg(sensealg, method, adjoint)
        run = DifferentiableRun(problem, method, options, sensealg, adjoint)
        return run.solve(), run.pullback
