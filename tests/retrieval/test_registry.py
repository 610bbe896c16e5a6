"""Retrievers and plugins of a user are known by their names, and refused in one clear line."""

from __future__ import annotations

import pytest

from rgan_tf import registered_names
from rgan_tf.config import Config
from rgan_tf.config_files import config_from_dict
from rgan_tf.errors import BadInput
from rgan_tf.plugins import load_plugins
from rgan_tf.retrieval import registry
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.retrieval.learned import LearnedRetriever
from rgan_tf.retrieval.registry import check_retriever, register_retriever, retriever_for
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.retrieval.rules import NearestRetriever
from rgan_tf.retrieval.selector import GroupRetrieval
from training.compare.entries import ABLATION, PARTS, SYSTEMS, entries_of
from training.evaluation.names import NAMES


class Mine(Retriever):
    name = "mine"


class Needy(NearestRetriever):
    def __init__(self, size):
        self.size = size


class Chooses(Mine):
    choose = NearestRetriever.choose


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """Whatever a test registers is gone afterwards."""
    names = list(registered_names.RETRIEVERS)
    monkeypatch.setattr(registry, "RETRIEVERS", dict(registry.RETRIEVERS))
    yield
    registered_names.RETRIEVERS[:] = names


def with_choice(name: str) -> Config:
    return config_from_dict({"retrieval": {"choice": name}})


def test_a_registered_retriever_is_a_value_of_the_config_and_a_row_of_a_comparison():
    register_retriever("mine", Chooses)
    assert isinstance(retriever_for(with_choice("mine")), Chooses)
    (entry,) = [e for e in entries_of({"c.yaml": Config()}, ["mine"]) if e.name == "mine"]
    assert "retrieval.choice=mine" in entry.settings
    for taken in ("mine", "nearest", "graph_nearest", "no_masks", "first_stages", "search"):
        with pytest.raises(ValueError, match="there is one of this name"):
            register_retriever(taken, Mine)


def test_the_reserved_names_are_those_of_the_tables():
    assert set(NAMES.values()) < set(registered_names.SYSTEMS)
    assert set(registered_names.VARIANTS) == {*ABLATION, *PARTS}
    assert {*SYSTEMS, *ABLATION, *PARTS} < set(registered_names.RESERVED)
    (base,) = {
        entry.base for entry in entries_of({"c.yaml": Config()}, ["sg2im"], shares_a_base=True)
    }
    assert base in registered_names.RESERVED


def test_what_is_not_a_retriever():
    with pytest.raises(ValueError, match="retriever 3: name it by letters"):
        register_retriever(3, Mine)
    with pytest.raises(ValueError, match="pass the class itself"):
        register_retriever("mine", Mine())
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        register_retriever("my-own", Mine)
    for needy in (Needy, lambda config: Mine()):
        with pytest.raises(ValueError, match="retriever 'mine': needs arguments, but is made with"):
            register_retriever("mine", needy)
    register_retriever("needy", lambda: Needy(3))
    assert retriever_for(with_choice("needy")).size == 3
    register_retriever("mute", Mine)
    with pytest.raises(BadInput, match="retriever mute: Mine has no method choose; define it"):
        retriever_for(with_choice("mute"))
    register_retriever("number", int)
    with pytest.raises(BadInput, match="retriever number: is not an rgan_tf.Retriever, but int"):
        retriever_for(with_choice("number"))


@pytest.mark.parametrize(
    "name", ["noise", "own", "learned", "first_stage", "retrievegan", "no_skip"]
)
def test_a_retriever_that_is_handed_over_bears_no_name_of_another_row(name):
    """By the name "noise" the generator would never be trained on patches."""
    mine = Chooses()
    check_retriever(mine)
    mine.name = name
    with pytest.raises(BadInput, match=f"retriever {name}: tables have another row of this name"):
        check_retriever(mine)


def test_a_retriever_that_is_handed_over_can_choose_and_has_a_name():
    for fine in (None, NearestRetriever(), LearnedRetriever()):
        check_retriever(fine)
    with pytest.raises(BadInput, match="retriever mine: Mine has no method choose; define it"):
        check_retriever(Mine())
    for name in (None, "", 3, "../mine"):
        mine = Chooses()
        mine.name = name
        with pytest.raises(BadInput, match="its name must be a text, without /"):
            check_retriever(mine)


def test_a_name_that_is_not_registered():
    register_retriever("nearest_colour", Mine)
    with pytest.raises(BadInput, match="did you mean 'nearest_colour'.*RGAN_PLUGINS"):
        with_choice("nearest_color")
    with pytest.raises(
        BadInput, match="system nobody: unknown; known are retrievegan.*RGAN_PLUGINS"
    ):
        entries_of({"c.yaml": Config()}, ["nobody"])


def test_plugins_are_imported_from_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "plugin_of_a_test.py").write_text(
        "import rgan_tf\n"
        "class P(rgan_tf.Retriever):\n    name = 'of_plugin'\n"
        "rgan_tf.register_retriever('of_plugin', P)\n"
    )
    monkeypatch.chdir(tmp_path)
    load_plugins({"RGAN_PLUGINS": " plugin_of_a_test, "})
    assert with_choice("of_plugin").retrieval.choice == "of_plugin"
    load_plugins({})  # nothing is named


@pytest.mark.parametrize("named", ["nowhere_to_be_found", "a b", "./a.py"])
def test_a_plugin_that_cannot_be_imported(named):
    with pytest.raises(BadInput, match=r"RGAN_PLUGINS: .*name modules as import does"):
        load_plugins({"RGAN_PLUGINS": named})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient": "within"}, "gradient must be one of within_group, expected, paper"),
        ({"temperature": 0.0}, "temperature must be above 0 and finite, got 0.0"),
        ({"temperature": float("inf")}, "temperature must be above 0 and finite, got inf"),
        ({"temperature": float("nan")}, "temperature must be above 0 and finite, got nan"),
        ({"embedding": [16, 8]}, "embedding must be a layer, got list"),
        ({"embedding": abs}, "embedding must be a layer, got builtin_function_or_method"),
        ({"embedding": PatchEmbedding}, "embedding must be a layer, got the class PatchEmbedding"),
    ],
)
def test_a_layer_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        GroupRetrieval(**options)
