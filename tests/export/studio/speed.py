"""How fast the studio answers a hand, with a real model in a real browser.

    python -m tests.export.studio.speed MODEL [--drags 100]

Prints one JSON line. Not a test: it is for a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

from tests.export.studio.page import DESKTOP, Studio, launched

# `wait_` is the time from letting go to the image of the end; `frames_` are times between frames.
_WATCH = """() => {
  window.frames_ = [];
  window.released_ = null;
  window.shown_ = null;
  let last = performance.now();
  const next = (now) => { frames_.push(now - last); last = now; requestAnimationFrame(next); };
  requestAnimationFrame(next);
  addEventListener("pointerup", () => { released_ = performance.now(); shown_ = null; }, true);
  new MutationObserver((changes) => {
    if (changes.some((change) => change.target.matches?.(".image"))) shown_ = performance.now();
  }).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["src"] });
}"""


@contextlib.contextmanager
def served(model: str) -> Iterator[str]:
    """The address of a studio over the model."""
    command = [sys.executable, "-c", "from rgan_tf.cli import console; console()"]
    process = subprocess.Popen(
        [*command, "studio", "--model", model, "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        for line in process.stderr:
            if found := re.search(r"http://[\w.:\[\]-]+", line):
                yield found[0]
                return
        raise SystemExit("the studio did not start")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _dragged(studio: Studio, name: str, ends: np.ndarray) -> list[float]:
    """Drags an object from place to place; milliseconds to the image of each end."""
    waits = []
    for end in ends:
        studio.drag(studio.middle(name), tuple(end), steps=12)
        waits.append(studio.page.evaluate("shown_ === null ? 0 : shown_ - released_"))
    return waits


def _figures(values: list[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 1) for share in (50, 95, 100)}


def measure(studio: Studio, drags: int) -> dict[str, object]:
    """All figures, over the first example of the empty page."""
    page = studio.page
    page.click(".empty button >> nth=0")
    studio.settle()
    names = page.eval_on_selector_all(".row-main .row-name", "all => all.map(one => one.innerText)")
    studio.choose(names[-1])
    page.evaluate(_WATCH)
    places = np.random.default_rng(0).uniform(0.3, 0.7, (drags, 2))
    waits = _dragged(studio, names[-1], places)
    frames = page.evaluate("frames_")
    before = studio.thumbs()
    patches = []
    for _ in range(20):
        page.keyboard.press("r")
        studio.settle()
        patches.append(studio.patch())
    unchanged = sum(a == b for a, b in zip(before, studio.thumbs(), strict=True))
    return {
        "objects": len(names),
        "drags": drags,
        "released_to_image_ms": _figures(waits),
        "frame_ms": _figures(frames),
        "most_in_flight": studio.most_in_flight,
        "redraws": len(patches),
        "different_patches": len(set(patches)),
        "objects_unchanged": unchanged,
        "messages": studio.messages,
    }


def main() -> None:
    """Measures one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--drags", type=int, default=100)
    args = parser.parse_args()
    with served(args.model) as url, launched() as browser:
        studio = Studio(browser.new_context(viewport=DESKTOP), None).open(url)
        print(json.dumps(measure(studio, args.drags)))


if __name__ == "__main__":
    main()
