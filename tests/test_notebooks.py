"""Every notebook runs from a clean kernel, and its stored outputs show no error."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_a_clean_kernel(notebook):
    client = NotebookClient(nbformat.read(notebook, as_version=4), timeout=300, resources={"metadata": {"path": notebook.parent}})
    executed = client.execute()  # raises what a cell raises
    counts = [cell["execution_count"] for cell in executed.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_stored_outputs_are_there_and_show_no_error(notebook):
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert "error" not in kinds
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell["outputs"])


def test_there_are_notebooks():
    assert NOTEBOOKS
