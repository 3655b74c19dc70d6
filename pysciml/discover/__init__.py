"""Reading equations back out of data and networks, and judging what was learned."""

from pysciml.discover.equation import Equation
from pysciml.discover.library import Library, custom, fourier, polynomial
from pysciml.discover.pipeline import Candidate, Discovery, discover
from pysciml.discover.regression import (
    Bagging,
    Path,
    SparseFit,
    frols,
    sparse_regression,
    sr3,
    stlsq,
)
from pysciml.discover.samples import Samples, WeakForm, slopes, weak_form

__all__ = [
    "Bagging",
    "Candidate",
    "Discovery",
    "Equation",
    "Library",
    "Path",
    "Samples",
    "SparseFit",
    "WeakForm",
    "custom",
    "discover",
    "fourier",
    "frols",
    "polynomial",
    "slopes",
    "sparse_regression",
    "sr3",
    "stlsq",
    "weak_form",
]
