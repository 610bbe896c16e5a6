"""Training curves as inline SVG, grouped by what they are about."""

from __future__ import annotations

import numpy as np

from training.report.events import Curve
from training.report.markup import Markup, number, tag

MOST_POINTS = 240
"""A longer curve is drawn as means of equal numbers of points, over the band of their extremes."""

GROUPS = (
    ("loss/generator", "Generator losses"),
    ("loss/discriminator", "Discriminator losses"),
    ("retrieval/", "Retrieval"),
    ("layout/", "Layout"),
    ("guard/", "Guard"),
)
OTHER = "Other"

_WIDTH, _HEIGHT = 280, 110  # px, of the plot
_LEFT, _TOP, _BOTTOM = 52, 8, 18  # px around it


def group_of(name: str) -> str:
    """The title of the group that a figure belongs to."""
    for prefix, title in GROUPS:
        if name.startswith(prefix):
            return title
    return "Losses" if "loss" in name else OTHER


def grouped(curves: dict[str, Curve]) -> dict[str, dict[str, Curve]]:
    """Curves by group, groups in a fixed order."""
    found: dict[str, dict[str, Curve]] = {}
    for title in [*(title for _, title in GROUPS), "Losses", OTHER]:
        members = {name: curve for name, curve in curves.items() if group_of(name) == title}
        if members:
            found[title] = members
    return found


def draw_curve(name: str, curve: Curve) -> Markup:
    """One figure over the steps, with its last value; a gap stands where it was not finite."""
    finite = np.isfinite(curve.values)
    last = f"{number(float(curve.values[-1]))} at step {int(curve.steps[-1])}"
    broken = int((~finite).sum())
    caption = [tag("b", name), tag("br"), last]
    if broken:
        caption.append(tag("span", f"; {broken} not finite", class_="bad"))
    if not finite.any():
        return tag("figure", tag("figcaption", *caption))
    return tag("figure", _plot(curve, finite), tag("figcaption", *caption))


def _plot(curve: Curve, finite: np.ndarray) -> Markup:
    low, high = float(curve.values[finite].min()), float(curve.values[finite].max())
    first, last = int(curve.steps[0]), int(curve.steps[-1])

    def x(steps):
        return _LEFT + _WIDTH * (steps - first) / max(last - first, 1)

    def y(values):
        # A constant runs through the middle.
        share = (values - low) / (high - low) if high > low else 0.5 + 0 * values
        return _TOP + _HEIGHT * (1 - share)

    parts = [_frame()]
    for start, end in _runs(finite):
        steps, values = curve.steps[start:end], curve.values[start:end]
        groups = np.array_split(np.arange(len(values)), min(len(values), MOST_POINTS))
        if len(groups) < len(values):
            highest = [(steps[g].mean(), values[g].max()) for g in groups]
            lowest = [(steps[g].mean(), values[g].min()) for g in groups]
            band = _points([(x(s), y(v)) for s, v in [*highest, *reversed(lowest)]])
            parts.append(tag("polygon", points=band, class_="band"))
        means = [(x(steps[g].mean()), y(values[g].mean())) for g in groups]
        if len(means) == 1:
            parts.append(tag("circle", cx=f"{means[0][0]:.1f}", cy=f"{means[0][1]:.1f}", r=2))
        else:
            parts.append(tag("polyline", points=_points(means)))
    bottom = _TOP + _HEIGHT
    labels = [
        (_LEFT - 4, _TOP + 8, "end", number(high)),
        (_LEFT - 4, bottom, "end", number(low)),
        (_LEFT, bottom + 13, "start", str(first)),
        (_LEFT + _WIDTH, bottom + 13, "end", str(last)),
    ]
    if not high > low:
        labels[0:2] = [(_LEFT - 4, _TOP + _HEIGHT / 2 + 4, "end", number(high))]
    if first == last:
        labels = labels[:-1]
    parts += [tag("text", text, x=a, y=b, text_anchor=side) for a, b, side, text in labels]
    width, height = _LEFT + _WIDTH + 6, bottom + _BOTTOM
    return tag(
        "svg", *parts, view_box=f"0 0 {width} {height}", width=width, height=height, role="img"
    )


def _frame() -> Markup:
    return tag("rect", x=_LEFT, y=_TOP, width=_WIDTH, height=_HEIGHT, class_="frame")


def _points(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Stretches of True as (start, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
