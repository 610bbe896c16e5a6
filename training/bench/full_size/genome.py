"""Writes a data set with the shape and the size of Visual Genome 1.4."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from training.bench.full_size.list_writer import ListWriter
from training.bench.full_size.numbers import GENOME, kept_objects, names
from training.bench.full_size.pictures import Pictures

CATEGORIES, PREDICATES = 178, 45  # that the published filter keeps
_RARE_NAMES = 75_000
_OBJECTS, _RELATIONSHIPS = 35.2, 21.4  # per image: 3.8 and 2.3 million in all
_KEPT = (3, 30)  # kept objects of a scene
_WIDTH, _HEIGHT = 800, 600
_LARGE, _SMALL = (32, 300), (4, 31)  # px of an object's sides; the filter keeps from 32 on
_SITE = "https://cs.stanford.edu/people/rak248"


def write_genome(root: Path, scale: float, seed: int) -> dict[str, int]:
    """Writes annotations and images in Visual Genome's layout, image by image.

    The published filter, with counts of `minimum_counts`, keeps exactly the scenes and patches of
    `numbers.GENOME`.

    Args:
      root: must not exist.
      scale: 1 for the real size.
      seed: of everything.

    Returns:
      Bytes of the annotation files by name.
    """
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    for folder in ("VG_100K", "VG_100K_2"):
        (root / "images" / folder).mkdir(parents=True)
    pictures = Pictures(root / "pictures", rng)
    drawing = _Drawing(rng, scale)
    splits: dict[str, list[int]] = {}
    image_id = 0
    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(_list_file(root / f"{name}.json"))
            for name in ("image_data", "objects", "relationships", "attributes")
        }
        for split, full in GENOME.items():
            size = full.times(scale)
            splits[split] = list(range(image_id + 1, image_id + 1 + size.images))
            for kept in kept_objects(rng, size, *_KEPT).tolist():
                image_id += 1
                place = f"{'VG_100K' if image_id % 2 else 'VG_100K_2'}/{image_id}.jpg"
                pictures.link(root / "images" / place)
                for name, text in drawing.entries(image_id, f"{_SITE}/{place}", kept).items():
                    files[name].add([text])
    (root / "vg_splits.json").write_text(json.dumps(splits))
    (root / "object_alias.txt").write_text("thing 1,thing one\n")
    (root / "relationship_alias.txt").write_text("over 1,over one\n")
    return {path.name: path.stat().st_size for path in sorted(root.glob("*.json"))}


def minimum_counts(scale: float) -> dict[str, int]:
    """Values of the options of `rgan prepare vg` that count names, for data of that scale."""
    return {
        "--min-category-count": max(2, round(2000 * scale)),
        "--min-predicate-count": max(2, round(500 * scale)),
    }


@contextlib.contextmanager
def _list_file(path: Path) -> Iterator[ListWriter]:
    with open(path, "w", encoding="ascii") as file:
        members = ListWriter(file)
        yield members
        members.close()


@dataclasses.dataclass(frozen=True)
class _Object:
    """One object.

    Attributes:
      number: its object_id.
      name: as annotated.
      shape: its other fields but `names`, as JSON without braces.
    """

    number: int
    name: str
    shape: str

    def text(self, extra: str = "") -> str:
        """Its entry in objects.json."""
        return f'{{{self.shape},"names":["{self.name}"]{extra}}}'

    def as_end(self) -> str:
        """Its entry as the subject or object of a relationship."""
        return f'{{{self.shape},"name":"{self.name}"}}'


class _Drawing:
    """Draws the entries of an image as JSON texts."""

    def __init__(self, rng: np.random.Generator, scale: float):
        self._rng = rng
        self._categories = names("thing", CATEGORIES, scale)
        self._predicates = names("over", PREDICATES, scale)
        self._ids = itertools.count(1)
        self._rare = itertools.count(1)
        self._turn = itertools.count()

    def entries(self, image_id: int, url: str, kept: int) -> dict[str, str]:
        """The image's entry in each file, by the file's name.

        Args:
          image_id: of the image.
          url: of the image.
          kept: objects that the filter keeps; under 3, it leaves out the image.
        """
        small = int(self._rng.poisson(max(_OBJECTS - kept, 1.0)))
        large = [self._object(_LARGE, self._category()) for _ in range(kept)]
        others = [
            self._object(_SMALL, self._category() if index % 2 else self._rare_name("odd"))
            for index in range(small)
        ]
        links = self._relationships(large, others)
        objects = [*large, *others]
        start = f'"image_id":{image_id},"image_url":"{url}"'
        described = (item.text(',"attributes":["plain","light brown"]') for item in objects)
        return {
            "image_data": (
                f'{{"width":{_WIDTH},"url":"{url}","height":{_HEIGHT},"image_id":{image_id},'
                f'"coco_id":null,"flickr_id":{5_000_000_000 + image_id}}}'
            ),
            "objects": f'{{{start},"objects":[{",".join(map(_Object.text, objects))}]}}',
            "relationships": f'{{"relationships":[{",".join(links)}],"image_id":{image_id}}}',
            "attributes": f'{{"image_id":{image_id},"attributes":[{",".join(described)}]}}',
        }

    def _category(self) -> str:
        """A name that the filter keeps; every second one by turns, so that all are frequent."""
        turn, count = next(self._turn), len(self._categories)
        return self._categories[turn // 2 % count if turn % 2 else int(count * self._skewed())]

    def _skewed(self) -> float:
        return float(self._rng.random()) ** 3

    def _rare_name(self, word: str) -> str:
        return f"{word} {next(self._rare) % _RARE_NAMES}"

    def _object(self, sides: tuple[int, int], name: str) -> _Object:
        number = next(self._ids)
        left, top, w, h = self._rng.random(4).tolist()
        w, h = (int(sides[0] + side * (sides[1] - sides[0] + 1)) for side in (w, h))
        x, y = int(left * (_WIDTH - w)), int(top * (_HEIGHT - h))
        shape = (
            f'"synsets":["thing.n.01"],"h":{h},"object_id":{number},"merged_object_ids":[],'
            f'"w":{w},"y":{y},"x":{x}'
        )
        return _Object(number, name, shape)

    def _relationships(self, large: list[_Object], others: list[_Object]) -> list[str]:
        """One to five that the filter keeps if the image is kept, and others that it drops."""
        rng = self._rng
        texts = []
        if len(large) >= _KEPT[0]:
            for index in range(int(rng.integers(1, min(len(large), 6)))):
                predicate = self._predicates[next(self._turn) % len(self._predicates)]
                texts.append(self._link(large[index], predicate, large[index + 1]))
        objects = [*large, *others]
        ends = rng.integers(len(objects), size=[int(rng.poisson(_RELATIONSHIPS - 3)), 2])
        for first, second in ends.tolist():
            predicate = self._rare_name("beside")
            texts.append(self._link(objects[first], predicate, objects[second]))
        return texts

    def _link(self, subject: _Object, predicate: str, target: _Object) -> str:
        return (
            f'{{"predicate":"{predicate}","object":{target.as_end()},'
            f'"relationship_id":{next(self._ids)},"synsets":["along.r.01"],'
            f'"subject":{subject.as_end()}}}'
        )
