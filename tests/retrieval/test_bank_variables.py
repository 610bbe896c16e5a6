from __future__ import annotations

import numpy as np
import pytest

from rgan_tf.retrieval import bank_variables
from rgan_tf.retrieval.bank_variables import BankArrays, ServedBank


@pytest.mark.parametrize("rows", [1, 6, 7])
def test_variables_hold_the_arrays(rows, monkeypatch):
    monkeypatch.setattr(bank_variables, "_ROWS_AT_ONCE", 3)  # full blocks, and one that is not
    rng = np.random.default_rng(0)
    arrays = BankArrays(
        graph_features=rng.normal(size=[rows, 2]).astype(np.float16),
        embeddings=rng.normal(size=[rows, 3]).astype(np.float32),
        crops=rng.integers(0, 255, [rows, 4, 4, 3], np.uint8),
        category_ids=rng.integers(1, 9, rows),
        image_ids=rng.integers(0, 2**60, rows),
        licence_ids=rng.integers(0, 3, rows).astype(np.int32),
    )
    served = ServedBank(arrays)
    for name, expected in arrays._asdict().items():
        variable = getattr(served, name)
        np.testing.assert_array_equal(variable.numpy(), expected)
        assert not variable.trainable and variable.name == f"bank/{name}:0"
    assert served.crops.dtype == np.uint8
