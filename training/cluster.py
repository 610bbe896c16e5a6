"""Reads the cluster in `TF_CONFIG` like TensorFlow's own resolver."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from rgan_tf.errors import BadInput
from rgan_tf.storage.files import parse_json

_TRAINING = ("chief", "worker")  # in the order in which TensorFlow counts them
_ALLOWED = (*_TRAINING, "evaluator", "ps")
_ADDRESS = re.compile(r"[^\s/]+:[0-9]{1,5}")
_EXAMPLE = (
    'like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
)


class Task(NamedTuple):
    """One process of a cluster.

    Attributes:
      addresses: of all training processes, the chief first.
      index: of this process among them; the first one writes the run.
    """

    addresses: tuple[str, ...]
    index: int


def read_cluster(text: str) -> Task | None:
    """Reads the variable.

    Args:
      text: its value; blank if it is not set.

    Returns:
      None if it names no cluster, such as `{}`: this machine trains alone.

    Raises:
      BadInput: if the cluster is not usable, or this process does not train in it.
    """
    if not text.strip():
        return None
    config = parse_json(text, "TF_CONFIG", unique_keys=True)
    if not isinstance(config, dict):
        raise BadInput(f"TF_CONFIG: must be JSON {_EXAMPLE}")
    if not config.get("cluster"):
        return None
    jobs = _jobs(config["cluster"])
    kind, index = _task(config.get("task"))
    if kind == "evaluator":
        raise BadInput(
            "TF_CONFIG: this process is the evaluator, and training has none: run rgan eval on the "
            "run folder"
        )
    if kind == "ps" or "ps" in jobs:
        raise BadInput(
            "TF_CONFIG: must name no parameter servers (ps): every process trains the whole model; "
            "name chief and workers"
        )
    if kind not in _TRAINING or kind not in jobs:
        known = ", ".join(job for job in _TRAINING if job in jobs) or "none that trains"
        raise BadInput(f"TF_CONFIG: must give a task of the cluster; got {kind!r:.40} of {known}")
    if not 0 <= index < len(jobs[kind]):
        raise BadInput(
            f"TF_CONFIG: must give a task of the cluster; got {kind} {index}, and there are "
            f"{len(jobs[kind])}"
        )
    first = 0 if kind == "chief" else len(jobs.get("chief", ()))
    return Task(tuple(place for job in _TRAINING for place in jobs.get(job, ())), first + index)


def _jobs(cluster: Any) -> dict[str, list[str]]:
    if not isinstance(cluster, dict):
        raise BadInput(f"TF_CONFIG: cluster must be JSON {_EXAMPLE}")
    owners: dict[str, str] = {}
    for job, places in cluster.items():
        if job == "master":
            raise BadInput("TF_CONFIG: master is the old name of the chief; write chief")
        if job not in _ALLOWED:
            raise BadInput(f"TF_CONFIG: job {job!r:.40} must be one of {', '.join(_ALLOWED)}")
        if not isinstance(places, list):
            raise BadInput(f'TF_CONFIG: {job} must be a list like ["host:port", ...]')
        if job in ("chief", "evaluator") and len(places) > 1:
            raise BadInput(f"TF_CONFIG: there must be one {job}, got {len(places)}")
        for number, place in enumerate(places):
            name = f"{job} {number}"
            if not isinstance(place, str) or not _ADDRESS.fullmatch(place):
                raise BadInput(f"TF_CONFIG: {name} must be host:port, got {place!r:.80}")
            if owners.setdefault(place, name) != name:
                raise BadInput(f"TF_CONFIG: {owners[place]} and {name} must not share {place}")
    return {job: places for job, places in cluster.items() if places}


def _task(task: Any) -> tuple[Any, int]:
    """Type and index; like TensorFlow, accepts an index as text."""
    try:
        return task["type"], int(task["index"])
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise BadInput(f"TF_CONFIG: must say which task this process is, {_EXAMPLE}") from error
