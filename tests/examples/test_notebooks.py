"""The notebooks run from top to bottom, and show what they should."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.ipynb"))


def outputs(notebook, kind):
    """The data of one MIME type in the order in which they were shown."""
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output["data"][kind] for output in shown if kind in output.get("data", {})]


def text(notebook):
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert "error" in text(notebook)
    # the loss curve below the progress bar, and the figures
    assert len(outputs(notebook, "image/png")) >= 2
    assert any("FitResult(loss" in shown for shown in outputs(notebook, "text/plain"))
    assert "100%" in text(notebook) or outputs(notebook, "application/vnd.jupyter.widget-view+json")


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["lotka_volterra_ude", "spiral"]
