"""Which reader a training step gets, and what happens if the bank does not fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.bank.resident_reader import ResidentReader
from rgan_tf.config import Config
from rgan_tf.errors import BadInput
from training.stages import retrievegan
from training.stages.retrievegan import patch_reader


def with_bank(candidates: int, on_device: bool) -> Config:
    config = Config()
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, bank_on_device=on_device),
        retrieval=dataclasses.replace(config.retrieval, candidates=candidates),
    )


@pytest.mark.parametrize(
    ("candidates", "on_device", "kind"),
    [
        (33, True, ResidentReader),
        (33, False, PatchReader),
        (32, True, PatchReader),  # batches hold the patches; nothing is read
    ],
)
def test_the_config_says_where_the_bank_lies(tiny_world, candidates, on_device, kind):
    bank = tiny_world.bank
    related = np.ones([len(bank), 3], np.float32)
    reader = patch_reader(with_bank(candidates, on_device), bank, related)
    assert type(reader) is kind
    assert reader.load(tf.constant([[0, -1]])).crops.shape == (1, 2, 32, 32, 3)


class LargeBank:
    """As far as its size is asked for."""

    feature_size = 2_000

    def __len__(self) -> int:
        return 1_000_000


def test_a_bank_that_does_not_fit_is_one_line(monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    monkeypatch.setattr(retrievegan, "ResidentReader", full)
    related = np.zeros([1, 32], np.float32)
    # 1,000,000 x (32 x 32 x 3 + 2 x 2,000 + 4 x 32) bytes
    with pytest.raises(BadInput, match=r"bank_on_device: the bank's 7\.2 GB do not fit"):
        patch_reader(with_bank(33, True), LargeBank(), related)
