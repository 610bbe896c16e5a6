"""A study of four pairs and one repeat whose every figure can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.study.key import write_key
from training.study.plan import Chosen, Pair, Scene

# Pair -> side of set a, style agreement and co-occurrence distance of a, then of b.
FIGURES = {
    "p1": ("a", 1.0, 0.2, 0.0, 0.4),
    "p2": ("b", 0.5, 0.2, 0.5, 0.1),
    "p3": ("a", 0.0, 0.3, 1.0, 0.5),
    "p4": ("b", 1.0, 0.3, 0.5, 0.6),
}
PAGE = "0123456789abcdef"
LEFT, RIGHT = "left", "right"


def hand_made_pairs() -> list[Pair]:
    pairs = []
    for name, (left, style_a, distance_a, style_b, distance_b) in FIGURES.items():
        a = Chosen((1, 2), {"style_agreement": style_a, "cooccurrence_distance": distance_a})
        b = Chosen((3, 4), {"style_agreement": style_b, "cooccurrence_distance": distance_b})
        pairs.append(Pair(name, Scene(0, ("sky", "tree"), (), (0, 1), a, b), left))
    # The first pair again, sides swapped.
    return [*pairs, Pair("p5", pairs[0].scene, "b", repeats="p1")]


@pytest.fixture
def study(tmp_path) -> Path:
    sides = {
        "a": {"name": "learned", "run": "RUN", "selection": "learned"},
        "b": {"name": "graph_nearest", "run": "RUN", "selection": "graph_nearest"},
    }
    write_key(tmp_path / "study", PAGE, sides, hand_made_pairs())
    return tmp_path / "study"


@pytest.fixture
def answer(tmp_path):
    """Writes an answers file: sides in the order of the pairs, or the whole content."""

    def write(name: str = "Ann", sides=(LEFT, RIGHT, LEFT, RIGHT, RIGHT), **changes) -> Path:
        content = {
            "version": 1,
            "page": PAGE,
            "participant": name,
            "answers": [
                {"pair": f"p{number}", "choice": side, "milliseconds": 1000 * number}
                for number, side in enumerate(sides, 1)
            ],
            **changes,
        }
        path = tmp_path / f"answers-{len(list(tmp_path.glob('answers-*')))}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write
