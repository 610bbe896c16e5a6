"""Settings that change nothing are named, and no others."""

from __future__ import annotations

import pytest

from rgan_tf.config import Config, changed
from rgan_tf.config_files import flat_settings
from rgan_tf.idle_settings import OF_JOINT_STAGE, idle_line, idle_settings, names_of
from rgan_tf.registered_names import RIVALS, RULES


def _of(system: str, **sections) -> Config:
    return changed(Config(), training={"system": system}, **sections)


@pytest.mark.parametrize("system", RIVALS)
def test_a_rival_has_none_of_what_is_retrievegans_own(system):
    given = ["generator.masks", "discriminators.judged", "losses.selection", "retrieval.choice"]
    on = {"generator": {"masks": True}}
    why = f"training.system={system}"
    assert idle_settings(_of(system, **on), given) == {why: given}
    assert idle_settings(_of("retrievegan", **on), given) == {}


def test_what_is_switched_off_is_off_with_any_system():
    """As rgan compare switches off for rivals what they do not have."""
    given = ["generator.masks", "retrieval.redraw_every_steps", "training.relit_patches"]
    assert idle_settings(_of("sg2im"), given) == {}


@pytest.mark.parametrize("system", ["retrievegan", *RIVALS])
def test_what_the_first_two_stages_read_is_never_idle(system):
    """Every run trains them."""
    config = _of(
        system,
        discriminators={"gradient_penalty": 1.0, "feature": True},
        retrieval={"embedding_steps": 1, "candidates": 99},
        data={"bank_on_device": True},
    )
    config = changed(config, training={"predicted_boxes": 0.5})
    read = [key for key in flat_settings(config) if not key.startswith(OF_JOINT_STAGE)]
    idle = ["data.bank_on_device"] if system != "retrievegan" else []
    assert [key for keys in idle_settings(config, read).values() for key in keys] == idle


@pytest.mark.parametrize(
    ("system", "used"),
    [
        ("sg2im", []),
        ("layout2im", []),
        ("pastegan", ["retrieval.candidates", "losses.perceptual_backbone", "retrieval.index"]),
        ("attngan", ["attngan.stages", "attngan.damsm_steps"]),
        ("retrievegan", ["retrieval.candidates", "retrieval.index", "losses.perceptual_backbone"]),
    ],
)
def test_a_system_has_what_it_uses(system, used):
    some = ["retrieval.candidates", "retrieval.index", "losses.perceptual_backbone"]
    some += ["attngan.stages", "attngan.damsm_steps"]
    config = _of(system, attngan={"stages": 2})
    idle = [key for keys in idle_settings(config, some).values() for key in keys]
    assert idle == [key for key in some if key not in used]
    assert not idle_settings(_of(system), ["retrieval.backbone", "training.system", "data.flip"])


@pytest.mark.parametrize(
    ("key", "switch"),
    [
        ("discriminators.feature_channels", {"discriminators": {"feature": True}}),
        ("losses.adversarial_feature", {"discriminators": {"feature": True}}),
        (
            "discriminators.gradient_penalty_every_steps",
            {"discriminators": {"gradient_penalty": 1}},
        ),
        ("training.predicted_boxes_from", {"training": {"predicted_boxes": 0.1}}),
        ("retrieval.embedding_scenes", {"retrieval": {"embedding_steps": 1}}),
        ("retrieval.embedding_learning_rate", {"retrieval": {"embedding_steps": 1}}),
        ("retrieval.loaded_candidates", {"retrieval": {"candidates": 99}}),
        ("retrieval.cache_max_age_steps", {"retrieval": {"candidates": 99}}),
        ("data.bank_on_device", {"retrieval": {"candidates": 99}}),
    ],
)
def test_what_belongs_to_a_switch_that_is_off_is_idle(key, switch):
    config = changed(Config(), data={"bank_on_device": True})
    assert list(idle_settings(config, [key]).values()) == [[key]]
    assert idle_settings(changed(Config(), **switch), [key]) == {}


@pytest.mark.parametrize("choice", [*RULES, "learned", "ones_own"])
def test_a_rule_learns_no_choice(choice):
    config = _of("retrievegan", retrieval={"choice": choice, "embedding_steps": 5})
    given = ["losses.selection", "losses.cooccurrence", "retrieval.gradient"]
    given += ["retrieval.embedding_steps", "retrieval.embedding_scenes"]
    is_rule = choice in RULES
    assert idle_settings(config, given) == (
        {f"retrieval.choice={choice}": given} if is_rule else {}
    )
    assert not idle_settings(config, ["retrieval.choice", "retrieval.candidates", "losses.box"])


def test_a_section_is_idle_if_all_of_it_is():
    assert idle_settings(_of("sg2im"), ["generator", "attngan", "retrieval", "losses"]) == {
        "training.system=sg2im": ["generator", "attngan"]
    }


def test_they_are_told_in_one_line():
    given = names_of(["generator.skip=true", " generator.masks = true", "training.steps=3"])
    given += ["discriminators.gradient_penalty_every_steps", "generator.skip"]
    on = {"generator": {"masks": True, "skip": True}}
    assert idle_line(_of("sg2im", **on), given) == (
        "--set: nothing is changed by generator.skip, generator.masks with training.system=sg2im; "
        "discriminators.gradient_penalty_every_steps with discriminators.gradient_penalty=0"
    )
    assert idle_line(_of("retrievegan", **on), ["generator.masks"]) == ""
