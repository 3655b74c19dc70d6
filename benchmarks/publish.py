"""`python -m benchmarks.publish [name ...]`: the last results as tables in docs/benchmarks."""

from __future__ import annotations

import json
import sys
from typing import Any

from .timing import RESULTS, ROOT, Bar, Report, Row

PAGES = ROOT / "docs" / "benchmarks"


def page(content: dict[str, Any]) -> str:
    report = Report(
        content["name"],
        content["title"],
        [Row(**row) for row in content["rows"]],
        [Bar(**bar) for bar in content["bars"]],
    )
    environment = content["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    where = f"{environment['cpus']} cores, {environment['machine']}, {environment['system']}"
    return f"{report.markdown()}\n{where}; Python {environment['python']}, {versions}.\n"


def main(names: list[str]) -> int:
    PAGES.mkdir(exist_ok=True)
    for path in sorted(RESULTS.glob("*.json")):
        if path.stem != "all" and (not names or path.stem in names):
            (PAGES / f"{path.stem}.md").write_text(page(json.loads(path.read_text())))
            print(PAGES / f"{path.stem}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
