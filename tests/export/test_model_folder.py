"""What clients read of a model's folder, also of one that an earlier version wrote."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tensorflow as tf

from export import model_folder
from export.edits import is_same_patch
from export.model_folder import ModelFolder, open_contract, write_extra
from export.saved_model_loading import load_saved_model
from export.signatures import Sizes
from rgan_tf.scene_graph import parse_scene_graph
from rgan_tf.vocabulary import Vocabulary

APART = "ba\u0308ume"


@pytest.fixture
def old_model(tmp_path, monkeypatch) -> ModelFolder:
    """Of a category whose accent is apart, as an earlier version stored it."""
    vocabulary = Vocabulary.from_categories([APART, "sky"])
    sizes = Sizes(
        objects=8,
        triples=16,
        crop=32,
        own_patch=64,
        image=64,
        width=8,
        patches=1,
        num_objects=vocabulary.num_objects,
        num_predicates=vocabulary.num_predicates,
        licences=1,
        candidates=4,
    )
    (tmp_path / "model" / "1").mkdir(parents=True)
    with monkeypatch.context() as patched:
        patched.setattr(model_folder, "with_composed_name", lambda row: row)
        write_extra(
            tmp_path / "model" / "1",
            vocabulary=vocabulary,
            sizes=sizes,
            scale=1.0,
            licences=("BY",),
            config_yaml="",
            provenance=[{"category": APART, "image_id": 0, "box": [0, 0, 1, 1]}],
            origin={},
        )
    return open_contract(tmp_path / "model")


def test_names_are_as_graphs_have_them(old_model):
    graph = parse_scene_graph({"objects": [APART]})
    (row,) = old_model.provenance
    assert row["category"] == graph.objects[0]  # else its own patch would be of another category
    assert set(graph.objects) < set(old_model.vocabulary.categories)
    for written in (APART, graph.objects[0]):  # beside a picture, by either version
        assert is_same_patch({**row, "id": 0, "category": written}, old_model)
    assert not is_same_patch({**row, "id": 0, "category": "sky"}, old_model)


@pytest.mark.parametrize("name", ["model", "model[2]"])
def test_a_model_may_be_moved_to_a_folder_of_any_name(tmp_path, name):
    """TensorFlow takes [2] for a pattern that matches one letter."""
    model = tf.Module()
    model.two = tf.Variable(2.0)
    tf.saved_model.save(model, str(tmp_path / "model"))
    (tmp_path / "model").rename(tmp_path / name)
    loaded = load_saved_model(SimpleNamespace(folder=tmp_path / name, manifest={}))
    assert loaded.two.numpy() == 2.0
