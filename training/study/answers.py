"""Reads the files that participants download from a study's page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rgan_tf.errors import BadInput
from rgan_tf.storage.files import read_json
from training.study.key import Key

_VERSION = 1
_MAX_BYTES = 2**20
_MAX_NAME = 100  # characters
_SHOWN = 40  # characters of a wrong value in a message


@dataclasses.dataclass(frozen=True)
class Answers:
    """The answers of one participant.

    Attributes:
      participant: the name.
      chosen: pair id -> "a" or "b", the set that was preferred.
      sides: pair id -> "left" or "right".
      milliseconds: pair id -> time from showing the pair to the choice.
    """

    participant: str
    chosen: dict[str, str]
    sides: dict[str, str]
    milliseconds: dict[str, float]


def read_answers(paths: Sequence[str | Path], key: Key) -> list[Answers]:
    """Reads one file per participant.

    Raises:
      BadInput: at the first file that is not an answers file or is of another study, repeats or
        invents a pair, holds no answer, or is of a participant with an earlier file.
    """
    read: list[Answers] = []
    owners: dict[str, str | Path] = {}
    for path in paths:
        answers = _read(Path(path), key)
        person = " ".join(answers.participant.split()).casefold()
        if person in owners:
            raise BadInput(
                f"{path}: of participant {answers.participant!r}, as {owners[person]}; give one "
                "file per participant"
            )
        owners[person] = path
        read.append(answers)
    return read


def _read(path: Path, key: Key) -> Answers:
    content = read_json(path, max_bytes=_MAX_BYTES, unique_keys=True)
    if not isinstance(content, dict) or not {"page", "participant", "answers"} <= set(content):
        raise BadInput(f"{path}: not an answers file; give what the page of the study downloads")
    if content.get("version") != _VERSION:
        raise BadInput(
            f"{path}: version {_shown(content.get('version'))} of an answers file, this program "
            f"reads {_VERSION}"
        )
    if content["page"] != key.page:
        raise BadInput(
            f"{path}: answers page {_shown(content['page'])}, this study has page {key.page}; name "
            "the folder that the page is from"
        )
    name, entries = content["participant"], content["answers"]
    if not isinstance(name, str) or not _is_name(name):
        raise BadInput(f"{path}: participant {_shown(name)} is not a name; ask who answered")
    if len(name) > _MAX_NAME:
        raise BadInput(f"{path}: the participant's name is longer than {_MAX_NAME} characters")
    if not isinstance(entries, list) or not entries:
        raise BadInput(f"{path}: holds no answers; leave the file out")
    answers = Answers(name.strip(), {}, {}, {})
    for number, entry in enumerate(entries):
        _add(answers, entry, key, f"{path}: answer {number}")
    return answers


def _add(answers: Answers, entry: Any, key: Key, where: str) -> None:
    if not isinstance(entry, dict):
        raise BadInput(f"{where}: is not an object; give the file as downloaded")
    pair, choice, time = (entry.get(field) for field in ("pair", "choice", "milliseconds"))
    if not isinstance(pair, str) or pair not in key.pairs:
        raise BadInput(f"{where}: pair {_shown(pair)} is not in the study")
    if pair in answers.chosen:
        raise BadInput(f"{where}: pair {pair} is answered twice; give the file as downloaded")
    if choice not in ("left", "right"):
        raise BadInput(f"{where}: choice {_shown(choice)} is neither left nor right")
    is_number = isinstance(time, (int, float)) and not isinstance(time, bool)
    if not is_number or not 0 <= time < 2**53 or not math.isfinite(time):
        raise BadInput(f"{where}: milliseconds {_shown(time)} is not a duration")
    answers.chosen[pair] = key.pairs[pair].chosen(choice)
    answers.sides[pair] = choice
    answers.milliseconds[pair] = float(time)


def _is_name(text: str) -> bool:
    plain = text.replace("\u200c", "").replace("\u200d", "")  # joiners, which some scripts need
    return bool(plain.strip()) and plain.isprintable()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
