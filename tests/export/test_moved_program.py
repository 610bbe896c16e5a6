"""A program that changes its working folder, as notebooks do, still reads what it opened."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from export.model_folder import open_model
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.data.prepared import PreparedData
from rgan_tf.exported import ExportedPatches
from rgan_tf.runs import open_run


def _banks_patch(bank: PatchBank) -> np.ndarray:
    bank.verify()
    return bank.crops_at(np.array([0]), 16)


@pytest.mark.parametrize(
    ("opens", "reads"),
    [
        pytest.param(PatchBank.open, _banks_patch, id="bank"),
        pytest.param(PreparedData.open, lambda data: _banks_patch(data.bank), id="data"),
        pytest.param(open_run, lambda run: run.stage_record("retrievegan"), id="run"),
        pytest.param(open_model, lambda model: model.provenance, id="model"),
        pytest.param(ExportedPatches.open, lambda patches: patches.crops, id="patches of a model"),
    ],
)
def test_what_was_opened_by_a_relative_name(exported, tmp_path, monkeypatch, request, opens, reads):
    folders = {
        "bank": exported.data.bank.folder,
        "data": exported.data.folder,
        "run": exported.run.folder,
    }
    folder = Path(folders.get(request.node.callspec.id, exported.folder))
    monkeypatch.chdir(folder.parent)
    opened = opens(folder.name)
    monkeypatch.chdir(tmp_path)
    assert not os.path.exists(folder.name)
    assert len(reads(opened))
