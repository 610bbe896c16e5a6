"""The bundle that is sent is the one that the sources make, is small, and makes no HTML of text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.export.studio.page import STATIC, WEB, needs, node_modules

FILES = ("THIRD_PARTY.txt", "index.html", "main.js", "studio.css")
BUDGET = 90_000  # bytes, of main.js


def _node() -> str:
    return needs(shutil.which("node"), "no node: Node 20 or later builds the page")


def test_the_static_files_are_those_of_a_fresh_build(tmp_path):
    node, _ = _node(), node_modules()
    subprocess.run([node, "build.mjs", str(tmp_path)], cwd=WEB, check=True, timeout=60)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (STATIC / name).read_bytes(), (
            f"{name} is not what the sources make: run `make web`"
        )
    assert sorted(path.name for path in STATIC.iterdir()) == sorted(FILES)


def test_the_pure_parts_pass_their_own_tests():
    done = subprocess.run(
        [_node(), "--test", "test/"], cwd=WEB, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)[1]) > 40


def test_the_bundle_is_small():
    assert (STATIC / "main.js").stat().st_size <= BUDGET


@pytest.mark.parametrize(
    "word", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
)
def test_no_text_becomes_html_or_code(word):
    sources = [path for path in (WEB / "src").rglob("*") if path.is_file()]
    assert len(sources) > 30
    for path in sources:
        assert word not in path.read_text(encoding="utf-8"), path
    if word in ("eval(", "Function("):
        assert word not in (STATIC / "main.js").read_text(encoding="utf-8")


def test_the_page_loads_nothing_from_elsewhere():
    for name in ("index.html", "main.js", "studio.css"):
        text = (STATIC / name).read_text(encoding="utf-8")
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[\w./-]*", text))
        assert addresses <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1998/Math/MathML",
            "http://www.w3.org/1999/xhtml",
            "http://www.w3.org/1999/xlink",
        }, name
    assert "url(" not in (STATIC / "studio.css").read_text(encoding="utf-8")


def test_versions_are_exact_and_no_registry_is_named():
    package = json.loads((WEB / "package.json").read_text())
    wanted = {**package["dependencies"], **package["devDependencies"]}
    assert set(package["dependencies"]) == {"preact"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    lock = json.loads((WEB / "package-lock.json").read_text())
    for name, version in wanted.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    for path, entry in lock["packages"].items():
        assert "resolved" not in entry
        assert not path or entry["integrity"].startswith("sha512-")
    assert "preact" in (STATIC / "THIRD_PARTY.txt").read_text()
