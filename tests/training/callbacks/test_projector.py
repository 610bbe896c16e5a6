"""What the projector of TensorBoard is given, read back as it reads it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector import ProjectorConfig
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin

from training.callbacks import projector
from training.callbacks.projector import Projector, sample_rows, sprite, write_projection


def bank_of(count, size=4, **entry):
    """Patch i is of the one grey i."""
    crops = np.repeat(np.arange(count, dtype=np.uint8), size * size * 3)
    crops = crops.reshape(count, size, size, 3)

    class Bank(SimpleNamespace):
        def __len__(self):
            return count

        def crops_at(self, ids, side):
            return crops[ids][:, :side, :side]

    row = {"category": "tree", "image_id": 7, "style": "dusk"} | entry
    return Bank(crop_size=size, rows=[row | {"image_id": i} for i in range(count)])


def test_a_sample_is_the_same_each_time_and_all_there_is_of_a_small_bank():
    assert sample_rows(5).tolist() == [0, 1, 2, 3, 4]
    rows = sample_rows(50_000)
    assert len(set(rows)) == 2000 and rows.max() < 50_000
    assert (np.diff(rows) > 0).all() and (rows == sample_rows(50_000)).all()
    assert rows.max() > 45_000 and rows.min() < 5_000  # of all of the bank


def test_patches_lie_on_the_sheet_row_by_row():
    sheet, side = sprite(bank_of(7), np.array([6, 0, 1, 2, 3]))  # 3 columns, 2 rows
    assert sheet.shape == (8, 12, 3) and side == 4
    assert sheet[::4, ::4, 0].tolist() == [[6, 0, 1], [2, 3, 255]]
    assert (sheet[4:8, 4:8] == 3).all()


def test_no_sheet_is_larger_than_a_texture(monkeypatch):
    monkeypatch.setattr(projector, "MOST_PIXELS", 10)
    sheet, side = sprite(bank_of(16), np.arange(16))  # 4 columns of 4 px would be 16
    assert side == 2 and sheet.shape == (8, 8, 3)
    monkeypatch.undo()
    side = sprite(bank_of(9, size=200), np.arange(9))[1]
    assert side == 64 and 64 * np.ceil(np.sqrt(projector.MOST_PATCHES)) <= projector.MOST_PIXELS


def test_labels_cannot_break_their_table(tmp_path):
    bank = bank_of(2, category="a\tb\nc", style="")
    write_projection(tmp_path, bank, np.arange(2), {"phi": np.eye(2)})
    lines = (tmp_path / "metadata.tsv").read_text().split("\n")
    assert lines == [
        "category\timage_id\tstyle\tsplit",
        "a b c\t0\tunknown\ttrain",
        "a b c\t1\tunknown\ttrain",
        "",
    ]


def test_tensorboard_finds_vectors_labels_and_pictures(tmp_path, tiny_world):
    rows = np.array([3, 1, 5])
    vectors = {"phi": np.random.default_rng(0).normal(size=[3, 4]), "cooccurrence": np.eye(3)}
    write_projection(tmp_path / "retrievegan", tiny_world.bank, rows, vectors)
    runs = SimpleNamespace(list_runs=lambda *_, **__: [SimpleNamespace(run_name="retrievegan")])
    plugin = ProjectorPlugin(base_plugin.TBContext(data_provider=runs, logdir=str(tmp_path)))
    plugin._update_configs()
    found = plugin._configs["retrievegan"].embeddings
    shapes = {entry.tensor_name: list(entry.tensor_shape) for entry in found}
    assert shapes == {"phi": [3, 4], "cooccurrence": [3, 3]}
    read = np.loadtxt(tmp_path / "retrievegan" / found[0].tensor_path, delimiter="\t")
    np.testing.assert_allclose(read, vectors["phi"], rtol=1e-5)
    config = text_format.Parse(
        (tmp_path / "retrievegan" / projector.CONFIG).read_text(), ProjectorConfig()
    )
    for entry in config.embeddings:
        labels = (tmp_path / "retrievegan" / entry.metadata_path).read_text().splitlines()
        first = tiny_world.bank.rows[3]
        assert labels[1].split("\t") == [
            first["category"], str(first["image_id"]), first["style"], "train"
        ]  # fmt: skip
        assert len(labels) == 4
        with Image.open(tmp_path / "retrievegan" / entry.sprite.image_path) as picture:
            side = entry.sprite.single_image_dim[0]
            second = np.asarray(picture)[:side, side : 2 * side]
        np.testing.assert_array_equal(second, tiny_world.bank.crops_at(np.array(1), side))


@pytest.mark.parametrize(("first", "steps", "is_written"), [(0, 2, False), (1, 2, True)])
def test_it_is_written_with_the_last_step(tmp_path, first, steps, is_written):
    asked = []

    def embeddings(rows):
        asked.append(rows.tolist())
        return {"phi": np.zeros([len(rows), 2])}

    callback = Projector(first, steps, bank=bank_of(3), embeddings=embeddings, folder=tmp_path)
    callback.on_train_batch_end(0)
    assert (tmp_path / projector.CONFIG).exists() == is_written
    assert asked == ([[0, 1, 2]] if is_written else [])


def test_an_empty_bank_has_nothing_to_show(tmp_path):
    callback = Projector(0, 1, bank=bank_of(0), embeddings=lambda rows: {}, folder=tmp_path)
    callback.on_train_batch_end(0)
    assert not list(tmp_path.iterdir())
