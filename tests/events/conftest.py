"""Tests with an `engine` run on each that has events; the modules beside them can be imported."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(params=["native", pytest.param("julia", marks=pytest.mark.julia)])
def engine(request: pytest.FixtureRequest) -> str:
    return request.param
