"""Which rows a comparison has, and what is trained for them."""

from __future__ import annotations

import dataclasses

import yaml

from rgan_tf import registered_names
from rgan_tf.config import Config, changed
from rgan_tf.config_files import config_from_dict, config_to_dict
from rgan_tf.registered_names import RIVALS
from rgan_tf.runs import stages_of
from training.compare.entries import _SETTINGS, ABLATION, PARTS, SYSTEMS, entries_of
from training.configuration import named_config
from training.evaluation.names import NAMES


def with_steps(first, joint):
    config = Config()
    return dataclasses.replace(
        config,
        sg2im=dataclasses.replace(config.sg2im, steps=first),
        training=dataclasses.replace(config.training, steps=joint),
    )


def test_one_row_a_system_and_one_base():
    entries = {entry.name: entry for entry in entries_of({"my.yaml": with_steps(9, 5)}, SYSTEMS)}
    assert list(entries)[0] == "retrievegan" and set(entries) == set(SYSTEMS)
    assert entries["retrievegan"].base is None
    assert entries["pasted_canvas"].run == entries["first_stage"].run == "retrievegan"
    others = ("pastegan_style", "graph_nearest", "layout2im_style", "oracle_patches")
    for name in (*others, *registered_names.RIVALS):
        assert entries[name].base == "retrievegan" and entries[name].run == name
        assert entries[name].steps == 5


def test_settings_are_of_the_config_and_names_of_the_evaluation():
    for settings in _SETTINGS.values():
        raw: dict = {}
        for setting in settings:
            key, value = setting.split("=")
            section, name = key.split(".")
            raw.setdefault(section, {})[name] = yaml.safe_load(value)
        config_from_dict(raw)
    for name, settings in _SETTINGS.items():
        rule = dict(setting.split("=") for setting in settings).get("retrieval.choice")
        assert rule is None or NAMES[rule] == name
        system = dict(setting.split("=") for setting in settings).get("training.system")
        assert (system == name) if name in registered_names.RIVALS else system is None
    assert set(NAMES) == set(registered_names.RETRIEVERS)


def test_several_configs_share_nothing():
    configs = {"a/x.yaml": with_steps(9, 5), "b/x.yaml": with_steps(9, 5)}
    entries = entries_of(configs, ["retrievegan", "graph_nearest"])
    assert [entry.name for entry in entries] == [
        "x-retrievegan",
        "x-graph_nearest",
        "x_2-retrievegan",
        "x_2-graph_nearest",
    ]
    assert [entry.base for entry in entries] == [None, "x-retrievegan", None, "x_2-retrievegan"]


def test_the_ablation_is_retrievegan_without_losses():
    entries = entries_of({"c.yaml": Config()}, ["retrievegan", *ABLATION])
    assert {entry.system for entry in entries} == {"retrievegan"}
    assert len({entry.settings for entry in entries}) == 4


def test_a_row_without_the_selection_loss_has_no_stage_that_trains_by_it():
    phi = "retrieval.embedding_steps=5"
    config = named_config("procedural_64", [phi])
    stages = {
        entry.name: stages_of(named_config("procedural_64", [phi, *entry.settings]))
        for entry in entries_of({"c.yaml": config}, ["retrievegan", *ABLATION])
    }
    assert {name for name, steps in stages.items() if "embedding" in steps} == {
        "retrievegan",
        "no_cooccurrence_loss",
    }


def test_first_stages_of_rows_that_learn_no_choice_have_no_stage_of_phi():
    """It takes longer than training the rivals, who would never look at it."""
    config = named_config("procedural_64", ["retrieval.embedding_steps=5"])

    def has_one(*systems):
        entries = entries_of({"c.yaml": config}, systems, shares_a_base=True)
        (settings,) = {entry.base_settings for entry in entries}
        overrides = ["retrieval.embedding_steps=5", *settings]
        return "embedding" in stages_of(named_config("procedural_64", overrides))

    assert not has_one(*RIVALS, "pastegan_style", "oracle_patches", "no_retrieval_losses")
    assert has_one(*RIVALS, "retrievegan")
    assert has_one("no_cooccurrence_loss")


def test_a_row_that_a_config_does_not_have_asks_for_no_stage_of_phi():
    """`no_masks` is left out where there are none, and the rivals are alone there."""
    configs = {
        name: changed(Config(), retrieval={"embedding_steps": 5}, generator={"masks": masks})
        for name, masks in (("with.yaml", True), ("without.yaml", False))
    }
    entries = entries_of(configs, ("sg2im", "no_masks"))
    found = {(entry.name, entry.config, entry.base_settings[1:]) for entry in entries}
    assert found == {
        ("with-sg2im", "with.yaml", ()),
        ("with-no_masks", "with.yaml", ()),
        ("without-sg2im", "without.yaml", ("retrieval.embedding_steps=0",)),
    }


def test_every_part_is_on_in_a_shipped_config_and_off_in_its_row():
    """A row that changes nothing would show nothing."""
    without = {
        "street_64": {"no_half_size_patches", "no_embedding_stage"},
        "procedural_64": {"no_exchanged_patches"},
    }
    for name, lacking in without.items():
        config = named_config(name, [])
        whole = config_to_dict(config)
        entries = entries_of({name: config}, ["retrievegan", *PARTS])
        parts = [part for part in PARTS if part not in lacking]
        assert [entry.name for entry in entries] == ["retrievegan", *parts]
        for entry in entries[1:]:
            assert entry.system == "retrievegan" and entry.base == "retrievegan"
            for setting in entry.settings:
                key, value = setting.split("=")
                section, field = key.split(".")
                assert whole[section][field] != yaml.safe_load(value), setting
    assert not set.intersection(*without.values())


def test_a_row_without_a_part_that_is_not_there_is_not_a_row():
    """It would be trained for hours, and differ by its noise."""
    paper, street = named_config("faithful_64", []), named_config("street_64", [])
    names = ["retrievegan", *PARTS]
    assert [entry.name for entry in entries_of({"faithful_64": paper}, names)] == ["retrievegan"]
    both = entries_of({"street_64": street, "faithful_64": paper}, ["retrievegan", "no_masks"])
    assert [entry.name for entry in both] == [
        "street_64-retrievegan",
        "street_64-no_masks",
        "faithful_64-retrievegan",
    ]
    without = changed(street, losses={"selection": 0.0})
    rows = [entry.name for entry in entries_of({"c": without}, ["retrievegan", *ABLATION])]
    assert rows == ["retrievegan", "no_cooccurrence_loss", "no_retrieval_losses"]
