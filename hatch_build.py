"""What a wheel carries beyond the Python package: the Julia sources and their requirements.

An editable install finds both in the checkout. A copy beside it would be a second juliapkg.json
for the same Julia package, which juliapkg refuses.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_JULIA = {
    "julia_src/PySciML": "pysciml/julia_src/PySciML",
    "juliapkg.json": "pysciml/juliapkg.json",
}


class JuliaSources(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_data["force_include"].update(_JULIA)
