"""Banks made of other banks: new ids for images whose own are taken."""

from __future__ import annotations

import numpy as np
import pytest

from rgan_tf.bank.edit import copy_banks
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.errors import BadInput
from rgan_tf.vocabulary import Vocabulary

LARGEST = 2**63 - 1


def write(folder, source: str, ids: list[int], *, per_image: bool = True) -> PatchBank:
    """A bank of a patch of each image; a source of its own for each, or one for all."""
    names = Vocabulary.from_categories(["a"])
    sizes = {"crop_size": 4, "feature_size": 2, "backbone": "none"}
    with PatchBankWriter(folder, **sizes, vocabulary=names) as writer:
        sources = [f"{source}/{i}" if per_image else source for i in ids]
        rows = [
            {"category_id": 2, "image_id": i, "source": named}
            for i, named in zip(ids, sources, strict=True)
        ]
        writer.append(np.zeros([len(ids), 4, 4, 3], np.uint8), np.zeros([len(ids), 2]), rows)
    return PatchBank.open(folder)


def test_the_largest_id_may_be_taken_twice(tmp_path):
    ours = write(tmp_path / "ours", "ours", [0, LARGEST])
    theirs = write(tmp_path / "theirs", "theirs", [LARGEST, 0, 1])
    copied = copy_banks([ours, theirs], tmp_path / "both")
    ids = PatchBank.open(tmp_path / "both").image_ids.tolist()
    assert ids[:2] == [0, LARGEST] and len(set(ids)) == 5
    assert copied.renumbered_images == 3


def test_a_patch_is_known_again_after_its_image_got_a_new_id(tmp_path):
    ours, theirs = (write(tmp_path / name, name, [0, 1]) for name in ("ours", "theirs"))
    copy_banks([ours, theirs], tmp_path / "both")
    both = PatchBank.open(tmp_path / "both")
    assert both.image_ids.tolist() == [0, 1, 2, 3]
    with pytest.raises(BadInput, match="theirs: patch 0 .* is also patch 2 of .*both; leave"):
        copy_banks([both, theirs], tmp_path / "again")

    more = write(tmp_path / "more", "theirs", [0, 1, 2])  # another image of the same source
    copied = copy_banks([both, more], tmp_path / "grown", skip_duplicates=True)
    grown = PatchBank.open(tmp_path / "grown")
    assert copied == (5, 2, 1)
    assert list(grown.rows)[:4] == list(both.rows) and grown.image_ids.tolist() == [0, 1, 2, 3, 4]
    # The other way round, those of "ours" find their ids taken.
    assert copy_banks([more, grown], tmp_path / "back", skip_duplicates=True) == (5, 3, 2)

    other = write(tmp_path / "other", "other", [0, 1])  # the same ids of another source
    assert copy_banks([both, other], tmp_path / "three").duplicates == 0


def test_what_a_bank_has_twice_is_not_a_duplicate_of_another(tmp_path):
    """Data sets list some objects twice; adding to a bank may not move its later patches."""
    ours, theirs = write(tmp_path / "ours", "a", [0, 0, 1]), write(tmp_path / "theirs", "b", [5])
    for name, skip in (("refusing", False), ("skipping", True)):
        assert copy_banks([ours, theirs], tmp_path / name, skip_duplicates=skip) == (4, 0, 0)
        assert PatchBank.open(tmp_path / name).image_ids.tolist() == [0, 0, 1, 5]
    with pytest.raises(BadInput, match="patch 0 .* is also patch 1 of .*ours; leave"):
        copy_banks([ours, ours], tmp_path / "twice")


def test_a_new_id_is_not_that_of_another_image_of_the_same_source(tmp_path):
    """A user's own reader may name one source for all of its images."""
    ours = write(tmp_path / "ours", "ours", [0, 1], per_image=False)
    theirs = write(tmp_path / "theirs", "theirs", [0, 1], per_image=False)
    copy_banks([ours, theirs], tmp_path / "both")
    both = PatchBank.open(tmp_path / "both")
    assert both.image_ids.tolist() == [0, 1, 2, 3]
    more = write(tmp_path / "more", "theirs", [1, 2], per_image=False)
    assert copy_banks([both, more], tmp_path / "grown", skip_duplicates=True) == (5, 1, 1)
    assert PatchBank.open(tmp_path / "grown").image_ids.tolist() == [0, 1, 2, 3, 4]
