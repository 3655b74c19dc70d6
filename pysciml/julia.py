"""The way into Julia itself: captured functions as Julia functions, and juliacall's Main.

For users of diffeqpy: a Python callback as right-hand side is what makes it slow. `function`
gives the captured and compiled function in its place::

    from diffeqpy import de
    import pysciml as sml

    fn = sml.julia.function(lotka_volterra, u0, p)
    prob = de.ODEProblem(fn, u0, (0.0, 10.0), p)
    sol = de.solve(prob, de.Rodas5P())      # uses the captured Jacobian
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pysciml.engines.julia import session

__all__ = ["function", "main"]


def function(f: Callable[..., Any], u0: Any, p: Any = None, *, mass_matrix: Any = None) -> Any:
    """The compiled Julia function of a Python right-hand side.

    Parameters
    ----------
    f : callable or torch.nn.Module
        `f(u, p, t)` or `f(du, u, p, t)`, as in `pysciml.ODEProblem`.
    u0 : array
        A state, which gives the shape. The Julia function takes it flat (row by row).
    p : optional
        Parameters in the structure that `f` takes. The Julia function takes them flat.
    mass_matrix : (n, n) array, optional

    Returns
    -------
    A Julia `ODEFunction` with the captured Jacobian and time gradient. It can be called as
    `fn(du, u, p, t)` and is what `ODEProblem` takes as its function.

    Raises
    ------
    CaptureError
        `f` could not be captured.
    EngineUnavailableError
        Julia is not ready.
    """
    from pysciml import engines
    from pysciml.problems import ODEProblem

    problem = ODEProblem(f, u0, (0.0, 1.0), p, mass_matrix=mass_matrix)
    session.module()  # say early when there is no Julia
    engine: Any = engines.get("julia")
    model = engine.model(problem)
    model.compile_for("implicit")
    return session.module().callable(model.handle)


def main() -> Any:
    """juliacall's `Main`, from a Julia that this package has started and set up."""
    return session.main()
