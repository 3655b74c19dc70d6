"""Symbolic regression: formulas of any form, by PySR's evolutionary search."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from pysciml import validation as check
from pysciml.discover.equation import Equation
from pysciml.discover.library import symbols_of
from pysciml.discover.samples import Samples
from pysciml.engines.base import Array
from pysciml.engines.julia import session

_REMEDY = (
    "symbolic_regression() needs PySR and its Julia packages: pip install 'pysciml[symbolic]'; "
    "Julia's SymbolicRegression.jl is installed when it is first imported"
)


@dataclass(frozen=True, eq=False)
class SymbolicFit:
    """What a symbolic regression found.

    Attributes
    ----------
    equation : see `Equation`; each formula is split into the sum of its terms, whose factors are
        the coefficients that a fit can move.
    formulas : for each output, the front of complexity against error: tuples (complexity, mean
        square, SymPy expression).
    """

    equation: Equation
    formulas: tuple[tuple[tuple[int, float, Any], ...], ...]

    def __str__(self) -> str:
        return str(self.equation)


def symbolic_regression(
    data: Samples,
    *,
    binary: tuple[str, ...] = ("+", "-", "*", "/"),
    unary: tuple[str, ...] = (),
    iterations: int = 40,
    seed: int = 0,
    **options: Any,
) -> SymbolicFit:
    """Formulas that explain what was sampled, built of operators instead of a library of terms.

    The search is PySR's (Cranmer, Interpretable machine learning for science with PySR and
    SymbolicRegression.jl, arXiv:2305.01582, 2023), which runs on Julia by juliacall. With a seed it
    is serial and repeats.

    Parameters
    ----------
    data : Samples, such as what `slopes` makes of data, or a network's inputs and values
    binary, unary : operators, as PySR names them.
    iterations : of the search.
    seed : of the search.
    **options : passed on to `pysr.PySRRegressor`; they win over what is set here, which is
        float64, silence, and a serial, deterministic search.

    Returns
    -------
    SymbolicFit

    Raises
    ------
    ImportError
        PySR is not installed, or its Julia packages cannot be loaded; the message has the remedy.
    """
    if not isinstance(data, Samples):
        raise TypeError(f"data must be Samples(x, y) or slopes(data); got {check.describe(data)}")
    count, number = check.as_count(iterations, "iterations"), check.as_seed(seed, "seed")
    pysr = _pysr()
    settings: dict[str, Any] = {
        "binary_operators": list(binary),
        "unary_operators": list(unary),
        "niterations": count,
        "random_state": number,
        "deterministic": True,
        "parallelism": "serial",
        "precision": 64,
        "progress": False,
        "verbosity": 0,
        "temp_equation_file": True,
    }
    model = pysr.PySRRegressor(**(settings | options))
    # names that SymPy or Julia would take for something else are kept away from the search
    stand_ins = [f"v{i}" for i in range(len(data.inputs))]
    model.fit(data.x, data.y, variable_names=stand_ins)
    chosen, tables = model.sympy(), model.equations_
    chosen = chosen if isinstance(chosen, list) else [chosen]
    tables = tables if isinstance(tables, list) else [tables]
    symbols = dict(zip(stand_ins, symbols_of(data.inputs), strict=True))
    formulas = tuple(
        tuple(
            (int(row.complexity), float(row.loss), _renamed(row.sympy_format, symbols))
            for row in table.itertuples()
        )
        for table in tables
    )
    return SymbolicFit(equation_from([_renamed(x, symbols) for x in chosen], data), formulas)


def _renamed(expression: Any, symbols: dict[str, Any]) -> Any:
    return sympy.sympify(expression).xreplace(
        {old: symbols[old.name] for old in sympy.sympify(expression).free_symbols}
    )


def equation_from(expressions: list[Any], data: Samples) -> Equation:
    """SymPy expressions of the inputs, one for each output, as sums of terms with coefficients."""
    split = [_terms_of(expression) for expression in expressions]
    terms = tuple(dict.fromkeys(term for parts in split for term in parts))
    coefficients: Array = np.zeros((len(terms), len(expressions)))
    for k, parts in enumerate(split):
        for term, factor in parts.items():
            coefficients[terms.index(term), k] = factor
    return Equation(data.inputs, data.outputs, terms, coefficients, coefficients != 0.0)


def _terms_of(expression: Any) -> dict[Any, float]:
    """Each term of the expanded sum, and the number in front of it."""
    found: dict[Any, float] = {}
    for part in sympy.Add.make_args(sympy.expand(expression)):
        factor, rest = part.as_coeff_Mul()
        found[rest] = found.get(rest, 0.0) + float(factor)
    return found


def _pysr() -> Any:
    if importlib.util.find_spec("pysr") is None:
        raise ImportError(_REMEDY)
    try:
        # Julia starts before PySR would start it: with -O3, for which every package of the
        # environment is compiled anew, and with Ctrl-C taken away from Python
        session.start_juliacall()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="juliacall module already imported")
            import pysr
    except Exception as error:  # what juliapkg and Julia raise while PySR loads
        raise ImportError(f"{_REMEDY}. Loading them failed: {error}") from error
    return pysr
