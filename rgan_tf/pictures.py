"""Pictures for people: layouts, patch sheets, comparisons, graphs as text. All are uint8 RGB."""

from __future__ import annotations

import colorsys
import hashlib
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Relationship = tuple[int, str, int]

_PAPER = (252, 251, 249)
_INK = (38, 38, 44)
_PALE_INK = (116, 116, 124)
_SMOOTH = 3  # shapes are drawn this much larger and averaged, because Pillow's lines are jagged
_LABEL_PAD = 3  # px around a label's text

# Natural things have their own colours; other categories get one from their name.
_NATURAL: dict[str, Color] = {
    "sky": (110, 171, 222),
    "cloud": (176, 196, 214),
    "clouds": (176, 196, 214),
    "sea": (46, 122, 168),
    "water": (58, 134, 178),
    "river": (58, 134, 178),
    "lake": (58, 134, 178),
    "grass": (122, 172, 76),
    "field": (158, 178, 84),
    "tree": (52, 128, 74),
    "bush": (84, 148, 70),
    "sand": (224, 196, 134),
    "beach": (224, 196, 134),
    "road": (128, 128, 134),
    "path": (168, 142, 108),
    "mountain": (126, 112, 128),
    "hill": (132, 146, 84),
    "snow": (206, 220, 230),
    "sun": (244, 190, 56),
    "moon": (214, 212, 196),
    "fire": (232, 104, 42),
}


def category_color(name: str) -> Color:
    """The colour of a category, the same in all pictures, runs and vocabularies."""
    if name in _NATURAL:
        return _NATURAL[name]
    digest = hashlib.sha256(name.encode("utf-8")).digest()
    hue = int.from_bytes(digest[:2], "big") / 65536
    saturation = 0.50 + 0.25 * digest[2] / 255
    value = 0.72 + 0.20 * digest[3] / 255
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_layout(
    names: Sequence[str],
    boxes: np.ndarray,
    size: int = 256,
    relationships: Sequence[Relationship] = (),
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Draws labelled boxes, largest at the back, and the relationships as arrows.

    Args:
      names: n category names.
      boxes: [n, 4] as [y0, x0, y1, x1], fractions of the image.
      size: side of the picture in px; labels are legible from 192 on.
      relationships: (subject, predicate, object); an arrow leads from subject to object.
      labels: n texts to write instead of the names; names still give the colours.

    Returns:
      uint8 [size, size, 3].
    """
    labels = names if labels is None else labels
    boxes = np.clip(np.asarray(boxes, np.float64).reshape(-1, 4), 0, 1)[: len(names)]
    order = sorted(range(len(names)), key=lambda i: -_area(boxes[i]))
    large = Image.new("RGB", (size * _SMOOTH, size * _SMOOTH), _PAPER)
    draw = ImageDraw.Draw(large, "RGBA")
    for i in order:
        y0, x0, y1, x1 = (float(v) * (size * _SMOOTH - 1) for v in boxes[i])
        color = category_color(names[i])
        draw.rectangle((x0, y0, x1, y1), fill=color + (70,), outline=color, width=2 * _SMOOTH)
    arrows = [
        (*_arrow_ends(boxes[s], boxes[o], size), predicate) for s, predicate, o in relationships
    ]
    for start, end, _ in arrows:
        _draw_arrow(draw, start, end)
    picture = large.resize((size, size), Image.Resampling.BOX)
    draw = ImageDraw.Draw(picture)
    font = _font(max(9, round(size / 20)))
    taken: list[tuple[float, float, float, float]] = []
    for i in reversed(order):  # small objects choose their label's place first
        places = _label_places(boxes[i], size, _label_size(font, labels[i]))
        color = category_color(names[i])
        _draw_label(draw, font, labels[i], places, taken, size, _ink_on(color), color)
    small = _font(max(8, round(size / 26)))
    for start, end, predicate in arrows:
        width, height = _label_size(small, predicate)
        places = [
            (start[0] + (end[0] - start[0]) * t - width / 2, _between(start, end, t) - height / 2)
            for t in (0.5, 0.35, 0.65, 0.2, 0.8)
        ]
        _draw_label(draw, small, predicate, places, taken, size, _INK, _PAPER)
    return np.asarray(picture)


def patch_sheet(
    crops: Sequence[np.ndarray],
    labels: Sequence[str],
    captions: Sequence[str] = (),
    cell: int = 96,
    columns: int = 4,
    categories: Sequence[str] | None = None,
) -> np.ndarray:
    """Shows patches in a grid, each over its category and a caption.

    Args:
      crops: n uint8 [h, w, 3].
      labels: n category names or other texts.
      captions: n short texts (such as the patch's source), or none.
      cell: side of a shown patch in px.
      columns: patches per row.
      categories: n names that determine the frames' colours; the labels by default.

    Returns:
      uint8 [H, W, 3].
    """
    gap = 12
    categories = labels if categories is None else categories
    font, small = _font(13), _font(10)
    text_height = 20 + (15 if captions else 0)
    columns = max(1, min(columns, len(crops)))
    rows = max(1, -(-len(crops) // columns))
    width = gap + columns * (cell + gap)
    height = gap + rows * (cell + text_height + gap)
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    for i, (crop, label) in enumerate(zip(crops, labels, strict=True)):
        left = gap + (i % columns) * (cell + gap)
        top = gap + (i // columns) * (cell + text_height + gap)
        frame = (left - 3, top - 3, left + cell + 2, top + cell + 2)
        draw.rectangle(frame, fill=category_color(categories[i]))
        picture.paste(_scaled(crop, cell), (left, top))
        draw.text((left, top + cell + 5), _fitted(font, label, cell), fill=_INK, font=font)
        if captions:
            caption = _fitted(small, captions[i], cell)
            draw.text((left, top + cell + 21), caption, fill=_PALE_INK, font=small)
    return np.asarray(picture)


def comparison_grid(
    columns: Sequence[tuple[str, Sequence[np.ndarray]]], cell: int = 128, title: str = ""
) -> np.ndarray:
    """Shows columns of images side by side under their titles; row i shows the same scene.

    Titles wrap to as many lines as they need.

    Args:
      columns: (title, images uint8 [h, w, 3]); shorter columns leave cells empty.
      cell: side of a shown image in px.
      title: of the whole picture; none if empty.

    Returns:
      uint8 [H, W, 3].
    """
    gap = 8
    font, bold = _font(13), _font(17)
    headings = [_wrapped(font, heading, cell) for heading, _ in columns]
    lines = max(map(len, headings), default=1)
    rows = max((len(images) for _, images in columns), default=0)
    width = gap + max(1, len(columns)) * (cell + gap)
    titles = _wrapped(bold, title, width - 2 * gap) if title else []
    head = 10 + 16 * lines + (8 + 22 * len(titles) if titles else 0)
    picture = Image.new("RGB", (width, head + rows * (cell + gap) + gap), _PAPER)
    draw = ImageDraw.Draw(picture)
    for number, text in enumerate(titles):
        draw.text((gap, 9 + 22 * number), text, fill=_INK, font=bold)
    for i, (_, images) in enumerate(columns):
        left = gap + i * (cell + gap)
        for number, text in enumerate(reversed(headings[i])):
            indent = (cell - font.getlength(text)) / 2
            draw.text((left + indent, head - 20 - 16 * number), text, fill=_INK, font=font)
        for j, image in enumerate(images):
            picture.paste(_scaled(image, cell), (left, head + j * (cell + gap)))
    return np.asarray(picture)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _ink_on(color: Color) -> Color:
    bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    return (20, 20, 24) if bright else (255, 255, 255)


def _scaled(image: np.ndarray, cell: int) -> Image.Image:
    return Image.fromarray(np.asarray(image)).resize((cell, cell), Image.Resampling.BICUBIC)


def _fitted(font: ImageFont.FreeTypeFont, text: str, width: float) -> str:
    """The text, shortened by an ellipsis until it is at most `width` px wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _wrapped(font: ImageFont.FreeTypeFont, text: str, width: float) -> list[str]:
    """Wraps text into lines of at most `width` px; only a wider word is divided."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for character in word:
            if lines[-1] and font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return [line for line in lines if line] or [""]


def _label_size(font: ImageFont.FreeTypeFont, text: str) -> tuple[float, float]:
    return font.getlength(text) + 2 * _LABEL_PAD, font.size + 2 * _LABEL_PAD - 1


def _label_places(box, size: int, label: tuple[float, float]) -> list[tuple[float, float]]:
    """Upper left corners for a box's label, best first."""
    y0, x0, y1, x1 = (float(v) * size for v in box)
    width, height = label
    inner_right, inner_bottom = x1 - width - 1, y1 - height - 1
    middle = (x0 + x1 - width) / 2
    corners = [(x0 + 1, y0 + 1), (inner_right, y0 + 1)]
    corners += [(x0 + 1, inner_bottom), (inner_right, inner_bottom)]
    outside = [(x0, y0 - height), (x0, y1 + 1), (x1 + 1, y0), (x0 - width - 1, y0)]
    down = [(middle, y0 + 1 + step * height) for step in range(8) if y0 + step * height < y1]
    return corners + down + outside


def _draw_label(draw, font, text, places, taken, size, ink: Color, paper: Color) -> None:
    """Draws a label where it covers the least of earlier labels."""
    width, height = _label_size(font, text)
    best, least = None, math.inf
    for x, y in places:
        x, y = min(max(x, 0), max(0, size - width)), min(max(y, 0), max(0, size - height))
        covered = sum(_overlap((x, y, x + width, y + height), other) for other in taken)
        if covered < least:
            best, least = (x, y, x + width, y + height), covered
    taken.append(best)
    draw.rounded_rectangle([round(v) for v in best], radius=3, fill=paper)
    middle = (best[1] + best[3]) / 2
    draw.text((round(best[0]) + _LABEL_PAD, middle), text, fill=ink, font=font, anchor="lm")


def _overlap(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    return max(0.0, width) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _between(start, end, t: float) -> float:
    return start[1] + (end[1] - start[1]) * t


def _arrow_ends(subject, target, size: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """From centre to centre in px, ending before the target's centre to keep heads apart."""
    (sy, sx), (ty, tx) = ((b[0] + b[2], b[1] + b[3]) for b in (subject, target))
    start, end = (sx * size / 2, sy * size / 2), (tx * size / 2, ty * size / 2)
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    short = max(0.0, 1 - 6 / length) if length > 12 else 1.0
    return start, (
        start[0] + (end[0] - start[0]) * short,
        start[1] + (end[1] - start[1]) * short,
    )


def _draw_arrow(draw: ImageDraw.ImageDraw, start, end) -> None:
    (x0, y0), (x1, y1) = ((v * _SMOOTH for v in point) for point in (start, end))
    angle = math.atan2(y1 - y0, x1 - x0)
    head = 8 * _SMOOTH
    neck = (x1 - 0.8 * head * math.cos(angle), y1 - 0.8 * head * math.sin(angle))
    wings = [
        (x1 - head * math.cos(angle + turn), y1 - head * math.sin(angle + turn))
        for turn in (0.42, -0.42)
    ]
    radius = 2.5 * _SMOOTH
    draw.ellipse((x0 - radius, y0 - radius, x0 + radius, y0 + radius), fill=_INK + (220,))
    draw.line([(x0, y0), neck], fill=_INK + (200,), width=round(1.4 * _SMOOTH))
    draw.polygon([(x1, y1), *wings], fill=_INK + (230,))
