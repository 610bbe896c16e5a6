from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from rgan_tf.annotations import visual_genome
from rgan_tf.annotations.stored_lists import ChangedFile
from rgan_tf.annotations.visual_genome import (
    GenomeFilter,
    read_visual_genome_dataset,
)
from rgan_tf.config import DataConfig
from rgan_tf.data.prepare import prepare_dataset
from rgan_tf.data.prepared import PreparedData
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
    images = read_visual_genome_dataset(writer.close(), keep=SMALL).splits["val"]
    return {image.image_id: image for image in images}.get(21)


def test_plain_images(writer, monkeypatch):
    root = writer.close()
    monkeypatch.chdir(root.parent)
    dataset = read_visual_genome_dataset(root.name, keep=SMALL)
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
    assert image.licence == ""  # no file of Visual Genome says


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


@pytest.mark.parametrize(
    ("x", "y", "box"),
    [
        (-39, 0, None),  # 1 px of it is inside
        (WIDTH - 31, 0, None),
        (0, HEIGHT - 31, None),
        (-8, 0, (0.0, 0.0, 0.2, 0.08)),  # 32 px
        (WIDTH - 32, HEIGHT - 32, (0.84, 0.92, 1.0, 1.0)),
    ],
)
def test_an_object_of_which_only_a_sliver_is_inside_is_too_small(writer, x, y, box):
    writer.add("val", 21, objects=[*PLAIN, ("dog", x, y, 40, 40)])
    dataset = read_visual_genome_dataset(writer.close(), keep=SMALL)
    image = {image.image_id: image for image in dataset.splits["val"]}[21]
    assert [item.box for item in image.objects[3:]] == ([] if box is None else [box])
    assert dataset.skipped["val"] == ({"object: too small": 1} if box is None else {})


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
    images = read_visual_genome_dataset(writer.close(), keep=SMALL).splits["val"]
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


def read(writer, change=None, **options):
    """The data set, once `change` has been at what the files hold."""
    if change is not None:
        change(writer)
    return read_visual_genome_dataset(writer.close(), keep=SMALL, **options)


def spoil_object(**others):
    return lambda writer: writer.objects[0]["objects"][1].update(others)


def spoil_relationship(**others):
    return lambda writer: writer.relationships[0]["relationships"][1].update(others)


@pytest.fixture
def roomy(writer):
    """Image 5, the first in the files, may lose an object and a relationship."""
    extra = ("dog", 0, 0, 50, 60)
    for entries in (writer.images, writer.objects, writer.relationships, writer.splits["train"]):
        del entries[0]
    later = (writer.images, writer.objects, writer.relationships, writer.splits["train"])
    kept = [list(entries) for entries in later]
    for entries in later:
        entries.clear()
    writer.add("train", 5, objects=[*PLAIN, extra], links=[*LINKS, (0, "near", 2)])
    for entries, rest in zip(later, kept, strict=True):
        entries += rest
    return writer


@pytest.mark.parametrize(
    "change, reason",
    [
        (spoil_object(names=5), "object: its name or box cannot be read"),
        (spoil_object(names=None), "object: its name or box cannot be read"),
        (spoil_object(x=float("nan")), "object: its name or box cannot be read"),
        (spoil_object(w="wide"), "object: its name or box cannot be read"),
        (spoil_object(names=[]), "object: rare name"),
        (spoil_object(names=["__image__"]), "object: rare name"),
        (spoil_object(w=-50), "object: too small"),
        (spoil_object(x=9000), "object: outside its image"),
        (spoil_object(object_id=None), "object: has no object_id"),
    ],
)
def test_one_bad_object_is_left_out_counted_and_named(roomy, change, reason):
    dataset = read(roomy, change)
    assert [item.category for item in dataset.splits["train"][2].objects] == ["man", "tree", "dog"]
    assert dataset.skipped["train"][reason] == 1
    assert "objects.json[0] objects[1]" in dataset.skipped_first["train"][reason][0]
    # The relationship "dog near man" goes with it.
    assert dataset.splits["train"][2].relationships == ((0, "on", 1), (0, "near", 1))
    assert dataset.skipped["val"] == dataset.skipped["test"] == {}


@pytest.mark.parametrize(
    "change, reason",
    [
        (spoil_relationship(predicate=None), "relationship: cannot be read"),
        (spoil_relationship(predicate=7), "relationship: cannot be read"),
        (spoil_relationship(subject=None), "relationship: cannot be read"),
        (spoil_relationship(object={"object_id": "x"}), "relationship: cannot be read"),
        (spoil_relationship(predicate="rides"), "relationship: rare predicate"),
        (
            spoil_relationship(object={"object_id": 77}),
            "relationship: of an object that is left out",
        ),
    ],
)
def test_one_bad_relationship_is_left_out_counted_and_named(roomy, change, reason):
    dataset = read(roomy, change)
    assert dataset.splits["train"][2].relationships == ((0, "on", 2), (0, "near", 2))
    assert dataset.skipped["train"] == {reason: 1}
    assert "relationships[1]" in dataset.skipped_first["train"][reason][0]


def as_first_release(writer):
    for entry in (*writer.images, *writer.objects, *writer.relationships):
        entry["id"] = str(entry.pop("image_id"))
    for entry in writer.objects:
        for item in entry["objects"]:
            item["id"] = float(item.pop("object_id"))
            item["name"] = item.pop("names")[0].upper()
            item["width"], item["height"] = item.pop("w"), item.pop("h")
            item.update(synsets=None, merged_object_ids=float("nan"))
    for entry in writer.relationships:
        for item in entry["relationships"]:
            item["predicate"] = f"  {item['predicate'].upper()} "
            item["subject"] = {"id": item["subject"]["id"]}
            item["object"] = {"id": item["object"]["id"]}
    for image in writer.images:
        image.update(coco_id=None, flickr_id=float("nan"), width=float(image["width"]))
    writer.splits["train"] = [str(image_id) for image_id in writer.splits["train"]]


def test_earlier_releases_and_other_ways_to_write_numbers(writer):
    plain = read(writer)
    assert read(writer, as_first_release) == plain


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.images.append(w.images[0]), r"image_data.json\[5\]: the image id 5 .*n\[0\]"),
        (lambda w: w.objects.append(w.objects[1]), r"objects.json\[5\]: the image id 3 .*n\[1\]"),
        (
            lambda w: w.relationships.append({"id": 4, "relationships": []}),
            r"relationships.json\[5\]: the image id 4 is also that of relationships.json\[2\]",
        ),
        (
            spoil_object(object_id=5000),
            r"objects.json\[0\] objects\[1\]: the object_id 5000 .* objects\[0\]",
        ),
        (lambda w: w.splits["val"].append(3), r"image 3 is both train\[1\] and val\[1\]"),
        (lambda w: w.splits["test"].append("20"), r"image 20 is both val\[0\] and test\[1\]"),
        (lambda w: w.splits["val"].append(20.0), r"image 20 is both val\[0\] and val\[1\]"),
    ],
)
def test_two_that_claim_one_id_are_both_named(writer, change, message):
    with pytest.raises(BadInput, match=message):
        read(writer, change, max_bad=0.9)


def test_the_same_object_listed_twice_counts_once(writer):
    plain = read(writer)
    dataset = read(writer, lambda w: w.objects[0]["objects"].append(w.objects[0]["objects"][0]))
    assert dataset.splits == plain.splits
    assert dataset.skipped["train"] == {"object: listed twice": 1}


def test_what_is_in_no_split_may_be_anything(writer):
    plain = read(writer)

    def change(writer):
        for entries in (writer.images, writer.objects, writer.relationships):
            entries += [{"image_id": 99}, {"image_id": 99, "url": 3}]

    assert read(writer, change) == plain


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.images[0].update(url=None), r"image_data.json\[0\]: 'url' must be text"),
        (lambda w: w.images[0].update(url="/a/../../b/.."), "image_data.json.0.: url: .*leads out"),
        (lambda w: w.images[0].update(width="wide"), r"image_data.json\[0\]: .*width is 'wide'"),
        (lambda w: w.images[0].update(width=10**7), r"image_data.json\[0\]: .*is 10000000"),
        (
            lambda w: w.images[0].update(height=-1),  # to be read in the file
            "VG_100K/5.jpg: No such file",
        ),
        (lambda w: w.objects[0].pop("objects"), r"objects.json\[0\]: has no list 'objects'"),
        (lambda w: w.relationships[0].update(relationships=3), "has no list 'relationships'"),
        (lambda w: w.splits["train"].append("x"), r"train\[5\] must be an image id, got 'x'"),
        (lambda w: w.splits["train"].append(-1), r"train\[5\] must be an image id, got -1"),
        (lambda w: w.images.append(7), r"image_data.json\[7\]: expected a JSON object"),
    ],
)
def test_one_bad_image_is_left_out_where_that_is_allowed(writer, change, message):
    writer.add("train", 7)
    writer.add("train", 9)
    with pytest.raises(BadInput, match=f"{message}.*--max-bad allows 0 such images, 1 were found"):
        read(writer, change)
    dataset = read(writer, max_bad=0.2)
    assert re.search(message, dataset.bad_images[0]) and len(dataset.bad_images) == 1
    assert {image.image_id for image in dataset.splits["train"]} >= {3, 4, 7, 9}


def test_images_in_no_list_are_counted(writer):
    dataset = read(writer, lambda w: w.splits["val"].append(88))
    assert dataset.skipped["val"] == {"image: not in image_data.json": 1}


def put(root, name, size=(WIDTH, HEIGHT)):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros([*size[::-1], 3], np.uint8)).save(root / name)


@pytest.mark.parametrize("folder", ["images/VG_100K", "images/VG_100K_2", "images", "VG_100K"])
def test_images_may_lie_in_one_folder(writer, folder):
    root = writer.close()
    for image in writer.images:
        put(root, f"{folder}/{image['image_id']}.jpg")
    for image in read(writer).splits["train"]:
        assert image.source == f"{folder}/{image.image_id}.jpg"
        assert image.path == root / image.source and image.path.is_file()


def test_one_name_in_two_other_folders_is_not_an_answer(writer):
    root = writer.close()
    for folder in ("images/VG_100K_2", "images"):
        put(root, f"{folder}/5.jpg")
    with pytest.raises(BadInput, match="VG_100K/5.jpg is missing, and both .* have its name"):
        read(writer)


def test_sizes_that_are_not_given_are_read_from_the_image(writer):
    root = writer.close()
    put(root, "images/VG_100K/5.jpg", (300, 210))
    dataset = read(writer, lambda w: w.images[0].update(width=-1, height=None))
    (image,) = [image for image in dataset.splits["train"] if image.image_id == 5]
    assert (image.width, image.height) == (300, 210)


def test_images_that_are_too_small_are_blamed_for_what_is_missing(writer):
    for image in writer.images:
        image.update(width=240, height=180)
    with pytest.raises(
        BadInput, match=r"has 200 px .* \(the largest: 240x180\); lower --min-image"
    ):
        read(writer)
    for split in writer.splits.values():
        split[:] = [number + 1000 for number in split]
    with pytest.raises(BadInput, match="no image of train in vg_splits.json is in image_data.json"):
        read(writer)


def test_nothing_left_says_why_and_what_helps(writer):
    writer.relationships[3]["relationships"] = []
    with pytest.raises(
        BadInput, match="left for val; left out: 1 x image: under 1 relationships; .*"
    ):
        read(writer)


def test_objects_of_other_images_are_not_a_reason_to_lower_a_count(writer):
    for entry in writer.objects:
        entry["image_id"] += 1000
    with pytest.raises(BadInput, match="the training images have no category; are objects.json"):
        read(writer)


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
    scenes = data.scenes("train", DataConfig(image_size=16, max_objects=2, max_triples=1))
    assert scenes.objects.shape == (3, 2)
    assert (scenes.triples[:, 0, 1] > 0).all()


def test_a_file_that_changes_is_not_a_bad_image(writer, monkeypatch):
    path = writer.close() / "objects.json"
    monkeypatch.setattr(
        visual_genome,
        "check_count",
        lambda *words: path.write_bytes(b" " * path.stat().st_size),
    )
    with pytest.raises(ChangedFile, match="objects.json: has changed"):
        read_visual_genome_dataset(writer.root, keep=SMALL, max_bad=0.9)
