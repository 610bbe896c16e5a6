"""Reads reports as a browser would, and makes what they are made of."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import tensorflow as tf


class Page(HTMLParser):
    """Elements, attributes and visible text of a page."""

    def __init__(self, source: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.links += [value for key, value in attrs if key in ("src", "href", "srcset", "data")]

    def handle_data(self, data):
        self.text += data


def read_page(path: Path) -> Page:
    """A written report, after checking that it loads and runs nothing."""
    source = path.read_text(encoding="utf-8")
    page = Page(source)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert "@import" not in source and "url(" not in source
    return page


def write_scalars(folder: Path, name: str, points: list[tuple[int, float]]) -> Path:
    """A new event file with one scalar; later files are begun later."""
    before = set(folder.glob("*"))
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for step, value in points:
            tf.summary.scalar(name, value, step=step)
    writer.close()
    (path,) = set(folder.glob("*")) - before
    return path
