"""TF_CONFIG as the field writes it, beside TensorFlow's own reading of the same text."""

from __future__ import annotations

import json

import pytest
from tensorflow.python.distribute import multi_worker_util

from rgan_tf.errors import BadInput
from training.cluster import Task, read_cluster

CHIEF_AND_WORKERS = {"chief": ["c:1"], "worker": ["a:1", "b:1"]}


def text_of(cluster, kind="worker", index=0, **more) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}, **more})


@pytest.mark.parametrize(
    "text",
    ["", "  ", "{}", '{"cluster": {}}', '{"cluster": null}', '{"task": {"type": "x", "index": 9}}'],
)
def test_no_cluster(text):
    assert read_cluster(text) is None


@pytest.mark.parametrize(
    "cluster, kind, index, expected",
    [
        ({"worker": ["a:1"]}, "worker", 0, Task(("a:1",), 0)),
        ({"worker": ["a:1", "b:1"]}, "worker", 1, Task(("a:1", "b:1"), 1)),
        ({"chief": ["c:1"]}, "chief", 0, Task(("c:1",), 0)),
        (CHIEF_AND_WORKERS, "chief", 0, Task(("c:1", "a:1", "b:1"), 0)),
        (CHIEF_AND_WORKERS, "worker", 0, Task(("c:1", "a:1", "b:1"), 1)),
        (CHIEF_AND_WORKERS, "worker", "1", Task(("c:1", "a:1", "b:1"), 2)),
        (
            {**CHIEF_AND_WORKERS, "evaluator": ["e:1"]},
            "worker",
            1.0,
            Task(("c:1", "a:1", "b:1"), 2),
        ),
        ({**CHIEF_AND_WORKERS, "ps": []}, "chief", "0", Task(("c:1", "a:1", "b:1"), 0)),
        (
            {"worker": ["[::1]:1", "10.0.0.2:2222"]},
            "worker",
            0,
            Task(("[::1]:1", "10.0.0.2:2222"), 0),
        ),
    ],
)
def test_who_this_process_is(cluster, kind, index, expected):
    """The chief comes first, and TensorFlow counts the same way."""
    task = read_cluster(
        text_of(cluster, kind, index, environment="cloud", job="{}", rpc_layer=None)
    )
    assert task == expected
    arguments = (cluster, kind, int(index))
    assert multi_worker_util.id_in_cluster(*arguments) == task.index
    assert multi_worker_util.worker_count(cluster, kind) == len(task.addresses)
    assert multi_worker_util.is_chief(*arguments) == (task.index == 0)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("no json", "not JSON"),
        ("[]", "must be JSON like"),
        ("null", "must be JSON like"),
        ('{"cluster": {"worker": ["a:1"]}, "cluster": {}}', "'cluster' is given twice"),
        ('{"cluster": ["a:1"]}', "cluster must be JSON like"),
        (json.dumps({"cluster": {"worker": ["a:1"]}}), "must say which task this process is"),
        (json.dumps({"cluster": {"worker": ["a:1"]}, "task": None}), "must say which task"),
        (
            json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}),
            "must say which",
        ),
        (json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"index": 0}}), "must say which task"),
        (text_of({"worker": ["a:1"]}, index="one"), "must say which task"),
        (text_of({"worker": ["a:1"]}, index=None), "must say which task"),
        (text_of({"worker": ["a:1"]}, index=1), "got worker 1, and there are 1"),
        (text_of({"worker": ["a:1"]}, index=-1), "got worker -1"),
        (text_of({"worker": ["a:1"]}, "chief"), "got 'chief' of worker"),
        (text_of({"evaluator": ["a:1"]}, "worker"), "got 'worker' of none that trains"),
        (text_of({"worker": ["a:1"]}, "other"), "got 'other'"),
        (text_of(CHIEF_AND_WORKERS, "evaluator"), "this process is the evaluator.*rgan eval"),
        (text_of({**CHIEF_AND_WORKERS, "ps": ["p:1"]}, "ps"), "no parameter servers"),
        (text_of({**CHIEF_AND_WORKERS, "ps": ["p:1"]}), "no parameter servers"),
        (text_of({"master": ["a:1"]}, "master"), "old name of the chief"),
        (text_of({"helper": ["a:1"]}), "job 'helper' must be one of"),
        (text_of({"chief": ["a:1", "b:1"]}, "chief"), "one chief, got 2"),
        (text_of({"worker": "a:1"}), "worker must be a list"),
        (text_of({"worker": {"0": "a:1"}}), "worker must be a list"),
        (text_of({"worker": ["a"]}), "worker 0 must be host:port, got 'a'"),
        (text_of({"worker": ["grpc://a:1"]}), "worker 0 must be host:port"),
        (text_of({"worker": [None]}), "worker 0 must be host:port"),
        (text_of({"worker": ["a:1", "a:1"]}), "worker 0 and worker 1 must not share a:1"),
        (text_of({"chief": ["a:1"], "worker": ["a:1"]}), "chief 0 and worker 0 must not share a:1"),
    ],
)
def test_what_is_not_a_cluster_is_one_line(text, reason):
    with pytest.raises(BadInput, match=reason) as caught:
        read_cluster(text)
    assert str(caught.value).startswith("TF_CONFIG: ") and "\n" not in str(caught.value)
