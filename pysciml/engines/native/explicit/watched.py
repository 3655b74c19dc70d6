"""`explicit.run` for problems with events, compiled when there is one."""

from __future__ import annotations

from pysciml.engines.native.explicit import loop as explicit

run = explicit.integrator(watching=True)
