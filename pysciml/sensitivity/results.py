"""What is returned: gradients of a loss, and sensitivities of the states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pysciml.engines.base import Array
from pysciml.solution import Solution


@dataclass(frozen=True)
class Gradient:
    """A loss and its derivatives.

    Attributes
    ----------
    value : float
        The loss.
    p : as the problem's parameters, or dict
        dloss/dp, in the structure of `p`; a module's by name; for `wrt=names` a dict by name.
    u0 : (*u0.shape,) array
        dloss/du0.
    t : (len(t),) array or None
        dloss/dt of each saved time, with `times=True`.
    p_flat : (n_p,) array
        dloss/dp, in the order of `problem.model.parameters.names`.
    solution : Solution or SteadyStateSolution
        What was solved.
    sensealg : str
        How the derivatives were computed.
    """

    value: float
    p: Any
    u0: Array
    t: Array | None
    p_flat: Array
    solution: Any
    sensealg: str


@dataclass(frozen=True)
class Sensitivities:
    """Derivatives of the states.

    Attributes
    ----------
    t : (len(t),) array
    u : (len(t), *u0.shape) array
    p : (len(t), *u0.shape, k) array
        du(t)/dp for the k parameters in `names`.
    u0 : (len(t), *u0.shape, *u0.shape) array or None
        du(t)/du0; None when it was not asked for.
    names : tuple of str
        Labels of the last axis of `p`.
    solution : Solution
        Of the sensitivity equations; its states are (1 + k + n, n).
    """

    t: Array
    u: Array
    p: Array
    u0: Array | None
    names: tuple[str, ...]
    solution: Solution
