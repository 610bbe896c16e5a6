"""Banks made of other banks: new ids for images whose own are taken."""

from __future__ import annotations

import numpy as np

from rgan_tf.bank.edit import copy_banks
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.vocabulary import Vocabulary

LARGEST = 2**63 - 1


def write(folder, source: str, ids: list[int]) -> PatchBank:
    names = Vocabulary.from_categories(["a"])
    sizes = {"crop_size": 4, "feature_size": 2, "backbone": "none"}
    with PatchBankWriter(folder, **sizes, vocabulary=names) as writer:
        rows = [{"category_id": 2, "image_id": i, "source": f"{source}/{i}"} for i in ids]
        writer.append(np.zeros([len(ids), 4, 4, 3], np.uint8), np.zeros([len(ids), 2]), rows)
    return PatchBank.open(folder)


def test_the_largest_id_may_be_taken_twice(tmp_path):
    ours = write(tmp_path / "ours", "ours", [0, LARGEST])
    theirs = write(tmp_path / "theirs", "theirs", [LARGEST, 0, 1])
    copied = copy_banks([ours, theirs], tmp_path / "both")
    ids = PatchBank.open(tmp_path / "both").image_ids.tolist()
    assert ids[:2] == [0, LARGEST] and len(set(ids)) == 5
    assert copied.renumbered_images == 3
