"""Small pictures, and a backbone that counts what it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

SIZE = (60, 40)  # px, width and height of every picture


class CountingBackbone:
    """The mean colour, and how often it was asked for."""

    name = "mobilenet_v2"
    feature_size = 4

    def __init__(self):
        self.calls = 0
        self.on_call = lambda: None
        self.scale = 1.0

    def feature_digest(self) -> str:
        return str(self.scale)

    def features(self, images: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.on_call()
        means = np.asarray(images, np.float32).mean(axis=(1, 2)) / 255
        return self.scale * np.concatenate([means, np.ones([len(means), 1], np.float32)], axis=1)


@pytest.fixture(autouse=True)
def backbone(monkeypatch) -> CountingBackbone:
    """What every command embeds with."""
    counting = CountingBackbone()
    monkeypatch.setattr("training.bank.build.load_backbone", lambda *names: counting)
    return counting


def draw(path: Path, seed: int, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture(name="draw")
def draw_fixture():
    return draw


@pytest.fixture
def folders(tmp_path) -> Path:
    """Three pictures of a house and two of a tree."""
    root = tmp_path / "mine"
    for number in range(3):
        draw(root / "house" / f"{number}.png", number)
    for number in range(2):
        draw(root / "tree" / f"{number}.png", 10 + number)
    return root


@pytest.fixture
def bank(rgan, folders, tmp_path) -> Path:
    """The bank of these five; a test may change it."""
    done = rgan("bank", "build", "--folders", folders, "--out", tmp_path / "bank")
    assert done.code == 0, done.err
    return tmp_path / "bank"


@pytest.fixture
def more(tmp_path) -> Path:
    """Two more pictures of a tree."""
    for number in range(2):
        draw(tmp_path / "more" / "tree" / f"{number}.png", 20 + number)
    return tmp_path / "more"


@pytest.fixture
def coco(tmp_path) -> SimpleNamespace:
    """A file in COCO's format with two images and three objects; `write` writes it anew."""
    images = tmp_path / "photos"
    for number in range(2):
        draw(images / f"{number}.jpg", 30 + number)
    width, height = SIZE
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": width, "height": height, "license": 4}
            for n in range(2)
        ],
        "annotations": [
            {"image_id": n % 2, "category_id": 1 + n % 2, "bbox": [5 + n, 4, 30, 20]}
            for n in range(3)
        ],
        "categories": [{"id": 1, "name": "house"}, {"id": 2, "name": "tree"}],
        "licenses": [{"id": 4, "name": "Attribution License"}],
    }
    path = tmp_path / "photos.json"

    def write(**replaced: str) -> None:
        text = json.dumps(content)
        for old, new in replaced.items():
            text = text.replace(old, new)
        path.write_text(text)

    write()
    return SimpleNamespace(path=path, images=images, content=content, write=write)


@pytest.fixture
def refused(rgan):
    """Runs a command that must fail with one line; returns the line."""

    def run(*words, code: int = 2) -> str:
        done = rgan(*words)
        lines = [line for line in done.err.splitlines() if not line.startswith("images: ")]
        assert (done.code, done.out, len(lines)) == (code, "", 1), done.err
        return lines[0]

    return run


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(name="content_of")
def content_of_fixture():
    return content_of
