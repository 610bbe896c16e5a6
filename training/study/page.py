"""The participants' page: one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rgan_tf.storage.image import encode_png
from training.study.markdown import TEMPLATES
from training.study.plan import Chosen, Pair, Scene
from training.templates import html_environment


def page_content(pairs: Sequence[Pair], crops: Callable[[int], np.ndarray]) -> dict[str, Any]:
    """The content of a page, without any hint of who chose what.

    Args:
      pairs: the questions in order.
      crops: row of the bank, or number of a picture -> uint8 [S, S, 3].

    Returns:
      `page` (16 hexadecimal digits, a hash of the rest), `pairs` (each with id, objects,
      relationships as text, labels of the patches (none of a picture), and the numbers of the
      images on the left and on the right) and `images` (PNG data URIs in order of appearance);
      `shows` is "pictures" if sets are one picture each.
    """
    numbers: dict[int, int] = {}

    def images_of(chosen: Chosen) -> list[int]:
        return [numbers.setdefault(row, len(numbers)) for row in chosen.ids]

    shown = []
    for pair in pairs:
        scene = pair.scene
        names = labels(scene.objects)
        shown.append(
            {
                "id": pair.id,
                "objects": names,
                "relationships": _sentences(scene, names),
                "labels": [names[i] for i in scene.shown or ()],
                "left": images_of(getattr(scene, pair.left)),
                "right": images_of(getattr(scene, pair.right)),
            }
        )
    has_pictures = any(pair.scene.shown is None for pair in pairs)
    content = {"shows": "pictures"} if has_pictures else {}
    content |= {"pairs": shown, "images": [_data_uri(crops(row)) for row in numbers]}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()
    return {"page": digest[:16], **content}


def render_page(content: dict[str, Any]) -> str:
    """The HTML of a page."""
    return html_environment(TEMPLATES).get_template("study.html").render(content=content)


def labels(objects: Sequence[str]) -> list[str]:
    """Names of objects, numbered if several are equal: tree 1, tree 2."""
    total, seen = Counter(objects), Counter()
    names = []
    for name in objects:
        seen[name] += 1
        names.append(f"{name} {seen[name]}" if total[name] > 1 else name)
    return names


def _sentences(scene: Scene, names: Sequence[str]) -> list[str]:
    return [
        f"{names[subject]} {predicate} {names[target]}"
        for subject, predicate, target in scene.relationships
    ]


def _data_uri(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(encode_png(image)).decode("ascii")
