"""Sparse regression by the optimisers of Julia's DataDrivenSparse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pysciml import validation as check
from pysciml.discover.regression import as_cuts
from pysciml.engines.base import Array
from pysciml.engines.julia import session

EXTENSION = "PySciMLDataDrivenExt"
_WEIGHTS = {"STLSQ": 0.0, "ADMM": 1.0, "SR3": 1.0}  # the package's own defaults
_PROXIMAL = ("HardThreshold", "SoftThreshold", "ClippedAbsoluteDeviation")


@dataclass(eq=False)
class DataDrivenSparse:
    """An optimiser of DataDrivenSparse, of DataDrivenDiffEq.jl, for `sparse_regression`.

    It works on the very matrix of terms that the other methods see, not normalised, and its
    coefficients are taken as they are. The package is not part of the ordinary Julia environment:
    ``pysciml julia add DataDrivenSparse``.

    Parameters
    ----------
    method : "STLSQ", "ADMM" or "SR3"
        Sequentially thresholded least squares (Brunton, Proctor and Kutz, PNAS 113 (2016)
        3932-3937); the lasso by alternating directions (Boyd et al., Found. Trends Mach. Learn. 3
        (2011) 1-122), which shrinks coefficients; sparse relaxed regularised regression (Zheng et
        al., IEEE Access 7 (2019) 1404-1423).
    threshold : number > 0, or list of numbers
        For coefficients. ADMM's is the weight of their absolute values; coefficients below it
        divided by `weight` are dropped besides. Of several numbers the package chooses for each
        output, by the criterion of Schwarz.
    weight : number, optional
        What the package calls rho (of STLSQ's ridge, >= 0, and ADMM's penalty, > 0) or nu (of SR3's
        relaxation, > 0). Default: the package's, 0, 1 and 1.
    proximal : "HardThreshold", "SoftThreshold" or "ClippedAbsoluteDeviation"
        SR3's operator.
    iterations, tolerance : most rounds for each threshold; change of the coefficients, absolute or
        relative, at which they end.

    Attributes
    ----------
    coef_ : (outputs, terms) array, after `fit`.
    thresholds_ : (outputs,) array, those chosen.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong.
    EngineUnavailableError
        By `fit`: there is no Julia, or it lacks the package; the message has the remedy.
    """

    method: str = "STLSQ"
    threshold: Any = 0.1
    weight: float | None = None
    proximal: str = "HardThreshold"
    iterations: int = 100
    tolerance: float = 1e-8
    coef_: Array = field(init=False, repr=False)
    thresholds_: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check.as_choice(self.method, "method", tuple(_WEIGHTS))
        check.as_choice(self.proximal, "proximal", _PROXIMAL)
        self.threshold = as_cuts(self.threshold)
        if self.weight is None:
            self.weight = _WEIGHTS[self.method]
        in_range = check.as_nonnegative if self.method == "STLSQ" else check.as_positive
        self.weight = in_range(self.weight, "weight")
        self.iterations = check.as_count(self.iterations, "iterations")
        self.tolerance = check.as_positive(self.tolerance, "tolerance")

    def fit(self, matrix: Array, target: Array) -> DataDrivenSparse:
        """Coefficients for a (rows, terms) matrix and (rows, outputs) targets."""
        session.extension(EXTENSION)
        import juliacall

        try:
            coefficients, thresholds = session.module().sparse_regression(
                self.method,
                session.array(matrix),
                session.array(target),
                session.array(self.threshold),
                self.weight,
                self.proximal,
                self.iterations,
                self.tolerance,
            )
        except juliacall.JuliaError as error:
            raise session.translated(error) from None
        self.coef_, self.thresholds_ = np.array(coefficients), np.array(thresholds)
        return self
