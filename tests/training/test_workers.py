"""Who trains: one process or several, and that every row of a batch is trained on once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.data.pipeline import WHOLE, Share, scene_dataset
from rgan_tf.errors import BadInput
from tests.training.processes import finish, start_training, write_settings
from training.workers import Workers, start_workers

KEYS = ("image_id", "objects", "boxes", "triples", "image")


def scenes(data, config, share, start_step=0):
    return scene_dataset(
        data, "train", config, batch_size=8, seed=3, start_step=start_step, share=share
    )


@pytest.mark.parametrize("total", [1, 2, 4, 8])
@pytest.mark.parametrize("start_step", [0, 5])
def test_shares_are_the_batch_without_gaps_or_repeats(tiny_world, tiny_config, total, start_step):
    whole = list(scenes(tiny_world, tiny_config, WHOLE, start_step).take(3))
    for pipelines in {1, total}:
        count = total // pipelines
        parts = [
            list(
                scenes(tiny_world, tiny_config, Share(p * count, count, total), start_step).take(
                    3 * count
                )
            )
            for p in range(pipelines)
        ]
        for number, batch in enumerate(whole):
            for key in KEYS:
                rows = [
                    parts[p][number * count + part][key].numpy()
                    for p in range(pipelines)
                    for part in range(count)
                ]
                assert all(len(row) == 8 // total for row in rows)
                np.testing.assert_array_equal(np.concatenate(rows), batch[key])


def test_mirrored_rows_are_the_same_in_every_share(tiny_world, tiny_config):
    import dataclasses

    config = dataclasses.replace(tiny_config, data=dataclasses.replace(tiny_config.data, flip=True))
    whole = next(iter(scenes(tiny_world, config, WHOLE)))
    plain = next(iter(scenes(tiny_world, tiny_config, WHOLE)))
    assert (whole["boxes"].numpy() != plain["boxes"].numpy()).any()
    second = next(iter(scenes(tiny_world, config, Share(1, 1, 2))))
    np.testing.assert_array_equal(second["boxes"], whole["boxes"][4:])
    np.testing.assert_array_equal(second["image"], whole["image"][4:])


@pytest.mark.parametrize("total", [3, 5])
def test_a_batch_that_does_not_fall_into_parts_is_refused(tiny_world, tiny_config, total):
    with pytest.raises(BadInput, match=f"8 does not fall into {total} equal parts"):
        scenes(tiny_world, tiny_config, Share(0, 1, total))


def test_two_replicas_get_their_rows_in_order(tiny_world, tiny_config, two_replicas):
    workers = Workers(two_replicas, count=1, index=0)
    assert workers.is_chief and workers.replicas == 2
    dataset = workers.dataset(lambda share: scenes(tiny_world, tiny_config, share))
    whole = next(iter(scenes(tiny_world, tiny_config, WHOLE)))
    batch = next(iter(dataset))
    rows = [part.numpy() for part in two_replicas.experimental_local_results(batch["image_id"])]
    np.testing.assert_array_equal(np.concatenate(rows), whole["image_id"])


def test_alone_there_is_nobody_to_ask():
    workers = Workers(tf.distribute.get_strategy(), count=1, index=0)
    assert workers.any(True) is True and workers.any(False) is False
    workers.wait()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_cluster_that_is_not_one_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(BadInput, match="TF_CONFIG: must"):
        start_workers()


@pytest.mark.parametrize("text", ["", " \n", "{}", '{"task": {"type": "worker", "index": 0}}'])
def test_without_a_cluster_this_machine_trains_alone(text, monkeypatch):
    """TensorFlow reads the variable once more, and takes a blank one for broken JSON."""
    monkeypatch.setenv("TF_CONFIG", text)
    workers = start_workers()
    assert workers.count == 1 and workers.is_chief
    assert not isinstance(workers.strategy, tf.distribute.MultiWorkerMirroredStrategy)


def test_a_single_gpu_is_not_mirrored(two_replicas, monkeypatch):
    """Else no whole step could be compiled there."""
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: two_replicas)
    cpus = tf.config.list_logical_devices("CPU")
    assert len(cpus) == 2
    for gpus in ([], cpus):
        monkeypatch.setattr(tf.config, "list_logical_devices", {"GPU": gpus}.__getitem__)
        assert start_workers().strategy is two_replicas
    monkeypatch.setattr(tf.config, "list_logical_devices", {"GPU": cpus[1:]}.__getitem__)
    workers = start_workers()
    assert isinstance(workers.strategy, tf.distribute.OneDeviceStrategy)
    (device,) = workers.strategy.extended.worker_devices
    assert device.endswith(cpus[1].name)
    assert workers.replicas == 1


@pytest.fixture
def free_ports():
    import socket

    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def stage_weights(run, stage):
    record = json.loads((run / stage / "stage.json").read_text())
    reader = tf.train.load_checkpoint(str(run / stage / record["weights"]))
    return {
        name: reader.get_tensor(name)
        for name, kind in reader.get_variable_to_dtype_map().items()
        if kind.is_floating
    }


def compare(run, other, atol):
    for stage in ("sg2im", "cooccurrence", "retrievegan"):
        ours, theirs = stage_weights(run, stage), stage_weights(other, stage)
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            np.testing.assert_allclose(value, theirs[name], atol=atol, rtol=0, err_msg=name)


def settings_of(steps, joint):
    return {
        "sg2im": {"steps": steps},
        "cooccurrence": {"steps": steps},
        "training": {
            "steps": joint,
            "checkpoint_every_steps": 1000,
            "log_every_steps": steps,
            # Adam divides by the size of a gradient: with the usual 1e-7 the rounding of tiny ones
            # becomes a step of full length, and 20 steps end up to 7e-5 apart instead.
            "epsilon": 1e-4,
        },
    }


@pytest.mark.thorough
def test_two_processes_equal_one(tiny_settings, tiny_world, tmp_path, free_ports):
    """Two machines with one device each, on loopback, and one machine alone: 2 steps."""
    config = write_settings(tmp_path / "tiny.yaml", tiny_settings, **settings_of(2, 2))
    alone, together = tmp_path / "alone", tmp_path / "together"
    finish(start_training(config, tiny_world.folder, alone), alone)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports]}
    processes = [
        start_training(
            config,
            tiny_world.folder,
            together,
            environment={
                "TF_CONFIG": json.dumps(
                    {"cluster": cluster, "task": {"type": "worker", "index": index}}
                )
            },
        )
        for index in range(2)
    ]
    for process in processes:
        finish(process, together)
    compare(together, alone, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_eight_replicas_with_many_candidates_equal_one(tiny_settings, tiny_world, tmp_path):
    """Each refreshes an eighth of the cache's rows; three joint steps read what others wrote."""
    sections = settings_of(2, 3)
    sections["training"]["batch_size"] = 8
    sections["retrieval"] = {"candidates": 40, "cache_max_age_steps": 2}
    config = write_settings(tmp_path / "tiny.yaml", tiny_settings, **sections)
    runs = {devices: tmp_path / f"run{devices}" for devices in (1, 8)}
    for devices, run in runs.items():
        finish(start_training(config, tiny_world.folder, run, devices=devices), run)
    compare(runs[8], runs[1], atol=1e-4)
    path = "retrievegan/checkpoints/step-00000003/state"
    caches = [
        reader.get_tensor(name)
        for reader in (tf.train.load_checkpoint(str(run / path)) for run in runs.values())
        for name in reader.get_variable_to_shape_map()
        if name.startswith("cache/vectors")
    ]
    assert len(caches) == 2
    np.testing.assert_allclose(caches[1], caches[0], atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("epsilon", [1e-7, 1e-2])
def test_one_two_and_four_replicas_agree_after_twenty_steps(
    tiny_settings, tiny_world, tmp_path, epsilon
):
    """In float64, see `in_float64`: 1e-12 where 1e-5 is asked for.

    Adam with its usual epsilon forgives a gradient of the wrong size; with a large one it does not.
    """
    sections = settings_of(20, 20)
    sections["training"]["epsilon"] = epsilon
    config = write_settings(tmp_path / "tiny.yaml", tiny_settings, **sections)
    program = [Path(__file__).with_name("in_float64.py")]
    runs = {}
    for devices in (1, 2, 4):
        runs[devices] = tmp_path / f"run{devices}"
        process = start_training(
            config, tiny_world.folder, runs[devices], devices=devices, program=program
        )
        finish(process, runs[devices])
    for devices in (2, 4):
        compare(runs[devices], runs[1], atol=1e-12)
    weights = stage_weights(runs[1], "retrievegan")
    assert all(value.dtype == np.float64 for value in weights.values())
