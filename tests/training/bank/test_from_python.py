"""What `rgan bank` does, by the public names: the same files, the same refusals."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import rgan_tf
from rgan_tf.errors import BadInput


def test_every_change_writes_what_the_command_writes(rgan, folders, more, tmp_path, content_of):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    steps = [
        (
            lambda: rgan_tf.build_bank(ours, folders=folders, source_licence="CC BY 4.0"),
            ("build", "--folders", folders, "--source-licence", "CC BY 4.0", "--out", theirs),
        ),
        (
            lambda: rgan_tf.add_to_bank(rgan_tf.PatchBank.open(ours), folders=more),
            ("add", theirs, "--folders", more),
        ),
        (
            lambda: rgan_tf.remove_from_bank(ours, ids=[0, 2], categories=["house"]),
            ("remove", theirs, "--ids", "0,2", "--category", "house"),
        ),
    ]
    for change, words in steps:
        result = change()
        done = rgan("bank", *words)
        told = json.loads(done.out)
        assert {**result, "bank": str(theirs)} == {k: told[k] for k in told if k != "seconds"}
        assert content_of(ours) == content_of(theirs)
    assert len(rgan_tf.PatchBank.open(ours)) == 4

    for ids in (np.array([0]), np.array([1, 0]), (row for row in [2])):  # of a user's search
        rgan_tf.build_bank(tmp_path / "again", folders=folders)
        before = rgan_tf.PatchBank.open(tmp_path / "again")
        removed = rgan_tf.remove_from_bank(before, ids=ids)["removed"]
        assert removed == len(np.atleast_1d(ids)) and len(before) > 2
        shutil.rmtree(tmp_path / "again")
    opened = [rgan_tf.PatchBank.open(ours), theirs]
    both = rgan_tf.merge_banks(opened, tmp_path / "both", skip_duplicates=True)
    assert both["patches"] == both["duplicates"] == 4
    only = rgan_tf.build_bank(tmp_path / "by", folders=folders, source_licence="MIT", licences=None)
    assert only["refused_licence"] == 0


class Emptied(str):
    """A bank that was opened and has no patches: false, and given all the same."""

    def __bool__(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda bank, new: rgan_tf.build_bank(new, data=bank, like=Emptied()), "--data: keeps"),
        (lambda bank, new: rgan_tf.build_bank(new), "name one source"),
        (lambda bank, new: rgan_tf.build_bank(bank, folders=bank), "or use rgan bank add"),
        (lambda bank, new: rgan_tf.build_bank(new, data=bank, like=bank), "--data: keeps"),
        (lambda bank, new: rgan_tf.build_bank(new, folders=bank, licences=[]), "names no code"),
        (lambda bank, new: rgan_tf.add_to_bank(bank), "name one source"),
        (lambda bank, new: rgan_tf.remove_from_bank(bank), "choose patches by"),
        (lambda bank, new: rgan_tf.remove_from_bank(bank, ids=[-1]), "write rows as 3,17"),
        (lambda bank, new: rgan_tf.remove_from_bank(bank, ids=[5]), r"rows must be in \[0, 5\)"),
        (lambda bank, new: rgan_tf.remove_from_bank(bank, categories=["hous"]), "hous"),
        (lambda bank, new: rgan_tf.remove_from_bank(bank, categories="hous"), "'hous'"),
        (lambda bank, new: rgan_tf.remove_from_bank(bank, sources="no.png"), "--source no.png"),
        (lambda bank, new: rgan_tf.remove_from_bank(bank, ids=3), "ids: must be a list of"),
        (lambda bank, new: rgan_tf.remove_from_bank(3, ids=[0]), "bank 3: must be a path as text"),
        (lambda bank, new: rgan_tf.remove_from_bank(bank, ids=[0.0]), "and holds 0.0"),
        (lambda bank, new: rgan_tf.remove_from_bank(bank, ids=np.array([])), "choose patches by"),
        (lambda bank, new: rgan_tf.build_bank(new, folders=bank, licences=[None]), "holds None"),
        (
            lambda bank, new: rgan_tf.build_bank(new, folders=bank, source_licence=5),
            "--source-licence 5: must be text",
        ),
        (
            lambda bank, new: rgan_tf.add_to_bank(bank, folders=bank, source_url=None),
            "--source-url None: must be text",
        ),
        (
            lambda bank, new: rgan_tf.build_bank(new, folders=bank, engine="DirectRunner"),
            "engine 'DirectRunner': must be an rgan_tf.Engine",
        ),
        (lambda bank, new: rgan_tf.merge_banks([], new), "name at least one bank"),
        (lambda bank, new: rgan_tf.merge_banks(5, new), "banks: must be a list of paths, got 5"),
        (lambda bank, new: rgan_tf.merge_banks(new, new), "new"),
        (lambda bank, new: rgan_tf.merge_banks([new], new), "new"),
    ],
)
def test_what_is_refused(bank, tmp_path, content_of, call, message):
    before = content_of(bank)
    with pytest.raises(BadInput, match=message):
        call(bank, tmp_path / "new")
    assert content_of(bank) == before
    assert not (tmp_path / "new").exists()
