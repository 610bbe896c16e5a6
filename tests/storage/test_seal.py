"""Every change of a sealed file's content shows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgan_tf.errors import CorruptData
from rgan_tf.storage.files import write_json_atomic
from rgan_tf.storage.seal import SEAL, check_seal, read_sealed, sealed

CONTENT = {"kind": "é", "rows": 3, "files": {"b": [1.5, None], "a": {}}, "of": "x"}


def test_what_was_sealed_is_read_and_sealed_again_alike(tmp_path):
    write_json_atomic(tmp_path / "a", sealed(CONTENT))
    read = read_sealed(tmp_path / "a")
    assert {key: value for key, value in read.items() if key != SEAL} == CONTENT
    assert sealed(read) == read


@given(st.data())
def test_every_change_of_a_value_or_key_is_seen(data):
    key = data.draw(st.sampled_from(sorted(CONTENT)))
    value = data.draw(st.one_of(st.integers(), st.text(), st.none(), st.lists(st.booleans())))
    changed = sealed(CONTENT) | {key: value}
    renamed = {(k + "x" if k == key else k): v for k, v in sealed(CONTENT).items()}
    for manifest in (changed, renamed):
        with pytest.raises(CorruptData, match="where: damaged .*; do that"):
            check_seal(manifest, "where", advice="do that")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", json.dumps(CONTENT)])
def test_what_is_not_sealed_is_refused(tmp_path, text):
    (tmp_path / "a").write_text(text)
    with pytest.raises(CorruptData, match=f"{tmp_path / 'a'}: damaged.*; delete it"):
        read_sealed(tmp_path / "a")
    with pytest.raises(CorruptData):
        read_sealed(tmp_path / "none")
