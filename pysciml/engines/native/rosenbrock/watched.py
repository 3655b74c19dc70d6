"""`rosenbrock.run` for problems with events, compiled when there is one."""

from __future__ import annotations

from pysciml.engines.native.rosenbrock import loop as rosenbrock

run = rosenbrock.integrator(watching=True)
