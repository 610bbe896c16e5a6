"""The procedural world: a data set that is drawn instead of downloaded.

It is written as a COCO-format folder and read by the same reader as COCO. Every scene has one of
several ambiences (`rgan_tf.world.ambience`) that colours all its objects; the ambience is the
`style` of the image and appears nowhere else. So this is the one data set in which "do these
patches belong together?" has a known answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from rgan_tf.errors import BadInput
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
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Draws a world into a COCO-format folder.

    Image `index` depends on (size, seed, index) only: a larger world begins with the same pictures,
    and the number of workers does not matter. The JSON files are written last.

    Args:
      folder: output folder, created if missing. The caller must make sure that an unfinished folder
        is never taken for a complete one.
      images: number of scenes, at least 10 so that both splits have some.
      size: side of the square pictures in pixels, 32 to 512.
      seed: the world's seed, not negative.
      workers: number of processes. More than one needs an importable `__main__`.
      progress: called now and then with (images drawn, total number).

    Returns:
      Counts: "images", "objects", "categories", "styles", and one per split.

    Raises:
      BadInput: if a number is out of range.

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
        ("workers", workers, 1, 256),
    ):
        if not low <= value <= high:
            raise BadInput(f"procedural world: {name} is {value}; give {low} to {high}")
    folder = Path(folder)
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)

    tables = {split: _Table() for split in SPLITS}
    done = 0
    for records in _chunks(folder, images, size, seed, workers):
        for index, record in records:
            tables[split_of(index)].add(record)
        done += len(records)
        if progress is not None:
            progress(done, images)
    for split, table in tables.items():
        table.write(folder / "annotations", split, seed)

    categories_seen = {name for table in tables.values() for name in table.category_counts}
    return {
        "images": images,
        "objects": sum(sum(table.category_counts.values()) for table in tables.values()),
        "categories": len(categories_seen),
        "styles": len({row["style"] for table in tables.values() for row in table.images}),
        **{split: len(table.images) for split, table in tables.items()},
    }


def _chunks(
    folder: Path, images: int, size: int, seed: int, workers: int
) -> Iterator[list[tuple[int, dict]]]:
    """Draws the images in blocks, in order, in this or in other processes."""
    jobs = [
        (str(folder), range(start, min(start + _CHUNK, images)), size, seed)
        for start in range(0, images, _CHUNK)
    ]
    if workers == 1:
        yield from map(_draw_block, jobs)
        return
    # Forking a process in which TensorFlow has started threads can hang: spawn instead.
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_draw_block, jobs)


def _draw_block(job: tuple[str, range, int, int]) -> list[tuple[int, dict]]:
    """Draws and writes a block of images; returns (index, annotations) pairs."""
    folder, indices, size, seed = job
    numbers = {category["name"]: category["id"] for category in categories()}
    records = []
    for index in indices:
        scene = draw_scene(size, seed, index)
        file_name = f"{index + 1:012d}.png"
        path = Path(folder) / "images" / split_of(index) / file_name
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
        records.append((index, {"image": image, "objects": objects}))
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
