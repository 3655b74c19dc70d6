"""Derivatives of solutions: of a loss (`gradient`), of the states themselves (`sensitivities`), and
second ones (`hessian_vector`)."""

from pysciml.sensitivity.of_loss import gradient, hessian_vector
from pysciml.sensitivity.of_states import sensitivities
from pysciml.sensitivity.results import Gradient, Sensitivities

__all__ = ["Gradient", "Sensitivities", "gradient", "hessian_vector", "sensitivities"]
