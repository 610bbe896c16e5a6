"""A small bank of random patches."""

from __future__ import annotations

import numpy as np
import pytest

from rgan_tf.data.patch_bank import PatchBank, PatchBankWriter
from rgan_tf.data.patch_reader import PatchReader

ROWS, FEATURES, CROP, RELATED = 60, 12, 8, 5


@pytest.fixture(scope="session")
def random_bank(tmp_path_factory) -> PatchBank:
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("bank") / "bank"
    with PatchBankWriter(folder, crop_size=CROP, feature_size=FEATURES, backbone="random") as out:
        out.append(
            rng.integers(0, 256, [ROWS, CROP, CROP, 3], np.uint8),
            rng.normal(size=[ROWS, FEATURES]),
            [{"category_id": 2, "image_id": row, "style": ""} for row in range(ROWS)],
        )
    return PatchBank.open(folder)


@pytest.fixture(scope="session")
def reader(random_bank) -> PatchReader:
    related = np.random.default_rng(1).normal(size=[ROWS, RELATED]).astype(np.float32)
    return PatchReader(random_bank, related, crop_size=CROP)
