"""The notebooks run from top to bottom, small; and are kept with their results."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "examples"
SMALL = {
    "quick_start": {"IMAGES": 60},
    "your_photographs": {"IMAGES": 60, "STEPS": 2},
    "your_research": {"IMAGES": 60, "STEPS": 2},
}


def read(name: str):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_every_notebook_is_run():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(SMALL)


@pytest.mark.parametrize(
    "name", ["quick_start", pytest.param("your_photographs", marks=pytest.mark.thorough)]
)
def test_it_runs(name, tmp_path, monkeypatch):
    """In an empty folder, with fewer images and steps than it names."""
    execute(name, tmp_path, monkeypatch)


@pytest.mark.thorough
@pytest.mark.timeout(900)  # two systems are trained and evaluated: five minutes on a slow processor
def test_research_runs(tmp_path, monkeypatch, weights_dir):
    """As the others; its comparison has a judge, whose whole weights do not ship."""
    monkeypatch.setenv("RGAN_WEIGHTS", str(weights_dir))
    execute("your_research", tmp_path, monkeypatch)


def execute(name: str, folder: Path, monkeypatch) -> None:
    notebook = read(name)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", ()):
            for variable, value in SMALL[name].items():
                cell.source, found = re.subn(
                    rf"^{variable} = \S+", f"{variable} = {value}", cell.source, flags=re.M
                )
                assert found == 1, f"{name}: {variable} is not a parameter"
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    client = NotebookClient(notebook, timeout=600, kernel_name="python3")
    client.execute(cwd=str(folder))
    assert any(
        "image/png" in output.get("data", {})
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )


@pytest.mark.parametrize("name", SMALL)
def test_it_can_be_read_without_running(name):
    """Every cell was run in order, without an error, and nothing of the machine shows."""
    cells = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", "progress and warnings are noise"
            assert "/work" not in str(output) and "/root" not in str(output)
