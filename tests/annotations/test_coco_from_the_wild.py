"""COCO files as other programs write them: what is read, left out and refused."""

from __future__ import annotations

import json
import shutil

import pytest

from rgan_tf.annotations.coco import CocoFilter, read_coco_dataset
from rgan_tf.errors import BadInput, CorruptData

LOOSE = CocoFilter(require_stuff=False)
BOXES = [[0, 0, 40, 20], [40, 0, 40, 20], [0, 20, 40, 20], [40, 20, 40, 20]]


@pytest.fixture
def coco(coco_writer, thing):
    """Writes 3 + 2 images of 80 x 40 px with four objects each; reads them, changed."""
    writer = coco_writer("none")
    for part, numbers in (("train2017", (1, 2, 3)), ("val2017", (4, 5))):
        for number in numbers:
            things = [thing(1 + index % 3, box) for index, box in enumerate(BOXES)]
            writer.add(part, number, things, None)
    root = writer.close()

    def read(change=lambda value, part: None, text=lambda text: text, **options):
        for part in ("train2017", "val2017"):
            path = root / "annotations" / f"instances_{part}.json"
            value = json.loads(path.read_text())
            for number, annotation in enumerate(value["annotations"], start=1):
                annotation["id"] = number
            change(value, part)
            path.write_text(text(json.dumps(value)))
        return read_coco_dataset(root, keep=LOOSE, **options)

    read.root = root
    return read


def on_train(change):
    return lambda value, part: change(value) if part == "train2017" else None


def first(value) -> dict:
    return value["annotations"][0]


@pytest.fixture
def plain(coco):
    return coco()


def test_whole_floats_and_digits_are_numbers(coco, plain):
    def change(value, part):
        for image in value["images"]:
            image.update(id=str(image["id"]), width=80.0, height="40", license=4.0)
        for annotation in value["annotations"]:
            annotation.update(image_id=float(annotation["image_id"]), iscrowd=0.0)
            annotation.update(category_id=f"{annotation['category_id']:03d}")

    assert coco(change) == plain


def test_sizes_that_are_not_given_are_read_from_the_image(coco, plain):
    sizes = iter([-1, None, 0, float("nan"), ""])

    def change(value, part):
        for image in value["images"]:
            image["width"] = next(sizes)
        value["images"][0].pop("height")

    assert coco(change) == plain


def test_the_size_of_a_damaged_image_cannot_be_read(coco):
    (coco.root / "images" / "train2017" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    change = on_train(lambda value: value["images"][1].update(width=-1))
    with pytest.raises(CorruptData, match="2.png: damaged.*--max-bad"):
        coco(change)
    dataset = coco(max_bad=0.2)
    assert [image.image_id for image in dataset.splits["train"]] == [1, 3]
    assert "2.png: damaged" in dataset.bad_images[0]


def test_one_polygon_by_itself_is_a_polygon(coco):
    corners = [20, 10, 40, 20, 20, 20]
    lists = coco(on_train(lambda value: first(value).update(segmentation=[corners])))
    flat = coco(on_train(lambda value: first(value).update(segmentation=corners)))
    assert flat == lists
    assert flat.splits["train"][0].objects[0].centre != (0.25, 0.25)


def test_what_nobody_reads_may_be_anything(coco, plain):
    def change(value, part):
        value["info"] = {"n": float("nan"), "m": [float("inf")]}
        for index, annotation in enumerate(value["annotations"]):
            annotation.update(area="AREA", relation=[None, float("nan")])
            annotation["id"] = [index, float("nan")][index % 2]
        value["categories"] += [
            {"id": 8, "name": ""},
            {"id": 9, "name": "__image__"},
            {"id": 10},
            {"id": 11, "name": "one"},
            {"id": 11, "name": "two"},
            {"name": "dog"},
            {"id": 12, "name": "dog"},
            5,
        ]
        value["licenses"] += [3, {"id": 9}, {"id": 9, "name": 7}]

    # Two values and a number of thousands of digits; no writer would make them.
    rest = f'{{"twice": 1, "twice": 2, "long": {"9" * 5000}}}'
    dataset = coco(change, lambda text: text.replace('"AREA"', rest))
    assert dataset.splits == plain.splits
    assert dataset.categories == ("car", "dog", "one", "person")
    assert dataset.skipped == {"train2017": {}, "val2017": {}}


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"segmentation": [[1745227, 10, 1438]]}, "its segmentation cannot be read"),
        ({"segmentation": [[1, 2, 3, 4, float("nan"), 5]]}, "its segmentation cannot be read"),
        ({"segmentation": [[0, 0, 1e300, 0, 5, 5]]}, "its segmentation cannot be read"),
        ({"segmentation": [[1, "x", 3]]}, "its segmentation cannot be read"),
        ({"segmentation": 5}, "its segmentation cannot be read"),
        ({"segmentation": {"size": [4, 5], "counts": [99]}}, "its segmentation cannot be read"),
        ({"segmentation": {"size": [1, "5"], "counts": "\x01"}}, "its segmentation cannot be read"),
        ({"bbox": [1, 2, 3]}, "its box cannot be read"),
        ({"bbox": None}, "its box cannot be read"),
        ({"bbox": [1, "a", 3, 4]}, "its box cannot be read"),
        ({"bbox": [1, 2, float("nan"), 4]}, "its box cannot be read"),
        ({"bbox": [1, 2, float("inf"), 4]}, "its box cannot be read"),
        ({"bbox": [10, 10, 0, 5]}, "its box has no area"),
        ({"bbox": [50, 30, -40, -20]}, "its box has no area"),
        ({"bbox": [100, 100, 40, 20]}, "outside its image"),
        ({"category_id": 77}, "its category is not listed"),
        ({"category_id": None}, "its category is not listed"),
        ({"category_id": "dog"}, "its category is not listed"),
        ({"iscrowd": "maybe"}, "iscrowd is neither 0 nor 1"),
        ({"image_id": "first"}, "its image is not given"),
        ({"image_id": None}, "its image is not given"),
        ({"image_id": 99}, "its image is not listed"),
        (7, "not an annotation"),
    ],
)
def test_one_bad_object_is_left_out_counted_and_named(coco, plain, change, reason):
    def spoil(value):
        if change == 7:
            value["annotations"][0] = 7
        else:
            first(value).update(change)

    dataset = coco(on_train(spoil))
    assert dataset.skipped == {"train2017": {f"object: {reason}": 1}, "val2017": {}}
    (named,) = dataset.skipped_first["train2017"][f"object: {reason}"]
    assert "annotations[0]" in named
    image, *others = dataset.splits["train"]
    assert image.objects == plain.splits["train"][0].objects[1:]
    assert others == list(plain.splits["train"][1:])


def test_a_category_without_a_usable_name_costs_its_objects_alone(coco):
    def change(value, part):
        value["categories"] += [{"id": 8, "name": " "}, {"id": 9, "name": "__image__"}]
        value["annotations"][0]["category_id"] = 8
        value["annotations"][5]["category_id"] = 9

    dataset = coco(change)
    assert dataset.skipped["train2017"] == {
        "object: its category has no name": 1,
        "object: its category has a name that the model uses itself": 1,
    }
    assert dataset.categories == ("car", "dog", "person")


def test_a_category_of_ones_own_may_be_called_other(coco):
    def change(value, part):
        value["categories"][0]["name"] = "other"

    dataset = coco(change)
    assert dataset.categories == ("car", "dog", "other")
    assert dataset.skipped == {"train2017": {}, "val2017": {}}


def twin_image(value, **others):
    value["images"].append(value["images"][0] | {"id": 77} | others)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda v: twin_image(v, id=1.0, file_name="b.png"),
            r"images\[3\]: the image id 1 .*s\[0\]",
        ),
        (lambda v: twin_image(v), r"images\[3\]: the file name '1.png' .* images\[0\]"),
        (lambda v: twin_image(v, file_name=".\\1.png"), r"the file name '1.png' .* images\[0\]"),
        (lambda v: first(v).update(id="2"), r"annotations\[1\]: the annotation id 2 .*s\[0\]"),
        (
            lambda v: v["categories"].append({"id": 1, "name": "cat"}),
            r"categories\[3\]: the category id 1 is also that of .* categories\[0\]",
        ),
        (
            lambda v: v["categories"][1].update(name=" person "),
            r"categories\[1\]: the category name 'person' is also that of .* categories\[0\]",
        ),
    ],
)
def test_two_that_claim_one_id_or_name_are_both_named(coco, change, message):
    with pytest.raises(BadInput, match=message) as caught:
        coco(on_train(change), max_bad=0.9)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_there_twice_is_not_taken(coco):
    with pytest.raises(BadInput, match="has no list 'annotations'"):
        coco(text=lambda text: text[:-1] + ', "annotations": []}')


def test_names_lead_to_files_however_they_are_written(coco, plain):
    folder = coco.root / "images" / "train2017"
    (folder / "images").mkdir()
    (folder / "1.png").rename(folder / "images" / "1.png")
    (folder / "2.png").rename(coco.root / "kept.png")
    (folder / "2.png").symlink_to(coco.root / "kept.png")
    names = ["images\\1.png", f"{folder}/2.png", "../train2017/3.png"]

    def change(value):
        for image, name in zip(value["images"], names, strict=True):
            image["file_name"] = name

    train = coco(on_train(change)).splits["train"]
    assert [image.source for image in train] == [
        f"images/train2017/{name}" for name in ("images/1.png", "2.png", "3.png")
    ]
    assert all(image.path.is_file() for image in train)


@pytest.mark.parametrize("last, free", [(3, [4, 5]), (2**63 - 1, [0, 3])])
def test_images_numbered_anew_in_each_file_are_told_apart(coco, plain, last, free):
    """Numbers made of names may leave none above."""

    def change(value, part):
        for key, entries in (("id", value["images"]), ("image_id", value["annotations"])):
            for entry in entries:
                if part == "val2017":
                    entry[key] -= 3
                elif entry[key] == 3:
                    entry[key] = last

    dataset = coco(change)
    assert dataset.renumbered_images == 2
    ids = {split: [image.image_id for image in images] for split, images in dataset.splits.items()}
    assert ids == {"train": [1, 2, last], "val": free[:1], "test": free[1:]}
    assert dataset.splits["train"][:2] == plain.splits["train"][:2]
    assert dataset.splits["test"][0].source == "images/val2017/5.png"


@pytest.mark.parametrize("by", ["id", "file_name"])
def test_one_picture_in_train_and_val_is_refused(coco, by):
    shutil.copy(coco.root / "images/train2017/2.png", coco.root / "images/val2017/4.png")
    if by == "file_name":
        (coco.root / "images/val2017/4.png").rename(coco.root / "images/val2017/2.png")

    def change(value, part):
        if part == "val2017" and by == "id":
            value["images"][0]["id"] = 2
            for entry in value["annotations"]:
                entry["image_id"] = 2 if entry["image_id"] == 4 else 5
        elif part == "val2017":
            value["images"][0]["file_name"] = "2.png"

    with pytest.raises(BadInput, match=r"val2017/\d.png: is the same picture as .*train2017/2.png"):
        coco(change)


def test_nothing_left_says_why_and_what_helps(coco):
    few = CocoFilter(require_stuff=False, min_objects=5)
    coco()
    with pytest.raises(BadInput) as caught:
        read_coco_dataset(coco.root, keep=few)
    assert "train2017 needs 1 images, and 0 are left" in str(caught.value)
    assert "3 x image: under 5 objects; a smaller --min-objects" in str(caught.value)
    assert "stuff" not in str(caught.value)


@pytest.mark.parametrize(
    "content, kind",
    [
        ({"shapes": [], "imagePath": "a.jpg"}, "LabelMe"),
        ({"_via_settings": {}, "_via_img_metadata": {}}, "VIA"),
        ([{"id": 1, "annotations": [], "data": {"image": "a.jpg"}}], "Label Studio"),
    ],
)
def test_formats_of_other_programs_are_called_by_name(coco, content, kind):
    (coco.root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    with pytest.raises(BadInput, match=f"{kind}.*docs/your_own_data.md"):
        read_coco_dataset(coco.root, keep=LOOSE)


def test_another_layout_is_told_where_things_go(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "_annotations.coco.json").write_text("{}")
    with pytest.raises(BadInput, match=r"train/_annotations.coco.json exists.*your_own_data.md"):
        read_coco_dataset(tmp_path, keep=LOOSE)


def test_panoptic_files_follow_the_same_rules(coco_writer, thing):
    writer = coco_writer("panoptic")
    for part, numbers in (("train2017", (1,)), ("val2017", (2, 3))):
        for number in numbers:
            writer.add_plain(part, number, 4)
    root = writer.close()
    path = root / "annotations" / "panoptic_train2017.json"
    value = json.loads(path.read_text())
    value["categories"] += [{"id": 300, "name": ""}, {"id": 301, "isthing": "x"}]
    grass = value["annotations"][0]["segments_info"][-1]
    value["annotations"][0]["segments_info"] += [grass | {"category_id": 301}, 3]
    path.write_text(json.dumps(value))
    dataset = read_coco_dataset(root)
    assert len(dataset.splits["train"][0].objects) == 4
    assert dataset.skipped["train2017"] == {
        "object: not an annotation": 1,
        "object: its category does not say isthing": 1,
    }
    value["annotations"].append(value["annotations"][0])
    path.write_text(json.dumps(value))
    with pytest.raises(BadInput, match="the panoptic image_id 1 is also that of"):
        read_coco_dataset(root)
