from __future__ import annotations

import json
import re

import pytest

from rgan_tf.annotations import coco
from rgan_tf.annotations.coco import CocoFilter, read_coco_dataset
from rgan_tf.annotations.coco_annotations import CocoAnnotations
from rgan_tf.annotations.left_out import BadImages
from rgan_tf.annotations.masks import segmentation_centroid
from rgan_tf.annotations.stored_lists import ChangedFile
from rgan_tf.annotations.visual_genome import GenomeFilter
from rgan_tf.bank.sources import coco_source
from rgan_tf.errors import BadInput

# Images are 80 x 40 px: 2 % of the area are 64 px.
BIG = [(0, 0, 40, 20), (40, 0, 40, 20), (0, 20, 40, 20)]


def fill(writer, part, first_id, count):
    for image_id in range(first_id, first_id + count):
        writer.add_plain(part, image_id)


def one_image(writer, thing, things, stuff=None, **others):
    """The training image made of these, beside enough plain ones; None if it was left out."""
    stuff = [thing(183, (0, 0, 80, 40))] if stuff is None else stuff
    writer.add("train2017", 7, things, stuff, **others)
    fill(writer, "train2017", 100, 1)
    fill(writer, "val2017", 200, 2)
    images = read_coco_dataset(writer.close()).splits["train"]
    return next((image for image in images if image.image_id == 7), None)


def test_boxes_become_fractions_y_first(coco_writer, thing):
    image = one_image(coco_writer(), thing, [thing(1, box) for box in BIG])
    assert [item.box for item in image.objects] == [
        (0.0, 0.0, 0.5, 0.5),
        (0.0, 0.5, 0.5, 1.0),
        (0.5, 0.0, 1.0, 0.5),
    ]
    assert image.objects[0].centre == (0.25, 0.25)
    assert image.licence == "Attribution License"
    assert image.url == "http://example.org/7"
    assert image.source == "images/train2017/7.png"
    assert (image.width, image.height) == (80, 40)


@pytest.mark.parametrize(
    ("form", "is_named"), [("corners", True), ("sizes", False), ("one beyond", False)]
)
def test_boxes_that_look_like_two_corners_are_named(coco_writer, thing, caplog, form, is_named):
    boxes = [(0, 0, 40, 20), (40, 0, 40, 20), (0, 20, 40, 20), (40, 20, 40, 20)]
    if form == "corners":
        boxes = [(x, y, x + width, y + height) for x, y, width, height in boxes]
    elif form == "one beyond":  # as annotators draw it, of seven boxes of all images
        boxes[1] = (40, 0, 60, 20)
    writer = coco_writer()
    fill(writer, "train2017", 1, 1)
    writer.add("train2017", 7, [thing(1, box) for box in boxes], [])
    fill(writer, "val2017", 200, 2)
    root = writer.close()
    train = root / "annotations" / "instances_train2017.json"
    read_coco_dataset(root, keep=CocoFilter(require_stuff=False))
    coco_source(train, root / "images" / "train2017")  # of a bank
    assert caplog.text.count("two corners") == (2 if is_named else 0)
    if is_named:
        assert f"{train}: 3 of 7 boxes reach out" in caplog.text
        assert "instances_val2017.json" not in caplog.text


def test_a_box_of_which_only_a_sliver_is_inside_is_too_small(coco_writer, thing):
    sliver = thing(1, (-39, 0, 40, 40))  # 1 px of it: 1.25 %
    cut = thing(2, (-20, 0, 40, 40))
    image = one_image(coco_writer(), thing, [thing(3, box) for box in BIG] + [sliver, cut])
    assert [item.box for item in image.objects][3:] == [(0.0, 0.0, 1.0, 0.25)]


def test_small_other_crowd_and_empty_objects_are_dropped(coco_writer, thing):
    kept = [thing(2, box) for box in BIG]
    dropped = [
        thing(1, (0, 0, 8, 8)),  # exactly 2 %
        thing(1, (0, 0, 40, 40), iscrowd=1),
        thing(1, (90, 0, 40, 40)),  # beyond the right edge
    ]
    just_enough = thing(3, (0, 0, 8, 8.1))
    image = one_image(
        coco_writer(), thing, kept + dropped + [just_enough], [thing(183, (0, 0, 80, 40))]
    )
    assert [item.category for item in image.objects] == ["dog", "dog", "dog", "car"]


def test_boxes_are_clipped_to_the_image(coco_writer, thing):
    things = [thing(1, box) for box in BIG[:2]] + [thing(1, (-20, 10, 60, 60))]
    image = one_image(coco_writer(), thing, things)
    assert image.objects[2].box == (0.25, 0.0, 1.0, 0.5)


@pytest.mark.parametrize("count, kept", [(2, False), (3, True), (8, True), (9, False)])
def test_three_to_eight_objects(coco_writer, thing, count, kept):
    things = [thing(1, (index, 0, 40, 20)) for index in range(count)]
    assert (one_image(coco_writer(), thing, things) is not None) == kept


@pytest.mark.parametrize("kind", ["stuff", "panoptic"])
def test_stuff_comes_from_either_file_and_things_are_not_doubled(coco_writer, thing, kind):
    things = [thing(1, box) for box in BIG]
    stuff = [thing(93, (0, 0, 80, 10)), thing(183, (0, 0, 80, 40))]
    image = one_image(coco_writer(kind), thing, things, stuff)
    assert [item.category for item in image.objects] == ["person"] * 3 + ["sky"]


def test_images_without_stuff_need_the_flag(coco_writer, thing):
    writer = coco_writer()
    writer.add("train2017", 7, [thing(1, box) for box in BIG], None)
    fill(writer, "train2017", 100, 2)
    fill(writer, "val2017", 200, 4)
    root = writer.close()
    strict = read_coco_dataset(root)
    assert [image.image_id for image in strict.splits["train"]] == [100, 101]
    assert strict.skipped["train2017"] == {"image: no stuff annotations": 1}
    loose = read_coco_dataset(root, keep=CocoFilter(require_stuff=False))
    assert [image.image_id for image in loose.splits["train"]] == [7, 100, 101]


def test_no_stuff_files_at_all(coco_writer):
    writer = coco_writer("none")
    fill(writer, "train2017", 1, 2)
    with pytest.raises(BadInput, match="--allow-missing-stuff, in Python keep=CocoFilter"):
        read_coco_dataset(writer.close())


@pytest.mark.parametrize("kind", ["stuff", "panoptic"])
def test_a_link_to_stuff_that_leads_nowhere_does_not_ask_for_none(coco_writer, kind):
    writer = coco_writer("none")
    fill(writer, "train2017", 1, 2)
    fill(writer, "val2017", 5, 2)
    root = writer.close()
    loose = CocoFilter(require_stuff=False, min_objects=1)
    assert len(read_coco_dataset(root, keep=loose).splits["train"]) == 2
    (root / "annotations" / f"{kind}_train2017.json").symlink_to("downloads/stuff.json")
    with pytest.raises(BadInput, match=f"{kind}_train2017.json: No such file"):
        read_coco_dataset(root, keep=loose)


def test_categories_are_all_but_other_used_or_not(coco_writer):
    writer = coco_writer()
    fill(writer, "train2017", 1, 1)
    fill(writer, "val2017", 5, 2)
    dataset = read_coco_dataset(writer.close())
    assert dataset.categories == ("car", "dog", "grass", "person", "sky")


def test_val_and_test_follow_annotation_order(coco_writer):
    writer = coco_writer()
    fill(writer, "train2017", 1, 1)
    for image_id in (50, 20, 40, 10, 30):
        writer.add_plain("val2017", image_id)
    splits = read_coco_dataset(writer.close()).splits
    ids = {split: [image.image_id for image in images] for split, images in splits.items()}
    assert ids == {"train": [1], "val": [20, 50], "test": [10, 30, 40]}


def test_published_split_sizes_where_there_are_enough(coco_writer, monkeypatch):
    monkeypatch.setattr(coco, "VAL_IMAGES", 2)
    monkeypatch.setattr(coco, "TEST_IMAGES", 3)
    writer = coco_writer()
    fill(writer, "train2017", 1, 1)
    fill(writer, "val2017", 10, 7)
    splits = read_coco_dataset(writer.close()).splits
    assert [image.image_id for image in splits["val"]] == [10, 11]
    assert [image.image_id for image in splits["test"]] == [12, 13, 14]


def test_limit_keeps_the_first_and_changes_nothing_else(coco_writer):
    writer = coco_writer()
    fill(writer, "train2017", 1, 6)
    fill(writer, "val2017", 10, 8)
    root = writer.close()
    whole, few = read_coco_dataset(root, seed=3), read_coco_dataset(root, seed=3, limit=2)
    for none in (0, -1):  # -1 would leave out the last image of each split
        with pytest.raises(BadInput, match=f"--limit must be at least 1, got {none}"):
            read_coco_dataset(root, limit=none)
    for split, images in few.splits.items():
        assert images == whole.splits[split][:2]
    other = read_coco_dataset(root, seed=4)
    assert other.splits["train"] != whole.splits["train"]  # other relationships


def test_style_reaches_every_object(coco_writer, thing):
    image = one_image(coco_writer(), thing, [thing(1, box) for box in BIG], style="dusk")
    assert {item.style for item in image.objects} == {"dusk"}


def damaged(coco_writer, change, part="train2017", kind="instances"):
    writer = coco_writer()
    fill(writer, "train2017", 1, 2)
    fill(writer, "val2017", 10, 2)
    root = writer.close()
    path = root / "annotations" / f"{kind}_{part}.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    return root


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda v: v.pop("images"), "has no list 'images'"),
        (lambda v: v["images"][0].pop("file_name"), r"images\[0\]: 'file_name' must be text"),
        (lambda v: v["images"][1].update(width=2e6), r"images\[1\]: width and height"),
        (lambda v: v["images"][1].update(width="wide"), r"images\[1\]: width and height"),
        (lambda v: v["images"][1].update(id="a"), r"images\[1\]: 'id' must be an integer"),
        (lambda v: v["images"][1].pop("id"), r"images\[1\]: 'id' must be an integer"),
        (lambda v: v["images"][1].update(id=True), r"images\[1\]: 'id' must be an integer"),
        (lambda v: v["images"].append(3), r"images\[2\]: expected a JSON object"),
        (lambda v: v["images"][0].update(file_name="../../../etc/passwd"), "leads out of"),
        (lambda v: v["images"][0].update(file_name="/etc/passwd"), "leads out of"),
        (lambda v: v["images"][0].update(file_name="C:\\a.jpg"), "on a drive of another machine"),
    ],
)
def test_files_that_are_not_coco_are_named_in_one_line(coco_writer, change, message):
    root = damaged(coco_writer, change)
    with pytest.raises(BadInput, match=message) as caught:
        read_coco_dataset(root)
    assert "\n" not in str(caught.value)
    if r"images\[" in message:  # one image: left out where that is allowed
        assert "--max-bad allows 0 such images, 1 were found" in str(caught.value)
        assert re.search(message, read_coco_dataset(root, max_bad=0.3).bad_images[0])


def test_images_are_found_from_another_working_folder(coco_writer, monkeypatch):
    """They are read by `prepare`, perhaps in workers on other machines; messages are kept with data
    and do not name the working folder."""
    root = damaged(coco_writer, lambda v: v["images"][1].update(file_name="../../../a.png"))
    monkeypatch.chdir(root.parent)
    dataset = read_coco_dataset(root.name, max_bad=0.3)
    monkeypatch.chdir("/")
    assert dataset.splits["train"][0].path == root / "images/train2017/1.png"
    assert dataset.bad_images[0].endswith(f"leads out of {root.name}/images/train2017")


def test_stuff_must_agree_with_instances(coco_writer):
    def claim(value):
        value["categories"].append({"id": 1, "name": "cat"})

    root = damaged(coco_writer, claim, kind="stuff")
    with pytest.raises(BadInput, match="category 1 is 'cat' here and 'person'"):
        read_coco_dataset(root)


@pytest.mark.parametrize(
    "lost", ["annotations/instances_val2017.json", "images/val2017", "images/train2017"]
)
def test_missing_parts_are_named(coco_writer, lost):
    root = damaged(coco_writer, lambda value: None)
    (root / lost).rename(root / "away")
    with pytest.raises(BadInput, match=lost.rsplit("/", 1)[-1]):
        read_coco_dataset(root)


def test_json_that_is_not_json(coco_writer):
    root = damaged(coco_writer, lambda value: None)
    (root / "annotations" / "instances_train2017.json").write_text('{"images": [')
    with pytest.raises(BadInput, match="instances_train2017.json: not JSON"):
        read_coco_dataset(root)
    with pytest.raises(BadInput, match="no such folder"):
        read_coco_dataset(root / "nowhere")


BOX = (0.25, 0.25, 0.75, 0.75)  # of a 80 x 40 image: x 20..60, y 10..30


def test_polygon_centroids():
    whole = [[20, 10, 60, 10, 60, 30, 20, 30]]
    assert segmentation_centroid(whole, BOX, 80, 40) == pytest.approx((0.5, 0.5), abs=0.01)
    # The centroid of a triangle is the mean of its corners.
    triangle = [[20, 10, 60, 30, 20, 30]]
    expected = ((10 + 30 + 30) / 3 / 40, (20 + 60 + 20) / 3 / 80)
    assert segmentation_centroid(triangle, BOX, 80, 40) == pytest.approx(expected, abs=0.01)
    left_half = [[20, 10, 30, 10, 30, 30, 20, 30], [30, 10, 40, 10, 40, 30, 30, 30]]
    assert segmentation_centroid(left_half, BOX, 80, 40) == pytest.approx((0.5, 0.375), abs=0.01)
    assert segmentation_centroid([[1, 2]], BOX, 80, 40) is None


def compress(runs):
    """COCO's text form of run lengths, from its description: 5 bits and a continuation bit."""
    text = ""
    for index, run in enumerate(runs):
        value = run - (runs[index - 2] if index > 2 else 0)
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + bits + (32 if more else 0))
    return text


@pytest.mark.parametrize("compressed", [False, True])
def test_run_length_centroids(compressed):
    # 4 rows, 5 columns, down the columns: column 1 whole, of column 3 the two lower cells.
    runs = [4, 4, 4 + 2, 2, 4]
    mask = {"size": [4, 5], "counts": compress(runs) if compressed else runs}
    rows, columns = [0.5, 1.5, 2.5, 3.5, 2.5, 3.5], [1.5, 1.5, 1.5, 1.5, 3.5, 3.5]
    expected = (sum(rows) / 6 / 4, sum(columns) / 6 / 5)
    assert segmentation_centroid(mask, BOX, 5, 4) == pytest.approx(expected)


def test_compressed_run_lengths_of_all_sizes():
    runs = [0, 1000, 3, 40000, 31, 17, 99999, 1]
    mask = {"size": [1, sum(runs)], "counts": compress(runs)}
    plain = {"size": [1, sum(runs)], "counts": runs}
    width = sum(runs)
    assert segmentation_centroid(mask, BOX, width, 1) == segmentation_centroid(plain, BOX, width, 1)


def test_a_mask_may_be_of_another_resolution_but_not_of_another_shape():
    mask = {"size": [40, 80], "counts": [1600, 40]}
    for factor in (1, 3, 0.5):
        size = (round(80 * factor), round(40 * factor))
        assert segmentation_centroid(mask, BOX, *size) == (0.5, pytest.approx(40.5 / 80))
    with pytest.raises(ValueError, match=r"size \[40, 80\] is not of its image"):
        segmentation_centroid(mask, BOX, 40, 80)
    small = {"size": [10, 16], "counts": [0, 160]}  # of 640 x 427, 40 times smaller
    assert segmentation_centroid(small, BOX, 640, 427) == (0.5, 0.5)
    with pytest.raises(ValueError, match="is not of its image"):
        segmentation_centroid(small, BOX, 427, 640)


@pytest.mark.parametrize(
    "mask",
    [
        {"size": [4, 5], "counts": [21]},
        {"size": [4, 5], "counts": [-1, 3]},
        {"size": [4], "counts": [1]},
        {"size": [10**6, 10**6], "counts": [1, 10**12 - 1]},
        {"size": [4, 5], "counts": "\x01"},
        {"counts": [1]},
        "mask",
    ],
)
def test_masks_of_another_form_are_refused(mask):
    with pytest.raises(ValueError):
        segmentation_centroid(mask, BOX, 5, 4)


def test_real_coco(coco_root):
    dataset = read_coco_dataset(coco_root)
    loose = read_coco_dataset(coco_root, keep=CocoFilter(require_stuff=False))
    for split, images in dataset.splits.items():
        assert len(images) > 10
        assert len(loose.splits[split]) > len(images)
        for image in images:
            assert image.path.is_file()
            assert 3 <= len(image.objects) <= 8
            for item in image.objects:
                y0, x0, y1, x1 = item.box
                assert 0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1
                assert (y1 - y0) * (x1 - x0) > 0.0199
                # A polygon may reach a little beyond its box.
                assert y0 - 0.01 <= item.centre[0] <= y1 + 0.01
                assert x0 - 0.01 <= item.centre[1] <= x1 + 0.01
    assert len(dataset.categories) == 133


def test_a_file_that_changes_is_not_a_bad_image(coco_writer):
    writer = coco_writer()
    fill(writer, "train2017", 100, 2)
    root = writer.close()
    path = root / "annotations" / "instances_train2017.json"
    bad = BadImages(0.9)
    annotations = CocoAnnotations(path, root / "images" / "train2017", bad)
    path.write_bytes(b" " * path.stat().st_size)
    with pytest.raises(ChangedFile, match="instances_train2017.json: has changed"):
        annotations.annotated(100, CocoFilter(), 0)
    assert not bad.lines


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: CocoFilter(min_box_share="0.1"), "--min-box-share '0.1': must be a number"),
        (lambda: CocoFilter(min_box_share=float("nan")), "--min-box-share must be a share"),
        (lambda: CocoFilter(max_objects=8.5), "--max-objects 8.5: must be a whole number"),
        (
            lambda: GenomeFilter(min_category_count=float("nan")),
            "--min-category-count nan: must be",
        ),
        (lambda: GenomeFilter(min_object_size=None), "--min-object-size None: must be a whole num"),
    ],
)
def test_a_threshold_is_a_number(make, message):
    with pytest.raises(BadInput, match=message):
        make()
