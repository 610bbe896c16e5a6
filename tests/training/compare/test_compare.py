"""`rgan compare` end to end: with trainings and evaluations in this process, and their errors."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from rgan_tf import registered_names
from rgan_tf.config_files import load_config
from rgan_tf.errors import BadInput, Interrupted
from training.compare import steps as steps_module
from training.compare.entries import SYSTEMS, entries_of
from training.compare.existing import check_runs
from training.compare.run import compare
from training.compare.steps import Steps


@pytest.fixture
def config(tmp_path, trained_folder):
    """That of the trained run."""
    return shutil.copy(trained_folder / "config.yaml", tmp_path / "tiny.yaml")


def words(config, data, out, *more):
    return ["compare", config, "--data", data, "--out", out, "--resamples", 2, *more]


def check_figures(row) -> None:
    """A distance of the two scenes of val has no interval, a share of their objects has."""
    distance = row["Fréchet, predicted boxes"]
    assert distance["value"] > 0 and distance["interval"] is None
    low, high = row["objects recognised"]["interval"]
    assert low <= row["objects recognised"]["value"] <= high


def test_the_first_stage_of_a_trained_run(calls, config, copied, tiny_world, tmp_path, rgan):
    """One row: the next tests have more of them."""
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    shutil.move(copied, out / "runs" / "retrievegan")
    reply = rgan(*words(config, tiny_world.folder, out, "--systems", "first_stage"))
    assert reply.code == 0, reply.err
    assert [call[0] for call in calls] == ["train", "eval"]
    (row,) = json.loads(reply.out)["rows"]
    check_figures(row)
    assert row["style agreement"] is None and "first stage" in (out / "table.md").read_text()


@pytest.mark.parametrize(
    ("systems", "is_named"), [(("sg2im", "layout2im"), True), (("sg2im", "retrievegan"), False)]
)
def test_settings_that_change_no_row_are_named(
    config, tiny_world, tmp_path, rgan, systems, is_named
):
    out = tmp_path / "out"
    given = ("--set", "generator.attention_weight=2", "--dry-run")
    reply = rgan(*words(config, tiny_world.folder, out, "--systems", *systems, *given))
    assert reply.code == 0, reply.err
    line = "--set: nothing is changed by generator.attention_weight in any of these systems\n"
    assert (line in reply.err) == is_named


@pytest.mark.parametrize("budget", ["steps", "flops"])
def test_settings_of_retrievegan_change_how_many_steps_of_rivals_cost_as_much(
    config, tiny_world, tmp_path, rgan, monkeypatch, budget
):
    monkeypatch.setattr(
        "training.compare.run.step_gflops",
        lambda *args, **kwargs: {"retrievegan": 2.0, "sg2im": 1.0},
    )
    given = ("--set", "generator.masks=true", "--budget", budget, "--dry-run")
    reply = rgan(*words(config, tiny_world.folder, tmp_path / "out", "--systems", "sg2im", *given))
    assert reply.code == 0, reply.err
    assert ("nothing is changed by generator.masks" in reply.err) == (budget == "steps")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("run.json", "is a run"),
        ("manifest.json", "holds data or a bank"),
        ("1/saved_model.pb", "is an exported model"),
        ("notes.txt", ""),
    ],
)
def test_a_comparison_does_not_go_into_something_else(
    config, tiny_world, tmp_path, rgan, name, kind
):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.touch()
    given = ("--systems", "first_stage", "--dry-run")
    reply = rgan(*words(config, tiny_world.folder, tmp_path / "out", *given))
    assert reply.code == (2 if kind else 0), reply.err
    assert not kind or f"--out {tmp_path / 'out'}: {kind}; name a folder for" in reply.err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--search-steps", 9), "--search-steps: only applies to --search-rates; name factors"),
        (("--ablation", "--systems", "sg2im"), "--ablation: names its rows itself; leave out"),
    ],
)
def test_options_that_change_nothing_are_refused(
    config, tiny_world, tmp_path, rgan, given, message
):
    reply = rgan(*words(config, tiny_world.folder, tmp_path / "out", *given))
    assert reply.code == 2 and message in reply.err and not (tmp_path / "out").exists()


@pytest.mark.thorough
def test_a_trained_run_and_its_first_stage(
    calls, config, copied, tiny_world, tmp_path, rgan, capfd
):
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    shutil.move(copied, out / "runs" / "retrievegan")
    systems = ("--systems", "retrievegan", "first_stage")
    reply = rgan(*words(config, tiny_world.folder, out, *systems))
    assert reply.code == 0, reply.err
    assert [call[0] for call in calls] == ["train", "eval", "eval"]
    rows = json.loads(reply.out)["rows"]
    assert [row["system"] for row in rows] == ["retrievegan", "first_stage"]
    for row in rows:
        check_figures(row)
    assert rows[1]["style agreement"] is None
    assert "retrievegan" in (out / "table.md").read_text()
    with Image.open(out / "comparison.png") as picture:
        assert picture.width > 4 * 128 and np.asarray(picture).std() > 10
    whole = json.loads((out / "comparison.json").read_text())
    assert set(whole["metrics"]) == {"retrievegan", "first_stage"}
    before = {path: path.read_bytes() for path in out.rglob("*.json")}
    # Everything is there: nothing is evaluated again, and the table is the same.
    again = rgan(*words(config, tiny_world.folder, out, *systems))
    assert json.loads(again.out) == json.loads(reply.out)
    assert [call[0] for call in calls[3:]] == ["train"]
    # Another protocol is another evaluation, beside the first.
    other = rgan(*words(config, tiny_world.folder, out, "--systems", "first_stage", "--seed", 1))
    assert other.code == 0 and calls[-1][0] == "eval"
    for path, content in before.items():
        if path.name == "result.json":
            assert path.read_bytes() == content


@pytest.mark.thorough
def test_runs_that_differ_share_the_first_stages(calls, config, copied, tiny_world, tmp_path, rgan):
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    shutil.move(copied, out / "runs" / "retrievegan")
    reply = rgan(*words(config, tiny_world.folder, out, "--systems", "layout2im_style"))
    assert reply.code == 0, reply.err
    trained = [call for call in calls if call[0] == "train"][-1]
    assert "retrieval.choice=noise" in trained and "--stages-from" in trained
    record = json.loads((out / "runs/layout2im_style/sg2im/stage.json").read_text())
    assert record["taken_from"].endswith("retrievegan")
    (row,) = json.loads(reply.out)["rows"]
    assert row["Fréchet, true boxes"] and row["style agreement"] is None


def test_what_is_there_is_what_the_row_says(calls, config, copied, tiny_world, tmp_path, rgan):
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    shutil.move(copied, out / "runs" / "retrievegan")
    other = tmp_path / "other"
    shutil.copytree(tiny_world.folder, other)
    manifest = (other / "manifest.json").read_text()
    (other / "manifest.json").write_text(manifest.replace('"seed": 0', '"seed": 1', 1))
    reply = rgan(*words(config, other, out, "--systems", "sg2im"))  # not even a row of that run
    assert reply.code == 2 and "retrievegan: was trained on other data than --data" in reply.err
    fewer = ("--systems", "sg2im", "retrievegan", "--set", "training.steps=2", "--dry-run")
    reply = rgan(*words(config, tiny_world.folder, out, *fewer))
    assert reply.code == 2 and "was trained for 3 joint steps, 2 are asked for" in reply.err
    # A run on another first stage than its base's.
    ruled = out / "runs" / "graph_nearest"
    shutil.copytree(out / "runs" / "retrievegan", ruled)
    record = json.loads((ruled / "sg2im" / "stage.json").read_text())
    steps = Steps(out, str(tiny_world.folder), [], weights_dir=None, count=1)
    (entry,) = [
        e
        for e in entries_of({str(config): load_config(config)}, SYSTEMS)
        if e.name == "graph_nearest"
    ]
    steps._check(entry)
    (ruled / "sg2im" / "stage.json").write_text(json.dumps({**record, "weights_sha256": "0"}))
    with pytest.raises(BadInput, match="another stage sg2im"):
        steps._check(entry)
    # It is known before anything is trained, and so told by a dry run.
    entry = dataclasses.replace(entry, settings=())
    message = "graph_nearest: has another stage sg2im than .*retrievegan"
    with pytest.raises(BadInput, match=message):
        check_runs([entry], [], out / "runs")
    # A stage that is begun again has other weights until it has all its steps.
    begun = {**record, "weights_sha256": "0", "steps": record["steps"] - 1}
    (ruled / "sg2im" / "stage.json").write_text(json.dumps(begun))
    check_runs([entry], [], out / "runs")


def test_wrong_input_is_refused_before_anything_is_trained(
    calls, config, tiny_world, tmp_path, rgan
):
    out = tmp_path / "out"
    for more, message in (
        (("--seed", -1), "--seed -1"),
        (("--resamples", 1), "--resamples 1"),
        (("--set", "training.steps=many"), "training.steps must be int"),
        (("--set", "retrieval.choice=own"), "leave it out"),
        (("--set", "training.system=layout2im"), "leave it out"),
        (("--set", "retrieval.candidates=99"), "retrieval.candidates of at most"),
        (("--set", "training.batch_size=64"), "fewer than one batch of 64"),
    ):
        reply = rgan(*words(config, tiny_world.folder, out, *more))
        assert reply.code == 2 and message in reply.err
    out.write_text("a file")
    assert "is a file" in rgan(*words(config, tiny_world.folder, out)).err
    assert not calls


@pytest.mark.parametrize(
    ("configs", "options", "message"),
    [
        ([], {}, "configs: is empty; name at least one"),
        (5, {}, "configs: must be a list of paths, got 5"),
        ("procedural_65", {}, "config procedural_65: .* did you mean 'procedural_64'"),
        (["procedural_64"], {"systems": []}, "systems: is empty"),
        (["procedural_64"], {"systems": "graph_nearer"}, "system graph_nearer: unknown"),
        (["procedural_64"], {"overrides": "training.steps=many"}, "training.steps must be int"),
        (["procedural_64"], {"search_rates": np.array([1.0])}, "needs at least two different"),
        (["procedural_64"], {"search_rates": 2.5}, "search_rates: must be a list of numbers, got"),
        (["procedural_64"], {"search_rates": "1 2"}, "search_rates: must be a list of numbers, an"),
        (["procedural_64"], {"search_steps": 2.5}, "--search-steps 2.5: must be a whole number"),
    ],
)
def test_calls_from_python_that_name_nothing_or_no_list(tmp_path, configs, options, message):
    with pytest.raises(BadInput, match=message):
        compare(configs, tmp_path / "data", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_numbers_of_numpy_are_those_of_python(config_file, tiny_world, tmp_path):
    """They go into settings, and into the records of what was judged."""
    options = {"seed": np.int64(3), "resamples": np.int64(2), "search_steps": np.int64(5)}
    planned = compare(
        [config_file],
        tiny_world,
        tmp_path / "out",
        systems=["retrievegan"],
        search_rates=np.array([1.0, 2.5]),
        dry_run=True,
        **options,
    )
    rates = [run["settings"].get("training.generator_learning_rate") for run in planned["runs"]]
    assert set(map(type, rates)) <= {float, type(None)} and len(set(rates)) == 2
    assert json.loads(json.dumps(planned)) == planned


def test_a_retriever_that_other_processes_lack_is_refused(tiny_world, tmp_path, monkeypatch):
    monkeypatch.setattr(registered_names, "RETRIEVERS", [*registered_names.RETRIEVERS, "mine"])
    monkeypatch.delenv("RGAN_PLUGINS", raising=False)
    with pytest.raises(BadInput, match="--systems mine: is registered in this process"):
        compare(["procedural_64"], tiny_world.folder, tmp_path / "out", systems=["mine"])


def test_a_child_is_believed_in_its_exit_code(tmp_path, monkeypatch):
    steps = Steps(tmp_path, "nowhere", [], weights_dir=None, count=1)
    assert steps._run(["train", "procedural_64", "--dry-run"])["config"]["name"] == "procedural_64"
    with pytest.raises(BadInput, match="train nothing.yaml ended with exit code 2"):
        steps._run(["train", "nothing.yaml", "--dry-run"])
    monkeypatch.setattr(steps_module, "_CHILD", "raise SystemExit(2)")
    with pytest.raises(BadInput, match="eval --run my_run ended with exit code 2"):
        steps._run(["eval", "--run", "my_run", "--seed", 1])


def test_an_interrupted_child_ends_first(tmp_path, monkeypatch):
    """A training that is told to stop has to save before we leave."""
    child = (
        "import signal, sys, time, pathlib\n"
        "def stop(*_):\n"
        "    time.sleep(0.5); pathlib.Path(sys.argv[1]).write_text('saved'); sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, stop); pathlib.Path(sys.argv[1] + '.ready').touch()\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(steps_module, "_CHILD", child)
    original = steps_module.subprocess.Popen.communicate

    def interrupted(self, *args, **kwargs):
        limit = time.monotonic() + 60.0
        while not (tmp_path / "saved.ready").exists():
            assert time.monotonic() < limit and self.poll() is None
            time.sleep(0.02)
        raise KeyboardInterrupt

    monkeypatch.setattr(steps_module.subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Steps(tmp_path, "d", [], weights_dir=None, count=1)._run([tmp_path / "saved"])
    assert (tmp_path / "saved").read_text() == "saved"
    monkeypatch.setattr(steps_module.subprocess.Popen, "communicate", original)
    assert steps_module._ERRORS[75] is Interrupted
