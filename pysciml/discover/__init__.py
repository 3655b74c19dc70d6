"""Reading equations back out of data and networks, and judging what was learned."""

from pysciml.discover.coverage import Coverage, Reach, coverage
from pysciml.discover.datadriven import DataDrivenSparse
from pysciml.discover.equation import Equation
from pysciml.discover.library import Library, custom, fourier, polynomial
from pysciml.discover.pipeline import Candidate, Discovery, discover
from pysciml.discover.posterior import Normal, Posterior, Prediction
from pysciml.discover.regression import (
    Bagging,
    Path,
    SparseFit,
    frols,
    sparse_regression,
    sr3,
    stlsq,
)
from pysciml.discover.robustness import Robustness, lipschitz, robustness
from pysciml.discover.samples import Samples, WeakForm, slopes, weak_form
from pysciml.discover.symbolic import SymbolicFit, symbolic_regression
from pysciml.discover.uncertainty import deep_ensemble, laplace, nuts, sgld
from pysciml.train.adversarial import Ball

__all__ = [
    "Bagging",
    "Ball",
    "Candidate",
    "Coverage",
    "DataDrivenSparse",
    "Discovery",
    "Equation",
    "Library",
    "Normal",
    "Path",
    "Posterior",
    "Prediction",
    "Reach",
    "Robustness",
    "Samples",
    "SparseFit",
    "SymbolicFit",
    "WeakForm",
    "coverage",
    "custom",
    "deep_ensemble",
    "discover",
    "fourier",
    "frols",
    "laplace",
    "lipschitz",
    "nuts",
    "polynomial",
    "robustness",
    "sgld",
    "slopes",
    "sparse_regression",
    "sr3",
    "stlsq",
    "symbolic_regression",
    "weak_form",
]
