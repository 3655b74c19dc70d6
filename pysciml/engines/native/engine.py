"""`NativeEngine`: the native engine's door."""

from __future__ import annotations

from collections.abc import Callable
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
from pysciml.engines.batches import solve_each
from pysciml.errors import UnsupportedError
from pysciml.problems import (
    BVProblem,
    DDEProblem,
    DiscreteProblem,
    JumpDiffusionProblem,
    JumpProblem,
    SDEProblem,
)

if TYPE_CHECKING:
    from pysciml.engines.native.methods import Method
    from pysciml.problems import ODEProblem

    _Problem = ODEProblem | SDEProblem | JumpProblem | DiscreteProblem | BVProblem | DDEProblem

_DISCRETE = "DiscreteAdjoint"


class NativeEngine:
    """The embedded engine: explicit Runge-Kutta and Rosenbrock methods, compiled by Numba."""

    name = "native"
    ensemblealgs: tuple[str, ...] = ("EnsembleThreads", "EnsembleSerial")
    free_threaded = True
    batched = False

    def __init__(self) -> None:
        self._plain: dict[str, Method] = {}  # methods without options, by name
        self._run: Callable[[ODEProblem, Method, SolveOptions], RawSolution] = self._first_run

    def availability(self) -> Availability:
        """Whether Numba can be imported."""
        try:
            import numba  # noqa: F401
        except Exception as error:  # a broken LLVM raises OSError, not ImportError
            return Availability(False, f"numba: {error}", "pip install --upgrade numba")
        return Availability(True)

    def algorithms(self, kind: str | None = None) -> tuple[str, ...]:
        """Names of the methods, as `solve` takes them; of one `kind` of problem, or of all."""
        from pysciml.engines.native import boundary as of_bvps
        from pysciml.engines.native import methods
        from pysciml.engines.native.jumps import methods as of_jumps
        from pysciml.engines.native.stochastic import methods as of_sdes

        if kind is None:
            return (*methods.NAMES, *of_sdes.NAMES, *of_jumps.NAMES, *of_bvps.NAMES)
        if kind in ("ODEProblem", "JumpProblem of an ODEProblem"):
            return methods.NAMES
        if kind == "DDEProblem":
            return methods.EXPLICIT_NAMES
        if kind in ("BVProblem", "TwoPointBVProblem"):
            return of_bvps.NAMES
        return of_sdes.NAMES if kind == "SDEProblem" else of_jumps.NAMES

    def solve(self, problem: _Problem, alg: str | None, options: SolveOptions) -> RawSolution:
        """Integrate `problem` from tspan[0] to tspan[1] (which may lie before it).

        `alg`: a name out of `algorithms()`; None is AutoTsit5(Rodas5P), for tolerances below 1e-8
        AutoVern7(Rodas5P), and Rodas5P when there is a mass matrix. `options.algorithm` takes the
        step controller's gamma, qmin, qmax, beta1, beta2, qsteady_min, qsteady_max; for implicit
        methods also linsolve ("auto", "dense", "banded", "sparse"); for automatic switching
        maxstiffstep, maxnonstiffstep, nonstifftol, stifftol, dtfac.

        The symplectic methods take a separable `DynamicalODEProblem` and step by `dt`.

        For an SDE, None is SOSRA when g does not depend on u; else SOSRI for diagonal and scalar
        noise and LambaEM for general noise, both in the sense of Ito, and LambaEulerHeun in that of
        Stratonovich. The path belongs to the seed and to dt: with dt, dt/2, dt/4, ... it is the
        same whatever the method, the tolerances and saveat, and so it is without dt, where it is
        that of tspan's length as dt. Times of saveat end a step, where it would otherwise not end.

        For a JumpProblem, None is Direct, whose path belongs to the seed alone. Jumps in the
        solution of an ODE are found as events: each of them is a solve of its own.

        For a BVProblem, None is Collocation, whose first steps are of the length `dt`; "Shooting"
        takes a method for its initial value problems, "Shooting(Vern7)".

        A DDEProblem with constant lags is solved by the explicit methods; None is Tsit5, for
        tolerances below 1e-8 Vern7.

        Raises ValueError for an unknown method or option, UnsupportedError for what only another
        engine has. A KeyboardInterrupt carries what was computed so far as `partial`.
        """
        if isinstance(problem, SDEProblem):
            from pysciml.engines.native.stochastic import drive

            return drive.solve(problem, alg, options)
        if isinstance(problem, JumpDiffusionProblem):
            from pysciml.engines.native import jump_diffusion

            return jump_diffusion.solve(self, problem, alg, options)
        if isinstance(problem, (JumpProblem, DiscreteProblem)):
            from pysciml.engines.native import jumps

            return jumps.solve(problem, alg, options)
        if isinstance(problem, BVProblem):
            from pysciml.engines.native import boundary

            return boundary.solve(self, problem, alg, options)
        if isinstance(problem, DDEProblem):
            from pysciml.engines.native import delay

            return delay.solve(problem, alg, options)
        if alg is None:
            alg = _default(problem, options)
        method = None if options.algorithm else self._plain.get(alg)
        if method is None:
            method = self._method(alg, options)
        if method.is_symplectic:
            from pysciml.engines.native.symplectic import run as symplectic

            return symplectic.solve(problem, method, options)
        return self._run(problem, method, options)

    def solve_many(
        self,
        problem: _Problem,
        alg: str | None,
        options: SolveOptions,
        batch: Batch,
        out: Array,
        stop: NDArray[np.int64],
        how: EnsembleOptions,
    ) -> RawBatch:
        """Solve a batch of an ensemble in compiled code, without the GIL; see `ManyEngine`.

        Each trajectory is the one that `solve` gives, to the last bit.
        """
        if isinstance(problem, SDEProblem):
            from pysciml.engines.native.stochastic import drive

            return drive.solve_many(problem, alg, options, batch, out, stop)
        if isinstance(problem, (BVProblem, DDEProblem, JumpDiffusionProblem)):
            return solve_each(self, problem, alg, options, batch, out, stop)
        if isinstance(problem, (JumpProblem, DiscreteProblem)):
            from pysciml.engines.native import jumps

            return jumps.solve_many(problem, alg, options, batch, out, stop)
        from pysciml.engines.native import ensemble

        if alg is None:
            alg = _default(problem, options)
        method = self._plain.get(alg) if not options.algorithm else None
        method = method or self._method(alg, options)
        if method.is_symplectic:
            from pysciml.engines.native.symplectic import ensemble as symplectic_ensemble

            return symplectic_ensemble.solve_many(problem, method, options, batch, out, stop)
        return ensemble.solve_many(problem, method, options, batch, out, stop)

    def sensealgs(self) -> tuple[str, ...]:
        """Names of the ways in which `solve_with_pullback` can differentiate."""
        return (_DISCRETE,)

    def solve_with_pullback(
        self,
        problem: ODEProblem | SDEProblem | DDEProblem,
        alg: str | None,
        options: SolveOptions,
        adjoint: AdjointOptions,
    ) -> tuple[RawSolution, Pullback]:
        """Integrate as `solve` does, and keep what differentiating it backwards takes.

        The pullback is the exact transpose of the derivative of the very steps that were taken,
        with their sizes held fixed ("DiscreteAdjoint"), for all methods. Of `adjoint` it takes
        `checkpointing`: True keeps states that grow with the square root of the number of steps
        and takes the steps once more, False keeps every step, None keeps every step up to 64 MiB.
        Of an SDE, and by a symplectic method, every step is kept; the noise is that of the seed.

        Raises what `solve` raises; the pullback raises ValueError for a cotangent of another shape
        than the saved states.
        """
        if adjoint.sensealg not in (None, _DISCRETE):
            raise UnsupportedError(
                f"sensealg={adjoint.sensealg!r} is not in the native engine, which has "
                f'{_DISCRETE!r}; the algorithms of SciMLSensitivity need engine="julia"'
            )
        if isinstance(problem, DDEProblem):
            from pysciml.sensitivity import delays

            return delays.solve_with_pullback(self.solve, problem, alg, options, adjoint)
        if isinstance(problem, SDEProblem):
            from pysciml.engines.native.stochastic import adjoint as stochastic_adjoint

            return stochastic_adjoint.solve_with_pullback(problem, alg, options, adjoint)
        from pysciml.engines.native import adjoint as native_adjoint

        if alg is None:
            alg = _default(problem, options)
        method = self._plain.get(alg) if not options.algorithm else None
        method = method or self._method(alg, options)
        if method.is_symplectic:
            from pysciml.engines.native.symplectic import adjoint as symplectic_adjoint

            return symplectic_adjoint.solve_with_pullback(problem, method, options, adjoint)
        return native_adjoint.solve_with_pullback(problem, method, options, adjoint)

    def _method(self, alg: str, options: SolveOptions) -> Method:
        from pysciml.engines.native import methods

        if options.algorithm:
            return methods.find(alg, options.algorithm)
        method = self._plain[alg] = methods.find(alg, {})
        return method

    def _first_run(self, problem: ODEProblem, method: Method, options: SolveOptions) -> RawSolution:
        """Load (or compile, the first time on a machine) the integrators, then run."""
        from pysciml.engines.native import run

        self._run = run.solve
        return run.solve(problem, method, options)


def _default(problem: ODEProblem, options: SolveOptions) -> str:
    """The method for alg=None."""
    if problem.mass_matrix is not None:
        return "Rodas5P"
    reltol = options.reltol
    tight = reltol < 1e-8 if type(reltol) is float else np.min(reltol) < 1e-8
    return "AutoVern7(Rodas5P)" if tight else "AutoTsit5(Rodas5P)"
