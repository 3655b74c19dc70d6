"""The gallery: runs the examples, and writes a page of what they say and draw.

`python docs/make_gallery.py [name ...]` runs those named, or all, in their short form. Pictures and
page go to docs/gallery, which is not kept under version control.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
GALLERY = ROOT / "docs" / "gallery"
SOURCE = "https://github.com/pysciml/pysciml/blob/main/examples"
INTRODUCTION = """# Gallery

Each picture was drawn by the script under it, in its short form, when these pages were built.
"""


def main(names: list[str]) -> int:
    GALLERY.mkdir(exist_ok=True)
    scripts = [script for script in sorted(EXAMPLES.rglob("*.py")) if can_run(script)]
    failed = [s.stem for s in scripts if (not names or s.stem in names) and not draw(s)]
    entries = [entry(s) for s in scripts if list(GALLERY.glob(f"{s.stem}*.png"))]
    (GALLERY / "index.md").write_text("\n".join([INTRODUCTION, *entries]))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def can_run(script: Path) -> bool:
    if "Needs Julia." not in script.read_text():
        return True
    from pysciml import engines

    return engines.availability("julia").ready


def draw(script: Path) -> bool:
    """Run an example and keep its pictures; says whether it ran."""
    options = ["--short"] if '"--short"' in script.read_text() else []
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(script), *options],
            cwd=folder,
            env=os.environ | {"MPLBACKEND": "Agg"},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        for picture in sorted(Path(folder, "output").glob("*.png")):
            (GALLERY / f"{script.stem}-{picture.name}").write_bytes(picture.read_bytes())
    print(f"{script.stem}: {time.monotonic() - start:.1f} s", flush=True)
    return done.returncode == 0


def entry(script: Path) -> str:
    text = ast.get_docstring(ast.parse(script.read_text())) or script.stem
    title, _, rest = text.partition("\n")
    body, _, _ = rest.strip().partition("\nRun:")
    pictures = [
        f"![{title}]({picture.name}){{ loading=lazy }}"
        for picture in sorted(GALLERY.glob(f"{script.stem}-*.png"))
    ]
    name = script.relative_to(EXAMPLES).as_posix()
    link = f"[examples/{name}]({SOURCE}/{name})"
    return "\n\n".join([f"## {title.rstrip('.')}", *pictures, body.strip(), link, ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
