"""Figures of metrics.jsonl: which count, and where they stand."""

from __future__ import annotations

import json
import re

import pytest

from tests.training.report.reading import Page
from training.report.evaluation import Evaluation, evaluation_tasks, read_evaluations
from training.report.notes import Notes
from training.report.page import TEMPLATES
from training.templates import html_environment


def write(folder, *lines):
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "metrics.jsonl").write_text("\n".join(text) + "\n")


def rows(figures):
    """Cells of every row, row by row, over all tables."""
    macros = html_environment(TEMPLATES).get_template("macros.html").module
    made = macros.evaluation(evaluation_tasks(figures))
    return [
        [Page(cell).text for cell in re.findall(r"<t[dh].*?</t[dh]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", made)
    ]


def test_all_lines_of_the_latest_step_count_and_the_later_wins(tmp_path):
    write(
        tmp_path,
        {"split": "test", "step": 5, "a/b": 9.0},
        {"split": "val", "step": 5, "layout/box_iou": 0.1, "gone": 1},
        {"split": "val", "step": 9, "layout/box_iou": 0.2, "images": 3},
        {"split": "val", "step": 9, "layout/box_iou": 0.3, "c": None},
    )
    val, test = read_evaluations(tmp_path, Notes())
    figures = {"layout/box_iou": 0.3, "images": 3, "c": None}
    assert val == Evaluation("val", 9, None, None, figures, [5])
    assert test == Evaluation("test", 5, None, None, {"a/b": 9.0}, [])


@pytest.mark.parametrize("key", ["weights", "data"])
def test_lines_of_other_weights_or_data_do_not_count_at_the_same_step(tmp_path, key):
    """A stage that is trained again ends at the same step as before."""
    new = {"split": "val", "step": 9, "weights": "new", "data": "own"}
    before, unknown = {**new, key: "other"}, {"split": "val", "step": 9}
    write(tmp_path, {**before, "a": 1.0}, {**unknown, "b": 1.0}, {**new, "c": 2.0}, {**new, "d": 3})
    assert read_evaluations(tmp_path, Notes()) == [
        Evaluation("val", 9, "new", "own", {"c": 2.0, "d": 3}, [])
    ]


def test_damaged_lines_are_named_and_left_out(tmp_path, capsys):
    write(
        tmp_path,
        {"split": "val", "step": 5, "x": 1.0},
        '{"split": "val", "st',
        '["val", 5]',
        '{"split": "val", "x": 2.0}',
        '{"split": "val", "step": 6, "x": NaN}',
        "",
    )
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b"\xff\xfe\n")
    notes = Notes()
    assert read_evaluations(tmp_path, notes) == [Evaluation("val", 5, None, None, {"x": 1.0}, [])]
    numbers = [int(re.search(r"line (\d+)", line)[1]) for line in notes.lines]
    assert numbers == [2, 3, 4, 5, 7]
    assert capsys.readouterr().err.count("\n") == 5


def test_no_file_no_evaluations(tmp_path):
    assert read_evaluations(tmp_path, Notes()) == []


def test_box_modes_stand_side_by_side_and_the_floor_across_both():
    found = rows(
        {
            "floor/real/fd_x_4_val": 2.0,
            "retrievegan/true_boxes/fd_x_4_val": 7.0,
            "retrievegan/predicted_boxes/fd_x_4_val": 8.0,
            "own_patches/true_boxes/fd_x_4_val": 5.0,
            "retrievegan/predicted_boxes/diversity_x": 0.5,
            "retrievegan/true_boxes/diversity_x": 0.25,
            "images": 4,
        }
    )
    assert found == [
        ["", "fd_x_4_val"],
        ["", "predicted boxes", "true boxes"],
        ["real against real (floor)", "2"],
        ["retrievegan", "8", "7"],
        ["own_patches", "", "5"],
        ["figure", "value"],
        ["images", "4"],
        ["", "diversity_x"],
        ["", "predicted boxes", "true boxes"],
        ["retrievegan", "0.5", "0.25"],
    ]


def test_selections_are_rows_and_what_could_not_be_measured_is_a_dash():
    found = rows(
        {
            "retrieval/learned/style_agreement": 0.9,
            "retrieval/random/style_agreement": None,
            "retrieval/learned/gt_recall@1": 0.6,
            "layout/box_iou": 0.5,
            "cooccurrence/same_image_auc": 0.97,
            "frechet_is_biased": True,
            "new/figure": "text",
        }
    )
    assert found == [
        ["figure", "value"],
        ["frechet_is_biased", "yes"],
        ["figure", "value"],
        ["box_iou", "0.5"],
        ["", "style_agreement", "gt_recall@1"],
        ["learned", "0.9", "0.6"],
        ["random", "–", ""],
        ["figure", "value"],
        ["same_image_auc", "0.97"],
        ["figure", "value"],
        ["new/figure", "text"],
    ]


def test_layout_figures_of_both_modes_are_understood():
    found = rows({"layout/predicted_boxes/iou": 0.5, "layout/true_boxes/iou": 1.0})
    assert found[-1] == ["layout", "0.5", "1"]


def test_intervals_and_deviations_stand_beside_their_figure():
    found = rows(
        {
            "sg2im/true_boxes/fd_x": 10.0,
            "sg2im/true_boxes/fd_x/interval_95": [9.5, 11.0],
            "sg2im/true_boxes/fd_x/resampled": [10.0, 10.5],
            "sg2im/true_boxes/is_x": 2.0,
            "sg2im/true_boxes/is_x/deviation": 0.25,
            "real/crop_accuracy_x": 0.5,
            "layout/box_iou": 0.5,
            "layout/box_iou/interval_95": [None, 0.75],
            "lost/interval_95": [1, 2],
        }
    )
    assert found == [
        ["", "fd_x", "is_x", "crop_accuracy_x"],
        ["", "predicted boxes", "true boxes", "predicted boxes", "true boxes", ""],
        ["sg2im", "", "10 [9.5, 11]", "", "2 ± 0.25", ""],
        ["real images", "", "", "", "", "0.5"],
        ["figure", "value"],
        ["box_iou", "0.5 [–, 0.75]"],
        ["figure", "value"],
        ["lost/interval_95", "[1, 2]"],
    ]


def test_many_figures_are_set_in_several_tables():
    found = rows({f"sg2im/true_boxes/f{i}": float(i) for i in range(5)})
    assert [row for row in found if row[0] == "sg2im"] == [
        ["sg2im", "", "0", "", "1", "", "2"],
        ["sg2im", "", "3", "", "4"],
    ]
