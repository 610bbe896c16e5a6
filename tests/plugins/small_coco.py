"""Small data sets written by the tests, and a backbone that needs no weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgan_tf.annotations.annotation import AnnotatedDataset
from rgan_tf.annotations.coco import CocoFilter, read_coco_dataset
from rgan_tf.data.prepare import prepare_dataset
from rgan_tf.data.prepared import PreparedData

WIDTH, HEIGHT = 80, 40
CATEGORIES = [(1, "person"), (2, "dog"), (3, "car")]
STUFF = [(92, "grass"), (93, "sky"), (183, "other")]


class MeanBackbone:
    """Features that can be worked out by hand: the mean colour, and a constant."""

    name = "mobilenet_v2"
    feature_size = 4

    def features(self, images: np.ndarray) -> np.ndarray:
        means = np.asarray(images, np.float32).mean(axis=(1, 2)) / 255
        return np.concatenate([means, np.ones([len(means), 1], np.float32)], axis=1)


def thing(category: int, box, **others) -> dict:
    """An annotation of instances or stuff; `box` is x, y, width, height in px."""
    entry = {"category_id": category, "bbox": list(box), "iscrowd": 0, **others}
    return entry | {"area": box[2] * box[3]}


class CocoWriter:
    """Writes a COCO-format folder, one image at a time."""

    def __init__(self, root: Path, stuff: str = "stuff"):
        self.root = root
        self._stuff = stuff
        self._files = {
            part: {"images": [], "things": [], "stuff": []} for part in ("train2017", "val2017")
        }

    def add(self, part: str, image_id: int, things: list, stuff: list | None, **others) -> None:
        """Adds an image; `stuff` None leaves it without stuff annotations."""
        entry = {
            "id": image_id,
            "file_name": f"{image_id}.png",
            "width": WIDTH,
            "height": HEIGHT,
            "license": 4,
            "flickr_url": f"http://example.org/{image_id}",
        }
        files = self._files[part]
        files["images"].append(entry | others)
        files["things"] += [item | {"image_id": image_id} for item in things]
        if stuff is not None:
            files["stuff"].append((image_id, stuff))
        folder = self.root / "images" / part
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(image_id).integers(0, 255, [HEIGHT, WIDTH, 3], np.uint8)
        Image.fromarray(pixels).save(folder / f"{image_id}.png")

    def add_plain(self, part: str, image_id: int, count: int = 3) -> None:
        """Adds an image of `count` large objects, the last of them stuff."""
        boxes = [(10 * index, 5, 30, 20) for index in range(count)]
        things = [thing(1 + index % 3, box) for index, box in enumerate(boxes[:-1])]
        self.add(part, image_id, things, [thing(92, boxes[-1])])

    def close(self) -> Path:
        """Writes the JSON files."""
        folder = self.root / "annotations"
        folder.mkdir(parents=True, exist_ok=True)
        for part, files in self._files.items():
            (self.root / "images" / part).mkdir(parents=True, exist_ok=True)
            base = {
                "images": files["images"],
                "licenses": [{"id": 4, "name": "Attribution License", "url": "http://x"}],
            }
            self._write(
                folder / f"instances_{part}.json",
                base | {"annotations": files["things"], "categories": _named(CATEGORIES)},
            )
            if self._stuff == "stuff":
                flat = [item | {"image_id": i} for i, items in files["stuff"] for item in items]
                self._write(
                    folder / f"stuff_{part}.json",
                    base | {"annotations": flat, "categories": _named(STUFF)},
                )
            elif self._stuff == "panoptic":
                own = {}
                for item in files["things"]:
                    own.setdefault(item["image_id"], []).append(item)
                segments = [
                    {"image_id": i, "segments_info": own.get(i, []) + items}
                    for i, items in files["stuff"]
                ]
                names = [entry | {"isthing": 1} for entry in _named(CATEGORIES)]
                names += [entry | {"isthing": 0} for entry in _named(STUFF)]
                self._write(
                    folder / f"panoptic_{part}.json",
                    base | {"annotations": segments, "categories": names},
                )
        return self.root

    @staticmethod
    def _write(path: Path, value) -> None:
        path.write_text(json.dumps(value))


def _named(categories) -> list[dict]:
    return [{"id": number, "name": name} for number, name in categories]


@pytest.fixture
def coco_writer(tmp_path):
    """Makes `CocoWriter`s in folders of their own."""
    return lambda stuff="stuff", name="coco": CocoWriter(tmp_path / name, stuff)


@pytest.fixture(name="thing")
def thing_fixture():
    return thing


@pytest.fixture(scope="session")
def backbone() -> MeanBackbone:
    return MeanBackbone()


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory) -> AnnotatedDataset:
    """11 training and 8 held-out images of 3 to 5 objects each."""
    writer = CocoWriter(tmp_path_factory.mktemp("small"))
    for image_id in range(1, 12):
        writer.add_plain("train2017", image_id, 3 + image_id % 3)
    for image_id in range(20, 28):
        writer.add_plain("val2017", image_id, 3 + image_id % 3)
    return read_coco_dataset(writer.close(), keep=CocoFilter())


@pytest.fixture(scope="session")
def prepared_folder(small_dataset, tmp_path_factory) -> Path:
    """`small_dataset`, prepared; not to be changed."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare_dataset(small_dataset, folder, image_size=32, backbone=MeanBackbone(), progress=False)
    return folder


@pytest.fixture
def prepared(prepared_folder) -> PreparedData:
    return PreparedData.open(prepared_folder)
