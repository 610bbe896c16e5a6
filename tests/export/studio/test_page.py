"""The page as an artist uses it: by mouse, by keyboard alone, by touch."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.export.studio.page import PHONE, launched, opened
from tests.export.studio.stub_engine import StubEngine, stub_version

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


def _compose(studio, body):
    request = urllib.request.Request(
        f"{studio.stub.url}/api/compose",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)["samples"]


def _connect(studio, name, predicate):
    """Connects the chosen object to another by clicks."""
    studio.page.click("text=Connect")
    studio.page.mouse.click(*studio.place(*studio.middle(name)))
    studio.page.click(f".connect-predicates >> text='{predicate}'")
    studio.settle()


def test_a_scene_from_nothing_and_back(browser):
    with opened(browser) as studio:
        page = studio.page
        studio.add("sky", "tree", "house")
        assert page.locator("g.box.predicted").count() == 3
        before = studio.box("house")
        _connect(studio, "tree", "below")
        assert page.locator(".relation").count() == 1
        assert studio.box("house") != before  # the model placed it below the tree

        placed, image = studio.box("house"), studio.image()
        studio.drag(studio.middle("house"), (0.3, 0.75))
        assert page.locator("g.box.given").count() == 1
        assert studio.middle("house") == pytest.approx((0.3, 0.75), abs=0.02)
        assert studio.image() != image

        patch, others = studio.patch(), studio.thumbs()[:2]
        page.click(".patch[aria-pressed=false] >> nth=2")
        assert studio.patch() != patch and studio.thumbs()[:2] == others
        page.click("text='Lock'")
        assert "locked" in page.get_attribute("g.box[aria-label^='house']", "aria-label")
        locked = studio.thumbs()[2]

        studio.choose("tree")
        seen = [studio.patch()]
        house_and_sky = [studio.thumbs()[0], studio.thumbs()[2]]
        for _ in range(8):
            page.keyboard.press("r")
            page.wait_for_function(f"() => !document.body.innerText.includes('patch {seen[-1]} ')")
            seen.append(studio.patch())
            assert [studio.thumbs()[0], studio.thumbs()[2]] == house_and_sky
        assert len(set(seen)) == 9

        page.click(".draw >> text='Draw again'")
        studio.settle()
        assert studio.thumbs()[2] == locked and studio.thumbs()[0] != house_and_sky[0]

        thumbs, image = studio.thumbs(), studio.image()
        page.wait_for_timeout(700)  # the autosave's pause
        page.reload()
        assert studio.thumbs() == thumbs and studio.image() == image
        assert page.input_value("#number-Seed") == "2"
        studio.choose("house")
        page.click("text=Back to predicted")
        studio.settle()
        assert studio.box("house") == placed

        assert studio.undo_all() == 3 + 1 + 1 + 1 + 1 + 8 + 1 + 1  # one for each intent
        assert page.is_visible("text=What shall the picture hold?")
        for _ in range(4):
            page.keyboard.press("Control+Shift+z")
        assert page.locator("g.box").count() == 3 and page.locator(".relation").count() == 1


def test_by_keyboard_alone(browser):
    with opened(browser) as studio:
        page, press = studio.page, studio.page.keyboard.press
        for name in ("sky", "tree", "hou"):
            press("/")
            page.keyboard.type(name)
            press("Enter")
            press("Escape")  # to the new box
        studio.settle()
        assert page.locator("g.box").count() == 3
        left, top, width, height = studio.box("house")
        for _ in range(3):
            press("ArrowDown")
        press("Shift+ArrowLeft")
        press("Alt+ArrowRight")
        assert studio.box("house") == [left, top + 3, width - 1, height]
        value = f"{left + 0.1:.1f}"
        page.wait_for_function(f"() => document.querySelector('#number-Left').value === '{value}'")

        press("c")
        page.keyboard.type("tree")  # the list of objects has the focus
        press("Tab")
        press("Tab")
        press("Enter")
        assert page.locator(".relation").count() == 1
        assert "house left of tree" in studio.status()

        for _ in range(80):
            press("Shift+Tab")
            if page.evaluate("document.activeElement.getAttribute('aria-label') ?? ''").startswith(
                "tree,"
            ):
                break
        else:
            raise AssertionError("Tab does not reach the box of the tree")
        seen = [studio.patch()]
        for _ in range(8):
            press("r")
            page.wait_for_function(f"() => !document.body.innerText.includes('patch {seen[-1]} ')")
            seen.append(studio.patch())
        assert len(set(seen)) == 9
        press("l")
        page.wait_for_selector("g.box[aria-label*='locked']")
        press("r")
        page.wait_for_function(
            "() => document.querySelector('[role=status]').innerText.includes('unlock')"
        )
        press("Enter")  # to its patch
        press("Tab")
        press("Tab")
        assert "Own picture" in page.evaluate("document.activeElement.innerText")
        press("?")
        page.wait_for_selector("dialog >> text=Arrow keys")
        press("Escape")
        studio.choose("house")
        page.focus("g.box[aria-label^='house']")
        press("Delete")
        assert page.locator("g.box").count() == 2
        assert "tree" in page.evaluate("document.activeElement.getAttribute('aria-label')")
        for _ in range(60):
            press("Control+z")
        assert page.is_visible("text=What shall the picture hold?")


@pytest.mark.thorough
def test_by_touch_on_a_phone(browser):
    with opened(browser, viewport=PHONE, has_touch=True, is_mobile=True) as studio:
        page = studio.page
        finger = page.context.new_cdp_session(page)

        def touch(kind, *point):
            points = [{"x": x, "y": y} for x, y in point]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        def swipe(start, end):
            (x, y), (u, v) = studio.place(*start), studio.place(*end)
            touch("touchStart", (x, y))
            for step in range(1, 9):
                touch("touchMove", (x + (u - x) * step / 8, y + (v - y) * step / 8))
            touch("touchEnd")
            studio.settle()

        studio.tab("Graph")
        for name in ("sky", "tree", "house"):
            page.tap(f".word:has(span:text-is('{name}'))")
        studio.tab("Picture")
        studio.settle()
        swipe(studio.middle("house"), (0.3, 0.75))
        assert studio.middle("house") == pytest.approx((0.3, 0.75), abs=0.02)
        left, top, width, height = studio.box("house")
        swipe(((left + width) / 100, (top + height) / 100), (0.6, 0.95))
        assert studio.box("house")[2] > width + 5  # by a corner

        studio.tab("Graph")
        page.tap("text=Connect")  # which shows the picture
        page.touchscreen.tap(*studio.place(*studio.middle("tree")))
        page.tap(".connect-predicates >> text='below'")
        studio.tab("Patches")
        patch = studio.patch()
        page.tap(".inspector >> text=Another")
        page.wait_for_function(f"() => !document.body.innerText.includes('patch {patch} ')")
        page.tap("text='Lock'")
        page.wait_for_selector("text='Locked'")
        for part in ("Graph", "Picture", "Patches"):
            studio.tab(part)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.set_viewport_size({"width": 320, "height": 640})
        for part in ("Graph", "Picture", "Patches"):
            studio.tab(part)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.thorough
def test_twenty_draws_of_one_object_give_twenty_patches(browser):
    with opened(browser) as studio:
        studio.add("sky", "boat", "house")
        studio.choose("boat")
        seen, others = [studio.patch()], studio.thumbs()
        for _ in range(20):
            studio.page.click(".inspector >> text=Another")
            studio.page.wait_for_function(
                f"() => !document.body.innerText.includes('patch {seen[-1]} ')"
            )
            seen.append(studio.patch())
            assert [studio.thumbs()[0], studio.thumbs()[2]] == [others[0], others[2]]
        assert len(set(seen[1:])) == 20
        assert "it starts over" in studio.status()


def test_a_drag_has_one_request_in_flight_and_ends_with_the_image_of_its_end(browser):
    with opened(browser, StubEngine(delay_s=0.04)) as studio:
        page = studio.page
        studio.add("sky", "tree", "house")
        studio.composed.clear()
        studio.most_in_flight = 0
        mouse = page.mouse
        mouse.move(*studio.place(*studio.middle("house")))
        mouse.down()
        for step in range(50):
            angle = step / 4
            mouse.move(*studio.place(0.5 + 0.3 * np.cos(angle), 0.5 + 0.3 * np.sin(angle)))
            page.wait_for_timeout(15)
        mouse.move(*studio.place(0.25, 0.7))
        mouse.up()
        image = studio.image()
        assert len(studio.composed) > 10 and studio.most_in_flight == 1
        last = studio.composed[-1]
        x0, y0, x1, y1 = last["graph"]["boxes"][2]
        assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((0.25, 0.7), abs=0.01)
        assert base64.b64decode(_compose(studio, last)[0]["image"]) == image
        assert studio.undo_all() == 4  # three objects, one drag


@pytest.mark.thorough
def test_escape_cancels_a_drag(browser):
    with opened(browser) as studio:
        studio.add("sky", "house")
        before, image = studio.box("house"), studio.image()
        studio.page.mouse.move(*studio.place(*studio.middle("house")))
        studio.page.mouse.down()
        studio.page.mouse.move(*studio.place(0.8, 0.8), steps=5)
        assert studio.box("house") != before
        studio.page.keyboard.press("Escape")
        studio.page.mouse.up()
        assert studio.box("house") == before and studio.image() == image


@pytest.mark.thorough  # test_escape_cancels_a_drag stays
def test_an_object_removed_while_it_is_held_stays_removed(browser):
    with opened(browser) as studio:
        mouse = studio.page.mouse
        studio.add("sky", "house")
        mouse.move(*studio.place(*studio.middle("house")))
        mouse.down()
        studio.page.keyboard.press("Delete")
        mouse.move(*studio.place(0.8, 0.8), steps=4)
        mouse.up()
        studio.settle()
        assert studio.page.locator("g.box").count() == 1
        assert studio.undo_all() == 3


@pytest.mark.thorough  # the page connects and places in the first test
def test_boxes_against_a_relation_are_marked_and_mended(browser):
    with opened(browser) as studio:
        page = studio.page
        studio.add("sky", "tree", "house")
        _connect(studio, "tree", "left of")
        assert page.locator(".wrong-row").count() == 0
        studio.drag(studio.middle("house"), (0.8, 0.4))
        studio.choose("tree")
        studio.drag(studio.middle("tree"), (0.2, 0.4))
        assert page.locator(".wrong-row").count() == 1
        assert page.locator(".relation .why").inner_text().endswith("the boxes say otherwise")
        page.click("text=From the boxes")
        assert page.locator(".wrong-row").count() == 0
        assert page.input_value(".relation .predicate >> nth=0") == "right of"


@pytest.mark.thorough
def test_relations_that_cannot_all_be_true_are_marked(browser):
    with opened(browser) as studio:
        studio.add("tree", "house")
        _connect(studio, "tree", "left of")
        studio.choose("tree")
        assert studio.page.locator(".wrong-row").count() == 0
        _connect(studio, "house", "left of")
        studio.page.wait_for_selector(".wrong-row >> text=not all can be true")


@pytest.mark.thorough  # arrow keys place one in test_by_keyboard_alone
def test_numbers_place_a_box_and_nonsense_is_refused_at_the_field(browser):
    with opened(browser) as studio:
        page = studio.page
        studio.add("sky", "house")
        page.fill("#number-Left", "12.5")
        page.press("#number-Left", "Enter")
        studio.settle()
        assert studio.composed[-1]["graph"]["boxes"][1][0] == 0.125
        count = len(studio.composed)
        page.fill("#number-Width", "300")
        page.press("#number-Width", "Enter")
        assert "from 2 to 100" in page.inner_text("#number-Width-wrong")
        page.fill("#number-Seed", "")
        page.press("#number-Seed", "Enter")
        assert len(studio.composed) == count


@pytest.mark.thorough  # the first test draws again and undoes
def test_eight_samples_and_using_one(browser):
    with opened(browser) as studio:
        page = studio.page
        studio.add("sky", "tree", "house")
        before = studio.image()
        page.click("text=Eight samples")
        page.wait_for_selector("text=seed 9")
        assert [draw["seed"] for draw in studio.composed[-1]["draws"]] == list(range(2, 10))
        assert page.locator("button.sample").count() == 9  # with the present one
        fifth = "button.sample:has-text('seed 6')"
        shown = page.get_attribute(f"{fifth} >> img", "src")
        page.click(fifth)
        studio.settle()
        assert page.input_value("#number-Seed") == "6"
        assert page.get_attribute(".image", "src") == shown
        assert None not in studio.composed[-1]["graph"]["patches"]
        count = len(studio.composed)
        page.click("text=Eight samples")  # the same eight, to choose another one
        assert page.is_visible("button.sample:has-text('seed 9')")
        page.keyboard.press("Escape")
        assert len(studio.composed) == count
        page.keyboard.press("Control+z")
        assert studio.image() == before
        studio.choose("house")
        page.click("text='Lock'")
        page.wait_for_selector("text='Locked'")
        page.click("text=Eight samples")  # of another scene now
        page.wait_for_selector("button.sample:has-text('seed 9')")
        assert studio.composed[-1]["graph"]["patches"][:2] == [None, None]
        assert studio.composed[-1]["graph"]["patches"][2] is not None


@pytest.mark.thorough
def test_the_same_seed_gives_the_same_image(browser):
    with opened(browser) as studio:
        page = studio.page
        studio.add("sky", "tree")
        images = []
        for seed in ("7", "8", "7"):
            page.fill("#number-Seed", seed)
            page.press("#number-Seed", "Enter")
            studio.settle()
            images.append(studio.image())
        assert images[0] == images[2] != images[1]


@pytest.mark.thorough
def test_an_own_picture_takes_the_place_of_a_patch(browser, tmp_path):
    red = tmp_path / "boat.png"
    Image.new("RGB", (80, 60), (250, 10, 20)).save(red)
    with opened(browser) as studio:
        page = studio.page
        studio.add("sky", "boat")
        page.set_input_files("[aria-label^='A picture of your own']", red)
        page.wait_for_selector(".inspector >> text=your own picture")
        studio.settle()
        assert studio.composed[-1]["graph"]["patches"][1] is None
        assert set(studio.composed[-1]["own"]) == {"1"}
        pixels = np.asarray(Image.open(io.BytesIO(studio.image())).convert("RGB"))
        assert (pixels == (250, 10, 20)).all(axis=-1).any()
        page.click(".draw >> text='Draw again'")
        studio.settle()
        assert set(studio.composed[-1]["own"]) == {"1"}  # it stays
        page.wait_for_timeout(700)
        page.reload()
        studio.settle()
        assert page.locator(".row .tag >> text=own").count() == 1
        red.write_bytes(b"GIF89a")
        page.set_input_files("[aria-label='Open a file']", red)
        page.wait_for_selector(".notice")


def test_licences_are_filtered_before_drawing_and_locks_are_asked_about(browser):
    with opened(browser) as studio:
        page = studio.page
        studio.add("sky", "tree", "house")
        page.click("text='Lock'")
        page.wait_for_selector("text='Locked'")
        code = page.inner_text(".inspector-head .quiet").split(" · ")[1]
        page.click("text=How it is drawn")
        box = page.locator(f".licences label:has-text('{code}')").filter(
            has=page.locator(f"text=/^{code} /")
        )
        box.locator("input").click()
        assert "house" in page.inner_text("dialog")
        page.click("dialog >> text=Leave the filter")
        assert box.locator("input").is_checked() and studio.composed[-1]["licences"] is None
        box.locator("input").click()
        page.click("dialog >> text=Unlock and draw them anew")
        studio.settle()
        assert code not in studio.composed[-1]["licences"]
        codes = page.eval_on_selector_all(".codes .tag", "all => all.map(one => one.innerText)")
        assert codes and code not in codes


@pytest.mark.thorough  # a link brings a scene back; test_archive has the ZIP
def test_download_archive_and_project_come_back(browser, tmp_path):
    with opened(browser) as studio:
        page = studio.page
        studio.add("sky", "tree", "house")
        studio.drag(studio.middle("house"), (0.3, 0.7))
        thumbs, image = studio.thumbs(), studio.image()

        page.click("text=Size")
        page.select_option("[aria-label='Size of the picture']", "1")
        with page.expect_download() as download:
            page.click("text='Download'")
        assert download.value.path().read_bytes() == image
        page.click("text=Put the scene into the PNG")
        page.select_option("[aria-label='Size of the picture']", "4")
        with page.expect_download() as download:
            page.click("text='Download'")
        large = tmp_path / "scene.png"
        download.value.save_as(large)
        assert Image.open(large).size == (256, 256)

        with page.expect_download() as download:
            page.click("text=ZIP with credits")
        archive = tmp_path / "scene.zip"
        download.value.save_as(archive)
        with zipfile.ZipFile(archive) as files:
            assert files.read("image.png") == image
            assert "CREDITS.txt" in files.namelist()

        page.click("text='Scene'")
        with page.expect_download() as download:
            page.click("text='Save as a file'")
        scene = tmp_path / "scene.json"
        download.value.save_as(scene)
        for file in (large, scene):
            page.click("text='Scene'")
            page.click(".menu >> text='New'")
            assert page.is_visible("text=What shall the picture hold?")
            page.set_input_files("[aria-label='Open a file']", file)
            page.wait_for_selector("g.box >> nth=2")
            assert studio.thumbs() == thumbs and studio.image() == image


def test_a_link_brings_the_scene_and_asks_before_it_replaces_work(browser):
    with opened(browser) as studio:
        page = studio.page
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        studio.add("sky", "tree", "house")
        thumbs, image = studio.thumbs(), studio.image()
        page.click("text='Scene'")
        page.click("text='Copy a link'")
        page.wait_for_function(
            "() => document.querySelector('[role=status]').innerText.includes('link is copied')"
        )
        link = page.evaluate("navigator.clipboard.readText()")
        assert link.startswith(studio.stub.url) and len(link) < 900
        page.click("text='Scene'")
        page.click(".menu >> text='New'")
        studio.add("boat")
        page.goto(link)
        assert "Open the scene of the link?" in page.inner_text("dialog")
        page.click("text='Keep my scene'")
        assert page.locator("g.box").count() == 1 and "#g=" not in page.url
        page.goto(link)
        page.click("text='Open it'")
        page.wait_for_selector("g.box >> nth=2")
        assert studio.thumbs() == thumbs and studio.image() == image
        page.keyboard.press("Control+z")
        assert page.locator("g.box").count() == 1


def test_scripts_in_a_bank_are_shown_as_text(browser):
    with opened(browser, StubEngine(stub_version(hostile=True))) as studio:
        page = studio.page
        studio.add("sky", "tree")
        page.click("text=Where this patch comes from")
        for summary in page.locator(".sources summary").all():
            summary.click()
        shown = page.inner_text(".patches-column")
        assert "<img src=x onerror=" in shown and "</script><script>" in shown
        assert "javascript:document.title" in shown or "procedural://11/0" in shown
        assert page.locator(".patches-column a").count() == 0
        assert page.title() == "rgan studio"


def test_a_model_without_alternatives_says_so(browser):
    with opened(browser, StubEngine(stub_version(contract=4))) as studio:
        studio.add("sky", "tree")
        assert "Export it again" in studio.page.inner_text(".alternatives")
        assert studio.page.is_disabled(".inspector >> text=Another")
        assert len(studio.image()) > 0
