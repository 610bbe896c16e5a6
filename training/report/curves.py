"""Draws training curves, grouped by topic."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.report.events import Curve

MOST_POINTS = 240
"""A longer curve is drawn as means of equal numbers of points, over the band of their extremes."""

LARGEST = 1e100
"""Larger values are not drawn."""

GROUPS = (
    ("loss/generator", "Generator losses"),
    ("loss/discriminator", "Discriminator losses"),
    ("retrieval/", "Retrieval"),
    ("layout/", "Layout"),
    ("guard/", "Guard"),
)
OTHER = "Other"

_DOTS = 200  # per inch; the page shows them at half size
_INK = "#2a6fb0"


def group_of(name: str) -> str:
    """The title of a metric's group."""
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


def draw_curve(curve: Curve) -> Figure:
    """One curve over the steps, with gaps where values cannot be drawn."""
    figure = Figure(figsize=(3.4, 1.4), dpi=_DOTS, facecolor="none")
    axes = figure.add_axes((0.17, 0.16, 0.8, 0.78))
    for stretch in np.ma.clump_unmasked(np.ma.masked_array(curve.values, ~drawable(curve))):
        steps, values = curve.steps[stretch], curve.values[stretch]
        groups = np.array_split(np.arange(len(values)), min(len(values), MOST_POINTS))
        middles = [steps[group].mean() for group in groups]
        means = [values[group].mean() for group in groups]
        axes.plot(middles, means, color=_INK, linewidth=1.2, marker="." if len(means) == 1 else "")
        if len(groups) < len(values):
            lows, highs = zip(*((values[g].min(), values[g].max()) for g in groups), strict=True)
            axes.fill_between(middles, lows, highs, color=_INK, alpha=0.18, linewidth=0)
    axes.tick_params(labelsize=7, colors="#6a6a72", length=2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.yaxis.set_major_formatter("{x:.4g}")  # no separate factor or offset
    axes.spines[:].set_color("#e0dcd4")
    return figure


def drawable(curve: Curve) -> np.ndarray:
    """[N] bool: values that are finite and small enough for an axis."""
    return np.abs(curve.values) <= LARGEST


def picture_of(curve: Curve) -> bytes | None:
    """The curve as PNG, reproducible to the byte; None if no value can be drawn."""
    if not drawable(curve).any():
        return None
    file = io.BytesIO()
    FigureCanvasAgg(draw_curve(curve)).print_png(file, metadata={"Software": None})
    return file.getvalue()
