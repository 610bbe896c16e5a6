"""What a config file may say, and that everything else is one clear refusal."""

from __future__ import annotations

import contextlib
import dataclasses
import typing
from collections.abc import Callable

import numpy as np
import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rgan_tf import registered_names
from rgan_tf.backbones.backbone import MIN_PERCEPTUAL_SIDE
from rgan_tf.config import Config
from rgan_tf.config_files import config_from_dict, config_to_dict, config_to_yaml, load_config
from rgan_tf.errors import BadInput
from training.configuration import CONFIG_FOLDER

SHIPPED = sorted(path.stem for path in CONFIG_FOLDER.glob("*.yaml"))


@pytest.fixture
def write(tmp_path):
    """Writes a config file and returns its path."""

    def write_text(text: str):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def refusal(raw: dict) -> str:
    with pytest.raises(BadInput) as caught:
        config_from_dict(raw, "my.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("my.yaml: ")
    return message


def nested(key: str, value) -> dict:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def test_nothing_said_is_the_default(write):
    assert config_from_dict({}) == Config()
    assert load_config(write("data:\n")) == Config()  # an empty section


def test_says_what_it_was_told():
    config = config_from_dict({"data": {"image_size": 128}, "training": {"beta_2": 0}})
    assert config.data.image_size == 128
    assert config.training.beta_2 == 0.0 and isinstance(config.training.beta_2, float)
    assert config.data.crop_size == Config().data.crop_size


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("dta", {}, ("unknown key dta", "data, discriminators")),
        ("data.image_sise", 64, ("unknown key data.image_sise", "image_size")),
        ("data", 3, ("data must be a section",)),
        ("data", [], ("data must be a section",)),
        ("data", False, ("data must be a section",)),
        ("data.image_size", "64", ("data.image_size must be int", "'64'")),
        ("data.image_size", 64.0, ("data.image_size must be int", "64.0")),
        ("data.image_size", True, ("data.image_size must be int", "True")),
        ("data.image_size", None, ("data.image_size must be int", "None")),
        ("data.flip", 1, ("data.flip must be bool",)),
        ("training.jit_compile", "on", ("training.jit_compile must be true, false or auto",)),
        ("training.jit_compile", 1, ("training.jit_compile must be true, false or auto",)),
        ("name", 3, ("name must be str",)),
        ("training.beta_1", "high", ("training.beta_1 must be float", "'high'")),
        ("training.beta_1", [0.1], ("training.beta_1 must be float",)),
        ("retrieval.embedding_sizes", 3, ("retrieval.embedding_sizes must be",)),
        ("retrieval.embedding_sizes", [], ("retrieval.embedding_sizes must be",)),
        ("retrieval.embedding_sizes", [8, 0], ("retrieval.embedding_sizes must be above 0",)),
        ("retrieval.embedding_sizes", [8, 1.5], ("retrieval.embedding_sizes must be int",)),
        ("retrieval.backbone", "vgg16", ("mobilenet_v2, resnet50", "'vgg16'")),
        ("losses.adversarial", "wgan", ("hinge, non_saturating",)),
        ("losses.box", -1.0, ("losses.box must be at least 0, got -1.0",)),
        ("losses.box", float("nan"), ("losses.box must be at least 0, got nan",)),
        ("losses.box", float("inf"), ("losses.box",)),
        ("losses.box", 10**400, ("losses.box",)),
        ("losses.perceptual_selected_share", 1.5, ("at most 1",)),
        ("retrieval.candidates", 0, ("retrieval.candidates must be above 0, got 0",)),
        ("retrieval.loaded_candidates", 33, ("at most retrieval.exact_candidates (32)", "33")),
        ("retrieval.exact_candidates", 7, ("at most retrieval.exact_candidates (7)", "got 8")),
        ("retrieval.exact_candidates", 0, ("retrieval.exact_candidates must be above 0",)),
        ("retrieval.cache_max_age_steps", 0, ("retrieval.cache_max_age_steps must be above 0",)),
        ("training.generator_learning_rate", 0, ("above 0",)),
        ("training.steps", -1, ("training.steps must be at least 0",)),
        ("attngan.damsm_batch_size", 1, ("attngan.damsm_batch_size must be at least 2",)),
        ("training.beta_1", 1.0, ("training.beta_1 must be below 1",)),
        ("training.seed", 2**31, ("training.seed must be at most 2147483647",)),
        ("cooccurrence.margin", 2.5, ("cooccurrence.margin must be at most 2",)),
        ("data.image_size", 72, ("multiple of 16", "72")),
        ("data.image_size", 16, ("at least 32", "16")),
        ("data.crop_size", 24, ("power of two", "24")),
        ("data.crop_size", 4, ("power of two", "4")),
        ("generator.decoder_channels", [64, 32, 16], ("2 entries", "got 3")),
        ("sg2im.decoder_channels", [8] * 7, ("7 entries", "multiple of 128", "got 64")),
        ("discriminators.object_crop_size", 16, ("object_crop_size", "32", "16")),
    ],
)
def test_refuses(key, value, says):
    message = refusal(nested(key, value))
    assert all(part in message for part in says), message


NUMERIC = {
    f"{section.name}.{name}": kind
    for section in dataclasses.fields(Config)
    if dataclasses.is_dataclass(section.default)
    for name, kind in typing.get_type_hints(type(section.default)).items()
    if kind in (int, float, tuple[int, ...])
}
NO_NUMBERS = [float("nan"), float("inf"), float("-inf"), -1, True, "x", None, {}, [], -(16**5000)]


@pytest.mark.parametrize("key", NUMERIC)
def test_every_numeric_key_refuses_what_is_not_a_number_for_it(key):
    kind = NUMERIC[key]
    wrong = [*NO_NUMBERS, 1e39 if kind is float else 2**31]
    if kind not in (int, float):
        wrong += [[8, value] for value in wrong]
    for value in wrong:
        message = refusal(nested(key, value))
        assert message.startswith(f"my.yaml: {key} "), message
        assert len(message) < 200


def test_smallest_crop_is_what_the_perceptual_networks_need():
    config_from_dict(nested("discriminators.object_crop_size", MIN_PERCEPTUAL_SIDE))
    refusal(nested("discriminators.object_crop_size", MIN_PERCEPTUAL_SIDE - 1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "not YAML"),
        ("a: !!python/object/apply:os.system ['false']", "not YAML"),
        ("- 1\n- 2", "expected sections of keys, got list"),
        ("", "got NoneType"),
        ("\x00", "not YAML"),
        ("training: {steps: 5}\ndata:\ntraining: {seed: 3}", "key training is given twice"),
        ("data:\n  flip: true\n  flip: false", "key flip is given twice .* line 3"),
        pytest.param("[" * 3000, "not YAML", id="nested"),
    ],
)
def test_refuses_a_file(write, text, says):
    path = write(text)
    with pytest.raises(BadInput, match=says) as caught:
        load_config(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_key_that_is_merged_in_is_not_given_twice(write):
    """A part that another part begins from may be overridden, also before it is read itself."""
    text = "data: {<<: &base {max_triples: 3, max_objects: 4}, max_objects: 5}\n"
    config = load_config(write(f"{text}graph: {{<<: {{width: 8}}, width: 16}}"))
    assert (config.data.max_objects, config.data.max_triples, config.graph.width) == (5, 3, 16)


def test_refuses_what_is_not_a_text_file(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(BadInput, match="directory"):
        load_config(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfa\x00")
    with pytest.raises(BadInput, match="not YAML"):
        load_config(tmp_path / "binary.yaml")


def test_overrides_win_and_the_last_one_most(write):
    path = write("name: mine\ntraining: {steps: 5}\ndata:\n")
    config = load_config(
        path,
        [
            "training.steps=6",
            "training.steps=7",
            "data.flip=true",
            "graph.width=16",
            "retrieval.embedding_sizes=[4, 2]",
            "training.generator_learning_rate=1e-4",
        ],
    )
    assert config.training.steps == 7
    assert config.data.flip is True
    assert config.graph.width == 16
    assert config.retrieval.embedding_sizes == (4, 2)
    assert config.training.generator_learning_rate == pytest.approx(1e-4)
    assert config.name == "mine"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.steps", "write section.key=value"),
        ("training.steps=[1", "not YAML"),
        pytest.param("training.steps=" + "[" * 3000, "not YAML", id="nested"),
        ("training.stps=1", "unknown key training.stps"),
        ("training.steps.more=1", "steps is not a section"),
        ("name.more=1", "name is not a section"),
        ("training=1", "training must be a section"),
        ("=1", "unknown key"),
        ("training.steps=many", "training.steps must be int"),
    ],
)
def test_refuses_an_override(write, override, says):
    with pytest.raises(BadInput, match=says):
        load_config(write("name: mine\ntraining: {steps: 5}"), [override])


FRACTION = st.floats(0, 1, exclude_max=True)
BY_KIND = {
    int: st.integers(1, 10**6),
    float: st.floats(1e-8, 1e6),
    bool: st.booleans(),
    bool | typing.Literal["auto"]: st.sampled_from([True, False, "auto"]),
    str: st.text(max_size=20),
    tuple[int, ...]: st.lists(st.integers(1, 300), min_size=1, max_size=4),
}
NARROWER = {
    "attngan.damsm_batch_size": st.integers(2, 10**6),
    "attngan.stages": st.integers(0, 4),
    "data.image_size": st.sampled_from([32, 64, 96, 128, 256]),
    "data.crop_size": st.sampled_from([8, 16, 32, 64]),
    "discriminators.object_crop_size": st.integers(32, 128),
    "generator.decoder_channels": st.lists(st.integers(1, 64), min_size=2, max_size=2),
    "cooccurrence.margin": st.floats(0, 2),
    "retrieval.exact_candidates": st.integers(8, 10**6),
    "retrieval.loaded_candidates": st.integers(1, 32),
    "retrieval.selection_loss": st.sampled_from(["one_step", "iterative", "every_object"]),
    "retrieval.cooccurrence_loss": st.sampled_from(["expected", "sampled"]),
    "retrieval.embedding_start": st.sampled_from(["random", "frozen"]),
    "retrieval.gradient": st.sampled_from(["within_group", "expected", "paper"]),
    "retrieval.index": st.sampled_from(["auto", "exact", "scann"]),
    "retrieval.choice": st.sampled_from(registered_names.RETRIEVERS),
    "retrieval.backbone": st.sampled_from(["mobilenet_v2", "resnet50", "squeezenet"]),
    "losses.adversarial": st.sampled_from(["hinge", "non_saturating"]),
    "losses.perceptual_backbone": st.sampled_from(["squeezenet", "vgg19", "mobilenet_v2"]),
    "retrieval.temperature_anneal_fraction": FRACTION,
    "cooccurrence.same_category_negatives": FRACTION,
    "training.beta_1": FRACTION,
    "training.beta_2": FRACTION,
    "training.ema_decay": FRACTION,
    "losses.perceptual_selected_share": FRACTION,
    "training.predicted_boxes": FRACTION,
    "training.relit_patches": FRACTION,
    "training.exchanged_patches": FRACTION,
    "data.incomplete_scenes": FRACTION,
    "retrieval.half_size_patches": FRACTION,
    "training.loss_jump": st.floats(1.5, 100),
    "training.predicted_boxes_from": FRACTION,
    "training.system": st.sampled_from(["retrievegan", *registered_names.RIVALS]),
    "training.scale_with_replicas": st.sampled_from(["none", "linear", "sqrt"]),
    "training.precision": st.sampled_from(["float32", "bfloat16", "float16"]),
    "discriminators.judged": st.sampled_from(["both", "selected"]),
    "discriminators.augmentation": st.sampled_from(["none", "color", "color,cutout"]),
}
ALLOWED = {
    f"{section}.{key}": NARROWER.get(f"{section}.{key}", BY_KIND.get(kind))
    for section, cls in typing.get_type_hints(Config).items()
    if dataclasses.is_dataclass(cls)
    for key, kind in typing.get_type_hints(cls).items()
}
"""Per setting, values that are allowed where nothing else is said."""


@st.composite
def raw_configs(draw):
    """Some settings with values that are allowed together.

    What a rule forbids beside the settings before it is left out, so no draw is refused, whatever
    rules there are; `test_refuses` has the rules by name.
    """
    raw = {"name": draw(st.text(max_size=20))}
    for name in draw(st.lists(st.sampled_from(sorted(ALLOWED)), unique=True, max_size=15)):
        section, key = name.split(".")
        grown = {**raw, section: {**raw.get(section, {}), key: draw(ALLOWED[name])}}
        with contextlib.suppress(BadInput):
            config_from_dict(grown)
            raw = grown
    return raw


def check_round_trip(raw: dict, load: Callable[[str], dict] = yaml.safe_load) -> None:
    """`load`: reads what is written as YAML."""
    config = config_from_dict(raw)
    for section, values in raw.items():
        if section != "name":
            for key, value in values.items():
                told = getattr(getattr(config, section), key)
                assert (list(told) if isinstance(told, tuple) else told) == value
    assert config_from_dict(config_to_dict(config)) == config
    assert config_from_dict(load(config_to_yaml(config))) == config


@given(raw_configs())
@settings(max_examples=60)
def test_round_trip_through_dict_and_yaml(raw):
    check_round_trip(raw)


@given(draw=st.data())
@settings(max_examples=5, phases=[Phase.generate])  # a setting left out above is told at once
def test_each_setting_takes_its_values(draw):
    """Here a refusal is a failure, so the draws above do not leave out what is allowed."""
    for name in sorted(ALLOWED):
        check_round_trip(nested(name, draw.draw(ALLOWED[name], label=name)), _load_soon)


def _load_soon(text: str) -> dict:
    """As `yaml.safe_load`, by the parser in C where PyYAML has it: some 500 files are read."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("training.steps", np.int64(3), 3),
        ("training.generator_learning_rate", np.float32(0.5), 0.5),
        ("training.generator_learning_rate", np.float64(0.25), 0.25),
        ("data.flip", np.bool_(True), True),
        ("retrieval.embedding_sizes", np.array([4, 2]), (4, 2)),
        ("retrieval.embedding_sizes", (np.int32(4), 2), (4, 2)),
    ],
)
def test_values_of_numpy_are_those_of_python(key, value, expected):
    """As `range` and `linspace` of a sweep give them; YAML could not write them."""
    section, leaf = key.split(".")
    part = dataclasses.replace(getattr(Config(), section), **{leaf: value})
    config = config_from_dict(config_to_dict(dataclasses.replace(Config(), **{section: part})))
    told = getattr(getattr(config, section), leaf)
    assert told == expected and type(told) is type(expected)
    assert config_from_dict(yaml.safe_load(config_to_yaml(config))) == config
    for wrong in (np.float64(3.0), np.bool_(True), np.array([[3]]), np.array(["3"])):
        assert refusal({"training": {"steps": wrong}}).startswith("my.yaml: training.steps must")


def test_a_first_stage_without_any_loss_is_refused():
    first = ("adversarial_image", "adversarial_object", "auxiliary", "reconstruction", "box")
    raw = {"losses": dict.fromkeys(first, 0)}  # box_overlap is 0 by default
    assert "losses.box, losses.box_overlap are all 0, so the first stage has" in refusal(raw)
    check_round_trip({**raw, "sg2im": {"steps": 0}})
    check_round_trip({"losses": {**raw["losses"], "box_overlap": 0.1}})


def test_settings_that_only_go_together_are_refused_and_named():
    compiled = {"training": {"jit_compile": True}, "retrieval": {"candidates": 33}}
    assert "training.jit_compile needs retrieval.candidates" in refusal(compiled)
    compiled["retrieval"]["exact_candidates"] = 33
    check_round_trip(compiled)
    del compiled["retrieval"]["exact_candidates"]
    compiled["data"] = {"bank_on_device": True}
    check_round_trip(compiled)
    check_round_trip({"training": {"jit_compile": "auto"}, "retrieval": {"candidates": 33}})


@given(raw_configs(), st.sampled_from(["data", "graph", "losses", "training"]), st.text(min_size=1))
@settings(max_examples=40)
def test_any_unknown_key_is_refused(raw, section, key):
    if key in typing.get_type_hints(typing.get_type_hints(Config)[section]):
        return
    raw.setdefault(section, {})[key] = 1
    with pytest.raises(BadInput, match="unknown key"):
        config_from_dict(raw)


@pytest.mark.parametrize("choice", ["learned", "nearest", "nearest_random", "own", "noise"])
def test_every_choice_of_patches_is_kept(choice):
    config = config_from_dict({"retrieval": {"choice": choice}})
    assert config_from_dict(config_to_dict(config)) == config
    assert config.retrieval.choice == choice
    wrong = {"choice": choice, "redraw_every_steps": 5}
    if choice == "learned":
        config_from_dict({"retrieval": wrong})
    else:
        with pytest.raises(BadInput, match="no retrieval.redraw_every_steps"):
            config_from_dict({"retrieval": wrong})


def test_what_a_file_does_not_name_can_be_given(write):
    given = {"generator.masks": True, "graph.width": 7}
    path = write("graph: {width: 9}\ngenerator:\n")
    config = load_config(path, where_missing=given)
    assert config.generator.masks and config.graph.width == 9
    assert not load_config(path).generator.masks
    assert not load_config(path, ["generator.masks=false"], where_missing=given).generator.masks
    with pytest.raises(BadInput, match="generator must be a section"):
        load_config(write("generator: 3"), where_missing=given)


@pytest.mark.parametrize("backbone", ["squeezenet", "vgg19", "mobilenet_v2"])
def test_maps_of_the_judge_are_not_judged(backbone):
    raw = {"discriminators": {"feature": True}, "losses": {"perceptual_backbone": backbone}}
    if backbone == "mobilenet_v2":
        message = refusal(raw)
        assert "that network judges the images; choose squeezenet or vgg19" in message
        raw["discriminators"]["feature"] = False  # its perceptual distance alone is allowed
        config_from_dict(raw)
    else:
        assert config_from_dict(raw).discriminators.feature
    assert not Config().discriminators.feature


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configs_load_and_are_named_like_their_files(name):
    config = load_config(CONFIG_FOLDER / f"{name}.yaml")
    assert config.name == name
    assert config_from_dict(config_to_dict(config)) == config


def test_the_configs_that_must_ship_do():
    assert {"procedural_64", "coco_mini_64", "coco_128", "vg_128"} <= set(SHIPPED)
