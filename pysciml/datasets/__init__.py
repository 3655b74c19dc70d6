"""Small real data sets, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np

from pysciml.engines.base import Array

__all__ = ["Dataset", "lynx_hare", "sunspots"]


@dataclass(frozen=True)
class Dataset:
    """Observations over time.

    Attributes
    ----------
    t : (len,) float64 array
    u : (len, k) float64 array
    names : what the k columns are
    units : of `t` and of `u`
    source : where the numbers come from
    """

    t: Array
    u: Array
    names: tuple[str, ...]
    units: tuple[str, str]
    source: str


def lynx_hare() -> Dataset:
    """Pelts of snowshoe hare and Canada lynx that the Hudson's Bay Company bought, 1900 to 1920.

    Pelts stand in for the sizes of the populations: 21 years, in thousands.
    """
    t, u = _read_csv("lynx_hare.csv")
    return Dataset(
        t=t,
        u=u,
        names=("hare", "lynx"),
        units=("year", "thousand pelts"),
        source=(
            "Hudson's Bay Company pelt records, as tabulated by P. Howard, Modeling Basics (2009), "
            "after C. Elton and M. Nicholson, The ten-year cycle in numbers of the lynx in Canada, "
            "Journal of Animal Ecology 11 (1942) 215-244"
        ),
    )


def sunspots() -> Dataset:
    """Yearly means of the number of spots on the sun, 1700 to 2008.

    The international sunspot number as it was until 2015 (version 1), 309 years. In the public
    domain.
    """
    t, u = _read_csv("sunspots.csv")
    return Dataset(
        t=t,
        u=u,
        names=("sunspots",),
        units=("year", "mean number"),
        source=(
            "National Geophysical Data Center, http://www.ngdc.noaa.gov/stp/solar/solarda3.html, "
            "as distributed in the public domain with statsmodels"
        ),
    )


def _read_csv(name: str) -> tuple[Array, Array]:
    """The first column, and the others."""
    text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    table = np.loadtxt(text.splitlines(), delimiter=",", skiprows=1)
    return table[:, 0].copy(), table[:, 1:].copy()
