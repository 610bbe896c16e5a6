"""The procedural world: a data set that is drawn instead of downloaded.

It is written as a COCO-format folder and read by the same reader as COCO. Every scene has one of
several ambiences (`rgan_tf.world.ambience`) that colours all its objects; the ambience is the
`style` of the image and appears nowhere else. So this is the one data set in which "do these
patches belong together?" has a known answer.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from rgan_tf.arguments import path_text, whole_number
from rgan_tf.errors import BadInput
from rgan_tf.spread import HERE, Engine, check_engine
from rgan_tf.storage.files import atomic_folder, read_json, write_bytes_atomic
from rgan_tf.world.layout import STUFF, THINGS
from rgan_tf.world.scene import draw_scene

SPLITS = ("train2017", "val2017")
MIN_SIZE, MAX_SIZE = 32, 512
MAX_IMAGES = 1_000_000
LICENCE = {
    "id": 1,
    "name": "CC0 1.0 Universal",
    "url": "https://creativecommons.org/publicdomain/zero/1.0/",
}
_CHUNK = 32
_DRAWN = "drawn"  # in the unfinished folder
_POLYGON_ROWS = 24


def categories() -> list[dict]:
    """Every category as in a panoptic file: id, name, supercategory, isthing; things first."""
    things = [(name, thing.supercategory, 1) for name, thing in sorted(THINGS.items())]
    stuff = [(name, supercategory, 0) for name, supercategory in sorted(STUFF.items())]
    return [
        {"id": number, "name": name, "supercategory": supercategory, "isthing": isthing}
        for number, (name, supercategory, isthing) in enumerate(things + stuff, start=1)
    ]


def split_of(index: int) -> str:
    """The split of an image by its index: every fifth image is for validation and test."""
    return SPLITS[1] if index % 5 == 4 else SPLITS[0]


def draw_world(
    folder: str | Path,
    *,
    images: int,
    size: int,
    seed: int,
    engine: Engine = HERE,
    progress: bool = False,
) -> dict[str, int]:
    """Draws a world into a COCO-format folder.

    Image `index` depends on (size, seed, index) only: a larger world begins with the same pictures,
    on any engine. The folder appears when it is complete.

    Args:
      folder: to create; it must not exist, or be empty.
      images: number of scenes, at least 10 so that both splits have some.
      size: side of the square pictures in pixels, 32 to 512.
      seed: the world's seed, not negative.
      engine: where the images are drawn.
      progress: report on standard error.

    Returns:
      The counts "images", "objects", "categories" and "styles", and those of both splits.

    Raises:
      BadInput: if a number is out of range, or the folder holds anything.

    Example:
      ```python
      import rgan_tf

      rgan_tf.draw_world("WORLD", images=20, size=64, seed=0)
      ```
    """
    for name, value, low, high in (
        ("images", images, 10, MAX_IMAGES),
        ("size", size, MIN_SIZE, MAX_SIZE),
        ("seed", seed, 0, 2**63 - 1),
    ):
        if not low <= whole_number(value, f"procedural world: {name}") <= high:
            raise BadInput(f"procedural world: {name} is {value}; give {low} to {high}")
    check_engine(engine)
    tables = {split: _Table() for split in SPLITS}
    with atomic_folder(path_text(folder, "procedural world: folder")) as unfinished:
        for split in SPLITS:
            (unfinished / "images" / split).mkdir(parents=True)
        (unfinished / "annotations").mkdir()
        drawn = unfinished / _DRAWN
        drawn.mkdir()
        blocks = [
            _Block(drawn / f"{start:06d}.json", unfinished, start, min(start + _CHUNK, images))
            for start in range(0, images, _CHUNK)
        ]
        engine.run(_Drawing(size, seed), blocks, "drawn images", shown=progress)
        for block in blocks:
            for index, record in enumerate(read_json(block.out), block.start):
                tables[split_of(index)].add(record)
        shutil.rmtree(drawn)
        for split, table in tables.items():
            table.write(unfinished / "annotations", split, seed)

    categories_seen = {name for table in tables.values() for name in table.category_counts}
    return {
        "images": images,
        "objects": sum(sum(table.category_counts.values()) for table in tables.values()),
        "categories": len(categories_seen),
        "styles": len({row["style"] for table in tables.values() for row in table.images}),
        **{split: len(table.images) for split, table in tables.items()},
    }


@dataclasses.dataclass(frozen=True)
class _Block:
    """Images `start` to `end` of a world, and the file of their annotations."""

    out: Path
    folder: Path
    start: int
    end: int

    @property
    def count(self) -> int:
        return self.end - self.start


@dataclasses.dataclass(frozen=True)
class _Drawing:
    size: int
    seed: int

    def __call__(self, block: _Block) -> None:
        records = _draw_block(block, self.size, self.seed)
        write_bytes_atomic(block.out, json.dumps(records).encode())


def _draw_block(block: _Block, size: int, seed: int) -> list[dict]:
    """Draws and writes a block of images; returns their annotations."""
    numbers = {category["name"]: category["id"] for category in categories()}
    records = []
    for index in range(block.start, block.end):
        scene = draw_scene(size, seed, index)
        file_name = f"{index + 1:012d}.png"
        path = block.folder / "images" / split_of(index) / file_name
        Image.fromarray(scene.image).save(path, compress_level=4)
        url = f"procedural://{seed}/{index}"
        image = {
            "id": index + 1,
            "file_name": file_name,
            "width": size,
            "height": size,
            "license": LICENCE["id"],
            "flickr_url": url,
            "coco_url": url,
            "style": scene.style,
        }
        objects = [
            {
                "category": seen.category,
                "category_id": numbers[seen.category],
                "bbox": list(seen.box),
                "area": int(seen.mask.sum()),
                "polygon": mask_polygon(seen.mask) if seen.category in THINGS else [],
            }
            for seen in scene.objects
        ]
        records.append({"image": image, "objects": objects})
    return records


def mask_polygon(mask: np.ndarray) -> list[float]:
    """An outline of a mask: down its right edge, up its left one, holes and bays ignored.

    Args:
      mask: [H, W] bool with at least one pixel set.

    Returns:
      x0, y0, x1, y1, ... in pixels, at least four corners, through the extreme rows.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) > _POLYGON_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, _POLYGON_ROWS).astype(int)]
    left = mask[rows].argmax(axis=1)
    right = mask.shape[1] - mask[rows][:, ::-1].argmax(axis=1)
    # A row of pixels spans one unit of y: the first and last corners take its outer edges.
    y = rows + 0.5
    y[0], y[-1] = rows[0], rows[-1] + 1
    if len(rows) == 1:
        y, left, right = np.array([rows[0], rows[0] + 1]), left.repeat(2), right.repeat(2)
    down = np.stack([right, y], axis=1)
    up = np.stack([left, y], axis=1)[::-1]
    return [float(value) for value in np.concatenate([down, up]).ravel()]


class _Table:
    """Collects the rows of one split's annotation files."""

    def __init__(self) -> None:
        self.images: list[dict] = []
        self.instances: list[dict] = []
        self.panoptic: list[dict] = []
        self.category_counts: Counter[str] = Counter()

    def add(self, record: dict) -> None:
        """Adds one image; ids only depend on the image and the object's place in it."""
        image_id = record["image"]["id"]
        self.images.append(record["image"])
        segments = []
        for place, seen in enumerate(record["objects"]):
            self.category_counts[seen["category"]] += 1
            segment = {
                "id": image_id * 16 + place,
                "category_id": seen["category_id"],
                "bbox": seen["bbox"],
                "area": seen["area"],
                "iscrowd": 0,
            }
            segments.append(segment)
            if seen["polygon"]:
                instance = {"image_id": image_id, "segmentation": [seen["polygon"]]}
                self.instances.append({**segment, **instance})
        self.panoptic.append({"image_id": image_id, "segments_info": segments})

    def write(self, folder: Path, split: str, seed: int) -> None:
        """Writes instances_*.json (things) and panoptic_*.json (things and stuff)."""
        table = categories()
        things = [
            {key: value for key, value in category.items() if key != "isthing"}
            for category in table
            if category["isthing"]
        ]
        common = {
            "info": {"description": f"rgan_tf procedural world, seed {seed}", "version": "1"},
            "licenses": [LICENCE],
            "images": self.images,
        }
        files = {
            "instances": {**common, "annotations": self.instances, "categories": things},
            "panoptic": {**common, "annotations": self.panoptic, "categories": table},
        }
        for kind, content in files.items():
            path = folder / f"{kind}_{split}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
