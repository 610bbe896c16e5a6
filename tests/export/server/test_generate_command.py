"""`rgan generate --server`: the files that it writes without a server."""

from __future__ import annotations

import shutil

import pytest

from export.commands import generate
from export.service_errors import NotFound
from tests.export.arguments import generate_arguments

pytestmark = pytest.mark.usefixtures("loaded_once")

GRAPH = {
    "objects": ["sky", "grass", "tree"],
    "relationships": [[0, "above", 1], [2, "above", 1]],
    "boxes": [None, None, [0.2, 0.2, 0.6, 0.9]],
}


@pytest.mark.parametrize("protocol", [pytest.param("http", marks=pytest.mark.thorough), "grpc"])
def test_files_are_those_that_the_model_writes_by_itself(
    server, exported, write_graph, tmp_path, protocol
):
    port = server.rest_port if protocol == "http" else server.grpc_port
    graph = write_graph(GRAPH)
    # A client's machine has no SavedModel, only what describes it.
    contract = tmp_path / "contract" / "1" / "assets.extra"
    shutil.copytree(exported.version / "assets.extra", contract)
    far = generate_arguments(
        graph,
        tmp_path / "contract",
        tmp_path / "far",
        samples=2,
        server=f"{protocol}://127.0.0.1:{port}",
    )
    near = generate_arguments(graph, exported.folder, tmp_path / "near", samples=2)
    for arguments in (far, near):
        generate.main(arguments)
    names = sorted(path.name for path in (tmp_path / "near").iterdir())
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == names
    assert len(names) == 9  # four of each sample and the overview
    for name in names:
        far_file, near_file = tmp_path / "far" / name, tmp_path / "near" / name
        assert far_file.read_bytes() == near_file.read_bytes(), name


def test_a_model_that_is_not_served_leaves_nothing_behind(server, exported, write_graph, tmp_path):
    arguments = generate_arguments(
        write_graph(GRAPH),
        exported.folder,
        tmp_path / "out",
        server=f"http://127.0.0.1:{server.rest_port}",
        name="other",
    )
    with pytest.raises(NotFound, match="'other'"):
        generate.main(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["graph.json"]
