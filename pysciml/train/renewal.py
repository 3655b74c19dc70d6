"""Losses that are expectations: batches and noise, drawn anew in each iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pysciml.engines.base import Array
from pysciml.train.optimisers import Stage


@dataclass(frozen=True)
class Renewal:
    """Parameters that are not fitted, but have other values in each iteration.

    They are parameters of the problem, so that new values cost no new capture. The result of a fit
    is then the last iterate: the lowest loss would be that of the luckiest draw.

    Attributes
    ----------
    name : of the parameters, such as "p" or "p.signs".
    draw : number of the iteration -> their values, flat. Equal for equal numbers, so that a resumed
        fit goes on as it would have gone.
    """

    name: str
    draw: Callable[[int], Array]

    def check_stages(self, stages: Sequence[Stage]) -> None:
        """Refuse optimisers that compare values of different iterations."""
        for stage in stages:
            if stage.resample != 1:
                raise ValueError(
                    "optimisers must be Adam(...) for a loss that is drawn anew in each iteration; "
                    f"got {type(stage).__name__}, whose line search needs one that stays"
                )

    def positions(self, names: Sequence[str]) -> Array:
        """Where they are among the unknowns of these names."""
        found = [
            i
            for i, label in enumerate(names)
            if label == self.name or label.startswith((f"{self.name}.", f"{self.name}["))
        ]
        return np.array(found, dtype=np.intp)


class RenewedFunction:
    """theta -> (value, gradient) with the entries at `where` drawn anew, and no slope in these."""

    def __init__(
        self,
        function: Callable[[Array], tuple[float, Array]],
        where: Array,
        draw: Callable[[], Array],
    ) -> None:
        self._function = function
        self._where = where
        self._draw = draw

    def __call__(self, theta: Array) -> tuple[float, Array]:
        theta = theta.copy()
        theta[self._where] = self._draw()
        value, gradient = self._function(theta)
        gradient[self._where] = 0.0
        return value, gradient
