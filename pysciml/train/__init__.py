"""Training: fit a model's parameters, and the networks in it, to data."""

from pysciml.train.optimisers import BFGS, LBFGS, Adam
from pysciml.train.transforms import bounded, positive

__all__ = ["BFGS", "LBFGS", "Adam", "bounded", "positive"]
