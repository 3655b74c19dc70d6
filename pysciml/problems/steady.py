"""Where a right-hand side is zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pysciml.problems.base import Problem, Source, check_function

_FOREVER = (0.0, math.inf)


class SteadyStateProblem(Problem):
    """A steady state of du/dt = f(u, p, t): a u with f(u, p) = 0.

    `solve(prob, alg)` finds one and returns a `SteadyStateSolution`; `gradient(prob, loss)`
    differentiates a loss of it by the implicit function theorem. `alg` is

    - "DynamicSS", or with a method for ODEs of the engine's, "DynamicSS(Rodas5P)": follows the flow
      from u0 until |f| <= abstol + reltol |u| (Euclidean norms), so it finds a stable state. On
      Julia this is SteadyStateDiffEq's, whose test is |f| <= abstol or |f| <= reltol |u + f|;
    - "SSRootfind": looks for a root from u0 with the captured Jacobian; quick and to rounding
      errors, but the state it finds need not be stable, nor the one near u0. Natively this is
      SciPy's hybrid Powell method, on Julia NonlinearSolve's TrustRegion, or by name
      "SSRootfind(NewtonRaphson)", "SSRootfind(LevenbergMarquardt)", "SSRootfind(Broyden)",
      "SSRootfind(PseudoTransient)", "SSRootfind(RobustMultiNewton)", "SSRootfind(DFSane)", ...;
    - None: the first, then the second from where that ends, unless the Jacobian is singular there,
      as it is where something is conserved.

    The engine is "native" unless `engine="julia"` is asked for.

    Parameters
    ----------
    f : callable or torch.nn.Module
        As for `ODEProblem`. It must not depend on t.
    u0 : number, list, array or tensor
        Where the search begins.
    p : None, number, vector, or dict, namedtuple or list of numbers and arrays
        Parameters, handed to `f` in the same structure. A copy is kept.
    names : list of str, optional
        Names of the entries of u0, in row-major order.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ()

    kind = "SteadyStateProblem"

    def __init__(
        self, f: Callable[..., Any], u0: Any, p: Any = None, *, names: Sequence[str] | None = None
    ) -> None:
        check_function(f)
        self._set(u0, _FOREVER, p, names)
        self._source = Source(f, self.u0, self._p)

    @staticmethod
    def _checked_tspan(tspan: Any) -> tuple[float, float]:
        if tspan is not _FOREVER:
            raise TypeError("a SteadyStateProblem has no tspan: there is no time in it")
        return _FOREVER
