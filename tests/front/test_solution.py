"""Solution: shapes, dense output, tables, text."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

import pysciml as sml


def decay(u, p, t):
    return -u


def solved(u0=(1.0, 2.0), names=None, tspan=(0, 1), **options):
    problem = sml.ODEProblem(decay, u0, tspan, names=names)
    return sml.solve(problem, engine="native", **options)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 1, 2)])
def test_time_comes_first(recorder, shape):
    u0 = np.zeros(shape)
    solution = solved(u0, saveat=0.25)
    assert solution.u.shape == (5, *shape)
    expected = solution.t[:, None] + np.arange(u0.size)
    np.testing.assert_array_equal(solution.u.reshape(5, -1), expected)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_dense_output_has_the_shape_of_the_times_and_of_the_state(recorder, shape):
    solution = solved(np.zeros(shape))
    assert np.shape(solution(0.5)) == shape
    assert np.shape(solution(np.float64(0.5))) == shape
    assert np.shape(solution(1)) == shape
    assert solution([0.1, 0.2]).shape == (2, *shape)
    assert solution(np.array([])).shape == (0, *shape)
    flat = np.asarray(solution(0.5)).reshape(-1)
    np.testing.assert_array_equal(flat, 0.5 + np.arange(flat.size))


def test_save_idxs(recorder):
    solution = solved(np.zeros((2, 2)), save_idxs=[3, 0])
    assert solution.u.shape == (2, 2)
    assert solution.u[0].tolist() == [3.0, 0.0]
    assert solution(0.5).tolist() == [3.5, 0.5]
    assert solution([0.5, 0.75]).tolist() == [[3.5, 0.5], [3.75, 0.75]]
    assert solution.names == ("u[1, 1]", "u[0, 0]")


def test_indexing_and_iterating(recorder):
    solution = solved(saveat=0.5)
    assert len(solution) == 3
    assert solution[1].tolist() == [0.5, 1.5]
    assert [(t, u.tolist()) for t, u in solution][-1] == (1.0, [1.0, 2.0])


class TestDenseOutputRefuses:
    def test_when_it_was_not_kept(self, recorder):
        with pytest.raises(ValueError, match=r"Solve again with dense=True to evaluate sol\(t\)"):
            solved(saveat=0.5)(0.25)

    @pytest.mark.parametrize("t", [-0.1, 1.1, [0.5, 2.0], float("nan")])
    def test_times_outside_the_span(self, recorder, t):
        with pytest.raises(ValueError, match=r"^t must lie in the solved span \[0.0, 1.0\]; got "):
            solved()(t)

    def test_times_that_are_no_numbers(self, recorder):
        with pytest.raises(TypeError, match=r"^t must be a time or an array of times; got the str"):
            solved()("0.5")

    def test_what_lies_beyond_a_failure(self, recorder):
        recorder.retcode = "MaxIters"
        solution = solved(saveat=[0.0, 0.5], dense=True, raise_on_failure=False)
        assert solution(0.5).tolist() == [0.5, 1.5]
        with pytest.raises(ValueError, match=r"solved span \[0.0, 0.5\]; got 0.6"):
            solution(0.6)

    def test_backwards_the_span_is_the_same_interval(self, recorder):
        solution = solved(tspan=(1, 0))
        assert solution(0.25).tolist() == [0.25, 1.25]


def test_dataframe(recorder):
    frame = solved(names=["prey", "predator"], saveat=0.5).to_dataframe()
    assert list(frame.columns) == ["t", "prey", "predator"]
    assert frame["predator"].tolist() == [1.0, 1.5, 2.0]
    assert list(solved(1.0).to_dataframe().columns) == ["t", "u"]
    assert list(solved(np.zeros((1, 2))).to_dataframe().columns) == ["t", "u[0, 0]", "u[0, 1]"]


def test_without_pandas_the_error_says_what_to_install(recorder, monkeypatch):
    def refuse(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"^to_dataframe\(\) needs pandas: pip install 'pysciml"):
        solved().to_dataframe()


def test_repr(recorder):
    assert repr(solved()) == (
        "Solution(Success: 2 time points from 0 to 1, u (2, 2), Tsit5 on native, 2 steps "
        "(+1 rejected), 13 right-hand sides)"
    )


def test_html_is_escaped(recorder):
    recorder.retcode, recorder.message = "Failure", "a < b"
    text = solved(raise_on_failure=False)._repr_html_()
    assert "a &lt; b" in text
    assert text.startswith("<table>") and text.endswith("</table>")


def test_versions(recorder):
    versions = solved().versions
    assert versions["numpy"] == np.__version__
    assert {"python", "pysciml", "torch", "numba"} <= set(versions)


class TestPlot:
    def lines(self, solution, *args, **kwargs):
        import matplotlib.pyplot as plt

        ax = solution.plot(*args, **kwargs)
        data = [tuple(np.asarray(x) for x in line.get_data()) for line in ax.lines]
        plt.close("all")
        return ax, data

    def test_every_component_over_time(self, recorder):
        ax, data = self.lines(solved(names=["prey", "predator"]))
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("t", "state")
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["prey", "predator"]
        t, u = data[1]
        assert len(t) > 10  # the interpolant, not its two end points
        np.testing.assert_allclose(u, t + 1.0)

    def test_phase_plane(self, recorder):
        ax, data = self.lines(solved(names=["prey", "predator"]), ("prey", "predator"))
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("prey", "predator")
        np.testing.assert_allclose(data[0][1], data[0][0] + 1.0)

    def test_saved_points_are_marked(self, recorder):
        ax, data = self.lines(solved(saveat=0.5), [1])
        assert ax.lines[0].get_marker() == "o"
        assert ax.get_ylabel() == "u[1]"
        assert data[0][1].tolist() == [1.0, 1.5, 2.0]

    def test_in_space(self, recorder):
        ax, _ = self.lines(solved(np.zeros(3)), (0, 1, 2))
        assert ax.get_zlabel() == "u[2]"

    def test_many_lines_have_no_legend(self, recorder):
        ax, data = self.lines(solved(np.zeros(40), saveat=0.5))
        assert len(data) == 40
        assert ax.get_legend() is None

    @pytest.mark.parametrize(
        ("vars", "message"),
        [
            ("pray", "vars must name components of the solution; got 'pray'; did you mean 'prey'"),
            ([], "vars must name at least one component; got an empty list"),
            (2, "vars must lie between 0 and 1, the entries of u0; got 2"),
            ((0,), r"vars must have tuples of two or three components; got \(0,\)"),
            ([0, (0, 1, 1)], "vars must all be time series, all be pairs or all be triples"),
        ],
    )
    def test_wrong_variables(self, recorder, vars, message):
        with pytest.raises(ValueError, match=f"^{message}"):
            solved(names=["prey", "predator"]).plot(vars)
