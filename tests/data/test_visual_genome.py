from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from rgan_tf.data.prepare import prepare_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.data.visual_genome import (
    GenomeFilter,
    read_visual_genome,
    read_visual_genome_dataset,
)
from rgan_tf.errors import BadInput

WIDTH, HEIGHT = 400, 200
SMALL = GenomeFilter(min_category_count=3, min_predicate_count=2)
# name, x, y, w, h: three objects that every filter keeps
PLAIN = [("man", 0, 0, 200, 100), ("dog", 200, 0, 100, 100), ("tree", 0, 100, 400, 100)]
LINKS = [(0, "on", 2), (1, "near", 0)]


class GenomeWriter:
    """Writes files in the layout of Visual Genome 1.4."""

    def __init__(self, root):
        self.root = root
        self.images, self.objects, self.relationships = [], [], []
        self.splits = {"train": [], "val": [], "test": []}

    def add(self, split, image_id, objects=PLAIN, links=LINKS, width=WIDTH, height=HEIGHT):
        folder = "VG_100K" if image_id % 2 else "VG_100K_2"
        url = f"https://cs.stanford.edu/people/rak248/{folder}/{image_id}.jpg"
        self.images.append({"image_id": image_id, "url": url, "width": width, "height": height})
        entries = [
            {"object_id": 1000 * image_id + i, "names": [n], "x": x, "y": y, "w": w, "h": h}
            for i, (n, x, y, w, h) in enumerate(objects)
        ]
        self.objects.append({"image_id": image_id, "image_url": url, "objects": entries})
        self.relationships.append(
            {
                "image_id": image_id,
                "relationships": [
                    {
                        "relationship_id": i,
                        "predicate": predicate,
                        "subject": entries[subject],
                        "object": entries[target],
                    }
                    for i, (subject, predicate, target) in enumerate(links)
                ],
            }
        )
        self.splits[split].append(image_id)

    def close(self):
        self.root.mkdir(exist_ok=True)
        for name in ("objects", "relationships"):
            self._write(f"{name}.json", getattr(self, name))
        self._write("image_data.json", self.images)
        self._write("vg_splits.json", self.splits)
        (self.root / "object_alias.txt").write_text("man,guy,men\ntree,trees\n")
        (self.root / "relationship_alias.txt").write_text("on,on top of,ON  a\n")
        return self.root

    def _write(self, name, value):
        (self.root / name).write_text(json.dumps(value))


@pytest.fixture
def writer(tmp_path):
    """Enough plain images that the vocabulary is dog, man, tree and near, on."""
    genome = GenomeWriter(tmp_path / "genome")
    for image_id in (5, 3, 4):
        genome.add("train", image_id)
    genome.add("val", 20)
    genome.add("test", 30)
    return genome


def read_one(writer, **others):
    writer.add("val", 21, **others)
    images = read_visual_genome(writer.close(), split="val", keep=SMALL)
    return {image.image_id: image for image in images}.get(21)


def test_plain_images(writer):
    dataset = read_visual_genome_dataset(writer.close(), keep=SMALL)
    assert dataset.categories == ("dog", "man", "tree")
    assert dataset.predicates == ("near", "on")
    assert [image.image_id for image in dataset.splits["train"]] == [3, 4, 5]
    image = dataset.splits["val"][0]
    assert [(item.category, item.box) for item in image.objects] == [
        ("man", (0.0, 0.0, 0.5, 0.5)),
        ("dog", (0.0, 0.5, 0.5, 0.75)),
        ("tree", (0.5, 0.0, 1.0, 1.0)),
    ]
    assert image.objects[1].centre == (0.25, 0.625)
    assert image.relationships == ((0, "on", 2), (1, "near", 0))
    assert image.source == "images/VG_100K_2/20.jpg"
    assert image.path == writer.root / "images/VG_100K_2/20.jpg"
    assert image.url.endswith("VG_100K_2/20.jpg")


def test_aliases_blanks_and_capitals(writer):
    objects = [("Guy ", 0, 0, 200, 100), PLAIN[1], ("trees", 0, 100, 400, 100)]
    image = read_one(writer, objects=objects, links=[(0, "On top  of", 2), (1, "on a", 2)])
    assert [item.category for item in image.objects] == ["man", "dog", "tree"]
    assert image.relationships == ((0, "on", 2), (1, "on", 2))


def test_rare_names_and_small_objects_go_with_their_relationships(writer):
    objects = [
        ("unicorn", 0, 0, 100, 100),
        *PLAIN,
        ("dog", 0, 0, 31, 100),
        ("dog", 0, 0, 32, 32),
    ]
    links = [(0, "on", 1), (4, "on", 1), (5, "near", 1), (1, "rides", 2), (3, "near", 2)]
    image = read_one(writer, objects=objects, links=links)
    assert [item.category for item in image.objects] == ["man", "dog", "tree", "dog"]
    assert image.relationships == ((3, "near", 0), (2, "near", 1))


def test_the_vocabulary_comes_from_training_images_alone(writer):
    for image_id in range(40, 46):
        writer.add("test", image_id, objects=[("cat", 0, 0, 99, 99)] * 3)
    assert "cat" not in read_visual_genome_dataset(writer.close(), keep=SMALL).categories


@pytest.mark.parametrize(
    "others",
    [
        {"width": 199},
        {"height": 199},
        {"objects": PLAIN[:2], "links": [(0, "on", 1)]},
        {"objects": PLAIN * 11, "links": [(0, "on", 1)]},
        {"links": []},
        {"links": [(0, "rides", 2)]},
        {"links": [(0, "on", 0)]},
        {
            "objects": PLAIN * 10,
            "links": [(i, "on", (i + 1) % 30) for i in range(30)] + [(0, "on", 5)],
        },
    ],
)
def test_images_out_of_bounds_are_left_out(writer, others):
    assert read_one(writer, **others) is None


def test_images_at_the_bounds_are_kept(writer):
    links = [(i, "on", (i + 1) % 30) for i in range(30)]
    image = read_one(writer, objects=PLAIN * 10, links=links, width=400, height=200)
    assert len(image.objects) == len(image.relationships) == 30
    # The same relationship twice counts once.
    writer.add("val", 23, links=LINKS * 20)
    images = read_visual_genome(writer.close(), split="val", keep=SMALL)
    assert len({image.image_id: image for image in images}[23].relationships) == 2


def test_published_thresholds_on_little_data(writer):
    with pytest.raises(BadInput, match="no category is used 2000 times.*--min-category-count"):
        read_visual_genome_dataset(writer.close())


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("objects.json", "{", "objects.json: not JSON"),
        ("objects.json", "{}", "objects.json: expected a JSON list"),
        ("objects.json", "[1]", r"objects.json\[0\]: expected a JSON object"),
        ("objects.json", '[{"image_id": 3}]', r"objects.json\[0\]: has no list 'objects'"),
        ("image_data.json", '[{"url": 3}]', "'image_id' must be an integer"),
        ("vg_splits.json", '{"train": [1]}', "'val' must be a list of image ids"),
        ("vg_splits.json", None, "vg_splits.json"),
        ("object_alias.txt", None, "object_alias.txt: No such file"),
    ],
)
def test_files_that_are_not_visual_genome(writer, name, content, message):
    root = writer.close()
    if content is None:
        (root / name).unlink()
    else:
        (root / name).write_text(content)
    with pytest.raises(BadInput, match=message) as caught:
        read_visual_genome_dataset(root, keep=SMALL)
    assert "\n" not in str(caught.value)


def test_urls_cannot_lead_out_of_the_folder(writer):
    writer.images[0]["url"] = "https://example.org/../../../etc/passwd/.."
    with pytest.raises(BadInput, match="leads out of"):
        read_visual_genome_dataset(writer.close(), keep=SMALL)


def test_it_can_be_prepared(writer, backbone, tmp_path):
    root = writer.close()
    for folder in ("VG_100K", "VG_100K_2"):
        (root / "images" / folder).mkdir(parents=True)
    for entry in writer.images:
        path = root / "images" / "/".join(entry["url"].split("/")[-2:])
        Image.fromarray(np.zeros([HEIGHT, WIDTH, 3], np.uint8)).save(path)
    dataset = read_visual_genome_dataset(root, keep=SMALL)
    prepare_dataset(dataset, tmp_path / "data", image_size=16, backbone=backbone, progress=False)
    data = PreparedData.open(tmp_path / "data")
    assert data.vocabulary.predicates == ("__in_image__", "near", "on")
    scenes = data.scenes("train", image_size=16, max_objects=2, max_triples=1)
    assert scenes.objects.shape == (3, 2)
    assert (scenes.triples[:, 0, 1] > 0).all()
