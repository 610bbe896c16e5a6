"""`rgan compare --dry-run`: what would be trained, and nothing written."""

from __future__ import annotations

import json
import shutil

import pytest

from training.compare.plan import plan_lines


@pytest.fixture
def dry_run(rgan, trained_folder, tiny_world, tmp_path):
    """Plans a comparison with the config of the trained run; the result and what is said."""
    config = shutil.copy(trained_folder / "config.yaml", tmp_path / "tiny.yaml")

    def run(*more, out=tmp_path / "out", code=0):
        words = ["compare", config, "--data", tiny_world.folder, "--out", out, "--dry-run"]
        done = rgan(*words, *more)
        assert done.code == code, done.err
        return json.loads(done.out) if done.out else None, done.err

    return run


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_every_run_once_in_order_with_its_settings(dry_run, tmp_path):
    result, said = dry_run(
        "--systems", "retrievegan", "graph_nearest", "pasted_canvas", "first_stage"
    )
    assert not (tmp_path / "out").exists()
    first, second = result["runs"]
    assert (first["run"], second["run"]) == ("retrievegan", "graph_nearest")
    assert result["rows"]["pasted_canvas"] == result["rows"]["first_stage"] == "retrievegan"
    assert second["stages_from"] == "retrievegan" and first["stages_from"] is None
    assert second["settings"]["retrieval.choice"] == "nearest"
    assert "retrieval.choice" not in first["settings"]
    assert [stage["left"] for stage in second["stages"].values()] == [0, 0, 3]
    assert [stage["left"] for stage in first["stages"].values()] == [3, 3, 3]
    assert first["seconds"] is result["seconds"] is None
    assert "sg2im of retrievegan" in said and "of unknown duration" in said


def test_a_run_that_only_lends_its_stages_is_named(dry_run):
    result, _ = dry_run("--systems", "graph_nearest", "--set", "training.steps=7")
    lender, run = result["runs"]
    assert lender["run"] == "retrievegan" and lender["stages"]["retrievegan"]["steps"] == 0
    assert run["stages"]["retrievegan"]["left"] == 7
    # The lender comes first, and is trained for the row that is a part of it.
    words = ("--systems", "graph_nearest", "pasted_canvas", "--set", "training.steps=7")
    assert [run["stages"]["retrievegan"]["left"] for run in dry_run(*words)[0]["runs"]] == [7, 7]


def test_parts_that_the_config_lacks_are_not_rows(dry_run):
    result, said = dry_run("--ablation", "parts", "--set", "generator.masks=true")
    rows = [run["run"] for run in result["runs"]]
    assert rows[:2] == ["retrievegan", "no_masks"] and "no_composition" not in rows
    assert "no rows no_composition, " in said and "no_masks" not in said.partition("\n")[0]
    _, said = dry_run("--systems", "retrievegan", "no_masks", code=2)
    assert "--systems no_masks: would be retrievegan again (" in said
    nothing = [f"losses.{name}=0" for name in ("selection", "cooccurrence")]
    words = (word for setting in nothing for word in ("--set", setting))
    _, said = dry_run("--ablation", *words, code=2)
    assert "--ablation losses: " in said and "has none of them" in said


def test_the_tries_of_learning_rates_are_runs_as_well(dry_run, tmp_path):
    words = ("--search-rates", 1, 2.5, "--search-steps", 2)
    result, _ = dry_run("--systems", "retrievegan", "layout2im", "pasted_canvas", *words)
    assert [run["run"] for run in result["runs"]] == [
        "first_stages",
        *(f"search/{name}-rate_{f}" for name in ("retrievegan", "layout2im") for f in (1, 2.5)),
        "retrievegan",
        "layout2im",
    ]
    steps = [run["stages"]["retrievegan"]["steps"] for run in result["runs"]]
    assert steps == [0, 2, 2, 2, 2, 3, 3]
    assert not (tmp_path / "out").exists()
    assert "--search-rates 2" in dry_run("--search-rates", 2, code=2)[1]
    _, said = dry_run("--systems", "layout2im", "pasted_canvas", *words, code=2)
    assert "add retrievegan to --systems" in said


def test_a_stage_of_a_row_s_own_is_planned_once(dry_run):
    words = ("--set", "attngan.damsm_steps=9")
    result, said = dry_run("--systems", "retrievegan", "attngan", "sg2im", *words)
    ours, attngan, sg2im = (run["stages"] for run in result["runs"])
    assert list(attngan) == ["sg2im", "cooccurrence", "damsm", "retrievegan"]
    assert attngan["damsm"] == {"steps": 9, "done": 0, "left": 9, "seconds": None}
    assert "damsm" not in ours and "damsm" not in sg2im
    assert "damsm 9 steps" in said
    words = ("--search-rates", 1, 2.5, *words)
    result, said = dry_run("--systems", "retrievegan", "attngan", *words)
    left = [run["stages"]["damsm"]["left"] for run in result["runs"] if "damsm" in run["stages"]]
    assert left == [9, 0, 0]  # two tries and the run itself: the first one's encoders serve all
    assert said.count("damsm of an earlier run") == 2
    words = ("--search-rates", 1, 2.5, "--set", "retrieval.embedding_steps=9")
    words = (*words, "--set", "retrieval.embedding_start=frozen", "--ablation", "parts")
    runs = {run["run"]: run["stages"] for run in dry_run(*words)[0]["runs"]}
    left = {
        run: stages["embedding"]["left"] for run, stages in runs.items() if "embedding" in stages
    }
    assert [run for run in left if left[run]] == ["first_stages", "search/no_frozen_start-rate_1"]
    assert "search/no_frozen_start-rate_2.5" in left and "no_frozen_start" in left


def test_what_is_done_is_not_counted_and_gives_the_rate(dry_run, copied, tmp_path):
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    shutil.move(copied, out / "runs" / "retrievegan")
    path = out / "runs" / "retrievegan" / "retrievegan" / "stage.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": 6.0}))  # for 3 steps
    before = names_in(out)
    result, said = dry_run("--systems", "retrievegan", "graph_nearest", "no_selection_loss")
    assert names_in(out) == before
    done, *others = result["runs"]
    assert [stage["left"] for stage in done["stages"].values()] == [0, 0, 0]
    assert done["seconds"] == 0.0 and [run["seconds"] for run in others] == [6.0, 6.0]
    assert result["seconds"] == 12.0 and "together: about 12 s" in said


def test_what_cannot_be_done_is_refused_as_without_it(dry_run):
    _, said = dry_run("--set", "data.image_size=128", code=2)
    assert "prepare with --size 128" in said


def test_lines_for_people():
    stages = {name: {"steps": 9, "done": 4, "left": 5, "seconds": 1.0} for name in ("sg2im",)}
    known = {
        "run": "a",
        "stages_from": None,
        "stages": stages,
        "diverged": False,
        "seconds": 5400.0,
    }
    lines = plan_lines([known, {**known, "run": "b", "seconds": None}])
    assert lines[0] == "a: sg2im 9 steps (4 are done); about 90 min"
    assert lines[2].startswith("together: about 90 min, and 1 runs of unknown duration")
