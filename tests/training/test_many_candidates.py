"""Training with more candidates than are loaded, through the command, and its measurements."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.runs import open_run
from training.bench import estimators
from training.bench.gradients import compare_gradients

# That the step is right is proven in tests/model; here are whole trainings.
pytestmark = pytest.mark.thorough

SETTINGS = {"candidates": 64, "exact_candidates": 32, "cache_max_age_steps": 5}


@pytest.fixture(scope="module", autouse=True)
def quick_backbone(pooled_backbone):
    with pytest.MonkeyPatch.context() as patch:
        for place in ("training.api", "training.bench.gradients"):
            patch.setattr(f"{place}.load_backbone", lambda name, folder: pooled_backbone)
        yield


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory, tiny_config):
    import yaml

    from rgan_tf.config_files import config_to_dict

    settings = config_to_dict(tiny_config)
    settings["retrieval"] |= SETTINGS
    settings["sg2im"]["steps"] = settings["cooccurrence"]["steps"] = 0
    settings["training"] |= {"checkpoint_every_steps": 2, "log_every_steps": 1}
    path = tmp_path_factory.mktemp("many") / "many.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="module")
def run_folder(settings_file, tiny_world, tmp_path_factory):
    """3 joint steps with 64 candidates; not to be changed."""
    from rgan_tf import cli

    folder = tmp_path_factory.mktemp("many") / "run"
    words = ["train", settings_file, "--data", tiny_world.folder, "--run", folder]
    assert cli.main([str(word) for word in words]) == 0
    return folder


def cache_of(folder, step):
    """The cache that the checkpoint of that step holds."""
    path = folder / "retrievegan" / "checkpoints" / f"step-{step:08d}" / "state"
    return tf.train.load_checkpoint(str(path)).get_tensor(
        "cache/vectors/.ATTRIBUTES/VARIABLE_VALUE"
    )


def test_three_steps_leave_weights_pictures_and_a_cache(run_folder, tiny_world):
    run = open_run(str(run_folder))
    assert run.stage_record("retrievegan")["steps"] == 3
    assert (run_folder / "pictures" / "retrievegan-0000003.png").exists()
    rows = len(tiny_world.bank)
    before, after = cache_of(run_folder, 2), cache_of(run_folder, 3)
    assert before.shape == (rows, 8)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1, atol=1e-5)
    changed = np.flatnonzero((before != after).any(axis=1))
    each = -(-rows // 5)
    assert set(changed) <= set(range(2 * each, 3 * each)) and len(changed) > each // 2


def test_the_age_of_the_cache_is_logged(run_folder):
    ages = [
        float(tf.make_ndarray(value.tensor))
        for path in (run_folder / "logs" / "retrievegan").glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == "retrieval/cache_age_steps"
    ]
    assert ages == [0, 1, 2]


def test_a_continued_run_keeps_its_cache(run_folder, settings_file, tiny_world, tmp_path, rgan):
    """Two steps, a stop, and the third: the same cache as three steps at once."""
    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    stage = copy / "retrievegan"
    shutil.rmtree(stage / "checkpoints" / "step-00000003")
    record = json.loads((stage / "stage.json").read_text())
    (stage / "stage.json").write_text(json.dumps({**record, "steps": 2}))
    done = rgan("train", settings_file, "--data", tiny_world.folder, "--run", copy)
    assert done.code == 0, done.err
    assert "resuming from" in done.err
    np.testing.assert_allclose(cache_of(copy, 3), cache_of(run_folder, 3), atol=1e-5)


def test_evaluation_retrieves_among_all_of_them(run_folder, rgan, tmp_path):
    done = rgan("eval", "--run", run_folder, "--only", "retrieval", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    metrics = json.loads(done.out)["val"]
    assert 0 <= metrics["retrieval/learned/style_agreement"] <= 1
    # All 64 columns count; what is not of the object's category is masked, so there are fewer.
    bank = PreparedData.open(open_run(str(run_folder)).data).bank
    fewest, most = np.bincount(bank.category_ids)[2:].min(), np.bincount(bank.category_ids).max()
    assert 1 / (1 + min(most, 64)) <= metrics["retrieval/random/gt_recall@1"] <= 1 / (1 + fewest)
    assert metrics["retrieval/random/gt_recall@1"] < 1 / (1 + 4)  # of 4 there would be no less


def test_gradients_are_compared_on_a_trained_run(run_folder):
    result = compare_gradients(
        str(run_folder), None, candidates=12, batches=2, loaded=(2,), temperatures=(0.5,)
    )
    # Checkpoints are of steps 0, 2 and 3.
    assert result["age_steps"] == 3 and result["step"] == 3
    for figures in (
        result["cosine"]["temperature 0.5"],
        result["cosine_of_mean"]["temperature 0.5"],
    ):
        assert figures[12] == pytest.approx(dict.fromkeys(figures[12], 1.0), abs=1e-3)
        assert all(-1 <= value <= 1.0001 for value in figures[2].values())
    differ = result["choices_differ"]
    assert differ["fresh"]["choices_differ"] == 0
    assert differ["fresh"]["cached_alone"] == 0
    assert 0 <= differ["oldest"]["choices_differ"] < 0.5


def test_gradients_need_a_run_with_checkpoints(run_folder, rgan, tmp_path, monkeypatch):
    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    shutil.rmtree(copy / "retrievegan" / "checkpoints")
    with pytest.raises(BadInput, match="no checkpoints"):
        compare_gradients(str(copy), None, candidates=12, batches=1)
    # The command leaves out what needs them.
    monkeypatch.setattr(
        estimators, "ESTIMATORS", estimators.ESTIMATORS[:1]
    )  # tracing takes its time
    words = ("--batches", 1, "--draws", 2)
    done = rgan("bench", "retrieval", "--gradients", "--run", copy, *words)
    assert done.code == 0 and "truncation" not in json.loads(done.out)
