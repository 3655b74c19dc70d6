"""The rates and affects of jumps as Programs, beside those of the equation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pysciml.capture.capturing import capture_beside
from pysciml.capture.model import Model
from pysciml.capture.sparsity import dependence
from pysciml.errors import CaptureError

if TYPE_CHECKING:
    from pysciml.problems.jump_diffusion import JumpSet


@dataclass(frozen=True)
class Group:
    """Jumps whose rates are looked at together: all that change between jumps, or all others."""

    numbers: tuple[int, ...]
    rates: Model
    varying: bool


class CapturedJumps:
    """The functions of jumps, traced once.

    Attributes
    ----------
    rates: of all jumps, of shape (m,).
    affects: of each jump, the state after it; the marks are the last of its flat parameters.
    marks: of each jump, the laws of its marks.
    groups: the jumps by whether their rates depend on the state or on the time.

    Raises
    ------
    CaptureError: with the user's line, the reason, and what to write instead.
    """

    def __init__(self, model: Model, jumps: JumpSet) -> None:
        self.compiled: dict[Any, Any] = {}  # engines keep what they made of them here
        self.rates = jumps.propensities().capture_beside(model)
        self.marks = [tuple(getattr(jump, "listed_marks", ())) for jump in jumps.jumps]
        self.affects = [self._affect(model, jumps, j) for j in range(len(jumps.jumps))]
        varies = _varies(self.rates)
        self.groups = []
        for varying in (True, False):
            numbers = tuple(np.flatnonzero(varies == varying).tolist())
            if numbers:
                group = jumps.propensities().only(numbers).capture_beside(model)
                self.groups.append(Group(numbers, group, varying))

    def _affect(self, model: Model, jumps: JumpSet, j: int) -> Model:
        what, marks = f"affect of jumps[{j}]", self.marks[j]
        extra = np.zeros(len(marks)) if marks else None
        found = capture_beside(jumps.affect(j), model, what, extra=extra)
        if found.result_shape != model.state_shape:
            raise CaptureError(
                f"{what} must return the new state, of u's shape {model.state_shape}, but "
                f"returned shape {found.result_shape}"
            )
        return found


def _varies(rates: Model) -> NDArray[np.bool_]:
    """Which rates change between jumps, (m,)."""
    by_u, by_t = (np.diff(dependence(rates.f, wrt).indptr) > 0 for wrt in ("u", "t"))
    found: NDArray[np.bool_] = by_u | by_t
    return found
