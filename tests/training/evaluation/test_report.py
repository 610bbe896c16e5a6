"""What an evaluation leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rgan_tf.errors import BadInput
from training.evaluation.report import image_keeper, write_report


def test_lines_are_appended_and_pictures_written(tmp_path):
    picture = np.full([8, 12, 3], 200, np.uint8)
    out = tmp_path / "new" / "run"
    write_report(
        out,
        "val",
        {"a/b": 0.5, "images": 3, "flag": False, "a/b/interval_95": [0.4, float("inf")]},
        picture,
        step=70,
        weights="w-w-w",
        data="d",
    )
    figures = {"a/b": float("nan"), "c": 2.0}
    write_report(out, "test", figures, None, step=70, weights="w-w-w", data="d")
    lines = (out / "metrics.jsonl").read_text().splitlines()
    first, second = (json.loads(line, parse_constant=lambda name: 1 / 0) for line in lines)
    judged = {"step": 70, "weights": "w-w-w", "data": "d"}
    assert first == {"split": "val", **judged, "a/b": 0.5, "images": 3, "flag": False} | {
        "a/b/interval_95": [0.4, None]
    }
    assert second == {"split": "test", **judged, "a/b": None, "c": 2.0}
    with Image.open(out / "pictures" / "eval-val-0000070.png") as image:
        assert image.size == (12, 8)
    assert len(list((out / "pictures").iterdir())) == 1
    assert _summaries(out / "logs" / "eval-val") == {
        "a/b": 70,
        "images": 70,
        "flag": 70,
        "eval-val": 70,
    }
    assert _summaries(out / "logs" / "eval-test") == {"c": 70}


def _summaries(folder: Path) -> dict[str, int]:
    (path,) = folder.glob("events*")
    return {
        value.tag: event.step
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }


def test_images_are_kept_by_system_and_never_mixed(tmp_path):
    keep = image_keeper(tmp_path / "images", "val")
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    keep("ours/true_boxes", np.array([7, 12345678901], np.int64), pixels)
    for name, image in zip(("7", "12345678901"), pixels, strict=True):
        path = tmp_path / "images" / "val" / "ours" / "true_boxes" / f"{name}.png"
        with Image.open(path) as saved:
            np.testing.assert_array_equal(np.asarray(saved), image)
    with pytest.raises(BadInput, match="holds val already"):
        image_keeper(tmp_path / "images", "val")
    image_keeper(tmp_path / "images", "test")
