"""The tables of docs/serving.md are those of the contract."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from export.publishing.serving_files import FILES
from export.signatures import (
    ALL_MODES,
    ALLOWED_BATCHES,
    INPUTS,
    MAX_BATCH,
    MAX_SEED,
    MAX_TEMPERATURE,
    OUTPUTS,
    VERSION,
)
from rgan_tf.scene_graph import MAX_FILE_BYTES, MAX_OBJECTS, MAX_RELATIONSHIPS

PAGE = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
LETTERS = {"objects": "O", "triples": "T", "licences": "L", "width": "W", "own_patch": "S"}
LETTERS["candidates"] = "K"


def table(page, title):
    """Cells of the rows below a table's head that begins with `title`."""
    lines = page.split(f"| {title} |")[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def fields(page, title):
    """(name, shape) -> type, endpoints, as the page has them."""
    found = {}
    for name, dtype, shape, endpoints, _ in table(page, title):
        key = (name.strip("`"), shape)
        assert key not in found, "listed twice"
        names = set(re.findall(r"`(\w+)`", endpoints))
        if endpoints.startswith("all"):
            names = set(INPUTS) - names
        found[key] = (dtype, names)
    return found


def declared(contract):
    """The same from the contract."""
    found = {}
    for endpoint, table_ in contract.items():
        for field in table_:
            shape = ", ".join(str(LETTERS.get(size, size)) for size in field.shape) or "-"
            found.setdefault((field.name, shape), (field.dtype, set()))[1].add(endpoint)
    return found


@pytest.mark.parametrize(("title", "contract"), [("input", INPUTS), ("output", OUTPUTS)])
def test_fields(title, contract):
    assert fields(PAGE, title) == declared(contract)


def test_a_field_that_is_wrong_would_be_noticed():
    assert fields(PAGE.replace("| int32 | T, 3 |", "| int32 | T, 4 |"), "input") != declared(INPUTS)
    assert fields(PAGE.replace("| O, W | `encode` |", "| O, W | all |"), "output") != declared(
        OUTPUTS
    )


def test_endpoints_and_version():
    assert [row[0].strip("`") for row in table(PAGE, "endpoint")] == list(INPUTS)
    assert f"\nVersion {VERSION}, " in PAGE


def test_limits():
    *some, last = ALLOWED_BATCHES
    modes = range(len(ALL_MODES))
    assert dict(table(PAGE, "limit")) == {
        "rows of a request": f"1 to {MAX_BATCH}; a server should run "
        f"{', '.join(map(str, some))} or {last} at once",
        "`mode`": f"{', '.join(map(str, modes[:-1]))} or {modes[-1]}",
        "`seed`": f"0 to {MAX_SEED}",
        "`temperature`": f"above 0, at most {MAX_TEMPERATURE:g}",
        "objects, relationships": "O and T of the model, and at most "
        f"{MAX_OBJECTS} and {MAX_RELATIONSHIPS}",
        "bytes of a graph file": str(MAX_FILE_BYTES),
    }


def test_the_servers_files():
    assert [row[0].strip("`") for row in table(PAGE, "file")] == list(FILES)
