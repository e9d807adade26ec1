"""The notebook runs from top to bottom and leaves a model that has learned to answer."""

import json
import os
import pathlib
import re

import pytest

NOTEBOOK = pathlib.Path(__file__).parents[2] / "examples" / "finetune.ipynb"
ROOT = NOTEBOOK.parents[1]


def test_outputs_are_stripped():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(monkeypatch, tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600).execute(cwd=str(tmp_path))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    [accuracy] = re.findall(r"not trained on: ([\d.]+)%", text)
    # The question alone gives 67 %.
    assert float(accuracy) > 75
    assert any("image/png" in output.get("data", {}) for output in outputs)
