"""The licence filter: in the graph per row, and as `rgan generate --licence`."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from export.commands import generate
from export.signatures import DETERMINISTIC, GENERATE, empty_request
from rgan_tf.errors import BadInput
from rgan_tf.storage.image import encode_png
from tests.export.arguments import generate_arguments

OBJECTS = ["sky", "grass", "tree"]
GRAPH = {"objects": OBJECTS, "relationships": [[0, "above", 1]]}


def rows(exported, *refused):
    """One row per list of refused codes: sky, grass and a tree, without noise."""
    model = exported.model
    request = empty_request(GENERATE, model.sizes, len(refused))
    request["objects"][:, :3] = [model.vocabulary.object_id(name) for name in OBJECTS]
    request["mode"][:] = DETERMINISTIC
    for row, codes in enumerate(refused):
        request["licences_refused"][row] = [code in codes for code in model.licences]
    return request


def codes_of(exported, ids):
    return {exported.code_of(patch) for patch in ids if patch >= 0}


def test_an_empty_request_allows_all(exported):
    assert not empty_request(GENERATE, exported.model.sizes, 2)["licences_refused"].any()
    assert exported.model.licences == ("public-domain", "BY", "BY-NC")


def test_each_row_of_a_batch_has_a_filter_of_its_own(exported, ask):
    filters = [[], ["BY"], ["BY", "BY-NC"], ["public-domain", "BY"], []]
    reply = ask(GENERATE, **rows(exported, *filters))
    for row, refused in enumerate(filters):
        assert not codes_of(exported, reply["patch_ids"][row]) & set(refused)
        assert (reply["patch_ids"][row, :3] >= 0).all()
        alone = ask(GENERATE, **rows(exported, refused))
        np.testing.assert_array_equal(alone["patch_ids"][0], reply["patch_ids"][row])
    free = reply["patch_ids"][0].tolist()
    assert free == reply["patch_ids"][4].tolist()
    # The filter is what changes the choice: what was chosen freely is not all of one licence.
    assert any(reply["patch_ids"][row].tolist() != free for row in (1, 2, 3))


def test_a_row_that_refuses_all_gets_no_patch_and_the_others_do(exported, ask):
    reply = ask(GENERATE, **rows(exported, exported.codes, []))
    assert (reply["patch_ids"][0] == -1).all()
    assert reply["patch_crops_bytes"][0].tolist() == [b""] * len(reply["patch_ids"][0])
    assert (reply["patch_scores"][0] == -1).all() and (reply["order"][0] == -1).all()
    assert (reply["patch_ids"][1, :3] >= 0).all()


def test_a_locked_patch_of_a_refused_licence_is_refused_by_field_and_row(exported, ask):
    patch = 4
    others = [code for code in exported.codes if code != exported.code_of(patch)]
    request = rows(exported, [], others, others)
    request["patch_ids"][:, 1] = patch
    assert ask(GENERATE, **request)["patch_ids"][:, 1].tolist() == [patch] * 3
    request["licences_refused"][2] = ~request["licences_refused"][2]
    message = r"patch_ids: names a patch whose licence is refused .*wrong in row\] \[2\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask(GENERATE, **request)


@pytest.fixture
def run(exported, loaded_once, write_graph, tmp_path):
    """`rgan generate` with these licences; returns the result and the samples' JSON."""

    def call(licence, graph=GRAPH, samples=3):
        arguments = generate_arguments(
            write_graph(graph),
            exported.folder,
            tmp_path / "out",
            samples=samples,
            licence=licence,
        )
        result = generate.main(arguments)
        names = sorted((tmp_path / "out").glob("sample-*.json"))
        return result, [json.loads(name.read_text()) for name in names]

    return call


def objects_of(samples):
    return [item for sample in samples for item in sample["objects"]]


def test_generate_uses_only_what_is_allowed(run, exported):
    _, samples = run(["by", "BY-SA,public-domain"])
    patches = [item["patch"] for item in objects_of(samples)]
    assert len(patches) == 9
    assert codes_of(exported, [patch["id"] for patch in patches]) <= {"BY", "public-domain"}
    assert {patch["licence"] for patch in patches} <= {
        "Attribution License",
        "No known copyright restrictions",
    }


def test_a_category_with_few_patches_keeps_to_them(run, exported):
    """Every category of the bank, and few have as many patches as there are candidates."""
    categories = [row["category"] for row in exported.model.provenance]
    names = sorted(set(categories), key=categories.count)
    assert categories.count(names[0]) < exported.run.config.retrieval.candidates
    size = exported.model.sizes.objects
    graphs = [{"objects": names[i : i + size]} for i in range(0, len(names), size)]
    result, samples = run(None, graphs, samples=2)
    for item in objects_of(samples):
        assert item["category_found"] and item["patch"]["category"] == item["category"]
    assert result["fallbacks"] == 0 and result["other_category"] == []


def test_a_category_without_an_allowed_patch_is_told_and_so_is_what_the_user_locks(
    run, exported, caplog, tmp_path
):
    rows = exported.model.provenance
    allowed = {row["category"] for i, row in enumerate(rows) if exported.code_of(i) == "BY"}
    without = next(n for n in exported.model.vocabulary.objects[2:] if n not in allowed)
    (tmp_path / "red.png").write_bytes(encode_png(np.full([40, 40, 3], 9, np.uint8)))
    other = next(i for i, row in enumerate(rows) if row["category"] == "grass" and i % 3 == 0)
    graph = {
        "objects": [without, "sky", "tree", without],
        "relationships": [],
        "patches": [None, None, other, "red.png"],
    }
    result, samples = run(["BY"], graph, samples=4)
    found = [[item["category_found"] for item in sample["objects"]] for sample in samples]
    assert found == [[False, True, False, True]] * 4
    items = objects_of(samples)
    ids = [item["patch"]["id"] for item in items if item["patch"]["id"] is not None]
    assert codes_of(exported, ids) == {"BY"}
    assert result["fallbacks"] == 4  # what the model had to take, not what the user chose
    taken = Counter(sample["objects"][0]["patch"]["category"] for sample in samples)
    expected = [(0, without, name, "model", n) for name, n in taken.items()]
    expected.append((2, "tree", "grass", "user", 4))
    keys = ("object", "wanted", "taken", "chosen_by", "samples")
    found = [tuple(entry[key] for key in keys) for entry in result["other_category"]]
    assert sorted(found) == sorted(expected)
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    for name in taken:
        (line,) = [line for line in lines if f"got a patch of {name}" in line]
        assert line.startswith(f"graph 0: object 0 ({without}) got a patch of {name}")
        assert line.endswith(f": the model has no patch of {without} under BY")
    assert "graph 0: object 2 (tree) has a patch of grass, as the graph says" in lines


def refused(run, tmp_path, message, licence, graph=GRAPH):
    with pytest.raises(BadInput, match=message) as caught:
        run(licence, graph)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_bad_filters_and_refused_patches_are_one_line_each(run, exported, tmp_path):
    refused(run, tmp_path, "--licence 'GPL': not known; choose from .*BY-SA", ["BY,GPL"])
    refused(
        run,
        tmp_path,
        "--licence BY-SA: no patch of .* is under it; its patches are under public-domain, BY, BY-",
        ["by-sa"],
    )
    locked = {**GRAPH, "patches": [None, 3, None]}
    assert exported.code_of(3) == "BY"
    refused(
        run,
        tmp_path,
        r"graph.json: patches\[1\]: this patch is under BY \('Attribution License'\), --licence "
        "allows public-domain; name another",
        ["public-domain"],
        locked,
    )


def test_the_users_own_images_have_no_licence_to_refuse(run, tmp_path):
    (tmp_path / "mine.png").write_bytes(encode_png(np.zeros([40, 40, 3], np.uint8)))
    _, samples = run(["BY"], {**GRAPH, "patches": ["mine.png", 3, None]}, samples=1)
    paths = [item["patch"].get("path") for item in samples[0]["objects"]]
    assert paths == ["mine.png", None, None]
