"""What is said about the rivals beside the table."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rgan_tf.config import Config, changed
from rgan_tf.config_files import config_to_yaml
from rgan_tf.registered_names import RIVALS
from training.compare.entries import entries_of
from training.compare.run import compare
from training.compare.steps import Evaluation, Steps
from training.compare.systems import Facts, deviations, systems_table

SYSTEMS = ("retrievegan", *RIVALS, "pastegan_style", "first_stage", "pasted_canvas")


@pytest.fixture
def say():
    """The deviations of some systems, a line each."""

    def of(*systems, config=None, metrics=None, judge="mobilenet_v2"):
        configs = {"c": config or Config()}
        entries = entries_of(configs, systems)
        metrics = {entry.name: {} for entry in entries} | (metrics or {})
        return deviations(entries, configs, metrics, judge=judge).splitlines()

    return of


def test_steps_operations_and_weights():
    facts = {
        "retrievegan": Facts(100, 124.04, 1500.4, 3_000_000),
        "pastegan_style": Facts(100, None, 0.0, 12),
    }
    first, _, _, _, ours, style = systems_table(facts, budget="steps").splitlines()
    assert "as many joint steps" in first
    assert ours == "| retrievegan | 100 | 124.0 | 1,500 | 13,904 | 3,000,000 |"
    assert style == "| pastegan style | 100 | - | - | - | 12 |"
    assert "RetrieveGAN's operations" in systems_table(facts, budget="flops").splitlines()[0]


def test_every_rival_has_a_line_and_no_other_system(say):
    first, empty, *lines = say(*SYSTEMS, judge="inception_v3")
    for word in ("group normalisation", "tanh", "moving average", "learning rates", "widths"):
        assert word in first
    assert not empty
    assert [line.partition(":")[0] for line in lines] == [f"* {rival}" for rival in RIVALS]
    sg2im, layout2im, pastegan, attngan = lines
    assert "predicted masks" in sg2im
    assert "predicted boxes are those of the first stage" in layout2im
    assert "the own patch and the 2 nearest" in pastegan and "the 3 nearest" in pastegan
    assert "squeezenet" in pastegan and "matched by squeezenet" in attngan
    assert "16, 32, 64 px" in attngan and "both box modes have the same images" in attngan
    assert "told by their names" not in attngan


def test_what_the_config_does_to_the_rivals_data_is_named(say):
    assert "All are trained" not in say("sg2im")[0]
    config = changed(
        Config(name="street"),
        data={"flip": True, "incomplete_scenes": 0.2, "redraw_relations": True},
        discriminators={"augmentation": "color,cutout"},
    )
    (first, *_) = say("sg2im", config=config)
    assert first.endswith(
        "All are trained with street's mirrored images (data.flip), scenes without some objects "
        "(data.incomplete_scenes=0.2), relationships drawn anew for every epoch "
        "(data.redraw_relations), augmented images before the discriminators (color,cutout)."
    )
    assert "All are trained" not in say("retrievegan", config=config)[0]
    configs = {"runs/a.yaml": config, "coco": Config(name="coco"), "b.yaml": config}
    entries = entries_of(configs, ["retrievegan", "sg2im"])
    metrics = {entry.name: {} for entry in entries}
    text = deviations(entries, configs, metrics, judge="inception_v3").splitlines()[0]
    assert "All are trained" not in text and "Those of coco" not in text
    for name in ("a", "b"):
        assert f"Those of {name} are trained with street's mirrored images" in text


def test_a_further_rival_is_not_told_as_another(say, monkeypatch):
    further = (*RIVALS, "further")
    monkeypatch.setattr("training.compare.systems.RIVALS", further)
    monkeypatch.setattr("training.compare.entries.SYSTEMS", ("retrievegan", *further))
    config = changed(Config(), losses={"perceptual_backbone": "mobilenet_v2"})
    (line,) = say("further", config=config)[2:]
    assert line == "* further: as rgan_tf/rivals/further/__init__.py says."


def test_texts_without_a_relationship_are_counted(say):
    (line,) = say("attngan", metrics={"attngan": {"scenes_told_by_names": 7}})[2:]
    assert line.endswith("told by their names: 7.")
    (line,) = say("attngan", config=changed(Config(), attngan={"stages": 1}))[2:]
    assert "stages of 64 px" in line


def test_who_learns_through_the_judge_is_named(say):
    through = changed(Config(), losses={"perceptual_backbone": "mobilenet_v2"})
    *_, last = say(*SYSTEMS, config=through)
    assert last.endswith("mobilenet_v2: retrievegan, pastegan, pastegan_style.")
    assert "judge" not in say(*SYSTEMS)[-1]
    assert "judge" not in say(*SYSTEMS, config=through, judge="inception_v3")[-1]


@pytest.mark.parametrize("budget", ["steps", "flops"])
def test_a_table_with_rivals_says_what_they_are(
    budget, tiny_world, tiny_config, tmp_path, monkeypatch
):
    """Without trainings: what is written beside the figures, and nothing of it without rivals."""
    gflops = {"retrievegan": 10.0, "layout2im": 5.0, "attngan": 20.0}
    config = tmp_path / "tiny.yaml"
    config.write_text(config_to_yaml(tiny_config))
    for name, value in {
        "training.compare.budget.step_flops.training_gflop": (
            lambda config, *_, **__: gflops[config.training.system]
        ),
        "training.compare.result.damsm_gflop": (
            lambda config: 3.0 * (config.training.system == "attngan")
        ),
        "training.compare.run.load_backbone": lambda *_: SimpleNamespace(weights_sha256=lambda: ""),
        "training.compare.result.comparison_picture": lambda *_: np.zeros([2, 2, 3], np.uint8),
        "training.compare.result.open_run": lambda folder: Path(folder).name,
        "training.compare.result.trainable_weights": len,
    }.items():
        monkeypatch.setattr(name, value)
    monkeypatch.setattr(Steps, "train", lambda self, entry: None)
    monkeypatch.setattr(Steps, "steps", lambda self, entry: entry.steps)
    evaluation = Evaluation({"scenes_told_by_names": 2}, tmp_path)
    monkeypatch.setattr(Steps, "evaluate", lambda self, *_, **__: evaluation)

    def table(*systems):
        out = tmp_path / "-".join(systems)
        compare([str(config)], tiny_world.folder, out, systems=systems, budget=budget)
        sizes = json.loads((out / "comparison.json").read_text())["systems"]
        return (out / "table.md").read_text(), sizes

    text, sizes = table("retrievegan", "layout2im", "attngan", "no_selection_loss", "pasted_canvas")
    steps = {"steps": (3, 3, 3), "flops": (3, 6, 2)}[budget]
    expected = {"retrievegan": (steps[0], 10.0, 0.0, 11), "no_selection_loss": (3, None, 0.0, 17)}
    expected |= {"layout2im": (steps[1], 5.0, 0.0, 9), "attngan": (steps[2], 20.0, 3.0, 7)}
    assert {name: tuple(found.values()) for name, found in sizes.items()} == expected
    assert f"| layout2im | {steps[1]} | 5.0 | 0 | {5 * steps[1]} | 9 |" in text
    assert f"| attngan | {steps[2]} | 20.0 | 3 | {20 * steps[2] + 3} | 7 |" in text
    assert "come on top of those of its joint steps" in text and "told by their names: 2." in text
    text, sizes = table("retrievegan", "no_selection_loss")
    assert "Budget" not in text and not sizes
