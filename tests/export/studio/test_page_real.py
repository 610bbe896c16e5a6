"""The page in a real browser over a real, small model: what it exports is what it shows."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from rgan_tf import cli
from tests.export.studio.page import DESKTOP, Studio, launched

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def studio(browser, studio_process):
    """The page in a new profile; the test fails on any message of the console."""
    context = browser.new_context(viewport=DESKTOP, accept_downloads=True)
    opened = Studio(context, studio_process)
    opened.page.set_default_timeout(30_000)
    yield opened.open()
    context.close()
    assert opened.messages == []


@pytest.fixture
def generate(exported, loaded_once, tmp_path, capfd):
    """Runs `rgan generate` on a file; the folder of its pictures."""

    def run(graph, *words):
        out = tmp_path / f"out-{graph.stem}"
        words = ["generate", graph, "--model", exported.version, "--out", out, *words]
        assert cli.main([str(word) for word in words]) == 0, capfd.readouterr().err
        return out

    return run


def _unzipped(studio, folder):
    with studio.page.expect_download() as download:
        studio.page.click("button:has-text('ZIP with credits')")
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        archive.extractall(folder)
    return folder


def _open(studio, path):
    studio.page.click("button:has-text('Scene')")
    with studio.page.expect_file_chooser() as chooser:
        studio.page.click("button:has-text('Open')")
    chooser.value.set_files(path)
    studio.page.wait_for_selector("g.box")
    studio.settle()


def test_a_scene_made_by_hand_is_drawn_again_by_rgan_generate(
    studio, generate, picture, tmp_path, studio_process, browser
):
    page = studio.page
    studio.add("sky", "grass", "tree", "house")
    studio.drag(studio.middle("house"), (0.3, 0.6))
    assert page.locator("g.box.given").count() == 1
    patch, others = studio.patch(), studio.thumbs()[:3]
    page.click(".patch[aria-pressed=false] >> nth=0")
    page.wait_for_selector("text='house has another patch.'")
    assert studio.patch() != patch and studio.thumbs()[:3] == others
    page.click("text='Lock'")
    page.wait_for_selector("text='Locked'")
    locked = studio.thumbs()[3]
    studio.choose("tree")
    mine = {"name": "mine.png", "mimeType": "image/png", "buffer": picture(50, 70, (9, 200, 90))}
    page.set_input_files("input[aria-label*='for tree']", mine)
    page.wait_for_selector("text='tree has your own picture.'")
    own = studio.thumbs()[2]
    page.click(".draw >> text='Draw again'")
    studio.settle()
    assert studio.thumbs()[2:] == [own, locked]
    image = studio.image()

    folder = _unzipped(studio, tmp_path / "zip")
    assert (folder / "image.png").read_bytes() == image
    assert "own-2.png" in (folder / "CREDITS.txt").read_text()
    out = generate(folder / "graph.json", "--samples", 1, "--seed", 77)
    assert (out / "sample-0001.png").read_bytes() == image

    other = Studio(browser.new_context(viewport=DESKTOP), studio_process).open()
    _open(other, folder / "project.json")
    assert other.image() == image and other.page.locator(".notice").count() == 0
    other.page.context.close()


@pytest.mark.thorough  # the other way round stays
def test_what_rgan_generate_wrote_is_shown_as_it_is(studio, generate, write_graph):
    graph = {"objects": ["sky", "tree", "house"], "relationships": [[1, "left of", 2]]}
    out = generate(write_graph(graph), "--samples", 1, "--seed", 4)
    _open(studio, out / "sample-0001.json")
    assert studio.image() == (out / "sample-0001.png").read_bytes()
    ids = [
        item["patch"]["id"]
        for item in json.loads((out / "sample-0001.json").read_text())["objects"]
    ]
    studio.choose("house")
    assert studio.patch() == ids[2]


def test_all_patches_of_an_object_come_before_one_comes_again(studio):
    page = studio.page
    studio.add("sky", "tree", "house")
    count = studio.alternatives()
    assert count > 2
    others, boxes = studio.thumbs()[:2], [studio.box(name) for name in ("sky", "tree", "house")]
    seen = [studio.patch()]
    for _ in range(count - 1):
        page.keyboard.press("r")
        page.wait_for_function(f"() => !document.body.innerText.includes('patch {seen[-1]} ')")
        seen.append(studio.patch())
        assert studio.thumbs()[:2] == others
    assert len(set(seen)) == count
    assert [studio.box(name) for name in ("sky", "tree", "house")] == boxes
