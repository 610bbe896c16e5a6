"""Run folders: resumed, refused, and never read damaged."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import yaml

from rgan_tf import released
from rgan_tf.config import Config, changed
from rgan_tf.config_files import config_from_dict
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.idle_settings import OF_JOINT_STAGE
from rgan_tf.runs import (
    STAGES,
    check_learns_retrieval,
    check_own_retriever,
    check_stages_fit,
    checkpoint_identity,
    continuing,
    create_run,
    is_finished,
    load_weights,
    open_run,
    save_weights,
    settings,
    take_stages,
    training_lock,
    weights,
)
from rgan_tf.runs import folder as folder_module
from rgan_tf.storage.plain_folder import is_plain
from rgan_tf.vocabulary import Vocabulary
from training.release import release


class Weights(tf.keras.Model):
    """Something to save."""

    def __init__(self, value: float, size: int = 3):
        super().__init__()
        self.vector = tf.Variable(tf.fill([size], value))


@pytest.fixture
def data(tmp_path):
    """What a run looks at of prepared data."""
    return SimpleNamespace(
        folder=tmp_path / "data",
        vocabulary=Vocabulary.from_categories(("sky", "tree")),
        fingerprint="f1",
        backbone="mobilenet_v2",
        bank=SimpleNamespace(features=np.zeros([2, 7], np.float16)),
    )


@pytest.fixture
def run(tmp_path, tiny_config, data):
    return create_run(tmp_path / "run", tiny_config, data)


def test_data_that_is_no_longer_there_is_named(run, data):
    data.folder.mkdir(exist_ok=True)
    assert run.data_there("--run RUN", "name it") == run.data
    moved = dataclasses.replace(run, data=run.folder / "nowhere")
    with pytest.raises(BadInput, match="--run RUN: its data was in .*nowhere, .* now; name it$"):
        moved.data_there("--run RUN", "name it")
    released = dataclasses.replace(run, data=None)
    with pytest.raises(BadInput, match="--run RUN: comes without data; name it$"):
        released.data_there("--run RUN", "name it")


def _with_steps(config, sg2im, cooccurrence, joint):
    return changed(
        config,
        sg2im={"steps": sg2im},
        cooccurrence={"steps": cooccurrence},
        training={"steps": joint},
    )


def _record(run, **steps):
    for stage, done in steps.items():
        run.stage_folder(stage).mkdir()
        record = {"weights": f"weights-{done}", "weights_sha256": "0", "steps": done}
        (run.stage_folder(stage) / "stage.json").write_text(json.dumps(record))


@pytest.mark.parametrize("steps", [(4, 4, 4), (9, 9, 5), (1, 1, 1)])
def test_nothing_is_written_where_nothing_is_to_be_trained(tmp_path, tiny_config, data, steps):
    """Fewer steps than there are would else stand in the config beside weights of more."""
    run = create_run(tmp_path / "run", _with_steps(tiny_config, 9, 9, 400), data)
    _record(run, sg2im=9, cooccurrence=9, retrievegan=5)
    before = {path: (path.read_bytes(), path.stat().st_ino) for path in run.folder.glob("*.*")}
    data.folder = tmp_path / "moved"
    again = create_run(run.folder, _with_steps(tiny_config, *steps), data)
    assert again == open_run(str(run.folder)) and again.config.training.steps == 400
    after = {path: (path.read_bytes(), path.stat().st_ino) for path in run.folder.glob("*.*")}
    assert after == before


@pytest.mark.parametrize(
    ("asked", "stands"), [((2, 9, 6), (9, 9, 6)), ((2, 3, 400), (9, 9, 400)), ((9, 9, 6),) * 2]
)
def test_a_config_says_no_fewer_steps_than_a_stage_has(tmp_path, tiny_config, data, asked, stands):
    run = create_run(tmp_path / "run", _with_steps(tiny_config, 9, 9, 300), data)
    _record(run, sg2im=9, cooccurrence=9, retrievegan=5)
    again = create_run(run.folder, _with_steps(tiny_config, *asked), data)
    assert again.config == _with_steps(tiny_config, *stands)
    assert again == open_run(str(run.folder))


def test_a_stage_without_weights_is_to_be_trained_whatever_its_steps(tmp_path, tiny_config, data):
    run = create_run(tmp_path / "run", _with_steps(tiny_config, 9, 9, 300), data)
    _record(run, sg2im=9, cooccurrence=9)
    none = _with_steps(tiny_config, 9, 9, 0)
    assert not is_finished(run, none)
    assert create_run(run.folder, none, data).config == none


def test_a_name_that_is_not_text_is_refused(tmp_path, tiny_config, data):
    """TensorFlow writes no checkpoint there; data may lie in such a folder."""
    data.folder = tmp_path / os.fsdecode(b"a\xff")
    with pytest.raises(BadInput, match="--run .*: its name is not UTF-8; choose another folder"):
        create_run(data.folder, tiny_config, data)
    assert not data.folder.exists()
    run = create_run(tmp_path / "run", tiny_config, data)
    assert os.fsencode(json.loads((run.folder / "run.json").read_text())["data"]).endswith(b"\xff")


@pytest.fixture
def early_run(tmp_path, tiny_settings, data):
    """A run as programs made it that knew none of the settings that were added later."""
    for key, value in settings.ADDED_LATER.items():
        section, leaf = key.split(".")
        tiny_settings.setdefault(section, {})[leaf] = value
    return create_run(tmp_path / "early", config_from_dict(tiny_settings), data)


def test_settings_added_later_do_not_end_a_run_that_began_without_them(
    early_run, tiny_settings, monkeypatch
):
    """A checkpoint of a program that did not know these settings is still gone on from."""
    run, added = early_run, set(settings.ADDED_LATER)
    assert {"discriminators.feature", "losses.adversarial_feature"} < added
    now = checkpoint_identity(run, "retrievegan")
    known = settings.flat_settings
    assert added <= set(known(run.config))
    with monkeypatch.context() as patch:
        patch.setattr(
            continuing,
            "flat_settings",
            lambda config: {k: v for k, v in known(config).items() if k not in added},
        )
        assert checkpoint_identity(run, "retrievegan") == now
    tiny_settings["losses"]["perceptual_backbone"] = "squeezenet"
    identities = []
    for is_on in (False, True):
        tiny_settings["discriminators"]["feature"] = is_on
        other = dataclasses.replace(run, config=config_from_dict(tiny_settings))
        identities.append(checkpoint_identity(other, "retrievegan")["config"])
    assert identities[0] != identities[1]
    on = config_from_dict(tiny_settings)
    assert not settings.difference(run.config, on, also=OF_JOINT_STAGE)


_RELEASED = sorted(path.parent.name for path in released.FOLDER.glob("*/run.json"))


@pytest.mark.parametrize("name", _RELEASED)
def test_a_release_names_no_folder_of_the_machine_that_made_it(name):
    texts = [path.read_text() for path in (released.FOLDER / name).rglob("*.json")]
    assert len(texts) == 5  # the run, its vocabulary and three stages
    assert not [text for text in texts if '"/' in text or "taken_from" in text]


@pytest.mark.parametrize("name", ["", ".", "..", "../mine", "a/b", "/tmp", ".hidden", "a b"])
def test_a_release_is_named_for_a_folder_of_its_own(name, run, monkeypatch):
    """Of any other folder the old content would be deleted; "" names that of all releases."""
    deleted = []
    monkeypatch.setattr(shutil, "rmtree", lambda folder, **_: deleted.append(folder))
    with pytest.raises(BadInput, match="name a release by letters"):
        release(str(run.folder), name)
    assert not deleted
    with pytest.raises(BadInput, match="stage sg2im has no weights"):  # the next that is asked
        release(str(run.folder), "street_64.2-a")


@pytest.mark.parametrize("name", _RELEASED)
def test_no_setting_was_added_without_a_value_for_the_runs_before_it(name):
    """A setting that is missing there would make every earlier checkpoint one of another config."""
    raw = yaml.safe_load((released.FOLDER / name / "config.yaml").read_text())
    had = {
        f"{section}.{leaf}"
        for section, part in raw.items()
        for leaf in (part if isinstance(part, dict) else ())
    }
    now = {key for key in settings.flat_settings(Config()) if "." in key}

    def unknown(had: set[str]) -> set[str]:
        return now - had - settings.ADDED_LATER.keys() - settings.MAY_DIFFER

    assert not unknown(had)
    assert unknown(had - {"retrieval.candidates"}) == {"retrieval.candidates"}


def test_opens_what_was_created(run, tiny_config, data):
    for opened in (run, open_run(str(run.folder))):
        assert opened.config == tiny_config
        assert opened.vocabulary == data.vocabulary
        assert opened.feature_size == 7
        assert opened.data == data.folder.resolve()
        assert opened.data_fingerprint == "f1"
        assert opened.stage_record("sg2im") == {}


def test_a_run_from_before_a_setting_keeps_what_it_did(early_run, tiny_settings, monkeypatch):
    """Whatever the default has become: it says what new runs do."""
    run = early_run
    identity = checkpoint_identity(run, "retrievegan")
    tiny_settings["generator"]["masks"] = True
    asked = dataclasses.replace(run, config=config_from_dict(tiny_settings))
    assert checkpoint_identity(asked, "retrievegan") != identity

    path = run.folder / "config.yaml"
    old = yaml.safe_load(path.read_text())
    for key, value in settings.ADDED_LATER.items():
        section, leaf = key.split(".")
        assert old[section].pop(leaf) == value
    path.write_text(yaml.safe_dump(old))
    opened = open_run(str(run.folder))
    assert checkpoint_identity(opened, "retrievegan") == identity
    assert not opened.config.generator.masks
    # What fills the gap is that table and not the default.
    monkeypatch.setattr(settings, "ADDED_LATER", {"generator.masks": True})
    assert open_run(str(run.folder)).config.generator.masks


def _unknown_to(raw: dict) -> set[str]:
    """Settings that a run's file lacks, and for which nothing says what the run did."""
    known = {f"{section}.{key}" for section, keys in raw.items() for key in keys}
    now = {key for key in settings.flat_settings(Config()) if "." in key}
    return now - known - set(settings.ADDED_LATER) - settings.MAY_DIFFER


@pytest.mark.parametrize("name", ["procedural_64", "street_64"])
def test_a_new_setting_is_entered_in_the_table(name):
    """Else no checkpoint from before it would be gone on from: its hash has no such setting."""
    raw = yaml.safe_load((released.FOLDER / name / "config.yaml").read_text())
    raw = {section: keys for section, keys in raw.items() if isinstance(keys, dict)}
    assert _unknown_to(raw) == set()
    del raw["retrieval"]["candidates"]
    assert _unknown_to(raw) == {"retrieval.candidates"}


def test_continues_with_more_steps(run, tiny_settings, data):
    save_weights(run, "sg2im", Weights(1.0), steps=5)
    tiny_settings["training"]["steps"] = 999
    tiny_settings["sg2im"]["steps"] = 50
    again = create_run(run.folder, config_from_dict(tiny_settings), data)
    assert again.config.training.steps == 999
    assert open_run(str(run.folder)).config == again.config
    assert again.stage_record("sg2im")["steps"] == 5


@pytest.mark.parametrize("stage", ["sg2im", "cooccurrence"])
def test_a_stage_on_which_the_last_was_trained_gets_no_more_steps(run, tiny_settings, data, stage):
    """It was trained further, and its old weights deleted, before the last stage refused it."""
    for name in STAGES[:2]:
        save_weights(run, name, Weights(1.0), steps=3)
    config = run.config
    tiny_settings[stage]["steps"] = 4
    more = config_from_dict(tiny_settings)
    create_run(run.folder, more, data)  # the last stage has not begun
    save_weights(run, STAGES[-1], Weights(2.0), steps=3, damsm_weights="x")
    create_run(run.folder, more, data)  # and this one does not read them
    create_run(run.folder, config, data)
    record = {f"{name}_weights": "x" for name in STAGES[:2]}
    save_weights(run, STAGES[-1], Weights(2.0), steps=3, **record)
    with pytest.raises(BadInput, match=f"4 steps are asked of {stage}, and retrievegan was traine"):
        create_run(run.folder, more, data)
    tiny_settings[stage]["steps"] = 5
    with pytest.raises(BadInput, match=f"5 steps are asked of {stage}, and retrievegan was traine"):
        create_run(run.folder, config_from_dict(tiny_settings), data)
    assert open_run(str(run.folder)).config == more  # as it was
    tiny_settings[stage]["steps"], tiny_settings["training"]["steps"] = 2, 9
    create_run(run.folder, config_from_dict(tiny_settings), data)  # the last itself may get more


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("graph", "width", 14), ("training", "seed", 3), ("losses", "box", 1.0)],
)
def test_refuses_another_config(run, tiny_settings, data, section, key, value):
    before = (run.folder / "config.yaml").read_bytes()
    tiny_settings.setdefault(section, {})[key] = value
    with pytest.raises(BadInput, match=rf"{section}\.{key} = .*{value}.*another folder"):
        create_run(run.folder, config_from_dict(tiny_settings), data)
    assert (run.folder / "config.yaml").read_bytes() == before


def test_refuses_other_data(run, tiny_config, data):
    data.fingerprint = "f2"
    with pytest.raises(BadInput, match="other data"):
        create_run(run.folder, tiny_config, data)


def test_refuses_a_folder_that_holds_something_else(tmp_path, tiny_config, data):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(BadInput, match="not empty and not a run"):
        create_run(tmp_path / "mine", tiny_config, data)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_process_that_is_killed_while_it_makes_a_run_leaves_the_name_usable(
    tmp_path, tiny_config, data, monkeypatch
):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, training_lock(tmp_path / "run"):
        patch.setattr(folder_module, "write_json_atomic", killed)
        with pytest.raises(KeyboardInterrupt):
            create_run(tmp_path / "run", tiny_config, data)
    (tmp_path / "run" / ".run.json.0123abcd.partial").touch()
    assert create_run(tmp_path / "run", tiny_config, data).config == tiny_config
    # A config of the user's own is not taken for ours, nor is anything beside ours.
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("name: mine")
    (tmp_path / "run" / "run.json").unlink()
    (tmp_path / "run" / "thesis.txt").touch()
    for name in ("mine", "run"):
        with pytest.raises(BadInput, match="not empty and not a run"):
            create_run(tmp_path / name, tiny_config, data)


def test_refuses_what_is_not_a_run(tmp_path):
    for name in (str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(BadInput, match=r"--run .*: not a run folder \(run.json is missing\)$"):
            open_run(name)


def test_what_is_not_a_run_is_called_what_it_is(run, tmp_path):
    (tmp_path / "model" / "1").mkdir(parents=True)
    (tmp_path / "model" / "1" / "saved_model.pb").touch()
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "manifest.json").touch()
    shutil.copytree(run.folder, tmp_path / "comparison" / "runs" / "sg2im")
    for name, what in (
        ("model", "is an exported model: name the run that it was exported from"),
        ("data", "holds data or a bank: name a run that was trained on them"),
        ("comparison", "holds runs, such as .*comparison/runs/sg2im"),
        ("comparison/runs", "holds runs, such as .*comparison/runs/sg2im"),
    ):
        with pytest.raises(BadInput, match=rf"--other .*{name}: .* is missing\); it {what}$"):
            open_run(str(tmp_path / name), "--other")
    with pytest.raises(BadInput, match=r"is missing\), but 'comparison' is there; write the name"):
        open_run(str(tmp_path / "Comparison"))


def test_released_runs_are_found_by_name(run, tmp_path, monkeypatch):
    monkeypatch.setattr(released, "FOLDER", tmp_path)
    assert open_run("released:run").config == run.config
    with pytest.raises(BadInput, match="no such released run; there is run"):
        open_run("released:other")
    with pytest.raises(BadInput, match="no such released run"):
        open_run("released:../../etc")


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("run.json", "{", BadInput),
        ("run.json", "{}", CorruptData),
        ("run.json", "[]", CorruptData),
        ("run.json", '{"data": null, "feature_size": "x", "data_fingerprint": ""}', CorruptData),
        ("vocabulary.json", "{}", (BadInput, CorruptData)),
        ("config.yaml", "graph: {wdth: 3}", BadInput),
    ],
)
def test_damaged_descriptions_are_one_line(run, name, text, error):
    (run.folder / name).write_text(text)
    with pytest.raises(error, match=name) as caught:
        open_run(str(run.folder))
    assert "\n" not in str(caught.value)


def test_missing_description(run):
    (run.folder / "config.yaml").unlink()
    with pytest.raises(BadInput, match="config.yaml"):
        open_run(str(run.folder))


def test_stages_that_cannot_be_taken_say_what_to_do(run, data):
    config = run.config
    names = SimpleNamespace(vocabulary=Vocabulary.from_categories(("sky", "hut")))
    with pytest.raises(BadInput, match="other names of objects .* than --data has; name a run"):
        check_stages_fit(run, config, names, as_they_are=True)
    other = SimpleNamespace(vocabulary=data.vocabulary, fingerprint="another")
    with pytest.raises(BadInput, match="other data than --data; .* add --as-they-are to take them"):
        check_stages_fit(run, config, other)
    with pytest.raises(BadInput, match="stage sg2im has 0 steps, .* asked for; train it there"):
        check_stages_fit(run, config, data)
    counts = (config.sg2im.steps, config.cooccurrence.steps + 1)
    for stage, steps in zip(STAGES[:2], counts, strict=True):
        save_weights(run, stage, Weights(0.0), steps=steps)
    with pytest.raises(BadInput, match=f"; to take it, set cooccurrence.steps={steps}, and --max"):
        check_stages_fit(run, config, data)
    save_weights(run, stage, Weights(0.0), steps=steps - 1)
    check_stages_fit(run, config, data)
    check_stages_fit(run, config, other, as_they_are=True)


def test_stages_that_were_taken_are_not_silently_kept_for_others(run, tmp_path, tiny_config, data):
    """As they are, they may be of other settings: that run would not be the one asked for."""
    first, second = (create_run(tmp_path / name, tiny_config, data) for name in ("a", "b"))
    for number, source in enumerate((first, second)):
        for stage in STAGES[:2]:
            save_weights(source, stage, Weights(float(number)), steps=3)
    for _ in range(2):  # the same call resumes
        take_stages(run, first, as_they_are=True)
    with pytest.raises(BadInput, match="--stages-from .*b: .* has another stage sg2im already"):
        take_stages(run, second, as_they_are=True)
    take_stages(run, second)  # trained with the same settings, so equivalent
    assert run.stage_record("sg2im")["taken_from"] == str(first.folder)


def test_a_stage_of_phi_is_taken_on_the_same_data_only(tmp_path, tiny_settings, data):
    tiny_settings.setdefault("retrieval", {})["embedding_steps"] = 3
    config = config_from_dict(tiny_settings)
    source = create_run(tmp_path / "source", config, data)
    for stage in (*STAGES[:2], "embedding"):
        save_weights(source, stage, Weights(0.0), steps=3)
    same = create_run(tmp_path / "same", config, data)
    data.fingerprint = "f2"
    other = create_run(tmp_path / "other", config, data)
    for run, is_taken in ((same, True), (other, False)):
        take_stages(run, source, as_they_are=True)
        assert run.stage_folder("sg2im").exists()
        assert run.stage_folder("embedding").exists() == is_taken


def test_a_run_of_a_retriever_that_was_passed_is_not_drawn_with_another(run):
    """The config names "learned", whose embedding such a training may never have touched."""
    check_own_retriever(run, "R", is_given=False)  # not trained yet
    save_weights(run, STAGES[-1], Weights(1.0), steps=3)
    check_own_retriever(run, "R", is_given=False)
    save_weights(run, STAGES[-1], Weights(1.0), steps=4, own_retriever="mine")
    check_own_retriever(run, "R", is_given=True)
    with pytest.raises(
        BadInput, match=r"run R: was trained with the retriever mine, .*\(retriever="
    ):
        check_own_retriever(run, "R", is_given=False)


def test_weights_come_back(run):
    save_weights(run, "sg2im", Weights(1.5), steps=3, seconds=2.5)
    networks = Weights(0.0)
    load_weights(run, "sg2im", networks)
    np.testing.assert_array_equal(networks.vector, [1.5] * 3)
    record = run.stage_record("sg2im")
    assert record["steps"] == 3 and record["seconds"] == 2.5


@pytest.mark.parametrize("steps", [(3, 3, 3), (3, 6), (0, 0)])
def test_only_the_newest_weights_are_kept(run, steps):
    for number, step in enumerate(steps):
        save_weights(run, "sg2im", Weights(float(number)), steps=step)
        networks = Weights(-1.0)
        load_weights(run, "sg2im", networks)
        np.testing.assert_array_equal(networks.vector, [number] * 3)
    files = {path.name.split(".")[0] for path in run.stage_folder("sg2im").glob("weights*")}
    assert files == {run.stage_record("sg2im")["weights"]}


def test_interrupted_saving_leaves_the_old_pair(run, monkeypatch):
    save_weights(run, "sg2im", Weights(1.0), steps=3)

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(weights, "write_json_atomic", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(run, "sg2im", Weights(2.0), steps=6)
    networks = Weights(0.0)
    load_weights(run, "sg2im", networks)
    np.testing.assert_array_equal(networks.vector, [1.0] * 3)


@pytest.mark.parametrize("read", ["sha256_of", "read"])
def test_weights_are_read_while_training_saves_newer_ones(run, monkeypatch, read):
    """Saving deletes the old files, maybe just when somebody reads them."""
    owner = weights if read == "sha256_of" else tf.train.Checkpoint
    known, networks, left = getattr(owner, read), Weights(0.0), [2.5]

    def saved_meanwhile(*words):
        if left:
            save_weights(run, "sg2im", Weights(left.pop()), steps=2)
        return known(*words)

    save_weights(run, "sg2im", Weights(1.5), steps=1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, read, saved_meanwhile)
        load_weights(run, "sg2im", networks)
    np.testing.assert_array_equal(networks.vector, [2.5] * 3)
    # What nobody has replaced is damaged.
    for path in run.stage_folder("sg2im").glob("weights-*"):
        path.unlink()
    with pytest.raises(CorruptData, match="missing or damaged"):
        load_weights(run, "sg2im", networks)


@pytest.mark.parametrize("name", ["run[2]", "a\\b", "a*b", "a?", "ä ö", "{x,y}"])
def test_weights_come_back_from_a_folder_of_any_name(run, name, monkeypatch):
    """TensorFlow writes them there, and takes some of these names for a pattern when it reads."""
    folder = run.folder.with_name(name)
    run.folder.rename(folder)
    run = open_run(str(folder))
    save_weights(run, "sg2im", Weights(1.5), steps=3)
    networks = Weights(0.0)
    load_weights(run, "sg2im", networks)
    np.testing.assert_array_equal(networks.vector, [1.5] * 3)
    # Without a link to it, by its own name.
    monkeypatch.setattr(weights, "plain_folder", contextlib.nullcontext)
    with contextlib.nullcontext() if is_plain(name) else pytest.raises(CorruptData):
        load_weights(run, "sg2im", networks)


def test_a_stage_without_weights(run):
    with pytest.raises(BadInput, match="stage retrievegan has no weights"):
        load_weights(run, "retrievegan", Weights(0.0))


def test_one_flipped_bit_is_found(run):
    save_weights(run, "sg2im", Weights(1.0), steps=3)
    (path,) = run.stage_folder("sg2im").glob("weights*.data*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptData, match="damaged") as caught:
        load_weights(run, "sg2im", Weights(0.0))
    assert caught.value.exit_code == 4
    path.unlink()
    with pytest.raises(CorruptData, match="missing or damaged"):
        load_weights(run, "sg2im", Weights(0.0))


@pytest.mark.parametrize("fault", ["cut", "gone"])
def test_damaged_index(run, fault):
    save_weights(run, "sg2im", Weights(1.0), steps=3)
    (path,) = run.stage_folder("sg2im").glob("weights*.index")
    path.write_bytes(path.read_bytes()[:20]) if fault == "cut" else path.unlink()
    with pytest.raises(CorruptData) as caught:
        load_weights(run, "sg2im", Weights(0.0))
    assert "\n" not in str(caught.value)


def test_weights_of_other_networks(run):
    save_weights(run, "sg2im", Weights(1.0), steps=3)
    with pytest.raises(CorruptData, match="do not fit"):
        load_weights(run, "sg2im", Weights(0.0, size=4))
    larger = Weights(0.0)
    larger.extra = tf.Variable(1.0)
    with pytest.raises(CorruptData, match="do not fit"):
        load_weights(run, "sg2im", larger)


@pytest.mark.parametrize("record", ["[]", '{"weights": "weights-3"}', '{"weights": 3}'])
def test_damaged_stage_record(run, record):
    save_weights(run, "sg2im", Weights(1.0), steps=3)
    (run.stage_folder("sg2im") / "stage.json").write_text(record)
    with pytest.raises((BadInput, CorruptData)):
        load_weights(run, "sg2im", Weights(0.0))


def test_fingerprint_tells_weights_apart(run, tmp_path, tiny_config, data):
    seen = {run.fingerprint()}
    for stage in STAGES:
        save_weights(run, stage, Weights(1.0), steps=1)
        seen.add(run.fingerprint())
    save_weights(run, "retrievegan", Weights(2.0), steps=1)
    seen.add(run.fingerprint())
    assert len(seen) == 5
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    assert open_run(str(copy)).fingerprint() == run.fingerprint()


def test_a_released_run_needs_no_data(run):
    path = run.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data": None}))
    assert open_run(str(run.folder)).data is None
    assert dataclasses.replace(run, data=None) == open_run(str(run.folder))


def test_a_baseline_that_chose_patches_is_refused_and_a_rival_reads_no_choice(tiny_settings):
    """What a rival draws does not depend on `retrieval.choice`, so no baseline's choice counts."""
    tiny_settings["retrieval"]["choice"] = "nearest"
    baseline = SimpleNamespace(config=config_from_dict(tiny_settings))
    with pytest.raises(BadInput, match="--run R: was trained with retrieval.choice=nearest"):
        check_learns_retrieval(baseline, "R")
    tiny_settings["training"]["system"] = "sg2im"
    check_learns_retrieval(SimpleNamespace(config=config_from_dict(tiny_settings)), "R")
