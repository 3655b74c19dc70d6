"""What the engines share about events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pysciml.engines.base import Array
from pysciml.events import Event, Positive


@dataclass
class Happening:
    """What happened at one time.

    `fired`: (place in the list of events, state before, state after), one after the other;
    `row_before`, `row_after`: which of the saved states are those before and after, -1 for none.
    """

    t: float
    fired: list[tuple[int, Array, Array]]
    row_before: int = -1
    row_after: int = -1


def by_event(
    happened: Iterable[Happening], events: int, n: int
) -> tuple[tuple[Array, Array, Array], ...]:
    """By event: the times, the states before and those after."""
    fired: list[list[tuple[float, Array, Array]]] = [[] for _ in range(events)]
    for happening in happened:
        for i, before, after in happening.fired:
            fired[i].append((happening.t, before, after))
    return tuple(
        (
            np.array([t for t, _, _ in each]),
            np.array([before for _, before, _ in each]).reshape(-1, n),
            np.array([after for _, _, after in each]).reshape(-1, n),
        )
        for each in fired
    )


def check_events(events: Sequence[Event], adaptive: bool, name: str) -> None:
    """Refuse what a method cannot do."""
    if not adaptive and any(isinstance(event, Positive) for event in events):
        raise ValueError(
            "Positive needs an adaptive step, to try again with a smaller one; "
            f"{name} runs with a fixed one"
        )
