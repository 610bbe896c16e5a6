"""Writes a data set with the shape and the size of COCO 2017 with stuff."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from training.bench.full_size.list_writer import ListWriter
from training.bench.full_size.numbers import COCO, SplitSize, kept_objects, names
from training.bench.full_size.pictures import Pictures
from training.bench.full_size.run_lengths import draw_mask

_CATEGORIES = {"instances": ("thing", 80), "stuff": ("stuff", 91)}
_FIRST_IDS = {"instances": 1, "stuff": 92}
_OTHER_ID = 183
_OBJECTS = {"instances": 7.27, "stuff": 6.32}  # per image of train2017: 860,001 and 747,458 in all
_STUFF_SHARE = 0.55  # of the kept objects
_KEPT = (3, 8)  # kept objects of a scene
_WIDTH, _HEIGHT = 640, 480
_LARGE, _SMALL = (0.025, 0.45), (0.001, 0.015)  # share of the image; above 0.02 the filter keeps
_DIFFERENT = 48  # masks and outlines of each kind
_POINTS = (8, 40)  # of an outline: 24 on average give instances_train2017.json its 448 MB


def write_coco(root: Path, scale: float, seed: int) -> dict[str, int]:
    """Writes annotations and images in COCO's layout; objects are never held together.

    The published filter keeps exactly the scenes and patches of `numbers.COCO`. Arguments and
    result as of `write_genome`.
    """
    rng = np.random.default_rng(seed)
    (root / "annotations").mkdir(parents=True)
    drawing = _Drawing(rng, scale)
    pictures = Pictures(root / "pictures", rng)
    first_id = 1
    for part, full in COCO.items():
        size = full.times(scale)
        kept = kept_objects(rng, size, *_KEPT)
        folder = root / "images" / part
        folder.mkdir(parents=True)
        for image_id in range(first_id, first_id + size.images):
            pictures.link(folder / _file_name(image_id))
        with (
            _annotations(root, part, "instances", first_id, size, drawing) as instances,
            _annotations(root, part, "stuff", first_id, size, drawing) as stuff,
        ):
            for image_id, count in enumerate(kept.tolist(), start=first_id):
                kept_stuff = int(rng.binomial(count, _STUFF_SHARE))
                instances.add(drawing.instances(image_id, count - kept_stuff))
                stuff.add(drawing.stuff(image_id, kept_stuff))
        first_id += size.images
    return {path.name: path.stat().st_size for path in sorted((root / "annotations").iterdir())}


@contextlib.contextmanager
def _annotations(
    root: Path, part: str, kind: str, first_id: int, size: SplitSize, drawing: _Drawing
) -> Iterator[ListWriter]:
    """Writes a file up to its list of annotations, yields that, and writes the rest."""
    path = root / "annotations" / f"{kind}_{part}.json"
    with open(path, "w", encoding="ascii") as file:
        file.write('{"info":{"year":2017,"version":"1.0"},"licenses":')
        file.write(json.dumps([{"id": number, "name": f"Licence {number}"} for number in (1, 2)]))
        file.write(',"images":')
        images = ListWriter(file)
        images.add(_image(part, first_id + index) for index in range(size.images))
        images.close()
        file.write(',"annotations":')
        annotations = ListWriter(file)
        yield annotations
        annotations.close()
        _write_categories(file, kind, drawing.names[kind])


def _write_categories(file: TextIO, kind: str, names_of_kind: list[str]) -> None:
    entries = [
        {"supercategory": kind, "id": category_id, "name": name}
        for category_id, name in enumerate(names_of_kind, start=_FIRST_IDS[kind])
    ]
    if kind == "stuff":
        entries.append({"supercategory": "other", "id": _OTHER_ID, "name": "other"})
    file.write(f',"categories":{json.dumps(entries)}}}\n')


def _image(part: str, image_id: int) -> str:
    name = _file_name(image_id)
    return (
        f'{{"license":{1 + image_id % 2},"file_name":"{name}",'
        f'"coco_url":"http://images.cocodataset.org/{part}/{name}","height":{_HEIGHT},'
        f'"width":{_WIDTH},"date_captured":"2013-11-14 16:28:13","flickr_url":'
        f'"http://farm5.staticflickr.com/4026/{4_000_000_000 + image_id}_84c1fdb8d6_z.jpg",'
        f'"id":{image_id}}}'
    )


def _file_name(image_id: int) -> str:
    return f"{image_id:012d}.jpg"


class _Drawing:
    """Draws annotations as JSON texts."""

    def __init__(self, rng: np.random.Generator, scale: float):
        self._rng = rng
        self._ids = itertools.count(1)
        self.names = {kind: names(*words, scale) for kind, words in _CATEGORIES.items()}
        self._masks = {
            limits: [draw_mask(rng, _WIDTH, _HEIGHT, *limits) for _ in range(_DIFFERENT)]
            for limits in (_LARGE, _SMALL)
        }
        self._outlines = [_outline(rng) for _ in range(_DIFFERENT)]
        self._other = draw_mask(rng, _WIDTH, _HEIGHT, 0.8, 1.0)

    def instances(self, image_id: int, kept: int) -> list[str]:
        """Objects with outlines: `kept` large ones and some small ones."""
        return [
            self._text(image_id, "instances", *self._outlined(limits))
            for limits, count in self._counts("instances", kept)
            for _ in range(count)
        ]

    def stuff(self, image_id: int, kept: int) -> list[str]:
        """Regions with masks: `kept` large ones, some small ones, and "other"."""
        start = int(self._rng.integers(_DIFFERENT))  # no region twice in an image
        texts = []
        for limits, count in self._counts("stuff", kept):
            for index in range(count):
                mask = self._masks[limits][(start + index) % _DIFFERENT]
                texts.append(self._text(image_id, "stuff", _run_length(mask.counts), mask.box))
        other = self._other
        texts.append(self._text(image_id, "stuff", _run_length(other.counts), other.box, _OTHER_ID))
        return texts

    def _counts(self, kind: str, kept: int) -> list[tuple[tuple[float, float], int]]:
        share = _STUFF_SHARE if kind == "stuff" else 1 - _STUFF_SHARE
        small = _OBJECTS[kind] - (kind == "stuff") - 3.85 * share  # 3.85 kept per image
        return [(_LARGE, kept), (_SMALL, min(int(self._rng.poisson(small)), _DIFFERENT))]

    def _outlined(self, limits: tuple[float, float]) -> tuple[str, list[float]]:
        """A segmentation and its box, [x, y, width, height] in px."""
        share, stretch, left, top, which = self._rng.random(5).tolist()
        share = limits[0] + share * (limits[1] - limits[0])
        width = min((share * _WIDTH * _HEIGHT) ** 0.5 * (0.8 + 0.5 * stretch), _WIDTH)
        height = min(share * _WIDTH * _HEIGHT / width, _HEIGHT)
        x, y = left * (_WIDTH - width), top * (_HEIGHT - height)
        points = self._outlines[int(which * _DIFFERENT)] * [width, height] + [x, y]
        numbers = ",".join(map("%.2f".__mod__, points.reshape(-1).tolist()))
        return f"[[{numbers}]]", [round(edge, 2) for edge in (x, y, width, height)]

    def _text(
        self, image_id: int, kind: str, segmentation: str, box: list[float], category: int = 0
    ) -> str:
        number = next(self._ids)
        category = category or _FIRST_IDS[kind] + number % len(self.names[kind])
        return (
            f'{{"segmentation":{segmentation},"area":{box[2] * box[3] / 2},"iscrowd":0,'
            f'"image_id":{image_id},"bbox":[{box[0]},{box[1]},{box[2]},{box[3]}],'
            f'"category_id":{category},"id":{number}}}'
        )


def _run_length(counts: str) -> str:
    return f'{{"counts":{json.dumps(counts)},"size":[{_HEIGHT},{_WIDTH}]}}'


def _outline(rng: np.random.Generator) -> np.ndarray:
    """[P, 2] corners of a ragged shape in the unit square."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(*_POINTS, endpoint=True))))
    radii = rng.uniform(0.3, 0.5, len(angles))
    return 0.5 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
