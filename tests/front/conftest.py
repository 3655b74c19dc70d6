"""An engine that notes what it was given and returns what it was told to."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from pysciml import engines
from pysciml.engines.base import Availability, RawSolution, Stats

matplotlib.use("Agg")


class Recorder:
    """Stands where the native engine stands. The state is t + index of the component."""

    name = "native"

    def __init__(self):
        self.retcode = "Success"
        self.message = ""
        self.calls = []

    def availability(self):
        return Availability(True)

    def algorithms(self):
        return ("Tsit5",)

    def solve(self, problem, alg, options):
        self.calls.append((problem, alg, options))
        t = np.array(problem.tspan) if options.saveat is None else options.saveat
        kept = np.arange(problem.u0.size) if options.save_idxs is None else options.save_idxs
        n = problem.u0.size
        return RawSolution(
            t=t,
            u=t[:, None] + kept,
            retcode=self.retcode,
            alg=alg or "Tsit5",
            stats=Stats(nf=13, naccept=2, nreject=1),
            interpolate=(lambda times: times[:, None] + np.arange(n)) if options.dense else None,
            message=self.message,
        )

    @property
    def options(self):
        return self.calls[-1][2]


@pytest.fixture
def recorder(monkeypatch):
    engine = Recorder()
    monkeypatch.setitem(engines._loaded, "native", engine)
    return engine
