"""Training: fit a model's parameters, and the networks in it, to data."""

from pysciml.train.adversarial import Ball
from pysciml.train.fitting import fit
from pysciml.train.inputs import Setup
from pysciml.train.loop import EarlyStopping
from pysciml.train.losses import L1, L2, MSE, Gaussian, LogNormal, Physics, Poisson
from pysciml.train.minimise import Minimum, minimise
from pysciml.train.optimisers import BFGS, LBFGS, Adam
from pysciml.train.renewal import Renewal
from pysciml.train.result import FitResult, History
from pysciml.train.self_scaled import SSBroyden
from pysciml.train.strategies import Collocation, GrowingHorizon, MultipleShooting
from pysciml.train.transforms import bounded, positive

__all__ = [
    "BFGS",
    "L1",
    "L2",
    "LBFGS",
    "MSE",
    "Adam",
    "Ball",
    "Collocation",
    "EarlyStopping",
    "FitResult",
    "Gaussian",
    "GrowingHorizon",
    "History",
    "LogNormal",
    "Minimum",
    "MultipleShooting",
    "Physics",
    "Poisson",
    "Renewal",
    "SSBroyden",
    "Setup",
    "bounded",
    "fit",
    "minimise",
    "positive",
]
