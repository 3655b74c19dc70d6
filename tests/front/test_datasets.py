"""The lynx and hare data, and the fit of the demo."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import pysciml as sml
from pysciml import datasets, demo

# fmt: off
HARE = [30, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22, 25.4, 27.1,
        40.3, 57, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7]
LYNX = [4, 6.1, 9.8, 35.2, 59.4, 41.7, 19, 13, 8.3, 9.1, 7.4,
        8, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6]
# fmt: on


def test_lynx_and_hare():
    data = datasets.lynx_hare()
    assert data.t.tolist() == list(range(1900, 1921))
    assert data.u.shape == (21, 2)
    assert data.names == ("hare", "lynx")
    assert data.units == ("year", "thousand pelts")
    np.testing.assert_array_equal(data.u.T, [HARE, LYNX])
    for name in ("Howard", "2009", "Elton", "Nicholson", "1942"):
        assert name in data.source


def test_sunspots():
    data = datasets.sunspots()
    assert data.t.tolist() == list(range(1700, 2009))
    assert data.u.shape == (309, 1)
    number = dict(zip(data.t, data.u[:, 0], strict=True))
    # years that are told of: the largest maximum, the Dalton minimum, and both ends
    assert [number[year] for year in (1700, 1810, 1957, 2008)] == [5.0, 0.0, 190.2, 2.9]
    assert data.u.argmax() == 257
    assert "public domain" in data.source


def test_a_dataset_is_frozen_and_made_anew():
    data = datasets.lynx_hare()
    data.u[:] = 0.0
    assert datasets.lynx_hare().u.min() == 4.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.t = None


def test_sensitivities_of_the_demo_against_finite_differences():
    quantities = np.array([0.55, 0.028, 0.8, 0.024, 30.0, 4.0])
    tight = {"saveat": [5.0, 20.0], "abstol": 1e-11, "reltol": 1e-11}

    def plain(q):
        problem = sml.ODEProblem(demo.lotka_volterra, q[4:], (0.0, 20.0), q[:4])
        return sml.solve(problem, "Vern7", "native", **tight).u

    template = sml.ODEProblem(demo.with_sensitivities, np.zeros((7, 2)), (0.0, 20.0), np.ones(4))
    z = sml.solve(demo._at(template, quantities), "Vern7", "native", **tight).u
    np.testing.assert_allclose(z[:, 0], plain(quantities), rtol=1e-9)
    for k, value in enumerate(quantities):
        h = 1e-4 * value
        step = h * np.eye(6)[k]
        slope = (plain(quantities + step) - plain(quantities - step)) / (2 * h)
        np.testing.assert_allclose(z[:, 1 + k], slope, rtol=1e-5, atol=1e-6 * np.abs(slope).max())


def test_the_fit_agrees_with_the_published_one():
    data = datasets.lynx_hare()
    fit = demo.fit(data, "native")
    for estimate, error, published in zip(fit.estimates, fit.errors, demo.PUBLISHED, strict=True):
        assert 0.0 < error < 0.2 * estimate
        if published is not None:
            assert abs(estimate - published) < error
    assert 0.2 < fit.scatter < 0.3

    def cost(estimates):
        problem = sml.ODEProblem(demo.lotka_volterra, estimates[4:], (0.0, 20.0), estimates[:4])
        u = sml.solve(problem, engine="native", saveat=1.0, abstol=1e-9, reltol=1e-9).u
        return np.sum((np.log(u) - np.log(data.u)) ** 2)

    best = cost(fit.estimates)
    for k in range(6):  # no direction leads down
        for factor in (0.99, 1.01):
            assert cost(fit.estimates * np.where(np.arange(6) == k, factor, 1.0)) > best


def test_the_demo_prints_a_table_and_draws_a_picture(tmp_path):
    lines = []
    demo.run(tmp_path / "new", "native", lines.append)
    text = "\n".join(lines)
    for name in demo.NAMES:
        assert name in text
    assert "on the native engine" in text
    for engine in ("julia", "native", "torch"):
        assert f"\n  {engine}" in text
    picture = (tmp_path / "new" / "lynx_hare.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
