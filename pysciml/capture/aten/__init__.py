"""ATen operations as Program operations: one short function for each family."""

from pysciml.capture.aten import elementwise, fillers, reductions, structure  # noqa: F401
from pysciml.capture.aten.translate import supported, translate

__all__ = ["supported", "translate"]
