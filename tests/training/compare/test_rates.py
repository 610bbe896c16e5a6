"""The search of learning rates, on distances that are given."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rgan_tf.config import Config
from rgan_tf.errors import BadInput, Diverged
from rgan_tf.runs import STAGES, create_run, stages_of
from rgan_tf.storage.files import write_json_atomic
from rgan_tf.vocabulary import Vocabulary
from training.compare.entries import entries_of
from training.compare.existing import check_runs
from training.compare.plan import plan, plan_lines
from training.compare.rates import RATES, Try, check_factors, rates_table, search, short_runs
from training.compare.steps import Evaluation, Steps
from training.configuration import named_config

SYSTEMS = ["retrievegan", "layout2im", "pasted_canvas"]


@pytest.fixture
def entries():
    return entries_of({"c": Config()}, SYSTEMS, shares_a_base=True)


@pytest.fixture
def tries(entries):
    return {
        entry.name: short_runs(entry, Config(), [1.0, 2.5], 7) for entry in entries if entry.own_run
    }


def test_first_stages_are_a_run_of_their_own(entries):
    assert {entry.base for entry in entries} == {"first_stages"}
    assert {entry.run for entry in entries} == {"retrievegan", "layout2im"}


def test_a_try_is_short_and_has_both_rates_times_the_factor(tries):
    assert set(tries) == {"retrievegan", "layout2im"}  # the canvas is of the run of retrievegan
    run = tries["layout2im"][2.5]
    training = Config().training
    assert run.settings[-3:] == (
        f"training.generator_learning_rate={training.generator_learning_rate * 2.5!r}",
        f"training.discriminator_learning_rate={training.discriminator_learning_rate * 2.5!r}",
        "training.steps=7",
    )
    assert run.settings[0] == "training.system=layout2im" and run.steps == 7
    assert len({entry.run for runs in tries.values() for entry in runs.values()}) == 4


@pytest.fixture
def evaluated(tmp_path):
    """Makes the evaluations of short runs, with images of three scenes.

    Takes name -> kernel distance, or None for a run that diverged, and the names of those that
    draw one image.
    """

    def make(distances, one_image=()):
        def evaluation(entry):
            value = distances[entry.name]
            if value is None:
                return None
            place = f"{entry.system}/predicted_boxes"
            folder = tmp_path / entry.name / place
            folder.mkdir(parents=True)
            for scene in range(3):
                grey = 90 if entry.name in one_image else 90 + 9 * scene
                image = np.full([16, 16, 3], grey, np.uint8)
                image[0, 0] += scene  # what rounding leaves of a collapsed network's differences
                Image.fromarray(image).save(folder / f"{scene}.png")
            metrics = {
                f"{place}/fd_x_9_val": 0.0,
                f"{place}/kd_x_9_val/overlap_low": 0.0,
                f"{entry.system}/true_boxes/kd_x_9_val": 0.0,
                f"{place}/kd_x_9_val": value,
            }
            return Evaluation(metrics, tmp_path / entry.name)

        return evaluation

    return make


def test_every_system_keeps_its_own_best_factor(entries, tries, evaluated):
    distances = {
        "retrievegan-rate_1": 0.5,
        "retrievegan-rate_2.5": 0.4,
        "layout2im-rate_1": 0.7,
        "layout2im-rate_2.5": None,  # diverged
    }
    chosen, found = search(entries, tries, evaluated(distances))
    by_name = dict(zip(SYSTEMS, chosen, strict=True))
    faster = f"training.generator_learning_rate={Config().training.generator_learning_rate * 2.5!r}"
    assert faster in by_name["retrievegan"].settings
    assert by_name["pasted_canvas"].settings[-2:] == by_name["retrievegan"].settings[-2:]
    assert faster not in by_name["layout2im"].settings
    assert not any("training.steps" in each for entry in chosen for each in entry.settings)
    table = rates_table(found, 7)
    assert "| retrievegan | 0.500 | **0.400** |" in table
    assert "| layout2im | **0.700** | inf |" in table
    assert "Best at the lowest or highest factor: retrievegan, layout2im." in table
    assert "one image" not in table.lower()


def test_a_best_factor_between_others_is_not_named_as_one_at_the_end():
    found = {"sg2im": {0.4: Try(3.0), 1.0: Try(2.0), 2.5: Try(2.5)}, "ours": {0.4: Try(1.0)}}
    found["ours"] |= {1.0: Try(2.0), 2.5: Try(4.0)}
    assert "highest factor: ours." in rates_table(found, 7)
    del found["ours"]
    assert "highest" not in rates_table(found, 7)


def test_a_run_that_draws_one_image_is_taken_only_where_all_do(entries, tries, evaluated):
    distances = {
        "retrievegan-rate_1": 2.5,
        "retrievegan-rate_2.5": 2.3,
        "layout2im-rate_1": None,
        "layout2im-rate_2.5": 6.0,
    }
    one_image = ("retrievegan-rate_2.5", "layout2im-rate_2.5")
    _, found = search(entries, tries, evaluated(distances, one_image))
    table = rates_table(found, 7)
    assert "| retrievegan | **2.500** | 2.300 (one image) |" in table
    assert "| layout2im | inf | **6.000 (one image)** |" in table
    assert "taken only where all do" in table


def test_a_system_that_always_diverges_is_an_error(entries, tries):
    with pytest.raises(BadInput, match="retrievegan: diverged at every learning rate"):
        search(entries, tries, lambda entry: None)


@pytest.mark.parametrize(
    "factors",
    [
        [1.0],
        [1.0, 1.0],
        [1.0, 1.0000001],
        [0.0, 1.0],
        [-1.0, 2.0],
        [1.0, math.nan],
        [1.0, math.inf],
    ],
)
def test_factors_that_do_not_make_a_search_are_refused(factors):
    with pytest.raises(BadInput, match="--search-rates"):
        check_factors(factors, 5)
    with pytest.raises(BadInput, match="--search-steps"):
        check_factors([1.0, 2.0], 0)


def test_a_run_that_diverged_is_not_tried_again(monkeypatch, tmp_path, tries):
    """It would be tried with other random numbers, and another factor might win."""
    (config := tmp_path / "c.yaml").write_text("name: c")
    overrides = ["losses.box=2"]
    steps, trained = Steps(tmp_path, "data", overrides, weights_dir=None, count=1), []
    diverges = {"layout2im-rate_2.5"}

    def train(entry):
        trained.append(entry.name)
        if entry.name in diverges:
            raise Diverged("the loss is not finite")

    monkeypatch.setattr(steps, "train", train)
    monkeypatch.setattr(steps, "_train_base", lambda entry: None)
    slow, fast = (
        dataclasses.replace(each, config=str(config)) for each in tries["layout2im"].values()
    )
    (tmp_path / "runs" / "search").mkdir(parents=True)
    assert [steps.survives(each) for each in (slow, fast, fast, slow)] == [True, False, False, True]
    assert trained == [slow.name, fast.name, slow.name]
    _, *planned = plan([slow, fast], overrides, tmp_path / "runs")
    assert [run["diverged"] for run in planned] == [False, True]
    assert [run["stages"]["retrievegan"]["left"] for run in planned] == [7, 0]
    assert plan_lines(planned)[1] == f"{fast.run}: diverged before, and is not tried again"
    diverges.clear()  # with other settings it is another run
    other = dataclasses.replace(fast, settings=(*fast.settings, "training.seed=1"))
    assert steps.survives(other)
    assert not steps.survives(fast)
    config.write_text("name: c\ndiscriminators:\n  spectral_normalization: false\n")
    assert steps.survives(fast)  # likewise with an edited file of the same name


@pytest.fixture
def data(tmp_path) -> SimpleNamespace:
    """As much of prepared data as a run folder is made from."""
    return SimpleNamespace(
        folder=tmp_path / "data",
        vocabulary=Vocabulary.from_categories(("sky", "tree")),
        fingerprint="f1",
        bank=SimpleNamespace(features=np.zeros([2, 7], np.float16)),
    )


@pytest.mark.parametrize("system, stage", [("attngan", "damsm"), ("no_frozen_start", "embedding")])
def test_a_stage_of_a_try_that_diverged_serves_the_next_one(
    monkeypatch, tmp_path, data, system, stage
):
    """It is trained before what diverged, and for longer than any try."""
    config = named_config("procedural_64")
    other, entry = entries_of({config.name: config}, ["sg2im", system], shares_a_base=True)
    first, second = short_runs(entry, config, [1.0, 2.5], 7).values()
    (neither, _) = short_runs(other, config, [1.0, 2.5], 7).values()
    lends = dataclasses.replace(first, run=first.base, settings=first.base_settings)
    made, *_ = (
        create_run(tmp_path / "runs" / each.run, named_config(each.config, each.settings), data)
        for each in (first, neither, lends)
    )
    whole = stages_of(made.config)[stage]

    def trained(stage, steps):
        record = {"weights": "w", "weights_sha256": "0", "steps": steps}
        write_json_atomic(made.stage_folder(stage) / "stage.json", record)

    trained(stage, whole)
    sources = []

    def run(self, words):
        sources.append(words[words.index("--stages-from") + 1].name)
        if words[words.index("--run") + 1].name == Path(first.run).name:
            raise Diverged("the loss is not finite")

    monkeypatch.setattr(Steps, "_run", run)
    monkeypatch.setattr(Steps, "_train_base", lambda self, entry: None)
    monkeypatch.setattr(Steps, "_check", lambda self, entry: None)
    for _ in range(2):  # as when it happens, and when the command is given again
        steps = Steps(tmp_path, "d", [], weights_dir=None, count=1)
        assert not steps.survives(first) and steps.survives(neither) and steps.survives(second)
    theirs, base = Path(first.run).name, "first_stages"
    assert sources == [base, base, theirs, base, theirs]
    for done, left, source in ((whole, 0, first.run), (1, whole, base)):
        trained(stage, done)
        planned = plan([first, second], [], tmp_path / "runs")[-1]
        assert planned["stages"][stage]["left"] == left and steps._source(second) == source
    trained(stage, whole)
    trained("sg2im", 1)  # another than the base has by now
    assert steps._source(second) == base


def test_runs_that_do_not_fit_are_refused_before_any_is_trained(tmp_path, entries, data):
    entries = [dataclasses.replace(entry, config="procedural_64") for entry in entries]
    ours, *_ = entries
    faster = [f"{RATES[0]}=0.5", f"{RATES[1]}=0.5"]
    runs = tmp_path / "runs"
    run = create_run(runs / ours.run, named_config(ours.config, faster), data)
    check_runs(entries, faster, runs)
    check_runs(entries, [], runs, also=RATES)  # those that a search will choose
    with pytest.raises(BadInput, match="runs/retrievegan: was started with training.generator_l"):
        check_runs(entries, [], runs)
    with pytest.raises(BadInput, match="retrievegan: was started with retrieval.candidates"):
        check_runs(entries, ["retrieval.candidates=7"], runs, also=RATES)
    base = create_run(runs / ours.base, named_config(ours.config, faster), data)
    # `rgan train` finds that they have the steps that are asked for, and more.
    for there, stage, setting, what in (
        (run, "embedding", "retrieval.embedding_steps=0", "9 steps of embedding, 0 are"),
        (run, "sg2im", "sg2im.steps=8", "9 steps of sg2im, 8 are"),
        (run, "retrievegan", "training.steps=8", "9 joint steps, 8 are"),
        (base, "cooccurrence", "cooccurrence.steps=8", "9 steps of cooccurrence, 8 are"),
    ):
        path = there.stage_folder(stage) / "stage.json"
        write_json_atomic(path, {"weights": "w", "weights_sha256": "0", "steps": 9})
        settings = [*faster, setting]
        configs = {ours.config: named_config(ours.config, settings)}
        rows = entries_of(configs, SYSTEMS, shares_a_base=True)
        with pytest.raises(BadInput, match=f"{there.folder.name}: was trained for {what}"):
            check_runs(rows, settings, runs)
        path.unlink()
    check_runs(entries, faster, runs)
    with pytest.raises(BadInput, match="first_stages: was started with losses.box"):
        check_runs(entries[1:2], [*faster, "losses.box=2.0"], runs)


def test_first_stages_of_other_settings_are_not_searched_on(monkeypatch, tmp_path, tries, data):
    """Such runs take them as they are, so that nobody else asks what they were trained with."""
    (config := tmp_path / "c.yaml").write_text("name: c")
    entry = dataclasses.replace(tries["layout2im"][1.0], config=str(config))
    base = create_run(tmp_path / "runs" / entry.base, Config(), data)
    for stage, count in zip(STAGES, entry.first_steps, strict=False):
        write_json_atomic(
            base.stage_folder(stage) / "stage.json",
            {"weights": "w", "weights_sha256": "0", "steps": count},
        )
    trained = []
    monkeypatch.setattr(Steps, "_train", lambda self, entry: trained.append(entry.run))
    monkeypatch.setattr(Steps, "_check", lambda self, entry: None)

    def survives(*overrides):
        return Steps(tmp_path, "d", list(overrides), weights_dir=None, count=1).survives(entry)

    assert survives("retrieval.candidates=7")  # of the joint stage alone
    assert trained == [entry.run]
    for setting in ("training.batch_size=8", "losses.box=2.0", "graph.width=64"):
        with pytest.raises(BadInput, match=f"first_stages: was started with {setting[:8]}.* --out"):
            survives(setting)
    assert trained == [entry.run]


def test_a_stage_of_phi_that_is_shared_is_trained_before_those_who_take_it(
    monkeypatch, tmp_path, tries, data
):
    """Every try would train it, if the base was interrupted before it."""
    (config := tmp_path / "c.yaml").write_text("name: c\nretrieval: {embedding_steps: 5}")
    ours, rival = (
        dataclasses.replace(tries[name][1.0], config=str(config))
        for name in ("retrievegan", "layout2im")
    )
    base = create_run(tmp_path / "runs" / ours.base, named_config(str(config)), data)

    def write(stage, count):
        record = {"weights": "w", "weights_sha256": "0", "steps": count}
        write_json_atomic(base.stage_folder(stage) / "stage.json", record)

    for stage, count in zip(STAGES, ours.first_steps, strict=False):
        write(stage, count)
    trained = []
    monkeypatch.setattr(Steps, "_train", lambda self, entry: trained.append(entry.run))
    monkeypatch.setattr(Steps, "_check", lambda self, entry: None)

    def trained_for(entry):
        trained.clear()
        assert Steps(tmp_path, "d", [], weights_dir=None, count=1).survives(entry)
        return list(dict.fromkeys(trained))  # nothing is trained here, so it is asked for twice

    assert trained_for(rival) == [rival.run]
    assert trained_for(ours) == [base.folder.name, ours.run]
    write("embedding", 5)
    assert trained_for(ours) == [ours.run]


@pytest.mark.parametrize(("done", "remains"), [(0, False), (1, True)])
def test_a_base_of_rows_without_phi_gets_its_stage_when_one_with_phi_is_added(
    monkeypatch, tmp_path, tries, data, done, remains
):
    """Its joint stage of no steps stands where that stage has to come first."""
    (path := tmp_path / "c.yaml").write_text("name: c\nretrieval: {embedding_steps: 5}")
    ours = dataclasses.replace(tries["retrievegan"][1.0], config=str(path))
    overrides = ["training.steps=0", "retrieval.embedding_steps=0"]
    base = create_run(tmp_path / "runs" / ours.base, named_config(str(path), overrides), data)
    record = base.stage_folder(STAGES[-1]) / "stage.json"
    write_json_atomic(record, {"weights": "w", "weights_sha256": "0", "steps": done})
    monkeypatch.setattr(Steps, "_run", lambda self, words: None)
    steps = Steps(tmp_path, "d", [], weights_dir=None, count=1)
    lends = dataclasses.replace(ours, run=ours.base, base=None)
    steps._train(dataclasses.replace(lends, settings=tuple(overrides)))
    assert record.exists()  # nothing has to come before it
    steps._train(dataclasses.replace(lends, settings=ours.base_settings))
    assert record.exists() is remains  # training that has steps is refused, and not lost


def test_runs_whose_making_was_killed_are_made_again(monkeypatch, tmp_path, tries):
    """As `rgan train` makes them: only the lock is there."""
    ours = dataclasses.replace(tries["retrievegan"][1.0], config="procedural_64")
    for name in (ours.base, ours.run):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "lock").touch()
    trained = []
    monkeypatch.setattr(Steps, "_run", lambda self, words: trained.append(words[5].name))
    monkeypatch.setattr(Steps, "_check", lambda self, entry: None)
    Steps(tmp_path, "d", [], weights_dir=None, count=1).train(ours)
    assert trained == [ours.base, Path(ours.run).name]


def test_first_stages_that_diverge_do_not_count_as_a_try(monkeypatch, tmp_path, tries):
    steps = Steps(tmp_path, "data", [], weights_dir=None, count=1)

    def train(entry):
        assert entry.run == "first_stages"
        raise Diverged("stage sg2im")

    monkeypatch.setattr(steps, "_train", train)
    with pytest.raises(Diverged, match="stage sg2im"):
        steps.survives(tries["layout2im"][1.0])
