"""Systems that are trained with several seeds."""

from __future__ import annotations

import json
import shutil

import pytest

from rgan_tf.config import Config, changed
from rgan_tf.errors import BadInput
from training.compare.entries import entries_of, with_seeds
from training.compare.seeds import check_seeds, seeds_table
from training.compare.table import rows_of

SYSTEMS = ["retrievegan", "sg2im", "first_stage", "pasted_canvas"]


def entries():
    return entries_of({"c": Config()}, SYSTEMS)


def test_every_row_but_the_shared_first_stage_is_repeated_on_the_same_first_stages():
    first = entries()
    assert with_seeds(first, ()) == first
    rows = with_seeds(first, (3, 4))
    assert rows[: len(first)] == first
    further = {row.name: row for row in rows[len(first) :]}
    names = ["retrievegan", "sg2im", "pasted_canvas"]
    assert list(further) == [f"{name}-seed_{seed}" for seed in (3, 4) for name in names]
    ours, rival = further["retrievegan-seed_3"], further["sg2im-seed_4"]
    assert ours.base == rival.base == "retrievegan"
    assert further["pasted_canvas-seed_3"].run == ours.run == "retrievegan-seed_3"
    assert "training.seed=3" in ours.settings and "training.seed=4" in rival.settings
    assert rival.steps == next(row for row in first if row.name == "sg2im").steps
    assert all(row.is_whole for row in rows)


def test_rows_of_a_shared_base_keep_it():
    first = entries_of({"c": Config()}, SYSTEMS, shares_a_base=True)
    assert {row.base for row in with_seeds(first, [1])} == {"first_stages"}


@pytest.mark.parametrize(
    "seeds, systems, message",
    [
        ((-1,), SYSTEMS, "-1: must be at least 0"),
        ((2**31,), SYSTEMS, "below 2^31"),
        ((2, 3, 2), SYSTEMS, "2: is given twice"),
        ((1, 5), SYSTEMS, "5: is the seed that b has"),
        ((1,), ["first_stage"], "1: first_stage is one for all seeds; add another system"),
    ],
)
def test_seeds_that_repeat_a_row_are_refused(seeds, systems, message):
    configs = {"a": Config(), "b": changed(Config(), training={"seed": 5})}
    with pytest.raises(BadInput) as error:
        check_seeds(seeds, configs, systems)
    assert message in str(error.value)


def test_the_table_has_the_mean_and_every_figure():
    def metrics(system, value):
        return {f"{system}/true_boxes/fd_mobilenet_v2_4_val": value, "layout/box_iou": 0.5}

    rows = with_seeds(entries(), (7,))
    found = {row.name: metrics(row.system, 100.0) for row in rows}
    found["sg2im-seed_7"] = metrics("sg2im", 111.0)
    text = seeds_table(rows, rows_of(rows, found), (7,))
    assert "2 seeds, the config's and 7" in text
    lines = text.splitlines()
    assert lines[2] == "| system | Fréchet, true boxes | box IoU |"
    assert "| sg2im | 106 (100, 111) | 0.50 (0.50, 0.50) |" in lines
    assert "| retrievegan | 100 (100, 100) | 0.50 (0.50, 0.50) |" in lines
    assert not any(line.startswith("| first stage") for line in lines)
    assert "every scene" not in text
    text = seeds_table(rows, rows_of(rows, found), (7,), one_image={"sg2im-seed_7"})
    assert text.endswith("The same image for every scene: sg2im-seed_7.")


def test_a_seed_that_a_row_has_is_refused_before_data_are_opened(rgan, tmp_path):
    words = ("--data", tmp_path / "none", "--out", tmp_path / "out", "--further-seeds", 0)
    reply = rgan("compare", "procedural_64", *words)
    assert reply.code == 2 and "--further-seeds 0: is the seed that procedural_64 has" in reply.err


@pytest.mark.thorough
def test_a_second_seed_is_another_training_of_the_same_first_stages(
    calls, trained_folder, copied, tiny_world, tmp_path, rgan
):
    config = shutil.copy(trained_folder / "config.yaml", tmp_path / "tiny.yaml")
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    shutil.move(copied, out / "runs" / "retrievegan")
    words = ("compare", config, "--data", tiny_world.folder, "--out", out)
    words += ("--systems", "retrievegan", "--resamples", 0, "--further-seeds", 11)
    reply = rgan(*words)
    assert reply.code == 0, reply.err
    folders = [out / "runs" / name for name in ("retrievegan", "retrievegan-seed_11")]
    weights = [
        [
            json.loads((folder / stage / "stage.json").read_text())["weights_sha256"]
            for folder in folders
        ]
        for stage in ("sg2im", "cooccurrence", "retrievegan")
    ]
    assert [len(set(pair)) for pair in weights] == [1, 1, 2]
    assert [row["system"] for row in json.loads(reply.out)["rows"]] == [
        "retrievegan",
        "retrievegan-seed_11",
    ]
    assert "Trained with 2 seeds" in (out / "table.md").read_text()
    again = rgan(*words)
    assert again.code == 0 and json.loads(again.out) == json.loads(reply.out)
