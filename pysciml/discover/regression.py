"""Sparse regression: few terms of a library that explain what was sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.discover.equation import Equation, equation_of
from pysciml.discover.library import as_library
from pysciml.discover.samples import Regressand
from pysciml.engines.base import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PATH = 50  # thresholds that are tried
_RANGE = 1e-6  # the smallest of them, of the largest coefficient
_EXACT = 1e-13  # relative residual below which a fit is exact

#: (matrix, one target, threshold or number of terms) -> which columns stay
Select = Callable[[Array, Array, float], Any]


@dataclass(frozen=True)
class Bagging:
    """Many regressions on rows drawn with replacement (Fasel et al., Proc. R. Soc. A 478 (2022)).

    Parameters
    ----------
    models : how many.
    inclusion : a term stays that is in so many of them, as a part of all.
    leave_out : how many terms, drawn at random, each of them does without.
    seed : of what is drawn.
    """

    models: int = 100
    inclusion: float = 0.6
    leave_out: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", check.as_count(self.models, "models"))
        check.as_seed(self.leave_out, "leave_out")
        check.as_seed(self.seed, "seed")
        if not 0.0 < check.as_positive(self.inclusion, "inclusion") <= 1.0:
            raise ValueError(f"inclusion must be a part, > 0 and <= 1; got {self.inclusion}")


@dataclass(frozen=True, eq=False)
class Path:
    """What each threshold leaves.

    Attributes
    ----------
    thresholds : (T,) array; for `frols`, which has none, the numbers of terms.
    supports : (T, terms, outputs) booleans
    rss : (T, outputs) array, sums of squares of the residuals.
    aic, bic : (T, outputs) arrays: the corrected criterion of Akaike (Mangan et al., Proc. R. Soc.
        A 473 (2017)) and that of Schwarz, for independent normal residuals.
    """

    thresholds: Array
    supports: Any
    rss: Array
    aic: Array
    bic: Array


@dataclass(frozen=True, eq=False)
class SparseFit:
    """What a sparse regression found.

    Attributes
    ----------
    equation : see `Equation`.
    thresholds : (outputs,) array, the threshold of each output.
    path : what other thresholds leave; see `Path`.
    inclusion : (terms, outputs) array or None, with bagging: in which part of the models a term is.
    spread : (terms, outputs) array or None, with bagging: standard deviation of the coefficients.
    method : its name.
    """

    equation: Equation
    thresholds: Array
    path: Path
    inclusion: Array | None
    spread: Array | None
    method: str

    def __str__(self) -> str:
        return str(self.equation)

    def __repr__(self) -> str:
        return f"SparseFit by {self.method}:\n{self.equation}"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Residual against number of terms, for every threshold; what was chosen is filled."""
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        counts = self.path.supports.sum(axis=1)
        for k, name in enumerate(self.equation.outputs):
            ax.plot(
                counts[:, k], np.sqrt(self.path.rss[:, k]), "o", fillstyle="none", color=f"C{k}"
            )
            chosen = int(np.argmin(np.abs(self.path.thresholds - self.thresholds[k])))
            ax.plot(
                counts[chosen, k], np.sqrt(self.path.rss[chosen, k]), "o", color=f"C{k}", label=name
            )
        ax.set(xlabel="terms", ylabel="norm of the residual", yscale="log")
        ax.legend()
        return ax


def stlsq(
    data: Regressand,
    library: Any = None,
    *,
    threshold: Any = "bic",
    ridge: float = 0.0,
    normalise: bool = True,
    iterations: int = 20,
    bagging: Bagging | None = None,
) -> SparseFit:
    """Sequentially thresholded least squares.

    Least squares; terms whose coefficient is below the threshold are dropped; again, until none is
    (Brunton, Proctor and Kutz, Discovering governing equations from data, PNAS 113 (2016)
    3932-3937). The coefficients are those of plain least squares on what is left.

    Parameters
    ----------
    data : Samples, or what `slopes` and `weak_form` make of data
    library : Library, optional
        Candidate terms. Default: `polynomial(2)`.
    threshold : number > 0, list of numbers, "aic" or "bic"
        Smallest coefficient that stays. A criterion (or, of several numbers, "bic") chooses for
        each output.
    ridge : number >= 0
        Weight of the squares of the coefficients while terms are chosen, for columns of mean
        square 1.
    normalise : bool
        Whether thresholds are for coefficients in units of the term's and the output's root mean
        square, so that they do not depend on units; else for the coefficients themselves.
    iterations : most rounds.
    bagging : Bagging, optional

    Returns
    -------
    SparseFit

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, a term is not finite on the data, or there are fewer rows than terms.
    """
    ridge = check.as_nonnegative(ridge, "ridge")
    rounds = check.as_count(iterations, "iterations")

    def select(matrix: Array, target: Array, cut: float) -> Any:
        kept = np.ones(matrix.shape[1], dtype=bool)
        for _ in range(rounds):
            still = np.abs(_least_squares(matrix, target, kept, ridge)) >= cut
            still &= kept
            if (still == kept).all():
                break
            kept = still
        return kept

    cuts, criterion = _as_thresholds(threshold)
    return _regress(data, library, select, cuts, criterion, normalise, bagging, "STLSQ")


def sr3(
    data: Regressand,
    library: Any = None,
    *,
    threshold: Any = "bic",
    relaxation: float = 1.0,
    norm: str = "l0",
    normalise: bool = True,
    iterations: int = 1000,
    tolerance: float = 1e-8,
    bagging: Bagging | None = None,
) -> SparseFit:
    """Sparse relaxed regularised regression.

    Minimises |target - matrix c|^2 / 2 + R(w) + |c - w|^2 / (2 relaxation) in c and in w, which is
    sparse, in turns (Zheng et al., A unified framework for sparse relaxed regularized regression,
    IEEE Access 7 (2019) 1404-1423; Champion et al., IEEE Access 8 (2020) 169259). For norm "l0" an
    entry of w is that of c, or zero below the threshold; for "l1" it is shrunk by the threshold.
    The coefficients are those of plain least squares on the terms where w is not zero.

    Parameters
    ----------
    data, library, threshold, normalise, bagging
        As for `stlsq`. With `normalise` the squares are means over rows.
    relaxation : number > 0
        How far c may go from w; the smaller, the closer.
    norm : "l0" or "l1"
    iterations, tolerance : most turns; relative change of w at which they end.

    Returns
    -------
    SparseFit

    Raises
    ------
    As `stlsq`.
    """
    nu = check.as_positive(relaxation, "relaxation")
    shrink = _PROXIMAL[check.as_choice(norm, "norm", tuple(_PROXIMAL))]
    turns, small = (
        check.as_count(iterations, "iterations"),
        check.as_positive(tolerance, "tolerance"),
    )

    def select(matrix: Array, target: Array, cut: float) -> Any:
        gram = np.linalg.inv(matrix.T @ matrix + np.eye(matrix.shape[1]) / nu)
        projected = matrix.T @ target
        w = _least_squares(matrix, target, np.ones(matrix.shape[1], dtype=bool), 0.0)
        for _ in range(turns):
            before, w = w, shrink(gram @ (projected + w / nu), cut)
            if np.linalg.norm(w - before) <= small * np.linalg.norm(w):
                break
        return w != 0.0

    cuts, criterion = _as_thresholds(threshold)
    return _regress(data, library, select, cuts, criterion, normalise, bagging, f"SR3 ({norm})")


def frols(
    data: Regressand, library: Any = None, *, terms: Any = "bic", bagging: Bagging | None = None
) -> SparseFit:
    """Forward regression by orthogonal least squares.

    Begins with no term and takes in, again and again, the one that explains most of what is left
    (Chen, Billings and Luo, Int. J. Control 50 (1989) 1873-1896). Where terms are nearly the same
    on the data it goes less astray than what begins with all of them.

    Parameters
    ----------
    data, library, bagging : as for `stlsq`.
    terms : int, list of int, "aic" or "bic"
        How many terms each output has. A criterion (or, of several numbers, "bic") chooses.

    Returns
    -------
    SparseFit

    Raises
    ------
    As `stlsq`.
    """
    criterion, counts = "bic", None
    if isinstance(terms, str):
        criterion = check.as_choice(terms, "terms", ("aic", "bic"))
    else:
        given = terms if isinstance(terms, (list, tuple)) else [terms]
        counts = np.array([check.as_seed(each, "terms") for each in given], dtype=float)
    return _regress(data, library, _forward, counts, criterion, True, bagging, "FROLS", _counts)


def _forward(matrix: Array, target: Array, count: float) -> Any:
    kept = np.zeros(matrix.shape[1], dtype=bool)
    left = matrix.copy()  # columns, orthogonal to those that were taken
    sizes = np.linalg.norm(matrix, axis=0)
    residual = target
    for _ in range(min(int(count), kept.size)):
        norms = np.linalg.norm(left, axis=0)
        usable = ~kept & (norms > 1e-10 * sizes)
        if not usable.any():
            break
        explained = np.abs(left.T @ residual) / np.where(usable, norms, np.inf)
        best = int(np.argmax(np.where(usable, explained, -1.0)))
        direction = left[:, best] / norms[best]
        kept[best] = True
        residual = residual - direction * (direction @ residual)
        left = left - np.outer(direction, direction @ left)
    return kept


def _counts(small: _Small) -> Array:
    return np.arange(small.matrix.shape[1] + 1, dtype=float)


def sparse_regression(data: Regressand, library: Any = None, *, optimiser: Any) -> SparseFit:
    """Sparse regression by an optimiser of another package, such as one of pysindy's.

    Parameters
    ----------
    data, library : as for `stlsq`.
    optimiser : object
        With `fit(matrix, targets)` and then `coef_`, (outputs, terms): the convention of
        scikit-learn, which `pysindy.SSR()`, `pysindy.MIOSR()`, `pysindy.FROLS()` and others have
        (``pip install 'pysciml[discover]'``), and `DataDrivenSparse("ADMM")`, which runs on Julia.

    Returns
    -------
    SparseFit
        Its path is the one result.
    """
    if isinstance(optimiser, type) or not hasattr(optimiser, "fit"):
        raise TypeError(
            "optimiser must have fit(matrix, targets) and coef_, such as pysindy.STLSQ(); "
            f"got {check.describe(optimiser)}"
        )
    terms, matrix, target = _system(data, library)
    optimiser.fit(matrix, target)
    coefficients = np.atleast_2d(np.asarray(optimiser.coef_, dtype=float)).T.copy()
    small = _Small.of(matrix, target)
    path = _scored(small, len(matrix), np.zeros(1), (coefficients != 0.0)[None])
    equation = equation_of(data.inputs, data.outputs, terms, coefficients)
    name = type(optimiser).__name__
    return SparseFit(equation, np.zeros(target.shape[1]), path, None, None, name)


_PROXIMAL: dict[str, Callable[[Array, float], Array]] = {
    "l0": lambda c, cut: np.where(np.abs(c) >= cut, c, 0.0),
    "l1": lambda c, cut: np.sign(c) * np.maximum(np.abs(c) - cut, 0.0),
}


def _regress(
    data: Regressand,
    library: Any,
    select: Select,
    thresholds: Array | None,
    criterion: str,
    normalise: bool,
    bagging: Bagging | None,
    method: str,
    whole_range: Callable[[_Small], Array] | None = None,
) -> SparseFit:
    """`thresholds` None: those of `whole_range`, by default of the coefficients' sizes."""
    if bagging is not None and not isinstance(bagging, Bagging):
        raise TypeError(f"bagging must be a Bagging(...) or None; got {check.describe(bagging)}")
    terms, matrix, target = _system(data, library)
    scale, size = _scales(matrix, target, check.as_flag(normalise, "normalise"))
    small = _Small.of(matrix / scale, target / size)
    if thresholds is None:
        thresholds = (whole_range or _range_of_thresholds)(small)
    supports = np.stack([small.supports(select, cut) for cut in thresholds])
    path = _scored(small, len(matrix), thresholds, supports)
    best = np.argmin(getattr(path, criterion), axis=0)
    outputs = np.arange(target.shape[1])
    support, inclusion, spread = path.supports[best, :, outputs].T, None, None
    if bagging is not None:
        inclusion, spread = _bag(matrix / scale, target / size, select, thresholds[best], bagging)
        support, spread = inclusion >= bagging.inclusion, spread * size / scale[:, None]
    equation = Equation(
        data.inputs, data.outputs, terms, small.solve(support) * size / scale[:, None], support
    )
    path = replace(path, rss=path.rss * size**2)
    return SparseFit(equation, thresholds[best], path, inclusion, spread, method)


@dataclass(frozen=True, eq=False)
class _Small:
    """A least-squares problem by its QR decomposition: as many rows as terms, whatever it had.

    `outside` is what no coefficients can explain of each target, a sum of squares.
    """

    matrix: Array
    target: Array
    outside: Array

    @staticmethod
    def of(matrix: Array, target: Array) -> _Small:
        q, r = np.linalg.qr(matrix)
        inside = q.T @ target
        return _Small(r, inside, ((target - q @ inside) ** 2).sum(axis=0))

    def supports(self, select: Select, *cuts: float) -> Any:
        """(terms, outputs), what is selected; one threshold for all outputs, or one for each."""
        columns = zip(self.target.T, np.broadcast_to(cuts, len(self.target.T)), strict=True)
        return np.stack([select(self.matrix, column, cut) for column, cut in columns], axis=1)

    def solve(self, support: Any) -> Array:
        """(terms, outputs) coefficients of plain least squares."""
        columns = zip(self.target.T, support.T, strict=True)
        return np.stack([_least_squares(self.matrix, *each, 0.0) for each in columns], axis=1)

    def rss(self, support: Any) -> Array:
        """(outputs,) sums of squares of the residuals."""
        inside = self.target - self.matrix @ self.solve(support)
        found: Array = self.outside + (inside**2).sum(axis=0)
        return found


def _as_thresholds(value: Any) -> tuple[Array | None, str]:
    """Given thresholds, decreasing, or None for a whole range of them; and what chooses."""
    if isinstance(value, str):
        return None, check.as_choice(value, "threshold", ("aic", "bic"))
    return np.sort(as_cuts(value, 'numbers > 0, "aic" or "bic"'))[::-1], "bic"


def as_cuts(value: Any, expected: str = "numbers > 0") -> Array:
    """One threshold or several, as an array."""
    given = np.atleast_1d(check.as_observations(value, "threshold", expected))
    if given.ndim != 1 or not given.size or not (given > 0.0).all():
        raise ValueError(f"threshold must be {expected}; got {check.describe(value)}")
    return given


def _system(data: Regressand, library: Any) -> tuple[tuple[Any, ...], Array, Array]:
    chosen = as_library(library)
    if not hasattr(data, "system"):
        raise TypeError(
            "data must be Samples(x, y), slopes(data) or weak_form(data); "
            f"got {check.describe(data)}"
        )
    terms, matrix, target = data.system(chosen)
    if len(matrix) < len(terms):
        raise ValueError(
            f"data must give at least as many rows as the library has terms, {len(terms)}; "
            f"got {len(matrix)}"
        )
    return terms, matrix, target


def _scales(matrix: Array, target: Array, normalise: bool) -> tuple[Array, Array]:
    """What columns and targets are divided by: so that their squares add up to 1, or nothing."""
    if not normalise:
        return np.ones(matrix.shape[1]), np.ones(target.shape[1])
    norms = [np.linalg.norm(each, axis=0) for each in (matrix, target)]
    scale, size = (np.where(norm > 0.0, norm, 1.0) for norm in norms)
    return scale, size


def _range_of_thresholds(small: _Small) -> Array:
    """From one that drops everything to one that drops next to nothing."""
    squares = np.maximum((small.matrix**2).sum(axis=0), np.finfo(float).tiny)
    alone = small.matrix.T @ small.target / squares[:, None]
    together = small.solve(np.ones_like(alone, dtype=bool))
    sizes = np.abs([alone, together])
    largest = float(sizes.max())
    if largest == 0.0:
        return np.ones(1)
    return np.geomspace(1.01 * largest, max(_RANGE * largest, float(sizes.min())), _PATH)


def _least_squares(matrix: Array, target: Array, kept: Any, ridge: float) -> Array:
    """Coefficients of the columns that are kept, zero for the others."""
    coefficients = np.zeros(matrix.shape[1])
    count = int(kept.sum())
    if not count:
        return coefficients
    a, b = matrix[:, kept], target
    if ridge:
        a = np.vstack([a, np.sqrt(ridge) * np.eye(count)])
        b = np.append(b, np.zeros(count))
    coefficients[kept] = np.linalg.lstsq(a, b, rcond=None)[0]
    return coefficients


def _scored(small: _Small, rows: int, thresholds: Array, supports: Any) -> Path:
    rss = np.array([small.rss(support) for support in supports])
    count = supports.sum(axis=1)
    total = small.outside + (small.target**2).sum(axis=0)
    exact = np.maximum(_EXACT**2 * total, np.finfo(float).tiny)
    misfit = rows * np.log(np.maximum(rss, exact) / rows)
    # the variance of the residuals is estimated as well, which counts as one more
    correction = 2.0 * (count + 1) * rows / np.maximum(rows - count - 2, 1e-9)
    return Path(thresholds, supports, rss, misfit + correction, misfit + count * np.log(rows))


def _bag(
    matrix: Array, target: Array, select: Select, cuts: Array, bagging: Bagging
) -> tuple[Array, Array]:
    """Inclusion and standard deviation of each coefficient, (terms, outputs) each."""
    random = np.random.default_rng(bagging.seed)
    rows, count = matrix.shape
    if bagging.leave_out >= count:
        raise ValueError(
            f"leave_out must be less than the number of terms, {count}; got {bagging.leave_out}"
        )
    found = np.zeros((bagging.models, count, target.shape[1]))
    there = np.zeros(count)
    for model in found:
        drawn = random.integers(rows, size=rows)
        used = np.sort(random.permutation(count)[bagging.leave_out :])
        there[used] += 1.0
        small = _Small.of(matrix[np.ix_(drawn, used)], target[drawn])
        model[used] = small.solve(small.supports(select, *cuts))
    inclusion = (found != 0.0).sum(axis=0) / np.maximum(there, 1.0)[:, None]
    return inclusion, found.std(axis=0)
