"""Annotation files whose members stay on the disk."""

from __future__ import annotations

import gc
import json
import os
import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgan_tf.annotations import stored_lists
from rgan_tf.annotations.json_object import JsonObject, StoredObject, each_object
from rgan_tf.annotations.stored_lists import ChangedFile, StoredList, read_stored
from rgan_tf.errors import BadInput
from rgan_tf.storage.files import read_json


def plain(value):
    """The same value with ordinary lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, StoredList) else value


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    value=st.lists(VALUES, max_size=6) | st.dictionaries(st.text(), VALUES, max_size=4),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    block=st.sampled_from([1, 2, 3, 7, 1 << 20]),
)
def test_any_json_is_read_as_a_whole_one(tmp_path_factory, value, indent, ascii_only, block):
    path = tmp_path_factory.getbasetemp() / "any.json"
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_lists, "_BLOCK", block)  # values go over from one to the next
        try:
            expected = read_json(path, lenient=True)
        except BadInput as error:  # a lone surrogate is not UTF-8
            with pytest.raises(BadInput) as raised:
                read_stored(path)
            assert str(raised.value) == str(error)
            return
        assert plain(read_stored(path)) == expected


def test_members_are_parsed_when_they_are_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    path.write_text('\ufeff{"kind": "x", "list": [{"a": 1}, [2], "drei ü", 4.5e1] }\n', "utf-8")
    value = read_stored(path)
    parsed = []
    parse = stored_lists.parse_json
    monkeypatch.setattr(
        stored_lists, "parse_json", lambda *words, **more: parsed.append(1) or parse(*words, **more)
    )
    members = value["list"]
    assert value["kind"] == "x" and len(members) == 4
    assert not parsed
    assert members[2] == "drei ü" and len(parsed) == 1
    assert members[-1] == 45.0 and members[:2] == [{"a": 1}, [2]]
    with pytest.raises(IndexError):
        members[4]


def test_what_is_lenient_stays_so(tmp_path):
    path = tmp_path / "file.json"
    for text in (
        '[{"a": NaN, "b": 1, "b": 2}]',
        f'[{{"a": {"9" * 5000}}}]',
        '{"a": [1], "a": [2]}',
        f'{{"b": {"9" * 5000}, "a": [1]}}',
        "3",
    ):
        path.write_text(text)
        assert repr(plain(read_stored(path))) == repr(read_json(path, lenient=True))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[",
        b'{"a": [1, 2',
        b'{"a": [1, 2]',
        b"[1, 2] 3",
        b"[1 2]",
        b"[1,, 2]",
        b"[1, 2,]",
        b'{"a" [1]}',
        b"{1: [1]}",
        b'{"a": [1],}',
        b'["\xff"]',
        b'{"\xff": 1}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_json_is_refused_in_the_same_words(tmp_path, text):
    path = tmp_path / "file.json"
    path.write_bytes(text)
    with pytest.raises(BadInput) as expected:
        read_json(path, lenient=True)
    with pytest.raises(BadInput) as raised:
        read_stored(path)
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'[{"a": 1}, {"b": "ccc', "Unterminated string starting at byte 17"),
        (b'[{"a": 1}, {"b": 2}', "no , at byte 19"),
        (b'[{"a": 1} {"b": 2}]', "no , at byte 10"),
        (b'{"a": [1], 2: 3}', "no key at byte 11"),
        (b'[{"a": 1}, {"b": 2 "c": 3}, "ddd"]', "Expecting ',' delimiter at byte 19"),
        (b'[{"a": "\xc3\xbc\xff"}]', "no UTF-8 at byte 10"),
        (b"[1] 2", "something follows at byte 4"),
    ],
)
@pytest.mark.parametrize("block", [3, 1 << 20])
def test_a_large_file_is_not_parsed_again_to_be_refused(tmp_path, monkeypatch, text, reason, block):
    path = tmp_path / "file.json"
    path.write_bytes(text)
    monkeypatch.setattr(stored_lists, "_MOST_WHOLE", 4)
    monkeypatch.setattr(stored_lists, "_BLOCK", block)
    monkeypatch.delattr(stored_lists, "read_json")
    with pytest.raises(BadInput, match="fetch or export it again if it is cut off$") as raised:
        read_stored(path)
    assert f"{path}: not JSON ({reason})" in str(raised.value)


def test_a_fault_in_the_middle_of_a_large_file_is_found_without_the_rest(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    members = [json.dumps({"id": number, "text": "x" * 100}) for number in range(40_000)]
    members[1000] = members[1000].replace(":", "", 1)
    path.write_text(f"[{','.join(members)}]")
    monkeypatch.setattr(stored_lists, "_MOST_WHOLE", 1 << 20)
    monkeypatch.setattr(stored_lists, "_BLOCK", 1 << 16)
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match="Expecting ':' delimiter at byte"):
            read_stored(path)
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 4
    finally:
        tracemalloc.stop()


def test_a_missing_file_is_refused_in_the_same_words(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere.json: No such file"):
        read_stored(tmp_path / "nowhere.json")


def test_objects_keep_their_place_and_not_their_value(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"list": [{"id": 1}, 2, {"id": 3, "inner": [{"id": 4}]}]}')
    file = JsonObject(read_stored(path), path)
    invalid: list[str] = []
    kept = [place for place, _ in file.each("list", on_invalid=invalid.append)]
    assert invalid == [f"{path} list[1]: expected a JSON object, got int"]
    assert [str(place) for place in kept] == ["file.json list[0]", "file.json list[2]"]
    assert all(isinstance(place, StoredObject) for place in kept)
    entry = kept[1].load()
    assert entry.value == {"id": 3, "inner": [{"id": 4}]}
    assert entry.source == kept[1].source == f"{path} list[2]"
    assert entry.list("inner")[0].source == f"{path} list[2] inner[0]"
    # What is in memory anyway is kept as it is.
    ((same, inner),) = each_object(entry.value["inner"], path)
    assert same is inner and inner.load() is inner


def test_a_file_that_changes_is_noticed(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('[{"id": 1}, {"id": 2}]')
    members = read_stored(path)
    path.write_text('["id": 1]. {"id": 2}]')
    with pytest.raises(ChangedFile, match="has changed while it was read"):
        members[0]


def test_many_lists_share_one_open_file(tmp_path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps({str(number): [number] for number in range(50)}))
    gc.collect()  # files of earlier tests
    before = len(os.listdir("/proc/self/fd"))
    value = read_stored(path)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    assert value["49"][0] == 49
    del value
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_replaced_is_read_to_its_end(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"a": [1], "b": [2]}')
    value = read_stored(path)
    (tmp_path / "new.json").write_text('{"a": [3], "b": [4]}')
    (tmp_path / "new.json").replace(path)
    assert plain(value) == {"a": [1], "b": [2]}


def test_a_pipe_is_read_as_a_whole(tmp_path):
    path = tmp_path / "pipe.json"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=['[{"id": 1}]'], daemon=True)
    writer.start()
    assert read_stored(path) == [{"id": 1}]
    writer.join()


def test_messages_call_a_list_by_its_name(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"id": [1, 2]}')
    file = JsonObject(read_stored(path), path)
    with pytest.raises(BadInput, match="'id' must be an integer, got a list of 2$"):
        file.number("id")
    with pytest.raises(BadInput, match="id: expected a JSON object, got list$"):
        file.child("id")


def test_the_reading_of_a_large_file_is_followed(tmp_path, monkeypatch, capsys):
    path = tmp_path / "large.json"
    path.write_text('{"annotations": [' + ",".join(['"0123456789"'] * 1000) + "]}")
    read_stored(path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("rgan_tf.progress._LONG_S", 0.0)
    assert len(read_stored(path)["annotations"]) == 1000
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("read large.json: 0.00/13.0k [")
    assert last.startswith("read large.json: 13.0k/13.0k [")
