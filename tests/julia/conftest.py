"""Tests marked `julia` need Julia with its packages; elsewhere they skip, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from pysciml.engines.julia import environment

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [
        item for item in items if item.get_closest_marker("julia") and _HERE in item.path.parents
    ]
    if not marked:
        return
    found = environment.availability()
    if not found.ready:
        skip = pytest.mark.skip(reason=f"Julia is not ready: {found.reason}")
        for item in marked:
            item.add_marker(skip)
