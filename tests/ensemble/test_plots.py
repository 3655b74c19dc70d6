"""What is drawn: the numbers behind bands, lines and dots."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import pysciml as sml

HOW = {"engine": "native", "saveat": 0.25, "progress": False}


@pytest.fixture(scope="module")
def cloud(oscillator):
    u0 = np.random.default_rng(1).normal([1.0, 0.0], 0.2, size=(200, 2))
    return sml.solve_ensemble(oscillator, u0=u0, quantiles=(0.05, 0.25, 0.5, 0.75, 0.95), **HOW)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_fan_has_bands_trajectories_and_a_center(cloud):
    ax = cloud.plot("position", trajectories=3)
    bands = ax.collections
    assert labels(ax) == ["position, 5 to 95 %", "position, 25 to 75 %", "position, median"]
    for band, (low, high) in zip(bands, ((0, 4), (1, 3)), strict=True):
        corners = band.get_paths()[0].vertices
        assert corners[:, 1].min() == cloud.quantiles[low, :, 0].min()
        assert corners[:, 1].max() == cloud.quantiles[high, :, 0].max()
    *few, middle = ax.lines
    assert len(few) == 3
    np.testing.assert_array_equal(few[2].get_ydata(), cloud.u[2, :, 0])
    np.testing.assert_array_equal(middle.get_ydata(), cloud.median[:, 0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("t", "position")


def test_every_component_and_the_mean(cloud):
    ax = cloud.plot(center="mean", trajectories=0)
    assert len(ax.lines) == 2
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), cloud.mean[:, 1])
    assert ax.get_ylabel() == "state"


def test_a_phase_portrait_goes_from_start_to_end(cloud):
    ax = cloud.plot(("position", "velocity"), trajectories=2)
    *few, middle = ax.lines
    assert len(few) == 20
    np.testing.assert_array_equal(few[7].get_xydata(), cloud.u[7])
    np.testing.assert_array_equal(middle.get_xydata(), cloud.median)
    start, end = ax.collections
    np.testing.assert_array_equal(start.get_offsets(), cloud.u[:20, 0])
    np.testing.assert_array_equal(end.get_offsets(), cloud.u[:20, -1])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("position", "velocity")


def test_statistics_alone_can_be_drawn(oscillator):
    u0 = np.random.default_rng(1).normal(size=(80, 2))
    ensemble = sml.solve_ensemble(oscillator, u0=u0, keep="statistics", quantiles=(0.1, 0.9), **HOW)
    ax = ensemble.plot(0, trajectories=4)
    assert labels(ax) == ["position, 10 to 90 %", "position, mean"]
    assert len(ax.lines) == 5
    assert len(ensemble.plot((0, 1)).lines) == 51


def test_a_failed_trajectory_is_not_drawn(blow_up):
    with pytest.warns(RuntimeWarning):
        ensemble = sml.solve_ensemble(blow_up, p=[4.0, 0.5, 0.4], **HOW)
    ax = ensemble.plot(trajectories=5)
    assert len(ax.lines) == 3
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), ensemble.u[1, :, 0])


@pytest.mark.parametrize(
    ("vars", "how", "message"),
    [
        ((0, 1, 0), {}, "vars must be components over time or pairs of them for an ensemble"),
        ([0, (0, 1)], {}, "vars must all be time series or all be pairs"),
        ("speed", {}, "vars must name components of the solution; got 'speed'"),
        (0, {"center": "mode"}, "center must be one of 'median', 'mean'; got 'mode'"),
        (0, {"trajectories": -1}, "trajectories must be a whole number >= 1; got -1"),
    ],
)
def test_wrong_pictures(cloud, vars, how, message):
    with pytest.raises(ValueError) as raised:
        cloud.plot(vars, **how)
    assert str(raised.value) == message


def test_how_it_shows_itself(cloud):
    assert repr(cloud) == (
        "EnsembleSolution(200 trajectories, 200 Success: 13 time points from 0 to 3, "
        f"u (200, 13, 2), AutoTsit5(Rodas5P) on native, {cloud.stats.naccept} steps in all)"
    )
    assert "<td style='text-align:left'>200: 200 Success</td>" in cloud._repr_html_()
    assert len(cloud) == 200
    np.testing.assert_array_equal(cloud[3], cloud.u[3])
    np.testing.assert_array_equal(list(cloud)[3], cloud.u[3])
