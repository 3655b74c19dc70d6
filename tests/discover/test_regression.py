"""Sparse regression against the equations that made the data, and against pysindy."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import pysciml as sml
from pysciml.discover import (
    Bagging,
    Samples,
    custom,
    fourier,
    frols,
    polynomial,
    slopes,
    sparse_regression,
    sr3,
    stlsq,
    weak_form,
)

NAMES = ["x", "y", "z"]


def assert_rates(equation, rates, rtol):
    assert {k: set(v) for k, v in equation.p.items()} == {k: set(v) for k, v in rates.items()}
    for output, terms in rates.items():
        for term, value in terms.items():
            assert equation.p[output][term] == pytest.approx(value, rel=rtol), (output, term)


def noisy(u, noise, seed=0):
    return u + noise * u.std(axis=0) * np.random.default_rng(seed).standard_normal(u.shape)


# -- libraries ----
def test_polynomial_has_all_monomials():
    terms = polynomial(3).terms(NAMES)
    assert len(terms) == len(set(terms)) == 20  # binomial(3 + 3, 3)
    assert sympy.sympify("x*y*z") in terms
    assert polynomial(3, constant=False).terms(NAMES) == terms[1:]


def test_libraries_join_without_repeating():
    joined = polynomial(1) + polynomial(2) + fourier(2, period=np.pi) + custom("x/(1 + y)", "x*y")
    expected = "1 x y x**2 x*y y**2 sin(2*x) cos(2*x) sin(4*x) cos(4*x) sin(2*y) cos(2*y)"
    expected += " sin(4*y) cos(4*y) x/(1+y)"
    assert list(joined.terms(["x", "y"])) == [sympy.sympify(s) for s in expected.split()]


def test_custom_terms_in_every_form():
    x, y = sympy.symbols("x y")
    library = custom("exp(x)", x * y, lambda x, y: [x**2, sympy.sin(y)])
    at = np.array([[0.5, 2.0], [1.0, -1.0]])
    expected = np.stack(
        [np.exp(at[:, 0]), at[:, 0] * at[:, 1], at[:, 0] ** 2, np.sin(at[:, 1])], axis=1
    )
    np.testing.assert_allclose(library.matrix(at, ["x", "y"]), expected, rtol=1e-15)


# -- methods ----
@pytest.mark.parametrize("method", [stlsq, sr3])
def test_lorenz_from_its_weak_form(lorenz, lorenz_rates, method):
    t, u = lorenz
    assert_rates(method(weak_form((t, u), names=NAMES)).equation, lorenz_rates, 1e-5)
    noise = method(weak_form((t, noisy(u, 0.01)), names=NAMES)).equation
    assert_rates(noise, lorenz_rates, 0.03)


def test_weak_form_bears_noise_that_slopes_do_not(lorenz, lorenz_rates):
    t, u = lorenz
    data = t, noisy(u, 0.05)
    assert_rates(stlsq(weak_form(data, names=NAMES)).equation, lorenz_rates, 0.1)
    by_slopes = stlsq(slopes(data, names=NAMES)).equation
    assert by_slopes.size > 7


def test_lorenz_from_slopes(lorenz, lorenz_rates):
    t, u = lorenz
    found = stlsq(slopes((t, u), smoothing=0.0, names=NAMES))
    assert_rates(found.equation, lorenz_rates, 1e-5)
    assert "STLSQ" in repr(found)


def test_data_in_pieces_and_of_a_solution(lorenz_rates):
    def f(u, p, t):
        x, y, z = u
        return [10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z]

    problem = sml.ODEProblem(f, [-8.0, 8.0, 27.0], (0.0, 4.0), names=NAMES)
    runs = [
        sml.solve(problem.remake(u0=u0), engine="native", saveat=0.005, abstol=1e-10, reltol=1e-10)
        for u0 in ([-8.0, 8.0, 27.0], [1.0, 2.0, 20.0])
    ]
    found = stlsq(weak_form(runs))
    assert found.equation.inputs == ("x", "y", "z")  # the solution's own names
    assert_rates(found.equation, lorenz_rates, 1e-4)


def test_the_threshold_is_that_of_the_coefficients(lorenz):
    """Without `normalise` a term stays if its own coefficient is large enough."""
    t, u = lorenz
    source = slopes((t, u), smoothing=0.0, names=NAMES)
    found = stlsq(source, threshold=9.9, normalise=False)
    assert found.equation.p["dx/dt"].keys() == {"x", "y"}
    assert (found.thresholds == 9.9).all()
    above = stlsq(source, threshold=10.1, normalise=False)
    assert "dx/dt" not in above.equation.p
    assert str(above.equation).startswith("dx/dt = 0\n")


def test_l1_shrinks_and_l0_does_not():
    """On orthonormal columns the relaxed problem has the proximal map as its solution."""
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((50, 4)))
    names = tuple("abcd")
    library = polynomial(1, constant=False)
    y = q @ [2.0, 0.5, 0.2, 0.0]
    for norm, threshold, kept in (("l0", 0.4, "ab"), ("l0", 0.1, "abc"), ("l1", 0.1, "abc")):
        found = sr3(
            Samples(q, y, names), library, threshold=threshold, norm=norm, normalise=False
        ).equation
        assert set(found.p["y"]) == set(kept), (norm, threshold)
        for name, value in zip("abc", (2.0, 0.5, 0.2), strict=True):
            if name in kept:
                assert found.p["y"][name] == pytest.approx(value, rel=1e-12)


def test_forward_regression_takes_the_most_telling_first():
    x = np.linspace(-1.0, 1.0, 101)
    y = 3.0 * x + 0.5 * x**2 + 0.01 * np.cos(20.0 * x)
    for count, expected in ((1, {"x"}), (2, {"x", "x**2"})):
        assert set(frols(Samples(x, y), polynomial(4), terms=count).equation.p["y"]) == expected


def test_criteria_are_those_of_the_textbook(lorenz):
    t, u = lorenz
    source = slopes((t, u), names=NAMES)
    path = frols(source).path
    rows, k = len(source.x), path.supports.sum(axis=1)
    terms, matrix, target = source.system(polynomial(2))
    coefficients, (rss,), *_ = np.linalg.lstsq(matrix, target[:, :1], rcond=None)
    full = int(np.argmax(k[:, 0]))
    assert k[full, 0] == len(terms) == coefficients.size
    assert path.rss[full, 0] == pytest.approx(rss, rel=1e-6)
    difference = path.bic - rows * np.log(path.rss / rows) - k * np.log(rows)
    np.testing.assert_allclose(difference, difference[0] * np.ones_like(difference), atol=1e-6)
    aicc = path.aic - path.bic
    expected = 2 * (k + 1) * rows / (rows - k - 2) - k * np.log(rows)
    np.testing.assert_allclose(aicc, expected, rtol=1e-12, atol=1e-9)


def test_bagging_tells_how_sure_each_term_is():
    """The spread of a coefficient over bags is its standard error, here of a linear regression."""
    random = np.random.default_rng(1)
    x = random.standard_normal((400, 2))
    y = 1.5 * x[:, 0] + 0.1 * random.standard_normal(400)
    found = stlsq(
        Samples(x, y, ("a", "b")),
        polynomial(1, constant=False),
        threshold=0.1,
        bagging=Bagging(300),
    )
    assert set(found.equation.p["y"]) == {"a"}
    assert found.inclusion[:, 0].tolist() == [1.0, 0.0]
    assert found.spread[0, 0] == pytest.approx(0.1 / 20.0, rel=0.15)
    again = stlsq(
        Samples(x, y, ("a", "b")),
        polynomial(1, constant=False),
        threshold=0.1,
        bagging=Bagging(300),
    )
    assert (again.spread == found.spread).all()


def test_bagging_without_some_terms(lorenz, lorenz_rates):
    t, u = lorenz
    source = weak_form((t, noisy(u, 0.01)), names=NAMES)
    found = stlsq(source, threshold=0.05, bagging=Bagging(100, inclusion=0.7, leave_out=1))
    assert_rates(found.equation, lorenz_rates, 0.03)
    assert found.inclusion.max() <= 1.0


def test_against_pysindy(lorenz):
    """The same terms and coefficients, without normalisation; and its optimisers as they are."""
    pysindy = pytest.importorskip("pysindy")
    t, u = lorenz
    source = slopes((t, u), smoothing=0.0, names=NAMES)
    _, matrix, target = source.system(polynomial(2))

    theirs = pysindy.STLSQ(threshold=0.5, alpha=0.0).fit(matrix, target).coef_.T
    ours = stlsq(source, threshold=0.5, normalise=False).equation
    np.testing.assert_allclose(ours.coefficients, theirs, rtol=1e-9, atol=1e-12)

    weight = pysindy.SR3.calculate_l0_weight(0.5, 1.0)
    relaxed = pysindy.SR3(
        reg_weight_lam=weight, relax_coeff_nu=1.0, regularizer="L0", max_iter=1000, tol=1e-10
    )
    theirs = relaxed.fit(matrix, target).coef_.T
    ours = sr3(source, threshold=0.5, normalise=False).equation
    np.testing.assert_allclose(ours.coefficients, theirs, rtol=2e-5, atol=1e-12)  # they iterate

    found = sparse_regression(source, optimiser=pysindy.SSR(criteria="model_residual"))
    assert found.method == "SSR"
    assert set(found.equation.p["dx/dt"]) >= {"x", "y"}


def test_plot_of_the_path(lorenz):
    t, u = lorenz
    ax = stlsq(slopes((t, u), names=NAMES)).plot()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "dx/dt",
        "dy/dt",
        "dz/dt",
    ]
    assert ax.get_yscale() == "log"


# -- wrong calls ----
GOOD = Samples(np.linspace(1.0, 2.0, 9), np.ones(9))
T9, U9 = np.linspace(0.0, 1.0, 9), np.ones((9, 2))
DATA = "data must be Samples(x, y), slopes(data) or weak_form(data); got "
WRONG_CALLS = [
    (lambda: stlsq((T9, U9)), TypeError, DATA + "the tuple"),
    (lambda: stlsq(GOOD, "quadratic"), TypeError, "library must be polynomial(...), fourier(...)"),
    (
        lambda: stlsq(GOOD, threshold="bik"),
        ValueError,
        "threshold must be 'aic' or 'bic'; got 'bik'; did you mean 'bic'",
    ),
    (lambda: stlsq(GOOD, threshold=-1.0), ValueError, "threshold must be numbers > 0"),
    (lambda: sr3(GOOD, norm="l2"), ValueError, "norm must be 'l0' or 'l1'; got 'l2'"),
    (lambda: frols(GOOD, terms=-1), ValueError, "terms must be a whole number >= 0"),
    (lambda: stlsq(GOOD, bagging=3), TypeError, "bagging must be a Bagging(...) or None; got 3"),
    (
        lambda: stlsq(GOOD, polynomial(1), bagging=Bagging(leave_out=2)),
        ValueError,
        "leave_out must be less than the number of terms, 2; got 2",
    ),
    (lambda: Bagging(inclusion=1.5), ValueError, "inclusion must be a part, > 0 and <= 1; got 1.5"),
    (
        lambda: stlsq(GOOD, polynomial(9)),
        ValueError,
        "data must give at least as many rows as the library has terms, 10; got 9",
    ),
    (
        lambda: stlsq(Samples(np.arange(5.0), np.ones(5)), custom("1/x")),
        ValueError,
        "library must have terms that are finite at all points; got 1/x at x = 0",
    ),
    (
        lambda: stlsq(GOOD, custom("x*w")),
        ValueError,
        "terms must be expressions of the inputs x; got w*x, with w",
    ),
    (lambda: stlsq(GOOD, custom("x +")), ValueError, "which is none"),
    (custom, ValueError, "terms must be at least one"),
    (lambda: custom(3), TypeError, "terms[0] must be a string, a SymPy expression, or a function"),
    (lambda: polynomial(0), ValueError, "degree must be a whole number >= 1; got 0"),
    (lambda: Samples(T9, np.ones(8)), ValueError, "y must have one row for each of the 9 of x"),
    (
        lambda: slopes((T9, U9 * [1.0, np.nan])),
        ValueError,
        "data must have no missing values for a regression; got NaN",
    ),
    (lambda: slopes((T9[:4], U9[:4])), ValueError, "data must have at least 5 different times"),
    (lambda: slopes((np.zeros(9), U9)), ValueError, "of which some are equal"),
    (lambda: weak_form((T9, U9), width=10), ValueError, "width must be at least 5"),
    (lambda: weak_form((T9, U9), names=["x"]), ValueError, "names must be a list of 2 strings"),
    (
        lambda: sparse_regression(GOOD, optimiser=stlsq),
        TypeError,
        "optimiser must have fit(matrix, targets) and coef_",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
