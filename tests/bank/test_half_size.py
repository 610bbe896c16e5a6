"""Patches at half the size: what is computed, once, and what a damaged copy does."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from rgan_tf.bank import derived
from rgan_tf.bank.half_size import at_half_size, half_size_features
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_queue import embed_patches
from rgan_tf.bank.same_weights import check_backbone
from rgan_tf.errors import BadInput

SIZE = 64


def checkers() -> np.ndarray:
    """Single pixels of black and white: what a smaller image cannot hold."""
    place = np.indices([SIZE, SIZE]).sum(axis=0)
    return np.repeat((place % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


def test_half_the_size_is_the_patch_of_a_smaller_image():
    picture = Image.effect_noise((128, 128), 60).convert("RGB")
    box = np.array([0.25, 0.125, 0.75, 0.875])  # 64 by 96 px
    part = picture.crop((16, 32, 112, 96))
    crop = np.asarray(part.resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
    small = picture.resize((64, 64), Image.Resampling.BILINEAR).crop((8, 16, 56, 48))
    wanted = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
    found = at_half_size(crop.astype(np.uint8), box, 128).astype(np.float32)
    assert np.abs(found - wanted).mean() < 0.3 * np.abs(crop - wanted).mean()


def test_details_go_and_the_mean_stays():
    box = np.array([0.0, 0.0, 0.5, 0.5])  # 64 px of 128, so 32 at half the size
    found = at_half_size(checkers(), box, 128)
    assert found.shape == (SIZE, SIZE, 3) and found.dtype == np.uint8
    assert abs(found.mean() - 127.5) < 1 and found.std() < 10  # of 127.5


def test_sides_are_reduced_each_by_its_own():
    lines = np.repeat((np.arange(SIZE) % 2 * 255).astype(np.uint8)[:, None, None], SIZE, axis=1)
    lines = np.repeat(lines, 3, axis=2)  # along the width nothing changes
    wide = np.array([0.0, 0.0, 1.0, 0.1])  # full height, so 64 px of it are left
    np.testing.assert_array_equal(at_half_size(lines, wide, 128), lines)
    flat = np.array([0.0, 0.0, 0.1, 1.0])
    assert at_half_size(lines, flat, 128).std() < 20


def test_a_large_patch_and_a_point_are_patches_too():
    np.testing.assert_array_equal(
        at_half_size(checkers(), np.array([0, 0, 1, 1.0]), 128), checkers()
    )
    assert at_half_size(checkers(), np.array([0.5, 0.5, 0.5, 0.5]), 128).shape == (SIZE, SIZE, 3)


class SpreadBackbone:
    """Features that blur changes: the deviation of each colour, and a constant."""

    feature_weights_sha256 = "f" * 64

    def features(self, images: np.ndarray) -> np.ndarray:
        spread = np.asarray(images, np.float32).std(axis=(1, 2))
        return np.concatenate([spread, np.ones([len(spread), 1], np.float32)], axis=1)


@pytest.fixture
def bank(prepared_folder, tmp_path) -> PatchBank:
    shutil.copytree(prepared_folder / "bank", tmp_path / "bank")
    return PatchBank.open(tmp_path / "bank")


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """Grows by the size of every batch that is embedded."""
    sizes = []

    def embed(backbone, crops):
        sizes.append(len(crops))
        return embed_patches(backbone, crops)

    monkeypatch.setattr("rgan_tf.bank.half_size.embed_patches", embed)
    return sizes


def test_features_are_those_of_the_reduced_crops_and_kept(bank, counted):
    found = half_size_features(bank, SpreadBackbone(), image_size=32)
    assert found.shape == bank.features.shape and found.dtype == np.float16
    assert sum(counted) == len(bank)
    crops = np.stack([at_half_size(*pair, 32) for pair in zip(bank.crops, bank.boxes, strict=True)])
    np.testing.assert_allclose(found, SpreadBackbone().features(crops), rtol=1e-3)
    assert (found[:, :3] < SpreadBackbone().features(bank.crops)[:, :3]).mean() > 0.9  # blurred

    lines = []
    again = half_size_features(bank, SpreadBackbone(), image_size=32, progress=lines.append)
    np.testing.assert_array_equal(again, found)
    assert sum(counted) == len(bank) and lines == []


@pytest.mark.parametrize("other", [{"image_size": 48}, {"weights": "e" * 64}])
def test_another_size_or_network_has_features_of_its_own(bank, counted, other, monkeypatch):
    half_size_features(bank, SpreadBackbone(), image_size=32)
    if "weights" in other:
        monkeypatch.setattr(SpreadBackbone, "feature_weights_sha256", other["weights"])
    half_size_features(bank, SpreadBackbone(), image_size=other.get("image_size", 32))
    assert sum(counted) == 2 * len(bank)


def test_a_damaged_copy_is_made_again_with_a_line(bank, counted):
    first = half_size_features(bank, SpreadBackbone(), image_size=32)
    (path,) = bank.folder.glob("search/half-*/features.npy")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    lines = []
    again = half_size_features(bank, SpreadBackbone(), image_size=32, progress=lines.append)
    np.testing.assert_array_equal(again, first)
    assert len(lines) == 1 and str(path.parent) in lines[0] and sum(counted) == 2 * len(bank)


def test_a_large_array_is_read_from_its_file_at_once(bank, counted, monkeypatch):
    """The process that made it would else hold gigabytes that later ones do not."""
    small = half_size_features(bank, SpreadBackbone(), image_size=32)
    assert not isinstance(small, np.memmap)
    monkeypatch.setattr(derived, "_IN_MEMORY_BYTES", small.nbytes - 1)
    large = half_size_features(bank, SpreadBackbone(), image_size=48)
    assert isinstance(large, np.memmap) and sum(counted) == 2 * len(bank)
    # What cannot be kept is used all the same.
    monkeypatch.setattr(derived.DerivedFolder, "_store", lambda self, array: None)
    again = half_size_features(bank, SpreadBackbone(), image_size=64)
    assert again.shape == large.shape and not isinstance(again, np.memmap)


def test_other_weights_than_those_of_the_bank_are_refused(bank):
    class Backbone(SpreadBackbone):
        change = 1.0

        def features(self, images):
            return super().features(images) * self.change

    bank.features = Backbone().features(bank.crops).astype(np.float16)
    check_backbone(bank, Backbone())
    Backbone.change = 0.8
    with pytest.raises(
        BadInput, match=r"made with other weights of .*--weights-dir\), or leave it"
    ):
        check_backbone(bank, Backbone(), ", or leave it")
    bank.features = bank.features[:, :2]
    with pytest.raises(BadInput, match="made with other weights"):
        check_backbone(bank, Backbone())
