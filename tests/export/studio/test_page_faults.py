"""The page where things go wrong: two tabs, foreign links, servers that stop, full storage."""

from __future__ import annotations

import contextlib
import json
import zlib
from base64 import urlsafe_b64encode

import pytest

from export.signatures import PATCHES
from tests.export.studio.page import DESKTOP, Studio, launched, opened
from tests.export.studio.stub_engine import StubEngine, serving_stub, stub_version

pytestmark = pytest.mark.browser

_PAUSE = 700  # ms, more than the autosave's


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


def _fragment(document) -> str:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(json.dumps(document).encode()) + packer.flush()
    return "#g=" + urlsafe_b64encode(packed).decode().rstrip("=")


def _project(bank: str) -> dict:
    return {
        "kind": "rgan_studio",
        "version": 1,
        "model": {"version": 1, "weights": "a" * 64, "bank": bank},
        "graph": {
            "objects": ["sky", "boat"],
            "relationships": [[1, "below", 0]],
            "boxes": [None, [0.1, 0.5, 0.4, 0.8]],
            "patches": [None, 3],
        },
        "studio": {
            "locks": [1],
            "kept": {"0": 5},
            "draw": {"mode": "sample", "seed": 9, "temperature": 2.0},
            "licences": None,
            "own": {},
        },
    }


@contextlib.contextmanager
def _serving_again(studio):
    """The server of a page that has stopped, again at its port."""
    with serving_stub(studio.stub.engine, port=studio.stub.port) as stub:
        yield stub


def _try_now(page) -> None:
    """Clicks in one go: the page tries by itself too, and the button may go at any moment."""
    page.evaluate(
        "() => [...document.querySelectorAll('button')]"
        ".find((one) => one.textContent.includes('Try now'))?.click()"
    )


@pytest.mark.thorough
def test_of_two_tabs_one_saves_and_the_other_says_so(browser):
    with opened(browser) as first:
        page = first.page
        first.add("sky", "tree")
        page.wait_for_timeout(_PAUSE)
        second = Studio(page.context, first.stub).open()
        second.settle()
        assert second.page.locator("g.box").count() == 2  # what the first one saved
        assert second.page.is_visible("text=open in another tab")
        second.add("boat")
        second.page.wait_for_timeout(_PAUSE)
        first.add("house")
        page.wait_for_timeout(_PAUSE)
        page.reload()
        first.settle()
        names = page.eval_on_selector_all(".row-name", "all => all.map(one => one.innerText)")
        assert names == ["sky", "tree", "house"]  # not overwritten by the second

        # The reload gave the turn to the second tab, which asks before anything is lost.
        second.page.wait_for_selector("text=This browser keeps another scene")
        second.page.click("text=Keep this one")
        second.page.wait_for_timeout(_PAUSE)
        assert first.page.is_visible("text=open in another tab")
        first.page.click("text=Save here instead")
        second.page.wait_for_selector("text=open in another tab")
        first.page.wait_for_timeout(_PAUSE)
        first.page.reload()
        first.settle()
        names = page.eval_on_selector_all(".row-name", "all => all.map(one => one.innerText)")
        assert names == ["sky", "tree", "house"]
        assert second.messages == []


def test_a_link_made_with_another_bank_drops_its_patches_and_says_how_many(browser):
    with opened(browser) as studio:
        page = studio.page
        page.goto(studio.stub.url + "/" + _fragment(_project("c" * 64)))
        page.wait_for_selector("g.box >> nth=1")
        studio.settle()
        notice = page.inner_text(".notices")
        assert "2 patches" in notice and "bank" in notice
        assert page.locator("g.box[aria-label*='locked']").count() == 0
        assert page.input_value("#number-Seed") == "9"
        assert page.locator("g.box.given").count() == 1
        first = studio.composed[0]["graph"]["patches"]
        assert first == [None, None]


@pytest.mark.thorough  # that with another bank stays, and a link in test_page
def test_a_link_made_with_this_bank_keeps_them(browser):
    with opened(browser) as studio:
        document = _project("b" * 64)
        model = studio.page.evaluate("fetch('/api/model').then(reply => reply.json())")
        document["model"] = {name: model[name] for name in ("version", "weights", "bank")}
        studio.page.goto(studio.stub.url + "/" + _fragment(document))
        studio.page.wait_for_selector("g.box[aria-label*='locked']")
        studio.settle()
        assert studio.composed[-1]["graph"]["patches"] == [5, 3]
        assert studio.page.locator(".notice").count() == 0


@pytest.mark.parametrize(
    ("fragment", "words"),
    [
        ("#g=AAAA", "damaged or cut"),
        pytest.param("#g=%3Cscript%3E", "damaged or cut", marks=pytest.mark.thorough),
        pytest.param(
            _fragment({"objects": ["sky", "dragon"]}), "dragon", marks=pytest.mark.thorough
        ),
        (_fragment({"objects": ["sky"], "patches": ["/etc/passwd"]}), None),
        pytest.param(_fragment([1, 2]), None, marks=pytest.mark.thorough),
        pytest.param(_fragment({"objects": ["sky"] * 5000}), None, marks=pytest.mark.thorough),
    ],
)
def test_a_damaged_or_hostile_link_changes_nothing(browser, fragment, words):
    with serving_stub() as stub:
        context = browser.new_context(viewport=DESKTOP)
        studio = Studio(context, stub).open(stub.url + "/" + fragment)
        studio.page.wait_for_selector(".notice, g.box")
        if words is not None:
            assert words in studio.page.inner_text(".notices")
        else:  # refused, or opened without what must not be read
            assert studio.page.locator(".notice").count() >= 1
        for body in studio.composed:
            assert all(patch is None for patch in body["graph"]["patches"])
        assert all("Failed to load resource" in text for text in studio.messages)
        context.close()


@pytest.mark.thorough
def test_a_server_that_restarts_in_the_middle_of_a_drag(browser):
    engine = StubEngine(delay_s=0.02)
    context = browser.new_context(viewport=DESKTOP)
    with contextlib.ExitStack() as server:
        stub = server.enter_context(serving_stub(engine))
        studio = Studio(context, stub).open()
        studio.add("sky", "house")
        page, mouse = studio.page, studio.page.mouse
        mouse.move(*studio.place(*studio.middle("house")))
        mouse.down()
        mouse.move(*studio.place(0.5, 0.5), steps=4)
        server.close()
        for step in range(30):
            mouse.move(*studio.place(0.5 + step / 100, 0.5))
            page.wait_for_timeout(20)
        page.wait_for_selector("text=The server does not answer")
        box = studio.box("house")
        assert box[0] > 45  # the box follows the pointer all the same
        with _serving_again(studio):
            mouse.move(*studio.place(0.3, 0.7), steps=3)
            mouse.up()
            _try_now(page)
            page.wait_for_selector("text=The server does not answer", state="detached")
            studio.settle()
            assert studio.middle("house") == pytest.approx((0.3, 0.7), abs=0.02)
            last = studio.composed[-1]["graph"]["boxes"][1]
            assert (last[0] + last[2]) / 2 == pytest.approx(0.3, abs=0.01)
            assert studio.most_in_flight == 1
            assert studio.undo_all() == 3
    assert all("ERR_" in text for text in studio.messages)
    context.close()


@pytest.mark.thorough  # the drag in test_page stays
def test_an_answer_that_comes_while_a_box_is_held_counts_when_it_is_let_go(browser):
    engine = StubEngine()
    with opened(browser, engine) as studio:
        page, mouse = studio.page, studio.page.mouse
        studio.add("sky", "tree")
        start = studio.middle("tree")
        patch = studio.patch()
        engine.delay_s = 0.3
        page.click(".word:has(span:text-is('house'))")
        studio.choose("tree")
        page.keyboard.press("r")  # waits for the image
        mouse.move(*studio.place(*start))
        mouse.down()
        mouse.move(*studio.place(start[0] - 0.1, start[1]), steps=3)
        studio.settle()  # the image is that of the scene before the box is let go
        page.wait_for_timeout(_PAUSE)
        engine.delay_s = 0.0
        mouse.up()
        page.wait_for_function(f"() => !document.body.innerText.includes('patch {patch} ')")
        studio.choose("house")
        page.keyboard.press("l")
        page.wait_for_selector("text='Locked'")  # it has its patch


def test_work_goes_on_without_a_server_and_is_drawn_when_it_is_back(browser):
    context = browser.new_context(viewport=DESKTOP)
    with contextlib.ExitStack() as server:
        stub = server.enter_context(serving_stub())
        studio = Studio(context, stub).open()
        studio.add("sky", "tree")
        server.close()
        page = studio.page
        page.click(".word:has(span:text-is('house'))")
        page.keyboard.press("c")
        page.wait_for_selector("text=The server does not answer")
        page.keyboard.press("Escape")
        assert page.locator(".row").count() == 3
        with _serving_again(studio):
            _try_now(page)
            page.wait_for_selector("g.box >> nth=2")
            studio.settle()
            assert studio.patch() >= 0
    context.close()


@pytest.mark.thorough  # the server that stops stays
def test_a_full_server_is_asked_again_after_the_time_it_names(browser):
    with serving_stub() as stub:
        context = browser.new_context(viewport=DESKTOP)
        studio = Studio(context, stub).open()
        studio.add("sky")
        studio.page.wait_for_function(  # thumbnails too wait for room, on the same connections
            "() => document.querySelectorAll('.patch').length > 0 &&"
            " [...document.images].every(one => one.complete)"
        )
        stub.engine.overloaded = True
        studio.page.click(".word:has(span:text-is('house'))")
        studio.page.wait_for_selector("text=The server is busy")
        stub.engine.overloaded = False
        studio.page.wait_for_selector("g.box >> nth=1")
        studio.settle()
        assert studio.patch() >= 0
        assert studio.page.locator(".notice").count() == 0
        context.close()


@pytest.mark.thorough  # the model that changes stays
def test_the_patches_of_the_object_before_are_not_there_to_click_on(browser):
    with serving_stub() as stub:
        context = browser.new_context(viewport=DESKTOP)
        studio = Studio(context, stub).open()
        page, held = studio.page, []
        studio.add("sky", "tree")
        assert studio.alternatives() > 0
        page.route("**/api/candidates", lambda route: held.append(route))
        studio.choose("sky")
        page.wait_for_selector("text=Looking …")
        assert page.locator(".patch").count() == 0
        for route in held:
            route.continue_()
        page.unroute("**/api/candidates")
        assert studio.alternatives() > 0
        assert page.locator(".patch[aria-label*='sky']").count() == page.locator(".patch").count()
        context.close()


def test_a_model_that_changes_under_the_page(browser):
    with serving_stub() as stub:
        context = browser.new_context(viewport=DESKTOP)
        studio = Studio(context, stub).open()
        page = studio.page
        studio.add("sky", "tree")
        page.click("text='Lock'")
        page.wait_for_selector("text='Locked'")
        stub.engine.swap(stub_version(2, bank="c" * 64))
        page.click(".word:has(span:text-is('house'))")
        page.wait_for_selector("text=The model has changed")
        page.wait_for_selector("g.box >> nth=2")  # what is added meanwhile is not lost
        studio.settle()
        assert "2 patches were chosen from another bank" in page.inner_text(".notices")
        assert page.locator("g.box[aria-label*='locked']").count() == 0
        assert studio.composed[-1]["version"] == 2
        studio.choose("house")
        assert studio.patch() >= 0
        page.keyboard.press("Control+z")  # the steps hold no ids of the old bank either
        page.keyboard.press("Control+z")
        studio.settle()
        assert studio.composed[-1]["graph"]["patches"] == [None, None]
        assert all("404" in text for text in studio.messages)  # thumbnails of the old version
        context.close()


@pytest.mark.thorough  # that with another version stays
def test_another_model_at_the_same_port_is_shown_with_its_own_patches(browser):
    """A browser keeps pictures of patches for ever, and every model begins with version 1."""
    with serving_stub() as stub:
        context = browser.new_context(viewport=DESKTOP)
        studio = Studio(context, stub).open()
        page, engine = studio.page, stub.engine
        studio.add("sky", "tree")
        assert studio.alternatives() > 0
        page.wait_for_timeout(_PAUSE)
        before = len(engine.calls)
        page.reload()
        studio.choose("tree")
        assert studio.alternatives() > 0
        assert not [call for call in engine.calls[before:] if call[1] == PATCHES]  # kept
        engine.swap(stub_version(1, bank="c" * 64))
        before = len(engine.calls)
        studio.choose("sky")  # the page that is still open notices
        page.wait_for_selector("text=The model has changed")
        studio.settle()
        assert "2 patches were chosen from another bank" in page.inner_text(".notices")
        assert studio.alternatives() > 0
        assert [call for call in engine.calls[before:] if call[1] == PATCHES]
        assert all("404" in text for text in studio.messages)
        context.close()


@pytest.mark.thorough  # two tabs stay
def test_what_is_saved_for_another_model_is_not_overwritten_by_a_change_to_it(browser):
    with serving_stub() as stub:
        context = browser.new_context(viewport=DESKTOP)
        studio = Studio(context, stub).open()
        page, engine = studio.page, stub.engine
        studio.add("boat")
        page.wait_for_timeout(_PAUSE)
        engine.swap(stub_version(2, bank="c" * 64))
        page.reload()
        page.wait_for_selector("text=What shall the picture hold?")
        studio.add("sky", "tree")
        engine.swap(stub_version(3))
        studio.add("house")
        page.wait_for_selector("text=This browser keeps another scene")
        page.wait_for_timeout(_PAUSE)
        page.click("text=Load that one")
        page.wait_for_selector(".row-name:text-is('boat')")
        assert page.locator(".row").count() == 1
        context.close()


def test_with_all_site_data_blocked_the_page_works_and_says_what_it_does_not_keep(browser):
    """As browsers block it: even naming the storage fails, and locks are refused each time."""
    with opened(browser) as studio:
        page = studio.page
        page.add_init_script(
            """
            const denied = () => { throw new DOMException('Access is denied', 'SecurityError'); };
            Object.defineProperty(window, 'localStorage', { get: denied });
            let asked = 0;
            navigator.locks.request = () => {
              if (++asked > 100) document.title = 'asked without end';
              return asked > 1000 ? new Promise(() => {}) :
                Promise.reject(new DOMException('denied', 'SecurityError'));
            };
            """
        )
        page.reload()
        page.wait_for_selector(".app")
        studio.add("sky", "tree")
        page.wait_for_selector("text=does not keep this scene: Access is denied")
        assert "Save it as a file" in page.inner_text(".notices")
        assert page.title() != "asked without end"


@pytest.mark.thorough  # storage that is blocked stays: the same notice
def test_a_full_storage_is_said(browser):
    with opened(browser) as studio:
        page = studio.page
        page.evaluate(
            """() => {
              let text = 'x'.repeat(2 ** 20);
              while (text.length > 8) {
                try { localStorage.setItem(`filler ${text.length} ${Math.random()}`, text); }
                catch { text = text.slice(text.length / 2); }
              }
            }"""
        )
        studio.add("sky", "tree")
        page.wait_for_selector("text=does not keep this scene")
        assert "Save it as a file" in page.inner_text(".notices")


@pytest.mark.thorough  # storage that is blocked stays
def test_unreadable_saved_work_does_not_stop_the_page(browser):
    with opened(browser) as studio:
        page = studio.page
        studio.add("sky")
        page.wait_for_timeout(_PAUSE)
        page.goto("about:blank")
        for value in ("{", '{"version":1}', '{"version":1,"past":[],"future":[],"present":{}}'):
            page.goto(studio.stub.url)
            page.wait_for_selector(".app")
            page.evaluate(
                "value => { for (const key of Object.keys(localStorage))"
                " localStorage.setItem(key, value); }",
                value,
            )
            page.reload()
            page.wait_for_selector("text=What shall the picture hold?")


def test_with_a_token_the_page_works_and_without_it_says_what_to_do(browser):
    with serving_stub(token="s3cret-token") as stub:
        context = browser.new_context(viewport=DESKTOP)
        studio = Studio(context, stub).open(f"{stub.url}/#token=s3cret-token")
        studio.add("sky", "tree")
        studio.page.wait_for_selector(".inspector .thumb.large[src^='blob:']")
        assert studio.patch() >= 0
        assert studio.messages == []
        bare = Studio(context, stub)
        bare.page.goto(stub.url)
        bare.page.wait_for_selector("text=open the address")
        context.close()
