"""What of a source is in a bank already."""

from __future__ import annotations

import numpy as np
import pytest

from rgan_tf.bank.duplicates import leave_out_known
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.sources import folder_source
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.vocabulary import Vocabulary


@pytest.mark.parametrize("stored", ["b\u00e4ume", "ba\u0308ume"])
def test_a_patch_is_known_however_its_bank_writes_the_accent(tmp_path, stored):
    """An earlier version stored names as the folders had them."""
    (tmp_path / "mine" / stored).mkdir(parents=True)
    (tmp_path / "mine" / stored / "a.png").write_bytes(b"")
    source = folder_source(tmp_path / "mine")
    (image,) = source.images
    names = Vocabulary.from_categories([stored])
    sizes = {"crop_size": 4, "feature_size": 2, "backbone": "none"}
    row = {"category_id": 2, "image_id": image.image_id, "source": image.source}
    with PatchBankWriter(tmp_path / "bank", **sizes, vocabulary=names) as writer:
        writer.append(_zeros(1, 4, 4, 3), _zeros(1, 2), [{**row, "box": [0, 0, 1, 1]}])
    bank = PatchBank.open(tmp_path / "bank")
    rest, known = leave_out_known(source, bank, LicenceFilter.parse(None), skip=True)
    assert (rest.images, known) == ((), 1)


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)
