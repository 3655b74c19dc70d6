"""Tests marked `julia` need Julia with its packages; elsewhere they skip, with the reason."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("julia")]
    if not marked:
        return
    from pysciml.engines.julia import environment

    found = environment.availability()
    if not found.ready:
        skip = pytest.mark.skip(reason=f"Julia is not ready: {found.reason}")
        for item in marked:
            item.add_marker(skip)
