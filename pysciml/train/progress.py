"""A progress bar with loss and time left, and in notebooks the loss curve as it falls."""

from __future__ import annotations

import io
from time import perf_counter
from typing import Any

_BETWEEN_TEXTS = 0.1  # seconds; the bar costs nothing in between
_BETWEEN_CURVES = 2.0


class Progress:
    """Shows a fit as it goes: `progress(phase, loss)` after each iteration, then `close()`.

    Parameters
    ----------
    total : most iterations there can be.
    show : False shows nothing.
    """

    def __init__(self, total: int, show: bool) -> None:
        self._bar: Any = None
        self._curve = Curve() if show and _in_notebook() else None
        if show:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc="fit", unit="it", mininterval=_BETWEEN_TEXTS)
        self._last = 0.0
        self._count = 0

    def skip(self, count: int) -> None:
        """Begin after so many iterations."""
        self._count = count
        if self._bar is not None:
            self._bar.initial = self._bar.n = count

    def __call__(self, phase: str, loss: float) -> None:
        if self._bar is None:
            return
        self._count += 1
        if self._curve is not None:
            self._curve.add(loss)
        now = perf_counter()
        if now - self._last < _BETWEEN_TEXTS:
            return
        self._last = now
        self._bar.set_description(phase, refresh=False)
        self._bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        self._bar.update(self._count - self._bar.n)

    def close(self, loss: float, finished: bool) -> None:
        """The last word: the loss that was reached. Stages that ended early leave nothing to do."""
        if self._bar is None:
            return
        if finished:
            self._bar.total = self._count
        self._bar.set_postfix_str(f"best loss {loss:.4g}", refresh=False)
        self._bar.update(self._count - self._bar.n)
        self._bar.close()
        if self._curve is not None:
            self._curve.draw()


class Curve:
    """The loss over the iterations, redrawn in its place below a notebook's cell."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._handle: Any = None
        self._last = perf_counter()

    def add(self, loss: float) -> None:
        self.losses.append(loss)
        if perf_counter() - self._last > _BETWEEN_CURVES:
            self.draw()

    def draw(self) -> None:
        from IPython.display import Image, display

        image = Image(data=self.png())
        if self._handle is None:
            self._handle = display(image, display_id=True)
        else:
            self._handle.update(image)
        self._last = perf_counter()

    def png(self) -> bytes:
        """The picture, drawn without pyplot: the user's own figures are left alone."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 2.5), layout="constrained")
        FigureCanvasAgg(figure)
        draw_losses(figure.subplots(), self.losses)
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=90)
        return buffer.getvalue()


def draw_losses(ax: Any, losses: Any) -> None:
    """Loss over iterations, on a logarithmic scale where it can be."""
    ax.plot(losses, color="black", linewidth=1)
    if len(losses) and min(losses) > 0.0:
        ax.set_yscale("log")
    ax.set_xlabel("iteration")
    ax.set_ylabel("loss")


def _in_notebook() -> bool:
    import sys

    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
