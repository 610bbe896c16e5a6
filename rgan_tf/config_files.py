"""Reads and writes the settings of a run as YAML.

An unknown key, a wrong type or a value out of range is a `BadInput` that names the key.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import re
import typing
from pathlib import Path
from typing import Any

import yaml

from rgan_tf.arguments import shown, text_list
from rgan_tf.config import SMALLEST_IMAGE, Config, Switch, parse_augmentation
from rgan_tf.errors import BadInput, one_line
from rgan_tf.near_names import near_names
from rgan_tf.registered_names import OPEN_TO_MORE

_LARGEST = {int: 2**31 - 1, float: 3.4e38}  # what TensorFlow holds in 32 bits
_OF_FIRST_STAGE = (
    "adversarial_image",
    "adversarial_object",
    "auxiliary",
    "reconstruction",
    "box",
    "box_overlap",
)
_PASTEGAN_PATCHES = 3  # that its batches load per object
# YAML 1.1 reads a number with an exponent but no point as text.
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
# An impossible date is a ValueError; brackets within thousands of brackets end the recursion.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which PyYAML keeps the last without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here and not where values are made: there, merged keys (<<) stand beside those they are
        # merged into.
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key.value} is given twice", problem_mark=key.start_mark
                )
            if name is not None:
                seen.add(name)
        return node


def _parsed(text: str) -> Any:
    """What YAML says; raises one of `_NOT_YAML`."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def load_config(
    path: str | Path,
    overrides: typing.Sequence[str] = (),
    *,
    where_missing: typing.Mapping[str, Any] | None = None,
) -> Config:
    """Reads a YAML config and applies `section.key=value` overrides.

    Args:
      path: a YAML file.
      overrides: one or several, as given to `--set`; values are parsed as YAML.
      where_missing: `section.key` -> value that replaces the default of keys missing in the file.

    Returns:
      The resolved, validated config.

    Raises:
      BadInput: if the file is missing or not YAML, or a key or value is not allowed.
    """
    path = Path(path)
    try:
        raw = _parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"config {path}: {error.strerror}; name a YAML file") from error
    except _NOT_YAML as error:
        raise BadInput(f"config {path}: not YAML ({one_line(str(error))})") from error
    if not isinstance(raw, dict):
        raise BadInput(f"config {path}: expected sections of keys, got {type(raw).__name__}")
    for key, value in (where_missing or {}).items():
        section, leaf = key.split(".")
        if raw.get(section) is None:
            raw[section] = {}
        if isinstance(raw[section], dict):  # anything else is refused below
            raw[section].setdefault(leaf, value)
    for override in text_list(overrides, "overrides"):
        key, separator, text = override.partition("=")
        if not separator:
            raise BadInput(f"--set {override}: write section.key=value")
        try:
            value = _parsed(text)
        except _NOT_YAML as error:
            raise BadInput(f"--set {one_line(override, 80)}: value is not YAML") from error
        section = raw
        *parents, leaf = key.strip().split(".")
        for parent in parents:
            if section.get(parent) is None:
                section[parent] = {}
            section = section[parent]
            if not isinstance(section, dict):
                raise BadInput(f"--set {override}: {parent} is not a section")
        section[leaf] = value
    return config_from_dict(raw, str(path))


def config_from_dict(raw: dict[str, Any], source: str = "config") -> Config:
    """Builds a validated config; inverse of `config_to_dict`.

    Raises:
      BadInput: for an unknown key, a wrong type or a value out of range.
    """
    config = _build(Config, raw, "", source)
    for rule, is_kept in _rules(config):
        if not is_kept:
            raise BadInput(f"{source}: {rule}")
    return config


def config_to_dict(config: Config) -> dict[str, Any]:
    """The config as plain dicts, lists, numbers and strings, for YAML and JSON."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return plain(dataclasses.asdict(config))


def flat_settings(config: Config) -> dict[str, Any]:
    """`section.key` -> plain value, in the order of the config."""
    flat: dict[str, Any] = {}
    for key, value in config_to_dict(config).items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            flat[key] = value
    return flat


def config_to_yaml(config: Config) -> str:
    """The resolved config as YAML text that `load_config` reads back unchanged."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False)


def _augmentation_refused(text: str) -> str:
    try:
        parse_augmentation(text)
    except ValueError as error:
        return str(error)
    return ""


def _rules(config: Config) -> list[tuple[str, bool]]:
    """Conditions on several values: the message, and whether it holds."""
    data, modules = config.data, len(config.sg2im.decoder_channels)
    entries = len(config.generator.decoder_channels)
    crop = data.crop_size
    loaded, exact = config.retrieval.loaded_candidates, config.retrieval.exact_candidates
    refused = _augmentation_refused(config.discriminators.augmentation)
    tree = 8 << max(config.attngan.stages - 1, 0)  # px
    return [
        (f"discriminators.{refused}", not refused),
        (
            f"data.image_size must be a multiple of 16 and at least {SMALLEST_IMAGE}, "
            f"got {data.image_size}",
            data.image_size % 16 == 0 and data.image_size >= SMALLEST_IMAGE,
        ),
        (
            f"data.crop_size must be 8 times a power of two, got {crop}",
            crop % 8 == 0 and crop & (crop - 1) == 0,
        ),
        (
            "generator.decoder_channels needs 2 entries (canvas at a quarter of the resolution), "
            f"got {entries}",
            entries == 2,
        ),
        (
            f"sg2im.decoder_channels has {modules} entries, so data.image_size must be a multiple "
            f"of {2**modules}, got {data.image_size}",
            data.image_size % 2**modules == 0,
        ),
        (
            "training.jit_compile needs retrieval.candidates of at most retrieval.exact_candidates "
            f"({exact}) or data.bank_on_device: patches that are read from the host during a step "
            "cannot be compiled",
            config.training.jit_compile in (False, "auto")
            or config.retrieval.candidates <= exact
            or data.bank_on_device,
        ),
        (
            f"training.scale_with_replicas={config.training.scale_with_replicas}: batch and rates "
            "would follow the machine, and training.deterministic promises the same result; set "
            "one of the two",
            config.training.scale_with_replicas == "none" or not config.training.deterministic,
        ),
        (
            f"retrieval.choice={config.retrieval.choice} needs retrieval.candidates of at most "
            f"retrieval.exact_candidates ({exact}) and no retrieval.redraw_every_steps",
            config.retrieval.choice == "learned"
            or (config.retrieval.candidates <= exact and not config.retrieval.redraw_every_steps),
        ),
        *(
            (
                f"retrieval.{name} needs retrieval.candidates of at most "
                f"retrieval.exact_candidates ({exact}), so that batches hold the features",
                not getattr(config.retrieval, name) or config.retrieval.candidates <= exact,
            )
            for name in ("half_size_patches", "embedding_steps")
        ),
        (
            f"retrieval.loaded_candidates must be at most retrieval.exact_candidates ({exact}), "
            f"got {loaded}",
            loaded <= exact,
        ),
        (
            f"training.system={config.training.system} is computed in float32, got "
            f"training.precision={config.training.precision}",
            config.training.system == "retrievegan" or config.training.precision == "float32",
        ),
        (
            "training.system=sg2im needs data.image_size to be a multiple of 32, "
            f"got {data.image_size}",
            config.training.system != "sg2im" or data.image_size % 32 == 0,
        ),
        (
            "training.system=attngan needs data.image_size to be a power of two, "
            f"got {data.image_size}",
            config.training.system != "attngan" or not data.image_size & (data.image_size - 1),
        ),
        (
            "training.system=attngan needs training.accumulate_steps=1, as it tells every text of "
            f"a batch apart from all others, got {config.training.accumulate_steps}",
            config.training.system != "attngan" or config.training.accumulate_steps == 1,
        ),
        (
            f"attngan.stages={config.attngan.stages} needs data.image_size of at least {tree}, as "
            f"the first stage has 8 px, got {data.image_size}",
            config.training.system != "attngan" or data.image_size >= tree,
        ),
        (
            f"training.system=pastegan draws from {_PASTEGAN_PATCHES} candidates, so "
            "retrieval.candidates and retrieval.exact_candidates must be at least that, got "
            f"{config.retrieval.candidates} and {exact}",
            config.training.system != "pastegan"
            or min(config.retrieval.candidates, exact) >= _PASTEGAN_PATCHES,
        ),
        (
            f"{', '.join(f'losses.{name}' for name in _OF_FIRST_STAGE)} are all 0, so the first "
            "stage has nothing to train for; set one above 0, or sg2im.steps to 0",
            config.sg2im.steps == 0
            or any(getattr(config.losses, name) for name in _OF_FIRST_STAGE),
        ),
        (
            "discriminators.feature with losses.perceptual_backbone=mobilenet_v2: that network "
            "judges the images; choose squeezenet or vgg19",
            not config.discriminators.feature
            or config.losses.perceptual_backbone != "mobilenet_v2",
        ),
    ]


@functools.cache
def _kinds(cls) -> dict[str, Any]:
    """Kinds of the fields of a section by name, worked out once: Python compiles each anew."""
    return typing.get_type_hints(cls)


def _build(cls, raw, prefix: str, source: str):
    if not isinstance(raw, dict):
        raise BadInput(f"{source}: {prefix.rstrip('.')} must be a section of keys")
    hints = _kinds(cls)
    unknown = sorted(set(map(str, raw)) - set(hints))
    if unknown:
        raise BadInput(
            f"{source}: unknown key {prefix}{unknown[0]}; known here: {', '.join(sorted(hints))}"
        )
    bounds = {field.name: field.metadata for field in dataclasses.fields(cls)}
    values = {}
    for name, value in raw.items():
        key = f"{prefix}{name}"
        kind = hints[name]
        if dataclasses.is_dataclass(kind):
            values[name] = _build(kind, {} if value is None else value, f"{key}.", source)
        else:
            values[name] = _checked(kind, value, bounds[name], key, source)
    return cls(**values)


def _checked(kind, value, bounds: typing.Mapping[str, Any], key: str, source: str):
    if hasattr(value, "tolist"):  # of NumPy, in a config made in Python
        value = value.tolist()
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in (bool, Switch) and isinstance(value, bool):
        return value
    if kind == Switch:
        if value == "auto":
            return value
        raise BadInput(f"{source}: {key} must be true, false or auto, got {shown(value)}")
    if kind is str and isinstance(value, str):
        allowed = bounds.get("choices", (value,))
        if value not in allowed:
            near = near_names(value, allowed)
            advice = f"; {near}" if near.startswith("did") else ""
            if isinstance(allowed, list):  # open to additions
                advice += f"; {OPEN_TO_MORE}"
            raise BadInput(
                f"{source}: {key} must be one of {', '.join(allowed)}, got {shown(value)}{advice}"
            )
        return value
    if kind is int and is_number and isinstance(value, int):
        return _in_range(value, bounds, key, source)
    if kind is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        return _in_range(float(value), bounds, key, source)
    if kind is float and is_number:
        try:
            return _in_range(float(value), bounds, key, source)
        except OverflowError as error:  # an integer of more than 308 digits
            raise BadInput(f"{source}: {key} is too large") from error
    if kind == tuple[int, ...] and isinstance(value, (list, tuple)) and value:
        return tuple(_checked(int, item, bounds, key, source) for item in value)
    expected = "list of integers" if kind == tuple[int, ...] else kind.__name__
    raise BadInput(f"{source}: {key} must be {expected}, got {shown(value)}")


def _in_range(value, bounds: typing.Mapping[str, float], key: str, source: str):
    lowest = {} if "least" in bounds else {"above": 0}
    limits = {**lowest, **bounds, "most": bounds.get("most", _LARGEST[type(value)])}
    for name, limit in limits.items():
        words, is_kept = _LIMITS[name]
        if not is_kept(value, limit):
            raise BadInput(f"{source}: {key} must be {words} {limit}, got {shown(value)}")
    return value


_LIMITS = {
    "least": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "below": ("below", operator.lt),
    "most": ("at most", operator.le),
}
