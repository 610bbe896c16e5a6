"""A wheel holds what is in the tree: configs, pages, schema, released weights, licences."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE_SOURCES = Path("export/studio/web")
PACKAGES = ("rgan_tf", "training", "export")
NEEDED = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory) -> Path:
    """What a build reads, apart, as it writes beside what it reads."""
    tree = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in NEEDED:
        shutil.copy(ROOT / name, tree / name)
    return tree


def test_a_wheel_holds_every_file_of_the_packages(copied_tree):
    expected = {
        path.relative_to(copied_tree).as_posix()
        for name in PACKAGES
        for path in (copied_tree / name).rglob("*")
        if path.is_file() and PAGE_SOURCES not in path.relative_to(copied_tree).parents
    }
    assert "export/studio/static/main.js" in expected  # which is made of the sources left out
    wheels = copied_tree / "wheels"
    wheels.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, wheels], cwd=copied_tree, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    own = {name for name in held if ".dist-info/" not in name}
    assert own == expected
    licences = {name.split("/licenses/", 1)[1] for name in held if "/licenses/" in name}
    assert licences == {"LICENSE", "rgan_tf/released/backbones/NOTICE.squeezenet"}


def test_what_a_docker_image_copies_exists_and_is_all_that_a_build_needs():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    files = sorted(ROOT.glob("docker/*.Dockerfile"))
    assert [path.name for path in files] == ["cpu.Dockerfile", "gpu.Dockerfile"]
    for path in files:
        lines = path.read_text().splitlines()
        copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
        copied = {name.rstrip("/") for names in copies for name in names}
        assert copied == {*PACKAGES, *NEEDED, "constraints.txt"}
        assert all((ROOT / name).exists() for name in copied)
        (install,) = (line for line in lines if line.startswith("RUN pip install"))
        wanted = "'.[gpu]'" if path.name == "gpu.Dockerfile" else "."
        assert (
            install.split() == f"RUN pip install --no-cache-dir -c constraints.txt {wanted}".split()
        )
        assert f"docker/{path.name}" in (ROOT / "docs" / "installation.md").read_text()
    assert "gpu" in config["options.extras_require"]
