"""Python function -> Program, with derivatives, and lowering to scalar or array form."""

from pysciml.capture.capturing import capture
from pysciml.capture.model import Model
from pysciml.capture.parameters import Parameters
from pysciml.capture.program import Program

__all__ = ["Model", "Parameters", "Program", "capture"]
