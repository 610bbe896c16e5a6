"""Differences between systems, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rgan_tf.config import Config
from training.compare.differences import difference_table, differences_of
from training.compare.entries import entries_of
from training.compare.table import rows_of


def _metrics(system: str, value: float, resampled: list[float] | None) -> dict:
    name = f"{system}/true_boxes/fd_mobilenet_v2_4_val"
    return {name: value} | ({} if resampled is None else {f"{name}/resampled": resampled})


def _found(metrics):
    entries = entries_of({"c": Config()}, list(metrics))
    return differences_of(entries, rows_of(entries, metrics), metrics)


def test_an_interval_is_that_of_the_difference_and_not_of_either():
    shared = np.array([400.0, 500.0, 300.0, 600.0])  # far apart, but the same in both
    metrics = {
        "retrievegan": _metrics("retrievegan", 450.0, shared.tolist()),
        "pasted_canvas": _metrics("pasted_canvas", 470.0, (shared + [19, 21, 19, 21]).tolist()),
        "first_stage": _metrics("first_stage", 440.0, (shared[::-1] - 10).tolist()),
    }
    found = _found(metrics)
    canvas = found["pasted_canvas"]["Fréchet, true boxes"]
    error = np.std([19, 21, 19, 21], ddof=1)
    assert canvas["value"] == 20.0 and canvas["from"] == "retrievegan"
    assert canvas["interval"] == pytest.approx([20 - 1.96 * error, 20 + 1.96 * error])
    lines = difference_table(found).splitlines()
    assert lines[0].startswith("Distances minus those of retrievegan")
    assert lines[2] == "| system | Fréchet, true boxes |"
    assert lines[4] == "| pasted canvas | **+20** [+18, +22] |"
    assert lines[5].startswith("| first stage | -10 [")  # not bold: anything may be true


def test_a_system_that_does_the_same_differs_by_nothing():
    metrics = {
        "retrievegan": _metrics("retrievegan", 5.0, [4.0, 6.0, 7.0]),
        "graph_nearest": _metrics("graph_nearest", 5.0, [4.0, 6.0, 7.0]),
    }
    assert _found(metrics)["graph_nearest"]["Fréchet, true boxes"] == {
        "from": "retrievegan",
        "value": 0.0,
        "interval": [0.0, 0.0],
    }


def test_without_resamples_there_is_nothing_to_say():
    metrics = {
        "retrievegan": _metrics("retrievegan", 5.0, [4.0, 6.0]),
        "graph_nearest": _metrics("graph_nearest", 6.0, None),
    }
    assert _found(metrics) == {}
    assert _found({"retrievegan": metrics["retrievegan"]}) == {}


def test_every_config_has_a_first_row_of_its_own():
    entries = entries_of({"c": Config(), "d": Config()}, ["retrievegan", "pasted_canvas"])
    values = {entry.name: float(place) for place, entry in enumerate(entries)}
    metrics = {
        entry.name: _metrics(entry.system, values[entry.name], [1.0, 2.0]) for entry in entries
    }
    found = differences_of(entries, rows_of(entries, metrics), metrics)
    firsts = {name: row["Fréchet, true boxes"]["from"] for name, row in found.items()}
    assert firsts == {"c-pasted_canvas": "c-retrievegan", "d-pasted_canvas": "d-retrievegan"}
