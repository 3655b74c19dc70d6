"""The functions of a problem's events as Programs, beside those of its right-hand side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch

from pysciml.capture import aten
from pysciml.capture.capturing import capture_beside
from pysciml.capture.model import Model, pushforward
from pysciml.capture.program import Program
from pysciml.capture.record import record
from pysciml.errors import CaptureError
from pysciml.events import ContinuousEvent, DiscreteEvent, Event, ManifoldProjection


class CapturedEvents:
    """The events' functions, traced once.

    Attributes
    ----------
    conditions: by the event's place in the list, those of the events that have one; scalars.
    affects: likewise; of the state's shape.
    residuals: likewise; scalars or vectors.

    Raises
    ------
    CaptureError: with the event and the user's line, the reason, and what to write instead.
    """

    def __init__(self, model: Model, events: Sequence[Event]) -> None:
        self.model = model
        self.conditions: dict[int, Model] = {}
        self.affects: dict[int, Model] = {}
        self.residuals: dict[int, Model] = {}
        for i, event in enumerate(events):
            if isinstance(event, (ContinuousEvent, DiscreteEvent)):
                self.conditions[i] = self._capture(event, i, "condition", (), "one number")
                _check_kind(event, i, self.conditions[i].f)
            if getattr(event, "affect", None) is not None:
                shape = model.state_shape
                words = f"the new state, of u's shape {shape}"
                self.affects[i] = self._capture(event, i, "affect", shape, words)
            if isinstance(event, ManifoldProjection):
                self.residuals[i] = self._capture(event, i, "residual", None, "")
        self._smooth = [isinstance(events[i], ContinuousEvent) for i in self.conditions]

    def _capture(
        self, event: Event, i: int, name: str, shape: tuple[int, ...] | None, words: str
    ) -> Model:
        what = f"{name} of events[{i}]"
        found = capture_beside(getattr(event, name), self.model, what)
        if shape is not None and found.result_shape != shape:
            raise CaptureError(
                f"{what} must return {words}, but returned shape {found.result_shape}"
            )
        return found

    @cached_property
    def values(self) -> Program:
        """(u, p, t) -> all conditions, in order; of a true one 1, of a false one 0."""
        return self._program("conditions", self._joined(self.conditions.values()))

    @cached_property
    def rates(self) -> Program:
        """(u, p, t, v) -> d/dt of the continuous conditions when du/dt is v; 0 for the others."""
        conditions = list(zip(self.conditions.values(), self._smooth, strict=True))

        def rates(u: Any, p: Any, t: Any, v: Any) -> torch.Tensor:
            def moved(condition: Model) -> Callable[[torch.Tensor], torch.Tensor]:
                return lambda s: condition.flat_function(u + s * v.reshape(u.shape), p, t + s)

            zero = torch.zeros((), dtype=torch.float64)
            return torch.cat(
                [
                    pushforward(moved(condition), zero, torch.ones_like(zero), 1)
                    if smooth
                    else torch.zeros(1, dtype=torch.float64)
                    for condition, smooth in conditions
                ]
            )

        return self._program("rates", rates, "v")

    @cached_property
    def residual(self) -> Program:
        """(u, p, t) -> all residuals."""
        return self._program("residual", self._joined(self.residuals.values()))

    @cached_property
    def residual_jac(self) -> Program:
        """(u, p, t) -> their Jacobian in u, (m, n)."""
        joined = self._joined(self.residuals.values())

        def jac(u: Any, p: Any, t: Any) -> torch.Tensor:
            rows = self.residual.shape[0]
            pullback = torch.func.vjp(lambda u: joined(u, p, t), u)[1]
            unit = torch.eye(rows, dtype=torch.float64)
            return torch.stack([pullback(unit[i])[0].reshape(-1) for i in range(rows)])

        return self._program("residual_jac", jac)

    @staticmethod
    def _joined(models: Any) -> Callable[[Any, Any, Any], torch.Tensor]:
        models = list(models)
        return lambda u, p, t: torch.cat([model.flat_function(u, p, t) for model in models])

    def _program(
        self, name: str, function: Callable[..., torch.Tensor], extra: str = ""
    ) -> Program:
        model = self.model
        shapes: list[tuple[str, tuple[int, ...]]] = [
            ("u", model.state_shape), ("p", (model.n_p,)), ("t", ()),
        ]  # fmt: skip
        if extra:
            shapes.append((extra, (model.n,)))
        examples = [torch.zeros(shape, dtype=torch.float64) for _, shape in shapes]
        tape = record(function, examples, aten.supported)
        return aten.translate(tape, name, shapes, tape.result_shape)


def _check_kind(event: Event, i: int, condition: Program) -> None:
    """A continuous condition is a number, a discrete one is true or false."""
    node = condition.nodes[condition.output]
    while node.op == "gather" and len(node.args) == 1:
        node = condition.nodes[node.args[0]]
    if isinstance(event, ContinuousEvent) and node.op == "to_float":
        raise CaptureError(
            f"condition of events[{i}] must return a number whose sign changes, such as u[0] - 1, "
            "but returned true or false. A DiscreteEvent takes that"
        )
    if isinstance(event, DiscreteEvent) and node.op not in ("to_float", "const"):
        raise CaptureError(
            f"condition of events[{i}] must return true or false, such as u[0] > 1, but returned a "
            "number. A ContinuousEvent takes that, and finds where it is zero"
        )
