"""Makes the pictures of the studio in the documents, with a real model in a real browser.

    python -m tests.export.studio.pictures MODEL docs/images

The model is that of `rgan demo`. Not a test: run it when the page or the released weights change.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tests.export.studio.page import Studio, launched
from tests.export.studio.speed import served

_WINDOW = {"width": 1120, "height": 740}
_PHONE = {"width": 375, "height": 700}
_MIDDLE = {"x": 318, "y": 64, "width": 444, "height": 570}  # of the window: where the picture is
_BEACH = {
    "objects": ["sky", "water", "sand", "boat", "sun", "person"],
    "relationships": [
        [0, "above", 1],
        [1, "above", 2],
        [3, "inside", 1],
        [4, "inside", 0],
        [4, "right of", 3],
        [5, "inside", 2],
    ],
}
_SIDE, _GAP, _LINE = 292, 12, 32  # of the strip, in pixels


class _Strip:
    """Pictures of the frame, side by side, each with what was done."""

    def __init__(self, studio: Studio):
        self._studio = studio
        self._parts: list[tuple[Image.Image, str]] = []

    def add(self, text: str) -> None:
        self._studio.settle()
        frame = self._studio.page.locator(".frame")
        shot = Image.open(io.BytesIO(frame.screenshot(animations="disabled")))
        self._parts.append((shot.convert("RGB").resize([_SIDE, _SIDE]), text))

    def save(self, path: Path) -> None:
        width = (_SIDE + _GAP) * len(self._parts) - _GAP
        strip = Image.new("RGB", (width, _SIDE + _LINE), "white")
        draw = ImageDraw.Draw(strip)
        for number, (shot, text) in enumerate(self._parts):
            left = number * (_SIDE + _GAP)
            strip.paste(shot, (left, 0))
            draw.text(
                (left + _SIDE / 2, _SIDE + _LINE / 2),
                text,
                fill="black",
                anchor="mm",
                font=ImageFont.load_default(15),
            )
        strip.save(path, optimize=True)


def _begin(studio: Studio) -> None:
    """Opens the beach."""
    studio.page.click("button:has-text('Scene')")
    with studio.page.expect_file_chooser() as chooser:
        studio.page.click("button:has-text('Open')")
    content = json.dumps(_BEACH).encode()
    file = {"name": "beach.json", "mimeType": "application/json", "buffer": content}
    chooser.value.set_files(file)
    studio.page.wait_for_selector("g.box")
    studio.settle()


def _move_boat(studio: Studio) -> None:
    """Drags the boat, then its lower right handle."""
    x, y = studio.middle("boat")
    studio.drag((x, y), (x + 0.05, y - 0.14))
    left, top, width, height = (number / 100 for number in studio.box("boat"))
    corner = (left + width, top + height)
    studio.drag(corner, (corner[0] + 0.12, corner[1] + 0.1))


def make(url: str, out: Path) -> None:
    """Writes studio-scene, studio-samples, studio-phone and studio-strip.png."""
    with launched() as browser:
        studio = Studio(browser.new_context(viewport=_WINDOW), None).open(url)
        _begin(studio)
        studio.choose("boat")
        strip = _Strip(studio)
        strip.add("as the model places it")
        _move_boat(studio)
        strip.add("drag and resize")
        studio.alternatives()
        studio.page.screenshot(path=out / "studio-scene.png")
        studio.page.click(".patch[aria-pressed=false] >> nth=2")
        strip.add("swap the boat's patch")
        studio.choose("sky")
        before = studio.patch()
        studio.page.keyboard.press("r")  # asks for the other patches first, then for the image
        studio.page.wait_for_function(
            "() => !document.querySelector('.inspector-head')"
            f".innerText.includes('patch {before} ')"
        )
        strip.add("another sky, the others stay")
        strip.save(out / "studio-strip.png")
        studio.page.click("text='Eight samples'")
        studio.page.wait_for_selector("text='Use this one'")
        studio.page.screenshot(path=out / "studio-samples.png", clip=_MIDDLE)

        phone = browser.new_context(
            viewport=_PHONE, has_touch=True, is_mobile=True, color_scheme="dark"
        )
        studio = Studio(phone, None).open(url)
        _begin(studio)
        studio.tab("Graph")
        studio.choose("boat")
        studio.tab("Patches")
        studio.alternatives()
        studio.page.screenshot(path=out / "studio-phone.png")


def main() -> None:
    """Makes all four."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with served(args.model) as url:
        make(url, args.out)


if __name__ == "__main__":
    main()
