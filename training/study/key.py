"""The key of a study: which selection chose which set. Participants do not get it.

key.json holds, under a checksum, the two selections `a` and `b`, and every pair of the page with
the side of `a`, the patches and the automatic metrics of both sets; of pictures their numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rgan_tf.storage.manifest import ManifestKind
from training.study.plan import Chosen, Pair

KEY, PAGE = "key.json", "study.html"
_STUDY = ManifestKind(
    "rgan_study",
    1,
    "a folder made by rgan study make",
    advice="restore it, or make the study again with the same options",
    renew="make the study again",
    needs=("page", "a", "b", "pairs"),
    seal="required",
    file=KEY,
)


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """The key of one pair of the page.

    Attributes:
      id: its name on the page.
      left: "a" or "b".
      repeats: id of the pair that it repeats, or None.
      figures: "a" or "b" -> automatic metric -> value.
    """

    id: str
    left: str
    repeats: str | None
    figures: dict[str, dict[str, float]]

    def chosen(self, side: str) -> str:
        """ "a" or "b", for "left" or "right"."""
        return self.left if side == "left" else {"a": "b", "b": "a"}[self.left]


@dataclasses.dataclass(frozen=True)
class Key:
    """An opened key.

    Attributes:
      page: id of the page.
      names: "a" or "b" -> name of the selection.
      pairs: id -> pair, in the order of the page.
      shows: "patches" or "pictures".
    """

    page: str
    names: dict[str, str]
    pairs: dict[str, KeyPair]
    shows: str = "patches"

    @property
    def originals(self) -> list[KeyPair]:
        """The pairs that repeat no other; only these count for the preference."""
        return [pair for pair in self.pairs.values() if pair.repeats is None]


def write_key(
    folder: Path,
    page: str,
    sides: dict[str, dict[str, str]],
    pairs: Sequence[Pair],
    **origin: Any,
) -> None:
    """Writes the key into a study folder.

    Args:
      folder: of the study.
      page: id of the page.
      sides: for "a" and "b", `name`, `run` and `selection`.
      pairs: in the order of the page.
      **origin: origin of the scenes.
    """
    content = {"page": page, **sides, **origin}
    content["pairs"] = [
        {
            "id": pair.id,
            "repeats": pair.repeats,
            "image_id": pair.scene.image_id,
            "left": pair.left,
            "a": _set(pair.scene.a),
            "b": _set(pair.scene.b),
        }
        for pair in pairs
    ]
    _STUDY.write(folder, content)


def read_key(folder: str | Path) -> Key:
    """Opens the key in a study folder.

    Raises:
      BadInput: if the folder is not a study, or of another version.
      CorruptData: if the key was changed or damaged.
    """
    key = _STUDY.open(folder, f"--study {folder}")
    content = key.content
    try:
        pairs = [
            KeyPair(
                entry["id"],
                entry["left"],
                entry["repeats"],
                {side: dict(entry[side]["figures"]) for side in ("a", "b")},
            )
            for entry in content["pairs"]
        ]
        names = {side: content[side]["name"] for side in ("a", "b")}
        shows = content.get("shows", "patches")
        return Key(content["page"], names, {pair.id: pair for pair in pairs}, shows)
    except (KeyError, TypeError, ValueError) as error:
        raise key.damaged(f"lacks {error}") from error


def _set(chosen: Chosen) -> dict[str, Any]:
    return {"ids": list(chosen.ids), "figures": chosen.figures}
