"""The procedural world: same seed same world, valid COCO files, ambiences that show everywhere."""

from __future__ import annotations

import collections
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from rgan_tf.annotations.coco import read_coco_dataset
from rgan_tf.errors import BadInput
from rgan_tf.spread import Engine
from rgan_tf.world import categories, draw_world, mask_polygon, split_of
from rgan_tf.world.ambience import AMBIENCES, Ambience
from rgan_tf.world.layout import STUFF, THINGS
from rgan_tf.world.scene import draw_scene

SIZE = 64
SCENES = 900


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(SIZE, 7, index) for index in range(SCENES)]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "coco"
    draw_world(folder, images=40, size=SIZE, seed=3)
    return folder


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _json(folder: Path, kind: str, split: str):
    return json.loads((folder / "annotations" / f"{kind}_{split}.json").read_text())


def test_the_same_seed_draws_the_same_files_on_any_engine(world, tmp_path):
    folder = tmp_path / "world"
    engine = Engine("DirectRunner", ("direct_running_mode=multi_threading",))
    counts = draw_world(folder, images=40, size=SIZE, seed=3, engine=engine)
    assert _digests(folder) == _digests(world)
    assert counts["images"] == 40
    assert counts["train2017"] == 32
    assert counts["val2017"] == 8


def test_another_seed_draws_another_world(world, tmp_path):
    draw_world(tmp_path, images=10, size=SIZE, seed=4)
    ours, theirs = _digests(tmp_path), _digests(world)
    shared = [name for name in ours if name.endswith(".png")]
    assert len(shared) == 10
    assert not [name for name in shared if ours[name] == theirs[name]]


def test_a_smaller_world_is_the_beginning_of_a_larger_one(world, tmp_path):
    draw_world(tmp_path, images=12, size=SIZE, seed=3)
    small, large = _digests(tmp_path), _digests(world)
    pictures = [name for name in small if name.endswith(".png")]
    assert len(pictures) == 12
    assert all(small[name] == large[name] for name in pictures)
    for split in ("train2017", "val2017"):
        part, whole = _json(tmp_path, "panoptic", split), _json(world, "panoptic", split)
        count = len(part["annotations"])
        assert part["annotations"] == whole["annotations"][:count]
        assert part["images"] == whole["images"][:count]


def test_every_fifth_image_is_held_out():
    assert [split_of(index) for index in range(10)] == (["train2017"] * 4 + ["val2017"]) * 2


def test_files_are_valid_coco(world):
    things = {c["id"] for c in categories() if c["isthing"]}
    for split in ("train2017", "val2017"):
        instances, panoptic = _json(world, "instances", split), _json(world, "panoptic", split)
        assert {c["id"] for c in instances["categories"]} == things
        assert instances["images"] == panoptic["images"]
        assert [licence["id"] for licence in instances["licenses"]] == [1]
        for image in instances["images"]:
            assert image["coco_url"] == f"procedural://3/{image['id'] - 1}"
            assert image["license"] == 1
            with Image.open(world / "images" / split / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"]) == (SIZE, SIZE)
                assert picture.mode == "RGB"
        ids = [annotation["id"] for annotation in instances["annotations"]]
        assert len(set(ids)) == len(ids)
        segments = {
            (row["image_id"], segment["id"]): segment
            for row in panoptic["annotations"]
            for segment in row["segments_info"]
        }
        for annotation in instances["annotations"]:
            x, y, width, height = annotation["bbox"]
            corners = np.array(annotation["segmentation"][0]).reshape(-1, 2)
            assert corners.min(axis=0).tolist() >= [x, y]
            assert corners.max(axis=0)[0] <= x + width
            assert corners[:, 1].min() == y
            assert corners[:, 1].max() == y + height
            assert annotation["iscrowd"] == 0
            segment = segments[annotation["image_id"], annotation["id"]]
            assert segment["bbox"] == annotation["bbox"]
            assert segment["category_id"] == annotation["category_id"]


def test_the_ambience_stands_only_in_the_style_of_images(world):
    names = {ambience.name for ambience in AMBIENCES}
    for path in (world / "annotations").iterdir():
        content = json.loads(path.read_text())
        styles = [image.pop("style") for image in content["images"]]
        assert set(styles) <= names
        rest = json.dumps(content)
        assert not [name for name in names if name in rest]


def test_the_coco_reader_keeps_every_image_and_every_object(world):
    dataset = read_coco_dataset(world)
    images = [image for members in dataset.splits.values() for image in members]
    assert len(images) == 40
    written = [
        len(row["segments_info"])
        for split in ("train2017", "val2017")
        for row in _json(world, "panoptic", split)["annotations"]
    ]
    assert sum(len(image.objects) for image in images) == sum(written)
    assert set(dataset.categories) == set(THINGS) | set(STUFF)
    assert all(seen.style for image in images for seen in image.objects)


def test_every_scene_has_three_to_eight_large_objects_inside_it(scenes):
    for scene in scenes:
        assert 3 <= len(scene.objects) <= 8
        assert scene.image.shape == (SIZE, SIZE, 3)
        for seen in scene.objects:
            x, y, width, height = seen.box
            assert x >= 0
            assert y >= 0
            assert x + width <= SIZE
            assert y + height <= SIZE
            assert width * height > 0.02 * SIZE * SIZE
            assert seen.mask[y : y + height, x : x + width].sum() == seen.mask.sum() > 0


def _box_cover(objects) -> np.ndarray:
    covered = np.zeros((SIZE, SIZE), bool)
    for seen in objects:
        x, y, width, height = seen.box
        covered[y : y + height, x : x + width] = True
    return covered


def test_sky_and_ground_boxes_tile_the_picture(scenes):
    shares = []
    for scene in scenes:
        stuff = [seen for seen in scene.objects if seen.category in STUFF]
        assert "sky" in {seen.category for seen in stuff}
        assert len({seen.category for seen in stuff} & {"grass", "sand"}) == 1
        # Things may hide the end of a strip of stuff; their own boxes cover it then.
        assert _box_cover(scene.objects).all()
        shares.append(_box_cover(stuff).mean())
    assert min(shares) > 0.9
    assert np.mean(np.array(shares) == 1.0) > 0.98


def test_masks_do_not_overlap_and_cover_nearly_everything(scenes):
    for scene in scenes:
        total = np.sum([seen.mask for seen in scene.objects], axis=0)
        assert total.max() == 1
    covered = [np.any([seen.mask for seen in scene.objects], axis=0).mean() for scene in scenes]
    assert np.mean(covered) > 0.98


def test_all_categories_and_ambiences_appear(scenes):
    seen = collections.Counter(each.category for scene in scenes for each in scene.objects)
    styles = collections.Counter(scene.style for scene in scenes)
    assert len(seen) == len(THINGS) + len(STUFF) >= 12
    assert len(styles) == len(AMBIENCES) >= 6
    assert min(seen.values()) >= 0.08 * SCENES
    assert min(styles.values()) >= 0.5 * SCENES / len(AMBIENCES)


def test_a_category_says_where_and_how_large(scenes):
    centres, areas = collections.defaultdict(list), collections.defaultdict(list)
    for scene in scenes:
        for seen in scene.objects:
            x, y, width, height = seen.box
            centres[seen.category].append((y + height / 2) / SIZE)
            areas[seen.category].append(width * height / SIZE**2)
    for name in ("balloon", "bird", "cloud", "sun", "sky"):
        assert np.mean(centres[name]) < 0.4, name
    for name in ("car", "flower", "road", "sand", "horse"):
        assert np.mean(centres[name]) > 0.6, name
    assert np.mean(areas["house"]) > 2 * np.mean(areas["bird"])
    assert np.mean([np.std(values) for values in centres.values()]) < 0.12


def _descriptor(scene, seen) -> np.ndarray:
    """Mean colours of the four quarters of the object's crop."""
    x, y, width, height = seen.box
    crop = Image.fromarray(scene.image[y : y + height, x : x + width])
    return np.asarray(crop.resize((2, 2), Image.Resampling.BOX), np.float32).ravel()


def _accuracy(scenes, category: str, shuffled: bool = False) -> float:
    """How often the nearest style mean, fitted on one half of the scenes, names the other's."""
    pairs = [
        (_descriptor(scene, seen), scene.style)
        for scene in scenes
        for seen in scene.objects
        if seen.category == category
    ]
    styles = np.array([style for _, style in pairs])
    if shuffled:
        styles = np.random.default_rng(0).permutation(styles)
    values = np.stack([value for value, _ in pairs])
    fit = np.arange(len(pairs)) % 2 == 0
    names = sorted(set(styles[fit]))
    means = np.stack([values[fit & (styles == name)].mean(0) for name in names])
    distances = np.linalg.norm(values[~fit][:, None] - means[None], axis=-1)
    return float((np.array(names)[distances.argmin(1)] == styles[~fit]).mean())


@pytest.mark.parametrize("category", sorted({**THINGS, **STUFF}))
def test_a_crop_of_any_category_shows_its_ambience(scenes, category):
    assert _accuracy(scenes, category) > 0.6


def test_shuffled_ambiences_cannot_be_told_apart(scenes):
    shuffled = [_accuracy(scenes, category, shuffled=True) for category in {**THINGS, **STUFF}]
    assert np.mean(shuffled) < 1.8 / len(AMBIENCES)


def test_things_vary_within_an_ambience(scenes):
    groups = collections.defaultdict(list)
    for scene in scenes:
        for seen in scene.objects:
            if seen.category in THINGS and seen.category not in ("sun", "cloud"):
                groups[scene.style, seen.category].append(_descriptor(scene, seen))
    spreads = {key: np.std(group, axis=0).mean() for key, group in groups.items() if len(group) > 3}
    assert len(spreads) > 40
    assert min(spreads.values()) > 1.5


def test_the_scene_is_the_same_at_another_size():
    for index in range(6):
        small, large = draw_scene(64, 7, index), draw_scene(128, 7, index)
        assert small.style == large.style
        reduced = np.asarray(Image.fromarray(large.image).reduce(2), np.float32)
        assert np.abs(reduced - small.image).mean() < 12


def test_the_smallest_and_the_largest_size_work():
    assert 3 <= len(draw_scene(32, 0, 0).objects) <= 8
    assert draw_scene(512, 0, 0).image.shape == (512, 512, 3)


def test_a_polygon_outlines_its_mask():
    mask = np.zeros((40, 40), bool)
    mask[5:31, 8:20] = True
    points = np.array(mask_polygon(mask)).reshape(-1, 2)
    assert (points.min(0).tolist(), points.max(0).tolist()) == ([8, 5], [20, 31])
    drawn = Image.new("L", (40, 40))
    ImageDraw.Draw(drawn).polygon([(x, y) for x, y in points], fill=1)
    assert abs(int(np.asarray(drawn).sum()) - int(mask.sum())) <= 60
    one_row = np.zeros((4, 4), bool)
    one_row[2, 1:3] = True
    assert mask_polygon(one_row) == [3, 2, 3, 3, 1, 3, 1, 2]


@pytest.mark.parametrize("change", [{"images": 9}, {"size": 16}, {"size": 4096}, {"seed": -1}])
def test_numbers_out_of_range_are_refused_before_anything_is_written(tmp_path, change):
    numbers = {"images": 10, "size": 64, "seed": 0, **change}
    with pytest.raises(BadInput, match=next(iter(change))):
        draw_world(tmp_path / "world", **numbers)
    assert not (tmp_path / "world").exists()


def test_a_folder_with_anything_in_it_is_refused_and_left_as_it_is(world):
    notes = world / "notes.txt"
    notes.write_text("mine")
    before = _digests(world)
    try:
        with pytest.raises(BadInput, match="not empty"):
            draw_world(world, images=10, size=32, seed=0)
        assert _digests(world) == before
    finally:
        notes.unlink()


def test_a_call_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fails(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rgan_tf.world.world._draw_block", fails)
    with pytest.raises(OSError, match="No space left"):
        draw_world(tmp_path / "world", images=10, size=32, seed=0)
    assert not list(tmp_path.iterdir())


def test_progress_reaches_the_end(tmp_path, capfd):
    draw_world(tmp_path / "silent", images=40, size=32, seed=0)
    assert capfd.readouterr().err == ""
    draw_world(tmp_path / "told", images=40, size=32, seed=0, progress=True)
    assert "drawn images: 40/40" in capfd.readouterr().err


def _agreement_within_scenes(scenes) -> float:
    """Correlation of the colours of two objects of a scene, beyond ambience and category."""
    groups = collections.defaultdict(list)
    for number, scene in enumerate(scenes):
        for seen in scene.objects:
            colour = _descriptor(scene, seen).reshape(4, 3).mean(0)
            groups[scene.style, seen.category].append((number, colour))
    residuals = collections.defaultdict(list)
    for members in groups.values():
        mean = np.mean([colour for _, colour in members], axis=0)
        for number, colour in members:
            residuals[number].append(colour - mean)
    pairs, lengths = [], []
    for members in map(np.stack, residuals.values()):
        products = members @ members.T
        pairs.extend(products[~np.eye(len(members), dtype=bool)])
        lengths.extend(np.diag(products))
    return float(np.mean(pairs) / np.mean(lengths))


def test_every_photograph_of_an_ambience_has_a_light_of_its_own(scenes, monkeypatch):
    assert _agreement_within_scenes(scenes) > 0.3
    monkeypatch.setattr(Ambience, "photographed", lambda self, rng: self)
    same_light = [draw_scene(SIZE, 7, index) for index in range(SCENES // 2)]
    assert _agreement_within_scenes(same_light) < 0.15
    assert [scene.style for scene in scenes[: SCENES // 2]] == [scene.style for scene in same_light]


def test_a_photograph_keeps_the_name_and_the_side_of_the_light():
    for ambience in AMBIENCES:
        first, second, again = (
            ambience.photographed(np.random.default_rng(seed)) for seed in (0, 1, 0)
        )
        assert first == again != second
        assert (first.name, first.light) == (ambience.name, ambience.light)
        assert 0 <= first.haze_near <= 1
        assert 0 <= first.haze_far <= 1
        assert max(abs(np.log(first.gain))) < 0.35
