"""Features of real images are computed once, and anew where anything they depend on differs."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.reference import ReferenceCache


@pytest.fixture
def counted():
    """Computes other numbers at every call."""
    calls = []

    def compute():
        calls.append(1)
        return {"features": np.full([3, 2], len(calls), np.float32), "ids": np.arange(3)}

    compute.calls = calls
    return compute


def test_the_second_time_comes_from_disk(tmp_path, counted):
    first = ReferenceCache(tmp_path, {"data": "a"}).get({"split": "val"}, counted)
    again = ReferenceCache(tmp_path, {"data": "a"}).get({"split": "val"}, counted)
    assert len(counted.calls) == 1
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        assert value.dtype == again[name].dtype


@pytest.mark.parametrize(
    ("identity", "what"),
    [({"data": "b"}, {"split": "val"}), ({"data": "a"}, {"split": "test"}), ({}, {})],
)
def test_other_content_is_another_computation(tmp_path, counted, identity, what):
    ReferenceCache(tmp_path, {"data": "a"}).get({"split": "val"}, counted)
    found = ReferenceCache(tmp_path, identity).get(what, counted)
    assert found["features"][0, 0] == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "pickle"])
def test_a_damaged_file_is_computed_again_and_replaced(tmp_path, counted, capsys, damage):
    cache = ReferenceCache(tmp_path, {})
    cache.get({}, counted)
    (path,) = (tmp_path / "evaluation").iterdir()
    content = bytearray(path.read_bytes())
    if damage == "pickle":
        np.savez(path, features=np.array([{"a": 1}], object))
    else:
        content[len(content) // 3] ^= 0xFF
        whole = {
            "cut": content[: len(content) // 2],
            "flipped": content,
            "empty": b"",
            "text": b"hello",
        }
        path.write_bytes(bytes(whole[damage]))
    assert cache.get({}, counted)["features"][0, 0] == 2
    assert "computing it again" in capsys.readouterr().err
    assert cache.get({}, counted)["features"][0, 0] == 2


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path, counted, capsys):
    (tmp_path / "evaluation").write_text("a file")
    cache = ReferenceCache(tmp_path, {})
    assert [cache.get({}, counted)["features"][0, 0] for _ in range(2)] == [1, 2]
    assert capsys.readouterr().err.count("cannot be kept") == 2
