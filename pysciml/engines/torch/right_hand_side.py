"""The function that torchdiffeq calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import Array
from pysciml.engines.torch.methods import ADAPTIVE, FIXED

if TYPE_CHECKING:
    import torch

    from pysciml.engines.torch.ensemble import BatchedProblem
    from pysciml.problems import ODEProblem


class StepLimit(Exception):
    """The step limit is reached."""


class RightHandSide:
    """f(t, u) as torchdiffeq calls it. Counts calls, and notes the steps through its callbacks."""

    def __init__(
        self,
        problem: ODEProblem | BatchedProblem,
        p: torch.Tensor,
        method: str = "",
        maxiters: int = 0,
        keep_states: bool = False,
    ) -> None:
        self._f = problem.model.torch_function
        self._p = p
        self._left = maxiters
        self._keep_states = keep_states
        self.finished = False
        self.nf = self.naccept = self.nreject = 0
        self.times: list[float] = []
        self._states: list[Any] = []
        self._dt = float("nan")
        # torchdiffeq warns about a callback that its method does not call
        if method in ADAPTIVE:
            self.callback_step = self._on_try
            self.callback_accept_step = self._on_accept
            self.callback_reject_step = self._on_reject
        elif method in FIXED:
            self.callback_step = self._on_fixed_step

    def __call__(self, t: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        self.nf += 1
        return self._f(u, self._p, t)

    def _on_try(self, t: torch.Tensor, u: torch.Tensor, dt: torch.Tensor) -> None:
        time = float(t.detach())
        if not self.times or time != self.times[-1]:  # else: another try of the same step
            self.times.append(time)
            if self._keep_states:
                self._states.append(u.detach().clone())
        self._dt = float(dt.detach())
        if self._left == 0:
            raise StepLimit
        self._left -= 1

    def _on_fixed_step(self, t: torch.Tensor, u: torch.Tensor, dt: torch.Tensor) -> None:
        self._on_try(t, u, dt)
        self.naccept += 1

    def _on_accept(self, *_: Any) -> None:
        self.naccept += 1

    def _on_reject(self, *_: Any) -> None:
        self.nreject += 1

    def whereabouts(self, times: Array) -> str:
        """Where the solve is, for messages."""
        if not self.times:
            return f"at t = {times[-1]:.6g}"
        return f"at t = {self.times[-1]:.6g} with the step size {self._dt:.3g}"

    def steps(self, t_end: float | None = None, u_end: Array | None = None) -> tuple[Array, Array]:
        """The starts of all steps, and the end of the solve if it was reached."""
        import torch

        states = torch.stack(self._states).numpy()
        times = np.array(self.times)
        if t_end is None or u_end is None:
            return times, states
        return np.append(times, t_end), np.concatenate((states, u_end[None]))
