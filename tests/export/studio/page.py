"""The studio's page in a real browser, for tests: opened over a stub, watched for messages.

A missing browser, or missing Node packages, is a reason to skip a test; where `CI` is set it is a
failure, so that nothing is left out unseen.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.export.studio.stub_engine import StubEngine, serving_stub

WEB = Path(__file__).parents[3] / "export" / "studio" / "web"
STATIC = WEB.parent / "static"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 360, "height": 740}


def needs(found: Any, reason: str) -> Any:
    """Skips the test with the reason if nothing was found; under CI it fails."""
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return found


def node_modules() -> Path:
    """The folder of the page's Node packages."""
    folder = WEB / "node_modules"
    return needs(folder.is_dir() and folder, "no export/studio/web/node_modules: run `make web`")


@contextlib.contextmanager
def launched() -> Iterator[Any]:
    """A browser of Playwright."""
    path = needs(
        next(filter(None, map(shutil.which, CHROMIUM)), None), "no chromium: apt-get install it"
    )
    sync_api = pytest.importorskip("playwright.sync_api") if not os.environ.get("CI") else None
    if sync_api is None:
        from playwright import sync_api
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


class Studio:
    """The page, opened.

    Attributes:
      page: of Playwright.
      stub: the `Serving`.
      messages: what the console said.
      composed: bodies of the requests for images, the latest last.
      most_in_flight: of these requests at one moment.
    """

    def __init__(self, context: Any, stub: Any):
        self.page = context.new_page()
        self.page.set_default_timeout(10_000)
        self.stub = stub
        self.messages: list[str] = []
        self.composed: list[dict[str, Any]] = []
        self.in_flight: set[Any] = set()
        self.most_in_flight = 0
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", self._starts)
        self.page.on("requestfinished", lambda request: self.in_flight.discard(request))
        self.page.on("requestfailed", lambda request: self.in_flight.discard(request))

    def _starts(self, request: Any) -> None:
        if request.url.endswith("/api/compose"):
            self.composed.append(json.loads(request.post_data))
            self.in_flight.add(request)
            self.most_in_flight = max(self.most_in_flight, len(self.in_flight))

    def open(self, url: str | None = None) -> Studio:
        self.page.goto(url or self.stub.url)
        self.page.wait_for_selector(".app")
        return self

    def tab(self, name: str) -> None:
        """On a phone: shows a part."""
        self.page.click(f".tabs >> text={name}")

    def add(self, *names: str) -> None:
        for name in names:
            self.page.click(f".word:has(span:text-is('{name}'))")
        self.settle()

    def choose(self, name: str) -> None:
        """Chooses an object in the list."""
        self.page.click(f".row-main:has(.row-name:text-is('{name}'))")

    def settle(self) -> None:
        """Waits until the image is that of the scene."""
        self.page.wait_for_function(
            "() => document.querySelector('.empty') ||"
            " (document.querySelector('.image') && !document.querySelector('.picture.waiting'))"
        )

    def image(self) -> bytes:
        """The bytes of the image that is shown."""
        self.settle()
        source = self.page.get_attribute(".image", "src")
        return base64.b64decode(source.removeprefix("data:image/png;base64,"))

    def patch(self) -> int:
        """The patch of the chosen object."""
        self.settle()
        return int(re.search(r"patch (\d+)", self.page.inner_text(".inspector-head"))[1])

    def thumbs(self) -> list[str]:
        """The pictures in the list of objects."""
        self.settle()
        return self.page.eval_on_selector_all(".row-main .thumb", "all => all.map(one => one.src)")

    def alternatives(self) -> int:
        """How many the chosen object has, once they are those of the scene."""
        self.settle()
        self.page.wait_for_selector(".patches:not(.stale) .patch")
        return self.page.locator(".patch").count()

    def status(self) -> str:
        return self.page.inner_text("[role=status]")

    def box(self, name: str) -> list[float]:
        """Left, top, width, height in %, of an object's accessible name."""
        label = self.page.get_attribute(f"g.box[aria-label^='{name},']", "aria-label")
        return [float(number) for number in re.findall(r"(-?[\d.]+) %", label)]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels on the page of a point in fractions of the picture."""
        frame = self.page.locator(".frame").bounding_box()
        return frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]

    def middle(self, name: str) -> tuple[float, float]:
        """The middle of an object's box, in fractions."""
        left, top, width, height = self.box(name)
        return (left + width / 2) / 100, (top + height / 2) / 100

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """Drags with the mouse between two points in fractions."""
        mouse = self.page.mouse
        mouse.move(*self.place(*start))
        mouse.down()
        mouse.move(*self.place(*end), steps=steps)
        mouse.up()
        self.settle()

    def undo_all(self) -> int:
        """Undoes until nothing is left; returns the number of steps."""
        steps = 0
        while self.page.is_enabled("[aria-label^='Undo']") if self._can_undo() else False:
            self.page.click("[aria-label^='Undo']")
            steps += 1
        return steps

    def _can_undo(self) -> bool:
        return self.page.locator("[aria-label^='Undo']").count() > 0


@contextlib.contextmanager
def opened(browser: Any, engine: StubEngine | None = None, **options: Any) -> Iterator[Studio]:
    """The page over a new stub, in a new profile; fails on any message of the console."""
    options = {"viewport": DESKTOP, "accept_downloads": True, **options}
    with serving_stub(engine) as stub:
        context = browser.new_context(**options)
        try:
            studio = Studio(context, stub).open()
            yield studio
            assert studio.messages == []
        finally:
            context.close()
