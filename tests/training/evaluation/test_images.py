"""Figures of systems' images, with features whose distances are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.storage.image import read_image
from training.evaluation.crops import fit_crop_judge, training_crops
from training.evaluation.image_task import image_task
from training.evaluation.images import image_metrics, real_features
from training.evaluation.protocol import Protocol
from training.evaluation.report import image_keeper
from training.evaluation.systems import Drawn, System

PROTOCOL = Protocol("val", resamples=4)


def scenes(seed=0, batches=3, rows=4, brightness=0.0):
    """Batches of random pictures, each of one hue and contrast of its own, with two objects."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(batches):
        base = rng.uniform(-0.5, 0.5, [rows, 1, 1, 3]) + brightness
        noise = rng.normal(size=[rows, 16, 16, 3]) * rng.uniform(0.05, 0.4, [rows, 1, 1, 3])
        image = np.clip(base + noise, -1, 1)
        image[:, :8, :, 0] = 1.0  # the upper object is red
        found.append(
            {
                "image": tf.constant(image, tf.float32),
                "image_id": tf.range(number * rows, (number + 1) * rows, dtype=tf.int64),
                "objects": tf.constant([[2, 3, 0]] * rows),
                "boxes": tf.constant([[UPPER, LOWER, [0.0] * 4]] * rows),
                "triples": tf.constant([[[0, 0, 1]], *[[[-1, -1, -1]]] * (rows - 1)]),
            }
        )
    return found


UPPER, LOWER = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]


def system(name, boxes, change):
    return System(name, boxes, lambda batch: Drawn(change(batch["image"]), batch["boxes"]))


def judged(systems, real, other, backbone, protocol=PROTOCOL, **options):
    count = sum(len(batch["image"]) for batch in real)
    return image_metrics(
        systems,
        lambda: iter(real),
        real_features(backbone, real, count),
        real_features(backbone, other, count),
        backbone=backbone,
        protocol=protocol,
        **options,
    )


COPY = system("copy", "true", lambda image: image)
GREY = system("grey", "true", tf.zeros_like)


@pytest.fixture(scope="module")
def metrics(color_backbone):
    bright = system("bright", "predicted", lambda image: tf.minimum(image + 0.3, 1.0))
    judge = fit_crop_judge(*training_crops(color_backbone, scenes(7), 12))
    again = system("again", "true", tf.zeros_like)
    systems = [COPY, bright, GREY, again]
    return judged(systems, scenes(), scenes(1, batches=5), color_backbone, crop_judge=judge)


def test_names_say_system_layout_backbone_count_and_split(metrics):
    for name in ("copy/true_boxes", "bright/predicted_boxes", "grey/true_boxes", "floor/real"):
        assert f"{name}/fd_colors_12_val" in metrics
        assert any(key.startswith(f"{name}/k") for key in metrics)
    assert metrics["images"] == 12
    assert metrics["frechet_is_biased"] is False  # 12 images, 6 features


def test_the_same_images_are_at_distance_zero(metrics):
    assert metrics["copy/true_boxes/fd_colors_12_val"] == pytest.approx(0, abs=1e-6)


def test_the_worse_the_farther(metrics):
    copy, floor, bright, grey = (
        metrics[f"{name}/fd_colors_12_val"]
        for name in ("copy/true_boxes", "floor/real", "bright/predicted_boxes", "grey/true_boxes")
    )
    assert copy < floor < bright
    assert floor < grey
    # The mean of each colour moves by about 0.15 (of 0..1), squared and summed: at least 0.05.
    assert bright > 0.05


def test_intervals_hold_the_estimate_and_equal_sets_have_none(metrics):
    low, high = metrics["grey/true_boxes/fd_colors_12_val/interval_95"]
    assert 0 <= low < metrics["grey/true_boxes/fd_colors_12_val"] < high
    assert metrics["copy/true_boxes/kd_colors_12_val/interval_95"][1] < high
    # Whatever scenes are drawn, a copy is at distance zero.
    assert metrics["copy/true_boxes/fd_colors_12_val/interval_95"] == pytest.approx(
        [0, 0], abs=1e-6
    )


def test_resampled_distances_of_systems_are_kept_and_are_pairs(metrics):
    spreads = metrics["grey/true_boxes/fd_colors_12_val/resampled"]
    assert len(spreads) == 4 and np.std(spreads) > 0
    assert metrics["again/true_boxes/fd_colors_12_val/resampled"] == spreads
    assert "floor/real/fd_colors_12_val/interval_95" in metrics
    assert "floor/real/fd_colors_12_val/resampled" not in metrics  # of other scenes


def test_objects_are_recognised_where_they_are_drawn(metrics):
    assert metrics["copy/true_boxes/crop_accuracy_colors"] > 0.9
    assert metrics["copy/true_boxes/crop_accuracy_colors"] == metrics["real/crop_accuracy_colors"]
    assert metrics["grey/true_boxes/crop_accuracy_colors"] == 0.5  # all alike: one of two is right
    assert metrics["grey/true_boxes/crop_count"] == 24


def test_a_system_that_draws_one_image_is_told(color_backbone, capfd):
    faint = system("faint", "true", lambda image: image / 255.0)  # hardly one grey level apart
    judged([COPY, GREY, faint], scenes(), scenes(1), color_backbone)
    told = [line for line in capfd.readouterr().err.splitlines() if "one image" in line]
    assert len(told) == 2
    assert told[0].startswith(
        "eval: grey/true_boxes: draws one image for every scene: the first 12"
    )
    assert "faint/true_boxes" in told[1]


def test_a_system_without_a_layout_has_no_objects_to_recognise(color_backbone):
    judge = fit_crop_judge(*training_crops(color_backbone, scenes(7), 12))
    free = System("free", "true", lambda batch: Drawn(batch["image"], None))
    found = judged([COPY, free], scenes(), scenes(1), color_backbone, crop_judge=judge)
    assert found["free/true_boxes/fd_colors_12_val"] == found["copy/true_boxes/fd_colors_12_val"]
    assert "copy/true_boxes/crop_accuracy_colors" in found
    assert not any(name.startswith("free/true_boxes/crop") for name in found)


def test_groups_are_judged_apart(metrics):
    """No two boxes share pixels; the first scene of a batch has a relationship."""
    for name in ("copy", "grey"):
        accuracy = f"{name}/true_boxes/crop_accuracy_colors"
        assert metrics[f"{accuracy}/overlap_none"] == metrics[accuracy]
        assert f"{accuracy}/overlap_none/interval_95" in metrics
        assert f"{accuracy}/isolated" in metrics and f"{accuracy}/overlap_heavy" not in metrics
    assert not [name for name in metrics if "/kd_" in name and name.endswith("overlap_low")]


def test_the_distance_of_a_group_is_that_of_its_scenes(color_backbone):
    """24 scenes, of which the first 20 have a third object that covers all."""
    real = scenes(batches=6)
    for batch in real[:5]:
        batch["objects"] = tf.constant([[2, 3, 3]] * 4)
        batch["boxes"] = tf.constant([[UPPER, LOWER, [0.0, 0.0, 1.0, 1.0]]] * 4)

    def draw(batch):  # the scenes outside the group alone are drawn wrong
        covered = tf.reduce_all(batch["objects"] > 0)
        image = tf.where(covered, batch["image"], tf.ones_like(batch["image"]))
        return Drawn(image, batch["boxes"])

    found = judged([System("s", "true", draw)], real, scenes(1, batches=2), color_backbone)
    assert found["s/true_boxes/kd_colors_20_val/overlap_high"] < 1e-6
    assert found["s/true_boxes/kd_colors_24_val"] > 0.01  # of all scenes
    assert "s/true_boxes/kd_colors_4_val/overlap_low" not in found  # too few


def test_precision_recall_and_class_score(metrics):
    assert metrics["copy/true_boxes/precision_k3_colors_12_val"] == 1.0
    assert metrics["copy/true_boxes/recall_k3_colors_12_val"] == 1.0
    assert metrics["grey/true_boxes/recall_k3_colors_12_val"] < 0.5
    (score,) = [
        m for n, m in metrics.items() if n.startswith("copy/") and "/cs_" in n and "dev" not in n
    ]
    assert 1.0 < score <= 2.0  # of two classes
    (same,) = [
        m for n, m in metrics.items() if n.startswith("grey/") and "/cs_" in n and "dev" not in n
    ]
    assert same == pytest.approx(1.0)


def test_rounding_to_pixels_comes_first(color_backbone):
    """An error too small for a PNG to hold counts as none."""
    faint = system("faint", "true", lambda image: image * (1 - 1e-6))
    real = []
    for batch in scenes():
        pixels = tf.cast((batch["image"] + 1) * 127.5 + 0.5, tf.uint8)
        real.append({**batch, "image": tf.cast(pixels, tf.float32) / 127.5 - 1})
    metrics = judged([faint], real, scenes(1), color_backbone)
    assert metrics["faint/true_boxes/fd_colors_12_val"] == pytest.approx(0, abs=1e-9)


def test_saving_and_loading_changes_no_metric(color_backbone, tmp_path):
    bright = system("bright", "true", lambda image: tf.minimum(image + 0.3, 1.0))
    keep = image_keeper(tmp_path, "val")
    metrics = judged([bright], scenes(), scenes(1), color_backbone, keep=keep)
    loaded = []
    for batch in scenes():
        paths = [
            tmp_path / "val" / "bright" / "true_boxes" / f"{number}.png"
            for number in batch["image_id"].numpy()
        ]
        pixels = np.stack([read_image(path) for path in paths])
        loaded.append(tf.constant(pixels / 127.5 - 1, tf.float32))
    again = System(
        "bright", "true", lambda batch: Drawn(tf.gather(loaded, batch["number"]), batch["boxes"])
    )
    numbered = [{**batch, "number": tf.constant(n)} for n, batch in enumerate(scenes())]
    assert judged([again], numbered, scenes(1), color_backbone) == metrics


def test_order_and_batch_size_change_nothing(color_backbone):
    whole = scenes()
    rows = {name: tf.concat([batch[name] for batch in whole], axis=0)[::-1] for name in whole[0]}
    split = [{name: value[i : i + 5] for name, value in rows.items()} for i in (0, 5, 10)]
    protocol = Protocol("val", resamples=0)
    one = judged([GREY, COPY], whole, scenes(1), color_backbone, protocol)
    two = judged([GREY, COPY], split, scenes(1), color_backbone, protocol)
    assert one.keys() == two.keys()
    for name, value in one.items():
        if "/cs_" in name:  # its parts are runs of the order
            continue
        assert two[name] == pytest.approx(value, rel=1e-4, abs=1e-7), name


def test_few_images_are_said_to_be_biased(color_backbone):
    real = scenes(batches=1, rows=5)
    metrics = judged([], real, scenes(1), color_backbone, Protocol("test", resamples=0))
    assert metrics["frechet_is_biased"] is True
    assert metrics["images"] == 5 and "floor/real/fd_colors_5_test" in metrics


@pytest.mark.parametrize("count", [2, 3])
def test_two_images_have_no_interval(color_backbone, count):
    """It would say that the distance of two images is certain."""
    changed = system("changed", "true", lambda image: tf.clip_by_value(image * 0.5 + 0.2, -1, 1))
    metrics = judged([changed], scenes(batches=1, rows=count), scenes(1), color_backbone)
    for name in (f"fd_colors_{count}_val", f"kd_colors_{count}_val"):
        interval = metrics.get(f"changed/true_boxes/{name}/interval_95")
        assert (interval is None) == (count == 2)
        assert interval is None or interval[0] < metrics[f"changed/true_boxes/{name}"] < interval[1]


@pytest.mark.parametrize(("test", "has_floor"), [(1, False), (2, True)])
def test_a_split_of_one_image_is_not_a_floor(color_backbone, tmp_path, test, has_floor):
    """A distance needs two, and what is left out is the floor alone."""
    counts = {"train": 12, "test": test, "val": 0}
    data = SimpleNamespace(folder=tmp_path, fingerprint="f", record_count=counts.get)
    metrics = image_task(
        data,
        Config().data,
        [COPY],
        lambda split="train", candidates=None: (
            scenes() if split == "train" else scenes(1, batches=1, rows=counts[split])
        ),
        backbone=color_backbone,
        protocol=Protocol("train", resamples=2),
        keep=None,
    )
    assert "copy/true_boxes/fd_colors_12_train" in metrics
    assert ("floor/real/fd_colors_2_train" in metrics) == has_floor
    assert any(name.startswith("floor") for name in metrics) == has_floor


def test_only_so_many_real_images_are_read(color_backbone):
    def endless():
        while True:
            yield scenes()[0]

    assert real_features(color_backbone, endless(), 6).shape == (6, 6)


def test_long_work_shows_how_far_it_is(color_backbone, monkeypatch, capsys):
    monkeypatch.setattr("rgan_tf.progress._LONG_S", 0.0)
    same = system("same", "predicted", lambda images: images)
    judged([same], scenes(), scenes(1), color_backbone)
    written = capsys.readouterr().err
    assert "features of real images: 12/12" in written and f"{same.title}: 3/3" in written
