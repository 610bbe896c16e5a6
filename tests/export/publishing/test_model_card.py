"""The card says what run and bank say, and nothing else."""

from __future__ import annotations

import json

import pytest

from export.model_folder import EXTRA
from export.publishing.model_card import MODEL_CARD_FILE, model_card, read_newest_metrics
from export.signatures import INPUTS, Sizes
from rgan_tf.vocabulary import Vocabulary

SIZES = Sizes(6, 9, 16, 64, 48, 4, 5, 4, 7, 2)
METRICS = {
    "split": "val",
    "step": 30,
    "images": 400,
    "floor/real/fd_mobilenet_v2_400_val": 281.36653,
    "retrievegan/predicted_boxes/fd_mobilenet_v2_400_val": 432.04,
    "retrievegan/predicted_boxes/fd_mobilenet_v2_400_val/interval_95": [400.0, 460.0],
    "sg2im/predicted_boxes/fd_mobilenet_v2_400_val": 1191.0,
    "layout/box_iou": 0.58123,
    "layout/box_iou_isolated": None,
    "retrieval/learned/style_agreement": None,
    "retrieval/random/style_agreement": 0.15,
}


def card(**changes):
    return model_card(
        **{
            "config_name": "tiny",
            "sizes": SIZES,
            "vocabulary": Vocabulary.from_categories(["tree", "sky"]),
            "weights": "aaaa-bbbb-cccc",
            "steps": {"sg2im": 10, "retrievegan": 30},
            "data_fingerprint": "d" * 64,
            "bank_fingerprint": "b" * 64,
            "patch_licences": ["CC BY 4.0", "", "CC BY 4.0", "Attribution License", "My own"],
            "index": "exact",
            "metrics": None,
            **changes,
        }
    )


def section(text, title):
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def test_sizes_limits_and_fingerprints():
    lines = card().splitlines()
    assert lines[0] == "# tiny"
    for line in (
        "| config | tiny |",
        "| image | 48 x 48 px, from patches of 16 px |",
        "| objects per graph | at most 6 |",
        "| relationships per graph | at most 9 |",
        "| graphs per request | at most 8 |",
        "| temperature | above 0, at most 100 |",
        "| search of the bank | exact |",
        "| weights | `aaaa-bbbb-cccc` |",
        f"| patch bank | `{'b' * 64}` |",
        "| patches | 5 |",
    ):
        assert lines.count(line) == 1, line
    training = section(card(), "Training")
    assert "d" * 64 in training and "sg2im 10, retrievegan 30" in training
    assert "Steps: not recorded" in section(card(steps={}), "Training")


def test_licences_are_counted_by_name_with_their_codes():
    rows = [line for line in section(card(), "Licences of the patches").splitlines() if "|" in line]
    assert rows[2:] == [
        "| CC BY 4.0 | BY | 2 |",
        "| not stated | unknown | 1 |",
        "| Attribution License | BY | 1 |",
        "| My own | other | 1 |",
    ]


def test_categories_relationships_limits_and_endpoints():
    text = card()
    categories = section(text, "Categories")
    assert "sky, tree." in categories and "left of, right of" in categories
    assert "__" not in categories  # reserved names are nobody's to write
    cannot = section(text, "What it cannot do")
    for fact in ("no other categories", "one size", "no safety filter", "licences of the patches"):
        assert fact in cannot
    asked = section(text, "How to ask it")
    assert all(f"* `{endpoint}`: " in asked for endpoint in INPUTS)


def test_without_an_evaluation_it_says_so():
    assert section(card(), "Evaluation").strip() == (
        "No evaluation is recorded with the run that this model was made from."
    )


def test_headline_figures_keep_their_names():
    lines = section(card(metrics=METRICS), "Evaluation").strip().splitlines()
    assert lines[0].endswith("split val, the weights of step 30, which are those of this model.")
    assert lines[4:] == [
        "| `floor/real/fd_mobilenet_v2_400_val` | 281.4 |",
        "| `retrievegan/predicted_boxes/fd_mobilenet_v2_400_val` | 432 |",
        "| `layout/box_iou` | 0.5812 |",
        "| `retrieval/learned/style_agreement` | not measurable |",
    ]


def test_an_evaluation_of_other_weights_is_called_so():
    text = section(card(metrics={**METRICS, "step": 20}), "Evaluation")
    assert "the weights of step 20. This model has those of step 30." in text
    assert "which are those of this model" not in text
    again = {"weights": "aaaa-bbbb-dddd", "data": "e" * 64}
    text = section(card(metrics={**METRICS, **again}), "Evaluation")
    assert "weights of step 30 from before a stage was trained again." in text
    assert "which are those of this model" not in text and "on other data" in text
    same = {"weights": "aaaa-bbbb-cccc", "data": "d" * 64}
    text = section(card(metrics={**METRICS, **same}), "Evaluation")
    assert "which are those of this model" in text and "other data" not in text
    few = section(card(metrics={"split": "val", "step": 30}), "Evaluation")
    assert "none of the headline figures" in few


def test_names_from_elsewhere_cannot_change_the_page():
    text = card(config_name="a|b\n# <b>", patch_licences=["x | y\n| z"])
    assert "| config | a\\|b \\# \\<b\\> |" in text
    assert "| x \\| y \\| z | other | 1 |" in text


@pytest.mark.parametrize("tail", ["", "\n", '{"split": "val", "st', "null\n", "[1]\n"])
def test_the_newest_whole_line_counts(tmp_path, tail):
    lines = [{"split": "val", "step": 1}, {"split": "test", "step": 2}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines) + tail)
    assert read_newest_metrics(tmp_path) == {"split": "test", "step": 2}


def test_a_run_without_evaluations_has_none(tmp_path):
    assert read_newest_metrics(tmp_path) is None
    (tmp_path / "metrics.jsonl").write_text("")
    assert read_newest_metrics(tmp_path) is None


def test_an_exported_model_comes_with_its_card(exported):
    text = (exported.version / EXTRA / MODEL_CARD_FILE).read_text("utf-8")
    assert f"| weights | `{exported.run.fingerprint()}` |" in text
    assert f"| patch bank | `{exported.data.bank.fingerprint}` |" in text
    assert f"| patches | {len(exported.data.bank)} |" in text
    assert exported.run.data_fingerprint in section(text, "Training")
    assert "No evaluation is recorded" in text
    count = (len(exported.data.bank) + 2) // 3
    assert f"| Attribution License | BY | {count} |" in text
    assert f"{EXTRA}/{MODEL_CARD_FILE}" in exported.model.manifest["files"]
