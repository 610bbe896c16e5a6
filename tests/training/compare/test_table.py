"""The table by hand."""

from __future__ import annotations

import dataclasses

import pytest

from rgan_tf.config import Config
from rgan_tf.metrics.diversity import diversity_name
from rgan_tf.metrics.frechet import frechet_name, kernel_name
from rgan_tf.metrics.inception_score import score_name
from rgan_tf.metrics.precision_recall import precision_name, recall_name
from training.compare.entries import entries_of
from training.compare.group_table import group_tables
from training.compare.table import COLUMNS, markdown, rows_of

SYSTEMS = ["retrievegan", "pasted_canvas", "oracle_patches"]
METRICS = {
    "retrievegan": {
        "retrievegan/predicted_boxes/fd_mobilenet_v2_4_val": 20.4,
        "retrievegan/predicted_boxes/fd_mobilenet_v2_4_val/interval_95": [18.0, 23.0],
        "retrievegan/true_boxes/fd_mobilenet_v2_4_val": 19.0,
        "retrieval/learned/style_agreement": 0.9,
        "retrieval/random/style_agreement": 0.1,
        "layout/box_iou_isolated": 0.1,
        "layout/box_iou": 0.5,
        "layout/relation_score": None,
    },
    "pasted_canvas": {
        "pasted_canvas/predicted_boxes/fd_mobilenet_v2_4_val": 30.0,
        "retrieval/learned/style_agreement": 0.9,
    },
    "oracle_patches": {
        "oracle_patches/predicted_boxes/fd_mobilenet_v2_4_val": 1.0,
        "retrieval/oracle_patches/style_agreement": 1.0,
    },
}


def table():
    entries = entries_of({"c": Config()}, SYSTEMS)
    return rows_of(entries, METRICS), {"retrievegan": 9, "pasted_canvas": None, "oracle_patches": 9}


def test_figures_are_taken_by_system_and_layout():
    rows, _ = table()
    ours, canvas, oracle = rows
    assert ours["Fréchet, predicted boxes"] == {
        "value": 20.4,
        "interval": [18.0, 23.0],
        "metric": "fd_mobilenet_v2_4_val",
    }
    assert ours["Fréchet, true boxes"]["value"] == 19.0
    assert ours["box IoU"]["value"] == 0.5
    assert ours["relationships"] is None and ours["kernel, true"] is None
    assert canvas["style agreement"]["value"] == 0.9
    assert oracle["style agreement"]["value"] == 1.0
    assert {"system", *(column.title for column in COLUMNS)} == set(ours)


def test_bold_is_the_best_that_does_not_see_the_truth():
    rows, steps = table()
    lines = markdown(rows, split="val", steps=steps).splitlines()
    head, _, ours, canvas, oracle = lines[:5]
    assert "Fréchet, predicted boxes" in head and "kernel" not in head  # nobody has one
    assert "| **20** [18, 23] |" in ours and "**0.90**" in ours
    assert "| 30 |" in canvas and "**0.90**" in canvas
    assert "**" not in oracle and "| 1 |" in oracle
    assert "fd_mobilenet_v2_4_val" in lines[-1]
    for name, is_bold in (("x-oracle_patches", False), ("my_oracle_patches", True)):
        rows[2]["system"] = name  # of one config among others, and a retriever of the user's own
        assert ("**1**" in markdown(rows, split="val", steps={**steps, name: 9})) is is_bold


def test_a_system_that_draws_one_image_is_never_the_best():
    rows, steps = table()
    assert "**20** [18, 23]" in markdown(rows, split="val", steps=steps)
    text = markdown(rows, split="val", steps=steps, one_image={"retrievegan"})
    assert "| 20 [18, 23] |" in text and "**30**" in text
    assert "The same image for every scene: retrievegan." in text


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "inception_v3"])
@pytest.mark.parametrize("count", [7, 5000])
def test_every_column_knows_the_names_that_are_given(backbone, count):
    """A column that matches nothing would vanish without a word."""
    named = {
        "Fréchet, predicted boxes": frechet_name(backbone, count, "val"),
        "kernel, predicted": kernel_name(backbone, count, "val"),
        "class score": score_name(backbone, count, 3, "val"),
        "precision": precision_name(backbone, count, 3, "val"),
        "recall": recall_name(backbone, count, 3, "val"),
        "objects recognised": f"crop_accuracy_{backbone}",
        "diversity": diversity_name(backbone),
    }
    metrics = {f"graph_nearest/predicted_boxes/{name}": 0.5 for name in named.values()}
    (entry,) = entries_of({"c": Config()}, ["graph_nearest"])
    (row,) = rows_of([entry], {"graph_nearest": metrics})
    for title, name in named.items():
        assert row[title]["metric"] == name


def test_the_first_stage_has_boxes_of_its_own():
    (entry,) = entries_of({"c": Config()}, ["first_stage"])
    metrics = {
        "layout/box_iou": 0.1,
        "first_stage/layout/box_iou": 0.4,
        "layout/relation_score": 0.2,
        "retrieval/learned/style_agreement": 0.9,
    }
    own = dataclasses.replace(entry, system="mine")  # a user's subclass that chooses by φ
    row, of_own = rows_of([entry, own], {"first_stage": metrics})
    assert row["box IoU"]["value"] == 0.4 and row["relationships"] is None
    assert row["style agreement"] is None and of_own["style agreement"]["value"] == 0.9


def test_groups_have_tables_of_their_own():
    entries = entries_of({"c": Config()}, ["graph_nearest", "first_stage"])
    place = "graph_nearest/predicted_boxes"
    metrics = {
        "graph_nearest": {
            f"{place}/crop_accuracy_x": 0.9,
            f"{place}/crop_accuracy_x/isolated": 0.25,
            f"{place}/crop_accuracy_x/isolated/interval_95": [0.1, 0.4],
            f"{place}/kd_x_40_val/overlap_low": 0.5,
        },
        "first_stage": {"first_stage/true_boxes/crop_accuracy_x/overlap_none": 1.0},
    }
    (row,) = rows_of(entries[:1], metrics)
    assert row["objects recognised"]["value"] == 0.9  # not that of a group
    text = group_tables(entries, metrics)
    assert "| graph nearest | 0.25 |" in text and "| first stage | - |" in text
    assert "| graph nearest | 0.500 |" in text and "| first stage | 1.00 |" in text
    assert "0.90" not in text and "0.4" not in text
    assert group_tables(entries, {name: {} for name in metrics}) == ""
