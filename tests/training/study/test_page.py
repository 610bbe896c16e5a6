"""What is in the page, and what must not be."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests.export.studio.page import launched
from tests.training.study.reading import embedded, pixels
from training.study.page import labels, page_content, render_page
from training.study.plan import Chosen, Scene, plan_pairs

_REST = 300  # ms, more than a double click takes
CROPS = np.random.default_rng(0).integers(0, 256, size=[20, 8, 8, 3], dtype=np.uint8)


def content(objects=("sky", "tree", "tree"), seed=0, b=(4, 1, 5)):
    scene = Scene(
        image_id=77,
        objects=objects,
        relationships=((0, "above", 1), (2, "left of", 1)),
        shown=(0, 1, 2),
        a=Chosen((4, 2, 3), {"style_agreement": 0.123}),
        b=Chosen(b, {"style_agreement": 0.456}),
    )
    other = scene._replace(shown=(0, 2), a=Chosen((6, 7), {}), b=Chosen((8, 9), {}))
    pairs = plan_pairs([scene, other], 1, seed=seed)
    return pairs, page_content(pairs, lambda row: CROPS[row])


def test_the_page_shows_the_patches_of_the_plan_on_their_sides():
    pairs, page = content()
    assert embedded(render_page(page)) == page
    assert len(page["images"]) == 9  # nine patches, each once, whatever is repeated
    for pair, shown in zip(pairs, page["pairs"], strict=True):
        assert shown["id"] == pair.id
        assert shown["objects"] == ["sky", "tree 1", "tree 2"]
        assert shown["relationships"] == ["sky above tree 1", "tree 2 left of tree 1"]
        assert shown["labels"] == [shown["objects"][i] for i in pair.scene.shown]
        for side, chosen in (("left", pair.left), ("right", pair.right)):
            ids = getattr(pair.scene, chosen).ids
            for number, row in zip(shown[side], ids, strict=True):
                np.testing.assert_array_equal(pixels(page["images"][number]), CROPS[row])


def test_the_page_tells_no_more_than_it_shows():
    _, page = content()
    html = render_page(page)
    assert set(page) == {"page", "pairs", "images"}
    for pair in page["pairs"]:
        assert set(pair) == {"id", "objects", "relationships", "labels", "left", "right"}
    assert "77" not in json.dumps(page["pairs"])
    assert "0.123" not in html and "0.456" not in html


def test_the_page_needs_nothing_else():
    html = render_page(content()[1])
    assert "{{" not in html and "{%" not in html
    assert not re.search(
        r"(?i)(https?|wss?|ftp|file):|//[a-z0-9-]+\.[a-z]|@import|\bimport\(", html
    )
    assert not re.search(r"\b(fetch|XMLHttpRequest|sendBeacon|WebSocket|EventSource)\b", html)
    assert set(re.findall(r'(?:src|href)="([^"]*)"', html)) <= {"#"}
    assert "default-src 'none'" in html


def test_every_element_that_the_script_asks_for_is_there_once():
    html = render_page(content()[1])
    ids = re.findall(r'\bid="([\w-]+)"', html)
    wanted = set(re.findall(r'\$\("([\w-]+)"\)', html)) | {"data"}
    assert len(wanted) > 15 and wanted <= set(ids) and len(ids) == len(set(ids))


def test_names_cannot_leave_their_place():
    evil = "</script><script>alert(1)</script>"
    html = render_page(content(objects=(evil, "<!--", "{{ 7 * 7 }}"))[1])
    assert html.count("<script") == 2 == html.count("</script>")
    assert embedded(html)["pairs"][0]["objects"] == [evil, "<!--", "{{ 7 * 7 }}"]


def test_the_id_is_of_the_content():
    ids = [content()[1]["page"], content(b=(4, 1, 6))[1]["page"], content(seed=5)[1]["page"]]
    assert len(set(ids)) == 3 and content()[1]["page"] == ids[0]
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in ids)


def test_labels():
    assert labels(["tree", "sky", "tree"]) == ["tree 1", "sky", "tree 2"]
    assert labels([]) == []


@pytest.mark.thorough
@pytest.mark.browser
def test_answers_of_one_tab_are_not_overwritten_by_another(tmp_path):
    path = tmp_path / "study.html"
    path.write_text(render_page(content()[1]), encoding="utf-8")
    with launched() as browser:
        context = browser.new_context()
        first, second = context.new_page(), context.new_page()
        first.goto(path.as_uri())
        first.fill("#participant", "Ann")
        first.press("#participant", "Enter")
        second.goto(path.as_uri())  # opened once more, from the mail
        second.wait_for_selector("text=Pair 1 of 3")
        for number in (1, 2):
            second.wait_for_selector(f"text=Pair {number} of 3")
            second.wait_for_timeout(_REST)
            second.click("#left")
        first.wait_for_selector("text=Pair 3 of 3, 1 left")
        first.wait_for_timeout(_REST)
        first.click("#right")
        first.reload()
        answers = json.loads(first.input_value("#text"))["answers"]
        assert [answer["choice"] for answer in answers] == ["left", "left", "right"]
        assert second.is_visible("text=Thank you")
        context.close()
